"""What a run should say of its own request: legal settings that have no effect, or surely were not meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import workloads

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.run.request import Case

LONG_LATENCY_S = 1e-4
"""A memory that answers later than this is no DRAM: three orders of magnitude above any row miss."""


def remarks(case: Case) -> Iterator[str]:
    """Yield one sentence per setting of a case that another one limits, or that is out of all proportion."""
    if isinstance(case.request.graph, str):
        yield from workloads.remarks(case.request.graph, dict(case.request.sizes))
    yield from of_machine(case.hw)
    if case.rules is not None:
        yield from case.rules.remarks(case.given)


def of_machine(hw: Hardware) -> Iterator[str]:
    """Yield the sentences about a machine alone."""
    if hw.memory.dram == "none":
        for way in ("read", "write"):
            rate = getattr(hw.memory, f"{way}_bytes_per_cycle")
            if rate > hw.dma.bus_bytes:
                yield (
                    f"memory.{way}_bytes_per_cycle = {rate:g} acts as {hw.dma.bus_bytes}: the port moves one beat of "
                    f"dma.bus_bytes = {hw.dma.bus_bytes} a cycle; raise that key too"
                )
    seconds = hw.memory.latency_cycles / (hw.clock_mhz * 1e6)
    if seconds > LONG_LATENCY_S:
        yield f"memory.latency_cycles = {hw.memory.latency_cycles:,} is {seconds:.3g} s at {hw.clock_mhz:g} MHz"
    if hw.dma.max_in_flight_requests == 1:
        yield (
            "dma.max_in_flight_requests = 1: many programs never end, on the RTL as here (tests/oracle/DEVIATIONS.md); "
            "nearest that ends: 2"
        )
