"""Activity of a run over time, and its traffic by operand: each distinct program once more, with its timeline.

Traffic is split by operand through the DRAM address of each move. Activity is exact at every completion of a command
(the timeline carries the core's counters) and linear in between.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from sim.core.units.reservation import SEEN
from sim.lower import Work
from sim.lower.tiling import blocks_of
from sim.lower.work import Operand
from sim.run.cores import refuse
from sim.run.session import Session
from sim.timing.timing import Timing
from sim.trace.commands import Commands, decode
from sim.trace.walk import STEPS, walk

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.plan.planner import Step
    from sim.run.result import Result

Floats = npt.NDArray[np.float64]
T = TypeVar("T")

MAX_COMMANDS = 1_000_000
"""Largest number of commands of a recorded program (200 MB of timeline); larger ones are left out and reported."""

BINS = 400
"""Steps of the activity over a whole run, about the resolution of a picture."""

SERIES = ("spad_rows", "acc_rows", "read_beats", "write_beats", "mesh_rows")
"""Series over time: rows occupied in scratchpad and accumulator, beats on the bus, rows into the array."""

OPERANDS = {"a": "A", "b": "B (weights)", "d": "D (bias)", "c": "C (results)", "x": "X", "index": "block index"}
OPERANDS |= {"weights": OPERANDS["b"], "bias": OPERANDS["d"]}
OPERANDS |= {"buffer": "probabilities", "turned": "B as it is multiplied", "identity": "identity matrix"}
OTHER = "request padding"
"""Bytes that requests carry beyond the operands: a request is a whole aligned power of two of bytes."""


@dataclass(frozen=True)
class ProgramRecord:
    """One program run with its timeline. ``commands``: None if it has more than `MAX_COMMANDS`."""

    work: Work
    timed: Timing
    commands: Commands | None
    hw: Hardware


@dataclass(frozen=True)
class Placed(Generic[T]):
    """One invocation in the run.

    Its operator, its number and first cycle, whether it is the first of equal programs, and its recording.
    ``call_cycles``: the CPU's cycles around its library call.
    """

    step: Step
    invocation: int
    start_cycle: int
    cycles: int
    is_first: bool
    kept: T
    call_cycles: int = 0


@dataclass
class Profile:
    """``operands``: rows op, operand, read_bytes, write_bytes. ``edges``: cycles that bound the bins of ``activity``:
    series of `SERIES` -> mean rows held, or beats and rows per cycle. ``left_out``: operators without a recording."""

    operands: list[dict[str, Any]] = field(default_factory=list)
    edges: Floats = field(default_factory=lambda: np.zeros(1))
    activity: dict[str, Floats] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        activity = {name: [float(f"{value:.5g}") for value in values] for name, values in self.activity.items()}
        return {
            "operands": self.operands,
            "edges": [round(float(edge), 1) for edge in self.edges],
            "activity": activity,
            "left_out": self.left_out,
        }


def profile(result: Result, bins: int = BINS) -> Profile:
    """Return traffic by operand and activity over time of a whole run; it simulates each distinct program again.

    For a run on several cores, whose programs are not recorded, every operator of the array is listed as left out.
    """
    if result.hardware.cores.count > 1:
        return Profile(left_out=[step.name for step in result.steps if step.works])
    edges = np.linspace(0, result.cycles, min(bins, result.cycles) + 1)
    grown = {name: np.zeros(len(edges)) for name in SERIES}
    traffic: dict[tuple[str, str], list[int]] = {}
    left_out: list[str] = []
    for placed in invocations(result, _digest):
        if placed.kept is None:
            left_out += [placed.step.name] if placed.step.name not in left_out else []
            continue
        integrals, split = placed.kept
        for name, (times, total) in integrals.items():
            grown[name] += np.interp(edges - placed.start_cycle, times, total)
        for operand, (read, write) in split.items():
            sums = traffic.setdefault((placed.step.name, operand), [0, 0])
            sums[0] += read
            sums[1] += write
    widths = np.diff(edges)
    activity = {name: np.diff(total) / widths for name, total in grown.items()}
    operands = [
        {"op": op, "operand": operand, "read_bytes": read, "write_bytes": write}
        for (op, operand), (read, write) in traffic.items()
    ]
    return Profile(operands, edges, activity, left_out)


def invocations(result: Result, digest: Callable[[ProgramRecord], T]) -> Iterator[Placed[T]]:
    """Yield every invocation of the array in order; ``digest`` gets each distinct program once."""
    refuse(result.hardware, "a trace")
    # The periodic clock records no counters over time.
    session = Session(result.hardware, "reference" if result.request.clock == "reference" else "leap")
    known: dict[Hashable, tuple[Timing, T]] = {}
    for step, row in zip(result.steps, result.rows, strict=True):
        if not step.works:
            continue
        commands = sum(row["counters"].get(name, 0) for name in ("COMMANDS_LD", "COMMANDS_ST", "COMMANDS_EX"))
        small = commands <= MAX_COMMANDS * len(step.works)
        cycle = row["start_cycle"] + session.begin(step.name, step.machine)
        for number, item in enumerate(step.equivalent):
            around = session.call(item)
            cycle += around + session.restart_cycles
            key = session.key(item)
            is_first = key is None or key not in known
            if is_first:
                timed = session.time(item, timeline=small)
                found = replace(timed, timeline=None, seen=None), digest(_recording(item, timed, session.machine))
                known |= {} if key is None else {key: found}
            else:
                found = known[key]
            session.follow(found[0])
            yield Placed(step, number, cycle, found[0].cycles, is_first, found[1], around)
            cycle += found[0].cycles


def _digest(recording: ProgramRecord) -> tuple[dict[str, tuple[Floats, Floats]], dict[str, tuple[int, int]]] | None:
    hw = recording.hw
    if recording.commands is None:
        return None
    return _integrals(recording, recording.commands, hw), by_operand(recording, recording.commands, hw)


def _recording(work: Work, timed: Timing, hw: Hardware) -> ProgramRecord:
    return ProgramRecord(work, timed, decode(timed.timeline, hw) if timed.timeline is not None else None, hw)


def counted(timed: Timing) -> tuple[Floats, Floats]:
    """Return (times, counters of `SEEN` at those times as [time, counter]) from start to end of a program."""
    assert timed.seen is not None
    done = timed.seen[timed.seen["t_complete"] >= 0]
    order = np.argsort(done["t_complete"], kind="stable")
    ends = np.array([[timed.counters[event.name] for event in SEEN]])
    times = np.concatenate([[0], done["t_complete"][order], [timed.cycles]]).astype(float)
    return times, np.concatenate([np.zeros((1, len(SEEN))), done["seen"][order], ends]).astype(float)


def _integrals(recording: ProgramRecord, commands: Commands, hw: Hardware) -> dict[str, tuple[Floats, Floats]]:
    """Return series -> (times, cumulative sums at these times)."""
    timed = recording.timed
    held = walk(commands, hw, timed.cycles)
    ends = np.minimum(np.arange(len(held.scratchpad) + 1) * held.step_cycles, timed.cycles).astype(float)
    kept: dict[str, tuple[Floats, Floats]] = {}
    for name, rows in (("spad_rows", held.scratchpad), ("acc_rows", held.accumulator)):
        kept[name] = ends, np.concatenate([[0.0], np.cumsum(rows * np.diff(ends))])
    times, counters = counted(timed)
    if len(times) > STEPS:
        chosen = np.linspace(0, len(times) - 1, STEPS).astype(int)
        times, counters = times[chosen], counters[chosen]
    for name, column in (("read_beats", 0), ("write_beats", 1), ("mesh_rows", 2)):
        kept[name] = times, counters[:, column]
    return kept


def by_operand(recording: ProgramRecord, commands: Commands, hw: Hardware) -> dict[str, tuple[int, int]]:
    """Return operand -> (bytes read, bytes written) of one program; with `OTHER` they sum to the counters.

    Empty with an L2: commands do not show which bytes reach DRAM.
    """
    if hw.memory.l2_bytes:
        return {}
    left = commands.dram != 0
    split: dict[str, tuple[int, int]] = {}
    for name, operand, rows, cols, bits in _operands(recording.work, hw):
        inside = left & _within(commands.dram, operand, rows, cols, bits)
        left &= ~inside
        read, write = int(commands.read_bytes[inside].sum()), int(commands.write_bytes[inside].sum())
        if read or write:
            before = split.get(name, (0, 0))
            split[name] = before[0] + read, before[1] + write
    read = recording.timed.counters["DRAM_READ_BYTES"] - sum(part for part, _ in split.values())
    write = recording.timed.counters["DRAM_WRITE_BYTES"] - sum(part for _, part in split.values())
    return {**split, OTHER: (read, write)} if read or write else split


def _within(address: npt.NDArray[np.int64], operand: Operand, rows: int, cols: int, bits: int) -> npt.NDArray[np.bool_]:
    offset = address - operand.address
    stride, length = -(-operand.row_stride * bits // 8), -(-cols * bits // 8)
    if stride == 0:
        return (offset >= 0) & (offset < length)
    return (offset >= 0) & (offset // stride < rows) & (offset % stride < length)


def _operands(work: Work, hw: Hardware) -> Iterator[tuple[str, Operand, int, int, int]]:
    """Yield name, operand, rows, columns and widest element in bits of each operand of a work item."""
    widths = {"sums": 8 * hw.acc_bytes, "byte": 8}
    for name, operand, rows, cols, width in work.places():
        if name == "index":  # loaded as whole scratchpad rows
            cols = blocks_of(cols, hw.dim) * hw.dim
        yield OPERANDS[name], operand, rows, cols, widths[width] if width in widths else hw.bits(width)
