"""Rows of the RTL tables (kinds matmul, resadd, norm, conv; README.md beside them) -> work items.

Sizes are in their own columns (matmul.csv, conv.csv, ...) or in ``case`` ("kind=matmul M=64 N=64 K=64
tB=1", sweep.csv and configs.csv), often in both; ``case`` takes precedence because it also has the scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from sim.base.errors import InputError, did_you_mean
from sim.base.numbers import decimal
from sim.hardware import Hardware
from sim.lower import build
from sim.lower.residency import HALVES, RESIDENTS
from sim.lower.work import ACTIVATIONS, DEFAULT_SCALE, Activation, BiasKind, Conv, Matmul, Norm, ResidualAdd
from sim.run.limits import LARGE_ELEMENTS, LARGE_MACS

BIASES: tuple[BiasKind, ...] = ("none", "full", "row")
"""In the order of the test harness' codes bias=0, 1, 2."""

SCALES = {"layernorm": 40.0, "softmax": 1.0}
"""Output scales of the recorded norm rows; every other row without a scale has DEFAULT_SCALE."""

COLUMNS = {
    "M": ("M",),
    "N": ("N",),
    "K": ("K",),
    "df": ("flow",),
    "bias": ("bias",),
    "act": ("act",),
    "fullC": ("full_C",),
    "tA": ("transpose_A",),
    "tB": ("transpose_B",),
    "I": ("I", "rows"),
    "J": ("J", "cols"),
    "relu": ("relu",),
}
"""Name in ``case`` -> columns of the same meaning. Convolution names (b, in, ic, ...) are columns."""


RowWork = Matmul | ResidualAdd | Norm | Conv
"""Kinds of rows."""

Name = TypeVar("Name", bound=str)


class _Fields:
    """The row's values by their name in ``case``; collects every problem before an error is raised."""

    def __init__(self, row: Mapping[str, str]):
        self.row = row
        pairs = (word.partition("=")[::2] for word in (row.get("case") or "").split() if "=" in word)
        self.case = dict(pairs)
        self.problems: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        if name in self.case:
            return self.case[name]
        for column in COLUMNS.get(name, (name,)):
            if value := str(self.row.get(column) or "").strip():
                return value
        return default

    def integer(self, name: str, default: int | None = None) -> int:
        value = self.text(name)
        if not value and default is not None:
            return default
        try:
            return int(value)
        except ValueError:
            self.problems.append(f"{name} = {value!r} must be an integer")
            return 1

    def number(self, name: str, default: float) -> float:
        value = self.text(name)
        try:
            return decimal(value) if value else default
        except ValueError:
            self.problems.append(f"{name} = {value!r} must be a number")
            return default

    def choice(self, name: str, names: tuple[Name, ...], default: Name) -> Name:
        value = self.text(name, default)
        if value.isdecimal() and int(value) < len(names):
            return names[int(value)]
        for known in names:
            if value == known:
                return known
        self.problems.append(f"{name} = {value!r} is unknown{did_you_mean(value, names)}")
        return default


def repeats(row: Mapping[str, str]) -> int:
    """Return the number of runs of the row's operator, with fences in between (l2.csv: ``rep=3``)."""
    return _Fields(row).integer("rep", 1)


def item_of_row(row: Mapping[str, str], hw: Hardware | None = None) -> RowWork:
    """Return the work item of one row of the RTL tables.

    Element sizes come from ``hw``, else from the row's input_bytes and acc_bytes, else int8 and int32.
    Raises InputError for a kind that is not a library call (micro sequences are replayed, not lowered) and for
    bad values.
    """
    fields = _Fields(row)
    kind = fields.text("kind", str(row.get("kind") or ""))
    if kind not in MAKERS:
        hint = did_you_mean(kind, MAKERS)
        raise InputError(f"row {row.get('id', '?')}: kind {kind!r} is not a library call{hint}")
    sizes = (
        hw.input_bytes if hw else fields.integer("input_bytes", build.INT8_BYTES),
        hw.acc_bytes if hw else fields.integer("acc_bytes", build.INT32_BYTES),
    )
    work = MAKERS[kind](fields, *sizes)
    if not fields.problems:
        most = max(place.rows * place.cols for place in work.places())
        if work.macs > LARGE_MACS or most > LARGE_ELEMENTS:
            limits = f"{LARGE_MACS:,} and {LARGE_ELEMENTS:,}"
            fields.problems.append(
                f"{work.macs:,} multiply-accumulates and {most:,} elements of an operand; at most {limits}"
            )
    if fields.problems:
        raise InputError([f"row {row.get('id', '?')}: {problem}" for problem in fields.problems])
    return work


