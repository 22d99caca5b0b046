"""Address translation: walks counted on the SoC's RTL, and what each part of the TLB does for them."""

from __future__ import annotations

from typing import Any

import pytest

from sim.base.errors import InputError
from sim.hardware import Hardware, load
from sim.isa.commands import Program
from sim.lower import Matmul, Operand, lower
from sim.timing.contents import L2Contents
from sim.timing.timer import run
from sim.timing.timing import Timing

BASE = 0x8001_0000  # a boundary of 16 KiB; A, B and C one behind the other, as the SoC's programs have them
MEASURED = {
    (64, 64, 64): (3, 0),
    (48, 48, 48): (2, 0),
    (96, 80, 112): (9, 9),
    (128, 64, 128): (13, 13),
    (16, 768, 64): (149, 149),
    (128, 128, 128): (26, 26),
    (1, 768, 768): (2333, 2332),
}
"""(M, N, K) -> walks of a call with an empty TLB and of the next (TWO_CORES_AND_VM.md part C, machine without L2)."""


def paged(**keys: Any) -> Hardware:
    """The default machine with 4-KiB pages, latency 40 and the tile's 2 cycles, keys of [tlb] changed."""
    return load(
        "gemmini_default", {"memory.latency_cycles": 42, "tlb.pages": "4KiB"} | {f"tlb.{k}": v for k, v in keys.items()}
    )


def product(m: int, n: int, k: int, hw: Hardware) -> Program:
    """A product whose operands lie one behind the other."""
    a, b, c = BASE, BASE + m * k, BASE + m * k + k * n
    return lower(Matmul(m, n, k, Operand(a, k), Operand(b, n), Operand(c, n)), hw)


def twice(program: Program, hw: Hardware) -> tuple[Timing, Timing]:
    """A program with an empty TLB, and again with the TLB as it left it."""
    first = run(program, hw, l2=L2Contents.empty(hw))
    return first, run(program, hw, l2=first.l2)


@pytest.mark.parametrize("shape", MEASURED)
def test_walks_are_those_of_the_rtl(shape: tuple[int, int, int]) -> None:
    hw = paged()
    walks = [timing.counters["TLB_WALKS"] for timing in twice(product(*shape, hw), hw)]
    assert tuple(walks) == MEASURED[shape]


def test_a_lone_walk_costs_its_cycles() -> None:
    """64^3 with an empty TLB: measured 2,346 -> 2,365 on the SoC; with all pages in the TLB nothing."""
    hw, bare = paged(), load("gemmini_default", {"memory.latency_cycles": 42})
    program = product(64, 64, 64, hw)
    first, second = twice(program, hw)
    alone = run(program, bare)
    assert first.cycles - alone.cycles == 2365 - 2346
    assert second.cycles == alone.cycles


def test_two_mebibyte_pages_walk_once_a_page() -> None:
    hw = paged(pages="2MiB")
    assert [timing.counters["TLB_WALKS"] for timing in twice(product(1, 768, 768, hw), hw)] == [1, 0]


def test_more_entries_keep_more_groups() -> None:
    """256 KiB of one operand: 16 groups of 16 KiB fit 64 entries, which walk each page once."""
    program = product(128, 512, 512, paged())
    walks = {n: [t.counters["TLB_WALKS"] for t in twice(program, paged(entries=n))] for n in (4, 16, 64)}
    assert walks[4][1] > walks[16][1] >= walks[64][1]
    pages = -(-(128 * 512 + 512 * 512 + 128 * 512) // 4096)
    assert walks[64][0] >= pages


@pytest.mark.parametrize(
    ("where", "latency", "cycles"), [("data_cache", 42, 0), ("memory", 42, 50), ("memory", 100, 108)]
)
def test_a_line_of_page_table_entries_comes_from_where_it_is(where: str, latency: int, cycles: int) -> None:
    """Without an L2 measured: latency + 8 for each first entry of a line, which holds those of 32 KiB."""
    hw = load("gemmini_default", {"memory.latency_cycles": latency, "tlb.pages": "4KiB", "tlb.page_tables": where})
    assert hw.page_table_line_cycles == cycles
    timing = run(product(128, 128, 128, hw), hw)
    assert timing.counters["TLB_LINE_WALKS"] == (0 if where == "data_cache" else 2)  # 48 KiB


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("tlb.entries", 12, "power of two.*nearest legal value: (8|16)"),
        ("tlb.entries", 3, "at least 4"),
        ("tlb.superpage_entries", 3, "power of two"),
        ("tlb.pages", "8KiB", "4KiB"),
        ("tlb.page_tables", "l2", "no L2.*nearest legal value: memory"),
        ("tlb.page", "4KiB", "did you mean 'tlb.pages'"),
    ],
)
def test_a_wrong_key_is_refused(key: str, value: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load("gemmini_default", {key: value})
