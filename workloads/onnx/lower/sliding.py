"""Convolutions and poolings of images [batch, channels, rows, columns], stored pixel by pixel on the machine.

A series [batch, channels, frames] whose channels are in groups is an image of one row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError
from sim.graph import View
from sim.graph.windows import positions
from workloads.onnx.lower.foreign import foreign
from workloads.onnx.lower.products import add_product
from workloads.onnx.lower.windows import MAX_STEPS
from workloads.onnx.net import Node
from workloads.onnx.strided import Strided

if TYPE_CHECKING:
    from workloads.onnx.lower.lowering import NodeLowering


def _window(node: Node, kernel: list[int], shape: tuple[int, ...], out: tuple[int, ...]) -> dict[str, Any]:
    """Return the attributes of a window. Raises InputError for one that no kind supports.

    ``shape``, ``out``: of the image and of the result. Zeros after an image that no window reaches are left out.
    """
    strides, dilations = _axes(node, "strides", 1), _axes(node, "dilations", 1)
    dilations = [max(dilations) if size == 1 else one for one, size in zip(dilations, kernel, strict=True)]
    dilations = [min(dilations)] * 2 if 1 in kernel else dilations  # of one tap: any
    if len({*dilations}) > 1:
        raise InputError(
            f"operator {node.name!r} ({node.op}): dilations {dilations}: dilation along rows and columns must be equal"
        )
    wide = [1 + dilations[0] * (size - 1) for size in kernel]
    before = _before(node, wide, strides, shape)
    needed = [(out[2 + axis] - 1) * strides[axis] + wide[axis] for axis in (0, 1)]
    behind = [max(0, needed[axis] - shape[2 + axis] - before[axis]) for axis in (0, 1)]
    window: dict[str, Any] = {"kernel": kernel[1], "stride": strides[1], "padding": before[1]}
    others = {
        "kernel_rows": kernel[0],
        "padding_rows": before[0],
        "stride_rows": strides[0],
        "padding_end": _end(shape[3], out[3], wide[1], strides[1], before[1], behind[1]),
        "padding_rows_end": _end(shape[2], out[2], wide[0], strides[0], before[0], behind[0]),
    }
    window |= {
        key: value for key, value in others.items() if value not in (None, window.get(key.removesuffix("_rows")))
    }
    return window | ({"dilation": dilations[0]} if dilations[0] > 1 else {})


def _before(node: Node, wide: list[int], strides: list[int], shape: tuple[int, ...]) -> list[int]:
    """Return the rows and columns of zeros before an image."""
    auto = _text(node, "auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        return _pads(node)[:2]
    if auto == "VALID":
        return [0, 0]
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise InputError(f"operator {node.name!r} ({node.op}): auto_pad is {auto!r}, can be NOTSET, SAME_*, VALID")
    whole = [max(0, (-(-shape[2 + axis] // strides[axis]) - 1) * strides[axis] + wide[axis] - shape[2 + axis])
             for axis in (0, 1)]  # fmt: skip
    return [(total + (auto == "SAME_LOWER")) // 2 for total in whole]


def _axes(node: Node, key: str, default: int) -> list[int]:
    return list(node.attrs.get(key) or [default] * 2)


def _pads(node: Node) -> list[int]:
    return list(node.attrs.get("pads") or [0] * 4)


def _end(size: int, results: int, wide: int, stride: int, before: int, behind: int) -> int | None:
    """Return the zeros after an image, None if the number before it gives the same number of results."""
    return None if positions(size, wide, stride, before) == results else behind


def conv(at: NodeLowering, node: Node) -> None:
    """A convolution; one of non-overlapping windows on an input, or along one axis, becomes the equal product."""
    shape, weights, out = (at.net.values[name].shape or () for name in (*node.inputs[:2], node.output))
    kernel, groups = list(weights[2:]), int(node.attrs.get("group", 1))
    one_axis = len(shape) == 3 or (len(shape) == 4 and shape[3] == kernel[1] == 1 and kernel[0] > 1)
    if one_axis and groups == 1 and _is_run(node):
        series(at, node)
        return
    if len(shape) not in (3, 4):
        raise InputError(f"operator {node.name!r} (Conv): {len(shape)} axes, only images and series are read")
    relu = at.relu_behind(node)
    apart = _axes(node, "strides", 1) == kernel and not any(_pads(node)) and groups == 1
    if apart and node.inputs[0] in at.net.inputs and not relu:
        _patches(at, node, shape, out, kernel)
        return
    window = _window(node, kernel, shape, out) if len(shape) == 4 else _one_row(node, kernel, shape, out)
    sides = dict(zip(("in_rows", "in_cols"), (1, *shape[2:])[-2:], strict=True))
    if _reaches_beyond(window):
        image, sides, window = _surrounded(at, node, shape, sides, window)
    else:
        image = pixels(at, node, node.inputs[0])
    target = at.result(node, channels_last(out), unit=1)
    alone = groups == shape[1] == out[1]
    taps = math.prod(kernel)
    size = (out[1], taps) if alone else (taps * weights[1], out[1])
    weight = at.tensor(at.root(node.inputs[1]).lstrip("/"), size, "weight")
    views = [image, View.whole(weight)]
    if len(node.inputs) > 2:
        bias = at.sums_row(node.inputs[2], (1, out[1]))
        views.append(View(bias.tensor, 1, 1, out[1], 0, 0))
    attrs = {**sides, **window, "activation": "relu" if relu else "none"}
    if not alone:
        attrs["groups"] = groups
    put(at, node, "depthwise_conv" if alone else "conv", views, target, out, attrs)


def _around(window: dict[str, Any]) -> list[int]:
    """Return the zeros above, below, left and right of an image."""
    above, left = window.get("padding_rows", window["padding"]), window["padding"]
    return [above, window.get("padding_rows_end", above), left, window.get("padding_end", left)]


def _reaches_beyond(window: dict[str, Any]) -> bool:
    """Return whether there are more zeros than the library takes: as many as taps, or more (dilated windows)."""
    taps = window.get("kernel_rows", window["kernel"]), window["kernel"]
    around = _around(window)
    return bool(max(around[:2]) >= taps[0] or max(around[2:]) >= taps[1])


def _surrounded(
    at: NodeLowering, node: Node, shape: tuple[int, ...], sides: dict[str, int], window: dict[str, Any]
) -> tuple[View, dict[str, int], dict[str, Any]]:
    """Return an image with zeros around it that are stored before the run, its sides, and the window without zeros."""
    above, below, left, right = _around(window)
    rows, cols = sides["in_rows"], sides["in_cols"]
    held, wide = above + rows + below, left + cols + right
    sizes, name = (shape[0] * held * wide, shape[1]), node.inputs[0]
    if name in at.net.inputs and name not in at.arrays and at.net.sole_reader(name) is node:
        stored = at.tensor(name, sizes, "input")
    else:
        stored = at.tensor(f"{node.output.lstrip('/')}.surrounded", sizes, "state")
        whole = Strided.dense(stored.name, (shape[0], shape[1], held, wide), [0, 2, 3, 1])
        middle = whole.sliced(2, above, rows)
        middle = middle.sliced(3, left, cols) if middle is not None else None
        array = at.array(name)
        assert middle is not None
        at.copied(node, replace(array, axes=(*array.axes[:2], *((), *array.axes[2:])[-2:])), middle)
    kept = {key: value for key, value in window.items() if not key.startswith("padding")}
    return View.whole(stored), {"in_rows": held, "in_cols": wide}, {**kept, "padding": 0}


def _is_run(node: Node) -> bool:
    """Return whether the taps of a window along one axis are neighbours, with zeros given by number."""
    return set(node.attrs.get("dilations") or [1]) == {1} and _text(node, "auto_pad", "NOTSET") in ("NOTSET", "VALID")


def _text(node: Node, key: str, default: str) -> str:
    value = node.attrs.get(key, default)
    return value.decode() if isinstance(value, bytes) else str(value)


def _one_row(node: Node, kernel: list[int], shape: tuple[int, ...], out: tuple[int, ...]) -> dict[str, Any]:
    """Return the attributes of a window along one axis, as that of an image of one row."""
    (before, behind), attrs = list(node.attrs.get("pads") or [0, 0]), dict(node.attrs)
    stride, dilation = (int((node.attrs.get(key) or [1])[0]) for key in ("strides", "dilations"))
    attrs |= {"pads": [0, before, 0, behind], "strides": [1, stride], "dilations": [dilation] * 2}
    as_image = ((*each[:2], 1, *each[2:]) for each in (shape, out))
    return _window(replace(node, attrs=attrs), [1, *kernel], *as_image)


def series(at: NodeLowering, node: Node) -> None:
    """A convolution along one axis: a product whose rows of A are neighbouring frames, windows that overlap.

    Zeros on both ends are stored before the run. Images of one column are also such series.
    """
    relu = at.relu_behind(node)
    batch, channels, frames = (at.net.values[node.inputs[0]].shape or ())[:3]
    out_channels, _, taps = (at.net.values[node.inputs[1]].shape or ())[:3]
    results = (at.net.values[node.output].shape or ())[2]
    stride = int((node.attrs.get("strides") or [1])[0])
    pads = list(node.attrs.get("pads") or [0, 0])
    before, after = pads[0], pads[len(pads) // 2]
    held = before + frames + after
    source = _frames(at, node, batch, channels, frames, before, held)
    shape = at.net.values[node.output].shape or ()
    target = at.result(node, unit=1, like=channels_last(shape))
    weight = at.tensor(at.root(node.inputs[1]).lstrip("/"), (taps * channels, out_channels), "weight")
    c = Strided(target.tensor, target.axes[:3], target.offset).transposed([0, 2, 1])
    rows = ((results, stride * channels),) if results > 1 else ()
    outer = ((batch, held * channels),) if batch > 1 else ()
    taken = Strided(source.tensor, (outer, rows, ((taps * channels, 1),)), source.offset)
    bias = at.sums_row(node.inputs[2], c.shape) if len(node.inputs) > 2 else None
    add_product(
        at,
        node,
        taken,
        Strided.dense(weight.name, (taps * channels, out_channels)),
        c,
        bias,
        "relu" if relu else "none",
    )


def _frames(at: NodeLowering, node: Node, batch: int, channels: int, frames: int, before: int, held: int) -> Strided:
    """Return the frames [sequences, held, channels] that a convolution along one axis reads, zeros around them."""
    name = node.inputs[0]
    if name in at.net.inputs and name not in at.arrays:
        given = at.tensor(name, (batch, held, channels), "input")
        return Strided.dense(given.name, (batch, held, channels))
    array = at.array(name)
    array = Strided(array.tensor, array.axes[:3], array.offset).transposed([0, 2, 1])
    if held == frames and array == Strided.dense(array.tensor, array.shape, [0, 1, 2]):
        return array
    padded = at.tensor(f"{node.output.lstrip('/')}.frames", (batch, held, channels), "state")
    whole = Strided.dense(padded.name, (batch, held, channels))
    middle = whole.sliced(1, before, frames)
    assert middle is not None
    at.copied(node, array, middle)
    return whole


def channels_last(shape: tuple[int, ...]) -> Strided:
    """Return a pattern of an image's axes in memory: pixels outside, channels inside."""
    return Strided.dense("", shape, [0, *range(2, len(shape)), 1])


