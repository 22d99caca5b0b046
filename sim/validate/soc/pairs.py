"""two_cores.csv: runs of two cores on one memory in successive phases; a row has the cycles of one hart in one phase.

The id names the run (memory, data, latency, pace), phase and hart; ``what`` and the note describe the work of both
harts. Calls with traced commands are replayed with their gaps; others are lowered, or are the measured loops over one
command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sim.base.errors import InputError
from sim.cpu import cost
from sim.isa.commands import Funct, Program, command, program
from sim.lower import build, lower
from sim.lower.place import BASE_ADDRESS
from sim.lower.work import Work
from sim.run.session import next_phase
from sim.timing import cores
from sim.validate import csvfile, sources
from sim.validate.soc import pair_traces
from sim.validate.soc.pair_traces import WARM_UP, Phases
from sim.validate.tasks import MachineProgram, TaskOutcome

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.timing.contents import L2Contents
    from sim.timing.timing import Clock

ID = re.compile(r"((l2|nol2)_(P\w+?)_L(\d+)_R(\d+))_p(\d+)_h([01])")
HARTS = (0, 1)

HART_BYTES, PHASE_BYTES = 0x60_0000, 0x10_0000
"""Bytes between the two harts' data (traced) and between the data of two phases with new lines (no call has more)."""

BEHIND = {"matmul": 28, "mvin": 13, "mvout": 13, "resadd": 26}
"""Cycles from idle to the reading of the cycle counter, by call."""
RESADD_FIRST_BEHIND = 79
"""The same for a hart's first residual add, whose code after the fence is not in the instruction cache."""

STREAMS = {"mvin": (31, 18, 16), "mvout": (35, 20, 17)}
"""Loops over one command: cycles before the configuration, to the first command, from one command to the next."""
STREAM_ROWS, ROW_BYTES = 16, 16


SAME_DATA = "P1"
"""Runs in which a hart works on the same data in every phase.

All their streams are measured at 16 B/cycle: the data are in the L2 from the start, and the streams' addresses wrap
around in a region that fits into it.
"""
SAME_DATA_BYTES, WARM_BYTES, WARM_PASSES = 1 << 16, 1 << 17, 4
"""Bytes of that region (assumed), and times it is first read into the L2, enough for its random victims."""


class Issued(NamedTuple):
    """A hart's call: cycles before its first command, commands, cycles after idle."""

    before: int
    commands: Program
    behind: int


