"""Hand-written command loops, measured until the last command is issued or until the accelerator is idle."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sim.base.errors import InputError
from sim.cpu import line_cycles
from sim.lower.encode import Stream
from sim.lower.pace import HAND, Pace
from sim.lower.place import BASE_ADDRESS
from sim.run.session import Session
from sim.validate.tasks import MachineProgram, TaskOutcome, outcome_of

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.timing.timing import Clock

FENCE_CYCLES = 2
"""Cycles of a fence on an idle accelerator (tests/oracle/soc/README.md)."""
AROUND_CYCLES = 14
"""Cycles from the reading of the counter to the port, and from idle to the reading after it (the same)."""
ISSUED_CYCLES = 9
"""The same without a fence in between: 10 cycles for one command, 11 for two (mvin, preload and compute)."""
QUEUED = 2
"""Commands that Rocket's queue before the accelerator holds (LazyRoCC.scala): issued, but not yet accepted."""
STRIDE = 64
"""Row stride in bytes in the moves' configurations."""
ACCUMULATOR, B_ROW = 1 << 31, 8192
"""Local addresses in the loops' arguments."""

STRAIGHT, LOOP, PAIR = "straight", "loop", "pair"
"""Form of the program that issues the commands.

A sequence of constants, a loop around one, a loop around preload and compute.
"""


@dataclass(frozen=True)
class IssueFunction:
    """A function of the measured program: the cycles between its commands, and the function that emits command ``n``.

    ``lines``: lines of code that its first run misses, counted on the machine without an L2: its cold row minus its
    warm row, in lines of 58 cycles (docs/CPU.md), rounded. With an L2 they are the same lines. ``lines_behind``: those
    of the code after the fence, counted likewise. ``new_data``: its first run is also the first on its data.
    """

    pace: str
    emit: Callable[[Stream, int], None]
    lines: int = 0
    new_data: bool = False
    lines_behind: int = 0


def _config(to: Stream, n: int) -> None:
    to.config_ld(STRIDE)


def _mvin(cols: int) -> Callable[[Stream, int], None]:
    return lambda to, n: to.mvin(_block(to, n), 0, cols, to.dim)


def _mvout(to: Stream, n: int) -> None:
    to.mvout(_block(to, n), ACCUMULATOR, to.dim, to.dim)


def _block(to: Stream, n: int) -> int:
    """Return the address that command ``n`` of a loop moves.

    Each command has its own block of rows, stored in sequence.

    Read from its four cold rows behind an L2: one block for all commands would take 988 and 2,133 cycles (mvin) and 603
    and 978 (mvout), measured are 1,192, 2,592, 1,457 and 2,670.
    """
    return BASE_ADDRESS + n * to.dim * STRIDE


def _compute(to: Stream, n: int) -> None:
    whole = (to.dim, to.dim)
    to.preload(B_ROW, ACCUMULATOR, whole, whole)
    to.compute(0, 0xFFFF_FFFF, whole, whole, preloaded=True)


SHAPES: Mapping[str, IssueFunction] = {
    "fence_idle": IssueFunction(STRAIGHT, _config),
    "cfg16": IssueFunction(STRAIGHT, _config, 2),
    "cfg_loop": IssueFunction(LOOP, _config, 1),
    "mvin_loop": IssueFunction(LOOP, _mvin(64), 0, True),
    "comp_loop": IssueFunction(PAIR, _compute, 2),
    "comp_ijk": IssueFunction(PAIR, _compute, 9),
    "mvout_loop": IssueFunction(LOOP, _mvout, 1, True),
    "gemmini_extended_mvin": IssueFunction(STRAIGHT, _mvin(16)),
    "gemmini_extended_mvout": IssueFunction(STRAIGHT, _mvout, lines_behind=1),
    "gemmini_preload": IssueFunction(STRAIGHT, _compute, 1),
}
"""The table's functions, by name."""

PAIR_GAPS = (3, 4)
"""Cycles before preload and compute in a loop of both (the same)."""


@dataclass(frozen=True)
class IssueLoop(MachineProgram):
    """``commands`` iterations of a function; ``idle``: measured until idle, else until the last is issued.

    ``cold``: its first run, without its code in any cache; else a later run.
    """

    function: str
    commands: int
    idle: bool
    cold: bool = False

    def outcome(self, hw: Hardware, clock: Clock) -> TaskOutcome:
        """Return the cycles between the two readings of the counter."""
        shape = SHAPES[self.function]
        if self.function == "fence_idle":
            return TaskOutcome(FENCE_CYCLES, causes={"call": FENCE_CYCLES})
        to = Stream(hw)
        to.config_ex()
        to.config_ld(STRIDE)
        to.config_st(STRIDE)
        to.fence()
        setup = len(to.commands)
        for n in range(self.commands):
            shape.emit(to, n)
        stream = to.program()
        loop = stream[setup:]
        gaps = Pace(hw).gaps(HAND) if shape.pace == LOOP else PAIR_GAPS if shape.pace == PAIR else (1,)
        turns = np.arange(len(loop))
        loop["gap"] = np.take(gaps, turns % 2 if shape.pace == PAIR else np.minimum(turns, len(gaps) - 1))
        session = Session(hw, clock)
        prices, missed = hw.cpu.prices, 0
        if not (self.cold and shape.new_data):
            session.advance(stream)  # the previous run, which leaves its data in an L2
        if self.cold and prices != "none":
            missed = (shape.lines + shape.lines_behind * self.idle) * line_cycles(prices, hw)
        if self.idle:
            timed = session.advance(stream)
            return replace(outcome_of(timed), cycles=AROUND_CYCLES + missed + timed.sections[-1])
        timed = session.advance(stream[: max(setup + 1, len(stream) - QUEUED)])
        issued = 1 + int(loop["gap"][1:].sum()) + timed.counters["COMMAND_STALL_CYCLES"]
        return replace(outcome_of(timed), cycles=ISSUED_CYCLES + missed + issued)


def of_row(columns: Mapping[str, str]) -> IssueLoop:
    """Return the program of a row of issue.csv. Raises InputError if its code is unknown."""
    name = re.match(r"\W*(\w+)", columns["code_c"])
    if name is None or name[1] not in SHAPES:
        raise InputError(f"{columns['code_c']!r}: its commands are not in the table")
    commands = 16 if name[1] == "cfg16" else int(columns["commands"])
    return IssueLoop(name[1], commands, columns["until"] == "idle", columns["issue_code"] == "cold")
