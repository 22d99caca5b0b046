"""Measure one mapping: simulate its whole program, or simulate its beginning and extrapolate.

A forecast simulates two prefixes of the program and extrapolates the rate between them to its end. If the prefixes
would be most of the program, the whole is simulated instead. Forecasts only rank the mappings of a large operator;
every reported figure comes from a whole simulation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from sim.cost import energy
from sim.hardware import Hardware
from sim.isa import commands
from sim.isa.commands import Funct, Program
from sim.isa.layouts import CONV_2_SECOND, CONV_3_FIRST, CONV_4_FIRST, CONV_4_SECOND, LOOP_BLOCKS, get
from sim.lower import lower
from sim.mapping.opmapping import OpMapping, Tiled
from sim.timing import timer

LOOPS = (int(Funct.LOOP_WS), int(Funct.LOOP_CONV_WS))
COMPUTES = (int(Funct.COMPUTE_PRELOADED), int(Funct.COMPUTE_ACCUMULATED))

OUTPUTS = (int(Funct.LOOP_WS_CONFIG_ADDRS_DC), int(Funct.LOOP_CONV_WS_CONFIG_5))
"""Commands whose rs2 is the DRAM address of a loop's result, 0 if nothing is stored."""

CONV_SIZES = (
    int(Funct.LOOP_CONV_WS_CONFIG_2),
    int(Funct.LOOP_CONV_WS_CONFIG_3),
    int(Funct.LOOP_CONV_WS_CONFIG_4),
)
"""Commands with the size of a convolution's tile (their fields: sim.lower.conv)."""

OS_ENDS = (int(Funct.CONFIG), int(Funct.FENCE))
"""An OS tile begins with a load configuration; the fence ends the last one."""


@dataclass(frozen=True)
class Beginnings:
    """The two prefixes of a forecast.

    The shorter has at least ``computes`` computes and ``tiles`` tiles, the longer ``ratio`` times more. ``stored``:
    both end after a tile that stores results.
    """

    computes: int
    tiles: int
    ratio: float
    stored: bool


MAX_CYCLES = 1 << 50
"""Cycles beyond any simulation: no limit."""

Ints = npt.NDArray[np.int64]
Depth = Literal["whole", "chains", "start"]

SHORT_COMPUTES = 4096
"""Programs of fewer computes run on the leaping clock: 68,643 cycles take 11 ms on it and 10 ms on the periodic
one, 4,776 cycles 1.6 and 3.9 ms, 295,663 cycles 44 and 13 ms. Both clocks give the same cycles.
"""

WORTHWHILE = 0.7
"""Largest share of the program in the prefixes; beyond it the whole is simulated, which is exact."""

WHOLE_BEGINNINGS = 8
"""Largest cycles of such a whole simulation, in multiples of the limit of a prefix."""

BEGINNINGS: dict[Depth, Beginnings] = {
    "start": Beginnings(computes=256, tiles=2, ratio=2.0, stored=False),
    "chains": Beginnings(computes=2000, tiles=1, ratio=2.5, stored=True),
}
"""Prefixes from the start: some 4,100 cycles at DIM 16, two tiles to fill both halves; later stores are not covered."""


@dataclass(frozen=True)
class Measured:
    """One mapping simulated whole: cycles, energy, DRAM bytes and cycles by cause.

    ``spent_cycles``: cycles simulated for it.
    """

    cycles: int
    energy_pj: float
    read_bytes: int
    write_bytes: int
    spent_cycles: int
    causes: dict[str, int] = field(default_factory=dict)

    def score(self, objective: str) -> float:
        """Return what the objective minimises: cycles, pJ, or their product."""
        return score(objective, self.cycles, self.energy_pj)


@dataclass(frozen=True)
class Forecast:
    """Expected cycles of one mapping, and the cycles simulated for it."""

    cycles: float
    spent_cycles: int


@dataclass(frozen=True)
class AbandonedMapping:
    """One mapping whose simulation was stopped: the program, or a prefix of it, takes more than ``spent_cycles``."""

    spent_cycles: int
    abandoned: bool = True


Answer = Measured | Forecast | AbandonedMapping


@dataclass(frozen=True)
class MeasureTask:
    """One mapping to be measured, with limits; sent to a worker process.

    ``limit_cycles``: limit of a whole simulation; ``beginning_cycles``: limit of a prefix. ``phase``: first loop slot.
    """

    work: Tiled
    mapping: OpMapping
    hw: Hardware
    depth: Depth
    limit_cycles: int = MAX_CYCLES
    beginning_cycles: int = MAX_CYCLES
    phase: int = 0

    def run(self) -> Answer:
        """Return `Measured` for depth "whole" or if prefixes are as long as the whole, else a `Forecast`.

        `AbandonedMapping` if a simulation exceeds its limit.
        """
        mapped = self.mapping.apply(self.work)
        try:
            if self.depth == "whole":
                return measure(mapped, self.hw, self.limit_cycles, self.phase)
            return forecast(mapped, self.hw, self.depth, (self.limit_cycles, self.beginning_cycles), self.phase)
        except timer.Overrun as left:
            return AbandonedMapping(left.limit_cycles)


def score(objective: str, cycles: float, energy_pj: float) -> float:
    """Return what ``objective`` minimises."""
    return {"cycles": cycles, "energy": energy_pj, "edp": cycles * energy_pj}[objective]


