"""Bias correction (Nagel et al., 1906.04721, section 4.2).

The mean error of the integer GELU is subtracted from a product's bias.

The polynomial of the unit, and the rounding before and after it, have a mean error that differs between neurons and is
the same for every token. It is measured on calibration rows, multiplied by the following weights, and subtracted from
their bias, without additional cycles or bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.functional.kernels import records, whole
from sim.functional.quantization.kept import name_of, recalled
from sim.functional.quantization.statistics import Statistics
from sim.functional.quantization.structure import copied, placed
from sim.functional.quantization.target import Scales, Target
from sim.graph import Op, View
from sim.graph.kinds.elementwise import gelu
from sim.lower.polynomials import ERF_A, gelu_constants

Array = npt.NDArray[Any]


def corrections(target: Target, weights: Mapping[str, Array], seen: Statistics, found: Scales) -> dict[str, Array]:
    """Return bias -> correction to add, real values [columns]. For encoders of `workloads.checkpoint.array`."""
    errors: dict[str, Array] = {}
    changes: dict[str, Array] = {}
    graph = target.graph
    for op in graph.ops:
        a, out = op.inputs[0], op.output
        if op.record.feed_forward:
            whole_row = errors.setdefault(out.tensor, np.zeros(graph.tensors[out.tensor].shape[-1]))
            whole_row[_columns(target, out)] = _mean_error(target, seen, found, op)
        elif a.tensor in errors and graph.multiplies_weights(op):
            matrix = weights[op.inputs[1].tensor]
            if copied(matrix):
                errors[out.tensor][_columns(target, out)] = errors[a.tensor][_columns(target, a)][matrix.argmax(axis=0)]
            elif len(op.inputs) > 2:
                changes[op.inputs[2].tensor] = -(errors[a.tensor] @ matrix).astype(np.float32)
    return changes


def _columns(target: Target, view: View) -> slice:
    return placed(view.offset, view.cols, target.graph.tensors[view.tensor].shape[-1])


def _mean_error(target: Target, seen: Statistics, found: Scales, op: Op) -> Array:
    """Return by column the mean of (integer GELU - GELU) on calibration rows; zeros if none were kept."""
    (widen,) = target.graph.producers(op.inputs[0].tensor)
    source = widen.inputs[0]
    at = _columns(target, source)
    wide = found.scale[source.tensor] * found.scale[widen.inputs[1].tensor]
    steps, out = (found.scale[v.tensor] * _factors(target, found, v) for v in (source, op.output))
    tops = target.top(source.tensor), target.top(op.output.tensor)

    def mean() -> dict[str, Array]:
        rows = seen.rows(source.tensor)
        if not rows:
            return {"mean": np.zeros(op.output.cols)}
        x = np.concatenate(rows)[:, at].astype(np.float64)
        sums = np.rint(np.clip(np.rint(x / steps), -tops[0] - 1, tops[0]) * (steps / wide)).astype(np.int64)
        results = np.empty_like(sums)
        tally = np.zeros(1, records.TALLY).view(np.recarray)[0]
        scale = np.float32(wide * ERF_A * wide**2 / 4 / out[0])
        whole.gelu_rows(sums, results, scale, *gelu_constants(wide), -tops[1] - 1, tops[1], tally)
        return {"mean": np.asarray((results * out - gelu(x)).mean(axis=0))}

    if not seen.key:
        return mean()["mean"]
    entry = name_of("bias", seen.key, *seen.sources.get(source.tensor, (source.tensor,)), at, wide, steps, out, tops)
    return recalled(entry, mean, on_disk=True)["mean"]


def _factors(target: Target, found: Scales, view: View) -> Array:
    width = target.graph.tensors[view.tensor].shape[-1]
    return np.broadcast_to(np.asarray(found.factors(view.tensor), np.float64), (width,))[_columns(target, view)]