@dataclass(frozen=True)
class PairRun(MachineProgram):
    """A run: ``memory`` "l2" or "nol2", ``data`` as in the id; ``calls``: (phase, hart, what, start)."""

    memory: str
    data: str
    latency: int
    pace: int
    calls: tuple[tuple[int, int, str, int], ...]
    traces: Path | None

    def outcome(self, hw: Hardware, clock: Clock) -> TaskOutcome:
        """Run all phases in order, which fills the L2; parts are named p<phase>_h<hart>."""
        loops, parts = [0, 0], {}
        contents = _warm(hw, clock) if self.data == SAME_DATA else None
        first_resadd = [True, True]
        requested = {(number, hart): (what, start) for number, hart, what, start in self.calls}
        traced = _phases(self.traces, f"B_{self.memory}_{self.data}_L40_R16") if self.traces else {}
        for number in sorted({*traced, *(number for number, _ in requested)}):
            issued = {hart: call for hart in HARTS if (call := self._issued(number, hart, requested, traced, hw))}
            if self.memory == "nol2" and not any((number, hart) in requested for hart in HARTS):
                for hart, call in issued.items():  # only the loop slot is kept
                    loops[hart] = next_phase(loops[hart], call.commands)
                continue
            together = _run(issued, _starts(number, requested, traced), hw, clock, loops, contents)
            contents = together.contents if self.memory == "l2" else None
            for hart, call in issued.items():
                timed = together.cores[hart]
                assert timed is not None
                loops[hart] = timed.phase
                if (number, hart) in requested:
                    behind = call.behind
                    if requested[number, hart][0].startswith("resadd"):
                        behind = RESADD_FIRST_BEHIND if first_resadd[hart] and traced else behind
                        first_resadd[hart] = False
                    parts[f"p{number}_h{hart}"] = TaskOutcome(timed.cycles + call.before + behind, causes=timed.causes)
        return TaskOutcome(sum(part.cycles or 0 for part in parts.values()), parts=parts)

    def _issued(
        self, number: int, hart: int, requested: Mapping[tuple[int, int], tuple[str, int]], traced: Phases, hw: Hardware
    ) -> Issued | None:
        what = requested[number, hart][0] if (number, hart) in requested else ""
        call = traced.get(number, {}).get(hart)
        if call is None:
            place = hart * HART_BYTES + (0 if self.data == SAME_DATA else number * PHASE_BYTES)
            wrap = SAME_DATA_BYTES if self.data == SAME_DATA else 1 << 32
            return _by_words(what, place, wrap, hw) if what else None
        own = _phases(self.traces, f"B_{self.memory}_{self.data}_L{self.latency}_R{self.pace}")
        behind = BEHIND.get(what.split()[0], 0) if what else 0
        if number in own:
            return Issued(*own[number][hart].commands(), behind)
        return Issued(*call.commands(self._missed(number, hart)), behind)

    def _missed(self, number: int, hart: int) -> dict[int, int]:
        """Return the additional cycles of missed lines of code, compared with the trace at 16 B/cycle, latency 40."""
        fast, slow = (_phases(self.traces, f"B_nol2_{self.data}_L40_R{pace}") for pace in (16, 4))
        if number not in slow or number == WARM_UP or (self.memory == "l2" and hart == 1):
            return {}  # with an L2 the first hart has fetched the lines for the other
        lines = pair_traces.missed_lines(fast[number][hart], slow[number][hart])
        beats = 16 / self.pace - 1  # cycles of a beat beyond the first
        return {
            place: round(paced * beats / 3) + count * (self.latency - 40) for place, (count, paced) in lines.items()
        }


def _run(
    issued: Mapping[int, Issued], starts: Mapping[int, int], hw: Hardware, clock: Clock, loops: list[int],
    contents: L2Contents | None,
) -> cores.Together:  # fmt: skip
    first = {hart: starts.get(hart, 0) + call.before for hart, call in issued.items()}
    earliest = min(first.values())
    return cores.run(
        [
            cores.Core(hw, issued[hart].commands, first[hart] - earliest, loops[hart])
            if hart in issued
            else cores.Core(hw, None)
            for hart in HARTS
        ],
        clock=clock,
        contents=contents,
    )


def _starts(number: int, requested: Mapping[tuple[int, int], tuple[str, int]], traced: Phases) -> dict[int, int]:
    """Return the cycle in which each hart's time begins: from the rows, else from the trace."""
    given = {hart: requested[number, hart][1] for hart in HARTS if (number, hart) in requested}
    marks = {hart: call.mark for hart, call in traced.get(number, {}).items()}
    if not given or not marks.keys() - given:
        return given or marks
    shift = next(start - marks[hart] for hart, start in given.items())
    return {**{hart: mark + shift for hart, mark in marks.items()}, **given}


def _warm(hw: Hardware, clock: Clock) -> L2Contents:
    """Return the memory's contents after both harts have read their data."""
    commands = WARM_BYTES * WARM_PASSES // (4 * STREAM_ROWS * ROW_BYTES)
    programs = [_stream("mvin", commands, 4, BASE_ADDRESS + hart * HART_BYTES, 1, 1, WARM_BYTES) for hart in HARTS]
    return cores.run([cores.Core(hw, program) for program in programs], clock=clock).contents


