"""The result of applying a sparsity scheme to one operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sim.lower.work import Work

ALL_UNITS = "gemmini_sparse"
"""The preset with every unit."""

Place = Callable[[int], int]
"""Allocator: returns the DRAM address of a new tensor of the given bytes."""


@dataclass(frozen=True)
class Applied:
    """An operator under its rules: fields of `sim.plan.step.ArrayStep` by name."""

    works: tuple[Work, ...]
    macs_done: int
    macs_switched: int
    scheme: str
    metadata_bytes: int = 0