def _scale(fields: _Fields, activation: str = "none") -> float:
    return fields.number("scale", SCALES.get(activation, DEFAULT_SCALE))


def _tile(fields: _Fields) -> tuple[int, int, int] | None:
    names = ("tile_I", "tile_J", "tile_K")
    if fields.text(names[0], "auto") == "auto":
        return None
    i, j, k = (fields.integer(name) for name in names)
    return i, j, k


def _sizes(fields: _Fields, count: int) -> tuple[int, ...] | None:
    """Return the ``count`` sizes of a tile written like 1x7x14 in the column tile, or None if it is empty."""
    text = fields.text("tile")
    if not text:
        return None
    parts = text.split("x")
    if len(parts) != count or not all(part.isdecimal() for part in parts):
        fields.problems.append(f"tile = {text!r} must be {count} whole numbers joined by x")
        return None
    return tuple(int(part) for part in parts)


def _matmul(fields: _Fields, input_bytes: int, acc_bytes: int) -> Matmul:
    activation: Activation = fields.choice("act", ACTIVATIONS, "none")
    return build.matmul(
        fields.integer("M"),
        fields.integer("N"),
        fields.integer("K"),
        bias=fields.choice("bias", BIASES, "none"),
        transpose_a=bool(fields.integer("tA", 0)),
        transpose_b=bool(fields.integer("tB", 0)),
        full_c=bool(fields.integer("fullC", 0)),
        input_bytes=input_bytes,
        acc_bytes=acc_bytes,
        activation=activation,
        dataflow=fields.choice("df", ("OS", "WS"), "WS"),
        tile=_tile(fields),
        loop_order=fields.text("loop_order", "ijk"),
        resident=fields.choice("resident", RESIDENTS, "library"),
        halves=fields.choice("halves", HALVES, "slot"),
        scale=_scale(fields, activation),
    )


def _resadd(fields: _Fields, input_bytes: int, acc_bytes: int) -> ResidualAdd:
    relu = bool(fields.integer("relu", 0))
    work = build.resadd(fields.integer("I"), fields.integer("J"), relu=relu, input_bytes=input_bytes)
    tile = _sizes(fields, 2)
    return work if tile is None else replace(work, tile=(tile[0], tile[1]))


def _norm(fields: _Fields, input_bytes: int, acc_bytes: int) -> Norm:
    activation: Activation = fields.choice("act", ACTIVATIONS, "none")
    if activation != "layernorm" and activation != "softmax":
        fields.problems.append(f"act = {activation!r} is not a normalisation (layernorm, softmax)")
        activation = "layernorm"
    return build.norm(
        fields.integer("I"),
        fields.integer("J"),
        activation,
        input_bytes=input_bytes,
        acc_bytes=acc_bytes,
        scale=_scale(fields, activation),
    )


def _conv(fields: _Fields, input_bytes: int, acc_bytes: int) -> Conv:
    return build.conv(
        fields.integer("in"),
        fields.integer("ic"),
        fields.integer("oc"),
        fields.integer("k"),
        batch=fields.integer("b", 1),
        input_bytes=input_bytes,
        acc_bytes=acc_bytes,
        stride=fields.integer("s", 1),
        padding=fields.integer("p", 0),
        pool_size=fields.integer("ps", 0),
        pool_stride=fields.integer("pst", 0),
        pool_padding=fields.integer("pp", 0),
        activation="relu",
        scale=_scale(fields),
        tile=_sizes(fields, 7),
    )


MAKERS: dict[str, Callable[[_Fields, int, int], RowWork]] = {
    "matmul": _matmul,
    "resadd": _resadd,
    "norm": _norm,
    "conv": _conv,
}