def pixels(at: NodeLowering, node: Node, name: str) -> View:
    """Return an image as rows of pixels, copied if it is not stored so."""
    array = at.array(name)
    shape = array.shape
    order = [0, *range(2, len(shape)), 1]
    rows = (shape[0] * math.prod(shape[2:]), shape[1])
    flat = array.transposed(order).reshaped(rows)
    if flat is None or not flat.row_stride_one() or len(flat.axes[0]) > 1:
        turned = at.own(f"{node.output}.pixels", shape, channels_last(shape))
        flat = at.copied(node, array, turned).transposed(order).reshaped(rows)
    assert flat is not None
    row = flat.axes[0][0][1] if flat.axes[0] else shape[1]
    return View(flat.tensor, 1, flat.shape[0], shape[1], row, flat.shape[0] * row, flat.offset)


def put(
    at: NodeLowering,
    node: Node,
    kind: str,
    views: list[View],
    target: Strided,
    out: tuple[int, ...],
    attrs: dict[str, Any],
) -> None:
    """Add an operator whose result is pixels as rows; it is copied if its place has another layout."""
    rows = rows_of(target, out)
    if rows is not None:
        at.apply(kind, node, [(*views, rows)], **attrs)
        return
    own = at.own(f"{node.output.lstrip('/')}.pixels", out, channels_last(out))
    made = rows_of(own, out)
    assert made is not None
    at.apply(kind, node, [(*views, made)], **attrs)
    at.copied(node, own, target)


