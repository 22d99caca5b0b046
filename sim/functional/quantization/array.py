"""Scales by column for encoders in which the array sums int32 into LayerNorm (`workloads.checkpoint.array`).

A step is the real value of one unit of a column. A product with zeros and ones accepts columns whose steps are whole
multiples of the step of its sums: the multiples are the values of its matrix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.functional.quantization import floors
from sim.functional.quantization.centring import centred
from sim.functional.quantization.clipping import clip
from sim.functional.quantization.columns import FEWEST, shared_steps
from sim.functional.quantization.recipe import Recipe
from sim.functional.quantization.statistics import Statistics
from sim.functional.quantization.structure import copied, placed, row_sums, weight
from sim.functional.quantization.target import BOUNDED_SCALE, SMALLEST, Scales, Target
from sim.graph import Op, View

Array = npt.NDArray[Any]

TRIED = np.geomspace(1.0, 16.0, 81)
"""Steps of sums that are tried, in units of the least one."""

MAX_NOISE = 25.0
"""Noise of a column, in units of its ideal step, at which it is capped, so that a few columns do not dominate."""


class ArrayScales:
    """Finds the steps of an encoder's tensors, operator by operator, then the scales of the weights between them."""

    def __init__(self, target: Target, weights: Mapping[str, Array], seen: Statistics, recipe: Recipe):
        self.target, self.given, self.seen, self.recipe = target, weights, seen, recipe
        self.graph = target.graph
        self.steps: dict[str, Array] = {}
        self.sums: dict[str, float] = {}
        self.reaches: dict[str, Array] = {}

    def scales(self) -> Scales:
        """Return the scales."""
        for op in self.graph.ops:
            self._result(op)
        found = Scales()
        means = {name for one in centred(self.graph) for name in one.rows}
        for name, steps in self.steps.items():
            base = self.sums.get(name) or float(np.nanmax(steps))
            found.scale[name] = base
            factors = np.nan_to_num(steps, nan=base) / base
            if (factors != 1).any():
                found.columns[name] = factors.astype(np.float32)
        for op in self.graph.ops:
            matrix = weight(op)
            if op.record.looks_up:
                self._table(op, found)
            elif op.inputs[0].tensor in means:  # its weights are those of V's product
                continue
            elif matrix is not None and self.graph.tensors[matrix].kind == "weight":
                self._weights(op, matrix, found)
        return found

    # Scales of the columns of results

    def reach(self, name: str) -> Array:
        """Return by column of an int8 tensor the magnitude that its largest integer must represent."""
        if name not in self.reaches:
            largest = np.maximum(self.seen.largest[name].astype(np.float64), SMALLEST)
            part = self.recipe.headroom
            if self.recipe.clip != "max":
                part = clip(self.seen.sample(name) / largest, 1.0, self.target.top(name), self.recipe)
            self.reaches[name] = largest * part
        return self.reaches[name]

    def put(self, view: View, steps: Array | float) -> None:
        """Record the steps of the columns that a view writes."""
        width = self.graph.tensors[view.tensor].shape[-1]
        whole = self.steps.setdefault(view.tensor, np.full(width, np.nan))
        whole[self.seen_by(view)] = steps

    def seen_by(self, view: View) -> slice:
        """Return the columns of its tensor in a view; for heads, all of them."""
        width = self.graph.tensors[view.tensor].shape[-1]
        return slice(0, width) if view.batch > 1 else placed(view.offset, view.cols, width)

    def _result(self, op: Op) -> None:
        out, top = op.output, self.target.top(op.output.tensor)
        if self.graph.tensors[out.tensor].dtype != "int8":
            if row_sums(op, self.given, self.graph):
                self._whole_multiples(op, floors.variance(self.seen.energies[out.tensor]))
            return
        if op.is_matmul:
            self._product(op, top)
        elif op.record.bounded:
            self.put(out, max(BOUNDED_SCALE, 1 / top))
        elif op.record.feed_forward:
            self.put(out, self.reach(out.tensor)[self.seen_by(out)].max() / top)
        elif op.record.standardises:
            reach = self.reach(out.tensor)[self.seen_by(out)].copy()
            reach[self._outliers(out)] = 0
            self.put(out, reach.max() / top)
        else:
            self.put(out, self.reach(out.tensor)[self.seen_by(out)] / top)

    def _outliers(self, out: View) -> list[int]:
        """Return the columns of LayerNorm's output that are appended at another scale."""
        for op in self.graph.producers(out.tensor):
            name = weight(op)
            if name is not None and op.inputs[0].tensor != out.tensor:
                return [int(row) for row in np.flatnonzero(self.given[name].any(axis=1))]
        return []

    def _product(self, op: Op, top: int) -> None:
        out, a = op.output, op.inputs[0]
        readers = self.graph.consumers(out.tensor)
        name = weight(op)
        assert name is not None
        if self.graph.tensors[a.tensor].kind == "input":  # of `centring`
            self.put(out, self.steps[name])
        elif op.attrs["transpose_b"]:
            self.put(out, self.reach(out.tensor).max() / top)
        elif any(reader.record.feed_forward for reader in readers):  # fused: int8 where it would be stored
            self._widened(op)
            self.put(out, self.steps[a.tensor][self.seen_by(a)].max())
        elif self.graph.tensors[name].kind != "weight":  # context: its columns are V's
            factors = self.steps[name] / np.nanmax(self.steps[name])
            self.put(out, factors * (self.reach(out.tensor) / factors).max() / top)
        elif copied(self.given[name]):
            self.put(out, self.steps[a.tensor][self.seen_by(a)][self.given[name].argmax(axis=0)])
        else:
            reach = self.reach(out.tensor)[self.seen_by(out)]
            free = not any(reader.attrs.get("transpose_b") for reader in readers)
            steps = np.ones(out.cols)
            if free and self.recipe.channels:
                rows = np.abs(self.given[name]) * self.steps[a.tensor][self.seen_by(a)][:, None]
                steps = shared_steps(rows.max(axis=0), reach)
            self.put(out, steps * (reach / steps).max() / top)

    def _widened(self, op: Op) -> None:
        """Make the steps of GELU's input whole multiples of the step of its int32."""
        view = op.inputs[0]
        largest = self.seen.largest[view.tensor][self.seen_by(view)].max()
        self._whole_multiples(op, floors.gelu(float(largest)))

    def _whole_multiples(self, op: Op, least: float) -> None:
        """Widen the steps of A's columns to whole multiples of a step of the sums, the best from ``least`` on."""
        view, top = op.inputs[0], self.target.top(op.inputs[1].tensor)
        at = self.seen_by(view)
        wanted = self.steps[view.tensor][at]
        least = max(least, float(wanted.max()) / top)
        typical = np.median(wanted)
        best, chosen = math.inf, (least, np.ones_like(wanted))
        for step in least * TRIED:
            whole = np.maximum(np.ceil(wanted / step - 1e-9), 1)
            noise = float(np.minimum((whole * step / typical) ** 2, MAX_NOISE).sum())
            if noise < best * (1 - 1e-9):
                best, chosen = noise, (float(step), whole)
        step, whole = chosen
        self.steps[view.tensor][at] = whole * step
        self.sums[op.name] = step
        if row_sums(op, self.given, self.graph):
            self.sums[view.tensor] = step

    # The weights between them

    def _table(self, op: Op, found: Scales) -> None:
        """Give a table of embeddings the steps of the result of its look-up."""
        name, out = op.inputs[1].tensor, op.output
        found.scale[name] = found.scale[out.tensor]

    def _weights(self, op: Op, name: str, found: Scales) -> None:
        a, out = op.inputs[0], op.output
        rows = self._factors(found, a)
        values = self.given[name]
        if (rows != 1).any():
            found.rows[name] = rows
            values = values * rows[:, None]
        if op.name in self.sums:  # the multiples of `_whole_multiples`
            found.scale[name] = self.sums[op.name] / found.scale[a.tensor]
            return
        largest = np.abs(values).max(axis=0)
        if self.graph.tensors[out.tensor].dtype == "int8":
            columns = self._factors(found, out)
        else:
            columns = np.maximum(largest / max(largest.max(), SMALLEST), FEWEST).astype(np.float32)
            if not self.recipe.channels:
                columns = np.ones_like(columns)
            found.columns[out.tensor] = columns
        if (columns != 1).any():
            found.columns[name] = columns
        top = 1 if copied(self.given[name]) else self.target.top(name)
        found.scale[name] = max(float((largest / columns).max()) / top, SMALLEST)

    def _factors(self, found: Scales, view: View) -> Array:
        width = self.graph.tensors[view.tensor].shape[-1]
        whole = np.broadcast_to(np.asarray(found.factors(view.tensor), np.float32), (width,))
        return whole[self.seen_by(view)]
