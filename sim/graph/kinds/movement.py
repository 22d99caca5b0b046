"""Operators that move elements: copies, look-ups, chosen columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from sim.graph.kinds.elementwise import number_kind, of_one
from sim.graph.kinds.kind import Array, Columns, Kind, Values, as_float32, input_elements, is_count

if TYPE_CHECKING:
    from sim.graph.op import Op


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
    return np.asarray(inputs[1][0][inputs[0].reshape(-1).astype(np.int64)]).reshape(-1, *op.output.shape[1:])


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


ROPE_STYLES = ("half", "interleaved")
"""Pairs of a rotary embedding: element i with i + head_dim/2 (LLaMA), or 2i with 2i + 1 (GPT-J)."""


def _rope_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    attrs, cols = op.attrs, op.output.cols
    sound = is_count(attrs["head_dim"], 2) and is_count(attrs["rotated"], 2)
    base = attrs["base"]
    rules = {
        **number_kind(op, dtypes),
        f"head_dim is {attrs['head_dim']!r}, rotated {attrs['rotated']!r}: must be whole numbers >= 2": sound,
        f"style is {attrs['style']!r}, can be {', '.join(ROPE_STYLES)}": attrs["style"] in ROPE_STYLES,
        f"base is {base!r}, must be a number > 0": isinstance(base, int | float) and base > 0,
        f"position is {attrs['position']!r}, must be a whole number >= 0": is_count(attrs["position"], 0),
    }
    if sound:
        head, rotated = attrs["head_dim"], attrs["rotated"]
        rules[f"heads of {head} do not divide {cols} columns"] = cols % head == 0
        rules[f"rotated {rotated} exceeds head_dim {head} or is odd"] = rotated <= head and rotated % 2 == 0
    return rules


def _rope(op: Op, inputs: list[Array], values: Values) -> Array:
    """Rotate pair i of each head by the angle position / base ** (2i / rotated); row 0 is at ``position``."""
    attrs, x = op.attrs, inputs[0]
    head, rotated = attrs["head_dim"], attrs["rotated"]
    heads = x.reshape(*x.shape[:2], -1, head).astype(np.float64)
    rows = attrs["position"] + np.arange(x.shape[1])
    angles = rows[:, None, None] / attrs["base"] ** (2 * np.arange(rotated // 2) / rotated)
    half = attrs["style"] == "half"
    pairs = (np.arange(rotated // 2), np.arange(rotated // 2, rotated))
    even, odd = pairs if half else (np.arange(0, rotated, 2), np.arange(1, rotated, 2))
    result = heads.copy()
    result[..., even] = heads[..., even] * np.cos(angles) - heads[..., odd] * np.sin(angles)
    result[..., odd] = heads[..., odd] * np.cos(angles) + heads[..., even] * np.sin(angles)
    return as_float32(result.reshape(x.shape))


def _pick_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    source, ids = op.inputs
    return {
        f"{ids.batch}x{ids.rows * ids.cols} ids give {op.batch}x{op.output.rows} rows": (ids.batch, ids.rows * ids.cols)
        == (op.batch, op.output.rows),
        f"rows have batch {source.batch}, must be 1 or {op.batch}": source.batch in (1, op.batch),
        f"rows of {source.cols}, {op.output.cols} in the output": source.cols == op.output.cols,
        f"ids must be int32, not {dtypes[1]}": dtypes[1] == "int32",
        f"input {dtypes[0]} and output {dtypes[2]} must be one dtype": dtypes[0] == dtypes[2],
    }


def _pick_rows(op: Op, inputs: list[Array], values: Values) -> Array:
    ids = inputs[1].reshape(op.batch, -1).astype(np.int64)
    source = np.broadcast_to(inputs[0], (op.batch, *inputs[0].shape[1:]))
    return np.stack([rows[places] for rows, places in zip(source, ids, strict=True)])


def _scatter_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    rows, ids, shares = op.inputs
    return {
        f"{ids.elements} ids and {shares.elements} shares for {rows.rows} rows": ids.elements
        == rows.rows
        == shares.elements,
        f"rows of {rows.cols}, {op.output.cols} in the output": rows.cols == op.output.cols and op.batch == 1,
        f"ids must be int32, not {dtypes[1]}": dtypes[1] == "int32",
        f"rows {dtypes[0]} and output {dtypes[-1]} must be one dtype": dtypes[0] == dtypes[-1],
    }


def _scatter_add(op: Op, inputs: list[Array], values: Values) -> Array:
    total = np.zeros((op.output.rows, op.output.cols), np.float32)
    np.add.at(total, inputs[1].reshape(-1).astype(np.int64), inputs[0][0] * inputs[2].reshape(-1, 1))
    return total[None]


def _position_bias_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    ids, table = op.inputs
    return {
        f"ids are {ids}, must be {op.output.rows}x{op.output.cols}": ids.shape == (1, *op.output.shape[1:]),
        f"table is {table}, must have a column for each of {op.batch} heads": table.batch == 1
        and table.cols == op.batch,
        f"ids must be int32, not {dtypes[0]}": dtypes[0] == "int32",
        f"table {dtypes[1]} and output {dtypes[2]} must be one dtype": dtypes[1] == dtypes[2],
    }


def _position_bias(op: Op, inputs: list[Array], values: Values) -> Array:
    return np.asarray(inputs[1][0][inputs[0][0].astype(np.int64)]).transpose(2, 0, 1)


def _unchanged(x: Array) -> Array:
    return x


KINDS = (
    Kind(
        "copy",
        "one input, moved to other rows",
        number_kind,
        reference=of_one(_unchanged),
        converts=False,
        hands_on=True,
    ),
    Kind(
        "gather",
        "one input; columns: the columns that are gathered",
        _gather_rules,
        {"columns": ()},
        reference=_gather,
        converts=False,
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
        looks_up=True,
        color="#C4C4C4",
    ),
    Kind(
        "position_bias",
        "ids [queries, keys] of distances, table [distances, heads]: bias of each head's scores",
        _position_bias_rules,
        inputs=(2,),
        reference=_position_bias,
        converts=False,
        color="#BBBBDD",
    ),
    Kind(
        "rope",
        "one input; head_dim, rotated, style (half or interleaved), base, position of the first row: rotary embedding",
        _rope_rules,
        {"head_dim": 0, "rotated": 0, "style": "half", "base": 10000.0, "position": 0},
        reference=_rope,
        columns=Columns("heads"),
        color="#DDCC77",
    ),
    Kind(
        "pick_rows",
        "rows, ids: the rows with these ids, one after the other (tokens of an expert, sorted tokens)",
        _pick_rules,
        inputs=(2,),
        reference=_pick_rows,
        columns=Columns(inputs=(0,)),
        converts=False,
        color="#6699CC",
    ),
    Kind(
        "scatter_add",
        "rows, ids, shares: each row times its share is added to the output's row with its id; other rows are 0",
        _scatter_rules,
        inputs=(3,),
        reference=_scatter_add,
        columns=Columns(inputs=(0,)),
        priced=input_elements,
        color="#997700",
    ),
)
