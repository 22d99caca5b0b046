"""Element-wise operators: activations, sums, products, conversions of type."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sim.graph.dtypes import DTYPE_BYTES
from sim.graph.kinds.kind import Array, Columns, Kind, Values, as_float32
from sim.graph.kinds.products import activation_rule

if TYPE_CHECKING:
    from sim.graph.op import Op

# erf by Abramowitz and Stegun 7.1.26: absolute error below 1.5e-7, which float32 does not resolve.
ERF_P = 0.3275911
ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


def gelu(x: Array) -> Array:
    """x/2 (1 + erf(x / sqrt 2))."""
    y = np.abs(x.astype(np.float64)) / math.sqrt(2)
    t = 1 / (1 + ERF_P * y)
    erf = 1 - np.exp(-y * y) * t * np.polynomial.polynomial.polyval(t, np.array(ERF))
    return as_float32(x / 2 * (1 + np.sign(x) * erf))


def one_shape(op: Op) -> dict[str, bool]:
    """Every input has the output's shape."""
    return {f"input is {v}, output {op.output}: must be one shape": v.shape == op.output.shape for v in op.inputs}


def number_kind(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    """All inputs have the output's shape; the first input and the output are both integers or both floats."""
    source, result = dtypes[0], dtypes[-1]
    rule = f"input {source} and output {result} must both be integers or both floats"
    return {**one_shape(op), rule: (source[0] == "i") == (result[0] == "i")}


def one_shape_or_column(op: Op) -> dict[str, bool]:
    """The first input has the output's shape, the second too, or one number for each row."""
    (batch, rows, _), (first, second) = op.output.shape, op.inputs
    return {
        f"input is {first}, output {op.output}: must be one shape": first.shape == op.output.shape,
        f"second input is {second}, must be {op.output}, or {rows}x1 for one number per row": second.shape
        in (op.output.shape, (batch, rows, 1)),
    }


def _sum_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    one_type = {f"dtypes {', '.join(dtypes)} must be one": len(set(dtypes)) == 1}
    return {**one_shape_or_column(op), **one_type, **activation_rule(op)}


def parts(columns: int, copies: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return the number of columns that share each column's value: 1 + its number of ``copies``."""
    return 1 + np.bincount(np.asarray(copies, np.int64), minlength=columns)


def spread(x: Array, copies: Sequence[int]) -> Array:
    """Return x [..., columns] followed by the columns of ``copies``.

    The value of a column is divided among it and its copies.

    Outlier channel splitting (Zhao et al., 1901.09504): a product with copies of the same rows of weights is unchanged,
    and the largest columns are smaller.
    """
    if not copies:
        return x
    shared = x / parts(x.shape[-1], copies).astype(x.dtype)
    return np.concatenate([shared, shared[..., list(copies)]], axis=-1)


def _quantize_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    (source, result), (taken, put), copies = dtypes, (op.inputs[0], op.output), op.attrs["copies"]
    sound = all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < taken.cols for n in copies)
    legal = result in ("int8", "int16", "int32") and DTYPE_BYTES[source] >= DTYPE_BYTES[result] and source != result
    return {
        f"copies must be whole numbers below {taken.cols}": sound,
        f"input is {taken}, output {put}: must be one shape, with {len(copies)} columns more": put.shape
        == (taken.batch, taken.rows, taken.cols + len(copies)),
        f"quantizes to int8, int16 or int32, from a type as wide or wider, not {source} to {result}": legal,
    }


def _quantize(op: Op, inputs: list[Array], values: Values) -> Array:
    offset = op.attrs["offset"]
    return spread(inputs[0] if offset is None else inputs[0] + values.weights[offset], op.attrs["copies"])


def _dequantize_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    source, result = dtypes[0], dtypes[-1]
    rule = f"dequantizes from an integer to a float or to int32, not {source} to {result}"
    return {**one_shape(op), rule: source[0] == "i" and source != result and result not in ("int8", "int16")}


def of_one(function: Callable[[Array], Array]) -> Callable[[Op, list[Array], Values], Array]:
    """Return the reference of a function of one input."""
    return lambda op, inputs, values: as_float32(function(inputs[0]))


def _residual_add(op: Op, inputs: list[Array], values: Values) -> Array:
    total = as_float32(inputs[0] + inputs[1])
    return np.maximum(total, 0) if op.attrs["activation"] == "relu" else total


def _activation(
    name: str, meaning: str, function: Callable[[Array], Array], *, bounded: bool = False, gates: bool = False
) -> Kind:
    of = of_one(function)
    return Kind(name, meaning, number_kind, reference=of, columns=Columns(), bounded=bounded, gates=gates)


def gelu_tanh(x: Array) -> Array:
    """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), the form of GPT-2 and Gemma."""
    return as_float32(x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return as_float32(np.exp(-np.logaddexp(0, -x.astype(np.float64))))


def silu(x: Array) -> Array:
    """x times its sigmoid."""
    return as_float32(x * sigmoid(x))


def relu(x: Array) -> Array:
    """The larger of x and 0."""
    return np.maximum(x, 0)


def _multiply_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    return {**one_shape_or_column(op), f"dtypes {', '.join(dtypes)} must be one": len(set(dtypes)) == 1}


def _multiply(op: Op, inputs: list[Array], values: Values) -> Array:
    return as_float32(inputs[0] * inputs[1])


def _divide(op: Op, inputs: list[Array], values: Values) -> Array:
    return as_float32(inputs[0] / inputs[1])


def elu_plus_one(x: Array) -> Array:
    """x + 1 above 0, e to the x below: positive, as linear attention requires of queries and keys."""
    return as_float32(np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))))


