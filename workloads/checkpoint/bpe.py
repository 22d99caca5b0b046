"""Text to token ids by byte-pair encoding: of bytes (GPT-2, RoBERTa, LLaMA-3, Qwen2) or of characters (LLaMA-2).

A text is cut at special tokens, normalised, cut into words by patterns, and in each word the adjacent pair that was
merged first in training is merged, until no such pair is left.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby, pairwise

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""Words of GPT-2 (the published encoder.py): contractions, letters, numbers, others, each with the space before it."""

Change = Callable[[str], str]
Cut = Callable[[list[str]], list[str]]


@dataclass(frozen=True)
class Pairs:
    """Byte-pair encoding. ``ids``: of tokens; ``ranks``: order of merges, by pair.

    ``normalise``: changes of the text; ``cuts``: from the text to words. ``byte_fallback``: unknown characters become
    tokens of their bytes, <0x0A>. ``whole_words``: a word that is a token is not merged. ``specials``: tokens
    recognised in the text. ``before``, ``after``: ids around the text.
    """

    ids: dict[str, int]
    ranks: dict[tuple[str, str], int]
    normalise: tuple[Change, ...] = ()
    cuts: tuple[Cut, ...] = ()
    unknown: str | None = None
    byte_fallback: bool = False
    whole_words: bool = False
    specials: dict[str, int] = field(default_factory=dict)
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, with those before and after it."""
        found: list[int] = []
        for part in self._split_specials(text):
            if part in self.specials:
                found.append(self.specials[part])
                continue
            for change in self.normalise:
                part = change(part)
            words = [part]
            for cut in self.cuts:
                words = cut(words)
            found += [number for word in words for token in self._merged(word) for number in self._numbers(token)]
        return [*self.before, *found, *self.after]

    def _split_specials(self, text: str) -> list[str]:
        if not self.specials:
            return [text] if text else []
        pattern = "|".join(re.escape(special) for special in sorted(self.specials, key=len, reverse=True))
        return [part for part in re.split(f"({pattern})", text) if part]

    def _merged(self, word: str) -> list[str]:
        if self.whole_words and word in self.ids:
            return [word]
        parts, last = list(word), len(self.ranks)
        while len(parts) > 1:
            rank, at = min((self.ranks.get(pair, last), at) for at, pair in enumerate(pairwise(parts)))
            if rank == last:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return parts

    def _numbers(self, token: str) -> list[int]:
        if token in self.ids:
            return [self.ids[token]]
        if self.byte_fallback:
            names = [f"<0x{byte:02X}>" for byte in token.encode()]
            if all(name in self.ids for name in names):
                return [self.ids[name] for name in names]
        return [] if self.unknown is None else [self.ids[self.unknown]]


@cache
def byte_characters() -> tuple[str, ...]:
    """Return the visible character for each byte (GPT-2's encoder.py)."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return tuple(chr(byte) if byte in visible else chr(next(others)) for byte in range(256))


def as_bytes(words: list[str]) -> list[str]:
    """Return words with each UTF-8 byte as its visible character."""
    return ["".join(byte_characters()[byte] for byte in word.encode("utf-8", "surrogatepass")) for word in words]


def prefixed(words: list[str]) -> list[str]:
    """Return words with a space before the first, unless it has one."""
    return [f" {words[0]}" if words[0][:1] != " " else words[0], *words[1:]] if words and words[0] else words


def pieces(pattern: str, literal: bool = False) -> Cut:
    """Return a function that cuts at every match of a pattern; the text between matches is a word too.

    Raises re.error.
    """
    compiled = re.compile(re.escape(pattern) if literal else translated(pattern))

    def cut(words: list[str]) -> list[str]:
        found = []
        for word in words:
            last = 0
            for match in compiled.finditer(word):
                found += [word[last : match.start()], match.group()]
                last = match.end()
            found.append(word[last:])
        return [word for word in found if word]

    return cut


def translated(pattern: str) -> str:
    r"""Return a pattern with \p{L}, \p{N} and other categories of Unicode as ranges of characters, for Python's re."""
    found, inside, at = [], False, 0
    while at < len(pattern):
        step = 2 if pattern[at] == "\\" else 1
        if match := re.match(r"\\p\{(\w+)\}", pattern[at:]):
            step = match.end()
            found.append(_ranges(match[1]) if inside else f"[{_ranges(match[1])}]")
        else:
            if pattern[at] in "[]":
                inside = pattern[at] == "["
            found.append(pattern[at : at + step])
        at += step
    return "".join(found)


@cache
def _runs() -> tuple[tuple[str, int, int], ...]:
    """Return the categories of all characters as runs: category, first code, last code."""
    found: list[tuple[str, int, int]] = []
    for category, codes in groupby(range(sys.maxunicode + 1), lambda code: unicodedata.category(chr(code))):
        run = list(codes)
        found.append((category, run[0], run[-1]))
    return tuple(found)


@cache
def _ranges(category: str) -> str:
    """Return the characters of a category, or of all that begin with it, as ranges of a character class."""
    runs = ((first, last) for kind, first, last in _runs() if kind.startswith(category))
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in runs)


def ranks(merges: Sequence[Sequence[str]]) -> dict[tuple[str, str], int]:
    """Return the order of merges by pair."""
    return {(first, second): rank for rank, (first, second) in enumerate(merges)}
