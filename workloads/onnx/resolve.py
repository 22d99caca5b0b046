"""The forward pass over an ONNX model: every shape becomes numbers, and operators that compute shapes are folded.

Each operator is, in this order: replaced by simpler ones (`expand`), computed if all its operands are known and small,
or given shapes by the rules of the standard.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.base.errors import InputError, some
from workloads.onnx import dims, expand, levels
from workloads.onnx.evaluate import computed
from workloads.onnx.net import Array, Level, Net, Node, Value
from workloads.onnx.reading import elements, needed

if TYPE_CHECKING:
    import onnx

MAX_ELEMENTS = 1 << 40
"""Limit of one value: more exceed the address range, and counts of elements overflow."""
STANDARD = ("", "ai.onnx")
FLOAT = 1
"""ONNX number of float32, used for every element type: the machine's own type is set elsewhere."""
WITH_GRAPHS = ("If", "Loop", "Scan", "SequenceMap")
"""Operators that hold graphs; of these only an If with a known condition is supported."""
SAME_SHAPE = ("LayerNormalization", "RMSNormalization", "Gelu", "Swish", expand.ROPE)
"""Operators whose result has the shape of their first operand in every version of the standard."""
MISFITS = (AssertionError, ArithmeticError, LookupError, TypeError, ValueError)
"""Errors that rules raise for operators whose operands or attributes are not those of the standard."""
ARITHMETIC = ("Add", "Sub", "Mul", "Div")
"""Operators of two operands of one type; sums of integer products are numbers here, their biases integers."""
OWN_SHAPES = ("MatMul", "STFT", expand.ATTENTION, *SAME_SHAPE)


