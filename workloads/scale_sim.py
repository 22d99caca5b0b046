"""SCALE-Sim topology files: each line is a layer, a convolution or a matrix product.

Convolutions: name, image height and width (its padding included), filter height and width, channels, filters, stride
(one, or one for each side if they are equal). Products: name, M, N, K. Files in use have a header, trailing commas,
blank lines, titles (a name alone, put before the names below it), tabs instead of commas, remarks ("#dw", or after an
empty cell), a byte order mark or CRLF line ends; all of these are accepted. A trailing sparsity ratio ("2:4") is
refused: sparsity is given by --sparsity.

A filter that is not square, and one that covers the whole image (a fully connected layer), is the product that it
equals, its windows given as rows.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from sim.base.errors import InputError, some
from sim.base.reading import read_text
from sim.graph import Graph, View
from sim.graph.windows import positions
from workloads.encoder import check_sizes
from workloads.networks.builder import Network

MAX_SIZE = 1 << 23
CONVOLUTION = ("image height", "image width", "filter height", "filter width", "channels", "filters", "stride")
PRODUCT = ("M", "N", "K")


def load(path: Path, dtype: str = "int8") -> Graph:
    """Read a topology file. Raises InputError listing all problems by line."""
    check_sizes(str(path), {}, dtype)
    text = read_text(path)
    separator = "," if "," in text else "\t"
    lines = csv.reader(io.StringIO(text, newline=None), delimiter=separator)
    try:
        rows = [(lines.line_num, _cells(row)) for row in lines]
    except csv.Error as error:
        raise InputError(f"{path}: line {lines.line_num}: not CSV: {error}") from None
    rows = [(number, cells) for number, cells in rows if cells]
    first = next((place for place, (_, cells) in enumerate(rows) if len(cells) > 1), None)
    if first is not None and not any(cell.isdigit() for cell in rows[first][1][1:]):
        del rows[first]  # the header
    net, names, problems, title = Network(path.stem, dtype), set[str](), list[str](), ""
    for number, cells in rows:
        if len(cells) == 1:
            title = f"{cells[0]}."
            continue
        found, sizes = _sizes(cells)
        problems += [f"{path}: line {number}: {problem}" for problem in found]
        if not found:
            name = title + (cells[0] or "layer")
            name = name if cells[0] and name not in names else f"{name}_{number}"
            names.add(name)
            _layer(net, name, sizes)
    if not names and not problems:
        problems.append(f"{path}: no layers: lines of a name and {len(CONVOLUTION)} or {len(PRODUCT)} sizes")
    if problems:
        raise InputError(some(problems))
    return net.graph()


def _cells(row: list[str]) -> list[str]:
    """Return a line's cells up to the first empty one after the name, without a remark (#dw)."""
    cells = [cell.strip() for cell in row]
    end = next((place for place, cell in enumerate(cells) if place and (not cell or cell.startswith("#"))), len(cells))
    return cells[:end] if any(cells) else []


def _sizes(cells: list[str]) -> tuple[list[str], list[int]]:
    """Return the problems of a line, and its sizes."""
    texts = cells[1:]
    if len(texts) == len(CONVOLUTION) + 1 and texts[-1] == texts[-2]:  # one stride for each side
        texts = texts[:-1]
    names = PRODUCT if len(texts) == len(PRODUCT) else CONVOLUTION
    if len(texts) != len(names):
        what = f"{len(CONVOLUTION)} sizes of a convolution ({', '.join(CONVOLUTION)}) or 3 of a product (M, N, K)"
        return [f"{len(texts)} values after the name {cells[0]!r}; must be {what}"], []
    problems = [
        f"{name} is {text!r}, must be a whole number from 1 to {MAX_SIZE}"
        for name, text in zip(names, texts, strict=True)
        if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MAX_SIZE)
    ]
    if problems:
        return problems, []
    sizes = [int(text) for text in texts]
    if len(sizes) > len(PRODUCT) and (sizes[2] > sizes[0] or sizes[3] > sizes[1]):
        problems.append(f"the filter of {sizes[2]}x{sizes[3]} exceeds the image of {sizes[0]}x{sizes[1]}")
    return problems, sizes


def _layer(net: Network, name: str, sizes: list[int]) -> None:
    if len(sizes) == len(PRODUCT):
        m, n, k = sizes
        net.linear(net.input(f"{name}.input", m, k), n, name=name, bias=False)
        return
    rows, cols, high, wide, channels, filters, stride = sizes
    out = positions(rows, high, stride) * positions(cols, wide, stride)
    if high != wide or (high, wide) == (rows, cols):
        net.linear(net.input(f"{name}.windows", out, high * wide * channels), filters, name=name, bias=False)
        return
    image = net.input(f"{name}.image", rows * cols, channels)
    weights = net.tensor(f"{name}.weight", (high * wide * channels, filters), kind="weight")
    result = net.tensor(f"{name}.out", (out, filters))
    window = {"in_rows": rows, "in_cols": cols, "kernel": high, "stride": stride, "padding": 0}
    net.op(name, "conv", [View.whole(image), View.whole(weights)], View.whole(result), None, **window)
