"""Random memories for machines: a DRAM of any kind, and address translation."""

from __future__ import annotations

from random import Random
from typing import Any

from sim.hardware import Hardware
from sim.hardware.dram import devices

CHANNELS = (1, 1, 2, 4)
MAPS = ("row bank bank_group rank column channel", "channel row column bank bank_group rank",
        "row rank bank column:3 channel bank_group column")  # fmt: skip


def dram(seed: int) -> dict[str, Any]:
    """Overrides of a machine: a DRAM of any kind, its clock against the machine's, the way to it."""
    random = Random(seed)
    device = random.choice(sorted(devices()))
    changes: dict[str, Any] = {
        "memory.dram": device,
        "memory.one_port": False,
        "memory.dram.channels": random.choice(CHANNELS),
        "memory.dram.address_map": random.choice(MAPS),
        "memory.dram.refresh": random.random() < 0.8,
        "memory.dram.controller.page": random.choice(("open", "closed")),
        "memory.dram.controller.posted_writes": random.random() < 0.6,
        "memory.dram.controller.read_queue": random.choice((2, 8, 32)),
        "memory.latency_cycles": random.choice((1, 2, 40)),
        "clock_mhz": random.choice((200, 333, 1000, 1700)),
    }
    if device.startswith("ddr") and random.random() < 0.3:
        changes |= {
            "memory.dram.controller.rules": "bank_queues",
            "memory.dram.controller.merge_reads": random.random() < 0.5,
            "memory.dram.controller.page": "open",
            "memory.dram.controller.posted_writes": True,
        }
    return changes


def behind(hw: Hardware, seed: int) -> Hardware:
    """A machine behind a random DRAM."""
    return hw.with_(dram(seed))


def pages(random: Random) -> dict[str, Any]:
    """Overrides of a machine that translates addresses."""
    return {
        "tlb.pages": random.choice(("4KiB", "4KiB", "2MiB")),
        "tlb.entries": random.choice((4, 8, 32)),
        "tlb.superpage_entries": random.choice((1, 4)),
        "tlb.walk_cycles": random.choice((2, 8, 9, 30)),
        "tlb.page_tables": random.choice(("data_cache", "memory")),
    }
