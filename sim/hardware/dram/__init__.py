"""DRAM behind a machine: device files of hwconfigs/dram, their standards' rules, the numbers of a channel's record."""

from sim.hardware.dram.loading import devices, load_dram
from sim.hardware.dram.schema import Dram

__all__ = ["Dram", "devices", "load_dram"]
