"""Programs in sequence without a fence: two hardware loops are in flight across the boundary of two operators.

Between independent operators no fence is needed: the reservation station orders commands that share rows of a local
memory. The program must ensure two things. A loop's loads are emitted before the previous loop has emitted its
computes, so they must not overwrite that loop's operands: loops use the halves of the scratchpad alternately, and
operands that stay change halves from part to part. And configurations hold until they are changed: those in force
already are left out, because a command between two loops waits until the first is emitted completely; if two loops
would use the same half, one configuration is kept for the sake of that wait.

A part may keep the A of the part before: all of it lies in the scratchpad, in one tile or in two, one a half, so the
loops of the next part get DRAM address 0 for it and load B alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.isa.commands import ConfigKind, Funct, Program, command, program
from sim.isa.layouts import LD_FIRST, LOOP_BLOCKS, LOOP_FIRST, get, put
from sim.lower.residency import HALVES_PER_OPERAND
from sim.lower.tiling import matmul_blocks, matmul_tile, tile_counts
from sim.lower.work import Chain, Work

LOOP_COMMANDS = 6
"""Commands of one hardware loop, `Funct.LOOP_WS` the last."""

Lower = Callable[[Work, Hardware], Program]
Numbers = npt.NDArray[np.int64]
Settings = tuple[tuple[int, int], ...]
"""Operands of the configurations of one unit."""


@dataclass(frozen=True)
class _Loop:
    """Scratchpad use of a loop: half (1 or 2) and blocks of A and B, and whether it loads them."""

    a_half: int
    b_half: int
    a_blocks: int
    b_blocks: int
    loads_a: bool
    loads_b: bool

    def meets(self, before: _Loop, half_blocks: int) -> bool:
        """Return whether its loads may overwrite operands of the previous loop."""
        loads = [("a", self.a_half, self.a_blocks)] * self.loads_a + [("b", self.b_half, self.b_blocks)] * self.loads_b
        reads = (("a", before.a_half, before.a_blocks), ("b", before.b_half, before.b_blocks))
        return any(
            half == other_half and (name == other or blocks + other_blocks > half_blocks)
            for name, half, blocks in loads
            for other, other_half, other_blocks in reads
        )


@dataclass
class _Chained:
    """A program under construction: commands, configurations in force, number of loops and the last loop."""

    half_blocks: int
    programs: list[Program] = field(default_factory=list)
    held: dict[Hashable, Settings] = field(default_factory=dict)
    loops: int = 0
    last: _Loop | None = None
    flipped: bool = False

    def add(self, commands: Program, *, elides: bool, keeps: bool = False) -> None:
        """Append the commands of a part.

        ``elides``: configurations in force may be left out in front of it; ``keeps``: A lies where the last part had
        it.
        """
        if keeps:
            commands = commands.copy()
            commands["rs1"][commands["funct"] == Funct.LOOP_WS_CONFIG_ADDRS_AB] = 0
        lead = int(np.argmax(commands["funct"] != Funct.CONFIG)) if elides else 0
        wanted = _registers(commands[:lead])
        kept = [number for number in range(lead) if self.held.get(of := _unit(commands[number])) != wanted[of]]
        flips = keeps and self.flipped
        turned, first, last = self._placed(commands, flips=flips)
        if elides and self.last is not None and not kept and first.meets(self.last, self.half_blocks):
            if not keeps:
                flips = True
                turned, first, last = self._placed(commands, flips=True)
            if first.meets(self.last, self.half_blocks):
                kept = [lead - 1]
        self.flipped = flips
        self.loops += int((commands["funct"] == Funct.LOOP_WS).sum())
        self.last = last
        self.held |= _registers(commands)
        self.programs.append(np.concatenate([turned[kept], turned[lead:]]))

    def _placed(self, commands: Program, *, flips: bool) -> tuple[Program, _Loop, _Loop]:
        """Return the commands with the halves set in each loop, and the first and the last loop."""
        placed = commands.copy()
        ends = np.flatnonzero(commands["funct"] == Funct.LOOP_WS)
        slots = (self.loops + np.arange(len(ends))) % 2 + 1
        words = placed["rs1"][ends]
        halves = {}
        for name in ("a_half", "b_half"):
            said = get(words, getattr(LOOP_FIRST, name))
            halves[name] = np.where(said == 0, slots, 3 - said if flips else said)
            words = words & ~put(3, getattr(LOOP_FIRST, name)) | put(halves[name], getattr(LOOP_FIRST, name))
        placed["rs1"][ends] = words
        found = [_loop(commands, ends, halves, number) for number in (0, -1)] if len(ends) else [_NONE, _NONE]
        return placed, found[0], found[1]


_NONE = _Loop(0, 0, 0, 0, False, False)
"""A program without loops of products."""


def _loop(commands: Program, ends: Numbers, halves: dict[str, Numbers], number: int) -> _Loop:
    of = commands[ends[number] + 1 - LOOP_COMMANDS : ends[number] + 1]
    bounds = of[of["funct"] == Funct.LOOP_WS_CONFIG_BOUNDS]["rs2"][0]
    addresses = of[of["funct"] == Funct.LOOP_WS_CONFIG_ADDRS_AB][0]
    i, j, k = (int(get(bounds, at)) for at in LOOP_BLOCKS)
    a_half, b_half = (int(halves[name][number]) for name in ("a_half", "b_half"))
    return _Loop(a_half, b_half, i * k, j * k, bool(addresses["rs1"]), bool(addresses["rs2"]))


def _registers(commands: Program) -> dict[Hashable, Settings]:
    """Return the configurations in force after the commands, by unit, in order."""
    found: dict[Hashable, Settings] = {}
    for one in commands[commands["funct"] == Funct.CONFIG]:
        at, setting = _unit(one), (int(one["rs1"]), int(one["rs2"]))
        begins = int(one["rs1"]) & 3 != ConfigKind.NORM
        found[at] = (setting,) if begins else (*found.get(at, ()), setting)
    return found


def _unit(one: np.void) -> Hashable:
    """Return the unit of a configuration. Store and normaliser count as one: each sets bits of one activation.

    config_st clears the bit that config_norm has set for softmax.
    """
    kind = int(one["rs1"]) & 3
    if kind == ConfigKind.LD:
        return kind, int(get(one["rs1"], LD_FIRST.state))
    return int(ConfigKind.ST) if kind == ConfigKind.NORM else kind


def check_chain(work: Chain, hw: Hardware, check: Callable[[Work, Hardware], None]) -> None:
    """Raise InputError if a part is refused, or the parts cannot form a chain."""
    if not work.parts:
        raise InputError("chain: it has no parts; nearest: one part")
    for part in work.parts:
        check(part, hw)
    found = [
        f"chain: part {number} keeps A, and {problem} (nearest: keeps without {number})"
        for number in work.keeps
        if (problem := _why_not_kept(work, number, hw))
    ]
    if found:
        raise InputError(found)


def _why_not_kept(work: Chain, number: int, hw: Hardware) -> str:
    """Return why a part does not find its A in the scratchpad; "" where it does."""
    if not 1 <= number < len(work.parts) or number in work.fences:
        return "no part without a fence is in front of it"
    before, part = work.parts[number - 1 : number + 1]
    if part.rows_read is None or before.rows_read != part.rows_read:
        return "the part before reads another, or is no product by hardware loops"
    if any(one.resident not in ("a", "ab") for one in (before, part)):
        return "A must stay in both (resident 'a' or 'ab')"
    tiles = [matmul_tile(one, hw) for one in (before, part)]
    if (tiles[0][0], tiles[0][2]) != (tiles[1][0], tiles[1][2]):
        return "the part before cuts it in other tiles"
    counts = tile_counts(matmul_blocks(part, hw.dim), tiles[1])
    if (tiles_of_a := counts[0] * counts[2]) > HALVES_PER_OPERAND:
        return f"it is {tiles_of_a} tiles, of which {HALVES_PER_OPERAND} stay"
    return ""


def lower_chain(work: Chain, hw: Hardware, lower: Lower) -> Program:
    """Return the parts' programs as one, with a fence before the parts in ``work.fences`` and at the end."""
    chained = _Chained(hw.sp_rows // 2 // hw.dim)
    fence = program([command(Funct.FENCE)])
    before: Work | None = None
    for number, part in enumerate(work.parts):
        commands = lower(part, hw)
        while commands["funct"][-1] == Funct.FENCE:
            commands = commands[:-1]
        if number in work.fences:
            chained.programs.append(fence)
            chained.last = None
        elides = part.is_loops and before is not None and before.is_loops
        chained.add(commands, elides=elides, keeps=number in work.keeps)
        before = part
    return np.concatenate([*chained.programs, fence])
