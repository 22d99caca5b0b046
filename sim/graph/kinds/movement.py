"""Operators that move elements: copies, look-ups, chosen columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from sim.graph.kinds.elementwise import number_kind, of_one
from sim.graph.kinds.kind import Array, Columns, Kind, Values, is_count

if TYPE_CHECKING:
    from sim.graph.graph import Op


def _embedding_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    ids, table = op.inputs
    rows, cols = op.output.batch * op.output.rows, op.output.cols
    return {
        f"{ids.elements} ids give {rows} rows": ids.elements == rows,
        f"rows of {table.cols} in the table, {cols} in the output": table.cols == cols,
        f"ids must be int32, not {dtypes[0]}": dtypes[0] == "int32",
        f"table {dtypes[1]} and output {dtypes[2]} must be one dtype": dtypes[1] == dtypes[2],
    }


def _embedding(op: Op, inputs: list[Array], values: Values) -> Array:
    return np.asarray(inputs[1][0][inputs[0].reshape(-1).astype(np.int64)]).reshape(op.output.shape)


def _gather_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    source, put, columns = op.inputs[0], op.output, op.attrs["columns"]
    sound = all(is_count(column, 0) and column < source.cols for column in columns)
    rising = sound and all(one < two for one, two in pairwise(columns))
    return {
        f"columns must be rising whole numbers below {source.cols}": rising,
        f"{len(columns)} columns of {source.rows} rows give an output of {put}": put.cols == len(columns)
        and (put.batch, put.rows) == (source.batch, source.rows),
        f"input {dtypes[0]} and output {dtypes[1]} must be one dtype": dtypes[0] == dtypes[1],
    }


def _gather(op: Op, inputs: list[Array], values: Values) -> Array:
    return np.asarray(inputs[0][..., list(op.attrs["columns"])])


def _unchanged(x: Array) -> Array:
    return x


KINDS = (
    Kind("copy", "one input, moved to other rows", number_kind, reference=of_one(_unchanged), hands_on=True),
    Kind(
        "gather",
        "one input; columns: which of them come side by side",
        _gather_rules,
        {"columns": ()},
        reference=_gather,
        hands_on=True,
        color="#999933",
    ),
    Kind(
        "embedding",
        "ids, table: a row of the table for each id",
        _embedding_rules,
        inputs=(2,),
        reference=_embedding,
        columns=Columns("hidden", inputs=(), weights=(1,)),
        converts=False,
        color="#C4C4C4",
    ),
)
