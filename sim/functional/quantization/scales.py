"""Scales: the real value of one unit of each tensor's integers.

real value = scale * column factor * stored integer. Scales are widened if the machine's int32 arithmetic would overflow
otherwise (`floors`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.functional.quantization import floors
from sim.functional.quantization.array import ArrayScales
from sim.functional.quantization.bias import corrections
from sim.functional.quantization.centring import relate
from sim.functional.quantization.clipping import clip
from sim.functional.quantization.columns import FEWEST, free
from sim.functional.quantization.kept import name_of, recalled
from sim.functional.quantization.recipe import Recipe
from sim.functional.quantization.rounding import compensated, taking_back
from sim.functional.quantization.statistics import Statistics
from sim.functional.quantization.structure import row_sums
from sim.functional.quantization.target import BOUNDED_SCALE, SMALLEST, Scales, Target
from sim.graph import Op, View
from sim.hardware.schema import ELEMENT_BITS

Array = npt.NDArray[Any]


def scales(target: Target, weights: Mapping[str, Array], seen: Statistics, recipe: Recipe) -> Scales:
    """Return the scales of every tensor of a graph except sums; 1.0 on a floating-point machine."""
    if not target.hw.array.input_type.startswith("int"):
        return Scales({name: 1.0 for name, tensor in target.graph.tensors.items() if tensor.dtype != "int32"})
    found = _chosen(target, weights, seen, recipe)
    relate(target, found)
    if recipe.bias_correction and _on_array_only(target, weights):
        found.bias = corrections(target, weights, seen, found)
    if recipe.rounding == "compensated":
        _compensate(target, weights, seen, found)
    return found


def _compensate(target: Target, weights: Mapping[str, Array], seen: Statistics, found: Scales) -> None:
    """Round the weights so that their errors compensate, if calibration has statistics of their operand."""
    triangles: dict[tuple[str, bytes], tuple[Array | None, Array]] = {}  # shared by all products of one tensor
    arranged = [(tensor, *of) for tensor, of in sorted(seen.sources.items())]
    layout = name_of(*(part for one in arranged for part in one)) if seen.key else ""
    for op in target.products():
        a, name = op.inputs[0], op.inputs[1].tensor
        if name in target.fixed or not target.graph.multiplies_weights(op):
            continue
        columns = seen.width(a.tensor)
        if columns != len(weights[name]) or a.cols != columns:
            continue
        rows = found.rows.get(name, np.ones(columns, np.float32))
        units, top = rows * found.scale[a.tensor], target.top(name)

        def rounded(
            a: View = a, units: Array = units, name: str = name, rows: Array = rows, top: int = top
        ) -> dict[str, Array]:
            whole = weights[name] * rows[:, None] / (found.scale[name] * found.factors(name))
            key = (a.tensor, units.tobytes())
            if key not in triangles:
                triangles[key] = taking_back(seen.moments(a.tensor) / np.outer(units, units))
            return {"whole": compensated(whole, *triangles[key], top).astype(np.int8 if top < 128 else np.int32)}

        if not seen.key:
            found.whole[name] = rounded()["whole"]
            continue
        # the model's weights and their order follow from the key and the layout of all tensors
        entry = name_of("rounded", seen.key, layout, name, rows, units, found.scale[name], found.factors(name), top)
        found.whole[name] = recalled(entry, rounded, on_disk=True)["whole"]


def _on_array_only(target: Target, weights: Mapping[str, Array]) -> bool:
    """Return whether a graph is one of `workloads.checkpoint.array`, which sums int32 into LayerNorm."""
    return any(row_sums(op, weights, target.graph) for op in target.graph.ops)


def _chosen(target: Target, weights: Mapping[str, Array], seen: Statistics, recipe: Recipe) -> Scales:
    """Return the scales of an array of integers."""
    graph = target.graph
    if _on_array_only(target, weights):
        found = ArrayScales(target, weights, seen, recipe).scales()
        _widen_scores(target, found)
        return found
    found = Scales()
    _smooth(target, weights, seen, recipe, found)
    if recipe.channels:
        _channels(target, weights, found)
    for name, tensor in graph.tensors.items():
        if tensor.dtype == "int8":
            found.scale[name] = max(_magnitude(target, name, weights, seen, recipe, found) / target.top(name), SMALLEST)
    for op in graph.ops:
        if op.record.bounded:
            found.scale[op.output.tensor] = max(BOUNDED_SCALE, 1 / target.top(op.output.tensor))
    _widen(target, seen, found)
    for op in target.products():  # addends of sums in int32
        if len(op.inputs) > 2 and graph.tensors[op.inputs[2].tensor].kind == "activation":
            name = op.inputs[2].tensor
            found.scale[name] = found.scale[op.inputs[0].tensor] * found.scale[op.inputs[1].tensor]
            if op.inputs[1].tensor in found.columns:
                found.columns[name] = found.columns[op.inputs[1].tensor]
    return found


def _smooth(target: Target, weights: Mapping[str, Array], seen: Statistics, recipe: Recipe, found: Scales) -> None:
    """Give factors to columns of tensors that a host writes for products, and inverse ones to rows of weights."""
    if not recipe.smooth:
        return
    graph = target.graph
    for op in graph.ops:
        name = op.output.tensor
        readers = [reader for reader in graph.consumers(name) if reader.is_matmul and reader.inputs[0].tensor == name]
        written = op.name not in target.on_array and graph.tensors[name].dtype == "int8" and name in seen.largest
        if not (written and readers and free(graph, name, target.on_array)):
            continue
        reach = np.max([np.abs(weights[r.inputs[1].tensor]).max(axis=1) for r in readers], axis=0)
        raised = np.maximum(seen.largest[name], SMALLEST) ** recipe.smooth
        factors = raised / np.maximum(reach, SMALLEST) ** (1 - recipe.smooth)
        found.columns[name] = (factors / np.exp(np.log(factors).mean())).astype(np.float32)


def _channels(target: Target, weights: Mapping[str, Array], found: Scales) -> None:
    """Give each column of weights the factor with which its largest weight is the largest integer."""
    graph = target.graph
    for op in target.products():
        a, b = (view.tensor for view in op.inputs[:2])
        out = op.output.tensor
        if a in found.columns and graph.tensors[b].kind == "weight":
            found.rows[b] = found.columns[a]
        bounded = b in target.fixed or graph.tensors[b].kind != "weight" or op.attrs["transpose_b"]
        if not bounded and free(graph, out, target.on_array):
            largest = np.abs(weights[b] * _column(found.rows.get(b))).max(axis=0)
            found.columns[b] = (np.maximum(largest, largest.max() * FEWEST) / largest.max()).astype(np.float32)
            found.columns[out] = found.columns[b]
        elif graph.tensors[b].kind != "weight" and b in found.columns:  # V of attention
            whole = found.columns.setdefault(out, np.ones(graph.tensors[out].shape[-1], np.float32))
            whole[_columns_of(op.output, len(whole))] = found.columns[b][
                _columns_of(op.inputs[1], len(found.columns[b]))
            ]


def _columns_of(view: View, width: int) -> Array:
    """Return the columns of a tensor in the repetitions of a view, one after the other."""
    first = (view.offset + view.batch_stride * np.arange(view.batch)) % width
    return np.asarray((first[:, None] + np.arange(view.cols)).reshape(-1))


def _column(factors: Array | None) -> Array | float:
    return 1.0 if factors is None else factors[:, None]


def _magnitude(
    target: Target, name: str, weights: Mapping[str, Array], seen: Statistics, recipe: Recipe, found: Scales
) -> float:
    """Return the real value of the largest integer of a tensor, without factors of columns."""
    factors = found.factors(name)
    if target.graph.tensors[name].kind == "weight" and name in weights:
        values = weights[name] * _column(found.rows.get(name)) / factors
        return float(np.abs(values).max(initial=0))
    if name not in seen.largest:
        return 0.0
    largest = float((seen.largest[name] / factors).max(initial=0))
    if recipe.clip == "max":
        return largest * recipe.headroom
    return clip(seen.sample(name) / factors, largest, target.top(name), recipe)


def _widen(target: Target, seen: Statistics, found: Scales) -> None:
    """Widen scales until the integer units do not overflow."""
    chosen = found.scale
    _widen_scores(target, found)
    for op in target.products():
        if floor := _floor(target, op, seen):
            a, b = (view.tensor for view in op.inputs[:2])
            chosen[b] *= max(1.0, floor / (chosen[a] * chosen[b]))
    for name in target.identities:
        wanted = chosen[name]
        chosen[name] = 1 / max(1, math.floor(1 / wanted))
        for op in target.products() if wanted > 1 else ():  # not even 1 is small enough: the widened tensor is coarser
            if op.inputs[1].tensor == name:
                chosen[op.inputs[0].tensor] *= wanted


def _widen_scores(target: Target, found: Scales) -> None:
    """Widen the scales of Q and K until the exponentials of a row of scores do not overflow."""
    chosen = found.scale
    for op in target.products():
        if op.attrs["transpose_b"] and "softmax" in target.hw.array_operators:
            q, k = (view.tensor for view in op.inputs[:2])
            have = chosen[q] * chosen[k] / math.sqrt(target.head_dim)
            widen = math.sqrt(max(1.0, floors.softmax(op.output.cols) / have))
            chosen[q] *= widen
            chosen[k] *= widen


def _floor(target: Target, op: Op, seen: Statistics) -> float:
    """Return the smallest scale of a matmul's sums for the unit after it; 0 if there is none."""
    out = op.output.tensor
    tensor, hw = target.graph.tensors[out], target.hw
    readers = [reader.record for reader in target.graph.consumers(out) if reader.name in target.on_array]
    if any(kind.standardises for kind in readers):
        return floors.variance(seen.energies[out])
    fused = tensor.dtype in ("int8", hw.array.input_type)
    gelu = fused and any(kind.feed_forward for kind in readers)
    return floors.gelu(seen.magnitude(out)) if gelu else 0.0


def quantized(values: Array, scale: Array | float, dtype: str) -> Array:
    """Return ``values`` as stored: divided by the scale (one, or one for each column), half to even, saturated.

    Floats are only divided.
    """
    if not dtype.startswith("int"):
        return np.asarray(values / scale, dtype=np.float32)
    top = 1 << (ELEMENT_BITS[dtype] - 1)
    return np.clip(np.rint(values.astype(np.float64) / scale), -top, top - 1).astype(np.int64)
