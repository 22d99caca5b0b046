"""Batch norms, gains and shifts of channels behind a product: folded into its weights and its bias."""

from __future__ import annotations

from dataclasses import replace

from workloads.onnx.net import Level, Net, Node

FOLDED = {"Conv": 1, "ConvTranspose": 1, "BatchNormalization": 1, "MatMul": -1, "Gemm": -1}
"""Operator with weights -> axis of its channels."""


def fold(net: Net) -> None:
    """Fold what follows products into them; a shift gives a product without a bias one."""
    for node in list(net.nodes):
        if net.makers.get(node.output) is not node:
            continue
        if node.op == "BatchNormalization" and not node.attrs.get("training_mode"):
            maker = _product(net, node.inputs[0], _channel_axis(net, node))
            if maker is not None:
                _fold(net, node, node.inputs[0], maker, node.inputs[2])
        elif node.op in ("Mul", "Add"):
            for source, row in (node.inputs, node.inputs[::-1]):
                maker = net.makers.get(source)
                images = maker is not None and FOLDED.get(maker.op) == 1
                if images and _is_row(net, row, source) and _product(net, source, 1) is maker is not None:
                    _fold(net, node, source, maker, row if node.op == "Add" else "")
                    break
    net.nodes = [node for node in net.nodes if net.makers.get(node.output) is node]


def _channel_axis(net: Net, node: Node) -> int:
    """Return the axis of a batch norm's channels, counted from the end for rows."""
    return -1 if len(net.values[node.inputs[0]].shape or ()) == 2 else 1


def _product(net: Net, name: str, axis: int) -> Node | None:
    """Return the product with weights that makes a value and has no other reader; rows may be reshaped between."""
    width = (net.values[name].shape or (0,))[-1]
    while net.sole_reader(name) is not None and (maker := net.makers.get(name)) is not None:
        if maker.op in FOLDED:
            weights = net.values[maker.inputs[1]]
            return maker if FOLDED[maker.op] == axis and weights.level is Level.CONSTANT else None
        reshaped = maker.op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
        if axis != -1 or not reshaped or (net.values[maker.inputs[0]].shape or (0,))[-1] != width:
            return None
        name = maker.inputs[0]
    return None


def _is_row(net: Net, name: str, source: str) -> bool:
    """Return whether a value holds a constant for each channel of an image."""
    value, shape = net.values[name], net.values[source].shape or ()
    own = (1,) * (len(shape) - len(value.shape or ())) + tuple(value.shape or ())
    return value.level is Level.CONSTANT and own == (1, shape[1], *(1 for _ in shape[2:])) and shape[1] > 1


def _fold(net: Net, node: Node, source: str, maker: Node, shift: str) -> None:
    """Remove a node behind a product, whose bias becomes ``shift`` if it had none."""
    if shift and (len(maker.inputs) < 3 or not maker.inputs[2]):
        bias = net.values[shift]
        flat = f"{shift}.bias"
        net.values[flat] = replace(bias, name=flat, shape=(bias.elements,), data=None)
        net.weights.add(flat)
        net.put(maker, Node(maker.op, [*maker.inputs[:2], flat], maker.outputs, maker.attrs, maker.name))
    net.alias(node.output, source)
    net.remove(node)
