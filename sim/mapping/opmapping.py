"""A mapping as data: the tiles, order and dataflow of one work item."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from sim.base.errors import InputError, demand
from sim.lower.conv.tiling import NAMES as CONV_AXES
from sim.lower.work import Conv, Dataflow, Halves, Matmul, Norm, Resident, ResidualAdd, Work

Kind = Literal["matmul", "conv", "residual_add", "norm"]
Tiled = Matmul | Conv | ResidualAdd | Norm
"""Work items with tiles to choose."""

AXES: dict[Kind, tuple[str, ...]] = {
    "matmul": ("I", "J", "K"),
    "conv": CONV_AXES,
    "residual_add": ("rows", "cols"),
    "norm": ("rows",),
}
"""Names of the tile's sizes: blocks of DIM for a matmul, elements for all others."""

KIND_OF: dict[type, Kind] = {Matmul: "matmul", Conv: "conv", ResidualAdd: "residual_add", Norm: "norm"}
"""Work item -> kind of its mapping."""

FIELDS: dict[Kind, tuple[str, ...]] = {kind: item.MAPPING_FIELDS for item, kind in KIND_OF.items()}  # type: ignore[attr-defined]
"""Fields of its work item that a mapping sets."""

ROWS = "tile_rows"
"""Field of an item whose tile is only a number of rows."""

LIBRARY_ORDER = "ijk"
"""The only loop order of the library's explicit-tile call (tiled_matmul of gemmini.h)."""


@dataclass(frozen=True)
class OpMapping:
    """Tiling of one operator: ``tile`` along `AXES`, and for a matmul its other mapping fields.

    ``loop_order`` of the tile loops, ``dataflow``, the operands that stay in the scratchpad (``resident``) and
    in which ``halves`` of it tiles lie.
    """

    kind: Kind
    tile: tuple[int, ...]
    loop_order: str = LIBRARY_ORDER
    dataflow: Dataflow = "WS"
    resident: Resident = "library"
    halves: Halves = "slot"

    @property
    def callable(self) -> bool:
        """Whether the library's explicit-tile call, which takes tiles and dataflow only, can express this mapping."""
        return (self.loop_order, self.resident, self.halves) == (LIBRARY_ORDER, "library", "slot")

    def fields(self) -> dict[str, Any]:
        """Return the fields of the work item that this mapping sets."""
        if ROWS in (names := FIELDS[self.kind]):
            return {ROWS: self.tile[0]}
        return {name: getattr(self, name) for name in names}

    def apply(self, work: Tiled) -> Tiled:
        """Return ``work`` with this mapping. Raises InputError for another kind or number of sizes."""
        kind = KIND_OF[type(work)]
        if kind != self.kind or len(self.tile) != len(AXES[kind]):
            raise InputError(
                f"a {self.kind} mapping of {len(self.tile)} sizes does not fit a {kind} ({', '.join(AXES[kind])})"
            )
        return replace(work, **self.fields())

    def __str__(self) -> str:
        sizes = ",".join(str(size) for size in self.tile)
        words = [
            self.loop_order if self.loop_order != LIBRARY_ORDER else "",
            {"library": "", "none": "none stays"}.get(self.resident, f"{'+'.join(self.resident.upper())} stays"),
            self.halves if self.halves != "slot" else "",
            self.dataflow if self.dataflow != "WS" else "",
        ]
        return " ".join([f"({sizes})", *(word for word in words if word)])


def tiled(work: Work) -> Tiled:
    """Return ``work`` if it has tiles to choose. Raises InputError if it has none."""
    if isinstance(work, Tiled):
        return work
    demand("work", work, get_args(Work), "a work item, as sim.lower.build.matmul(64, 64, 64) returns it")
    raise InputError(f"{type(work).__name__}: has no tiles to choose (dense operators have)")