def _unchanged(x: Array) -> Array:
    return x


def _any_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    what = op.attrs["what"]
    return {f"what is {what!r}, must be the name of an operator": isinstance(what, str) and bool(what)}


def _largest(op: Op) -> int:
    """Return the elements of the largest operand or result: the price is an exponential for each."""
    return max(view.elements for view in (*op.inputs, op.output))


KINDS = (
    Kind(
        "gelu",
        "one input: x/2 (1 + erf(x / sqrt 2))",
        number_kind,
        per_element=(9.0, 2.0),
        reference=of_one(gelu),
        columns=Columns(),
        feed_forward=True,
        color="#E69F00",
    ),
    _activation("gelu_tanh", "one input: GELU by a hyperbolic tangent", gelu_tanh),
    _activation("tanh", "one input: the hyperbolic tangent", np.tanh, bounded=True),
    _activation("sigmoid", "one input: 1 / (1 + exp(-x))", sigmoid, bounded=True),
    _activation("silu", "one input: x / (1 + exp(-x))", silu, gates=True),
    _activation("relu", "one input: the larger of x and 0", relu),
    _activation("exp", "one input: e to the x", np.exp),
    _activation("elu_plus_one", "one input: x + 1 above 0, e to the x below", elu_plus_one),
    Kind(
        "multiply",
        "two inputs, element by element; row stride 0: one row that multiplies all rows; one column: one number per "
        "row",
        _multiply_rules,
        inputs=(2,),
        reference=_multiply,
        columns=Columns(),
        color="#117733",
    ),
    Kind(
        "divide",
        "two inputs, the first over the second, element by element; one column: one number per row",
        _multiply_rules,
        inputs=(2,),
        reference=_divide,
        columns=Columns(),
        color="#44AA99",
    ),
    Kind(
        "residual_add",
        "two inputs; activation; row stride 0: one row that is added to all rows; one column: one number per row",
        _sum_rules,
        {"activation": "none"},
        (2,),
        per_element=(1.0, 3.0),
        reference=_residual_add,
        columns=Columns(),
        color="#F0E442",
    ),
    Kind(
        "foreign",
        "any inputs; what: name of an operator that has no kind here (imported networks)",
        _any_rules,
        {"what": ""},
        inputs=tuple(range(1, 17)),
        price="exp",
        priced=_largest,
        color="#8B8B8B",
    ),
    # The values stay the same; only their storage changes.
    Kind(
        "quantize",
        "one input, to a narrower integer; offset: weight that is added; copies: columns split in two or more",
        _quantize_rules,
        {"copies": (), "offset": None},
        reference=_quantize,
        columns=Columns(weight_attributes=("offset",)),
        converts=False,
        color="#6B3A1B",
    ),
    Kind(
        "dequantize",
        "one integer input, to a float or to int32",
        _dequantize_rules,
        reference=of_one(_unchanged),
        columns=Columns(),
        converts=False,
        color="#C49A6C",
    ),
)
