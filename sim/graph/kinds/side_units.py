"""Operators of side units: transforms of blocks, ranking and choice of scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.graph.kinds.kind import Kind, is_count

if TYPE_CHECKING:
    from sim.graph.op import Op

MASK_RULES = ("top_k", "threshold")
"""Rules by which scores are chosen from predicted ones."""


def _transform_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    block, cols = op.attrs["block"], op.output.cols
    power = is_count(block, 4) and block & (block - 1) == 0
    return {
        f"block {block!r} must be a power of two of at least 4": power,
        f"blocks of {block} do not divide {cols} columns": not power or cols % block == 0,
        f"{op.inputs[0].elements} elements in, {op.output.elements} out": op.inputs[0].elements == op.output.elements,
    }


def _fft_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    same = f"a transform of {dtypes[0]} gives it again, not {dtypes[1]}"
    return {**_transform_rules(op, dtypes), same: dtypes[0] == dtypes[1]}


def _top_k_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    scores, kept = op.inputs[0].cols, op.output.elements
    return {
        f"{kept} of {scores} scores cannot be kept": kept <= scores,
        f"the places of the kept scores are int32, not {dtypes[1]}": dtypes[1] == "int32",
    }


def _mask_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    scores, size = op.inputs[0], -(-op.inputs[0].cols // 8)
    return {
        f"rule is {op.attrs['rule']!r}, can be {', '.join(MASK_RULES)}": op.attrs["rule"] in MASK_RULES,
        f"a bit for each of {scores.cols} scores is {size} bytes a row, not {op.output.cols}": op.output.shape
        == (scores.batch, scores.rows, size),
    }


KINDS = (
    Kind("fft", "one input; block: real numbers of a transform", _fft_rules, {"block": 16}, color="#882255"),
    Kind(
        "ifft",
        "one input; block: real numbers of a transform; activation",
        _transform_rules,
        {"block": 16, "activation": "none"},
        color="#AA4499",
    ),
    Kind("top_k", "scores -> positions of the largest ones: the columns of the input that are kept", _top_k_rules),
    Kind(
        "mask",
        "predicted scores -> a bit for each, set if it is to be computed; rule: top_k or threshold",
        _mask_rules,
        {"rule": "top_k"},
    ),
)
