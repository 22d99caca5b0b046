"""Recurrent networks (LSTM, GRU, RNN): one product for the inputs of all steps, then the operators of each step.

The gates of a step are computed from the state before it, so that steps cannot be joined. Sums of the products with
the inputs stay in the accumulator's type and are added as the products with the state are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from sim.base.errors import InputError
from workloads.onnx.lower.products import add_product
from workloads.onnx.lower.windows import MAX_STEPS, element_views
from workloads.onnx.net import Level, Node
from workloads.onnx.strided import Strided

if TYPE_CHECKING:
    from workloads.onnx.lower.lowering import NodeLowering

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
"""Operator -> products of a step; their columns stand beside each other: i, o, f, c of LSTM; z, r, h of GRU."""
ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
"""Those of the standard, which are the ones supported; RNN may have Relu."""
PEEPHOLES = 7
"""Place of LSTM's weights from its cell to its gates."""


@dataclass
class _Cell:
    """One direction: its weights [size, gates * size], the sums of its inputs [steps, batch, columns], its states.

    ``fresh``: inputs of a GRU's candidate where the reset gate multiplies the product with the state; ``bias``: of that
    product; ``peephole``: a row of weights from the memory to the gates i, o, f. ``tensors``: a tensor [steps, batch,
    columns] for each intermediate result, by name.
    """

    at: NodeLowering
    node: Node
    name: str
    sums: Strided
    fresh: Strided | None
    weight: Strided
    bias: Strided | None
    hidden: Strided
    peephole: Strided | None
    tensors: dict[str, Strided] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Columns of a state."""
        return self.hidden.shape[-1]

    def part(self, what: str, step: int, cols: int) -> Strided:
        """Return the rows of one step of an intermediate result."""
        if what not in self.tensors:
            self.tensors[what] = self.at.own(f"{self.name}.{what}", (*self.sums.shape[:2], cols))
        return _rows(self.tensors[what], step)

    def each(self, kind: str, what: str, step: int, *sources: Strided, into: Strided | None = None) -> Strided:
        """Add an element-wise operator of one step and return its result."""
        target = into or self.part(what, step, sources[0].shape[-1])
        views = element_views((*sources, target), self.at.width(target))
        self.at.apply(kind, self.node, list(views), f"{self.name}.{step}.{what}")
        return target

    def product(self, what: str, step: int, state: Strided, gates: range, added: Strided | None) -> Strided:
        """Return a state times the weights of some gates, plus what is added to the sums."""
        cols = len(gates) * self.size
        target = self.part(what, step, cols)
        weight = _columns(self.weight, gates.start * self.size, cols)
        add_product(self.at, self.node, state, weight, target, added, "none", f"{self.name}.{step}.{what}")
        return target

    def seen(self, what: str, gate: int, step: int, sums: Strided, memory: Strided) -> Strided:
        """Return a gate that also sees the memory, times a row of weights."""
        assert self.peephole is not None
        row = _columns(self.peephole, gate * self.size, self.size).spread(memory.shape)
        part = self.each("multiply", f"{what}.seen", step, memory, row)
        return self.each("sigmoid", what, step, self.each("residual_add", f"{what}.sums", step, sums, part))

    def into(self, step: int) -> Strided:
        """Return the place of the state behind a step."""
        return _rows(self.hidden, step)


def _lstm(cell: _Cell, step: int, state: Strided, memory: Strided) -> tuple[Strided, Strided]:
    """One step of an LSTM: the state and the memory behind it."""
    size = cell.size
    gates = cell.product("gates", step, state, range(4), _rows(cell.sums, step))
    new = cell.each("tanh", "new", step, _columns(gates, 3 * size, size))
    taken, put, kept = (_columns(gates, place * size, size) for place in range(3))
    if cell.peephole is None:
        opened = cell.each("sigmoid", "open", step, _columns(gates, 0, 3 * size))
        taken, put, kept = (_columns(opened, place * size, size) for place in range(3))
    else:
        taken, kept = cell.seen("taking", 0, step, taken, memory), cell.seen("keeping", 2, step, kept, memory)
    old = cell.each("multiply", "kept", step, memory, kept)
    fresh = cell.each("multiply", "taken", step, new, taken)
    memory = cell.each("residual_add", "cell", step, old, fresh)
    if cell.peephole is not None:
        put = cell.seen("putting", 1, step, put, memory)
    bounded = cell.each("tanh", "bounded", step, memory)
    return cell.each("multiply", "state", step, bounded, put, into=cell.into(step)), memory


def _gru(cell: _Cell, step: int, state: Strided, memory: Strided) -> tuple[Strided, Strided]:
    """One step of a GRU; its reset gate multiplies the state, or (``fresh`` given) the product with the state."""
    size, inputs = cell.size, _rows(cell.sums, step)
    gates = cell.product("gates", step, state, range(2), _columns(inputs, 0, 2 * size))
    opened = cell.each("sigmoid", "open", step, gates)
    kept, reset = (_columns(opened, place * size, size) for place in range(2))
    if cell.fresh is not None:
        bias = None if cell.bias is None else cell.bias.spread(state.shape)
        raw = cell.product("candidate", step, state, range(2, 3), bias)
        gated = cell.each("multiply", "gated", step, raw, reset)
        sums = cell.each("residual_add", "sums", step, gated, _rows(cell.fresh, step))
    else:
        past = cell.each("multiply", "gated", step, state, reset)
        sums = cell.product("candidate", step, past, range(2, 3), _columns(inputs, 2 * size, size))
    new = cell.each("tanh", "new", step, sums)
    change = cell.each("residual_add", "change", step, state, new)  # z (h - new) + new
    moved = cell.each("multiply", "moved", step, change, kept)
    return cell.each("residual_add", "state", step, moved, new, into=cell.into(step)), memory


def _rnn(cell: _Cell, step: int, state: Strided, memory: Strided, kind: str) -> tuple[Strided, Strided]:
    """One step of a plain recurrence."""
    sums = cell.product("sums", step, state, range(1), _rows(cell.sums, step))
    return cell.each(kind, "state", step, sums, into=cell.into(step)), memory


Step = Callable[[_Cell, int, Strided, Strided], tuple[Strided, Strided]]


def recurrent(at: NodeLowering, node: Node) -> None:
    """LSTM, GRU, RNN in one direction or both; lengths of single sequences are those of the longest."""
    step = _step(node)
    x = at.array(node.inputs[0])
    target, both = at.result(node), 1 + (_text(node, "direction", "forward") == "bidirectional")
    if by_sequence := bool(node.attrs.get("layout", 0)):
        x = x.transposed([1, 0, 2])
    states = target.transposed([1, 2, 0, 3]) if by_sequence else target
    if x.shape[0] * both > MAX_STEPS:
        raise InputError(f"operator {node.name!r} ({node.op}): {x.shape[0]:,} steps, at most {MAX_STEPS:,}")
    ends: list[list[Strided]] = []
    for direction in range(both):
        part = _without(states.sliced(1, direction, 1), 1)
        cell = _cell(at, node, x, part, direction)
        state, memory = (_start(at, node, place, direction, part.shape[1:]) for place in (5, 6))
        for number in _order(node, direction, x.shape[0]):
            state, memory = step(cell, number, state, memory)
        ends.append([state, memory])
    for place, each in enumerate(zip(*ends, strict=True), 1):
        if place < len(node.outputs) and at.net.values.get(node.outputs[place]) is not None:
            _end(at, node, place, each, by_sequence)


def _step(node: Node) -> Step:
    """Return the operators of a step. Raises InputError for activations and weights that are not modelled."""
    wanted = [name.decode() if isinstance(name, bytes) else name for name in node.attrs.get("activations", ())]
    rectified = node.op == "RNN" and wanted and not any(name != "Relu" for name in wanted)
    usual = all(name == ACTIVATIONS[node.op][place % len(ACTIVATIONS[node.op])] for place, name in enumerate(wanted))
    problems = [f"activations {', '.join(wanted)}"] if not (usual or rectified) else []
    problems += ["input_forget"] if node.attrs.get("input_forget") else []
    if problems:
        raise InputError(f"operator {node.name!r} ({node.op}): {', '.join(problems)} not supported")
    steps: dict[str, Step] = {"LSTM": _lstm, "GRU": _gru, "RNN": partial(_rnn, kind="relu" if rectified else "tanh")}
    return steps[node.op]


def _cell(at: NodeLowering, node: Node, x: Strided, hidden: Strided, direction: int) -> _Cell:
    """Add the products with the inputs of all steps; weights are stored as the products read them."""
    name, gates = f"{node.name}.{direction}", GATES[node.op]
    size, cols = hidden.shape[-1], GATES[node.op] * hidden.shape[-1]
    w, r = (_weights(at, node, place, direction, cols) for place in (1, 2))
    bias = _bias(at, node, direction, "input", cols)
    after = node.op == "GRU" and bool(node.attrs.get("linear_before_reset"))
    wide = cols - size if after else cols
    sums, fresh = at.own(f"{name}.inputs", (*x.shape[:2], wide), dtype=at.graph.sums), None
    _product(at, node, x, w, 0, sums, bias, f"{name}.inputs")
    if after:
        fresh = at.own(f"{name}.candidates", (*x.shape[:2], size))
        _product(at, node, x, w, (gates - 1) * size, fresh, bias, f"{name}.candidates")
    own = _bias(at, node, direction, "state", size) if after else None
    return _Cell(at, node, name, sums, fresh, r, own, hidden, _peephole(at, node, direction, 3 * size))


def _product(
    at: NodeLowering, node: Node, x: Strided, w: Strided, first: int, into: Strided, bias: Strided | None, name: str
) -> None:
    """Add the product of all inputs with the columns of the weights from ``first`` on."""
    cols = into.shape[-1]
    row = None if bias is None else _columns(bias.spread((1, *bias.shape)), first, cols).spread(into.shape)
    add_product(at, node, x, _columns(w, first, cols), into, row, "none", name)


def _weights(at: NodeLowering, node: Node, place: int, direction: int, cols: int) -> Strided:
    """Return the matrix [K, columns] of a direction. Raises InputError for weights that are computed."""
    name = node.inputs[place]
    value = at.net.values[name]
    if value.level is not Level.CONSTANT or len(value.shape or ()) != 3:
        raise InputError(f"operator {node.name!r} ({node.op}): its weights {name!r} must be constants with 3 axes")
    directions, _, depth = value.shape or ()
    wanted = (at.net.values[node.inputs[0]].shape or ())[-1] if place == 1 else cols // GATES[node.op]
    both = 1 + (_text(node, "direction", "forward") == "bidirectional")
    if (value.shape or ()) != (both, cols, wanted):
        raise InputError(
            f"operator {node.name!r} ({node.op}): its weights {name!r} are {list(value.shape or ())}, must be "
            f"[{both}, {cols}, {wanted}]: directions, columns of the gates, columns of the operand"
        )
    if name not in at.arrays:
        stored = at.tensor(at.root(name).lstrip("/"), (directions * depth, cols), "weight")
        at.arrays[name] = Strided.dense(stored.name, (directions, depth, cols))
    return _without(at.arrays[name].sliced(0, direction, 1), 0)


def _bias(at: NodeLowering, node: Node, direction: int, what: str, cols: int) -> Strided | None:
    """Return the biases of a direction as one row: those of inputs and state are added to the same sums."""
    name = node.inputs[3] if len(node.inputs) > 3 else ""
    if not name:
        return None
    directions = 1 + (_text(node, "direction", "forward") == "bidirectional")
    wide, given = 2 * GATES[node.op] * (at.net.values[node.inputs[2]].shape or (0,))[-1], at.net.values[name].shape
    if given != (directions, wide):
        raise InputError(
            f"operator {node.name!r} ({node.op}): its bias {name!r} is {list(given or ())}, "
            f"must be [{directions}, {wide}]"
        )
    key = f"{name}.{what}"
    if key not in at.arrays:
        stored = at.tensor(f"{at.root(name).lstrip('/')}.{what}", (directions, cols), "weight", at.graph.sums)
        at.arrays[key] = Strided.dense(stored.name, (directions, cols))
    return _without(at.arrays[key].sliced(0, direction, 1), 0)


def _peephole(at: NodeLowering, node: Node, direction: int, cols: int) -> Strided | None:
    name = node.inputs[PEEPHOLES] if len(node.inputs) > PEEPHOLES else ""
    if not name:
        return None
    row = _without(at.array(name), 0, direction)
    if row.shape != (cols,):
        raise InputError(f"operator {node.name!r} ({node.op}): {name!r} must have {cols} columns")
    return row.spread((1, cols))


def _start(at: NodeLowering, node: Node, place: int, direction: int, shape: Sequence[int]) -> Strided:
    """Return the state before the first step: given, or zeros prepared by the caller."""
    name = node.inputs[place] if place < len(node.inputs) else ""
    if name and (node.op == "LSTM" or place == 5):
        given = at.array(name)
        return _without(given.transposed([1, 0, 2]) if node.attrs.get("layout") else given, 0, direction)
    if place == 6 and node.op != "LSTM":
        return Strided("", ())
    key = f"{node.name}.start"
    if key not in at.arrays:
        at.arrays[key] = Strided.dense(at.tensor(f"{node.name.lstrip('/')}.start", shape, "input").name, shape)
    return at.arrays[key]


def _order(node: Node, direction: int, steps: int) -> range:
    backwards = direction == 1 or _text(node, "direction", "forward") == "reverse"
    return range(steps - 1, -1, -1) if backwards else range(steps)


def _end(at: NodeLowering, node: Node, place: int, states: Sequence[Strided], by_sequence: bool) -> None:
    """Put the last states of all directions into one array, without a copy if there is one direction."""
    name = node.outputs[place]
    if name not in at.net.outputs and not at.net.readers(name):
        return
    if len(states) == 1:
        whole = replace(states[0], axes=((), *states[0].axes))
        at.arrays[name] = whole.transposed([1, 0, 2]) if by_sequence else whole
        return
    target = at.result(node, place=place)
    apart = target.transposed([1, 0, 2]) if by_sequence else target
    for direction, state in enumerate(states):
        at.copied(node, state, _without(apart, 0, direction), f"{node.name}.{direction}.end")


def _without(array: Strided | None, axis: int, index: int = 0) -> Strided:
    """Return one element of an axis, without the axis."""
    assert array is not None
    one = array.sliced(axis, index, 1)
    assert one is not None
    return replace(one, axes=(*one.axes[:axis], *one.axes[axis + 1 :]))


def _rows(array: Strided, step: int) -> Strided:
    return _without(array, 0, step)


def _columns(array: Strided, first: int, cols: int) -> Strided:
    part = array.sliced(len(array.axes) - 1, first, cols)
    assert part is not None
    return part


def _text(node: Node, key: str, default: str) -> str:
    value = node.attrs.get(key, default)
    return value.decode() if isinstance(value, bytes) else str(value)


RULES: dict[str, Callable[[NodeLowering, Node], None]] = dict.fromkeys(GATES, recurrent)
