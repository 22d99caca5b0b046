"""Translation of aten operators to those of the ONNX standard, one rule each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.onnx import aten_rare
from workloads.onnx.expand import ATTENTION
from workloads.onnx.net import Level, Node, Value
from workloads.onnx.resolve import FLOAT

if TYPE_CHECKING:
    from workloads.onnx.program import Program


class AtenCall:
    """One call of an operator: its arguments by name, and the network that its nodes are added to."""

    def __init__(self, program: Program, node: Mapping[str, Any], name: str):
        self.program, self.name = program, name
        self.given = {entry["name"]: entry["arg"] for entry in node["inputs"]}
        outs = [*node["outputs"]]
        many = [part for out in outs for part in out.get("as_tensors", [])]
        self.outputs = [part["name"] for part in many] or [
            out["as_tensor"]["name"] for out in outs if "as_tensor" in out
        ]

    def tensor(self, key: str) -> str:
        """Return the name of a tensor argument; a number becomes a constant, None becomes ''."""
        entry = self.given.get(key, {})
        if "as_tensor" in entry:
            name = str(entry["as_tensor"]["name"])
            return self.program.renamed.get(name, name)
        number = self.value(key)
        return "" if number is None else self.constant(np.asarray(number, np.float32))

    def tensors(self, key: str) -> list[str]:
        """Return the names of a list of tensors."""
        names = [str(part["name"]) for part in self.given[key]["as_tensors"]]
        return [self.program.renamed.get(name, name) for name in names]

    def operands(self) -> list[str]:
        """Return the names of all tensors that the call reads."""
        found = [str(entry["as_tensor"]["name"]) for entry in self.given.values() if "as_tensor" in entry]
        found += [str(part["name"]) for entry in self.given.values() for part in entry.get("as_tensors", [])]
        return [self.program.renamed.get(name, name) for name in found]

    def value(self, key: str, default: Any = None) -> Any:
        """Return an argument that is not a tensor."""
        entry = self.given.get(key)
        if entry is None or "as_none" in entry:
            return default
        for form in ("as_float", "as_bool", "as_string", "as_ints", "as_floats", "as_bools"):
            if form in entry:
                return entry[form]
        if "as_sym_ints" in entry:
            return [self.program.number(part) for part in entry["as_sym_ints"]]
        return self.program.number(entry.get("as_sym_int", entry))

    def constant(self, values: Any) -> str:
        """Return the name of a constant."""
        name = self.program.resolver.name(f"{self.name}.constant")
        self.program.resolver.constant(name, np.asarray(values))
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a value."""
        return self.program.resolver.net.values[name].shape or ()

    def result(self, place: int = 0) -> tuple[int, ...]:
        """Return the shape of a result in the program."""
        return self.program.shape(self.outputs[place])

    def add(self, op: str, *inputs: str, out: str | None = None, **attrs: Any) -> str:
        """Add an operator of the standard; its result is the call's by default."""
        made = self.outputs[0] if out is None else out
        self.program.resolver.take(Node(op, list(inputs), [made], attrs, self.name))
        return made

    def between(self, op: str, *inputs: str, **attrs: Any) -> str:
        """Add an operator whose result is read by another one of the same call."""
        return self.add(op, *inputs, out=self.program.resolver.name(f"{self.name}.{op}"), **attrs)


Rule = Callable[[AtenCall], Any]


def _same(op: str, *keys: str) -> Rule:
    return lambda call: call.add(op, *(call.tensor(key) for key in keys))


def _shaped(call: AtenCall) -> None:
    call.add("Reshape", call.tensor("self"), call.constant(np.array(call.result(), np.int64)))


def _expand(call: AtenCall) -> None:
    call.add("Expand", call.tensor("self"), call.constant(np.array(call.result(), np.int64)))


def _turn(call: AtenCall) -> None:
    x = call.tensor("self")
    order = list(range(len(call.shape(x))))
    one, two = (int(call.value(key, default)) for key, default in (("dim0", 0), ("dim1", 1)))
    order[one], order[two] = order[two], order[one]
    call.add("Transpose", x, perm=order)


def _permute(call: AtenCall) -> None:
    x = call.tensor("self")
    rank = len(call.shape(x))
    call.add("Transpose", x, perm=[int(axis) % rank for axis in call.value("dims")])


def _linear(call: AtenCall) -> None:
    turned = call.between("Transpose", call.tensor("weight"), perm=[1, 0])
    bias = call.tensor("bias")
    if bias:
        call.add("Add", call.between("MatMul", call.tensor("input"), turned), bias)
    else:
        call.add("MatMul", call.tensor("input"), turned)


