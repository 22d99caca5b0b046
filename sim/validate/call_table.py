"""A recorded stream, call by call: function and cost of each library call on any machine and CPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError
from sim.cost import energy
from sim.cpu import issue_cycles
from sim.cpu.recognise import Recognised, calls_of, priced, split
from sim.run.session import Session
from sim.timing.timing import Timing
from sim.trace import calls
from sim.validate import csvfile, spike
from sim.validate.recordings import Recording
from sim.validate.soc import traces

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.timing.timing import Clock


@dataclass(frozen=True)
class CallRow:
    """One call: cycles from first command to idle, those of the CPU around it, cycles by cause, energy in pJ by part.

    ``issue_cycles``: the CPU's work on its commands. ``timed``: the call with its commands' times, if requested.
    """

    case: str
    number: int
    name: str
    function: str
    commands: int
    inside_cycles: int
    call_cycles: int
    causes: dict[str, int]
    energy: dict[str, float]
    issue_cycles: int
    timed: Timing

    @property
    def cycles(self) -> int:
        """Cycles on the program's cycle counter from before the call to after it."""
        return self.inside_cycles + self.call_cycles

    @property
    def energy_pj(self) -> float:
        """Total energy in pJ."""
        return sum(self.energy.values())

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "number": self.number,
            "name": self.name,
            "function": self.function,
            "commands": self.commands,
            "cycles": self.cycles,
            "first_command_to_idle_cycles": self.inside_cycles,
            "call_cycles": self.call_cycles,
            "causes": self.causes,
            "issue_cycles": self.issue_cycles,
            "energy_pj": self.energy_pj,
            "energy_parts_pj": self.energy,
        }


def of_recordings(
    recordings: Iterable[Recording], hw: Hardware, clock: Clock, *, timeline: bool = False
) -> list[CallRow]:
    """Return the calls of recorded programs, each with its commands' times if ``timeline``.

    Raises InputError if one was compiled for another array.
    """
    rows: list[CallRow] = []
    for recording in recordings:
        check_dim(recording, hw)
        rows += _rows(recording.case, calls_of(recording.program, hw.dim), hw, clock, timeline)
    return rows


def check_dim(recording: Recording, hw: Hardware) -> None:
    """Raise InputError if a program was compiled with another DIM than the machine's."""
    if recording.dim not in (None, hw.side):
        raise InputError(
            f"{recording.case}: compiled with DIM {recording.dim}, and {hw.name} has {hw.side} PEs a side: addresses "
            f"mean other rows; record it with this machine's gemmini_params.h, or replay it with DIM {recording.dim}"
        )


def of_trace(path: Path, case: str | None, hw: Hardware, clock: Clock, *, timeline: bool = False) -> list[CallRow]:
    """Return the calls of a command trace of a whole machine, each with its commands' times if ``timeline``.

    Without CPU prices in the machine each call keeps the trace's gaps and time around it; with prices the calls are
    recognised and priced.
    """
    rows: list[CallRow] = []
    for name, segments in traces.choose(traces.cases_of(csvfile.read(path)), case, path).items():
        if hw.cpu.prices != "none":
            pieces = [piece for segment in segments if segment.call is not None for piece in split(segment.commands)]
            rows += _rows(name, [call for piece in pieces for call in calls_of(piece, hw.dim)], hw, clock, timeline)
            continue
        session = Session(hw, clock)
        for segment in segments:
            timed = session.advance(segment.commands, timeline=timeline)
            if segment.call is not None:
                kinds = " ".join(call.name for piece in split(segment.commands) for call in calls_of(piece, hw.dim))
                named = Recognised(kinds if len(kinds) < 60 else f"{kinds[:57]}...", segment.commands)
                rows.append(_row(name, segment.call, named, timed, segment.before + segment.behind, hw))
    return rows


def _rows(case: str, issued: Sequence[Recognised], hw: Hardware, clock: Clock, timeline: bool) -> Iterator[CallRow]:
    session, ran = Session(hw, clock), frozenset[str]()
    for number, call in enumerate(issued):
        commands, outside = priced(call, hw, ran)
        ran |= outside.paths
        timed = session.advance(commands, timeline=timeline)
        yield _row(case, number, replace(call, commands=commands), timed, outside.cycles, hw)


def _row(case: str, number: int, call: Recognised, timed: Timing, outside: int, hw: Hardware) -> CallRow:
    issued = issue_cycles(call.commands)
    cpu = issued + outside if hw.cpu.prices != "none" else 0
    parts = energy.price(timed.counters, call.macs, timed.cycles + outside, hw, cpu_cycles=cpu)
    causes = {**timed.causes, "call": outside}
    return CallRow(
        case,
        number,
        call.name,
        call.function,
        len(call.commands),
        timed.cycles,
        outside,
        causes,
        {name: float(energy) for name, energy in parts.items()},
        issued,
        timed,
    )


def functions(rows: Iterable[CallRow]) -> dict[str, tuple[int, int]]:
    """Return function -> (calls, cycles), sorted by cycles, the largest first."""
    sums: dict[str, tuple[int, int]] = {}
    for row in rows:
        calls, cycles = sums.get(row.function, (0, 0))
        sums[row.function] = calls + 1, cycles + row.cycles
    return dict(sorted(sums.items(), key=lambda item: -item[1][1]))


def total(rows: Iterable[CallRow]) -> dict[str, Any]:
    """Return cycles, cycles by cause and energy in pJ by part of all calls together, the largest first."""
    causes: dict[str, int] = {}
    energy: dict[str, float] = {}
    cycles = 0
    for row in rows:
        cycles += row.cycles
        for cause, count in row.causes.items():
            causes[cause] = causes.get(cause, 0) + count
        for part, picojoules in row.energy.items():
            energy[part] = energy.get(part, 0.0) + picojoules
    return {
        "cycles": cycles,
        "causes": dict(sorted(causes.items(), key=lambda item: -item[1])),
        "energy_parts_pj": dict(sorted(energy.items(), key=lambda item: -item[1])),
    }


def trace(rows: Iterable[CallRow], hw: Hardware, label: str) -> dict[str, Any]:
    """Return calls with their commands' times as Chrome trace events."""
    traced = (calls.TracedCall(row.name, row.call_cycles, row.issue_cycles, row.timed) for row in rows)
    return calls.trace(traced, hw, label)


def known(path: Path) -> bool:
    """Return whether a file is a command trace rather than a recorded program."""
    return not spike.is_log(path) and traces.is_trace(csvfile.read(path))
