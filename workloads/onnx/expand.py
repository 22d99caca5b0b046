"""Operators that are replaced by several simpler ones.

Quantised forms, Microsoft's fused operators, attention of the standard.

Quantised operators keep their operands and lose their scales: on the array a scale and a zero point per tensor or
column are part of the requantisation of every result, without cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.onnx import standard
from workloads.onnx.net import Level, Node, Value

if TYPE_CHECKING:
    from workloads.onnx.resolve import ShapeResolver

ATTENTION = "CaratAttention"
"""Softmax(Q K^T + bias) V of Q [batch, heads, queries, size], K and V [batch, kv_heads, keys, size]."""

ROPE = "CaratRope"
"""Rotary embedding of the last axis; rotated: number of rotated columns, 0 = all."""


class Replacement:
    """Collects the nodes that replace one; results are named."""

    def __init__(self, node: Node, resolver: ShapeResolver):
        self.node, self.resolver = node, resolver
        self.nodes: list[Node] = []

    def add(self, op: str, *inputs: str, out: str | None = None, **attrs: Any) -> str:
        """Add a node and return its result's name."""
        name = out or self.resolver.name(f"{self.node.name}.{op}")
        self.nodes.append(
            Node(op, list(inputs), [name], attrs, f"{self.node.name}.{op}" if out is None else self.node.name)
        )
        return name

    def numbers(self, values: Any) -> str:
        """Return the name of a constant."""
        name = self.resolver.name(f"{self.node.name}.constant")
        self.resolver.constant(name, np.asarray(values))
        return name

    def given(self, position: int) -> str:
        """Return an input's name, '' if it is left out."""
        return self.node.inputs[position] if position < len(self.node.inputs) else ""

    def shape(self, position: int) -> tuple[int, ...]:
        """Return an input's shape."""
        shape = self.resolver.net.values[self.given(position)].shape
        assert shape is not None
        return shape

    def reshape(self, x: str, *shape: int, out: str | None = None) -> str:
        """Add a Reshape."""
        return self.add("Reshape", x, self.numbers(np.array(shape, np.int64)), out=out)

    def heads(self, x: str, shape: tuple[int, ...], heads: int) -> str:
        """Split the columns of [batch, rows, heads * size] into heads: [batch, heads, rows, size]."""
        if len(shape) == 4:
            return x
        batch, rows, cols = shape
        split = self.reshape(x, batch, rows, heads, cols // heads)
        return self.add("Transpose", split, perm=[0, 2, 1, 3])

    def joined(self, x: str, out: str) -> str:
        """Join heads again: [batch, rows, heads * size]."""
        turned = self.add("Transpose", x, perm=[0, 2, 1, 3])
        return self.add("Reshape", turned, self.numbers(np.array([0, 0, -1], np.int64)), out=out)


Rule = Callable[[Replacement], None]


def _identity(parts: Replacement) -> None:
    parts.add("Identity", parts.given(0), out=parts.node.output)


def _float(parts: Replacement) -> None:
    parts.add("Cast", parts.given(0), out=parts.node.output, to=1)


def _pad(parts: Replacement) -> None:
    """A Pad of no elements, as some exporters write it, is removed; others are unchanged."""
    pads = parts.resolver.net.values[parts.given(1)].data if parts.given(1) else parts.node.attrs.get("pads")
    if pads is not None and not np.any(pads):
        _identity(parts)


def _dynamic_quantize(parts: Replacement) -> None:
    parts.add("Identity", parts.given(0), out=parts.node.output)
    for name in parts.node.outputs[1:]:
        parts.resolver.enter(Value(name, (), 1, Level.GIVEN))


KEPT = ("axis", "alpha", "transA", "transB", "auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
"""Attributes that the plain form of a quantised operator also has."""


def _of(op: str, *places: int, sums: bool = False) -> Rule:
    """Return the rule of a quantised operator whose numbers are the inputs at ``places``."""

    def rule(parts: Replacement) -> None:
        inputs = [parts.given(place) for place in places]
        while inputs and not inputs[-1]:
            inputs.pop()
        plain = {key: value for key, value in parts.node.attrs.items() if key in KEPT}
        parts.add(op, *inputs, out=parts.node.output, **plain)
        if sums:
            parts.resolver.net.integer_sums.add(parts.node.output)

    return rule


def _product_float(parts: Replacement) -> None:
    """MatMulIntegerToFloat, DynamicQuantizeMatMul: product and bias."""
    dynamic = parts.node.op == "DynamicQuantizeMatMul"
    bias = parts.given(4 if dynamic else 6)
    if not bias:
        parts.add("MatMul", parts.given(0), parts.given(1), out=parts.node.output)
    else:
        parts.add("Add", parts.add("MatMul", parts.given(0), parts.given(1)), bias, out=parts.node.output)


def _n_bits(parts: Replacement) -> None:
    """MatMulNBits: weights of few bits in blocks; here a matrix [K, N] of elements."""
    k, n = int(parts.node.attrs["K"]), int(parts.node.attrs["N"])
    name = f"{parts.given(1)}.matrix"
    parts.resolver.enter(Value(name, (k, n), 1, Level.CONSTANT))
    bias = parts.given(5)
    product = parts.add("MatMul", parts.given(0), name, out=None if bias else parts.node.output)
    if bias:
        parts.add("Add", product, bias, out=parts.node.output)


def _lstm(parts: Replacement) -> None:
    """DynamicQuantizeLSTM: weights are quantised and transposed; its other operands are those of LSTM."""
    turned = [parts.add("Transpose", parts.given(place), perm=[0, 2, 1]) for place in (1, 2)]
    others = [parts.given(place) for place in range(3, 8)]
    while others and not others[-1]:
        others.pop()
    parts.nodes.append(
        Node("LSTM", [parts.given(0), *turned, *others], parts.node.outputs, parts.node.attrs, parts.node.name)
    )


def _fused_matmul(parts: Replacement) -> None:
    attrs, sides = parts.node.attrs, []
    for place, key in ((0, "transA"), (1, "transB")):
        name, rank = parts.given(place), len(parts.shape(place))
        turned = [*range(rank - 2), rank - 1, rank - 2]
        sides.append(parts.add("Transpose", name, perm=turned) if attrs.get(key) else name)
    parts.add("MatMul", *sides, out=parts.node.output)


def _skip_norm(parts: Replacement) -> None:
    """SkipLayerNormalization and its RMS form: sum, norm; the fourth output is the sum."""
    outputs = parts.node.outputs
    simple = parts.node.op == "SkipSimplifiedLayerNormalization"
    bias = parts.given(3 if simple else 4)
    total = parts.given(0)
    if bias:
        total = parts.add("Add", total, bias)
    named = outputs[3] if len(outputs) > 3 else None
    total = parts.add("Add", total, parts.given(1), out=named)
    scales = [parts.given(2)] + ([] if simple or not parts.given(3) else [parts.given(3)])
    parts.add("RMSNormalization" if simple else "LayerNormalization", total, *scales, out=outputs[0])


def _bias_gelu(parts: Replacement) -> None:
    x = parts.given(0)
    if parts.given(1):
        x = parts.add("Add", x, parts.given(1))
    approximate = "tanh" if parts.node.op == "FastGelu" else "none"
    parts.add("Gelu", x, out=parts.node.output, approximate=approximate)


def _embed_norm(parts: Replacement) -> None:
    """EmbedLayerNormalization: words + positions (+ segments), norm."""
    batch, rows = parts.shape(0)
    total = parts.add("Gather", parts.given(2), parts.given(0))
    places = parts.given(8) or parts.numbers(np.tile(np.arange(rows), (batch, 1)))
    total = parts.add("Add", total, parts.add("Gather", parts.given(3), places))
    if parts.given(1) and parts.given(4):
        total = parts.add("Add", total, parts.add("Gather", parts.given(4), parts.given(1)))
    parts.add("LayerNormalization", total, parts.given(5), parts.given(6), out=parts.node.output)
    if len(parts.node.outputs) > 1:
        parts.resolver.enter(Value(parts.node.outputs[1], (batch,), 6, Level.GIVEN))


def _packed_attention(parts: Replacement) -> None:
    """Microsoft's Attention: one product for Q, K and V."""
    heads = int(parts.node.attrs["num_heads"])
    batch, rows, _ = parts.shape(0)
    product = parts.add("MatMul", parts.given(0), parts.given(1))
    if parts.given(2):
        product = parts.add("Add", product, parts.given(2))
    cols = parts.shape(1)[1] // 3
    pieces = []
    for index in range(3):
        bounds = [parts.numbers(np.array([n], np.int64)) for n in (index * cols, (index + 1) * cols, 2)]
        pieces.append(parts.heads(parts.add("Slice", product, *bounds), (batch, rows, cols), heads))
    quantised = parts.node.op == "QAttention"
    biases = [_mask(parts, 5)] if quantised else [_mask(parts, 3), parts.given(5)]
    _attend(parts, pieces, [name for name in biases if name])


def _mask(parts: Replacement, place: int) -> str:
    """Return Microsoft's mask [batch, keys] as one that is added to scores; '' if there is none of that form."""
    name = parts.given(place)
    if not name or len(shape := parts.shape(place)) != 2:
        return ""
    return parts.add("Cast", parts.reshape(name, shape[0], 1, 1, shape[1]), to=1)


def _attend(parts: Replacement, qkv: list[str], biases: list[str], joined: bool = True) -> None:
    bias = biases[0] if biases else ""
    for other in biases[1:]:
        bias = parts.add("Add", bias, other)
    out = parts.node.output
    context = parts.add(ATTENTION, *qkv, *([bias] if bias else []), out=None if joined else out)
    if joined:
        parts.joined(context, out)


def _attention(parts: Replacement) -> None:
    """The standard's Attention: operands [batch, heads, rows, size] or [batch, rows, columns].

    A cache is joined before K and V.
    """
    attrs = parts.node.attrs
    shapes = [parts.shape(place) for place in range(3)]
    flat = len(shapes[0]) == 3
    if flat and min(int(attrs.get(key, 0)) for key in ("q_num_heads", "kv_num_heads")) < 1:
        raise ValueError("operands with three axes need q_num_heads and kv_num_heads of at least 1")
    heads = [int(attrs.get("q_num_heads", 0))] + 2 * [int(attrs.get("kv_num_heads", 0))]
    q, k, v = (parts.heads(parts.given(place), shapes[place], heads[place]) for place in range(3))
    for number, (place, here) in enumerate(((4, k), (5, v))):
        if parts.given(place):
            out = parts.node.outputs[1 + number] if len(parts.node.outputs) > 1 + number else None
            grown = parts.add("Concat", parts.given(place), here, axis=2, out=out)
            k, v = (grown, v) if number == 0 else (k, grown)
    biases = [parts.given(3)] if parts.given(3) and not _hides_nothing(parts, 3) else []
    if attrs.get("is_causal"):
        past = parts.shape(4)[2] if parts.given(4) else 0
        rows, keys = shapes[0][-2], shapes[1][-2] + past
        biases.append(_causal(parts, rows, keys))
    _attend(parts, [q, k, v], biases, joined=flat)


def _hides_nothing(parts: Replacement, place: int) -> bool:
    """Return whether a mask is known to leave all scores unchanged: all true, or all 0."""
    data = parts.resolver.net.values[parts.given(place)].data
    return data is not None and bool(data.all() if data.dtype == bool else not data.any())


def _causal(parts: Replacement, rows: int, keys: int) -> str:
    """Return a given mask [queries, keys]; its values do not affect the time."""
    name = parts.resolver.name("causal_mask")
    parts.resolver.enter(Value(name, (rows, keys), 1, Level.GIVEN))
    return name


def _multi_head(parts: Replacement) -> None:
    """Microsoft's MultiHeadAttention and GroupQueryAttention without packed operands."""
    node = parts.node
    grouped = node.op == "GroupQueryAttention"
    heads = int(node.attrs["num_heads"])
    groups = int(node.attrs.get("kv_num_heads", heads))
    if not parts.given(1) or not parts.given(2):
        raise ValueError("packed Q, K and V are not supported")
    qkv, outs = [], node.outputs[1:]
    for place, count in ((0, heads), (1, groups), (2, groups)):
        x, shape = parts.given(place), parts.shape(place)
        if not grouped and parts.given(3):
            cols = shape[-1]
            bounds = [parts.numbers(np.array([n], np.int64)) for n in (place * cols, (place + 1) * cols, 0)]
            x = parts.add("Add", x, parts.add("Slice", parts.given(3), *bounds))
        x = parts.heads(x, shape, count)
        if grouped and node.attrs.get("do_rotary") and place < 2:
            x = parts.add(ROPE, x, interleaved=int(node.attrs.get("rotary_interleaved", 0)), rotated=0)
        past = parts.given((3 if grouped else 6) + place - 1) if place else ""
        if past and parts.shape(node.inputs.index(past))[2]:
            x = parts.add("Concat", past, x, axis=2, out=outs[place - 1] if len(outs) >= place else None)
        qkv.append(x)
    biases = []
    if grouped:
        rows = parts.shape(0)[1]
        before = parts.shape(3)[2] if parts.given(3) else 0
        biases = [_causal(parts, rows, rows + before)] if rows > 1 else []
    else:
        biases = [name for name in (_mask(parts, 4), parts.given(5)) if name]
    _attend(parts, qkv, biases)


def _rotary(parts: Replacement) -> None:
    """RotaryEmbedding of the standard or of Microsoft: of [batch, heads, rows, size] or [batch, rows, columns]."""
    attrs, shape = parts.node.attrs, parts.shape(0)
    rotated = int(attrs.get("rotary_embedding_dim", 0))
    interleaved = int(attrs.get("interleaved", 0))
    heads = int(attrs.get("num_heads", 0))
    x = parts.given(0)
    if len(shape) == 3:
        if not heads:
            table = parts.shape(1 if parts.node.domain == "" else 2)
            heads = shape[2] // (rotated or 2 * table[-1])
        x = parts.heads(x, shape, heads)
        turned = parts.add(ROPE, x, interleaved=interleaved, rotated=rotated)
        parts.joined(turned, parts.node.output)
    else:
        parts.add(ROPE, x, interleaved=interleaved, rotated=rotated, out=parts.node.output)


RULES: dict[str, Rule] = {
    "QuantizeLinear": _identity,
    "DequantizeLinear": _float,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "Dropout": _identity,
    "Pad": _pad,
    "MatMulInteger": _of("MatMul", 0, 1, sums=True),
    "ConvInteger": _of("Conv", 0, 1, sums=True),
    "QLinearMatMul": _of("MatMul", 0, 3),
    "QLinearConv": _of("Conv", 0, 3, 8),
    "Attention": _attention,
    "RotaryEmbedding": _rotary,
    **standard.RULES,
}
"""Operators of the standard."""

MICROSOFT: dict[str, Rule] = {
    "MatMulIntegerToFloat": _product_float,
    "DynamicQuantizeMatMul": _product_float,
    "MatMulNBits": _n_bits,
    "QGemm": _of("Gemm", 0, 3, 6),
    "QLinearAdd": _of("Add", 0, 3),
    "QLinearMul": _of("Mul", 0, 3),
    "QLinearSigmoid": _of("Sigmoid", 0),
    "QLinearSoftmax": _of("Softmax", 0),
    "QLinearGlobalAveragePool": _of("GlobalAveragePool", 0),
    "QuantizeLinear": _identity,
    "DequantizeLinear": _float,
    "DynamicQuantizeLSTM": _lstm,
    "FusedMatMul": _fused_matmul,
    "TransposeMatMul": _fused_matmul,
    "SkipLayerNormalization": _skip_norm,
    "SkipSimplifiedLayerNormalization": _skip_norm,
    "SimplifiedLayerNormalization": _of("RMSNormalization", 0, 1),
    "BiasGelu": _bias_gelu,
    "FastGelu": _bias_gelu,
    "Gelu": _bias_gelu,
    "QuickGelu": _of("Swish", 0),
    "EmbedLayerNormalization": _embed_norm,
    "Attention": _packed_attention,
    "QAttention": _packed_attention,
    "MultiHeadAttention": _multi_head,
    "GroupQueryAttention": _multi_head,
    "RotaryEmbedding": _rotary,
}
"""Operators of com.microsoft."""


def expanded(node: Node, resolver: ShapeResolver) -> list[Node] | None:
    """Return the simpler nodes that replace one; None if it is not such an operator."""
    if node.op in ("Mul", "Div") and node.domain == "" and _is_scale_of_sums(node, resolver):
        return [Node("Identity", [_sums(node, resolver)], node.outputs, name=node.name)]
    rules = RULES if node.domain == "" else MICROSOFT if node.domain == "com.microsoft" else {}
    if node.op == "SimplifiedLayerNormalization":  # exported without its domain by some versions
        rules = MICROSOFT
    if node.op not in rules:
        biased = node.op == "Add" and node.domain == "" and _is_scale_of_sums(node, resolver)
        if biased or (node.op == "Cast" and node.inputs and node.inputs[0] in resolver.net.integer_sums):
            resolver.net.integer_sums.add(node.output)
        return None
    parts = Replacement(node, resolver)
    rules[node.op](parts)
    return parts.nodes or None


def _sums(node: Node, resolver: ShapeResolver) -> str:
    return next((name for name in node.inputs if name in resolver.net.integer_sums), "")


def _is_scale_of_sums(node: Node, resolver: ShapeResolver) -> bool:
    """Return whether a product (or a sum) of integer sums has a constant second operand: their scale (or bias)."""
    sums = _sums(node, resolver)
    others = [resolver.net.values[name] for name in node.inputs if name != sums]
    return bool(sums) and len(others) == 1 and others[0].level <= Level.GIVEN
