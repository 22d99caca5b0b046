"""A work item is one class and one record of its lowering: a made-up one goes through every room that meets items."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from sim import hardware
from sim.base.errors import InputError
from sim.cpu import cost
from sim.functional import products
from sim.lower import LOWERINGS, Lowering, ResidualAdd, check, counted, library_call, lower
from sim.lower.call import Call
from sim.lower.item import Item, Operand, Place
from sim.lower.resadd import check_resadd, lower_resadd
from sim.lower.split import shares
from sim.lower.work import rows_forward
from sim.run.session import Session

HW = hardware.load("gemmini_default")


@dataclass(frozen=True)
class Doubled(Item):
    """C[rows, cols] = A + A."""

    rows: int
    cols: int
    a: Operand
    c: Operand

    def places(self) -> list[Place]:
        return [Place("a", self.a, self.rows, self.cols, "a"), Place("c", self.c, self.rows, self.cols, "c")]

    @property
    def divisible_rows(self) -> int:
        return self.rows

    def row_part(self, start: int, end: int, hw: hardware.Hardware) -> Doubled:
        return replace(self, rows=end - start, **rows_forward(self, start, hw))

    def as_sum(self) -> ResidualAdd:
        return ResidualAdd(self.rows, self.cols, self.a, self.a, self.c)


ITEM: Any = Doubled(40, 48, Operand(0x8001_0000, 48), Operand(0x8002_0000, 48))


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of the made-up item."""
    record = Lowering(
        lambda work, hw: lower_resadd(work.as_sum(), hw),
        lambda work, hw: check_resadd(work.as_sum(), hw),
        lambda work, hw: Call("resadd"),
    )
    monkeypatch.setitem(LOWERINGS, Doubled, record)  # type: ignore[arg-type]


def test_it_takes_the_time_of_what_it_is_lowered_to() -> None:
    check(ITEM, HW)
    timed, same = (Session(HW).advance(work) for work in (ITEM, ITEM.as_sum()))
    assert timed.cycles == same.cycles > 0 and timed.counters == same.counters
    assert counted(ITEM, lower(ITEM, HW), HW, timed.counters) == timed.counters
    assert library_call(ITEM, HW).function == "resadd"
    priced = hardware.load("gemmini_default", {"cpu.prices": "rocket"})
    assert cost(ITEM, priced).cycles > 0


def test_it_moves_and_is_divided_among_cores() -> None:
    moved = ITEM.moved({address: address + 4096 for address in ITEM.addresses()})
    assert (moved.a.address, moved.c.address) == (ITEM.a.address + 4096, ITEM.c.address + 4096)
    (first,), (second,) = shares([ITEM], 2, HW)
    assert (first.rows, second.rows) == (32, 8)
    assert second.c.address == ITEM.c.address + 32 * 48


def test_what_no_record_covers_is_refused_or_left_to_the_commands() -> None:
    assert not products.able(ITEM, hardware.load("gemmini_ibert"))
    with pytest.raises(TypeError, match="Doubled is not divided by columns"):
        ITEM.column_part(0, 16, HW)
    with pytest.raises(InputError, match="rows = 0 must be >= 1"):
        check(replace(ITEM, rows=0), HW)
