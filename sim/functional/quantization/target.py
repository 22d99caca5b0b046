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
"""Scale of results whose largest magnitude is 1: 127 in the machine's softmax (gemmini.h), and in the host's tanh."""

SMALLEST = 1e-8
"""Scale of a tensor that is zero throughout."""


@dataclass
class Scales:
    """``scale``: by tensor, except sums, which have that of their matmul.

    ``columns``: by tensor float32[columns], if columns have factors. ``rows``: by weight matrix float32[rows]: factors
    of the columns that its rows multiply. ``whole``: by weight matrix its integers, if they are not those nearest to
    its values. ``bias``: by bias the correction added to it.
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
    """The target of the scales. ``bits``: tensor -> bits of its elements, if not those of the input type.

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
