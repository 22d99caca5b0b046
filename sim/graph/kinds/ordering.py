"""Operators that order rows: sorting, and the hashes of locality-sensitive attention (Reformer)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sim.graph.kinds.kind import Array, Kind, Values, input_elements, is_count

if TYPE_CHECKING:
    from sim.graph.op import Op


def _sort_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    return {
        f"input is {op.inputs[0]}, output {op.output}: must be one shape": op.inputs[0].shape == op.output.shape,
        f"keys and places are int32, not {dtypes[0]} and {dtypes[1]}": set(dtypes) == {"int32"},
        f"unsort is {op.attrs['unsort']!r}, must be true or false": isinstance(op.attrs["unsort"], bool),
    }


def _sort(op: Op, inputs: list[Array], values: Values) -> Array:
    """Return positions by ascending key, equal keys in their order; unsort: the position of each key in that order."""
    order = np.argsort(inputs[0], axis=-1, kind="stable")
    return np.argsort(order, axis=-1) if op.attrs["unsort"] else order


def _comparisons(op: Op) -> int:
    """Return the comparisons: each element once per level of a merge sort of its row.

    An inverse is written in one pass.
    """
    levels = 1 if op.attrs["unsort"] else max(1, (op.output.cols - 1).bit_length())
    return op.output.elements * levels


def _hash_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    rotated, hashes = op.inputs[0], op.attrs["hashes"]
    if not is_count(hashes, 1):
        return {f"hashes is {hashes!r}, must be a whole number >= 1": False}
    return {
        f"{hashes} hashes do not divide {rotated.cols} rotated columns": rotated.cols % hashes == 0,
        f"{hashes} hashes of {rotated.rows} rows, not {op.output}": op.output.shape
        == (rotated.batch * hashes, 1, rotated.rows),
        f"buckets are int32, not {dtypes[1]}": dtypes[1] == "int32",
    }


def _hash(op: Op, inputs: list[Array], values: Values) -> Array:
    """Return the position of the largest among each hash's rotated columns and their negatives."""
    batch, rows, _ = inputs[0].shape
    turned = inputs[0].reshape(batch, rows, op.attrs["hashes"], -1)
    found = np.concatenate([turned, -turned], axis=-1).argmax(axis=-1)
    return np.asarray(found.transpose(0, 2, 1).reshape(op.output.shape), np.float32)


def _mask_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    queries, keys = op.inputs
    wanted = (op.batch, op.output.rows), (op.batch, op.output.cols)
    found = tuple((view.batch, view.rows * view.cols) for view in (queries, keys))
    return {
        f"places of queries {queries} and keys {keys} do not give a mask of {op.output}": found == wanted,
        f"places are int32, not {dtypes[0]} and {dtypes[1]}": set(dtypes[:2]) == {"int32"},
    }


LATER, ITSELF = -1e9, -1e5
"""Biases of the score of a later token, and of a token with itself (Kitaev et al.

2020: used only if no other is left).
"""


def _place_mask(op: Op, inputs: list[Array], values: Values) -> Array:
    queries, keys = (values_.reshape(op.batch, -1) for values_ in inputs)
    off = queries[:, :, None] - keys[:, None, :]
    return np.where(off < 0, LATER, np.where(off == 0, ITSELF, 0)).astype(np.float32)


KINDS = (
    Kind(
        "sort",
        "integer keys: positions by ascending key, row by row, equal keys in their order; unsort: the position of "
        "each key",
        _sort_rules,
        {"unsort": False},
        reference=_sort,
        priced=_comparisons,
        converts=False,
    ),
    Kind(
        "lsh_hash",
        "rotated rows; hashes: the position of the largest of each hash's columns and their negatives, hash by hash",
        _hash_rules,
        {"hashes": 1},
        reference=_hash,
        priced=input_elements,
        converts=False,
    ),
    Kind(
        "place_mask",
        "positions of queries and of keys: bias of scores that masks later tokens, and a token itself if others are "
        "left",
        _mask_rules,
        inputs=(2,),
        reference=_place_mask,
        converts=False,
    ),
)
