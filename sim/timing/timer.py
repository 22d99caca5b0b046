"""The door to the timing core: a program and a machine in, cycles, counters, causes and the command timeline out."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.recfunctions import repack_fields

from sim.base.errors import Hang, InputError
from sim.base.workers import cores, safe_path
from sim.core import compiling, engine, explain, machine
from sim.core.events import Cause, Event
from sim.core.jit import passed
from sim.core.params import DRAM, FIXED
from sim.core.repeat import periodic
from sim.core.repeat.memo import RUN
from sim.core.units.l2.state import LINE_BITS, MEM_CYCLES, WAYS
from sim.core.units.reservation import TIMELINE
from sim.core.units.tlb import USE
from sim.core.units.walks import LARGE, SECTORS, SMALL
from sim.isa.commands import COMMAND, Funct, Program
from sim.timing import limits, programs
from sim.timing.contents import L2Contents, place

if TYPE_CHECKING:
    from sim.hardware import Hardware

COMMAND_COUNTS = ("t_complete", "seen", "why")
COMMAND_TIMES = tuple(name for name in TIMELINE.names or () if name not in COMMAND_COUNTS[1:])
"""Fields of `Timing.seen` and `Timing.timeline`."""

Clock = Literal["periodic", "leap", "reference"]

EVENTS = tuple(Event(place).name for place in range(len(Event)))
CAUSES = tuple(Cause(place).name.lower() for place in range(len(Cause)))
"""Names of counters and causes in the order of the record."""

# The RTL's own assertion gives up after 10,000 cycles without an issue or completion (ReservationStation.scala,
# gemmini_timeout); here a beat on the bus counts as progress too, and the memory's round trip is added, so that
# neither a long command nor a slow memory is a hang.
STALL_CYCLES = 10_000

TIMELINE_ROWS = 1 << 20
"""Commands that a timeline has room for at first: 192 MiB of addresses, memory only where rows are written. The longest
program of GPT-2 at 512 tokens has 615,942; one that is longer still is run twice."""


@dataclass(frozen=True)
class Timing:
    """What one program cost. ``cycles``: first accepted command to the last idle cycle (busy low, nothing left).

    ``sections``: cycles of each fence-delimited part. ``counters``: names of `sim.core.events.Event`. ``causes``:
    cycles by cause, summing to ``cycles``. ``timeline``: structured array (queue 0 ld / 1 ex / 2 st, funct, rs1, rs2,
    t_alloc, t_issue, t_complete; -1 = completes on issue) or None. ``phase``: loop slot that comes next. ``l2``: what
    the next program finds in the L2, if asked for. ``seen``: with the timeline, and a clock other than periodic, what
    the counters stood at when each command completed: structured array (t_complete; seen, the counters of
    `sim.core.units.reservation.SEEN`; why, cycles by cause before). ``clock``: the clock that ran; ``refusal``: why it
    was not the periodic one, where that was asked for.
    """

    cycles: int
    sections: tuple[int, ...]
    counters: dict[str, int]
    causes: dict[str, int]
    timeline: npt.NDArray[np.void] | None
    phase: int
    visited_cycles: int
    l2: L2Contents | None = None
    seen: npt.NDArray[np.void] | None = None
    clock: Clock = "leap"
    refusal: str = ""


def _pace(bus_bytes: int, bytes_per_cycle: float) -> Fraction:
    """Cycles per beat of a memory that moves at most one beat a cycle.

    Exact for every rate of up to six decimal places; others are the nearest ratio whose denominator is at most 10^6.
    """
    rate = Fraction(str(bytes_per_cycle)).limit_denominator(1_000_000)
    return max(Fraction(1), Fraction(bus_bytes) / rate)


def local_memories(sp_rows: int, sp_banks: int, acc_rows: int, acc_banks: int) -> dict[str, int]:
    """Return the numbers among `parameters` that follow from the sizes of the local memories in rows."""
    address_bits = max(sp_rows, acc_rows).bit_length() - 1
    return {
        "sp_rows": sp_rows,
        "sp_row_bits": (sp_rows // sp_banks).bit_length() - 1,
        "acc_rows": acc_rows,
        "acc_row_bits": (acc_rows // acc_banks).bit_length() - 1,
        "addr_mask": (1 << address_bits) - 1,
        "garbage_mask": 7 << 29 | (1 << (address_bits + 1)) - 1,
    }


def parameters(hw: Hardware) -> dict[str, int]:
    """Return the integers of `sim.core.params.PARAMS` for a machine. Raises InputError beyond the core's limits."""
    return dict(_parameters(hw))