def rows_of(target: Strided, shape: tuple[int, ...]) -> View | None:
    """Return the pixels of a result as rows, None if they have no common stride."""
    count = shape[0] * math.prod(shape[2:])
    flat = target.transposed([0, *range(2, len(shape)), 1]).reshaped((count, shape[1]))
    if flat is None or len(flat.axes[0]) > 1 or not flat.row_stride_one():
        return None
    row = flat.axes[0][0][1] if flat.axes[0] else shape[1]
    return View(flat.tensor, 1, count, shape[1], row, count * row, flat.offset)


def _patches(at: NodeLowering, node: Node, shape: tuple[int, ...], out: tuple[int, ...], kernel: list[int]) -> None:
    """Patches of an input as rows, in the caller's layout, times the filters."""
    depth = shape[1] * kernel[0] * kernel[1]
    count = shape[0] * out[2] * out[3]
    given = at.tensor(node.inputs[0], (count, depth), "input")
    weight = at.tensor(at.root(node.inputs[1]).lstrip("/"), (depth, out[1]), "weight")
    target = at.result(node, unit=1, like=channels_last(out))
    a = Strided.dense(given.name, (shape[0], out[2] * out[3], depth))
    c = target.transposed([0, 2, 3, 1]).reshaped((shape[0], out[2] * out[3], out[1]))
    assert c is not None
    bias = at.sums_row(node.inputs[2], (shape[0], out[2] * out[3], out[1])) if len(node.inputs) > 2 else None
    add_product(at, node, a, Strided.dense(weight.name, (depth, out[1])), c, bias, "none")


