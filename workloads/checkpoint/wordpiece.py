"""Text to token ids: BERT's basic tokenizer and WordPiece, from the vocab.txt of a checkpoint's folder."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sim.base.errors import InputError
from sim.base.reading import read_json, read_text

CLS, SEP, UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
LONGEST_WORD = 100
"""Characters; longer words are unknown (max_input_chars_per_word of the published tokenizer)."""

CJK = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))
"""Ideographs: each is a word."""

ASCII_PUNCTUATION = ((33, 47), (58, 64), (91, 96), (123, 126))
"""Punctuation by BERT's rule; some of it is symbols in Unicode."""


CHARACTERS_KEPT = 4096
"""Number of characters whose class is kept after the first look-up."""


@dataclass(frozen=True)
class Vocabulary:
    """Word pieces by id. ``lower``: text is first lower-cased and stripped of accents."""

    ids: dict[str, int]
    lower: bool

    def encode(self, text: str) -> list[int]:
        """Return [CLS], the pieces of ``text``, [SEP]."""
        pieces = [self.ids[piece] for word in self._words(text) for piece in self._pieces(word)]
        return [self.ids[CLS], *pieces, self.ids[SEP]]

    def _words(self, text: str) -> list[str]:
        plain = "".join(map(_spaced, unicodedata.normalize("NFC", text)))
        if self.lower:
            plain = "".join(c for c in unicodedata.normalize("NFD", plain.lower()) if unicodedata.category(c) != "Mn")
        return "".join(map(_apart, plain)).split()

    def _pieces(self, word: str) -> list[str]:
        """The longest known piece first, then the longest known continuation, and so on; or unknown."""
        if len(word) > LONGEST_WORD:
            return [UNKNOWN]
        found: list[str] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = (end for end in range(len(word), start, -1) if prefix + word[start:end] in self.ids)
            end = next(ends, None)
            if end is None:
                return [UNKNOWN]
            found.append(prefix + word[start:end])
            start = end
        return found


def load(folder: str | Path) -> Vocabulary:
    """Return the vocabulary of a folder with vocab.txt (one piece a line); tokenizer_config.json may set do_lower_case.

    Raises InputError if it is missing, not text, or lacks a special token.
    """
    path = Path(folder) / "vocab.txt"
    settings = Path(folder) / "tokenizer_config.json"
    if not path.exists():
        raise InputError(f"{path}: no such file; without it give token ids (--tokens)")
    pieces = read_text(path, what="vocabulary").split("\n")
    chosen = read_json(settings) if settings.exists() else {}
    lower = chosen.get("do_lower_case", True) if isinstance(chosen, dict) else None
    if not isinstance(lower, bool):
        raise InputError(f"{settings}: must be a JSON object; do_lower_case true or false")
    ids = {piece.rstrip("\r"): number for number, piece in enumerate(pieces) if piece}
    return checked(ids, lower, path)


def checked(ids: dict[str, int], lower: bool, where: Path) -> Vocabulary:
    """Return the vocabulary. Raises InputError if it lacks a special token of BERT."""
    if missing := [token for token in (CLS, SEP, UNKNOWN) if token not in ids]:
        raise InputError(f"{where}: lacks {', '.join(missing)}; it is not a vocabulary of BERT")
    return Vocabulary(ids, lower)


def _is_between(code: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code <= last for first, last in ranges)


@lru_cache(maxsize=CHARACTERS_KEPT)
def _spaced(character: str) -> str:
    """Return a character, with spaces around it if it is a word.

    A space for a space, nothing for a control character.
    """
    category = unicodedata.category(character)
    if character in " \t\n\r" or category == "Zs":
        return " "
    if _is_between(ord(character), CJK):
        return f" {character} "
    return character if category[0] != "C" and ord(character) != 0xFFFD else ""


@lru_cache(maxsize=CHARACTERS_KEPT)
def _apart(character: str) -> str:
    """Return a character, punctuation with spaces around it."""
    punctuation = _is_between(ord(character), ASCII_PUNCTUATION) or unicodedata.category(character)[0] == "P"
    return f" {character} " if punctuation else character
