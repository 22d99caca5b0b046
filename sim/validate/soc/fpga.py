"""Layers that DOSA ran on FPGAs (dosa.csv): with the library's own tile, then with a mapping by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sim.lower import build
from sim.lower.work import Conv, Matmul, Work

if TYPE_CHECKING:
    from sim.hardware import Hardware

AXES = {"P": "i", "K": "j", "C": "k"}
"""Loops of a product as the table names them (rows of output, output and input channels) -> those of the lowering."""


def layer(columns: Mapping[str, str], hw: Hardware) -> tuple[Work, Work]:
    """Return the layer with its automatic tile and as mapped; the library of 2022 kept no operand between tiles."""
    outer_first = columns["loop_order_inner_to_outer"][::-1]
    auto, tiled = (tuple(int(size) for size in columns[name].split("x")) for name in ("auto_tile", "tile"))
    if columns["kind"] == "fpga_matmul":
        m, n, k = (int(columns[name]) for name in "MNK")
        work = build.matmul(m, n, k, input_bytes=hw.input_bytes, acc_bytes=hw.acc_bytes, resident="none")
        order = "".join(AXES[letter] for letter in outer_first if letter in AXES)
        return _product(work, auto, "ijk"), _product(work, tiled, order)
    size, channels, out, kernel = (int(columns[name]) for name in ("in_rows", "in_channels", "out_channels", "kernel"))
    conv = build.conv(
        size, channels, out, kernel, bias=False, stride=int(columns["stride"]), padding=int(columns["padding"]),
        resident="none", downsampling=False,
    )  # fmt: skip
    return _conv(conv, auto, conv.loop_order), _conv(conv, tiled, outer_first)


def _product(work: Matmul, tile: tuple[int, ...], order: str) -> Matmul:
    i, j, k = tile
    return replace(work, tile=(i, j, k), loop_order=order, any_order=True)


def _conv(work: Conv, tile: tuple[int, ...], order: str) -> Conv:
    n, p, q, k, r, s, c = tile
    return replace(work, tile=(n, p, q, k, r, s, c), loop_order=order)
