"""The tokenizer of a checkpoint's folder: vocab.txt (WordPiece), tokenizer.json, vocab.json with merges.txt (BPE)."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any, Protocol

from sim.base.errors import InputError
from sim.base.reading import read_json, read_text
from workloads.checkpoint import bpe, wordpiece

FILES = ("vocab.txt", "tokenizer.json", "vocab.json")

WAY_OUT = (
    "nearest: token ids, as --tokens 15496,995 or a file of them, from the tokenizer that the model was trained with"
)


class Tokenizer(Protocol):
    """Conversion of a text to token ids."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        ...


def present(folder: str | Path) -> bool:
    """Return whether a folder has a tokenizer file."""
    return any((Path(folder) / name).exists() for name in FILES)


def load(folder: str | Path) -> Tokenizer:
    """Return the tokenizer of a folder. Raises InputError if there is none, or an unsupported one."""
    path = Path(folder)
    if (path / "vocab.txt").exists():
        return wordpiece.load(path)
    if (path / "tokenizer.json").exists():
        return _described(_json(path / "tokenizer.json"), path / "tokenizer.json")
    if (path / "vocab.json").exists():
        return _pairs_of_files(path)
    other = "tokenizer.model (SentencePiece) is not read; " if (path / "tokenizer.model").exists() else ""
    raise InputError(
        f"{path}: text needs vocab.txt, tokenizer.json, or vocab.json with merges.txt in the folder; {other}{WAY_OUT}"
    )


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold one JSON object")
    return content


def _ids(content: Any, where: Path) -> dict[str, int]:
    if not isinstance(content, dict) or not content or not all(type(number) is int for number in content.values()):
        raise InputError(f"{where}: the vocabulary must give a whole number for each token; {WAY_OUT}")
    return content


def _ranks(merges: Any, where: Path) -> dict[tuple[str, str], int]:
    rows = [line.split(" ") if isinstance(line, str) else line for line in merges] if isinstance(merges, list) else [[]]
    wrong = [row for row in rows if not isinstance(row, list) or [type(part) for part in row] != [str, str]]
    if wrong:
        raise InputError(f"{where}: each merge must be two tokens, not {wrong[0]!r}; {WAY_OUT}")
    return bpe.ranks(rows)


def _pairs_of_files(path: Path) -> bpe.Pairs:
    ids, where = _ids(_json(path / "vocab.json"), path / "vocab.json"), path / "merges.txt"
    lines = read_text(where, what="list of merges").splitlines()
    ranks = _ranks([line for line in lines if line and not line.startswith("#version")], where)
    both = {"<s>", "</s>"} <= ids.keys()  # RoBERTa's
    before, after = ((ids["<s>"],), (ids["</s>"],)) if both else ((), ())
    specials = {name: ids[name] for name in ("<|endoftext|>",) if name in ids}
    cuts = (bpe.pieces(bpe.GPT2_PATTERN), bpe.as_bytes)
    return bpe.Pairs(ids, ranks, cuts=cuts, specials=specials, before=before, after=after)


