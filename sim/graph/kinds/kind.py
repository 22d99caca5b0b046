"""The record of an operator kind: everything that other rooms read about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sim.graph.op import Op
    from sim.graph.tensors import Tensor

Array = npt.NDArray[Any]

Rules = Callable[["Op", Sequence[str]], dict[str, bool]]
"""(operator, dtypes of its inputs and its output) -> rule as text: whether it holds."""

Priced = Callable[["Op"], int]
"""Operator -> number of elements for the host's price."""


def output_elements(op: Op) -> int:
    """Return the elements of the output."""
    return op.output.elements


def input_elements(op: Op) -> int:
    """Return the elements of the first input."""
    return op.inputs[0].elements


PerElement = tuple[float, float]
"""FLOPs and ideal bytes per output element by the counting rule of Kim et al. (arXiv 2302.14017, Table 3).

Of softmax the paper's totals fix both. Of the rest they fix only the sum per layer for ffn = 4*hidden: 58*seq*hidden
FLOPs, 17*seq*hidden bytes (and LayerNorm's weights, 4*hidden bytes): the split into gelu, LayerNorm and residual add is
ours, 4*9 + 2*10 + 2*1 and 4*2 + 2*1.5 + 2*3.
"""

Dimensions = Callable[["Op"], tuple[int, int, int]]
"""Operator -> (M, N, K) of one repetition of its product."""


@dataclass(frozen=True)
class Values:
    """Values for a reference computation: float32 ``weights`` by name, the epsilon of normalisations.

    ``head_dim``: columns of a head; attention scores (matmuls with transpose_b) are divided by its square root.
    """

    weights: Mapping[str, Array] = field(default_factory=dict)
    epsilon: float = 1e-12
    head_dim: int = 1


Reference = Callable[["Op", list[Array], Values], Array]
"""(operator, inputs [batch, rows, columns] in float32, `Values`) -> output [batch, rows, columns]."""


@dataclass(frozen=True)
class Columns:
    """How pruned columns pass through an operator.

    ``when``: "any" columns (element-wise operators), only "hidden" ones (whole rows narrow together), or whole "heads"
    (of the attribute head_dim). ``inputs``: the inputs whose columns go with those of the output, None = all.
    ``weights``: inputs that lose the same columns; ``weight_attributes``: attributes that name such weights.
    """

    when: Literal["any", "hidden", "heads"] = "any"
    inputs: tuple[int, ...] | None = None
    weights: tuple[int, ...] = ()
    weight_attributes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """One operator kind.

    ``rules``: rules of inputs, output and attributes. ``attributes``: names and defaults. ``inputs``: legal
    numbers of inputs. ``multiplies``: operand that the array multiplies by the second input, if any: a matrix,
    the windows of an image over all channels, or those of each channel alone. ``product``: (M, N, K) if it is a product
    of matrices. ``word_sizes``: a [[precision]] can set the types of its operands. ``per_element``: FLOPs and ideal
    bytes per output element (`workloads.analysis`). ``reference``: the computation in float32 numpy, None if values are
    not modelled. ``columns``: how pruned columns pass, None = it needs all columns. ``price``: key of
    ``host.cycles_per_element``, "" = its own name. ``priced``: number of elements for the host's price.
    ``converts``: an integer machine dequantises its operands for the host and quantises the result. ``hands_on``:
    output elements are unchanged input elements. ``looks_up``: result rows are rows of the second input, a table.
    ``bounded``: its result is always in -1 to 1. ``whole_rows``: each element of the result depends on its whole row.
    ``standardises``: each row is centred and divided by its deviation. ``feed_forward``: it is the nonlinearity between
    the two products of a feed-forward layer, by which pruning and counts recognise them. ``gates``: it is the
    nonlinearity of a gate, whose columns are such a layer's neurons. ``color``: of its bars in all figures, "" =
    by name.
    """

    name: str
    meaning: str
    rules: Rules
    attributes: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[int, ...] = (1,)
    multiplies: Literal["nothing", "matrices", "windows", "channel windows"] = "nothing"
    product: Dimensions | None = None
    word_sizes: bool = False
    per_element: PerElement | None = None
    reference: Reference | None = None
    columns: Columns | None = None
    price: str = ""
    priced: Priced = output_elements
    converts: bool = True
    hands_on: bool = False
    looks_up: bool = False
    bounded: bool = False
    whole_rows: bool = False
    standardises: bool = False
    feed_forward: bool = False
    gates: bool = False
    color: str = ""

    @property
    def weight_attributes(self) -> tuple[str, ...]:
        """Attributes that name weights of as many elements as the output has columns."""
        return self.columns.weight_attributes if self.columns else ()

    @property
    def price_key(self) -> str:
        """Key of ``host.cycles_per_element``."""
        return self.price or self.name

    def dimensions(self, op: Op) -> tuple[int, int, int]:
        """Return (M, N, K) of one repetition of a product; (rows, columns, 0) for other kinds."""
        return self.product(op) if self.product else (op.output.rows, op.output.cols, 0)

    def problems(self, op: Op, dtypes: Sequence[str], tensors: Mapping[str, Tensor]) -> list[str]:
        """Return the broken rules of an operator of this kind with a legal number of inputs."""
        broken = [rule for rule, holds in self.rules(op, dtypes).items() if not holds]
        for name in self.weight_attributes:
            weight = op.attrs[name]
            found = tensors.get(weight) if isinstance(weight, str) else None
            if weight is not None and (found is None or found.kind != "weight" or found.elements != op.output.cols):
                broken.append(f"{name} must name a weight of {op.output.cols} elements, not {weight!r}")
        return broken


def is_count(value: object, least: int) -> bool:
    """Return whether ``value`` is a whole number of at least ``least``; True and False are no numbers."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def as_float32(values: Array) -> Array:
    """Return an array in float32."""
    return np.asarray(values, dtype=np.float32)
