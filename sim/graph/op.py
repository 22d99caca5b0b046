"""An operator: what it reads and writes, and the attributes of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sim.base.errors import InputError, demand
from sim.graph import kinds
from sim.graph.tensors import View


@dataclass(frozen=True)
class Op:
    """One operator. Attributes that are left out take the defaults of its kind.

    Inputs, attributes and meaning of each kind: `sim.graph.kinds` (``carat list operators``). A batch of n is n
    independent operators; an input of batch 1 is used by all of them. Raises InputError for operands that are no views.
    """

    name: str
    kind: str
    inputs: tuple[View, ...]
    output: View
    attrs: Mapping[str, Any] = field(default_factory=dict)
    layer: int | None = None

    def __post_init__(self) -> None:
        demand("operator's name", self.name, str, 'a text, e.g. "L0.FF1"')
        demand(f"operator {self.name}: kind", self.kind, str, 'a text, e.g. "matmul"')
        views = self.inputs if isinstance(self.inputs, tuple | list) else (self.inputs,)
        places = [*((f"inputs[{index}]", view) for index, view in enumerate(views)), ("output", self.output)]
        if wrong := [(place, view) for place, view in places if not isinstance(view, View)]:
            raise InputError(
                [
                    f"operator {self.name}: {place} is {view!r}, must be a View of a tensor (all of it: "
                    "View.whole(tensor))"
                    for place, view in wrong
                ]
            )
        object.__setattr__(self, "inputs", tuple(views))
        known = kinds.KINDS.get(self.kind)  # an unknown kind is refused by the graph, together with all other problems
        object.__setattr__(self, "attrs", MappingProxyType({**(known.attributes if known else {}), **self.attrs}))

    def __reduce__(self) -> tuple[type[Op], tuple[Any, ...]]:
        """Pickle by value: a read-only mapping cannot be pickled."""
        return Op, (self.name, self.kind, self.inputs, self.output, dict(self.attrs), self.layer)

    @property
    def record(self) -> kinds.Kind:
        """The record of its kind. Raises InputError for an unknown one."""
        return kinds.find(self.kind)

    @property
    def is_matmul(self) -> bool:
        """Whether it multiplies matrices."""
        return self.record.multiplies == "matrices"

    @property
    def is_convolution(self) -> bool:
        """Whether it multiplies windows of an image."""
        return self.record.multiplies in ("windows", "channel windows")

    @property
    def batch(self) -> int:
        """Number of independent repetitions."""
        return self.output.batch

    @property
    def mnk(self) -> tuple[int, int, int]:
        """(M, N, K) of one repetition of a matmul, or of a convolution as a matmul; else (rows, cols, 0)."""
        return self.record.dimensions(self)

    @property
    def macs(self) -> int:
        """Multiply-accumulates: batch * M * N * K of a matmul or convolution, 0 of anything else."""
        m, n, k = self.mnk
        return self.batch * m * n * k
