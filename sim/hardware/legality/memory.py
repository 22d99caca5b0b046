"""Rules of the memory's side: requests, the L2, the DRAM, address translation."""

from __future__ import annotations

from collections.abc import Iterator

from sim.base.errors import did_you_mean
from sim.hardware.files import dram_table
from sim.hardware.legality.broken import Broken, is_power, nearest_power, text
from sim.hardware.machine import Hardware

L2_WAYS, L2_LINE_BYTES, L2_WORD_BYTES = 8, 64, 8
"""Geometry of the measured SiFive inclusive cache."""

MIN_BYTES_PER_CYCLE = 1e-6


def memory_latency(hw: Hardware) -> Iterator[Broken]:
    """A memory answers in the cycle after a request at the earliest, as it is a register at the port's wires."""
    if hw.memory.latency_cycles < 1:
        demand = "a memory answers 1 cycle after the request at the earliest"
        yield Broken(("memory.latency_cycles",), hw.memory.latency_cycles, demand, 1)


def memory_rate(hw: Hardware) -> Iterator[Broken]:
    """The rate of the memory is a ratio of two integers for which 64-bit times suffice."""
    for key in ("read_bytes_per_cycle", "write_bytes_per_cycle"):
        rate = getattr(hw.memory, key)
        if rate < MIN_BYTES_PER_CYCLE:
            demand = f"the memory moves at least {MIN_BYTES_PER_CYCLE} bytes a cycle"
            yield Broken((f"memory.{key}",), rate, demand, MIN_BYTES_PER_CYCLE)


def dma_sizes(hw: Hardware) -> Iterator[Broken]:
    """TileLink moves powers of two; a request is at least one beat (DMA.scala)."""
    bus, largest = hw.dma.bus_bytes, hw.dma.max_request_bytes
    if not is_power(bus):
        demand = "a bus beat must be a power of two of bytes"
        yield Broken(("dma.bus_bytes",), bus, demand, nearest_power(bus))
    elif not is_power(largest) or largest < bus:
        demand = f"a request must be a power of two of bytes, at least one beat of {bus} B"
        nearest = nearest_power(largest, bus)
        yield Broken(("dma.max_request_bytes", "dma.bus_bytes"), largest, demand, nearest)


def l2_size(hw: Hardware) -> Iterator[Broken]:
    """The L2 has a power of two of sets, at least two (Parameters.scala of the inclusive cache)."""
    l2_bytes, way = hw.memory.l2_bytes, L2_WAYS * L2_LINE_BYTES
    if l2_bytes and (l2_bytes % way or not is_power(l2_bytes // way) or l2_bytes == way):
        demand = f"an L2 of {L2_WAYS} ways of {L2_LINE_BYTES} B lines holds a power of two of sets, at least two"
        nearest = text(max(2, nearest_power(l2_bytes / way)) * way)
        yield Broken(("memory.l2_bytes",), text(l2_bytes), demand, nearest)


def l2_requests(hw: Hardware) -> Iterator[Broken]:
    """A request fits into a line of the L2, a beat holds a word of its banks (Parameters.scala there)."""
    if not hw.memory.l2_bytes:
        return
    if hw.dma.max_request_bytes > L2_LINE_BYTES:
        demand = f"behind the port is an L2 of {L2_LINE_BYTES} B lines: a request is at most a line"
        nearest = {"dma.max_request_bytes": L2_LINE_BYTES, "dma.bus_bytes": min(hw.dma.bus_bytes, L2_LINE_BYTES)}
        narrow = L2_LINE_BYTES if hw.dma.bus_bytes <= L2_LINE_BYTES else nearest
        yield Broken(("dma.max_request_bytes", "memory.l2_bytes"), hw.dma.max_request_bytes, demand, narrow)
    if hw.dma.bus_bytes < L2_WORD_BYTES:
        demand = f"behind the port is an L2 with banks of {L2_WORD_BYTES} B words: a beat is at least a word"
        yield Broken(("dma.bus_bytes", "memory.l2_bytes"), hw.dma.bus_bytes, demand, L2_WORD_BYTES)


def one_port(hw: Hardware) -> Iterator[Broken]:
    """Reads and writes can share one rate behind an L2, in a memory of fixed latency (a DRAM has its own rules)."""
    if hw.memory.one_port and not (hw.memory.l2_bytes and hw.memory.dram == "none"):
        demand = "reads and writes share one rate only behind an L2, and without a DRAM"
        yield Broken(("memory.one_port", "memory.l2_bytes", "memory.dram"), "true", demand, "false")


def known_dram(hw: Hardware) -> Iterator[Broken]:
    """The DRAM technology has an energy figure."""
    known = dram_table()
    if hw.memory.technology not in known:
        demand = f"no such DRAM technology{did_you_mean(hw.memory.technology, known)}"
        yield Broken(("memory.technology",), hw.memory.technology, demand)


def tlb_entries(hw: Hardware) -> Iterator[Broken]:
    """The shared TLB has a power of two of entries, for groups of four 4-KiB pages and for 2-MiB pages (TLB.scala)."""
    for key, value, least in (("entries", hw.tlb.entries, 4), ("superpage_entries", hw.tlb.superpage_entries, 1)):
        if not is_power(value):
            demand = f"a power of two of at least {least}"
            yield Broken((f"tlb.{key}",), value, demand, nearest_power(value, least))


def page_tables(hw: Hardware) -> Iterator[Broken]:
    """Page tables are in an L2 only if there is one."""
    if hw.tlb.page_tables == "l2" and not hw.memory.l2_bytes:
        yield Broken(("tlb.page_tables", "memory.l2_bytes"), "l2", "the machine has no L2", "memory")
