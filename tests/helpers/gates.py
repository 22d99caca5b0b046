"""Hand-written programs and their per-command times: what every tight gate of this folder needs.

The first command is accepted in cycle 0 and each further one a cycle later (the CPU's pace of the default machine),
so a command at position n that nothing holds up is allocated in n + ALLOC and issued a cycle later. Each program runs
under both clocks; they must agree before a gate looks at the times.
"""

from __future__ import annotations

from typing import NamedTuple

from sim.hardware import Hardware, load
from sim.isa.commands import ACCUMULATE_BIT, ACCUMULATOR_BIT, FULL_WIDTH_BIT, GARBAGE_ADDRESS, Funct
from sim.lower.encode import Stream
from sim.timing.timer import run
from sim.timing.timing import Timing

ACC, ADD, FULL, NOTHING = ACCUMULATOR_BIT, ACCUMULATE_BIT, FULL_WIDTH_BIT, GARBAGE_ADDRESS
LD, EX, ST = 0, 1, 2

DRAM = 0x2001_0000  # 64-byte aligned; reads
OUT = 0x2010_0000  # writes

# Cycles between the stations of a command (gemmini_machine.md 3.1, 7.1; addendum 4: alloc c+4, issue c+5)
ALLOC = 4  # accepted -> allocated: raw queue, convolution loop's, matmul loop's, unrolled queue, a cycle each
ISSUE = 1  # allocated -> issued, when nothing is in the way
HEAD = 1  # issued -> at the head of its controller
BUS = 4  # two TileLink buffers each way (Scratchpad.scala)
GET = 4  # row accepted by the DMA -> Get on the reader's A channel: issue queue, splitter, TLB, translate


class Times(NamedTuple):
    """One command: cycles in which it was allocated, issued and completed (-1: completes on issue)."""

    queue: int
    funct: int
    alloc: int
    issue: int
    complete: int


class Gate(Stream):
    """A program under construction on a machine, configured as the RTL's microbenchmarks are."""

    def __init__(self, hw: Hardware | None = None, **overrides: object):
        """``overrides``: dotted keys with "__" for the dot, e.g. memory__latency_cycles=100."""
        base = hw or DEFAULT
        changed = {key.replace("__", "."): value for key, value in overrides.items()}
        self.hw = base.with_(changed) if changed else base
        super().__init__(self.hw)

    def configure(self, *, dataflow: int = 1, stride: int = 64, scale: float = 1.0) -> Gate:
        """Execute, store and load state 0: three commands."""
        self.config_ex(dataflow=dataflow)
        self.config_st(stride)
        self.config_ld(stride, scale=scale)
        return self

    def pair(self, b: int, c: int, a: int, rows: int = 0, d: int = NOTHING, *, preloaded: bool = True) -> None:
        """One preload of a whole block and one compute of ``rows`` rows (0: DIM)."""
        dim = self.dim
        self.preload(b, c, (dim, dim), (dim, rows or dim))
        self.compute(a, d, (dim, rows or dim), (dim, dim), preloaded=preloaded)

    def wait(self, cycles: int) -> None:
        """The next command is offered this many cycles after the one before it."""
        self.gap = cycles

    def run(self, phase: int = 0) -> Timing:
        """Time the program, closed by a fence, under both clocks."""
        if self.commands[-1][0] != Funct.FENCE:
            self.fence()
        leap = run(self.program(), self.hw, timeline=True, phase=phase)
        slow = run(self.program(), self.hw, timeline=True, phase=phase, clock="reference")
        assert leap.timeline is not None and slow.timeline is not None
        assert leap.cycles == slow.cycles and leap.timeline.tolist() == slow.timeline.tolist()
        return leap

    def times(self, phase: int = 0) -> list[Times]:
        """Times of every command but the configuration, in order of allocation."""
        return work(self.run(phase))


def work(timing: Timing) -> list[Times]:
    """The commands of a timeline that are no configuration."""
    assert timing.timeline is not None
    rows = timing.timeline[timing.timeline["funct"] != Funct.CONFIG]
    return [
        Times(int(r["queue"]), int(r["funct"]), int(r["t_alloc"]), int(r["t_issue"]), int(r["t_complete"]))
        for r in rows
    ]


def configs(timing: Timing) -> list[Times]:
    """The configuration commands of a timeline."""
    assert timing.timeline is not None
    rows = timing.timeline[timing.timeline["funct"] == Funct.CONFIG]
    return [
        Times(int(r["queue"]), int(r["funct"]), int(r["t_alloc"]), int(r["t_issue"]), int(r["t_complete"]))
        for r in rows
    ]


def load_path(hw: Hardware, *, wide: bool = False) -> int:
    """Cycles from the last beat at the reader to the completion: merger, scaler, pixel repeater, write, tracker.

    int8 with the identity scale, or accumulator width without a scaler (``wide``).
    """
    scaler = 0 if wide else 1
    repeater = 1 if hw.features.first_layer_optimizations and not wide else 0
    return 1 + 1 + 1 + scaler + repeater + 1


def loaded(hw: Hardware, issue: int, beats: int, *, wide: bool = False) -> int:
    """Completion of an unhindered mvin: one Get a row, ``beats`` beats in all (addendum 4, mvin1_*)."""
    latency = hw.memory.latency_cycles + BUS
    return issue + HEAD + GET + latency + (beats - 1) + load_path(hw, wide=wide)


def fire_to_write(hw: Hardware) -> int:
    """Operand row fired -> its result written: SRAM, read pipeline, control queue, mesh (addendum D1)."""
    return hw.scratchpad.read_pipeline_cycles + 2 + hw.mesh_latency_cycles


DEFAULT = load("gemmini_default")
NEWER = load("gemmini_8c3f992")