class _Reading:
    """Reader of a tokenizer.json; collects the unsupported parts."""

    def __init__(self, ids: dict[str, int], where: Path):
        self.ids, self.where = ids, where
        self.problems: list[str] = []

    def refuse(self, what: str, part: dict[str, Any]) -> None:
        self.problems.append(f"{self.where}: {what} {part.get('type')!r} is not supported; {WAY_OUT}")

    def changes(self, part: dict[str, Any] | None) -> list[bpe.Change]:
        """Return a normaliser."""
        if part is None:
            return []
        kind = part.get("type")
        if kind == "Sequence":
            return [change for inner in part.get("normalizers", ()) for change in self.changes(inner)]
        if kind in ("NFC", "NFD", "NFKC", "NFKD"):
            form: Any = kind
            return [lambda text: unicodedata.normalize(form, text)]
        if kind == "Lowercase":
            return [str.lower]
        if kind == "Prepend":
            prefix = str(part.get("prepend", ""))
            return [lambda text: prefix + text if text else text]
        pattern = part.get("pattern") or {}
        if kind == "Replace" and isinstance(pattern.get("String"), str):
            old, new = pattern["String"], str(part.get("content", ""))
            return [lambda text: text.replace(old, new)]
        self.refuse("the normalizer", part)
        return []

    def cuts(self, part: dict[str, Any] | None) -> list[bpe.Cut]:
        """Return a pre-tokenizer."""
        if part is None:
            return []
        kind = part.get("type")
        if kind == "Sequence":
            return [cut for inner in part.get("pretokenizers", ()) for cut in self.cuts(inner)]
        if kind == "ByteLevel":
            found = [bpe.prefixed] if part.get("add_prefix_space", True) else []
            return [*found, *([bpe.pieces(bpe.GPT2_PATTERN)] if part.get("use_regex", True) else []), bpe.as_bytes]
        if kind == "Digits":
            return [bpe.pieces(r"\p{N}" if part.get("individual_digits") else r"\p{N}+")]
        if kind == "Metaspace" and part.get("prepend_scheme", "always") in ("always", "first"):
            mark = str(part.get("replacement", "▁"))
            return [lambda words: [_marked(word, mark, first=not at) for at, word in enumerate(words)]]
        pattern = part.get("pattern") or {}
        if kind == "Split" and part.get("behavior") == "Isolated" and not part.get("invert"):
            try:
                return [bpe.pieces(pattern.get("Regex") or pattern["String"], literal="Regex" not in pattern)]
            except (re.error, KeyError) as error:
                self.problems.append(f"{self.where}: the pattern {pattern!r} is not supported ({error}); {WAY_OUT}")
                return []
        self.refuse("the pre-tokenizer", part)
        return []

    def ends(self, part: dict[str, Any] | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the ids that a post-processor puts before and after a text."""
        kind = None if part is None else part.get("type")
        if part is None or kind == "ByteLevel":
            return (), ()
        if kind in ("RobertaProcessing", "BertProcessing"):
            return (int(part["cls"][1]),), (int(part["sep"][1]),)
        if kind == "Sequence":
            found = [self.ends(inner) for inner in part.get("processors", ())]
            return tuple(n for one, _ in found for n in one), tuple(n for _, one in found for n in one)
        if kind == "TemplateProcessing":
            names = [next(iter(one.items())) for one in part.get("single", ())]
            at = next((place for place, (what, _) in enumerate(names) if what == "Sequence"), len(names))
            special = part.get("special_tokens", {})
            numbers = [special.get(one["id"], {}).get("ids", []) for _, one in names]
            before, after = (tuple(n for ids in some for n in ids) for some in (numbers[:at], numbers[at + 1 :]))
            return before, after
        self.refuse("the post-processor", part)
        return (), ()


def _marked(word: str, mark: str, first: bool) -> str:
    marked = word.replace(" ", mark)
    return mark + marked if first and not marked.startswith(mark) else marked


def _described(content: dict[str, Any], where: Path) -> Tokenizer:
    """Return the tokenizer that a tokenizer.json describes."""
    model = content.get("model")
    kind = model.get("type", "BPE") if isinstance(model, dict) else None
    if not isinstance(model, dict) or kind not in ("BPE", "WordPiece"):
        raise InputError(f"{where}: a tokenizer of type {kind!r} is not supported, only BPE and WordPiece; {WAY_OUT}")
    ids = dict(_ids(model.get("vocab"), where))
    if kind == "WordPiece":
        return wordpiece.checked(ids, bool((content.get("normalizer") or {}).get("lowercase", True)), where)
    added = [token for token in content.get("added_tokens") or () if isinstance(token, dict)]
    specials = {str(token["content"]): int(token["id"]) for token in added}
    reading = _Reading(ids, where)
    changes, cuts = reading.changes(content.get("normalizer")), reading.cuts(content.get("pre_tokenizer"))
    before, after = reading.ends(content.get("post_processor"))
    if reading.problems:
        raise InputError(reading.problems)
    unknown = model.get("unk_token")
    return bpe.Pairs(
        ids,
        _ranks(model.get("merges"), where),
        tuple(changes),
        tuple(cuts),
        unknown if unknown in ids else None,
        bool(model.get("byte_fallback")),
        bool(model.get("ignore_merges")),
        specials,
        before,
        after,
    )
