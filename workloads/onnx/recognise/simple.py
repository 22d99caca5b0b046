"""Forms recognised without samples.

Operators without effect, masks by selection, gains of norms, biases of products.
"""

from __future__ import annotations

from workloads.onnx.net import Level, Net, Node, Value

NOTHING = ("Identity", "Cast", "CastLike", "Dropout")
SHAPED = ("Reshape", "Expand", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Slice")
NORMS = {"LayerNormalization": 2, "RMSNormalization": 1}
"""Norm -> its weights: gain, shift."""


def drop(net: Net) -> None:
    """Bypass operators without effect: identities, changes of type, products with a
    number."""
    for old in list(net.nodes):
        node = _without_empty(net, old)
        source = _unchanged(net, node)
        if source is not None:
            net.alias(node.output, source)
            net.remove(node)
        elif node.op == "Where":
            _as_sum(net, node)
    net.nodes = [node for node in net.nodes if net.makers.get(node.output) is node]


def _without_empty(net: Net, node: Node) -> Node:
    """Return a Concat without its operands of no elements; any other node as it is."""
    kept = [name for name in node.inputs if net.values[name].elements] if node.op == "Concat" else node.inputs
    if len(kept) == len(node.inputs):
        return node
    joined = Node("Concat", kept, node.outputs, node.attrs, node.name)
    net.put(node, joined)
    return joined


def _unchanged(net: Net, node: Node) -> str | None:
    """Return the operand that a node passes on unchanged; None if the node has an effect."""
    if node.domain or (len(node.outputs) != 1 and node.op != "Dropout"):
        return None
    if node.op in NOTHING or (node.op == "Concat" and len(node.inputs) == 1):
        return node.inputs[0]
    if node.op == "Add":
        a, b = (net.values[name] for name in node.inputs)
        shape = net.values[node.output].shape
        for zeros, other in ((b, a), (a, b)):
            if other.shape == shape and _is_no_mask(net, zeros):
                return other.name
    if node.op in ("Mul", "Div"):
        a, b = (net.values[name] for name in node.inputs)
        for number, other in ((b, a), (a, b)):
            if _only_scales(net, node, number, other) and (node.op == "Mul" or number is b):
                return other.name
    if node.op in SHAPED and node.op not in ("Transpose", "Slice"):
        source = net.values[node.inputs[0]]
        return source.name if source.shape == net.values[node.output].shape else None
    return None


def _is_no_mask(net: Net, value: Value) -> bool:
    """Return whether a value is a computed constant of zeros; weights of value 0 remain weights."""
    return value.data is not None and value.name not in net.weights and not value.data.any()


def _only_scales(net: Net, node: Node, number: Value, other: Value) -> bool:
    """Return whether a factor only scales. Known numbers beside computed values are part of chains (`functions`)."""
    unknown = number.data is None or other.level is Level.LOOKED_UP
    single = number.is_single and number.level <= Level.GIVEN < other.level
    return single and unknown and net.values[node.output].shape == other.shape


def _as_sum(net: Net, node: Node) -> None:
    """Replace a selection by a given mask, between computed scores and a number, by the sum with a mask."""
    condition, yes, no = (net.values[name] for name in node.inputs)
    if condition.level > Level.GIVEN:
        return
    for scores, number in ((yes, no), (no, yes)):
        if (
            scores.level is Level.COMPUTED
            and number.is_single
            and number.level <= Level.GIVEN
            and scores.shape == net.values[node.output].shape
        ):
            mask = Value(f"{condition.name}.mask", condition.shape, 1, Level.GIVEN)
            net.values[mask.name] = mask
            net.put(node, Node("Add", [scores.name, mask.name], node.outputs, {}, node.name))
            return


def weighted_sums(net: Net) -> None:
    """Replace the sum over rows times given numbers (pooling with a mask) by a product of a row with a matrix."""
    for node in list(net.nodes):
        maker = net.makers.get(node.inputs[0]) if node.op == "ReduceSum" else None
        shape = net.values[node.inputs[0]].shape or () if node.inputs else ()
        if maker is None or maker.op != "Mul" or len(shape) < 2 or net.sole_reader(maker.output) is not node:
            continue
        data = net.values[node.inputs[1]].data if len(node.inputs) > 1 and node.inputs[1] else None
        axes = node.attrs.get("axes") or ([] if data is None else data.reshape(-1).tolist())
        narrow = {name: _narrow(net, name, len(shape)) for name in maker.inputs}
        rows = [name for name in maker.inputs if narrow[name] is not None and net.values[name].level <= Level.GIVEN]
        others = [
            name
            for name in maker.inputs
            if net.values[name].level is Level.COMPUTED and net.values[name].shape == shape
        ]
        if [axis % len(shape) for axis in axes] != [len(shape) - 2] or len(rows) != 1 or len(others) != 1:
            continue
        source = narrow[rows[0]] or ""
        outer = (net.values[source].shape or ())[:-2]
        turned, product = f"{node.output}.row", f"{node.output}.product"
        for name, size, level in (
            (turned, (*outer, 1, shape[-2]), Level.GIVEN),
            (product, (*shape[:-2], 1, shape[-1]), Level.COMPUTED),
        ):
            net.values[name] = Value(name, size, 1, level)
        at = net.nodes.index(node)
        net.put(node, Node("Reshape", [product], node.outputs, {}, node.name))
        net.remove(maker)
        order = [*range(len(outer)), len(outer) + 1, len(outer)]
        added = [
            Node("Transpose", [source], [turned], {"perm": order}),
            Node("MatMul", [turned, others[0]], [product], {}, node.name),
        ]
        for each in added:
            net.enter(each)
        net.nodes[at:at] = added
    net.nodes = [node for node in net.nodes if net.makers.get(node.output) is node]


def _narrow(net: Net, name: str, rank: int) -> str | None:
    """Return the value of one column that a given value repeats in all columns, or None."""
    while True:
        shape = net.values[name].shape or ()
        if len(shape) == rank and shape[-1] == 1:
            return name
        maker = net.makers.get(name)
        if maker is None or maker.op not in ("Cast", "Identity", "Expand"):
            return None
        name = maker.inputs[0]


def gains(net: Net) -> None:
    """Fold the product and the sum with rows of weights after a norm into it."""
    for node in list(net.nodes):
        if node.op not in NORMS or net.makers.get(node.output) is not node:
            continue
        for op, room in (("Mul", 1), ("Add", 2)):
            reader = net.sole_reader(node.output)
            if len(node.inputs) != room or reader is None or reader.op != op or room > NORMS[node.op]:
                break
            others = [name for name in reader.inputs if name != node.output]
            width = (net.values[node.output].shape or (0,))[-1]
            if len(others) != 1 or not _is_row(net.values[others[0]], width):
                break
            merged = Node(node.op, [*node.inputs, others[0]], reader.outputs, node.attrs, node.name)
            net.put(reader, merged)
            net.remove(node)
            node = merged
    net.nodes = [node for node in net.nodes if net.makers.get(node.output) is node]


def _is_row(value: Value, width: int) -> bool:
    """Return whether a value is a row of weights of this width."""
    shape = value.shape or ()
    return value.level is Level.CONSTANT and value.elements == width and shape[-1:] == (width,)


def columns(net: Net) -> None:
    """Fold the product with a row of weights after a product with weights into these weights."""
    for node in list(net.nodes):
        if node.op != "Mul" or net.makers.get(node.output) is not node:
            continue
        shape = net.values[node.output].shape or (0,)
        for made, row in (node.inputs, node.inputs[::-1]):
            maker = net.makers.get(made)
            folds = maker is not None and maker.op in ("MatMul", "Gemm") and net.sole_reader(made) is node
            if folds and maker is not None and _is_row(net.values[row], shape[-1]):
                weighted = all(net.values[name].level <= Level.GIVEN for name in maker.inputs[1:] if name)
                if weighted and net.values[maker.inputs[1]].level is Level.CONSTANT:
                    net.alias(node.output, made)
                    net.remove(node)
                    break
    net.nodes = [node for node in net.nodes if net.makers.get(node.output) is node]


def biases(net: Net) -> None:
    """Fold the sum with a row of weights or with a given value after a product into it."""
    for node in list(net.nodes):
        if (
            node.op not in ("MatMul", "Conv", "ConvTranspose")
            or len(node.inputs) != 2
            or net.makers.get(node.output) is not node
        ):
            continue
        reader = net.sole_reader(node.output)
        if reader is None or reader.op != "Add":
            continue
        others = [net.values[name] for name in reader.inputs if name != node.output]
        shape = net.values[reader.output].shape
        if len(others) != 1 or shape != net.values[node.output].shape or not _is_bias(node, others[0], shape or ()):
            continue
        net.put(reader, Node(node.op, [*node.inputs, others[0].name], reader.outputs, node.attrs, node.name))
        net.remove(node)
    net.nodes = [node for node in net.nodes if net.makers.get(node.output) is node]


def _is_bias(node: Node, value: Value, shape: tuple[int, ...]) -> bool:
    if node.op != "MatMul":
        return (
            value.level is Level.CONSTANT
            and value.elements == shape[1]
            and (value.shape or ())[-len(shape) + 1 :][:1] == (shape[1],)
        )
    both = all(name for name in node.inputs)
    return both and (_is_row(value, shape[-1]) or (value.level is Level.GIVEN and len(shape) > 2))


def pads(net: Net) -> None:
    """Fold zeros around an image into the convolution that is their only reader."""
    for node in [node for node in net.nodes if node.op == "Pad"]:
        reader, given = net.sole_reader(node.output), _zeros_around(net, node)
        if reader is None or reader.op != "Conv" or reader.inputs[0] != node.output or given is None:
            continue
        if reader.attrs.get("auto_pad", b"NOTSET") not in (b"NOTSET", "NOTSET", b"", ""):
            continue
        own = list(reader.attrs.get("pads") or [0] * len(given))
        attrs = {**reader.attrs, "pads": [one + two for one, two in zip(own, given, strict=True)]}
        net.put(reader, Node("Conv", [node.inputs[0], *reader.inputs[1:]], reader.outputs, attrs, reader.name))
        net.remove(node)
    net.nodes = [node for node in net.nodes if net.makers.get(node.output) is node]


def _zeros_around(net: Net, node: Node) -> list[int] | None:
    """Return the zeros that a Pad adds before and after each axis of an image; None for other pads."""
    given = net.values[node.inputs[1]].data if len(node.inputs) > 1 and node.inputs[1] else node.attrs.get("pads")
    filled = net.values[node.inputs[2]].number if len(node.inputs) > 2 and node.inputs[2] else 0.0
    rank = len(net.values[node.inputs[0]].shape or ())
    if given is None or filled != 0 or node.attrs.get("mode", b"constant") not in (b"constant", "constant"):
        return None
    sides = [int(count) for count in given]
    if len(sides) != 2 * rank or rank < 3 or min(sides) < 0 or any(sides[axis] for axis in (0, 1, rank, rank + 1)):
        return None
    return [*sides[2:rank], *sides[rank + 2 :]]
