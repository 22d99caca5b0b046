"""DRAM behind a machine: device files of hwconfigs/dram, their standards' rules, the numbers of a channel's record."""

from sim.hardware.dram.devices import devices
from sim.hardware.dram.schema import Dram

__all__ = ["Dram", "devices"]
