"""The tables of a DRAM device file (hwconfigs/dram): meaning, type and range of each key."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sim.base.table import Table
from sim.hardware.count import Count

Standard = Literal["ddr3", "ddr4", "lpddr5", "hbm2"]
Milliampere = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Controller(Table):
    """Rules of a channel's controller (docs/MEMORY.md).

    ``rules``: "oldest_first", of all waiting requests whose next command is allowed the oldest (Ramulator 2.1's
    FR-FCFS); "bank_queues", a queue for each bank, served in turn (DRAMsim3's). ``row_hits_first``: no precharge of a
    row for which an older request waits. ``page`` "closed": a row without a waiting request is precharged in a free
    clock. ``read_queue``, ``write_queue``: entries; ``bank_queue``: entries of each bank's queue. Writes are served
    once ``drain_from`` wait, until at most ``drain_until`` are left. ``posted_writes``: a write is acknowledged when
    accepted, not when it goes to DRAM. ``merge_reads``: waiting reads of one address share a burst.
    """

    rules: Literal["oldest_first", "bank_queues"] = "oldest_first"
    row_hits_first: bool = False
    page: Literal["open", "closed"] = "open"
    read_queue: Annotated[int, Field(ge=1, le=64)] = 32
    write_queue: Annotated[int, Field(ge=1, le=64)] = 32
    bank_queue: Annotated[int, Field(ge=1, le=16)] = 8
    drain_from: Count = 26
    drain_until: Annotated[int, Field(ge=0)] = 6
    posted_writes: bool = True
    merge_reads: bool = False


class Currents(Table):
    """Supply voltage (V) and currents (mA) of one device, by JEDEC's names; ``devices``: devices of a rank."""

    devices: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    VDD: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    IDD0: Milliampere
    IDD2N: Milliampere
    IDD3N: Milliampere
    IDD4R: Milliampere
    IDD4W: Milliampere
    IDD5B: Milliampere
    source: Annotated[str, Field(min_length=1)]


class Dram(Table):
    """A DRAM memory: equal channels, each with a controller of its own, ranks, bank groups, banks, rows.

    ``rate_mts``: transfers per pin, in millions a second; ``tCK_ps``: clock of commands; ``columns``: of a row, of
    ``bus_bits`` each; ``rows``: of a bank. ``address_map``: fields from the highest address bit to the lowest, above
    the bytes of a burst; a field may be cut into pieces ("column:4" are 4 bits of it). ``timing``: clocks by JEDEC's
    symbol.
    """

    name: str = "dram"
    description: str = ""
    standard: Standard
    rate_mts: Count
    tCK_ps: Count
    channels: Annotated[int, Field(ge=1, le=64)]
    ranks: Count
    bank_groups: Count
    banks: Count
    rows: Count
    columns: Count
    bus_bits: Annotated[int, Field(ge=8)]
    address_map: str
    refresh: bool = True
    source: str = ""
    timing: dict[str, int]
    controller: Controller = Controller()
    currents: Currents

    @property
    def burst(self) -> int:
        """Transfers of a burst."""
        return BURSTS[self.standard]

    @property
    def line_bytes(self) -> int:
        """Bytes of a burst, the smallest transfer."""
        return self.burst * self.bus_bits // 8

    @property
    def capacity_bytes(self) -> int:
        """Bytes of all channels."""
        banks = self.channels * self.ranks * self.bank_groups * self.banks
        return banks * self.rows * self.columns * self.bus_bits // 8

    @property
    def clock_mhz(self) -> float:
        """Clock of commands in MHz."""
        return 1_000_000 / self.tCK_ps

    @property
    def peak_bytes_per_second(self) -> float:
        """Bytes per second of all channels with the data buses always busy."""
        buses = self.ranks if self.standard == "hbm2" else 1
        return self.channels * buses * self.rate_mts * 1e6 * self.bus_bits / 8


BURSTS = {"ddr3": 8, "ddr4": 8, "lpddr5": 16, "hbm2": 4}
"""Transfers of a burst by standard: JESD79-3F, JESD79-4B, JESD209-5 (BL16), JESD235C (pseudo-channel mode)."""
