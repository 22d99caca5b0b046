"""Interface to the timing core: from a program and a machine to cycles, counters, causes and the command timeline."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import Hang, InputError
from sim.base.workers import cores, safe_path
from sim.core import compiling, engine, explain, machine
from sim.core.events import Cause, Event
from sim.core.jit import passed
from sim.core.params import NEVER
from sim.core.repeat import periodic
from sim.core.units.reservation import TIMELINE
from sim.core.units.tlb import USE
from sim.isa.commands import COMMAND, Funct, Program
from sim.timing import programs, recurrence
from sim.timing.contents import L2Contents, place
from sim.timing.parameters import parameters
from sim.timing.timing import Clock, Timing

if TYPE_CHECKING:
    from sim.hardware import Hardware

COMMAND_COUNTS = ("t_complete", "seen", "why")
COMMAND_TIMES = tuple(name for name in TIMELINE.names or () if name not in COMMAND_COUNTS[1:])
"""Fields of `Timing.seen` and `Timing.timeline`."""

EVENTS = tuple(Event(place).name for place in range(len(Event)))
CAUSES = tuple(Cause(place).name.lower() for place in range(len(Cause)))
"""Names of counters and causes in the order of the record."""

UNTIMED = np.zeros(0, TIMELINE).view(np.recarray)
UNLOGGED = passed(np.zeros(0, USE).view(np.recarray))
"""Arrays without room, for what is not recorded."""

TIMELINE_ROWS = 1 << 20
"""Commands of the first allocation of a timeline: 192 MiB of addresses, memory only for written rows. The longest
program of GPT-2 at 512 tokens has 615,942; one that is longer still is run twice."""


@lru_cache(maxsize=8)  # filling the record takes longer than a small program; a run builds few machines
def _reset(
    described: tuple[tuple[str, int], ...], phase: int, written_rows: tuple[int, ...], to_scratchpad: bool
) -> npt.NDArray[np.void]:
    """Return the machine after reset (to be copied, not changed)."""
    state = machine.build(dict(described), phase, written_rows)
    state[0].burst.prevented = to_scratchpad
    return state


@lru_cache(maxsize=8)  # converting a record to words takes 0.2 ms
def _reset_words(
    described: tuple[tuple[str, int], ...], phase: int, written_rows: tuple[int, ...], to_scratchpad: bool
) -> npt.NDArray[np.int64]:
    return np.asarray(_reset(described, phase, written_rows, to_scratchpad)).view(np.int64)


def _results_to_scratchpad(commands: npt.NDArray[np.void]) -> bool:
    """True if a preload names scratchpad rows for its result; loops name accumulator rows (LoopMatmul.scala)."""
    return bool(((commands["funct"] == Funct.PRELOAD) & (commands["rs2"] & 0x8000_0000 == 0)).any())


_OF_THREAD = threading.local()


class Abandoned(Exception):
    """The run was stopped between two parts, because the event passed to `heed` is set."""


class Overrun(Exception):
    """The program takes more than its ``limit_cycles``."""

    def __init__(self, limit_cycles: int):
        super().__init__(f"the program takes more than {limit_cycles} cycles")
        self.limit_cycles = limit_cycles

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return type(self), (self.limit_cycles,)


def heed(abandoned: threading.Event) -> None:
    """Make every run of this thread end with `Abandoned` within a second after the event is set."""
    _OF_THREAD.abandoned = abandoned


def heeded() -> None:
    """Called between two parts of a run: interrupts are raised here, and `Abandoned` in a thread that is to stop."""
    event: threading.Event | None = getattr(_OF_THREAD, "abandoned", None)
    if event is not None and event.is_set():
        raise Abandoned


def reset(
    described: tuple[tuple[str, int], ...], phase: int, written_rows: tuple[int, ...], commands: npt.NDArray[np.void]
) -> npt.NDArray[np.void]:
    """Return the machine after reset before a program (not to be changed)."""
    return _reset(described, phase, written_rows, _results_to_scratchpad(commands))


def _fresh(
    described: tuple[tuple[str, int], ...], phase: int, written_rows: tuple[int, ...], commands: npt.NDArray[np.void]
) -> npt.NDArray[np.void]:
    """Return the machine after reset, in memory reused by this thread."""
    if not hasattr(_OF_THREAD, "machine"):
        _OF_THREAD.machine = np.zeros(1, machine.MACHINE).view(np.recarray)
        _OF_THREAD.words = np.asarray(_OF_THREAD.machine).view(np.int64)
        _OF_THREAD.passed = passed(_OF_THREAD.machine)
        _OF_THREAD.results = _results(np.asarray(_OF_THREAD.machine))
    state: npt.NDArray[np.void] = _OF_THREAD.machine
    _OF_THREAD.words[:] = _reset_words(described, phase, written_rows, _results_to_scratchpad(commands))
    return state


def _results(state: npt.NDArray[np.void]) -> tuple[npt.NDArray[Any], ...]:
    """Return views of what a run leaves in a machine's record: `Outcome`, each as an array of one element."""
    front, station = state["front"], state["station"]
    return front["idle_t"], front["sections"], station["rows"], state["count"], state["cause"]


