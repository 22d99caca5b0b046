"""Several cores in one run: a program for each, one memory between them; the counterpart of `timer.run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import Hang, InputError
from sim.core import cores as engine
from sim.core import explain, machine
from sim.core.engine import HANG
from sim.core.events import Event
from sim.core.jit import passed
from sim.core.params import NEVER, SHARED, XACTS
from sim.core.units import crossbar, tlb
from sim.core.units.memory.tile import CYCLES
from sim.core.units.reservation import TIMELINE
from sim.isa.commands import COMMAND, Funct, Program
from sim.timing import parameters as alone
from sim.timing import programs, timer
from sim.timing.contents import L2Contents, place
from sim.timing.timer import CAUSES, EVENTS
from sim.timing.timing import Clock

if TYPE_CHECKING:
    from sim.hardware import Hardware

MAX_CORES = 16
"""Largest number of cores: two were measured, more follow the same rule, limited by the L2's request words."""

NOTHING = np.zeros(0, COMMAND)

REFUSAL = "several cores share a memory: a core's time depends on the others, so no stretch repeats by itself"
"""Reason why the periodic clock does not run."""


@dataclass(frozen=True)
class Core:
    """Task of a core in a run: ``program`` (None: nothing), on ``hw``; ``start``: cycle of its first command.

    ``phase``, ``written_rows``: as in `timer.run`.
    """

    hw: Hardware
    program: Program | None
    start: int = 0
    phase: int = 0
    written_rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class CoreTiming:
    """One core's part.

    ``cycles``: first offered command to its last idle cycle. ``sections``: cycles of each fence-delimited part.

    ``counters``: its own; those of DRAM requests and bytes are of its port. ``wait_cycles``: cycles in which one of its
    beats waited at the crossbar for another core's.
    """

    cycles: int
    sections: tuple[int, ...]
    counters: dict[str, int]
    causes: dict[str, int]
    phase: int
    wait_cycles: int
    timeline: npt.NDArray[np.void] | None = None


@dataclass(frozen=True)
class Together:
    """A run of several cores. ``cycles``: cycle 0 to the last idle cycle of the last core. ``cores``: None: no program.

    ``memory``: counters of the memory's side. ``contents``: memory state for the next run. ``clock``, ``refusal``: as
    in `sim.timing.timing.Timing`.
    """

    cycles: int
    cores: tuple[CoreTiming | None, ...]
    memory: dict[str, int]
    contents: L2Contents
    clock: Clock
    refusal: str
    visited_cycles: int


def parameters(hw: Hardware, cores: int) -> tuple[dict[str, int], dict[str, int]]:
    """Return the numbers of a core and those of the memory's side. Raises InputError beyond the limits.

    The cycles of the tile's buffer are subtracted from the memory's latency, which is that of a single core.
    """
    own = alone.parameters(hw)
    problems = []
    most = XACTS // cores
    if own["n_xacts"] > most:
        problems.append(
            f"{hw.name}: dma.max_in_flight_requests = {own['n_xacts']} on {cores} cores: the memory's side holds "
            f"{XACTS} requests; nearest legal value {most}"
        )
    if not own["l2_sets"] and own["mem_latency"] <= CYCLES:
        problems.append(
            f"{hw.name}: memory.latency_cycles = {hw.memory.latency_cycles}: {CYCLES} of the cycles of a memory that "
            f"cores share are those of their tiles' buffers; nearest legal value {CYCLES + 1}"
        )
    if problems:
        raise InputError(problems)
    own = {**own, "tile_buffer": 0}  # a core's tile is its memory
    side = own if own["l2_sets"] else {**own, "mem_latency": own["mem_latency"] - CYCLES}
    return {**own, "memory_model": SHARED, "l2_sets": 0}, side


