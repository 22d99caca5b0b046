"""Swin transformers (Liu et al. 2021): attention inside windows of 7 x 7 tokens, shifted by 3 in every other block.

Tokens are stored row by row of the image; windows are cut out and put back by copies, whole lines of a window at a
time, a shifted window at the border in pieces. Windows are stored in four groups: inner ones, those over the right
border, over the lower border, and the one over both; the inner ones have no mask. The addend of the scores is the
position bias, looked up in its table; for border windows it is a given constant, bias and mask together. Patch merging
is two copies, a norm and a product; its four parts are in memory order, a permutation of the weight's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sim.base.errors import InputError
from sim.graph import Graph, Tensor, View
from workloads.encoder import check_sizes, states_sizes
from workloads.networks.builder import Network

CHANNELS, CLASSES, PATCH = 3, 1000, 4
WINDOW = 7
"""Tokens a side of a window."""
SHIFT = WINDOW // 2
DISTANCES = (2 * WINDOW - 1) ** 2
"""Rows of a table of relative positions."""


@dataclass(frozen=True)
class Swin:
    """Published sizes of one model: blocks and heads of each stage, columns of the first (doubled by each further)."""

    depths: tuple[int, ...]
    hidden: int
    heads: tuple[int, ...]


SWIN: dict[str, Swin] = {
    "swin-tiny": Swin((2, 2, 6, 2), 96, (3, 6, 12, 24)),
    "swin-small": Swin((2, 2, 18, 2), 96, (3, 6, 12, 24)),
    "swin-base": Swin((2, 2, 18, 2), 128, (4, 8, 16, 32)),
}


@dataclass(frozen=True)
class _Grid:
    """Tokens of ``batch`` images, ``side`` a side, of ``cols`` columns; the windows of one block, shifted or not."""

    batch: int
    side: int
    cols: int
    shifted: bool

    @property
    def windows(self) -> int:
        """Windows a side."""
        return self.side // WINDOW

    @property
    def groups(self) -> tuple[int, ...]:
        """Windows of all images in each group."""
        if not self.shifted:
            return (self.batch * self.windows**2,)
        inner = self.windows - 1
        return (self.batch * inner**2, self.batch * inner, self.batch * inner, self.batch)

    def place(self, image: int, row: int, col: int) -> int:
        """Return the index of a window among all."""
        if not self.shifted:
            return (image * self.windows + row) * self.windows + col
        inner, low, right = self.windows - 1, row == self.windows - 1, col == self.windows - 1
        group = 2 * low + right
        sizes = self.groups[:group]
        within = (0 if low else row) * (1 if right else inner) + (0 if right else col)
        each = (1 if low else inner) * (1 if right else inner)
        return sum(sizes) + image * each + within

    def pieces(self) -> Iterator[tuple[View, View]]:
        """Yield (window of the image, window among windows) of each copy; without names of tensors."""
        moved = SHIFT if self.shifted else 0
        for image in range(self.batch):
            for row in range(self.windows):
                for low, high in _wrapped(row * WINDOW + moved, self.side):
                    for col, count in self._columns():
                        for left, right in _wrapped(col * WINDOW + moved, self.side):
                            at = (image, row, col, count)
                            yield self._piece(
                                at, (row * WINDOW + moved, low, high), (col * WINDOW + moved, left, right)
                            )

    def _columns(self) -> tuple[tuple[int, int], ...]:
        """Return (first window, windows) of a row of windows that one copy moves."""
        last = self.windows - 1
        return ((0, last), (last, 1)) if self.shifted else ((0, self.windows),)

    def _piece(
        self, at: tuple[int, int, int, int], rows: tuple[int, int, int], cols: tuple[int, int, int]
    ) -> tuple[View, View]:
        """Return the copy of lines and columns [low, high) of windows that begin at a line and a column."""
        image, row, col, count = at
        (top, low, high), (edge, left, right) = rows, cols
        line, window = self.side * self.cols, WINDOW * WINDOW * self.cols
        start = ((image * self.side + low % self.side) * self.side + left % self.side) * self.cols
        put = self.place(image, row, col) * window + ((low - top) * WINDOW + left - edge) * self.cols
        size = count, high - low, (right - left) * self.cols
        return View("", *size, line, WINDOW * self.cols, start), View("", *size, WINDOW * self.cols, window, put)


def _wrapped(start: int, side: int) -> list[tuple[int, int]]:
    """Return [start, start + window) as parts that do not cross the border of the image."""
    end = start + WINDOW
    return [(start, side), (side, end)] if start < side < end else [(start, end)]


def swin(name: str, sizes: Swin) -> Callable[..., Graph]:
    """Return the builder of one Swin transformer."""

    @states_sizes
    def build(phase: str = "encode", batch: int = 1, image: int = 224, dtype: str = "int8") -> Graph:
        if phase != "encode":
            raise InputError(f"{name}: phase is {phase!r}, can be encode")
        check_sizes(name, {"batch": batch, "image": image}, dtype)
        unit = PATCH * WINDOW << (len(sizes.depths) - 1)
        if image % unit:
            nearest = max(1, round(image / unit)) * unit
            raise InputError(f"{name}: image {image} is not a multiple of {unit}: windows of {WINDOW} in the last "
            f"stage "
                             f"(nearest: {nearest})")  # fmt: skip
        return _build(name, sizes, batch, image, dtype)

    build.__name__ = build.__qualname__ = name.replace("-", "_")
    build.__doc__ = (
        f"Return {name} for ``batch`` images of ``image`` pixels a side. Raises InputError for illegal sizes.\n\n"
        "``dtype``: element type. Layers are numbered by block."
    )
    return build


def _build(name: str, sizes: Swin, batch: int, image: int, dtype: str) -> Graph:
    net, side, index = Network(name, dtype), image // PATCH, 0
    x = net.linear(net.input("patches", batch * side**2, CHANNELS * PATCH**2), sizes.hidden, name="patch_embedding")
    x = net.norm(x, name="patch_norm")
    for stage, (depth, heads) in enumerate(zip(sizes.depths, sizes.heads, strict=True)):
        if stage:
            x, side = _merged(net, x, batch, side, stage), side // 2
        for block in range(depth):
            with net.layer_of(index):
                x = _block(net, x, _Grid(batch, side, x.shape[1], block % 2 == 1 and side > WINDOW), heads)
            index += 1
    x = net.norm(x, name="last_norm")
    ones, cols = net.input("ones", 1, side**2), x.shape[1]
    features = net.tensor("features", (batch, cols))
    tokens = View(x.name, batch, side**2, cols, cols, side**2 * cols)
    net.op("average", "matmul", [View.whole(ones), tokens], View(features.name, batch, 1, cols, cols, cols), None)
    net.linear(features, CLASSES, name="head", wide=True)
    return net.graph()


def _merged(net: Network, x: Tensor, batch: int, side: int, stage: int) -> Tensor:
    """Put the tokens of each 2 x 2 square side by side, normalise them, and halve their columns."""
    cols, half = x.shape[1], side // 2
    joined = net.tensor(f"S{stage}.joined", (batch * half**2, 4 * cols))
    for line in range(2):  # tokens of one line are adjacent already
        taken = View(x.name, batch * half, half, 2 * cols, 2 * cols, 2 * side * cols, line * side * cols)
        put = View(joined.name, batch * half, half, 2 * cols, 4 * cols, half * 4 * cols, line * 2 * cols)
        net.op(f"S{stage}.merge{line}", "copy", [taken], put, None)
    return net.linear(net.norm(joined, name=f"S{stage}.merge_norm"), 2 * cols, name=f"S{stage}.reduction", bias=False)


def _moved(net: Network, x: Tensor, grid: _Grid, name: str, *, back: bool) -> Tensor:
    """Copy tokens into windows, or back."""
    result = net.tensor(net.name_of(name), x.shape)
    for image, windows in grid.pieces():
        source, put = (windows, image) if back else (image, windows)
        views = [_of(view, tensor.name) for view, tensor in ((source, x), (put, result))]
        net.apply("copy", net.name_of(f"{name}_copy"), views[:1], views[1])
    return result


def _of(view: View, tensor: str) -> View:
    return View(tensor, *view.shape, view.row_stride, view.batch_stride, view.offset)


def _block(net: Network, x: Tensor, grid: _Grid, heads: int) -> Tensor:
    hidden = x.shape[1]
    source = _moved(net, net.norm(x, name="norm1"), grid, "windows", back=False)
    q, k, v = (net.linear(source, hidden, name=f"matmul_{part}") for part in "QKV")
    context = _attention(net, (q, k, v), grid, heads)
    projected = _moved(net, net.linear(context, hidden, name="W_out"), grid, "tokens", back=True)
    x = net.add(x, projected, name="residual_add1")
    wide = net.linear(net.norm(x, name="norm2"), 4 * hidden, name="FF1")
    fed = net.linear(net.each("gelu", wide, name="gelu"), hidden, name="FF2")
    return net.add(x, fed, name="residual_add2")


def _attention(net: Network, qkv: tuple[Tensor, Tensor, Tensor], grid: _Grid, heads: int) -> Tensor:
    """Attention inside windows, one operator per head and group of windows."""
    rows, cols = WINDOW**2, grid.cols
    size, square = cols // heads, rows * rows
    table = net.tensor(net.name_of("position_table"), (DISTANCES, heads), net.sums, "weight")
    ids = next((tensor for tensor in net.tensors if tensor.name == "window_distances"), None)
    ids = ids or net.tensor("window_distances", (rows, rows), "int32", "input")
    bias = net.tensor(net.name_of("position_bias"), (heads, rows, rows), net.sums)
    net.apply("position_bias", bias.name, [View.whole(ids), View.whole(table)], View.whole(bias))
    border = net.tensor(net.name_of("border_bias"), (3, heads, rows, rows), net.sums, "input") if grid.shifted else None
    context = net.tensor(net.name_of("attended"), qkv[0].shape)
    first = 0
    for group, count in enumerate(grid.groups):
        added = bias if group == 0 or border is None else border
        tail = f".w{group}" if grid.shifted else ""
        for head in range(heads):
            q, k, v, out = (View(t.name, count, rows, size, cols, rows * cols, first * rows * cols + head * size)
                            for t in (*qkv, context))  # fmt: skip
            offset = head * square + max(0, group - 1) * heads * square
            scores = net.tensor(net.name_of(f"scores{tail}.h{head}"), (count, rows, rows))
            views = [q, k, View(added.name, 1, rows, rows, rows, 0, offset)]
            net.apply("matmul", scores.name, views, View.whole(scores), transpose_b=True)
            shares = net.each("softmax", scores, name=f"softmax{tail}.h{head}")
            net.apply("matmul", net.name_of(f"context{tail}.h{head}"), [View.whole(shares), v], out)
        first += count
    return context