def timing_bits(hw: Hardware) -> int:
    """Return the low bits of a DRAM address on which the time of a program depends, beside the identity of its page."""
    return machine.timing_bits(_parameters(hw))


@lru_cache(maxsize=8)  # one machine runs many programs
def _parameters(hw: Hardware) -> dict[str, int]:
    limits.check(hw)
    a, s, c, d = hw.array, hw.scratchpad, hw.accumulator, hw.dma
    # Parameters.scala of the cache: enough MSHRs for its own idea of a memory round trip, and two for other channels
    mshrs = max(2, -(-MEM_CYCLES * d.bus_bytes // (1 << LINE_BITS)))
    read = _pace(d.bus_bytes, hw.memory.read_bytes_per_cycle)
    write = _pace(d.bus_bytes, hw.memory.write_bytes_per_cycle)
    if d.mvin_scale_units == "none":
        units, latency = -1, 0
    else:
        units = -1 if d.mvin_scale_units == "per_lane" else d.mvin_scale_units
        latency = d.mvin_scale_latency_cycles
    return {
        "dim": hw.dim,
        "acc_bytes": hw.acc_bytes,
        "a_bits": hw.bits("a"),
        "b_bits": hw.bits("b"),
        "word_bits": hw.bits("word"),
        "c_bits": hw.bits("c"),
        "row_cycles": hw.row_cycles,
        "sum_cycles": hw.sum_cycles,
        "sp_banks": s.banks,
        "acc_banks": c.banks,
        **local_memories(hw.sp_rows, s.banks, hw.acc_rows, c.banks),
        "cols_mask": (1 << max(8 * d.max_request_bytes // hw.widest_bits, hw.dim).bit_length()) - 1,
        "rows_mask": (1 << hw.dim.bit_length()) - 1,
        "sp_single": int(s.single_ported),
        "acc_single": int(c.single_ported),
        "acc_sub_banks": max(1, c.sub_banks),
        "acc_latency": c.latency_cycles,
        "scale_latency": c.scale_latency_cycles,
        "read_delay": s.read_delay_cycles,
        "read_pipe": s.read_pipeline_cycles,
        "read_is_queue": int(s.read_pipeline_cycles != s.read_delay_cycles),
        "beat_bytes": d.bus_bytes,
        "max_bytes": d.max_request_bytes,
        "n_xacts": d.max_in_flight_requests,
        "n_cmds": hw.load_commands_in_flight,
        "ldq": hw.queues.ld,
        "stq": hw.queues.st,
        "exq": hw.queues.ex,
        "rs_ld": hw.reservation_station.ld,
        "rs_ex": hw.reservation_station.ex,
        "rs_st": hw.reservation_station.st,
        "serialise_stores": int(hw.reservation_station.serialise_stores),
        "tag_queue": hw.tag_queue_length,
        "matmul_ids": hw.tag_queue_length - 1,
        "mesh_latency": hw.mesh_latency_cycles,
        "dataflow": {"OS": 0, "WS": 1, "BOTH": 2}[a.dataflow],
        "raw_impossible": int(hw.raw_hazards_impossible),
        "hardcode_d": int(a.hardcode_d_to_garbage),
        "ex_write_spad": int(a.ex_write_to_spad),
        "mvin_units": units,
        "mvin_latency": latency,
        "mvin_acc_latency": 0 if d.mvin_acc_scale == "none" else d.mvin_acc_scale,
        "has_decoder": int(bool(hw.sparsity.decoder)),
        "decode_cycles": hw.decode_cycles,
        "first_layer": int(hw.features.first_layer_optimizations),
        "has_norm": int(hw.features.normalizations),
        "has_pool": int(hw.features.max_pool),
        "has_training": int(hw.features.training_convs),
        "block_len": hw.loop_max_block_len,
        "block_len_acc": hw.loop_max_block_len_acc,
        **_pages(hw),
        "memory_model": FIXED if hw.memory.dram == "none" else DRAM,
        "mem_latency": hw.memory_latency_cycles,
        "read_num": read.numerator,
        "read_den": read.denominator,
        "write_num": write.numerator,
        "write_den": write.denominator,
        "one_port": int(hw.memory.one_port),
        "l2_sets": hw.memory.l2_bytes // (WAYS << LINE_BITS),
        "l2_mshrs": mshrs,
        "l2_queued": max(mshrs + 2, MEM_CYCLES - mshrs - 2),
        "stall_limit": STALL_CYCLES
        + 4 * hw.memory_latency_cycles
        + 1000 * (int(read) + int(write))
        + hw.longest_gap_cycles,
    }


def _pages(hw: Hardware) -> dict[str, int]:
    """Return the numbers of address translation."""
    tlb = hw.tlb
    if tlb.pages == "none":
        return dict.fromkeys(("page_mode", "tlb_entries", "walk_cycles", "walk_line_cycles"), 0)
    small = tlb.pages == "4KiB"
    return {
        "page_mode": SMALL if small else LARGE,
        "tlb_entries": tlb.entries // SECTORS if small else tlb.superpage_entries,
        "walk_cycles": tlb.walk_cycles if small else tlb.walk_cycles - 1,
        "walk_line_cycles": hw.page_table_line_cycles,
    }


@lru_cache(maxsize=8)  # filling the record takes longer than a small program; a run builds a few machines
def _reset(
    described: tuple[tuple[str, int], ...], phase: int, written_rows: tuple[int, ...], to_scratchpad: bool
) -> npt.NDArray[np.void]:
    """Return the machine after reset, to be copied."""
    state = machine.build(dict(described), phase, written_rows)
    state[0].burst.prevented = to_scratchpad
    return state


def _results_to_scratchpad(commands: npt.NDArray[np.void]) -> bool:
    """Does a preload name scratchpad rows for its result? The loops name rows of the accumulator (LoopMatmul.scala)."""
    return bool(((commands["funct"] == Funct.PRELOAD) & (commands["rs2"] & 0x8000_0000 == 0)).any())


_OF_THREAD = threading.local()


class Abandoned(Exception):
    """The run was ended between two parts, because the event given to `heed` is set."""


def heed(abandoned: threading.Event) -> None:
    """Let every run of this thread end with `Abandoned` within a second once the event is set."""
    _OF_THREAD.abandoned = abandoned


def heeded() -> None:
    """Between two parts of a run: the interpreter hears an interrupt here; a thread hears that it is to stop."""
    event: threading.Event | None = getattr(_OF_THREAD, "abandoned", None)
    if event is not None and event.is_set():
        raise Abandoned


def reset(
    described: tuple[tuple[str, int], ...], phase: int, written_rows: tuple[int, ...], commands: npt.NDArray[np.void]
) -> npt.NDArray[np.void]:
    """Return the machine after reset in front of a program, not to be written to."""
    return _reset(described, phase, written_rows, _results_to_scratchpad(commands))


def _fresh(
    described: tuple[tuple[str, int], ...], phase: int, written_rows: tuple[int, ...], commands: npt.NDArray[np.void]
) -> npt.NDArray[np.void]:
    """Return the machine after reset, in the one place of this thread: a new one each time would be new memory."""
    if not hasattr(_OF_THREAD, "machine"):
        _OF_THREAD.machine = np.zeros(1, machine.MACHINE).view(np.recarray)
    state: npt.NDArray[np.void] = _OF_THREAD.machine
    after_reset = reset(described, phase, written_rows, commands)
    np.asarray(state).view(np.int64)[:] = np.asarray(after_reset).view(np.int64)
    return state


_PREPARING = threading.Lock()


@cache
def _prepared() -> None:
    with safe_path():
        compiling.prepare(cores())


def prepare() -> None:
    """Compile the core once a process; the process that helps takes no module from the current folder."""
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
) -> Timing:
    """Time a program (one-dimensional array of COMMAND) on a machine.

    ``clock``: "reference" visits every cycle, "leap" only those in which something can happen, "periodic" of these
    only what it has not seen before; all give the same result. ``timeline``: also record each command's allocation,
    issue and completion. ``phase``: loop slot that comes next at the start (0 after reset). ``written_rows``:
    accumulator rows that hold data of earlier programs (all others are zero until written; only the normaliser's
    divisions can tell). ``l2``: what an earlier program left in the L2 (nothing after reset); with it the timing
    tells what this one leaves.
    Raises Hang when the program can never end, InputError when the machine is beyond the core's limits or the program
    is empty.
    """
    prepare()
    commands = np.ascontiguousarray(program, dtype=COMMAND)
    if not (commands["funct"] != Funct.FENCE).any():
        raise InputError("program: holds no command; a program needs at least one command before its fence")
    programs.check(commands, hw)
    start = (tuple(parameters(hw).items()), phase, written_rows, commands)
    state = _fresh(*start)
    lines, channels = place(state, hw, l2)
    refusal = periodic.refusal(state, commands.view(np.recarray)) if clock == "periodic" else ""
    used: Clock = "leap" if refusal else clock
    sections = np.zeros(int((commands["funct"] == Funct.FENCE).sum()) + 1, np.int64)
    rows = max(TIMELINE_ROWS, len(commands)) if timeline else 0
    while True:
        times = np.zeros(rows, TIMELINE).view(np.recarray)
        status, told = _told(state, commands.view(np.recarray), sections, times, lines, channels, used)
        if status == engine.HANG:
            raise Hang(f"{hw.name}: the program never ends\n{explain.describe(state, len(commands))}")
        refuse_lost_rows(hw, state)
        written = int(told.row)
        if not timeline or written <= rows:
            break
        # the loop unrollers decide how many commands there are: run again with room for all of them
        rows = written
        state = _fresh(*start)
        lines, channels = place(state, hw, l2)
        sections[:] = 0
    if l2 is not None and hw.remembers:
        engine.rest(passed(state), lines, passed(channels))
        l2 = L2Contents(lines.tobytes(), machine.memory_side(state), channels.tobytes())
    ends = sections[: int(told.sections)]
    return Timing(
        cycles=int(told.idle_t),
        sections=tuple(int(n) for n in np.diff(ends, prepend=0)),
        counters=dict(zip(EVENTS, told.count.tolist(), strict=True)),
        causes=dict(zip(CAUSES, told.cause.tolist(), strict=True)),
        timeline=times_of(times[:written]) if timeline else None,
        phase=int(state[0].loop_matmul.head),
        visited_cycles=int(told.count[Event.VISITED_CYCLES]),
        l2=l2,
        # the periodic clock counts from its last repetition, so only the others know what stood at a completion
        seen=_fields(times[:written], COMMAND_COUNTS) if timeline and clock != "periodic" else None,
        clock=used,
        refusal=refusal,
    )


def refuse_lost_rows(hw: Hardware, state: npt.NDArray[Any]) -> None:
    """Raise Hang where a row was lost, as the RTL's own assertion does."""
    if lost := int(state[0].acc.lost):
        raise Hang(
            f"{hw.name}: {lost} rows found the write queue of their accumulator sub-bank full, where the RTL's own "
            "assertion fails (AccumulatorMem.scala); nearest: twice the accumulator.sub_banks, or "
            "accumulator.single_ported = false"
        )


def times_of(records: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Return the times among what the core records of commands: `Timing.timeline`."""
    return _fields(records, COMMAND_TIMES)


def _fields(records: npt.NDArray[np.void], names: tuple[str, ...]) -> npt.NDArray[np.void]:
    """Return a copy that has only the named fields."""
    return np.asarray(repack_fields(records.view(np.ndarray)[list(names)]))


def _told(
    state: npt.NDArray[Any], program: npt.NDArray[Any], sections: npt.NDArray[Any], times: npt.NDArray[Any],
    lines: npt.NDArray[np.int64], channels: npt.NDArray[Any], clock: Clock,
) -> tuple[int, Any]:  # fmt: skip
    """Run with a clock; returns the engine's status and what came of it as a RUN record."""
    if clock == "periodic":
        status: int
        status, told = periodic.run(state, program, sections, times, lines, heeded)
        return status, told
    unlogged = np.zeros(0, USE).view(np.recarray)
    hot = [passed(array) for array in (state, program)]
    rest = (sections, passed(times), lines, passed(channels), passed(unlogged), clock != "reference")
    status = engine.drive(*hot, *rest, between=heeded)
    m = state[0]
    told = np.zeros(1, RUN).view(np.recarray)[0]
    told.idle_t = m.front.idle_t
    told.sections = m.front.sections
    told.row = m.station.rows
    told.count[:] = m.count
    told.cause[:] = m.cause
    return status, told
