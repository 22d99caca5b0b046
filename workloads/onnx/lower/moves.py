"""Operators that move elements: views if strides can express them, else copies; look-ups in tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.base.errors import InputError
from sim.graph import View
from workloads.onnx.levels import is_look_up
from workloads.onnx.lower.foreign import foreign
from workloads.onnx.lower.places import order_like, order_of
from workloads.onnx.net import Level, Node
from workloads.onnx.recognise.rotary import slices
from workloads.onnx.strided import Strided

if TYPE_CHECKING:
    from workloads.onnx.lower.lowering import NodeLowering


def view(at: NodeLowering, node: Node) -> None:
    """Reshape and similar operators, Transpose, Expand: a view of the operand, or a copy of it."""
    source = at.array(node.inputs[0])
    if node.output in at.arrays:  # the operand was stored in the place of this result
        return
    shape = at.net.values[node.output].shape or ()
    if node.op == "Transpose":
        at.arrays[node.output] = source.transposed(order_of(node, len(shape)))
    elif node.op == "Expand":
        at.arrays[node.output] = source.spread(shape)
    elif node.op in ("Identity", "Cast", "CastLike"):
        at.arrays[node.output] = source
    else:
        found = source.reshaped(shape)
        if found is None:
            found = at.copied(node, source).reshaped(shape)
        assert found is not None
        at.arrays[node.output] = found


def cut(at: NodeLowering, node: Node) -> None:
    """Slice: a window; reversed elements, or rows cut by a joined axis, are moved by the host."""
    source = at.array(node.inputs[0])
    given = [at.number(name) for name in node.inputs[1:]]
    lists = [None if data is None else data.reshape(-1).tolist() for data in given]
    if any(name and data is None for name, data in zip(node.inputs[1:], given, strict=True)):
        foreign(at, node)
        return
    for axis, taken in enumerate(slices(node, lists, len(source.axes))):
        numbers = range(*taken.indices(source.shape[axis]))
        if len(numbers) != source.shape[axis] or numbers.step != 1:
            found = source.sliced(axis, numbers[0], len(numbers), numbers.step)
            if found is None:
                foreign(at, node)
                return
            source = found
    at.arrays[node.output] = source


def split(at: NodeLowering, node: Node) -> None:
    """Split: a window for each part."""
    source = at.array(node.inputs[0])
    axis, start = int(node.attrs.get("axis", 0)) % len(source.axes), 0
    for name in node.outputs:
        size = (at.net.values[name].shape or ())[axis]
        part = source.sliced(axis, start, size)
        if part is None:
            part = at.copied(node, source).sliced(axis, start, size)
        assert part is not None
        at.arrays[name] = part
        start += size


def concat(at: NodeLowering, node: Node) -> None:
    """Concat: parts that were not stored into the joined tensor by their operator are copied there."""
    if node.output not in at.arrays:
        _joined_as_its_parts(at, node)
    for place, name in enumerate(node.inputs):
        once, level = node.inputs.count(name) == 1, at.net.values[name].level
        made = at.arrays.get(name) if once and level > Level.GIVEN else None
        if once and level is Level.LOOKED_UP:  # looked up at its first use, which may be here: into its part
            at.part_of(node, name)
            made = at.array(name)
        target = at.part_of(node, name) if node.inputs.count(name) == 1 else _part(at, node, place)
        assert target is not None
        is_cache = place == 0 and at.tensors[target.tensor].kind == "state"
        if is_cache or (made is not None and (made.tensor, made.offset) == (target.tensor, target.offset)):
            continue
        suffix = f"{node.name}.{place}" if len(node.inputs) > 1 else node.name
        at.copied(node, at.array(name).spread(target.shape), target, suffix)


def _joined_as_its_parts(at: NodeLowering, node: Node) -> None:
    """Store a joined tensor in the order of the axes of its largest part that is already stored."""
    made = [name for name in node.inputs if name in at.arrays and at.net.values[name].level is Level.COMPUTED]
    if made:
        largest = max(made, key=lambda name: at.net.values[name].elements)
        shape = at.net.values[largest].shape or ()
        at.part_of(node, largest, order_like(at.arrays[largest], shape))


def _part(at: NodeLowering, node: Node, place: int) -> Strided | None:
    """Return the part of a joined tensor at a place; one value may be at several."""
    at.part_of(node, node.inputs[place])
    axis = int(node.attrs["axis"]) % len(at.arrays[node.output].axes)
    sizes = [(at.net.values[name].shape or ())[axis] for name in node.inputs]
    return at.arrays[node.output].sliced(axis, sum(sizes[:place]), sizes[place])


def gather(at: NodeLowering, node: Node) -> None:
    """Gather: rows of a table at ids, a window for neighbouring places, otherwise the host."""
    values = [at.net.values[name] for name in node.inputs[:2]]
    if is_look_up(values) and node.attrs.get("axis", 0) == 0:
        _look_up(at, node)
        return
    source, data = at.array(node.inputs[0]), values[1].data
    axis = int(node.attrs.get("axis", 0)) % len(source.axes)
    length = source.shape[axis]
    if data is not None and (outside := [int(n) for n in data.reshape(-1) if not -length <= n < length]):
        raise InputError(f"operator {node.name!r} (Gather): place {outside[0]} of {length} along axis {axis}")
    if data is not None:
        places = [int(place) % source.shape[axis] for place in data.reshape(-1)]
        step = places[1] - places[0] if len(places) > 1 else 1
        run = all(place == places[0] + step * number for number, place in enumerate(places))
        found = source.sliced(axis, places[0], len(places), step) if run and step > 0 else None
        if found is not None:
            shape = at.net.values[node.output].shape or ()
            inner = found.reshaped(shape)
            if inner is not None:
                at.arrays[node.output] = inner
                return
    foreign(at, node)


def _look_up(at: NodeLowering, node: Node) -> None:
    """An embedding: a row of a table for each id."""
    table = at.array(node.inputs[0])
    ids = at.net.values[node.inputs[1]]
    target = at.result(node)
    count = ids.elements
    at.arrays[f"{node.inputs[1]}.ids"] = given = at.arrays.get(f"{node.inputs[1]}.ids") or Strided.dense(
        at.tensor(ids.name.lstrip("/"), (1, count), "input", "int32").name, (1, count)
    )
    cols = table.shape[-1]
    out = target.reshaped((count, cols))
    if (
        out is None
        or not out.row_stride_one()
        or not table.row_stride_one()
        or at.tensors[table.tensor].shape[-1] != cols
    ):
        foreign(at, node)
        return
    rows = at.tensors[table.tensor].shape[0]
    row = out.axes[0][0][1] if out.axes[0] else cols
    windows = (
        View(given.tensor, 1, 1, count, count, count),
        View(table.tensor, 1, rows, cols, cols, rows * cols),
        View(out.tensor, 1, count, cols, row, count * row, out.offset),
    )
    at.apply("embedding", node, [windows])


def tile(at: NodeLowering, node: Node) -> None:
    """Tile: repeated axes of one element are a view; others are copied."""
    source, shape = at.array(node.inputs[0]), at.net.values[node.output].shape or ()
    if all(size == 1 or size == wanted for size, wanted in zip(source.shape, shape, strict=True)):
        at.arrays[node.output] = source.spread(shape)
    else:
        foreign(at, node)


RULES: dict[str, Callable[[NodeLowering, Node], None]] = {
    **dict.fromkeys(
        ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand", "Identity", "Cast", "CastLike"), view
    ),
    "Slice": cut,
    "Split": split,
    "Concat": concat,
    "Gather": gather,
    "Tile": tile,
}
