"""The vector unit: operators that the array cannot run, as steps of its lanes, bytes through its port, and passes.

The operations of an operator are counted from its definition (`COUNTS`); the cycles of a step are declared by the
machine (`sim.hardware.vector`). An integer machine's elements have scales: each operand is multiplied by its scale,
each result
by its scale and rounded. Reading, computing and writing overlap as in a streaming unit; the array waits meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

from sim.graph.kinds.sliding import kernel_of
from sim.side_units.port import port_bytes

if TYPE_CHECKING:
    from sim.graph import Op, View
    from sim.hardware import Hardware


@dataclass(frozen=True)
class Steps:
    """Steps of a lane by kind, of one element or of one row."""

    add: int = 0
    multiply: int = 0
    divide: int = 0
    root: int = 0
    exponential: int = 0

    def __add__(self, other: Steps) -> Steps:
        return Steps(*(one + two for one, two in zip(self.numbers, other.numbers, strict=True)))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The counts in the order of the fields."""
        return (self.add, self.multiply, self.divide, self.root, self.exponential)

    def cycles(self, hw: Hardware) -> int:
        """Return the cycles of one lane."""
        unit = hw.vector
        each = (unit.add_cycles, unit.multiply_cycles, unit.divide_cycles, unit.root_cycles, unit.exponential_cycles)
        return sum(count * cycles for count, cycles in zip(self.numbers, each, strict=True))


EXPONENTIAL_PRODUCTS, EXPONENTIAL_SUMS = 3, 5
"""Steps of I-BERT's i-exp, for the energy of an exponential."""


@dataclass(frozen=True)
class OperationCount:
    """Operations of an operator. ``element``: steps per element; ``row``: additional steps per row.

    ``reductions``: sums or largest elements over a row, whose lanes' parts are joined pairwise at its end. ``passes``:
    passes over a row. ``worked``: number of elements processed, None = those of the output. ``table``: elements read in
    addition to the operands (sines, gains). ``kept``: elements of one pass, None = a row.
    """

    element: Steps
    row: Steps = Steps()
    reductions: int = 0
    passes: int = 1
    worked: int | None = None
    table: int = 0
    kept: int | None = None


SIGMOID = Steps(add=1, divide=1, exponential=1)
GELU = Steps(add=6, multiply=4)
"""I-BERT's i-GELU: sign, absolute value, least, three sums; a square and three products.

Used for both forms of GELU.
"""


def _each(add: int = 0, multiply: int = 0, divide: int = 0, exponential: int = 0) -> Callable[[Op], OperationCount]:
    steps = Steps(add=add, multiply=multiply, divide=divide, exponential=exponential)
    return lambda op: OperationCount(steps)


def _divide(op: Op) -> OperationCount:
    """One quotient per row and a product per element, if a row shares its divisor."""
    if op.inputs[1].cols == 1 < op.output.cols:
        return OperationCount(Steps(multiply=1), Steps(divide=1))
    return OperationCount(Steps(divide=1))


def _named(op: Op, *weights: str) -> int:
    return sum(bool(op.attrs.get(weight)) for weight in weights)


def _softmax(op: Op) -> OperationCount:
    """Largest element; difference, exponential and their sum; a product with the inverse of the sum."""
    return OperationCount(Steps(add=3, multiply=1, exponential=1), Steps(divide=1), reductions=2, passes=3)


def _layernorm(op: Op) -> OperationCount:
    """Sum; difference, square and their sum; a product with the inverse deviation; gamma and beta."""
    element = Steps(add=3 + _named(op, "beta"), multiply=2 + _named(op, "gamma"))
    table = op.output.cols * _named(op, "gamma", "beta")
    return OperationCount(element, Steps(multiply=2, root=1, divide=1), reductions=2, passes=3, table=table)


def _rmsnorm(op: Op) -> OperationCount:
    """Square and their sum; a product with the inverse root; gamma."""
    element, table = Steps(add=1, multiply=2 + _named(op, "gamma")), op.output.cols * _named(op, "gamma")
    return OperationCount(element, Steps(multiply=1, root=1, divide=1), reductions=1, passes=2, table=table)


def _rope(op: Op) -> OperationCount:
    """Two products and a sum per rotated element; the others are copied."""
    turned = op.output.elements * op.attrs["rotated"] // op.attrs["head_dim"]
    return OperationCount(Steps(add=1, multiply=2), worked=turned, table=op.output.rows * op.attrs["rotated"])


def _window(op: Op, each: Steps, result: Steps) -> OperationCount:
    """One window per element; image lines of a window are read once for each line of the window."""
    rows, cols = kernel_of(op.attrs)
    steps = Steps(*(rows * cols * count for count in each.numbers)) + result
    return OperationCount(steps, passes=rows, kept=rows * op.attrs["in_cols"] * op.inputs[0].cols)


def _argmax(op: Op) -> OperationCount:
    return OperationCount(Steps(add=2), reductions=1, worked=op.inputs[0].elements)


def _random_features(op: Op) -> OperationCount:
    """e to (element - half of the row's squares), times a constant; the row's own elements squared and summed."""
    own = op.inputs[1].cols
    return OperationCount(Steps(add=1, multiply=1, exponential=1), Steps(add=own, multiply=own), reductions=1)