def run(
    cores: Sequence[Core],
    *,
    clock: Clock = "periodic",
    timeline: bool = False,
    contents: L2Contents | None = None,
) -> Together:
    """Time a program on each of several cores that share the memory of the first one's machine.

    ``clock``: "reference" steps all cores in every cycle, "leap" (and "periodic", which cannot repeat here) each in the
    cycles in which it can act. ``contents``: memory state of an earlier run.
    Raises Hang and InputError as `timer.run`.
    """
    timer.prepare()
    if not 1 <= len(cores) <= MAX_CORES:
        raise InputError(f"{len(cores)} cores: a run has 1 to {MAX_CORES}")
    busy = [core for core in cores if core.program is not None]
    if not busy:
        raise InputError("no core has a program; a run needs at least one")
    hw = cores[0].hw
    code = [np.ascontiguousarray(NOTHING if c.program is None else c.program, dtype=COMMAND) for c in cores]
    for core, commands in zip(cores, code, strict=True):
        if core.program is not None:
            if not (commands["funct"] != Funct.FENCE).any():
                raise InputError("program: holds no command; a program needs at least one command before its fence")
            programs.check(commands, core.hw)
    fences = max(int((commands["funct"] == Funct.FENCE).sum()) for commands in code)
    bounds = np.cumsum([0, *(len(commands) for commands in code)])
    rows = 1024 if timeline else 0
    while True:
        state = _machines(cores, code, contents)
        side, lines, channels = _side(hw, len(cores), max(alone.parameters(c.hw)["n_xacts"] for c in cores), contents)
        sections = np.zeros((len(cores), fences + 1), np.int64)
        times = np.zeros((len(cores), rows), TIMELINE)
        engine.begin(state, [c.start if c.program is not None else NEVER for c in cores], clock == "reference")
        side[0].full = int(clock == "reference")
        status = engine.drive(
            passed(state), passed(side), (passed(np.concatenate(code).view(np.recarray)), bounds), sections,
            passed(times.view(np.recarray)), lines, passed(channels), clock != "reference", between=timer.heeded,
        )  # fmt: skip
        _refuse_hang(cores, state, code, status)
        written = max(int(m.station.rows) for m in state)
        if not timeline or written <= rows:
            break
        rows = written
    visited = side[0].count[Event.VISITED_CYCLES]
    return Together(
        cycles=int(side[0].front.idle_t),
        cores=tuple(
            _timing(core, m, sections[i], times[i] if timeline else None)
            for i, (core, m) in enumerate(zip(cores, state, strict=True))
        ),
        memory=dict(zip(EVENTS, side[0].count.tolist(), strict=True)),
        contents=L2Contents(lines.tobytes(), machine.memory_side(side), channels.tobytes(), _tlbs(state)),
        clock="reference" if clock == "reference" else "leap",
        refusal=REFUSAL if clock == "periodic" else "",
        visited_cycles=int(visited),
    )


def _machines(cores: Sequence[Core], code: Sequence[Program], contents: L2Contents | None) -> npt.NDArray[Any]:
    """Return the cores' records after reset, with the TLBs that earlier programs left."""
    state = np.zeros(len(cores), machine.MACHINE).view(np.recarray)
    for i, (core, commands) in enumerate(zip(cores, code, strict=True)):
        own, _ = parameters(core.hw, len(cores))
        state[i] = timer.reset(tuple(own.items()), core.phase, core.written_rows, commands)[0]
    if contents is not None and contents.tlbs:
        np.asarray(state)["tlb"] = np.frombuffer(contents.tlbs, tlb.DTYPE)
    return state


def _tlbs(state: npt.NDArray[Any]) -> bytes:
    """Return the cores' TLBs where there are pages, as a core alone passes them on."""
    return np.asarray(state)["tlb"].tobytes() if state[0].p.page_mode else b""


def _side(
    hw: Hardware, cores: int, ids: int, contents: L2Contents | None
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Return the memory's side before a run: its record, an L2's tags, a DRAM's channels."""
    side = machine.build(parameters(hw, cores)[1])
    crossbar.attach(side[0], cores, ids)
    lines, channels = place(side, hw, contents)
    return side, lines, channels


def _refuse_hang(cores: Sequence[Core], state: npt.NDArray[Any], code: Sequence[Program], status: int) -> None:
    for i, (core, commands) in enumerate(zip(cores, code, strict=True)):
        m = state[i : i + 1]
        if status == HANG and m[0].tile.done < 2:
            raise Hang(f"{core.hw.name}, core {i}: the program never ends\n{explain.describe(m, len(commands))}")
        timer.refuse_lost_rows(core.hw, m)


def _timing(core: Core, m: Any, ends: npt.NDArray[np.int64], times: npt.NDArray[Any] | None) -> CoreTiming | None:
    if core.program is None:
        return None
    passed_fences = ends[: int(m.front.sections)]
    return CoreTiming(
        cycles=int(m.front.idle_t) - core.start,
        sections=tuple(int(n) for n in np.diff(passed_fences, prepend=core.start)),
        counters=dict(zip(EVENTS, m.count.tolist(), strict=True)),
        causes=dict(zip(CAUSES, m.cause.tolist(), strict=True)),
        phase=int(m.loop_matmul.head),
        wait_cycles=int(m.tile.wait_cycles),
        timeline=timer.times_of(times[: int(m.station.rows)]) if times is not None else None,
    )
