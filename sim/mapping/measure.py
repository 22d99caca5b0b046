"""The judge: one mapping through lowering and timing core, whole, or its beginning with the rest foretold.

A forecast runs the first tiles only and carries the pace between two of their computes on to the end. It
ranks the mappings of a large operator; nothing is reported that was not simulated whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from sim import energy, isa, timing
from sim.hardware import Hardware
from sim.isa import Funct, Program
from sim.lower import lower
from sim.mapping.opmapping import OpMapping, Tiled

LOOPS = (int(Funct.LOOP_WS), int(Funct.LOOP_CONV_WS))
COMPUTES = (int(Funct.COMPUTE_PRELOADED), int(Funct.COMPUTE_ACCUMULATED))

OUTPUTS = (int(Funct.LOOP_WS_CONFIG_ADDRS_DC), int(Funct.LOOP_CONV_WS_CONFIG_5))
"""Commands whose rs2 is the DRAM address of a loop's result, 0 when nothing is stored."""

OS_ENDS = (int(Funct.CONFIG), int(Funct.FENCE))
"""An OS tile begins with a load configuration; the fence ends the last one."""

START_COMPUTES = 800
"""Computes that the start holds at least: some 13,000 cycles at DIM 16."""
START_LOOPS = 4
"""Tiles that the start holds at least: two to fill both halves, two of steady pace."""
CHAIN_COMPUTES = 2000
"""Computes of the shorter of two beginnings at least."""
CHAIN_RATIO = 2.5
"""How much longer the longer one is at least."""

Ints = npt.NDArray[np.int64]
Depth = Literal["whole", "chains", "start"]


@dataclass(frozen=True)
class Measured:
    """One mapping simulated whole: cycles, energy, DRAM bytes and cycles by cause.

    ``spent_cycles``: simulated to get there.
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
class Task:
    """One question to the judge; travels to a worker."""

    work: Tiled
    mapping: OpMapping
    hw: Hardware
    phase: int
    depth: Depth

    def run(self) -> Measured | Forecast:
        """Answer it: `Measured` for depth "whole", else a `Forecast`."""
        mapped = self.mapping.apply(self.work)
        if self.depth == "whole":
            return measure(mapped, self.hw, self.phase)
        foretell = forecast_chains if self.depth == "chains" else forecast_start
        return foretell(mapped, self.hw, self.phase)


def score(objective: str, cycles: float, energy_pj: float) -> float:
    """Return what ``objective`` minimises."""
    return {"cycles": cycles, "energy": energy_pj, "edp": cycles * energy_pj}[objective]


def measure(work: Tiled, hw: Hardware, phase: int = 0) -> Measured:
    """Simulate a mapped item whole. Raises InputError or Hang as lowering and core do."""
    timed = timing.run(lower(work, hw), hw, phase=phase)
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


def forecast_start(work: Tiled, hw: Hardware, phase: int = 0) -> Forecast:
    """Foretell the cycles from the pace of the first tiles; cheap, and blind to stores that come later.

    Measures between computes inside one run, so that the drain at its end does not count as pace.
    """
    program = lower(work, hw)
    tiles = tiles_of(program)
    reached = np.cumsum(tiles.weights)
    total = int(reached[-1])
    loops = max(START_LOOPS, int(np.searchsorted(reached, START_COMPUTES)) + 1)
    if loops >= len(reached) or 2 * reached[loops - 1] > total:
        cycles = timing.run(program, hw, phase=phase).cycles
        return Forecast(cycles, cycles)
    timed = timing.run(beginning(program, int(tiles.ends[loops - 1])), hw, phase=phase, timeline=True)
    assert timed.timeline is not None
    computes = timed.timeline[np.isin(timed.timeline["funct"], COMPUTES)]["t_issue"]
    # From the end of a loop to the end of the beginning, so that both ends stand at the same place of a tile.
    since = int(len(computes) * reached[loops // 2 - 1] / reached[loops - 1])
    pace = (int(computes[-1]) - int(computes[since - 1])) / (len(computes) - since)
    missing = len(computes) * (total / int(reached[loops - 1]) - 1)
    return Forecast(timed.cycles + missing * pace, 2 * timed.cycles)  # the timeline takes a second pass


def forecast_chains(work: Tiled, hw: Hardware, phase: int = 0) -> Forecast:
    """Foretell the cycles from whole output tiles, stores included: the difference of two beginnings.

    Both end with the store of an output tile, so that their drains cancel out.
    """
    program = lower(work, hw)
    tiles = tiles_of(program)
    reached = np.cumsum(tiles.weights)
    total = int(reached[-1])
    ends = np.flatnonzero(tiles.stores)
    first = ends[min(len(ends) - 1, int(np.searchsorted(reached[ends], CHAIN_COMPUTES)))]
    second = ends[min(len(ends) - 1, int(np.searchsorted(reached[ends], CHAIN_RATIO * reached[first])))]
    if first == second or reached[first] + reached[second] > total:
        cycles = timing.run(program, hw, phase=phase).cycles
        return Forecast(cycles, cycles)
    short = timing.run(beginning(program, int(tiles.ends[first])), hw, phase=phase).cycles
    long = timing.run(beginning(program, int(tiles.ends[second])), hw, phase=phase).cycles
    pace = (long - short) / int(reached[second] - reached[first])
    return Forecast(long + (total - int(reached[second])) * pace, short + long)


@dataclass(frozen=True)
class Tiles:
    """The tiles of a program: index behind the last command of each, its computes, whether it stores results."""

    ends: Ints
    weights: Ints
    stores: npt.NDArray[np.bool_]


def tiles_of(program: Program) -> Tiles:
    """Return the tiles of a program: hardware loops, or what the CPU issues between two load configurations (OS).

    ``weights``: blocks I*J*K of a matmul loop, 1 each for convolutions, computes of an OS tile.
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
    bounds = program["rs2"][funct == Funct.LOOP_WS_CONFIG_BOUNDS]
    weights = np.ones(len(loops), np.int64)
    if len(bounds):
        mask = (1 << 16) - 1
        weights = np.asarray((bounds & mask) * (bounds >> 16 & mask) * (bounds >> 32 & mask), np.int64)
    return Tiles(loops + 1, weights, np.asarray(stores, np.bool_))


def beginning(program: Program, end: int) -> Program:
    """Return the first ``end`` commands of a program, with a fence."""
    return np.append(program[:end], isa.program([isa.command(Funct.FENCE)]))