COUNTS: Mapping[str, Callable[[Op], OperationCount]] = {
    "residual_add": _each(add=1),
    "multiply": _each(multiply=1),
    "divide": _divide,
    "relu": _each(add=1),
    "exp": _each(exponential=1),
    "elu_plus_one": _each(add=3, exponential=1),
    "sigmoid": lambda op: OperationCount(SIGMOID),
    "silu": lambda op: OperationCount(SIGMOID + Steps(multiply=1)),
    "tanh": lambda op: OperationCount(SIGMOID + Steps(add=3)),
    "gelu": lambda op: OperationCount(GELU),
    "gelu_tanh": lambda op: OperationCount(GELU),
    "softmax": _softmax,
    "layernorm": _layernorm,
    "rmsnorm": _rmsnorm,
    "rope": _rope,
    "avgpool": lambda op: _window(op, Steps(add=1), Steps(multiply=1)),
    "maxpool": lambda op: _window(op, Steps(add=1), Steps()),
    "argmax": _argmax,
    "random_features": _random_features,
}
"""Operator kind -> its operations on the unit."""

HANDED_TO = frozenset({"multiply"})
"""Operator kinds that receive the result of a `CHAINED` operator within the lanes: the gate of SwiGLU and GEGLU."""

CHAINED = frozenset({"relu", "exp", "elu_plus_one", "sigmoid", "silu", "tanh", "gelu", "gelu_tanh"})
"""Element-wise operators of one input that need no separate pass before a product that reads them."""


@dataclass(frozen=True)
class VectorWork:
    """Work of the unit for one operator: its cycles, and those of waiting for memory.

    ``multiplications``, ``additions``: steps of its lanes as energy counts them (a divider and a root subtract once a
    cycle). ``buffer_bytes``: written to and read from its memory of rows.
    """

    cycles: int
    multiplications: int
    additions: int
    read_bytes: int
    write_bytes: int
    buffer_bytes: int
    load_wait_cycles: int
    store_wait_cycles: int


def work(
    op: Op, hw: Hardware, bits: Callable[[str], int], scaled: Callable[[View], bool], before: Op | None
) -> VectorWork:
    """Return the unit's work for an operator. ``bits``: tensor -> bits of an element in memory.

    ``scaled``: whether elements of a view have a scale of their own. ``before``: an operator of one input before it,
    whose result is passed on within the lanes.
    """
    count = COUNTS[op.kind](op)
    element, inputs = count.element, list(op.inputs)
    if before is not None:
        element = element + COUNTS[before.kind](before).element
        inputs = [before.inputs[0] if view == before.output else view for view in inputs]
    for view in inputs:
        element = element + Steps(multiply=int(scaled(view)))
    if scaled(op.output):
        element = element + Steps(add=1, multiply=1)
    rows = op.inputs[0].batch * op.inputs[0].rows
    worked = op.output.elements if count.worked is None else count.worked
    return _paced(_lanes(replace(count, element=element, worked=worked), rows, hw), count, op, inputs, bits, hw)


def _lanes(count: OperationCount, rows: int, hw: Hardware) -> tuple[int, Steps]:
    """Return the cycles of the lanes, and the steps of all lanes together.

    Rows with reductions or steps per row begin in the first lane; other operators are one run of elements.
    """
    lanes, worked = hw.vector.lanes, count.worked or 0
    by_rows = count.reductions > 0 or any(count.row.numbers)
    rounds = rows * ceil(worked / rows / lanes) if by_rows else ceil(worked / lanes)
    joins = count.reductions * (lanes - 1).bit_length()
    cycles = rounds * count.element.cycles(hw) + rows * (count.row + Steps(add=joins)).cycles(hw)
    row = count.row + Steps(add=count.reductions * (lanes - 1))
    done = (worked * one + rows * two for one, two in zip(count.element.numbers, row.numbers, strict=True))
    return cycles, Steps(*done)


def _paced(
    lanes: tuple[int, Steps],
    count: OperationCount,
    op: Op,
    inputs: list[View],
    bits: Callable[[str], int],
    hw: Hardware,
) -> VectorWork:
    """Return the work with its waiting time for memory."""
    busy, steps = lanes
    unit = hw.vector
    row_bytes = max(ceil((count.kept or view.cols) * bits(view.tensor) / 8) for view in inputs)
    again = count.passes if 2 * row_bytes > unit.buffer_bytes else 1  # the current row and the next one
    read = sum(ceil(_distinct(view) * bits(view.tensor) / 8) for view in inputs) * again
    read += ceil(count.table * bits(inputs[0].tensor) / 8)
    write = ceil(op.output.elements * bits(op.output.tensor) / 8)
    loads, stores = (ceil(moved / _port(hw, way)) for moved, way in ((read, "read"), (write, "write")))
    if hw.memory.one_port:
        loads, stores = loads + stores, 0
    latency = hw.memory_latency_cycles
    load_wait = max(0, loads - busy) if loads >= stores else 0
    store_wait = max(0, stores - busy) if stores > loads else 0
    held = read * (1 + count.passes) if count.passes > 1 and again == 1 else 0
    return VectorWork(
        busy + load_wait + store_wait + latency,
        multiplications=steps.multiply + EXPONENTIAL_PRODUCTS * steps.exponential,
        additions=steps.add
        + steps.divide * unit.divide_cycles
        + steps.root * unit.root_cycles
        + EXPONENTIAL_SUMS * steps.exponential,
        read_bytes=read,
        write_bytes=write,
        buffer_bytes=held,
        load_wait_cycles=load_wait + latency,
        store_wait_cycles=store_wait,
    )


def _distinct(view: View) -> int:
    """Return the number of elements read: a row that is used for all rows is read once."""
    return view.cols * (view.rows if view.row_stride or view.rows == 1 else 1) * view.batch


def _port(hw: Hardware, way: str) -> float:
    """Return the bytes per cycle of the unit in one direction."""
    if not hw.vector.port_bytes:
        return port_bytes(hw, way)
    return float(min(hw.vector.port_bytes, getattr(hw.memory, f"{way}_bytes_per_cycle")))