def pool(at: NodeLowering, node: Node) -> None:
    """Max or average pooling."""
    shape, out = (at.net.values[name].shape or () for name in (node.inputs[0], node.output))
    if len(shape) != 4:
        raise InputError(f"operator {node.name!r} ({node.op}): {len(shape)} axes, only images are supported")
    window = _window(node, list(node.attrs["kernel_shape"]), shape, out)
    sides = dict(zip(("in_rows", "in_cols"), (1, *shape[2:])[-2:], strict=True))
    if _reaches_beyond(window):
        image, sides, window = _surrounded(at, node, shape, sides, window)
    else:
        image = pixels(at, node, node.inputs[0])
    target = at.result(node, channels_last(out), unit=1)
    kind = "maxpool" if node.op == "MaxPool" else "avgpool"
    put(at, node, kind, [image], target, out, {"in_rows": shape[2], "in_cols": shape[3], **window})


def global_average(at: NodeLowering, node: Node) -> None:
    """The mean of each image: a row of ones times its pixels; the divisor is folded into the scale."""
    shape = at.net.values[node.inputs[0]].shape or ()
    count = shape[2] * shape[3] if len(shape) == 4 else shape[-1]
    image = at.array(node.inputs[0])
    flat = image.transposed([0, *range(2, len(shape)), 1]).reshaped((shape[0], count, shape[1]))
    if flat is None:
        flat = at.copied(node, image).transposed([0, *range(2, len(shape)), 1]).reshaped((shape[0], count, shape[1]))
    assert flat is not None
    target = at.result(node).reshaped((shape[0], 1, shape[1]))
    assert target is not None
    ones = at.tensors.get(f"ones{count}") or at.tensor(f"ones{count}", (1, count), "input")
    add_product(at, node, Strided.dense(ones.name, (1, count)), flat, target, None, "none")


