"""The target for which scales are chosen, and the scales."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from sim.graph import Graph, Op

if TYPE_CHECKING:
    from sim.hardware import Hardware

Array = npt.NDArray[Any]

BOUNDED_SCALE = 1 / 127
"""Of results whose largest magnitude is 1: the machine's softmax calls it 127 (gemmini.h), so the host's tanh does."""

SMALLEST = 1e-8
"""Scale of a tensor that is zero throughout."""


@dataclass
class Scales:
    """``scale``: by tensor, but for sums, which have that of the matmul that makes them.

    ``columns``: by tensor float32[columns], where columns have factors of their own. ``rows``: by weight matrix
    float32[rows]: factors of the columns that its rows meet. ``whole``: by weight matrix its integers, where they are
    not those nearest to its values. ``bias``: by bias what is added to it.
    """

    scale: dict[str, float] = field(default_factory=dict)
    columns: dict[str, Array] = field(default_factory=dict)
    rows: dict[str, Array] = field(default_factory=dict)
    whole: dict[str, Array] = field(default_factory=dict)
    bias: dict[str, Array] = field(default_factory=dict)

    def factors(self, name: str) -> Array | float:
        """Return the factors of a tensor's columns."""
        return self.columns.get(name, 1.0)


@dataclass(frozen=True)
class Target:
    """The target of the scales. ``bits``: tensor -> bits of its elements, where they are not those of the input type.

    ``on_array``: operators that the array runs. ``identities``: weights that only widen; 1 must be a whole number of
    their scale. ``fixed``: weights without factors by column (products with diagonal matrices).
    """

    graph: Graph
    hw: Hardware
    head_dim: int
    on_array: Collection[str]
    bits: Mapping[str, int] = field(default_factory=dict)
    identities: Collection[str] = ()
    fixed: Collection[str] = ()

    def top(self, name: str) -> int:
        """Return the largest integer of a tensor."""
        return int((1 << self.bits.get(name, 8 * self.hw.input_bytes) - 1) - 1)

    def products(self) -> list[Op]:
        """Return the matmuls."""
        return [op for op in self.graph.ops if op.is_matmul]
