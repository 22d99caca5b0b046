"""Checks of a program before the core runs it: commands that no machine, or not this one, could ever end."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.isa import codes, fields
from sim.isa.commands import Funct, Program
from sim.isa.layouts import CONV_2_SECOND, CONV_3_FIRST, EX_FIRST, LOOP_SECOND, get

if TYPE_CHECKING:
    from sim.hardware import Hardware

MAX_PROBLEMS = 20

LOOP_SLOTS = 2
"""Loops that an unroller holds: a loop without bounds takes those of the second loop before it."""

MAX_BLOCKS = 1 << 24
"""Blocks that one loop may compute or move: the core takes minutes for as many. A loop's operands lie in half of each
local memory, so that loops of programs that work are far shorter; recorded ones may have any number of 16 bits."""

CONV_SIZES: dict[int, tuple[tuple[str, Any, str], ...]] = {
    codes.LOOP_CONV_WS_2: (
        ("rs2", CONV_2_SECOND.batches, "batches"),
        ("rs2", CONV_2_SECOND.porows, "output rows"),
        ("rs2", CONV_2_SECOND.pocols, "output columns"),
        ("rs2", CONV_2_SECOND.pochs, "output channels"),
    ),
    codes.LOOP_CONV_WS_3: (
        ("rs1", CONV_3_FIRST.krows, "kernel rows"),
        ("rs1", CONV_3_FIRST.kcols, "kernel columns"),
        ("rs1", CONV_3_FIRST.kchs, "input channels"),
    ),
}
"""Bounds of a convolution loop: operand, field, name (LoopConv.scala)."""

IN_BLOCKS = ("output columns", "output channels", "input channels")
"""Bounds that the loop steps through by blocks of the array."""


def check(program: Program, hw: Hardware) -> None:
    """Raise InputError, with all problems, if the program has a command that this machine cannot end.

    Refused are loops without bounds, with a bound of 0 (their counters would never meet it) or of more than
    `MAX_BLOCKS`, a padding as large as the last block, the output-stationary dataflow on a 2x2 array, and
    configurations of missing normalisation units (StoreController.scala takes such a command for an mvout).
    """
    found = [*_loops(program, hw), *_convolutions(program, hw), *_configurations(program, hw)]
    if found:
        more = len(found) - MAX_PROBLEMS
        text = [f"program: command {at}: {problem}" for at, problem in sorted(found)[:MAX_PROBLEMS]]
        raise InputError([*text, f"program: and {more} more"] if more > 0 else text)


def _where(condition: npt.NDArray[np.bool_]) -> list[int]:
    return np.flatnonzero(condition).tolist()


def _loops(program: Program, hw: Hardware) -> Iterator[tuple[int, str]]:
    bounds = program["funct"] == codes.LOOP_WS_BOUNDS
    if _suspicious(program[bounds], hw):
        yield from _bounds(program, bounds, hw)
    yield from _unbounded(program, codes.LOOP_WS, codes.LOOP_WS_BOUNDS)


def _bounds(program: Program, bounds: npt.NDArray[np.bool_], hw: Hardware) -> Iterator[tuple[int, str]]:
    for n, name in enumerate("IJK"):
        blocks, padding = (fields.loop_dimension(program[operand], n) for operand in ("rs2", "rs1"))
        for at in _where(bounds & (blocks == 0)):
            if name == "K" and _adds(program, at):
                continue  # a residual addition has no K
            yield at, f"LOOP_WS_CONFIG_BOUNDS: {name} = 0 blocks; nearest legal value: 1"
        for at in _where(bounds & (padding >= hw.dim)):
            demand = f"leaves nothing of the last block of {hw.dim}; nearest legal value: {hw.dim - 1}"
            yield at, f"LOOP_WS_CONFIG_BOUNDS: padding of {name} = {padding[at]} {demand}"
    i, j, k = (fields.loop_dimension(program["rs2"], n).astype(np.int64) for n in range(3))
    for at in _where(bounds & (i * j * np.maximum(k, 1) > MAX_BLOCKS)):
        yield at, f"LOOP_WS_CONFIG_BOUNDS: I x J x K = {i[at]} x {j[at]} x {k[at]} blocks; at most {MAX_BLOCKS:,}"


def _suspicious(bounds: Program, hw: Hardware) -> bool:
    """Return whether any of some loops' bounds has to be looked at: in next to every program none has."""
    if not len(bounds):
        return False
    i, j, k = (fields.loop_dimension(bounds["rs2"], n) for n in range(3))
    least = min(int(n.min()) for n in (i, j, k))
    padding = max(int(fields.loop_dimension(bounds["rs1"], n).max()) for n in range(3))
    return least == 0 or padding >= hw.dim or int((i * j * k).max()) > MAX_BLOCKS


