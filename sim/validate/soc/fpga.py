"""Layers that DOSA ran on FPGAs (dosa.csv): first with the library's tile, then with a mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sim.lower import build
from sim.lower.work import Conv, Matmul, Work
from sim.run.session import Session
from sim.validate.soc.programs import call
from sim.validate.tasks import MachineProgram, TaskOutcome

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.timing.timing import Clock

AXES = {"P": "i", "K": "j", "C": "k"}
"""The table's names of a product's loops (rows of output, output and input channels) -> the lowering's names."""


AUTOMATIC, MAPPED = "auto", "tiled"
"""Parts of a layer's program: the run with the library's tile, then that with the mapping."""


@dataclass(frozen=True)
class MappedLayer(MachineProgram):
    """A program that runs a layer twice: first with the library's tile, which fills the L2, then as mapped."""

    automatic: Work
    mapped: Work

    def outcome(self, hw: Hardware, clock: Clock) -> TaskOutcome:
        """Return both runs as parts."""
        session = Session(hw, clock)
        parts = {name: call(session, work) for name, work in ((AUTOMATIC, self.automatic), (MAPPED, self.mapped))}
        return replace(parts[MAPPED], parts=parts)


def layer(columns: Mapping[str, str], hw: Hardware) -> MappedLayer:
    """Return the two runs of a layer; the library of 2022 kept no operand between tiles."""
    outer_first = columns["loop_order_inner_to_outer"][::-1]
    auto, tiled = (tuple(int(size) for size in columns[name].split("x")) for name in ("auto_tile", "tile"))
    if columns["M"]:
        m, n, k = (int(columns[name]) for name in "MNK")
        work = build.matmul(m, n, k, input_bytes=hw.input_bytes, acc_bytes=hw.acc_bytes, resident="none")
        order = "".join(AXES[letter] for letter in outer_first if letter in AXES)
        return MappedLayer(_product(work, auto, "ijk"), _product(work, tiled, order))
    size, channels, out, kernel = (int(columns[name]) for name in ("in_rows", "in_channels", "out_channels", "kernel"))
    conv = build.conv(
        size, channels, out, kernel, bias=False, stride=int(columns["stride"]), padding=int(columns["padding"]),
        resident="none", downsampling=False,
    )  # fmt: skip
    return MappedLayer(_conv(conv, auto, conv.loop_order), _conv(conv, tiled, outer_first))


def _product(work: Matmul, tile: tuple[int, ...], order: str) -> Matmul:
    i, j, k = tile
    return replace(work, tile=(i, j, k), loop_order=order, any_order=True)


def _conv(work: Conv, tile: tuple[int, ...], order: str) -> Conv:
    n, p, q, k, r, s, c = tile
    return replace(work, tile=(n, p, q, k, r, s, c), loop_order=order)