def _by_words(what: str, place: int, wrap: int, hw: Hardware) -> Issued:
    """Return the call of a description: ``matmul MxNxK``, ``resadd IxJ``, ``mvin COMMANDSxBLOCKS``, mvout.

    ``place``: offset of its data in bytes. ``wrap``: bytes after which a stream starts again.
    """
    kind, _, sizes = what.partition(" ")
    m, n, k = (int(size) for size in f"{sizes}x0".split("x")[:3])
    base = BASE_ADDRESS + place
    if kind in STREAMS:
        before, gap, further = STREAMS[kind]
        return Issued(before, _stream(kind, m, n, base, gap, further, wrap), BEHIND[kind])
    if kind == "matmul":
        work: Work = build.matmul(m, n, k, base=base)
    elif kind == "resadd":
        added = build.resadd(m, n)
        work = added.moved({address: address + place for address in added.addresses()})
    else:
        raise InputError(f"{what!r}: the call is unknown")
    return Issued(cost(work, hw).around - BEHIND[kind], lower(work, hw), BEHIND[kind])


def _stream(kind: str, commands: int, blocks: int, base: int, gap: int, further: int, wrap: int) -> Program:
    """Return a loop over a command that moves 16 rows of some blocks: the next ones within ``wrap`` bytes each time."""
    stride = blocks * ROW_BYTES
    config = (0x3F80_0000_0010_0101, stride) if kind == "mvin" else (2, 0x3F80_0000_0000_0000 | stride)
    funct = Funct.MVIN if kind == "mvin" else Funct.MVOUT
    words = [command(Funct.CONFIG, *config, 1)]
    for place in range(commands):
        rows = place % STREAM_ROWS * STREAM_ROWS * blocks
        address = base + place * STREAM_ROWS * stride % wrap
        shape = STREAM_ROWS << 48 | blocks * ROW_BYTES << 32
        words.append(command(funct, address, shape | rows, further if place else gap))
    return program(words)


def _phases(path: Path | None, case: str) -> Phases:
    return pair_traces.read(path).get(case, {}) if path is not None else {}


def run_of(columns: Mapping[str, str], path: Path) -> PairRun:
    """Return the run of a row, with all of the run's calls in its table."""
    return _runs(path)[columns["run"]]


@lru_cache(maxsize=4)
def _runs(path: Path) -> dict[str, PairRun]:
    calls: dict[str, dict[tuple[int, int], tuple[str, int]]] = {}
    keys: dict[str, tuple[str, str, int, int]] = {}
    for _, columns in csvfile.read(path).records():
        if (found := ID.fullmatch(columns["id"])) is None:
            continue
        run, memory, data, latency, pace, number, hart = found.groups()
        keys[run] = (memory, data, int(latency), int(pace))
        start = re.search(r"start (\d+)", columns["note"])
        mine = calls.setdefault(run, {})
        mine[int(number), int(hart)] = (columns["what"], int(start[1]) if start else 0)
    folders = sources.soc_folders(path)
    traces = next((folder / pair_traces.FILE for folder in folders if (folder / pair_traces.FILE).is_file()), None)
    return {run: PairRun(*keys[run], _sorted(mine), traces) for run, mine in calls.items()}


def _sorted(calls: Mapping[tuple[int, int], tuple[str, int]]) -> tuple[tuple[int, int, str, int], ...]:
    return tuple((*place, *call) for place, call in sorted(calls.items()))


def columns_of(columns: Mapping[str, str]) -> dict[str, str] | None:
    """Return machine, run and part from a row's id and configuration; None if it is not of this table."""
    found = ID.fullmatch(columns["id"])
    if found is None:
        return None
    run, memory, _, latency, pace, number, hart = found.groups()
    return {
        "kind": "soc_cores",
        "run": run,
        "operator": f"p{number}_h{hart}",
        "l2_KiB": "512" if memory == "l2" else "0",
        "mem_latency": latency,
        "rd_bytes_per_cycle": pace,
        "wr_bytes_per_cycle": pace,
        "cpu_sizes": "runtime",
        "cpu_code": "warm",
    }
