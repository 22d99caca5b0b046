"""Static per-tensor quantisation: one scale per tensor, from the largest magnitude seen on calibration inputs.

real value = scale * stored integer. Scales are widened where the machine's int32 arithmetic would overflow otherwise
(`softmax_floor`, `gelu_floor`, `variance_floor`): resolution is lost, not correctness.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.graph import Graph, Op
from sim.hardware.schema import ELEMENT_BITS

if TYPE_CHECKING:
    from sim.hardware import Hardware

Array = npt.NDArray[Any]

BOUNDED_SCALE = 1 / 127
"""Of results whose largest magnitude is 1: the machine's softmax calls it 127 (gemmini.h), so the host's tanh does."""

INT32 = 2**31 - 1
MARGIN = 1.05
GELU_RESERVE = 1.5
"""Sums of coarsely quantised weights go beyond what calibration has seen; an overflow would change the sign."""

ENERGY_RESERVE = 2.0
"""Rows that calibration has not seen may have twice the variance."""

SMALLEST_SCALE = 1e-8
"""Of a tensor that is zero throughout."""

# of the integer polynomials (papers.md 6): exp(0) = EXP0 / scale**2, GELU(x) = GELU1 * |x| / scale**3 at most
EXP0 = 1.353**2 + 0.344 / 0.3585
GELU1 = 2 * 2 / 0.2888


def softmax_floor(columns: int) -> float:
    """Return the smallest scale of the scores at which a row's sum of exponentials fits int32."""
    return MARGIN * math.sqrt(EXP0 * columns / INT32)


def gelu_floor(largest: float) -> float:
    """Return the smallest scale of GELU's input at which its result fits int32 for inputs up to ``largest``."""
    return float(MARGIN * np.cbrt(GELU_RESERVE * GELU1 * max(largest, 1.0) / INT32))


def variance_floor(energy: float) -> float:
    """Return the smallest scale at which a row's sum of squared deviations, ``energy`` in real units, fits int32."""
    return MARGIN * math.sqrt(ENERGY_RESERVE * max(energy, 0.0) / INT32)


def largest_energies(graph: Graph, runs: Iterable[Mapping[str, Array]]) -> dict[str, float]:
    """Return, by tensor that a LayerNorm reads, the largest sum of squared deviations of a row in any of the runs."""
    names = {op.inputs[0].tensor for op in graph.ops if op.kind == "layernorm"}
    found: dict[str, float] = {}
    for values in runs:
        for name in names:
            rows = values[name].astype(np.float64)
            energy = ((rows - rows.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1).max()
            found[name] = max(found.get(name, 0.0), float(energy))
    return found


def largest_magnitudes(runs: Iterable[Mapping[str, Array]]) -> dict[str, float]:
    """Return, by tensor, the largest magnitude in any of the runs."""
    found: dict[str, float] = {}
    for values in runs:
        for name, array in values.items():
            found[name] = max(found.get(name, 0.0), float(np.abs(array).max(initial=0)))
    return found


def scales(
    graph: Graph,
    hw: Hardware,
    magnitudes: Mapping[str, float],
    head_dim: int,
    energies: Mapping[str, float],
    identities: Collection[str] = (),
    bits: Mapping[str, int] | None = None,
) -> dict[str, float]:
    """Return the scale of every tensor of ``graph`` on ``hw`` but for sums; 1.0 on a floating-point machine.

    ``magnitudes``, ``energies``: by tensor, as above. ``bits``: tensor -> bits of its elements, where they are not of
    the input type's width. ``identities``: weights that only widen; 1 must be a whole
    number of their scale.
    """
    if not hw.array.input_type.startswith("int"):
        return {name: 1.0 for name, tensor in graph.tensors.items() if tensor.dtype != "int32"}
    narrow, own = bits or {}, 8 * hw.input_bytes
    top = {name: (1 << narrow.get(name, own) - 1) - 1 for name in graph.tensors}
    chosen = {
        name: max(magnitudes.get(name, 0.0) / top[name], SMALLEST_SCALE)
        for name, tensor in graph.tensors.items()
        if tensor.dtype == "int8"
    }
    for op in graph.ops:
        if op.kind in ("softmax", "tanh"):
            chosen[op.output.tensor] = max(BOUNDED_SCALE, 1 / top[op.output.tensor])
    for op in graph.ops:
        if op.kind == "matmul" and op.attrs["transpose_b"] and "softmax" in hw.array_operators:
            q, k = (view.tensor for view in op.inputs[:2])
            have = chosen[q] * chosen[k] / math.sqrt(head_dim)
            widen = math.sqrt(max(1.0, softmax_floor(op.output.cols) / have))
            chosen[q] *= widen
            chosen[k] *= widen
        if op.kind == "matmul" and (floor := _floor(graph, hw, op, magnitudes, energies)):
            a, b = (view.tensor for view in op.inputs[:2])
            chosen[b] *= max(1.0, floor / (chosen[a] * chosen[b]))
    for name in identities:
        wanted = chosen[name]
        chosen[name] = 1 / max(1, math.floor(1 / wanted))
        for op in graph.ops if wanted > 1 else ():  # not even 1 is small enough: what is widened is coarser
            if op.kind == "matmul" and op.inputs[1].tensor == name:
                chosen[op.inputs[0].tensor] *= wanted
    return chosen


def _floor(graph: Graph, hw: Hardware, op: Op, magnitudes: Mapping[str, float], energies: Mapping[str, float]) -> float:
    """Return the smallest scale of a matmul's sums that the unit behind it takes; 0 when there is none."""
    out = op.output.tensor
    readers = {reader.kind for reader in graph.consumers(out)} & set(hw.array_operators)
    if "layernorm" in readers:
        return variance_floor(energies[out])
    fused = graph.tensors[out].dtype in ("int8", hw.array.input_type)
    return gelu_floor(magnitudes.get(out, 0.0)) if "gelu" in readers and fused else 0.0


def quantized(values: Array, scale: float, dtype: str) -> Array:
    """Return ``values`` as stored: divided by the scale, half to even, saturated; floats only divided."""
    if not dtype.startswith("int"):
        return np.asarray(values / scale, dtype=np.float32)
    top = 1 << (ELEMENT_BITS[dtype] - 1)
    return np.clip(np.rint(values.astype(np.float64) / scale), -top, top - 1).astype(np.int64)
