"""Work items as whole matrices: the values that their commands compute, without executing the commands.

A correct schedule leaves exactly these values (tests/functional/test_products.py compares them with the executor bit
for bit); sums of integers wrap at 32 bits in any order of addition. For machines whose array multiplies int8
into int32, and for the work items of `able`; all others go through the executor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

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
Weights = dict[Operand, Array]

LOW, HIGH = -128, 127
"""Range of a result in int8."""
ACTIVATIONS = ("none", "relu", "igelu", "softmax")


class Whole(NamedTuple):
    """Computation of one kind of work item at once, and the rule for when it applies."""

    able: Callable[[Any, Hardware], bool]
    compute: Callable[[Any, Machine, Weights | None], int]


def able(work: Work, hw: Hardware) -> bool:
    """Return whether `compute` supports a work item on a machine."""
    if hw.words is not None or hw.array.input_type != "int8" or hw.sum_type != "int32":
        return False
    if hw.accumulator.scale_units == "none":
        return False
    return type(work) in WHOLE and WHOLE[type(work)].able(work, hw)


def compute(work: Work, machine: Machine, weights: Weights | None = None) -> int:
    """Compute the result of a work item on a machine's DRAM; return int32 overflows inside the polynomials.

    Only for items that `able` accepts. ``weights``: cache of constant B matrices by operand; filled here.
    """
    return WHOLE[type(work)].compute(work, machine, weights)


def _able_product(work: Matmul, hw: Hardware) -> bool:
    scales = {work.a_scale, work.b_scale, work.d_scale}
    return scales == {1.0} and not (work.low_d or work.transpose_a) and work.activation in ACTIVATIONS


def _product(work: Matmul, machine: Machine, weights: Weights | None) -> int:
    sums = _sums(work, machine, weights)
    if work.full_c:
        machine.write(work.c.address, sums, work.c.row_stride, wide=True)
        return 0
    out, tally = np.empty(sums.shape, np.int64), _tally()
    scale: Any = np.float32(work.scale)
    if work.activation == "igelu":
        whole.gelu_rows(sums, out, scale, *gelu_constants(work.bert_scale), LOW, HIGH, tally)
    elif work.activation == "softmax":
        whole.softmax_rows(sums, out, polynomial_constants(work.bert_scale), LOW, HIGH, tally)
    else:
        whole.scale_rows(sums, out, scale, RELU if work.activation == "relu" else 0, LOW, HIGH)
    machine.write(work.c.address, out, work.c.row_stride)
    return int(tally.overflows)


def _addition(work: ResidualAdd, machine: Machine, weights: Weights | None) -> int:
    assert work.b is not None
    shape = (work.rows, work.cols)
    parts = np.zeros((2, *shape), np.int64)
    scale: Any
    for part, operand, scale in zip(parts, (work.a, work.b), (work.a_scale, work.b_scale), strict=True):
        whole.scale_rows(_matrix(machine, operand, shape), part, np.float32(scale), 0, LOW, HIGH)
    out = np.empty(shape, np.int64)
    whole.scale_rows(parts.sum(axis=0), out, np.float32(work.c_scale), RELU if work.relu else 0, LOW, HIGH)
    machine.write(work.c.address, out, work.c.row_stride)
    return 0


def _normalisation(work: Norm, machine: Machine, weights: Weights | None) -> int:
    sums = _matrix(machine, work.x, (work.rows, work.cols), wide=True)
    out, tally = np.empty(sums.shape, np.int64), _tally()
    if work.kind == "softmax":
        whole.softmax_rows(sums, out, polynomial_constants(work.bert_scale), LOW, HIGH, tally)
    else:
        scale: Any = np.float32(work.scale)
        whole.layernorm_rows(sums, out, scale, LOW, HIGH, tally)
    machine.write(work.c.address, out, work.c.row_stride)
    return int(tally.overflows)


WHOLE: dict[type[Work], Whole] = {
    Matmul: Whole(_able_product, _product),
    BlockSparseMatmul: Whole(
        lambda work, hw: _able_product(work.matmul, hw),
        lambda work, machine, weights: _product(work.matmul, machine, weights),
    ),
    ResidualAdd: Whole(lambda work, hw: work.b is not None and hw.dma.mvin_scale_units != "none", _addition),
    Norm: Whole(lambda work, hw: not work.low_x, _normalisation),
}
"""Kinds that can be computed as whole matrices."""


def _tally() -> Any:
    return np.zeros(1, records.TALLY).view(np.recarray)[0]


def _matrix(machine: Machine, operand: Operand, shape: tuple[int, int], *, wide: bool = False) -> Array:
    return machine.read(operand.address, shape, operand.row_stride, wide=wide).astype(np.int64)


def _sums(work: Matmul, machine: Machine, weights: Weights | None) -> Array:
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