def measure(work: Tiled, hw: Hardware, limit_cycles: int = MAX_CYCLES, phase: int = 0) -> Measured:
    """Simulate a mapped item whole; its first loop has slot ``phase``.

    Raises InputError or Hang as lowering and core do, Overrun if it takes more than ``limit_cycles``.
    """
    program = lower(work, hw)
    short = int(tiles_of(program, hw.dim).weights.sum()) < SHORT_COMPUTES
    timed = timer.run(program, hw, clock="leap" if short else "periodic", limit_cycles=limit_cycles, phase=phase)
    parts = energy.price(timed.counters, work.macs, timed.cycles, hw)
    count = timed.counters
    causes = {cause: cycles for cause, cycles in timed.causes.items() if cycles}
    return Measured(
        timed.cycles,
        sum(parts.values()),
        count["DRAM_READ_BYTES"],
        count["DRAM_WRITE_BYTES"],
        timed.cycles,
        causes,
    )


def forecast(
    work: Tiled, hw: Hardware, depth: Depth, limits: tuple[int, int] = (MAX_CYCLES,) * 2, phase: int = 0
) -> Forecast | Measured:
    """Extrapolate the cycles from the rate between two prefixes with equal ends, so that their drains cancel.

    Both end after a tile that stores results, or neither. Measures the whole if that costs no more, or if the program
    has no tiles (LayerNorm rows). ``limits``: limits of the whole and of a prefix in cycles; raises Overrun beyond
    them.
    """
    program = lower(work, hw)
    how, tiles = BEGINNINGS[depth], tiles_of(program, hw.dim)
    if not tiles.weights.any():  # no tiles, or none that computes (LayerNorm)
        return measure(work, hw, limits[0], phase)
    reached = np.cumsum(tiles.weights)
    total, ends = int(reached[-1]), np.flatnonzero(tiles.stores) if how.stored else np.arange(len(reached))
    first = _end(ends, max(how.tiles, int(np.searchsorted(reached[ends], how.computes)) + 1))
    ends = ends[tiles.stores[ends] == tiles.stores[first]]
    second = _end(ends, int(np.searchsorted(reached[ends], how.ratio * reached[first])) + 1)
    if first == second or reached[first] + reached[second] > WORTHWHILE * total:
        return measure(work, hw, min(limits[0], WHOLE_BEGINNINGS * limits[1]), phase)
    cuts = [beginning(program, int(tiles.ends[end])) for end in (first, second)]
    short, long = (timer.run(cut, hw, clock="leap", limit_cycles=min(limits), phase=phase) for cut in cuts)
    pace = (long.cycles - short.cycles) / int(reached[second] - reached[first])
    return Forecast(long.cycles + (total - int(reached[second])) * pace, short.cycles + long.cycles)


def _end(ends: Ints, count: int) -> int:
    """Return the tile that is the ``count``-th of ``ends``, or the last of them."""
    return int(ends[min(len(ends), count) - 1])


@dataclass(frozen=True)
class Tiles:
    """The tiles of a program: index after the last command of each, its computes, whether it stores results."""

    ends: Ints
    weights: Ints
    stores: npt.NDArray[np.bool_]


def tiles_of(program: Program, dim: int) -> Tiles:
    """Return the tiles of a program: hardware loops, or the commands between two load configurations (OS).

    ``weights``: computes of each tile; for a convolution counted as if no pixels shared rows.
    """
    funct = program["funct"]
    loops = np.flatnonzero(np.isin(funct, LOOPS))
    if not len(loops):
        behind = np.isin(funct[:-1], (*COMPUTES, int(Funct.MVOUT))) & np.isin(funct[1:], OS_ENDS)
        ends = np.flatnonzero(behind) + 1
        computed = np.concatenate([[0], np.cumsum(np.isin(funct, COMPUTES))])[ends]
        stored = np.concatenate([[0], np.cumsum(funct == Funct.MVOUT)])[ends]
        return Tiles(ends, np.diff(computed, prepend=0), np.diff(stored, prepend=0) > 0)
    stores = program["rs2"][np.isin(funct, OUTPUTS)] != 0
    if (funct == Funct.LOOP_CONV_WS).any():
        sizes, taps, pixels = (program[funct == code] for code in CONV_SIZES)
        blocks = -(-get(sizes["rs2"], CONV_2_SECOND.pochs) // dim) * -(-get(taps["rs1"], CONV_3_FIRST.kchs) // dim)
        segments = (
            get(sizes["rs2"], CONV_2_SECOND.batches)
            * get(pixels["rs1"], CONV_4_FIRST.orows)
            * -(-get(pixels["rs2"], CONV_4_SECOND.ocols) // dim)
        )
        weights = blocks * segments * get(taps["rs1"], CONV_3_FIRST.krows) * get(taps["rs1"], CONV_3_FIRST.kcols)
    else:
        bounds = program["rs2"][funct == Funct.LOOP_WS_CONFIG_BOUNDS]
        i, j, k = (get(bounds, field) for field in LOOP_BLOCKS)
        weights = i * j * np.maximum(1, k)
    return Tiles(loops + 1, weights, np.asarray(stores, np.bool_))


def beginning(program: Program, end: int) -> Program:
    """Return the first ``end`` commands of a program, with a fence."""
    return np.append(program[:end], commands.program([commands.command(Funct.FENCE)]))
