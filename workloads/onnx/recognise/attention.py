"""Attention by its form: a product of two computed operands, a sum with a mask or bias, softmax, a product with V."""

from __future__ import annotations

from workloads.onnx.expand import ATTENTION
from workloads.onnx.levels import FEW
from workloads.onnx.net import Level, Net, Node, Value


def recognise(net: Net) -> None:
    """Replace each attention by one node."""
    for softmax in [node for node in net.nodes if node.op == "Softmax"]:
        shape = net.values[softmax.output].shape or ()
        if softmax.attrs.get("axis", -1) not in (-1, len(shape) - 1) or len(shape) not in (3, 4):
            continue
        behind, (scores, bias) = net.sole_reader(softmax.output), _scores(net, softmax.inputs[0])
        if behind is None or behind.op != "MatMul" or behind.inputs[0] != softmax.output or scores is None:
            continue
        q, k = scores.inputs
        inner = (net.values[q].shape or ()), (net.values[k].shape or ()), (net.values[behind.inputs[1]].shape or ())
        if any(len(one) != len(shape) for one in inner):
            continue
        turned = f"{k}.turned"
        value = net.values[k]
        size = value.shape or ()
        net.values[turned] = type(value)(turned, (*size[:-2], size[-1], size[-2]), value.dtype, value.level)
        rank = len(shape)
        turn = Node("Transpose", [k], [turned], {"perm": [*range(rank - 2), rank - 1, rank - 2]}, scores.name)
        inputs = [q, turned, behind.inputs[1], *([bias] if bias else [])]
        whole = Node(ATTENTION, inputs, behind.outputs, {}, behind.name.removesuffix("_1"))
        whole.attrs["parts"] = (scores.name, softmax.name, behind.name)
        net.put(behind, whole)
        net.nodes.insert(net.nodes.index(whole), turn)
        net.enter(turn)


def _scores(net: Net, name: str) -> tuple[Node | None, str]:
    """Return the product of the scores, and the mask or bias that is added, '' for none."""
    node, bias = net.makers.get(name), ""
    if node is not None and node.op == "Add" and net.sole_reader(name) is not None:
        sides = node.inputs
        given = [side for side in sides if net.values[side].level < Level.COMPUTED]
        made = [side for side in sides if net.values[side].level is Level.COMPUTED]
        if len(given) != 1 or len(made) != 1:
            return None, ""
        name, bias = made[0], "" if _hides_nothing(net.values[given[0]]) else given[0]
        node = net.makers.get(name)
    if node is None or node.op != "MatMul" or len(node.inputs) != 2 or net.sole_reader(name) is None:
        return None, ""
    computed = all(net.values[side].level is Level.COMPUTED for side in node.inputs)
    return (node, bias) if computed else (None, "")


def _hides_nothing(value: Value) -> bool:
    """Return whether the addend of scores is an initializer of zeros, a mask computed by the exporter."""
    if value.level is not Level.CONSTANT or value.elements > FEW:
        return False
    data = value.data if value.data is not None else value.load() if value.load is not None else None
    return data is not None and not data.any()
