"""Energy of a DRAM by command, from the currents of its data sheet; a pure function of counters.

By Micron's TN-40-07 ("Calculating memory power for DDR4 SDRAM"): the current of a command above the standby current,
times its time, times the supply voltage, times the devices of a rank; mA x ns x V = pJ.

=========== ==================================================================================
background  IDD3N while a rank has an open row, else IDD2N, of all ranks of all channels
ACT         (IDD0 - IDD3N) x tRAS
PRE         (IDD0 - IDD2N) x (tRC - tRAS), per bank; ACT and PRE together are one period of IDD0
RD, WR      (IDD4R - IDD3N), (IDD4W - IDD3N) x burst
REF         (IDD5B - IDD2N) x tRFC, per rank; counted, and one per tREFI while the array is idle
=========== ==================================================================================

On-die termination and the drivers' part of the supply are not included in these currents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sim.hardware.dram.standards import common

if TYPE_CHECKING:
    from sim.hardware.dram import Dram

COUNTERS = (
    "DRAM_ACTIVATES",
    "DRAM_PRECHARGES",
    "DRAM_READ_BURSTS",
    "DRAM_WRITE_BURSTS",
    "DRAM_REFRESHES",
    "DRAM_OPEN_CLOCKS",
    "DRAM_CLOCKS",
)
"""Counters that cost energy in a DRAM described by memory.dram."""

COMMANDS = ("act", "pre", "rd", "wr", "ref", "background")
"""Keys of what `price` returns."""


def price(count: Mapping[str, int], cycles: int, clock_mhz: float, dram: Dram) -> dict[str, float]:
    """Return command -> energy in pJ (keys: `COMMANDS`) of ``cycles`` accelerator cycles, all channels together.

    ``count``: all of `COUNTERS`, zeros for work without the array.
    """
    c, t, tck_ns = dram.currents, dram.timing, dram.tCK_ps / 1000
    volts = c.VDD * c.devices  # V x devices
    ranks = dram.channels * dram.ranks
    clocks = max(cycles * 1000 / clock_mhz / tck_ns * ranks, count["DRAM_OPEN_CLOCKS"])
    unseen = max(0.0, clocks - count["DRAM_CLOCKS"]) if dram.refresh else 0.0
    refreshes = count["DRAM_REFRESHES"] + unseen / t["nREFI"]
    standby = count["DRAM_OPEN_CLOCKS"] * c.IDD3N + (clocks - count["DRAM_OPEN_CLOCKS"]) * c.IDD2N
    burst = common(dram.standard, t).burst
    return {
        "act": volts * count["DRAM_ACTIVATES"] * (c.IDD0 - c.IDD3N) * t["nRAS"] * tck_ns,
        "pre": volts * count["DRAM_PRECHARGES"] * (c.IDD0 - c.IDD2N) * (t["nRC"] - t["nRAS"]) * tck_ns,
        "rd": volts * count["DRAM_READ_BURSTS"] * (c.IDD4R - c.IDD3N) * burst * tck_ns,
        "wr": volts * count["DRAM_WRITE_BURSTS"] * (c.IDD4W - c.IDD3N) * burst * tck_ns,
        "ref": volts * refreshes * (c.IDD5B - c.IDD2N) * t["nRFC"] * tck_ns,
        "background": volts * standby * tck_ns,
    }