def _adds(program: Program, at: int) -> bool:
    """Return whether the bounds at command ``at`` belong to a residual addition."""
    loops = np.flatnonzero(program["funct"][at:] == codes.LOOP_WS)
    return bool(len(loops)) and bool(get(program["rs2"][at + loops[0]], LOOP_SECOND.residual))


def _unbounded(program: Program, loop: int, bounds: int) -> Iterator[tuple[int, str]]:
    """Yield the problems of loops without bounds.

    The first loop of each slot has no earlier one to take bounds from.
    """
    before = 0
    for at in _where(program["funct"] == loop)[:LOOP_SLOTS]:
        if not (program["funct"][before:at] == bounds).any():
            yield at, f"{Funct(loop).name}: the loop has no bounds; put a {Funct(bounds).name} before it"
        before = at


def _convolutions(program: Program, hw: Hardware) -> Iterator[tuple[int, str]]:
    funct = program["funct"]
    if not (funct == codes.LOOP_CONV_WS).any():
        return
    latest: dict[str, int] = {}
    for at in _where((funct == codes.LOOP_CONV_WS) | np.isin(funct, list(CONV_SIZES))):
        for operand, field, name in CONV_SIZES.get(int(funct[at]), ()):
            latest[name] = int(get(program[operand][at], field))
        blocks = prod(-(-n // hw.dim) if name in IN_BLOCKS else n for name, n in latest.items())
        if funct[at] == codes.LOOP_CONV_WS and blocks > MAX_BLOCKS:
            listed = ", ".join(f"{name} {n:,}" for name, n in latest.items())
            yield at, f"LOOP_CONV_WS: {blocks:,} blocks of {listed}; at most {MAX_BLOCKS:,}"
    for code, sizes in CONV_SIZES.items():
        for operand, field, name in sizes:
            for at in _where((funct == code) & (get(program[operand], field) == 0)):
                yield at, f"{Funct(code).name}: {name} = 0; nearest legal value: 1"
        yield from _unbounded(program, codes.LOOP_CONV_WS, code)


def _configurations(program: Program, hw: Hardware) -> Iterator[tuple[int, str]]:
    config = program["funct"] == codes.CONFIG
    kind = fields.config_kind(program["rs1"])
    if not hw.features.normalizations:
        for at in _where(config & (kind == codes.CONFIG_NORM)):
            yield (
                at,
                f"CONFIG of normalisation units, which {hw.name} does not have; the RTL takes it for an mvout "
                "(StoreController.scala); nearest: features.normalizations = true",
            )
    if hw.dim == 2 and hw.array.dataflow != "WS":
        both: Any = hw.array.dataflow == "BOTH"
        chosen = config & (kind == codes.CONFIG_EX) & (get(program["rs1"], EX_FIRST.strides_only) == 0)
        stationary = chosen & (get(program["rs1"], EX_FIRST.weight_stationary) == 0) if both else chosen
        for at in _where(stationary)[:1]:
            demand = (
                "products of 2 rows complete up to three commands in 2 cycles, the execute controller reports one a "
                "cycle and overwrites waiting ones (ExecuteController.scala), so products of some shapes never end; "
                "nearest: a 4x4 array, or the weight-stationary dataflow"
            )
            yield at, f"output-stationary dataflow on a 2x2 array: {demand}"
