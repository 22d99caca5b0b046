"""Work items as whole matrices: the values that their commands compute, without going through the commands.

A correct schedule leaves exactly these values (tests/functional/test_products.py compares them with the executor bit
for bit); sums of integers wrap at 32 bits in whatever order they are added. For machines whose array multiplies int8
into int32, and for the work items of `able`; all others go through the executor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.functional.kernels import records, whole
from sim.functional.kernels.fields import RELU
from sim.lower.polynomials import gelu_constants, polynomial_constants
from sim.lower.work import BlockSparseMatmul, Matmul, Norm, Operand, ResidualAdd, Work

if TYPE_CHECKING:
    from sim.functional.machine import Machine
    from sim.hardware import Hardware

Array = npt.NDArray[Any]

ACTIVATIONS = ("none", "relu", "igelu", "softmax")


def able(work: Work, hw: Hardware) -> bool:
    """Return whether `compute` knows a work item on a machine."""
    if hw.words is not None or hw.array.input_type != "int8" or hw.sum_type != "int32":
        return False
    if hw.accumulator.scale_units == "none":
        return False
    if isinstance(work, BlockSparseMatmul):
        work = work.matmul
    if isinstance(work, Matmul):
        scales = {work.a_scale, work.b_scale, work.d_scale}
        return scales == {1.0} and not (work.low_d or work.transpose_a) and work.activation in ACTIVATIONS
    if isinstance(work, ResidualAdd):
        return work.b is not None and hw.dma.mvin_scale_units != "none"
    return isinstance(work, Norm) and not work.low_x


def compute(work: Work, machine: Machine, weights: dict[Operand, Array] | None = None) -> int:
    """Compute the result of a work item on a machine's DRAM; return int32 overflows inside the polynomials.

    Only for what `able` accepts. ``weights``: B of products by operand, where it never changes; filled in here.
    """
    scale: Any
    tally = np.zeros(1, records.TALLY).view(np.recarray)[0]
    low, high = -128, 127
    if isinstance(work, BlockSparseMatmul):
        work = work.matmul
    if isinstance(work, Matmul):
        sums = _sums(work, machine, weights)
        if work.full_c:
            machine.write(work.c.address, sums, work.c.row_stride, wide=True)
            return 0
        out = np.empty(sums.shape, np.int64)
        scale = np.float32(work.scale)
        if work.activation == "igelu":
            whole.gelu_rows(sums, out, scale, *gelu_constants(work.bert_scale), low, high, tally)
        elif work.activation == "softmax":
            whole.softmax_rows(sums, out, polynomial_constants(work.bert_scale), low, high, tally)
        else:
            whole.scale_rows(sums, out, scale, RELU if work.activation == "relu" else 0, low, high)
        machine.write(work.c.address, out, work.c.row_stride)
    elif isinstance(work, ResidualAdd):
        assert work.b is not None
        shape = (work.rows, work.cols)
        parts = np.zeros((2, *shape), np.int64)
        for part, operand, scale in zip(parts, (work.a, work.b), (work.a_scale, work.b_scale), strict=True):
            whole.scale_rows(_matrix(machine, operand, shape), part, np.float32(scale), 0, low, high)
        out = np.empty(shape, np.int64)
        whole.scale_rows(parts.sum(axis=0), out, np.float32(work.c_scale), RELU if work.relu else 0, low, high)
        machine.write(work.c.address, out, work.c.row_stride)
    else:
        assert isinstance(work, Norm)
        sums = _matrix(machine, work.x, (work.rows, work.cols), wide=True)
        out = np.empty(sums.shape, np.int64)
        if work.kind == "softmax":
            whole.softmax_rows(sums, out, polynomial_constants(work.bert_scale), low, high, tally)
        else:
            whole.layernorm_rows(sums, out, np.float32(work.scale), low, high, tally)
        machine.write(work.c.address, out, work.c.row_stride)
    return int(tally.overflows)


def _matrix(machine: Machine, operand: Operand, shape: tuple[int, int], *, wide: bool = False) -> Array:
    return machine.read(operand.address, shape, operand.row_stride, wide=wide).astype(np.int64)


def _sums(work: Matmul, machine: Machine, weights: dict[Operand, Array] | None) -> Array:
    """Return A x B + D as int64[m, n], wrapped to int32. The products are exact in doubles: K < 2**39."""
    a = machine.read(work.a.address, (work.m, work.k), work.a.row_stride).astype(np.float64)
    shape = (work.n, work.k) if work.transpose_b else (work.k, work.n)
    b = None if weights is None else weights.get(work.b)
    if b is None:
        b = machine.read(work.b.address, shape, work.b.row_stride).astype(np.float64)
        if weights is not None:
            weights[work.b] = b
    sums = (a @ (b.T if work.transpose_b else b)).astype(np.int64)
    if work.bias != "none":
        assert work.d is not None
        rows = 1 if work.bias == "row" else work.m
        sums += machine.read(work.d.address, (rows, work.n), work.d.row_stride, wide=True)
    return (sums + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
