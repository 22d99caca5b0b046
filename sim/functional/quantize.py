"""Static per-tensor quantisation: one scale per tensor, from the largest magnitude seen on calibration inputs.

real value = scale * stored integer. Scales are widened where the machine's int32 polynomials would overflow otherwise
(`softmax_floor`, `gelu_floor`): resolution is lost, not correctness.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.graph import Graph

if TYPE_CHECKING:
    from sim.hardware import Hardware

Array = npt.NDArray[Any]

PROBABILITY_SCALE = 1 / 127
"""The machine's softmax calls 1.0 127 (gemmini.h)."""

INT32 = 2**31 - 1
MARGIN = 1.05
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
    return float(MARGIN * np.cbrt(GELU1 * max(largest, 1.0) / INT32))


def largest_magnitudes(runs: Iterable[Mapping[str, Array]]) -> dict[str, float]:
    """Return, by tensor, the largest magnitude in any of the runs."""
    found: dict[str, float] = {}
    for values in runs:
        for name, array in values.items():
            found[name] = max(found.get(name, 0.0), float(np.abs(array).max(initial=0)))
    return found


def scales(graph: Graph, hw: Hardware, magnitudes: Mapping[str, float], head_dim: int) -> dict[str, float]:
    """Return the scale of every int8 tensor of ``graph`` on ``hw``; 1.0 for all on a floating-point machine."""
    if not hw.array.input_type.startswith("int"):
        return dict.fromkeys(graph.tensors, 1.0)
    top = np.iinfo(hw.array.input_type).max
    chosen = {
        name: max(magnitudes.get(name, 0.0) / top, SMALLEST_SCALE)
        for name, tensor in graph.tensors.items()
        if tensor.dtype == "int8"
    }
    for op in graph.ops:
        if op.kind == "softmax":
            chosen[op.output.tensor] = PROBABILITY_SCALE
    for op in graph.ops:
        if op.kind == "matmul" and op.attrs["transpose_b"] and "softmax" in hw.array_operators:
            q, k = (view.tensor for view in op.inputs)
            have = chosen[q] * chosen[k] / math.sqrt(head_dim)
            widen = math.sqrt(max(1.0, softmax_floor(op.output.cols) / have))
            chosen[q] *= widen
            chosen[k] *= widen
        reader = next((r for r in graph.consumers(op.output.tensor) if r.kind == "gelu"), None)
        fused = reader is not None and op.output.tensor in chosen and "gelu" in hw.array_operators
        if op.kind == "matmul" and fused:
            a, b = (view.tensor for view in op.inputs[:2])
            floor = gelu_floor(magnitudes.get(op.output.tensor, 0.0))
            chosen[b] *= max(1.0, floor / (chosen[a] * chosen[b]))
    return chosen


def quantized(values: Array, scale: float, dtype: str) -> Array:
    """Return ``values`` as stored: divided by the scale, half to even, saturated; floats only divided."""
    if not dtype.startswith("int"):
        return np.asarray(values / scale, dtype=np.float32)
    bounds = np.iinfo(dtype)
    return np.clip(np.rint(values.astype(np.float64) / scale), bounds.min, bounds.max).astype(dtype)
