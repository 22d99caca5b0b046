"""Token ids from the command line or a file, and the input tensors of a model's graph."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.base.reading import read_text
from sim.functional.images import Image
from workloads.checkpoint.form import SHARES
from workloads.checkpoint.vision_layers import IMAGE

if TYPE_CHECKING:
    from workloads.checkpoint import Checkpoint

Array = npt.NDArray[Any]
Sequence = list[int] | Image
"""Input of a model: token ids or an image."""

RANDOM = "random:"
PAD = 0
"""Id of [PAD] in BERT's vocabularies; masked, so its value does not matter."""

ATTENTION_MASK = "attention_mask"
"""Tensor of a graph on padded tokens (workloads.checkpoint.graph)."""

MASKED = -10_000.0
"""Score of a masked key, BERT's own value; much larger ones overflow int32 in the integer exponential."""

TABLES = ("word", "position", "token_type")

MAX_DIGITS = 18
"""Of a whole number in a text: Python reads no more than 4,300, and no id has as many."""


def read_tokens(text: str, vocabulary: int, positions: int, seed: int = 0) -> list[int]:
    """Return the ids of ``text``: "101,2023", a file of ids (its first line that has any), or "random:N".

    Raises InputError for text that is no id, an id beyond the vocabulary, or too many ids.
    """
    if text.startswith(RANDOM):
        count = text.removeprefix(RANDOM)
        if not count.isdecimal() or len(count) > MAX_DIGITS or not 1 <= int(count) <= positions:
            raise InputError(f"--tokens {text}: random:N takes 1 to {positions} tokens, e.g. random:{positions}")
        return [int(n) for n in np.random.default_rng(seed).integers(0, vocabulary, int(count))]
    with suppress(OSError):  # ids without end are longer than names of files may be
        if Path(text).is_file():
            return _lines(Path(text), vocabulary, positions)[0]
    return _ids(text, f"--tokens {text[:40]}", vocabulary, positions)


def _numbered(path: Path) -> list[tuple[int, str]]:
    lines = read_text(path, what="file of token ids").splitlines()
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise InputError(f"{path}: holds no token ids; one sequence per line, e.g. 101,2023,102")
    return numbered


def _lines(path: Path, vocabulary: int, positions: int) -> list[list[int]]:
    return [_ids(line, f"{path}, line {number}", vocabulary, positions) for number, line in _numbered(path)]


def read_labelled(path: Path, vocabulary: int, positions: int) -> list[tuple[list[int], str | None]]:
    """Return the sequences of a file, one per line, each with the label after a tab (None without).

    Raises InputError naming the line of text that is no id.
    """
    parts = [(number, *line.partition("\t")[::2]) for number, line in _numbered(path)]
    return [
        (_ids(ids, f"{path}, line {number}", vocabulary, positions), label.strip() or None)
        for number, ids, label in parts
    ]


def _ids(text: str, where: str, vocabulary: int, positions: int) -> list[int]:
    words = text.replace(",", " ").split()
    wrong = [word for word in words if not word.isdecimal()]
    problems = (
        [f"{where}: {', '.join(map(repr, wrong[:5]))}: token ids are whole numbers (or name a file)"] if wrong else []
    )
    beyond = [word for word in words if word.isdecimal() and (len(word) > MAX_DIGITS or int(word) >= vocabulary)]
    if beyond:
        problems.append(
            f"{where}: id {beyond[0][:40]} is beyond the vocabulary of {vocabulary} (nearest: {vocabulary - 1})"
        )
    if not 1 <= len(words) <= positions:
        problems.append(f"{where}: {len(words)} ids; the model has positions for 1 to {positions}")
    if problems:
        raise InputError(problems)
    return [int(word) for word in words]


def padded_length(count: int, pad_to: int | None, positions: int) -> int:
    """Return the length to which ``count`` tokens are padded. Raises InputError below it or beyond the positions."""
    if pad_to is None:
        return count
    if not count <= pad_to <= positions:
        raise InputError(
            f"--pad-to {pad_to}: {count} tokens and {positions} positions; nearest: "
            f"{min(max(pad_to, count), positions)}"
        )
    return pad_to


def _id_tensors(model: Checkpoint, ids: list[int], length: int, first: int) -> dict[str, Array]:
    places = list(range(first, first + length))
    rows = {"word": ids + [PAD] * (length - len(ids)), "position": places, "token_type": [0] * length}
    return {f"{name}_ids": np.array([rows[name]], np.int64) for name in TABLES if name in model.weights}


def inputs(model: Checkpoint, ids: Sequence, length: int | None = None) -> dict[str, Array]:
    """Return the inputs of a graph of ``model`` on ``length`` tokens: ids, attention mask, tables, weights by name.

    ``ids`` are followed by padding, which the mask hides from attention.
    """
    length = length or len(ids)
    weights = {f"{name}_table" if name in TABLES else name: values for name, values in model.weights.items()}
    return {**weights, **sequence_inputs(model, ids, length)}


def sequence_inputs(model: Checkpoint, ids: Sequence, length: int, first: int = 0) -> dict[str, Array]:
    """Return the inputs that change from one sequence to the next: ids and attention mask, or an image's patches.

    ``length``: with padding; ``first``: position of the first token. Raises InputError for an id without a row in the
    model (a vocabulary of another model).
    """
    if isinstance(ids, Image):
        return {IMAGE: ids.rows, **_shares(len(ids), len(ids))}
    beyond = [one for one in ids if one >= model.vocabulary]
    if beyond:
        raise InputError(
            f"token id {beyond[0]} is beyond the vocabulary of {model.vocabulary} (nearest: {model.vocabulary - 1}): "
            "the tokenizer's file names tokens that the weights have no row for"
        )
    seen = np.arange(length) < len(ids)
    if model.decodes:  # a token attends to earlier ones
        seen = seen & (np.arange(length) <= np.arange(length)[:, None])
    # the graph divides masked scores by sqrt(head_dim)
    mask = np.where(seen, 0.0, MASKED * math.sqrt(model.head_dim)).astype(np.float32)
    return {**_id_tensors(model, ids, length, first), ATTENTION_MASK: mask, **_shares(len(ids), length)}


def _shares(count: int, length: int) -> dict[str, Array]:
    """Return the row whose product with ``length`` rows is the negative mean of the first ``count``."""
    return {SHARES: np.where(np.arange(length) < count, -1 / count, 0)[None].astype(np.float32)}


def read_sequences(path: Path, model: Checkpoint) -> list[list[int]]:
    """Return the token ids of each line of a file. Raises InputError naming the line of text that is no id."""
    return _lines(path, model.vocabulary, model.positions)


def random_sequences(model: Checkpoint, count: int, length: int, seed: int = 0) -> list[list[int]]:
    """Return ``count`` sequences of random ids."""
    rng = np.random.default_rng(seed)
    return [[int(n) for n in rng.integers(0, model.vocabulary, length)] for _ in range(count)]
