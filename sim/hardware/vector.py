"""The vector unit, as a machine declares it. Gemmini's RTL has none: off in all presets.

Defaults and their sources, per lane:

==================== =================================================================================================
add_cycles           1: pipelined lanes take an element a cycle each (Ara, arXiv 1906.00478)
multiply_cycles      1: likewise
divide_cycles        18: the divider of Gemmini's Normalizer.scala, which is iterative (docs/reference, 8.2)
root_cycles          17: its square root (docs/reference, 8.2)
exponential_cycles   8: steps of I-BERT's i-exp (arXiv 2101.01321): 3 products, 5 sums, roundings and shifts
buffer_bytes         8 KiB: a choice, the smallest memory whose energy is published (hwconfigs/energy)
port_bytes           0: as wide as the accelerator's bus
==================== =================================================================================================
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from sim.base.table import Table
from sim.hardware import units

LaneCycles = Annotated[int, Field(ge=1, le=1024)]


class Vector(Table):
    """A unit of ``lanes`` lanes, each of the accumulator's type, that reads and writes memory (0: no such unit).

    ``*_cycles``: cycles of a lane for one such step. ``port_bytes``: bytes read, and bytes written, per cycle (0: the
    bus width). ``buffer_bytes``: holds the current row and the next one; each pass reads longer rows again.
    """

    lanes: Annotated[int, Field(ge=0, le=4096)] = 0
    add_cycles: LaneCycles = 1
    multiply_cycles: LaneCycles = 1
    divide_cycles: LaneCycles = 18
    root_cycles: LaneCycles = 17
    exponential_cycles: LaneCycles = 8
    port_bytes: Annotated[int, BeforeValidator(units.size_bytes), Field(ge=0, le=4096)] = 0
    buffer_bytes: Annotated[int, BeforeValidator(units.size_bytes), Field(ge=64, le=2**30)] = 8192