def _addmm(call: AtenCall) -> None:
    call.add("Add", call.between("MatMul", call.tensor("mat1"), call.tensor("mat2")), call.tensor("self"))


def _binary(op: str) -> Rule:
    def rule(call: AtenCall) -> None:
        other, alpha = call.tensor("other"), call.value("alpha", 1)
        if alpha != 1:
            other = call.between("Mul", other, call.constant(np.float32(alpha)))
        call.add(op, call.tensor("self"), other)

    return rule


def _norm(call: AtenCall) -> None:
    simple = "rms" in call.name
    rank, axes = len(call.shape(call.tensor("input"))), len(call.value("normalized_shape"))
    weights = [call.tensor("weight")] + ([] if simple else [call.tensor("bias")])
    while weights and not weights[-1]:
        weights.pop()
    op = "RMSNormalization" if simple else "LayerNormalization"
    call.add(op, call.tensor("input"), *weights, axis=rank - axes)


def _softmax(call: AtenCall) -> None:
    call.add("Softmax", call.tensor("self"), axis=int(call.value("dim", -1)))


def _gelu(call: AtenCall) -> None:
    call.add("Gelu", call.tensor("self"), approximate=call.value("approximate", "none"))


def _attention(call: AtenCall) -> None:
    q, k, v, mask = (call.tensor(key) for key in ("query", "key", "value", "attn_mask"))
    if not mask and call.value("is_causal", False):
        mask = call.program.resolver.name("causal_mask")
        shape = (call.shape(q)[-2], call.shape(k)[-2])
        call.program.resolver.enter(Value(mask, shape, 1, Level.GIVEN))
    call.add(ATTENTION, q, k, v, *([mask] if mask else []))


def _slice(call: AtenCall) -> None:
    end = call.value("end")
    bounds = (
        call.value("start", 0) or 0,
        (1 << 62) if end is None else end,
        call.value("dim", 0),
        call.value("step", 1),
    )
    call.add("Slice", call.tensor("self"), *(call.constant(np.array([number], np.int64)) for number in bounds))


def _select(call: AtenCall) -> None:
    call.add("Gather", call.tensor("self"), call.constant(np.int64(call.value("index"))), axis=int(call.value("dim")))


def _split(call: AtenCall) -> None:
    x = call.tensor("self")
    axis = int(call.value("dim", 0)) % len(call.shape(x))
    sizes = np.array([call.result(place)[axis] for place in range(len(call.outputs))], np.int64)
    call.program.resolver.take(Node("Split", [x, call.constant(sizes)], call.outputs, {"axis": axis}, call.name))


def _reduce(op: str) -> Rule:
    def rule(call: AtenCall) -> None:
        axes = call.constant(np.array(call.value("dim"), np.int64).reshape(-1))
        call.add(op, call.tensor("self"), axes, keepdims=int(bool(call.value("keepdim", False))))

    return rule


def _power(call: AtenCall) -> None:
    call.add("Pow", call.tensor("self"), call.tensor("exponent"))


def _rsqrt(call: AtenCall) -> None:
    call.add("Reciprocal", call.between("Sqrt", call.tensor("self")))


