"""Rules of a machine of several cores: the shared memory, and its limits."""

from __future__ import annotations

from collections.abc import Iterator

from sim.hardware import hand
from sim.hardware.legality.broken import Broken
from sim.hardware.machine import Hardware

REQUESTS = 256
"""Requests of all cores that the memory's side of the timing core holds (sim.core.params.XACTS)."""
MIN_LATENCY_CYCLES = 3
"""Two cycles of a shared memory's latency are those of the tile's buffers, one is the memory's own register."""


def shared_memory(hw: Hardware) -> Iterator[Broken]:
    """Several cores need a named shared memory: the L2 if there is one, else the memory."""
    behind = "l2" if hw.memory.l2_bytes else "memory"
    if hw.cores.count > 1 and hw.cores.shared == "none":
        demand = "several cores share a memory, and the machine names none"
        yield Broken(("cores.shared", "cores.count"), "none", demand, behind)
    elif hw.cores.shared not in ("none", behind):
        what = "the L2 is between the bus and the memory" if behind == "l2" else "the machine has no L2"
        yield Broken(("cores.shared", "memory.l2_bytes"), hw.cores.shared, what, behind)


def shared_requests(hw: Hardware) -> Iterator[Broken]:
    """The requests in flight of all cores fit into the memory's side."""
    count, requested = hw.cores.count, hw.dma.max_in_flight_requests
    if count > 1 and count * requested > REQUESTS:
        demand = f"{count} cores have at most {REQUESTS} requests in flight in each direction"
        yield Broken(("dma.max_in_flight_requests", "cores.count"), requested, demand, REQUESTS // count)


def shared_latency(hw: Hardware) -> Iterator[Broken]:
    """The tiles' buffers take two cycles of a shared memory's latency."""
    if hw.cores.count > 1 and not hw.memory.l2_bytes and hw.memory_latency_cycles < MIN_LATENCY_CYCLES:
        demand = "the path through a tile's buffers takes two of these cycles"
        least = MIN_LATENCY_CYCLES - hw.memory_latency_cycles + hw.memory.latency_cycles
        yield Broken(("memory.latency_cycles", "cores.count"), hw.memory.latency_cycles, demand, least)


def placings(hw: Hardware) -> Iterator[Broken]:
    """A split by hand has entries, which name cores of the machine; another split has none."""
    cores = hw.cores
    if cores.count == 1:
        return
    if cores.split == "hand" and not cores.hand:
        demand = 'a split by hand needs entries, e.g. "*.FF1 rows 0-1"'
        yield Broken(("cores.hand", "cores.split"), "()", demand, {"cores.split": "tensor"})
    if cores.hand and cores.split != "hand":
        demand = f"the split is {cores.split}, and entries are used only with a split by hand"
        yield Broken(("cores.hand", "cores.split"), list(cores.hand), demand, {"cores.split": "hand"})
    for entry in cores.hand:
        try:
            hand.read(entry, cores.count)
        except ValueError as error:
            legal = [hand.nearest(one, cores.count) for one in cores.hand]
            yield Broken(("cores.hand", "cores.count"), entry, str(error), {"cores.hand": legal})
