"""virtual_memory.csv: single loads and stores, and products, with and without address translation.

The id names the program: ``mvin.OFFSET.COLUMNS.ROWS.STRIDE.f1`` one command with an empty TLB (f0: the same command
again), ``mm.MxNxK.CALL`` call number CALL of a product, of which 0 and 3 begin with an empty TLB. Data are in the L2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sim.base.errors import InputError
from sim.isa.commands import Funct, Program, command, program
from sim.lower.work import Matmul, Operand
from sim.run.session import Session
from sim.timing.contents import with_empty_tlb
from sim.validate import csvfile
from sim.validate.soc.programs import call
from sim.validate.tasks import MachineProgram, TaskOutcome, outcome_of

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.timing.timing import Clock

LONE = re.compile(r"vm\w*_(mvin|mvout)\.(\d+)\.(\d+)\.(\d+)\.(\d+)\.f([01])")
PRODUCT = re.compile(r"vm\w*_mm\.(\d+)x(\d+)x(\d+)\.(\d+)\.\d+")
UNKNOWN = re.compile(r"vm\w*_(mvin|mvout|stream)\.\d+\.\d+")

PAGES = {"bare": "none", "4-KiB": "4KiB", "4 KiB": "4KiB", "2-MiB": "2MiB"}
"""A configuration's word for the pages -> `tlb.pages`."""
MEMORIES = {"dl2": "512", "two_l2": "512", "dn": "0", "two_nol2": "0"}
"""First word of a configuration -> KiB of L2."""

BASE = 0x8001_0000
"""A boundary of 16 KiB, where the measured programs' arrays begin; the table gives offsets from it."""
FLUSHED_CALLS = (0, 3)
"""Calls of a product that begin with an empty TLB."""
AROUND_CYCLES = 9
"""Cycles from the reading of the counter to the command, and from idle to the reading after it.

Read on the rows with bare
translation (all 95 without a mispredicted branch); the rows with pages were not used."""
MISPREDICTED_CYCLES = 3
"""Cycles of a branch that Rocket predicts wrongly.

The measuring loop has one between loads and stores; see `_mispredicted`.
"""
COLD_RUNS = 4
"""Runs of a single command before the measured ones, so that its data are in the L2, whose victims are random."""


@dataclass(frozen=True)
class Lone(MachineProgram):
    """One load or store of ``rows`` rows of ``columns`` bytes, with an empty TLB, or ``again``: the TLB filled.

    ``mispredicted``: the measuring program takes `MISPREDICTED_CYCLES` more.
    """

    kind: str
    offset: int
    columns: int
    rows: int
    stride: int
    again: bool
    mispredicted: bool = False

    def outcome(self, hw: Hardware, clock: Clock) -> TaskOutcome:
        """Return the cycles between the two readings of the counter."""
        commands = self.commands(hw)
        session = Session(hw, clock)
        for _ in range(COLD_RUNS if hw.memory.l2_bytes else 1):
            session.advance(commands)
        _empty_tlb(session)
        for _ in range(1 + self.again):
            timed = session.advance(commands)
        around = AROUND_CYCLES + MISPREDICTED_CYCLES * self.mispredicted
        return replace(outcome_of(timed), cycles=timed.sections[-1] + around)

    def commands(self, hw: Hardware) -> Program:
        """Return configuration, a fence, the command."""
        dim = hw.dim
        if self.kind == "mvin":
            config, funct, local = (0x3F80_0000_0000_0001 | dim << 16 | 1 << 8, self.stride), Funct.MVIN, 0
        else:
            config, funct, local = (2, 0x3F80_0000_0000_0000 | self.stride), Funct.MVOUT, 0
        shape = self.rows << 48 | self.columns // hw.input_bytes << 32 | local
        return program(
            [
                command(Funct.CONFIG, *config, 1),
                command(Funct.FENCE, 0, 0, 1),
                command(funct, BASE + self.offset, shape, 1),
            ]
        )


@dataclass(frozen=True)
class ProductCalls(MachineProgram):
    """Call ``number`` of a product with adjacent operands, after the previous calls."""

    m: int
    n: int
    k: int
    number: int

    def outcome(self, hw: Hardware, clock: Clock) -> TaskOutcome:
        """Run all calls up to it, which fills L2 and TLB, and return the last."""
        b = BASE + self.m * self.k
        c = b + self.k * self.n
        work = Matmul(self.m, self.n, self.k, Operand(BASE, self.k), Operand(b, self.n), Operand(c, self.n))
        session = Session(hw, clock)
        for number in range(self.number + 1):
            if number in FLUSHED_CALLS:
                _empty_tlb(session)
            found = call(session, work)
        return found


def _empty_tlb(session: Session) -> None:
    if session.start.l2 is not None:
        session.start = replace(session.start, l2=with_empty_tlb(session.hw, session.start.l2))


def columns_of(columns: Mapping[str, str]) -> dict[str, str] | None:
    """Return the columns of machine and part from a row's id and configuration; None if it is not of this table."""
    config = columns["config"]
    pages = next((name for words, name in PAGES.items() if words in config), None)
    memory = MEMORIES.get(config.split()[0]) if config else None
    if pages is None or memory is None or not columns["id"].startswith("vm"):
        return None
    found = {
        "l2_KiB": memory,
        "pages": pages,
        "kind": "soc_pages",
        "cpu_sizes": "runtime",
        "cpu_code": "warm",
    }
    if UNKNOWN.fullmatch(columns["id"]):
        found["reason"] = (
            f"{columns['what']} {columns['n']}: its addresses are in the measured program (S[] in sw/vm.c), "
            "which the table does not give"
        )
    return found


def run_of(columns: Mapping[str, str], path: Path) -> MachineProgram:
    """Return the program of a row. Raises InputError if the id does not name it."""
    if found := LONE.fullmatch(columns["id"]):
        offset, cols, rows, stride, flushed = (int(number) for number in found.groups()[1:])
        return Lone(found[1], offset, cols, rows, stride, not flushed, columns["id"] in _mispredicted(path))
    if found := PRODUCT.fullmatch(columns["id"]):
        return ProductCalls(*(int(number) for number in found.groups()))
    raise InputError(f"{columns['id']!r}: the program is unknown")


@lru_cache(maxsize=4)
def _mispredicted(path: Path) -> frozenset[str]:
    """Return the ids of the lone commands whose branch is predicted wrongly, from the order of the table.

    In the rows with bare translation: the second and third store of a run of stores, the first load after them, and the
    first two loads of a program that begins with loads (each command runs twice). The rows with pages have it at the
    same places.
    """
    found: set[str] = set()
    in_a_row: dict[str, int] = {}
    begun: dict[str, int] = {}
    for _, columns in csvfile.read(path).records():
        if (lone := LONE.fullmatch(columns["id"])) is None:
            continue
        sequence, before = columns["config"], in_a_row.get(columns["config"], 0)
        stores = lone[1] == "mvout"
        begun[sequence] = begun.get(sequence, 0) + 1
        if before in (1, 2) if stores else before > 0 or begun[sequence] <= 2:
            found.add(columns["id"])
        in_a_row[sequence] = before + 1 if stores else 0
    return frozenset(found)
