"""Lowering: one work item on one machine -> the command stream that Gemmini's C library would issue."""

from __future__ import annotations

import numpy as np

from sim.hardware import Hardware
from sim.isa import commands
from sim.isa.commands import Funct, Program
from sim.lower.conv import lower_conv
from sim.lower.encode import with_gap
from sim.lower.matmul import lower_matmul
from sim.lower.norm import lower_norm
from sim.lower.place import place
from sim.lower.resadd import lower_resadd
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
    "lower",
    "place",
    "with_gap",
]


def lower(work: Work, hw: Hardware, *, repeat: int = 1, bare: bool = False) -> Program:
    """Return the program of ``work`` on ``hw``; it ends with a fence, ``repeat`` times over.

    ``bare``: exactly the library call. Of all calls only the convolution's leaves the closing fence to its
    caller. Raises InputError for what the machine or the library refuses (all problems at once).
    """
    match work:
        case Matmul():
            program = lower_matmul(work, hw)
        case BlockSparseMatmul() | PackedMatmul():
            program = lower_blocksparse(work, hw)
        case SampledMatmul():
            program = lower_sampled(work, hw)
        case ResidualAdd():
            program = lower_resadd(work, hw)
        case Norm():
            program = lower_norm(work, hw)
        case Conv():
            program = lower_conv(work, hw)
    if not bare and program["funct"][-1] != Funct.FENCE:
        program = np.append(program, commands.program([commands.command(Funct.FENCE)]))
    return np.tile(program, repeat) if repeat > 1 else program
