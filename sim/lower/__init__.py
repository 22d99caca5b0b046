"""Lowering: one work item on one machine -> the command stream that Gemmini's C library would issue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from sim.hardware import Hardware
from sim.isa import commands
from sim.isa.commands import Funct, Program
from sim.lower.call import Call
from sim.lower.chain import check_chain, lower_chain
from sim.lower.conv.lowering import call_conv, check_conv, lower_conv
from sim.lower.encode import with_gap
from sim.lower.matmul import call_matmul, call_sparse, check_matmul, lower_matmul
from sim.lower.norm import call_norm, check_norm, lower_norm
from sim.lower.place import place
from sim.lower.resadd import call_resadd, check_resadd, lower_resadd
from sim.lower.rows import call_rows, check_rows, lower_rows
from sim.lower.sparse.blocksparse import check as check_blocksparse
from sim.lower.sparse.blocksparse import lower_blocksparse, packed_counters
from sim.lower.sparse.sampled import lower_sampled, sampled_counters
from sim.lower.streaming import call_streaming, check_streaming, lower_streaming
from sim.lower.work import (
    BlockSparseMatmul,
    Chain,
    Conv,
    Matmul,
    Norm,
    Operand,
    PackedMatmul,
    ResidualAdd,
    RowsMatmul,
    SampledMatmul,
    Streaming,
    Work,
)

__all__ = [
    "BlockSparseMatmul",
    "Chain",
    "Conv",
    "Matmul",
    "Norm",
    "Operand",
    "PackedMatmul",
    "ResidualAdd",
    "RowsMatmul",
    "SampledMatmul",
    "Streaming",
    "Work",
    "check",
    "counted",
    "library_call",
    "lower",
    "place",
    "with_gap",
]


def _as_timed(work: Work, program: Program, hw: Hardware, counters: Mapping[str, int]) -> dict[str, int]:
    return dict(counters)


class Lowering(NamedTuple):
    """The lowering of one kind of work item.

    ``check`` raises InputError like ``lower``, but earlier. ``call``: the library call that issues the commands.
    ``counters``: function of (item, program, machine, the timing core's counters) that adds amounts which the commands
    do not show.
    """

    lower: Callable[[Any, Hardware], Program]
    check: Callable[[Any, Hardware], object]
    call: Callable[[Any, Hardware], Call]
    counters: Callable[[Any, Program, Hardware, Mapping[str, int]], dict[str, int]] = _as_timed


LOWERINGS: dict[type[Work], Lowering] = {
    Matmul: Lowering(lower_matmul, check_matmul, call_matmul),
    Conv: Lowering(lower_conv, check_conv, call_conv),
    ResidualAdd: Lowering(lower_resadd, check_resadd, call_resadd),
    Norm: Lowering(lower_norm, check_norm, call_norm),
    BlockSparseMatmul: Lowering(lower_blocksparse, check_blocksparse, call_sparse),
    PackedMatmul: Lowering(lower_blocksparse, check_blocksparse, call_sparse, packed_counters),
    # Its sub-rows are cut during lowering; the planner has cut them once to count them.
    SampledMatmul: Lowering(lower_sampled, lambda work, hw: None, call_sparse, sampled_counters),
    RowsMatmul: Lowering(lower_rows, check_rows, call_rows),
    Streaming: Lowering(lower_streaming, check_streaming, call_streaming),
    Chain: Lowering(
        lambda work, hw: lower_chain(work, hw, lower),
        lambda work, hw: check_chain(work, hw, check),
        lambda work, hw: library_call(work.parts[0], hw),  # the first of several calls; `sim.cpu` prices each
    ),
}


def check(work: Work, hw: Hardware) -> None:
    """Raise InputError if the machine or the library refuses ``work`` (all problems in one error)."""
    LOWERINGS[type(work)].check(work, hw)


def counted(work: Work, program: Program, hw: Hardware, counters: Mapping[str, int]) -> dict[str, int]:
    """Return the timing core's counters of a program, with amounts of sparse operands that its commands do not show."""
    return LOWERINGS[type(work)].counters(work, program, hw, counters)


def library_call(work: Work, hw: Hardware) -> Call:
    """Return the library call that issues the commands of ``work``."""
    return LOWERINGS[type(work)].call(work, hw)


def lower(work: Work, hw: Hardware, *, repeat: int = 1, bare: bool = False) -> Program:
    """Return the program of ``work`` on ``hw``; it ends with a fence. ``repeat``: number of repetitions.

    ``bare``: exactly the library call. Only the library's convolution leaves the closing fence to its caller. Raises
    InputError if the machine or the library refuses the item (all problems in one error).
    """
    program = LOWERINGS[type(work)].lower(work, hw)
    if not bare and program["funct"][-1] != Funct.FENCE:
        program = np.append(program, commands.program([commands.command(Funct.FENCE)]))
    return np.tile(program, repeat) if repeat > 1 else program
