"""Lowering: one work item on one machine -> the command stream that Gemmini's C library would issue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sim.hardware import Hardware
from sim.isa import commands
from sim.isa.commands import Funct, Program
from sim.lower.conv import check_conv, lower_conv
from sim.lower.encode import with_gap
from sim.lower.matmul import check_matmul, lower_matmul
from sim.lower.norm import check_norm, lower_norm
from sim.lower.place import place
from sim.lower.resadd import check_resadd, lower_resadd
from sim.lower.sparse.blocksparse import check as check_blocksparse
from sim.lower.sparse.blocksparse import lower_blocksparse
from sim.lower.sparse.sampled import lower_sampled
from sim.lower.work import (
    BlockSparseMatmul,
    Conv,
    Matmul,
    Norm,
    Operand,
    PackedMatmul,
    ResidualAdd,
    SampledMatmul,
    Work,
)

__all__ = [
    "BlockSparseMatmul",
    "Conv",
    "Matmul",
    "Norm",
    "Operand",
    "PackedMatmul",
    "ResidualAdd",
    "SampledMatmul",
    "Work",
    "check",
    "lower",
    "place",
    "with_gap",
]


class Lowering(NamedTuple):
    """How one kind of work item becomes a program. ``check`` raises InputError for what ``lower`` refuses, sooner."""

    lower: Callable[[Any, Hardware], Program]
    check: Callable[[Any, Hardware], object]


LOWERINGS: dict[type[Work], Lowering] = {
    Matmul: Lowering(lower_matmul, check_matmul),
    Conv: Lowering(lower_conv, check_conv),
    ResidualAdd: Lowering(lower_resadd, check_resadd),
    Norm: Lowering(lower_norm, check_norm),
    BlockSparseMatmul: Lowering(lower_blocksparse, check_blocksparse),
    PackedMatmul: Lowering(lower_blocksparse, check_blocksparse),
    # Its sub-rows are cut while it is lowered; the planner has cut them once to count them.
    SampledMatmul: Lowering(lower_sampled, lambda work, hw: None),
}


def check(work: Work, hw: Hardware) -> None:
    """Raise InputError for what the machine or the library refuses of ``work`` (all problems at once)."""
    LOWERINGS[type(work)].check(work, hw)


def lower(work: Work, hw: Hardware, *, repeat: int = 1, bare: bool = False) -> Program:
    """Return the program of ``work`` on ``hw``; it ends with a fence, ``repeat`` times over.

    ``bare``: exactly the library call. Of all calls only the convolution's leaves the closing fence to its
    caller. Raises InputError for what the machine or the library refuses (all problems at once).
    """
    program = LOWERINGS[type(work)].lower(work, hw)
    if not bare and program["funct"][-1] != Funct.FENCE:
        program = np.append(program, commands.program([commands.command(Funct.FENCE)]))
    return np.tile(program, repeat) if repeat > 1 else program
