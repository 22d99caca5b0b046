"""Rules that involve several keys of a DRAM description; each message ends with the nearest legal value."""

from __future__ import annotations

from math import log2

from sim.hardware.dram.mapping import FIELDS, pieces
from sim.hardware.dram.schema import Dram
from sim.hardware.dram.standards import timing_problems

MAX_RANKS = 8
MAX_BANKS = 64
"""Ranks and banks of a channel that the timing core holds (`sim.core.units.dram.state`)."""
MAX_PIECES = 16
"""Pieces of an address map that the timing core holds."""


def field_bits(dram: Dram) -> dict[str, int]:
    """Return the address bits of each field; bits inside a burst belong to no field."""
    sizes = (dram.columns // dram.burst, dram.ranks, dram.bank_groups, dram.banks, dram.rows, dram.channels)
    return {name: int(log2(size)) for name, size in zip(FIELDS, sizes, strict=True)}


def dram_problems(dram: Dram) -> list[str]:
    """Return all problems of a description."""
    names = ("channels", "ranks", "bank_groups", "banks", "rows", "columns", "bus_bits")
    sizes = {name: int(getattr(dram, name)) for name in names}
    problems = [
        f"{name} = {size}: address bits select it, so it must be a power of two; "
        f"nearest legal value {1 << size.bit_length() - 1}"
        for name, size in sizes.items()
        if size & (size - 1)
    ]
    if dram.columns < dram.burst:
        problems.append(f"columns = {dram.columns}: a burst takes {dram.burst}; nearest legal value {dram.burst}")
    if dram.standard == "ddr3" and dram.bank_groups != 1:
        problems.append(f"bank_groups = {dram.bank_groups}: DDR3 has none; nearest legal value 1")
    if dram.ranks > MAX_RANKS:
        problems.append(f"ranks = {dram.ranks}: the timing core holds {MAX_RANKS}; nearest legal value {MAX_RANKS}")
    banks = dram.ranks * dram.bank_groups * dram.banks
    if banks > MAX_BANKS:
        problems.append(f"{banks} banks in a channel: the timing core holds {MAX_BANKS}; nearest: fewer ranks")
    if not problems:
        found, wrong = pieces(dram.address_map, field_bits(dram))
        problems += [f"address_map: {problem}" for problem in wrong]
        if len(found) > MAX_PIECES:
            problems.append(f"address_map: {len(found)} pieces; the timing core holds {MAX_PIECES}")
    problems += timing_problems(dram.standard, dram.timing, dram.tCK_ps)
    problems += _rate_problems(dram)
    problems += _controller_problems(dram)
    return problems + _current_problems(dram)


def _current_problems(dram: Dram) -> list[str]:
    """Check that an open row draws more than none, and a burst or an activation more still.

    No command has negative energy.
    """
    c = dram.currents
    rising = (("IDD2N", "IDD3N"), ("IDD3N", "IDD0"), ("IDD3N", "IDD4R"), ("IDD3N", "IDD4W"), ("IDD3N", "IDD5B"))
    return [
        f"currents.{high} = {getattr(c, high)}: below {low}, so a command would have negative energy; "
        f"nearest legal value {getattr(c, low)}"
        for low, high in rising
        if getattr(c, high) < getattr(c, low)
    ]


def _rate_problems(dram: Dram) -> list[str]:
    """Check the data rate: two transfers a clock; eight in LPDDR5, whose data clock is four times as fast."""
    transfers = 8 if dram.standard == "lpddr5" else 2
    exact = transfers * 1e6 / dram.tCK_ps
    if abs(exact - dram.rate_mts) / dram.rate_mts > 0.01:
        nearest = round(transfers * 1e6 / dram.rate_mts)
        return [
            f"tCK_ps = {dram.tCK_ps}: {dram.standard} moves {transfers} a clock, {exact:.0f} MT/s and not "
            f"rate_mts = {dram.rate_mts}; nearest legal value {nearest}"
        ]
    return []


def _controller_problems(dram: Dram) -> list[str]:
    c = dram.controller
    problems = []
    if c.rules == "bank_queues" and dram.standard not in ("ddr3", "ddr4"):
        problems.append(
            f"controller.rules = 'bank_queues' serves ddr3 and ddr4, not {dram.standard}; "
            "nearest legal value 'oldest_first'"
        )
    if c.rules == "bank_queues" and (c.row_hits_first or c.page == "closed"):
        problems.append(
            "controller.rules = 'bank_queues' closes rows by its own rule; nearest: row_hits_first = false, page = "
            "'open'"
        )
    if c.rules == "bank_queues" and not c.posted_writes:
        problems.append(
            "controller.posted_writes = false: rules = 'bank_queues' leave the last writes waiting; nearest: true"
        )
    if c.rules == "oldest_first" and c.merge_reads:
        problems.append("controller.merge_reads = true: rules = 'bank_queues' alone merge reads; nearest: false")
    if c.drain_from > c.write_queue:
        problems.append(
            f"controller.drain_from = {c.drain_from}: more than the write queue holds; "
            f"nearest legal value {c.write_queue}"
        )
    if c.drain_until >= c.drain_from:
        problems.append(
            f"controller.drain_until = {c.drain_until}: not below drain_from; nearest legal value {c.drain_from - 1}"
        )
    return problems
