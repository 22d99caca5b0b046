"""Translation of further aten operators: moves, constants, and those that the host runs at the price of `foreign`.

A torch program holds the shape of every result, so that operators without a kind need no rule of shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from workloads.onnx.net import Level, Node, Value

if TYPE_CHECKING:
    from workloads.onnx.aten import AtenCall

Rule = Callable[["AtenCall"], None]

PRICED = {
    **dict.fromkeys(("upsample_bilinear2d", "upsample_nearest2d", "upsample_bicubic2d"), "Resize"),
    **dict.fromkeys(("upsample_linear1d", "upsample_nearest1d"), "Resize"),
    **dict.fromkeys(("gather", "index_select", "repeat_interleave"), "GatherElements"),
    **dict.fromkeys(("topk", "sort"), "TopK"),
    **dict.fromkeys(("scatter", "scatter_add", "index_add", "index_put"), "ScatterElements"),
    **dict.fromkeys(("bitwise_not", "logical_not"), "Not"),
    **dict.fromkeys(("bitwise_and", "logical_and"), "And"),
    **dict.fromkeys(("bitwise_or", "logical_or"), "Or"),
    **dict.fromkeys(("floor_divide", "remainder"), "Mod"),
    "hardswish": "HardSwish", "hardsigmoid": "HardSigmoid", "softplus": "Softplus", "mish": "Mish", "elu": "Elu",
    "leaky_relu": "LeakyRelu", "prelu": "PRelu", "log": "Log", "reciprocal": "Reciprocal", "floor": "Floor",
    "round": "Round", "sign": "Sign", "ceil": "Ceil", "maximum": "Max", "minimum": "Min",
    "cumsum": "CumSum", "index": "GatherND", "max": "ArgMax", "min": "ArgMin", "argmax": "ArgMax", "argmin": "ArgMin",
    "log_softmax": "LogSoftmax", "acos": "Acos", "tril": "Trilu", "triu": "Trilu", "norm": "LpNormalization",
    "group_norm": "GroupNormalization", "instance_norm": "InstanceNormalization", "grid_sampler": "GridSample",
    "gt": "Greater", "lt": "Less", "ge": "GreaterOrEqual", "le": "LessOrEqual", "eq": "Equal",
}  # fmt: skip
"""aten operator -> operator of the standard whose price it has."""


def _priced(op: str) -> Rule:
    def rule(call: AtenCall) -> None:
        resolver = call.program.resolver
        number = "as_tensor" not in call.given.get("other", {"as_tensor": None})
        operands = call.operands() + ([call.tensor("other")] if number else [])
        resolver.net.add(Node(op, operands, call.outputs, {}, call.name))
        for out in call.outputs:
            resolver.enter(Value(out, call.program.shape(out), call.program.dtype(out), Level.COMPUTED))

    return rule


BOUNDS = {
    "hardtanh": (("min_val", -1.0), ("max_val", 1.0)),
    "relu6": (("", 0.0), ("", 6.0)),
    "clamp": (("min", None), ("max", None)),
    "clamp_min": (("min", None), ("", None)),
    "clamp_max": (("", None), ("max", None)),
}
"""Operator -> argument and default of its lower and its upper bound."""


def _clipped(bounds: tuple[tuple[str, float | None], ...]) -> Rule:
    def rule(call: AtenCall) -> None:
        names = [call.tensor(key) if key else "" for key, _ in bounds]
        for place, (_, default) in enumerate(bounds):
            if not names[place] and default is not None:
                names[place] = call.constant(np.float32(default))
        while names and not names[-1]:
            names.pop()
        call.add("Clip", call.tensor("self"), *names)

    return rule


def _reduced(op: str) -> Rule:
    def rule(call: AtenCall) -> None:
        rank = len(call.shape(call.tensor("self")))
        axes = np.array(call.value("dim", list(range(rank))), np.int64).reshape(-1)
        call.add(op, call.tensor("self"), call.constant(axes), keepdims=int(bool(call.value("keepdim", False))))

    return rule


def _different(call: AtenCall) -> None:
    call.add("Not", call.between("Equal", call.tensor("self"), call.tensor("other")))


def _from_other(call: AtenCall) -> None:
    """rsub: the other operand less the first."""
    call.add("Sub", call.tensor("other"), call.tensor("self"))


def _gated(call: AtenCall) -> None:
    """glu: the first half times the sigmoid of the second."""
    x = call.tensor("self")
    axis = int(call.value("dim", -1)) % len(call.shape(x))
    half = call.shape(x)[axis] // 2
    parts = []
    for place in range(2):
        bounds = (call.constant(np.array([n], np.int64)) for n in (place * half, (place + 1) * half, axis))
        parts.append(call.between("Slice", x, *bounds))
    call.add("Mul", parts[0], call.between("Sigmoid", parts[1]))


def _summed_product(call: AtenCall) -> None:
    call.add("Add", call.between("MatMul", call.tensor("batch1"), call.tensor("batch2")), call.tensor("self"))


def _joined(call: AtenCall) -> None:
    names = [name for name in call.tensors("tensors") if call.shape(name) != (0,)]  # torch joins nothing to anything
    call.add("Concat", *names, axis=int(call.value("dim", 0)) % len(call.result()))


def _filled(call: AtenCall) -> None:
    """A tensor of one value, whatever its operand holds: prepared by the caller."""
    for out in call.outputs:
        call.program.resolver.enter(Value(out, call.program.shape(out), call.program.dtype(out), Level.GIVEN))


def _reshaped(call: AtenCall) -> None:
    call.add("Reshape", call.tensor("self"), call.constant(np.array(call.result(), np.int64)))


def _expanded(call: AtenCall) -> None:
    call.add("Expand", call.tensor("self"), call.constant(np.array(call.result(), np.int64)))


def _pad(call: AtenCall) -> None:
    """Zeros around the last axes; torch lists them from the last axis on, before and after each."""
    x, given = call.tensor("self"), [int(number) for number in call.value("pad")]
    rank = len(call.shape(x))
    before, behind = [0] * rank, [0] * rank
    for place in range(len(given) // 2):
        before[rank - 1 - place], behind[rank - 1 - place] = given[2 * place], given[2 * place + 1]
    mode = str(call.value("mode", "constant"))
    pads = call.constant(np.array([*before, *behind], np.int64))
    call.add("Pad", x, pads, mode={"replicate": "edge", "circular": "wrap"}.get(mode, mode))


def _einsum(call: AtenCall) -> None:
    call.add("Einsum", *call.tensors("operands" if "operands" in call.given else "tensors"),
             equation=call.value("equation"))  # fmt: skip


def _stack(call: AtenCall) -> None:
    names = call.tensors("tensors")
    axis = int(call.value("dim", 0)) % len(call.result())
    shape = call.constant(np.array([1 if place == axis else size for place, size in enumerate(call.result())]))
    call.add("Concat", *(call.between("Reshape", name, shape) for name in names), axis=axis)


def _unbind(call: AtenCall) -> None:
    for place, out in enumerate(call.outputs):
        index = call.constant(np.int64(place))
        call.add("Gather", call.tensor("self"), index, out=out, axis=int(call.value("dim", 0)))


def _repeat(call: AtenCall) -> None:
    x, result = call.tensor("self"), call.result()
    shape = (1,) * (len(result) - len(call.shape(x))) + call.shape(x)
    wide = call.between("Reshape", x, call.constant(np.array(shape, np.int64)))
    times = [size // one for size, one in zip(result, shape, strict=True)]
    call.add("Tile", wide, call.constant(np.array(times, np.int64)))


def _mean_of_series(call: AtenCall) -> None:
    if call.result()[-1] != 1:
        raise ValueError("adaptive_avg_pool1d to more than one element is not supported")
    call.add("ReduceMean", call.tensor("self"), call.constant(np.array([-1], np.int64)), keepdims=1)


def _weight_norm(call: AtenCall) -> None:
    """Weights as directions and lengths, which inference multiplies once: a weight."""
    call.program.resolver.enter(Value(call.outputs[0], call.result(), 1, Level.CONSTANT))
    call.program.resolver.net.weights.add(call.outputs[0])


def _cast(call: AtenCall) -> None:
    call.add("Cast", call.tensor("self"), to=call.program.dtype(call.outputs[0]))


RULES: dict[str, Rule] = {
    **{name: _priced(op) for name, op in PRICED.items()},
    **{name: _clipped(bounds) for name, bounds in BOUNDS.items()},
    **dict.fromkeys(("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones"), _filled),
    **dict.fromkeys(("cat", "concat", "concatenate"), _joined),
    **dict.fromkeys(("new_empty", "new_full"), _filled),
    "linalg_vector_norm": _reduced("ReduceL2"),
    "amax": _reduced("ReduceMax"),
    "amin": _reduced("ReduceMin"),
    "ne": _different,
    "rsub": _from_other,
    "glu": _gated,
    "baddbmm": _summed_product,
    "broadcast_to": _expanded,
    **dict.fromkeys(("to", "_to_copy", "type_as"), _cast),
    "reshape_as": _reshaped,
    "view_as": _reshaped,
    "expand_as": _expanded,
    "pad": _pad,
    "constant_pad_nd": _pad,
    "einsum": _einsum,
    "stack": _stack,
    "unbind": _unbind,
    "repeat": _repeat,
    "adaptive_avg_pool1d": _mean_of_series,
    "_weight_norm": _weight_norm,
}
"""Name of an aten operator -> the function that adds a call of it to the network."""
