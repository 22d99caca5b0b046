"""Scales of attention to values without their mean (`workloads.checkpoint.centred`).

The mean c of V is known as sums: the mean of the operand x times the weights W, in steps of x's times W's. V's product
subtracts it in these steps; the context adds it in its own, those of the probabilities times V's. Neither a store nor
a load scales int32, so V's scale is made n times (x's * W's / the probabilities'), for a whole n: the context's steps
are n times those in which V's product subtracts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from sim.functional.quantization.target import Scales, Target
from sim.graph import Graph
from workloads.checkpoint.form import MINUS, SHARES

MAX_MULTIPLE = 127
"""Largest n: an int8 element of a product. Sums beyond would saturate V; those of trained weights need about 10."""


@dataclass(frozen=True)
class Centred:
    """The tensors of one layer (`workloads.checkpoint.centred.centred_values`). ``x``: what V is computed from.

    ``minus``: -1, in steps of 1/n. ``coarse``: the weights in n times their steps.
    """

    x: str
    negative: str
    high: str
    mean: str
    minus: str
    low: str
    weight: str
    coarse: str
    offset: str
    most: str
    centre: str
    values: str
    probabilities: str

    @property
    def rows(self) -> tuple[str, ...]:
        """The int8 rows, which have x's columns."""
        return self.negative, self.high, self.low

    @property
    def sums(self) -> tuple[str, ...]:
        """The rows of sums, which have V's columns."""
        return self.offset, self.most, self.centre


def centred(graph: Graph) -> Iterator[Centred]:
    """Yield the tensors of each layer whose values are centred."""
    for op in graph.ops:
        if not op.is_matmul or op.inputs[0].tensor != SHARES:
            continue
        x, negative = op.inputs[1].tensor, op.output.tensor
        readers = {reader.output.tensor.rpartition(".")[2]: reader for reader in graph.consumers(negative)}
        offset, high, mean = (readers[name] for name in ("offset", "high", "mean"))
        (low,) = graph.consumers(mean.output.tensor)
        (centre,) = graph.consumers(low.output.tensor)
        (product,) = graph.consumers(offset.output.tensor)
        context = graph.consumers(product.output.tensor)[0]
        rows = x, negative, high.output.tensor, mean.output.tensor, low.inputs[0].tensor, low.output.tensor
        sums = offset.output.tensor, centre.inputs[2].tensor, centre.output.tensor
        weights = offset.inputs[1].tensor, centre.inputs[1].tensor
        yield Centred(*rows, *weights, *sums, product.output.tensor, context.inputs[0].tensor)


def relate(target: Target, found: Scales) -> None:
    """Widen the scales of centred values to whole multiples of those of their means' sums."""
    scale = found.scale
    for one in centred(target.graph):
        sums = scale[one.x] * scale[one.weight]
        multiple = math.ceil(scale[one.values] * scale[one.probabilities] / sums)
        multiple = min(max(1, multiple), MAX_MULTIPLE)
        scale[one.values] = multiple * sums / scale[one.probabilities]
        scale |= dict.fromkeys((one.negative, one.low, one.mean), scale[one.x])
        scale[one.high], scale[one.minus] = multiple * scale[one.x], 1 / multiple
        scale[one.coarse], scale[one.offset] = multiple * scale[one.weight], sums
        scale |= dict.fromkeys((one.most, one.centre), multiple * sums)
        scale |= {SHARES: 1 / target.graph.tensors[SHARES].shape[-1], MINUS: 1.0}
        _columns(found, one.x, (*one.rows, one.mean))
        _columns(found, one.weight, (one.coarse, *one.sums))
        if one.weight in found.rows:
            found.rows[one.coarse] = found.rows[one.weight]


def _columns(found: Scales, source: str, names: tuple[str, ...]) -> None:
    if source in found.columns:
        found.columns |= dict.fromkeys(names, found.columns[source])