@dataclass(frozen=True)
class Outcome:
    """Results of a run as the core leaves them; those of the periodic clock are a RUN record of the same names."""

    idle_t: int
    sections: int
    row: int
    count: npt.NDArray[np.int64]
    cause: npt.NDArray[np.int64]


_PREPARING = threading.Lock()


@cache
def _prepared() -> None:
    with safe_path():
        compiling.prepare(cores())


def prepare() -> None:
    """Compile the core once per process; the helping process imports no module from the current folder."""
    with _PREPARING:
        _prepared()


def run(
    program: Program,
    hw: Hardware,
    *,
    clock: Clock = "periodic",
    timeline: bool = False,
    phase: int = 0,
    written_rows: tuple[int, ...] = (),
    l2: L2Contents | None = None,
    limit_cycles: int | None = None,
) -> Timing:
    """Time a program (one-dimensional array of COMMAND) on a machine.

    ``clock``: "reference" visits every cycle, "leap" only those in which a unit can act, "periodic" of these only
    stretches not simulated before; all give the same result. ``timeline``: also record each command's allocation, issue
    and completion. ``phase``: first loop slot (0 after reset). ``written_rows``: accumulator rows that hold data of
    earlier programs (all others are zero until written; only the normaliser's divisions depend on it). ``l2``: contents
    of the L2 after an earlier program (empty after reset); with it the timing includes the contents after this one.
    ``limit_cycles``: raise Overrun soon after the program exceeds it. Raises Hang when the program can never end,
    InputError when the machine is beyond the core's limits, the program is empty or the
    limit is negative.
    """
    limit = _limit(limit_cycles)
    prepare()
    commands = _checked(program, hw)
    start = (tuple(parameters(hw).items()), phase, written_rows, commands)
    state = _fresh(*start)
    lines, channels = place(state, hw, l2)
    refusal = _refusal(state, commands) if clock == "periodic" else ""
    used: Clock = "leap" if refusal else clock
    sections = np.zeros(int((commands["funct"] == Funct.FENCE).sum()) + 1, np.int64)
    rows = max(TIMELINE_ROWS, len(commands)) if timeline else 0
    while True:
        times = np.zeros(rows, TIMELINE).view(np.recarray) if rows else UNTIMED
        status, outcome = _outcome(state, commands, sections, times, lines, channels, used, limit)
        if status == engine.OVERRUN or int(outcome.idle_t) > limit:
            raise Overrun(limit)
        _refuse_hang(hw, state, status, len(commands))
        written = int(outcome.row)
        if not timeline or written <= rows:
            break
        # the number of commands depends on the loop unrollers: run again with room for all of them
        rows = written
        state = _fresh(*start)
        lines, channels = place(state, hw, l2)
        sections[:] = 0
    if l2 is not None and hw.remembers:
        engine.rest(passed(state), lines, passed(channels))
        l2 = L2Contents(lines.tobytes(), machine.memory_side(state), channels.tobytes())
    return Timing(
        **_costs(outcome, sections),
        timeline=times_of(times[:written]) if timeline else None,
        phase=int(np.asarray(state)["loop_matmul"]["head"][0]),
        l2=l2,
        # the periodic clock counts from its last repetition: the other clocks have the counters at each completion
        seen=_fields(times[:written], COMMAND_COUNTS) if timeline and clock != "periodic" else None,
        clock=used,
        refusal=refusal,
    )