def _conv(call: AtenCall) -> None:
    names = [call.tensor(key) for key in ("input", "weight", "bias")]
    axes = len(call.shape(names[1])) - 2
    strides, pads, dilations = (
        _each(call.value(key, one), axes) for key, one in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    attrs: dict[str, Any] = {
        "strides": strides,
        "pads": pads * 2,
        "dilations": dilations,
        "group": int(call.value("groups", 1)),
    }
    call.add("Conv", *(names if names[2] else names[:2]), **attrs)


def _each(value: Any, axes: int) -> list[int]:
    numbers = [int(part) for part in value] if isinstance(value, Sequence) else [int(value)]
    return numbers * axes if len(numbers) == 1 else numbers


def _pool(op: str) -> Rule:
    def rule(call: AtenCall) -> None:
        kernel = _each(call.value("kernel_size"), 2)
        strides = _each(call.value("stride") or kernel, 2)
        call.add(
            op, call.tensor("self"), kernel_shape=kernel, strides=strides, pads=_each(call.value("padding", 0), 2) * 2
        )

    return rule


def _batch_norm(call: AtenCall) -> None:
    keys = ("input", "weight", "bias", "running_mean", "running_var")
    call.add("BatchNormalization", *(call.tensor(key) for key in keys))


def _global_average(call: AtenCall) -> None:
    if call.result()[2:] != (1, 1):
        raise ValueError("adaptive_avg_pool2d to more than one pixel is not supported")
    call.add("GlobalAveragePool", call.tensor("self"))


def _embedding(call: AtenCall) -> None:
    call.add("Gather", call.tensor("weight"), call.tensor("indices"))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "unsqueeze", "squeeze", "flatten", "unflatten"), _shaped),
    **dict.fromkeys(
        ("contiguous", "clone", "detach", "alias", "lift_fresh_copy"),
        _same("Identity", "self"),
    ),
    "dropout": _same("Identity", "input"),
    "expand": _expand,
    **dict.fromkeys(("transpose", "t"), _turn),
    "permute": _permute,
    "linear": _linear,
    "addmm": _addmm,
    **dict.fromkeys(("matmul",), _same("MatMul", "self", "other")),
    **dict.fromkeys(("bmm", "mm"), _same("MatMul", "self", "mat2")),
    "add": _binary("Add"),
    "sub": _binary("Sub"),
    **dict.fromkeys(("mul", "multiply"), _binary("Mul")),
    "div": _binary("Div"),
    **dict.fromkeys(("layer_norm", "rms_norm"), _norm),
    **dict.fromkeys(("softmax", "_softmax"), _softmax),
    "gelu": _gelu,
    "relu": _same("Relu", "self"),
    "where": _same("Where", "condition", "self", "other"),
    "masked_fill": _same("Where", "mask", "value", "self"),
    "silu": _same("Swish", "self"),
    **{
        name: _same(name.capitalize(), "self")
        for name in ("sigmoid", "tanh", "exp", "neg", "sqrt", "cos", "sin", "erf", "abs")
    },
    "rsqrt": _rsqrt,
    "pow": _power,
    "mean": _reduce("ReduceMean"),
    "sum": _reduce("ReduceSum"),
    "scaled_dot_product_attention": _attention,
    "slice": _slice,
    "select": _select,
    **dict.fromkeys(("split", "chunk", "split_with_sizes"), _split),
    "embedding": _embedding,
    **dict.fromkeys(("conv1d", "conv2d"), _conv),
    "batch_norm": _batch_norm,
    "adaptive_avg_pool2d": _global_average,
    "max_pool2d": _pool("MaxPool"),
    "avg_pool2d": _pool("AveragePool"),
    **aten_rare.RULES,
}
"""Name of an aten operator, without its overload -> the function that adds a call of it to the network."""


def take(program: Program, node: Mapping[str, Any], number: int) -> None:
    """Add one call to the network; values computed from ids and masks alone are inputs."""
    target = str(node["target"])
    stack = str(node.get("metadata", {}).get("nn_module_stack", "")).split(";")[-1].split(",")
    made = str(node.get("name") or number)
    name = f"{stack[1]}.{made}" if len(stack) > 1 and stack[1] else made
    call = AtenCall(program, node, name)
    if not call.outputs:  # a size as a number, or a check of one
        return
    resolver = program.resolver
    names = call.operands()
    level = max((resolver.net.values[one].level for one in names), default=Level.CONSTANT)
    short = target.removeprefix("torch.ops.aten.").partition(".")[0] if target.startswith("torch.ops.aten.") else ""
    short = short if short in RULES else short.removesuffix("_")  # in place
    table = short in ("embedding", "_weight_norm")
    empty = not any(0 not in program.shape(out) for out in call.outputs)
    weighed = short in ("linear", "addmm", "conv1d", "conv2d")
    whole = level is Level.GIVEN or not names or any(program.dtype(out) != FLOAT for out in call.outputs)
    if empty or (level <= Level.GIVEN and whole and not table and not weighed):
        for out in call.outputs:
            resolver.enter(Value(out, program.shape(out), program.dtype(out), Level.GIVEN))
    elif short in RULES:
        RULES[short](call)
        for out in call.outputs:
            if resolver.net.values[out].shape != program.shape(out):
                shape = list(resolver.net.values[out].shape or ())
                raise ValueError(f"{name} ({short}) gives {shape}, the program has {list(program.shape(out))}")
    else:
        resolver.lost(Node(target, names, call.outputs, {}, name))
        for out in call.outputs:
            resolver.enter(Value(out, program.shape(out), program.dtype(out), Level.COMPUTED))