class ShapeResolver:
    """One forward pass. ``unknown_ops``: operators whose results have no known shape, by kind, with names of nodes.

    ``deciding``: inputs of one number whose values choose the branch of an If.
    """

    def __init__(self, model: onnx.ModelProto, path: Path, unknown: str):
        self.onnx = needed()
        self.model, self.path, self.unknown = model, path, unknown
        self.net = Net()
        self.opsets = {entry.domain or "": entry.version for entry in model.opset_import}
        self.unknown_ops: dict[str, list[str]] = {}
        self.fresh = Counter[str]()
        self.guessed = False
        self.deciding: set[str] = set()
        types = self.onnx.TensorProto
        self.whole = (types.INT64, types.INT32, types.BOOL, types.STRING)

    def run(self, shapes: dims.Shapes, numbers: Mapping[str, object]) -> Net:
        """Visit all operators; ``numbers``: values of inputs of one whole number, by name. Raises InputError."""
        graph = self.model.graph
        self.weights(graph)
        for given in graph.input:
            if given.name in shapes:
                dtype = given.type.tensor_type.elem_type
                level = levels.of_input(given.name, dtype, self.onnx)
                data = None
                if given.name in numbers:
                    level, data = Level.CONSTANT, np.full(shapes[given.name], numbers[given.name], np.int64)
                    data = data.astype(self.onnx.helper.tensor_dtype_to_np_dtype(dtype))
                self.enter(Value(given.name, shapes[given.name], dtype, level, data))
                self.net.inputs.append(given.name)
        self.visit(graph)
        self.net.outputs = list(dict.fromkeys(out.name for out in graph.output))
        return self.net

    def weights(self, graph: onnx.GraphProto) -> None:
        """Enter the initializers of a graph; their numbers are read at first use."""
        folder = self.path.parent
        for tensor in graph.initializer:
            value = Value(tensor.name, tuple(tensor.dims), tensor.data_type, Level.CONSTANT)
            value.load = lambda tensor=tensor: elements(tensor, folder)
            if value.elements <= levels.SMALL:
                value.data = value.load()
            self.enter(value)
            self.net.weights.add(tensor.name)
        for sparse in graph.sparse_initializer:
            value = Value(sparse.values.name, tuple(sparse.dims), sparse.values.data_type, Level.CONSTANT)
            self.enter(value)

    def enter(self, value: Value) -> None:
        """Register a value. Raises InputError for one that is too large."""
        if value.shape is not None and value.elements > MAX_ELEMENTS:
            raise InputError(f"{self.path}: {value.name!r} has {value.elements:,} elements, at most {MAX_ELEMENTS:,}")
        self.net.values[value.name] = value

    def visit(self, graph: onnx.GraphProto) -> None:
        """Visit the operators of a graph, or of the branch of an If whose condition is known."""
        for number, proto in enumerate(graph.node):
            node = self.node(proto, number)
            if node.domain in STANDARD and node.op in WITH_GRAPHS:
                if node.op == "If":
                    self.branch(node, proto)
                else:
                    self.lost(node)
            else:
                self.take(node)

    def node(self, proto: onnx.NodeProto, number: int) -> Node:
        """Return an operator of the file as a node. Raises InputError for attributes that cannot be read."""
        attrs: dict[str, Any] = {}
        for attribute in proto.attribute:
            if attribute.type in (self.onnx.AttributeProto.GRAPH, self.onnx.AttributeProto.GRAPHS):
                continue
            try:
                attrs[attribute.name] = self.onnx.helper.get_attribute_value(attribute)
            except ValueError as error:
                raise InputError(f"{self.path}: operator {proto.name or number}: {error}") from None
        domain = "" if proto.domain in STANDARD else proto.domain
        name = proto.name or f"{proto.op_type}_{number}"
        return Node(proto.op_type, list(proto.input), list(proto.output), attrs, _module(proto, name), domain)

    def branch(self, node: Node, proto: onnx.NodeProto) -> None:
        """Visit the branch chosen by a known condition."""
        condition = self.net.values[node.inputs[0]].number if node.inputs else None
        graphs = {attribute.name: attribute.g for attribute in proto.attribute}
        if condition is None or not {"then_branch", "else_branch"} <= graphs.keys():
            self.deciding.update(self.sources(node))
            self.lost(node)
            return
        chosen = graphs["then_branch" if condition else "else_branch"]
        self.weights(chosen)
        self.visit(chosen)
        for name, inner in zip(node.outputs, chosen.output, strict=False):
            self.take(Node("Identity", [inner.name], [name], name=node.name))

    def sources(self, node: Node) -> set[str]:
        """Return the inputs of one whole number that a node's operands are computed from."""
        found, waiting, seen = set(), [name for name in node.inputs if name], set[str]()
        numbers = dims.numbers(self.model.graph)
        while waiting:
            name = waiting.pop()
            maker = self.net.makers.get(name)
            if name in numbers:
                found.add(name)
            elif maker is not None and name not in seen:
                waiting += [given for given in maker.inputs if given]
            seen.add(name)
        return found

    def take(self, node: Node) -> None:
        """Process one operator: expand, compute, or infer."""
        if any(name and self.net.values.get(name, None) is None for name in node.inputs) or any(
            value.shape is None for value in self.net.known(node)
        ):
            self.lost(node, quiet=True)  # after an unknown operator
            return
        node.outputs = [name or self.name("unused") for name in node.outputs]
        try:
            simpler = expand.expanded(node, self)
        except MISFITS as error:
            raise self.wrong(node, error) from None
        if simpler is not None:
            for part in simpler:
                self.take(part)
            return
        try:
            self.finish(node)
        except MISFITS as error:
            raise self.wrong(node, error) from None

    def finish(self, node: Node) -> None:
        """Compute a node, or set the shapes and levels of its results."""
        net = self.net
        inputs = [net.values[name] if name else None for name in node.inputs]
        if node.op in ("Shape", "Size") and inputs and inputs[0] is not None:
            self.constant(node.output, _measured(node, inputs[0]))
            return
        level = levels.of_node(node, inputs)
        known = all(value is None or (value.data is not None and value.elements <= levels.FEW) for value in inputs)
        if known and level is Level.CONSTANT and node.domain == "":
            arrays = computed(node, [None if value is None else value.data for value in inputs], self)
            if arrays is not None:
                for name, array in zip(node.outputs, arrays, strict=False):
                    self.constant(name, array)
                    if self.stems_from_weights(node, array.size):
                        net.weights.add(name)
                return
        shapes = self.inferred(node, inputs)
        if shapes is None:
            self.lost(node)
            return
        net.add(node)
        for name, (shape, dtype) in zip(node.outputs, shapes, strict=False):
            self.enter(Value(name, shape, dtype, level))

    def stems_from_weights(self, node: Node, count: int) -> bool:
        """Return whether a computed constant is weights in another form: moved, or recoded."""
        coded = node.op in ("Mul", "Sub", "Add", "Div")
        return any(
            name in self.net.weights
            and self.net.values[name].dtype not in self.whole
            and (node.op in levels.MOVES or (coded and self.net.values[name].elements == count))
            for name in node.inputs
        )

    def constant(self, name: str, array: Array) -> None:
        """Register a value's numbers."""
        dtype = self.onnx.helper.np_dtype_to_tensor_dtype(array.dtype) if array.dtype != object else 1
        self.enter(Value(name, array.shape, dtype, Level.CONSTANT, array))

    def name(self, what: str) -> str:
        """Return an unused name."""
        self.fresh[what] += 1
        return f"{what}#{self.fresh[what]}"

    def lost(self, node: Node, quiet: bool = False) -> None:
        """Record an unknown operator; its results have no shape, or that of its first operand with "host"."""
        first = next((value for value in self.net.known(node) if value.shape is not None), None) if not quiet else None
        if not quiet or not self.has_rule(node):
            kind = f"{node.domain}.{node.op}" if node.domain else node.op
            if self.unknown == "host" and first is not None:
                self.net.add(node)
            else:
                self.unknown_ops.setdefault(kind, []).append(node.name)
        for name in filter(None, node.outputs):
            shape = first.shape if first is not None and self.unknown == "host" else None
            self.guessed = self.guessed or shape is not None
            self.enter(Value(name, shape, first.dtype if first else 1, Level.COMPUTED))

    def has_rule(self, node: Node) -> bool:
        """Return whether an operator is of the standard, or is expanded."""
        if node.domain == "com.microsoft":
            return node.op in expand.MICROSOFT
        return node.domain == "" and (node.op in (*expand.RULES, *OWN_SHAPES) or self.onnx.defs.has(node.op))

    def inferred(self, node: Node, inputs: list[Value | None]) -> list[tuple[tuple[int, ...], int]] | None:
        """Return shape and type of each output by the rules of the standard; None if it has none."""
        if node.op in OWN_SHAPES and inputs and (node.op == "STFT" or None not in inputs):
            return [(self.own_shape(node, [value.shape or () for value in inputs if value is not None]), FLOAT)]
        try:
            schema = self.onnx.defs.get_schema(node.op, self.opsets.get(node.domain, 1), node.domain)
        except self.onnx.defs.SchemaError:
            return None
        helper = self.onnx.helper
        types, data = {}, {}
        mixed = node.op in ARITHMETIC and len({value is not None and value.dtype in self.whole for value in inputs}) > 1
        for value in inputs:
            if value is not None:
                dtype = value.dtype if value.dtype in self.whole and not mixed else FLOAT
                types[value.name] = helper.make_tensor_type_proto(dtype, value.shape)
                if value.data is not None and value.elements <= levels.SMALL and value.dtype == dtype:
                    data[value.name] = self.onnx.numpy_helper.from_array(value.data, value.name)
        try:
            proto = helper.make_node(node.op, node.inputs, node.outputs, domain=node.domain, **node.attrs)
            opsets = [helper.make_opsetid(domain, version) for domain, version in self.opsets.items()]
            found = self.onnx.shape_inference.infer_node_outputs(schema, proto, types, data, opset_imports=opsets)
        except Exception as error:  # InferenceError of the C++ part, ValueError for attributes
            raise self.wrong(node, error) from None
        return self.checked(node, found)

    def own_shape(self, node: Node, shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
        """Return the shape of a product or of an operator that `expand` made. Raises InputError."""
        if node.op in SAME_SHAPE:
            return shapes[0]
        if node.op == "STFT":
            return self.spectrum(node, shapes[0])
        if node.op == expand.ATTENTION:
            q, k, v = shapes[:3]
            sound = len(q) == len(k) == len(v) == 4 and q[3] == k[3] and k[:3] == v[:3] and q[0] == k[0]
            if not sound or q[1] % k[1]:
                raise self.wrong(node, "Q, K and V have inconsistent shapes, or heads of K do not divide those of Q")
            return (*q[:3], v[3])
        return product_shape(shapes[0], shapes[1], lambda text: self.wrong(node, text))

    def spectrum(self, node: Node, signal: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a STFT; the rule of onnx 1.23 ignores that half a spectrum is the default."""
        step, window, length = (self.net.values[name] if name else None for name in [*node.inputs[1:], "", ""][:3])
        known = length.number if length is not None else None if window is None else window.elements
        if step is None or not step.number or not known or len(signal) < 2:
            raise self.wrong(node, "its step and the length of its frames must be constants")
        size, half = int(known), node.attrs.get("onesided", 1)
        return (signal[0], 1 + (signal[1] - size) // int(step.number), size // 2 + 1 if half else size, 2)

    def checked(self, node: Node, found: Mapping[str, Any]) -> list[tuple[tuple[int, ...], int]] | None:
        """Return inferred types as numbers. Raises InputError for a shape that depends on the data."""
        shapes: list[tuple[tuple[int, ...], int]] = []
        for name in node.outputs:
            kind = found[name].tensor_type if name in found else None
            if kind is None or not kind.HasField("shape"):
                return None
            sizes = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim]
            if any(dim.HasField("dim_value") and dim.dim_value < 0 for dim in kind.shape.dim):
                raise self.wrong(node, f"its operands are too small: its result would be {sizes}")
            if -1 in sizes:
                return None
            if 0 in sizes and any(0 not in (value.shape or ()) for value in self.net.known(node)):
                raise self.wrong(node, f"its result {name!r} is empty ({'x'.join(map(str, sizes))})")
            shapes.append((tuple(sizes), kind.elem_type))
        return shapes

    def wrong(self, node: Node, error: object) -> InputError:
        """Return the error for an operator."""
        text = " ".join(str(error).split())[:200]
        shapes = ", ".join(f"{value.name[:40]} {list(value.shape or ())}" for value in self.net.known(node))
        guess = (
            " (shapes after unknown operators are taken to be those of their first operands)" if self.guessed else ""
        )
        return InputError(
            f"{self.path}: operator {node.name[:120]!r} ({node.op[:40]}) of {shapes[:200]}: {text}{guess}"
        )

    def refuse_unknown(self) -> None:
        """Raise one InputError that lists all unknown operators."""
        if self.unknown_ops:
            text = unknown_text(str(self.path), self.unknown_ops)
            if self.deciding:
                values = ",".join(f"{name}=NUMBER" for name in sorted(self.deciding))
                text[-1] += f"; or give the values on which If depends: --dim {values}"
            raise InputError(text)


def unknown_text(path: str, unknown: Mapping[str, list[str]]) -> list[str]:
    """Return the message on unknown operators: kind, count, and the first nodes of each."""
    lines = [
        f"{kind}: {len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for kind, names in sorted(unknown.items())
    ]
    total = sum(map(len, unknown.values()))
    return [
        f"{path}: {total} operators of {len(unknown)} kinds are unknown: {'; '.join(some(lines))}; --unknown host "
        'prices them on the host (unknown="host")'
    ]


SCOPES = "pkg.torch.onnx.name_scopes"
"""Property of a node in which torch's exporter writes its modules."""


def _module(proto: onnx.NodeProto, name: str) -> str:
    """Return a node's name prefixed with its module's path, if the exporter gives the path separately."""
    scopes = next((entry.value for entry in proto.metadata_props if entry.key == SCOPES), "")
    path = re.findall(r"'([^']{0,200})'", scopes[:4096])
    return f"{path[-2]}.{name.removeprefix('node_')}" if len(path) > 1 and path[-2] else name


def _measured(node: Node, value: Value) -> Array:
    shape = value.shape or ()
    if node.op == "Size":
        return np.array(value.elements, np.int64)
    start, end = node.attrs.get("start", 0), node.attrs.get("end", len(shape))
    return np.array(shape[start:end], np.int64)


def product_shape(a: tuple[int, ...], b: tuple[int, ...], wrong: Any) -> tuple[int, ...]:
    """Return the shape of a product as numpy has it."""
    if not a or not b:
        raise wrong("a product needs matrices, not single numbers")
    left, right = (1, *a) if len(a) == 1 else a, (*b, 1) if len(b) == 1 else b
    if left[-1] != right[-2]:
        raise wrong(f"inner sizes differ: {left[-1]} and {right[-2]}")
    try:
        outer = np.broadcast_shapes(left[:-2], right[:-2])
    except ValueError:
        raise wrong("the outer axes differ") from None
    rows = () if len(a) == 1 else (left[-2],)
    cols = () if len(b) == 1 else (right[-1],)
    return (*outer, *rows, *cols)