def _refusal(state: npt.NDArray[np.void], commands: npt.NDArray[np.void]) -> str:
    """Return why the periodic clock does not run a program, "" where it does."""
    return periodic.refusal(state, commands.view(np.recarray)) or recurrence.refusal(commands)


def _checked(program: Program, hw: Hardware) -> npt.NDArray[np.void]:
    """Return the commands. Raises InputError for a program without commands or one that the machine could never end."""
    commands = np.ascontiguousarray(program, dtype=COMMAND)
    if not (commands["funct"] != Funct.FENCE).any():
        raise InputError("program: holds no command; a program needs at least one command before its fence")
    programs.check(commands, hw)
    return commands


def _refuse_hang(hw: Hardware, state: npt.NDArray[Any], status: int, length: int) -> None:
    """Raise Hang if the engine found no end, or a row was lost."""
    if status == engine.HANG:
        raise Hang(f"{hw.name}: the program never ends\n{explain.describe(state, length)}")
    refuse_lost_rows(hw, state)


def _limit(limit_cycles: int | None) -> int:
    if limit_cycles is not None and limit_cycles < 0:
        raise InputError(f"limit_cycles: {limit_cycles} must be >= 0, or None for no limit (nearest legal: 0)")
    return NEVER if limit_cycles is None else limit_cycles


def _costs(outcome: Any, sections: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return cycles, counters and causes as fields of a `Timing`."""
    return {
        "cycles": int(outcome.idle_t),
        "sections": tuple(int(n) for n in np.diff(sections[: int(outcome.sections)], prepend=0)),
        "counters": dict(zip(EVENTS, outcome.count.tolist(), strict=True)),
        "causes": dict(zip(CAUSES, outcome.cause.tolist(), strict=True)),
        "visited_cycles": int(outcome.count[Event.VISITED_CYCLES]),
    }


def refuse_lost_rows(hw: Hardware, state: npt.NDArray[Any]) -> None:
    """Raise Hang if a row was lost, as the RTL's own assertion does."""
    if lost := int(np.asarray(state)["acc"]["lost"][0]):
        raise Hang(
            f"{hw.name}: {lost} rows met a full write queue of their accumulator sub-bank, at which the RTL's own "
            "assertion fails (AccumulatorMem.scala); nearest: twice the accumulator.sub_banks, or "
            "accumulator.single_ported = false"
        )


def times_of(records: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Return `Timing.timeline`: the times among the core's records of commands."""
    return _fields(records, COMMAND_TIMES)


def _fields(records: npt.NDArray[np.void], names: tuple[str, ...]) -> npt.NDArray[np.void]:
    """Return a copy with only the named fields."""
    plain = records.view(np.ndarray)
    found = np.empty(len(plain), [(name, plain.dtype[name]) for name in names])
    for name in names:
        found[name] = plain[name]
    return found


def _outcome(
    state: npt.NDArray[Any], program: npt.NDArray[Any], sections: npt.NDArray[Any], times: npt.NDArray[Any],
    lines: npt.NDArray[np.int64], channels: npt.NDArray[Any], clock: Clock, limit_cycles: int,
) -> tuple[int, Any]:  # fmt: skip
    """Run with a clock; return the engine's status and its results as a RUN record."""
    if clock == "periodic":
        status: int
        status, outcome = periodic.run(state, program.view(np.recarray), sections, times, lines, heeded, limit_cycles)
        return status, outcome
    np.asarray(state)["front"]["limit_t"] = limit_cycles
    hot = (_OF_THREAD.passed, passed(program.view(np.recarray)), sections, passed(times), lines, passed(channels))
    status = engine.drive(*hot, UNLOGGED, clock != "reference", between=heeded)
    idle_t, parts, written, count, cause = _OF_THREAD.results
    return status, Outcome(int(idle_t[0]), int(parts[0]), int(written[0]), count[0].copy(), cause[0].copy())