def batch_norm(at: NodeLowering, node: Node) -> None:
    """A batch norm with fixed statistics and no product before it: a depth-wise convolution of one tap with a bias."""
    shape = at.net.values[node.inputs[0]].shape or ()
    if len(shape) < 2 or node.attrs.get("training_mode"):
        foreign(at, node)
        return
    relu = at.relu_behind(node)
    image = pixels(at, node, node.inputs[0])
    target = at.result(node, channels_last(shape), unit=1)
    gain = at.tensor(at.root(node.inputs[1]).lstrip("/"), (shape[1], 1), "weight")
    shift = at.sums_row(node.inputs[2], (1, shape[1]))
    views = [image, View.whole(gain), View(shift.tensor, 1, 1, shape[1], 0, 0)]
    sides = {"in_rows": math.prod(shape[2:-1]), "in_cols": shape[-1] if len(shape) > 2 else 1}
    put(at, node, "depthwise_conv", views, target, shape, {**sides, "activation": "relu" if relu else "none"})


def conv_transpose(at: NodeLowering, node: Node) -> None:
    """A transposed convolution: a product whose results are patches; overlapping patches are added by the host.

    A series is an image of one row; each group is a product of its own.
    """
    shape, weights, out = (at.net.values[name].shape or () for name in (*node.inputs[:2], node.output))
    if len(shape) not in (3, 4):
        raise InputError(f"operator {node.name!r} (ConvTranspose): {len(shape)} axes, only images and series are read")
    kernel, groups = [1, *weights[2:]][-2:], int(node.attrs.get("group", 1))
    apart = list(out[2:]) == [size * taps for size, taps in zip(shape[2:], weights[2:], strict=True)]
    relu = apart and at.relu_behind(node)
    rows, cols = [1, *shape[2:]][-2:]
    batch, made = shape[0], groups * weights[1]
    patches = _patch_products(at, node, (batch * rows * cols, groups, weights[1] * math.prod(kernel)), relu=relu)
    again = Strided.dense(patches, (batch, rows, cols, groups, *kernel, weights[1]))
    if apart:
        again_shape = (batch, made, *out[2:])
        placed = again.transposed([0, 3, 6, 1, 4, 2, 5]).reshaped(again_shape)
        assert placed is not None
        at.arrays[node.output] = placed
    else:
        target = at.result(node, channels_last(out), unit=1)
        at.foreign(node, [again], target, "sum of patches", f"{node.name}.sum")


def _patch_products(at: NodeLowering, node: Node, sizes: tuple[int, int, int], *, relu: bool) -> str:
    """Add the products of the pixels with the filters of each group, (pixels, groups, elements of a patch).

    Return the tensor of patches. Filters are stored group by group: [groups * channels, elements of a patch].
    """
    pixels_, groups, depth = sizes
    if groups > MAX_STEPS:
        raise InputError(f"operator {node.name!r} (ConvTranspose): {groups:,} groups, at most {MAX_STEPS:,}")
    image = pixels(at, node, node.inputs[0])
    channels = image.cols // groups
    weight = at.tensor(at.root(node.inputs[1]).lstrip("/"), (image.cols, depth), "weight")
    result = at.tensor(f"{node.output.lstrip('/')}.patches", (pixels_, groups * depth))
    bias = len(node.inputs) > 2 and node.inputs[2]
    if bias:  # one copy for each pixel of a patch
        bias = at.tensor(f"{node.inputs[2].lstrip('/')}.patch", (groups * depth,), "weight", at.graph.sums).name
    windows = []
    for group in range(groups):
        source = replace(image, cols=channels, offset=image.offset + group * channels)
        filters = View(weight.name, 1, channels, depth, depth, channels * depth, group * channels * depth)
        added = [View(bias, 1, 1, depth, 0, 0, group * depth)] if bias else []
        out = View(result.name, 1, pixels_, depth, groups * depth, pixels_ * groups * depth, group * depth)
        windows.append((source, filters, *added, out))
    at.apply("matmul", node, windows, repeating_bias=bool(bias), activation="relu" if relu else "none")
    return result.name


RULES: dict[str, Callable[[NodeLowering, Node], None]] = {
    "Conv": conv,
    "MaxPool": pool,
    "AveragePool": pool,
    "GlobalAveragePool": global_average,
    "ConvTranspose": conv_transpose,
    "BatchNormalization": batch_norm,
}
