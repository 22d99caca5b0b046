"""The cache of a layer's keys and values: the places of new rows, and the operators that store them."""

from __future__ import annotations

from dataclasses import replace

from sim.graph import Tensor, View
from workloads.networks.builder import Network
from workloads.networks.config import Config
from workloads.networks.decoding.step import TokenStep


def alone(step: TokenStep) -> list[TokenStep]:
    """Return the steps of sequences of different lengths, one by one."""
    return [replace(step, batch=1, past=past, lengths=()) for past in step.lengths]


def _rows_alone(view: View, config: Config, step: TokenStep) -> list[View]:
    """Return the row of each such sequence in a cache of the longest."""
    places = [past % config.window if config.window else past for past in step.lengths]
    first = view.offset - view.offset % view.batch_stride
    return [
        View(view.tensor, 1, 1, view.cols, view.row_stride, 0, first + item * view.batch_stride + place * view.cols)
        for item, place in enumerate(places)
    ]


def pieces(x: Tensor, config: Config, step: TokenStep, into: View) -> list[tuple[View, View]]:
    """Return (rows of x, their places in a cache): those of all sequences, or one per sequence if lengths differ."""
    cols = x.shape[-1]
    if step.lengths:
        ends = _rows_alone(into, config, step)
        return [(View(x.name, 1, 1, cols, cols, 0, item * cols), end) for item, end in enumerate(ends)]
    skipped = (step.new - into.rows) * cols  # tokens that the window no longer sees
    return [(View(x.name, step.batch, into.rows, cols, cols, step.new * cols, skipped), into)]


def written(cache: Tensor, config: Config, step: TokenStep) -> View:
    """Return the rows of a cache for the new tokens' keys, of each sequence."""
    _, keys, cols = cache.shape
    first = step.past % keys if config.window and step.past >= keys else min(step.past, keys - min(step.new, keys))
    count = min(step.new, keys)
    return View(cache.name, step.batch, count, cols, cols, keys * cols, first * cols)


def into_cache(net: Network, x: Tensor, config: Config, step: TokenStep, product: tuple[str, bool, View]) -> None:
    """Add the product that stores K or V in the cache, for all sequences at once if strides allow it."""
    name, bias, into = product
    cols, count = x.shape[-1], into.rows
    if step.lengths:  # one product for all, and a copy of each row to its place
        made = net.linear(x, into.cols, name=name, bias=bias)
        for item, put in enumerate(_rows_alone(into, config, step)):
            taken = View(made.name, 1, 1, into.cols, into.cols, 0, item * into.cols)
            net.apply("copy", net.name_of(f"{name}_append"), [taken], put)
        return
    skipped = (step.new - count) * cols  # tokens that the window no longer sees
    if count == 1 or step.batch == 1 or into.batch_stride == count * into.cols:
        stride = into.batch_stride if count == 1 else into.cols
        rows = count * step.batch
        into = View(into.tensor, 1, rows, into.cols, stride, 0, into.offset)
        taken = View(x.name, 1, rows, cols, step.new * cols if count == 1 else cols, 0, skipped)
    else:
        taken = View(x.name, step.batch, count, cols, cols, step.new * cols, skipped)
    net.linear(taken, into.cols, name=name, bias=bias, into=into)


def rotated(net: Network, config: Config, step: TokenStep, x: Tensor, name: str, into: View | None = None) -> Tensor:
    """Add a rotary embedding of the rows of each sequence, into a cache for K."""
    cols, count = x.shape[-1], into.rows if into else step.new
    source = View(x.name, step.batch, count, cols, cols, step.new * cols, (step.new - count) * cols)
    at = net.name_of(name)
    if into is None:
        result = net.tensor(at, x.shape)
        into = _of_tensor(source, result.name)
    else:
        result = x
    attrs = {"head_dim": config.size, "rotated": config.rope, "base": config.rope_base}
    if step.lengths:
        ends = _rows_alone(into, config, step) if into.tensor != at else [None] * step.batch
        for item, (past, end) in enumerate(zip(step.lengths, ends, strict=True)):
            row = View(x.name, 1, 1, cols, cols, 0, item * cols)
            put = end or _of_tensor(row, into.tensor)
            net.apply("rope", f"{at}.b{item}", [row], put, **attrs, position=past)
        return result
    net.apply("rope", at, [source], into, **attrs, position=step.past + step.new - count)
    return result


def _of_tensor(view: View, tensor: str) -> View:
    """Return the same window of another tensor."""
    return View(tensor, view.batch, view.rows, view.cols, view.row_stride, view.batch_stride, view.offset)
