"""dosa.csv: layers on an FPGA, each with the library's tile and then with a mapping of its authors.

The rows of one set, network and kind are one program: it runs its layers in the table's order on the same arrays, so
that a layer finds what the one before left in the L2. Source: the templates conv_tilings.c and matmul_tilings.c and the
library of ucb-bar/gemmini-rocc-tests, branch dosa (959b23f). A table with some of a program's layers is a program of
these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sim.lower import build
from sim.lower.work import Conv, Matmul, Work
from sim.run.session import Session
from sim.validate import csvfile
from sim.validate.soc.programs import call
from sim.validate.tasks import MachineProgram, TaskOutcome

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.timing.timing import Clock

AXES = {"P": "i", "K": "j", "C": "k"}
"""The table's names of a product's loops (rows of output, output and input channels) -> the lowering's names."""

AUTOMATIC, MAPPED = "auto", "tiled"
"""Operator of a row: the run with the library's tile, or that with the mapping."""

PROGRAM = ("set", "network", "kind")
"""Columns that name a program."""

HEADER = {"scratchpad.capacity": "256KiB", "accumulator.capacity": "64KiB"}
"""The machine of the library's header, for which it searches its tile."""

ARRAYS_FROM = 0x8000_4000
"""A boundary of 64 KiB, where a program's arrays begin up to their offset in a line (its code ends 9 KiB before)."""

ARRAY_BYTES = {"conv": (11_000 * 2048, 2048 * 2048), "matmul": (10_000**2, 10_000**2)}
"""Bytes of the arrays of results and weights; the linker places them and then the input, one behind the other."""

OFFSET_BYTES: Mapping[tuple[str, ...], int] = {
    ("analytical", "resnet50", "conv"): 32,
    ("both", "resnet50", "conv"): 16,
    ("dnn", "resnet50", "conv"): 8,
    ("analytical", "retinanet", "conv"): 24,
    ("both", "retinanet", "conv"): 32,
    ("dnn", "retinanet", "conv"): 32,
    ("analytical", "unet", "conv"): 0,
    ("both", "unet", "conv"): 40,
    ("dnn", "unet", "conv"): 8,
}
"""Offset of a program's arrays in a 64-byte line; it differs with the lengths of its lists.

The binaries are not published. Of the eight multiples of 8 the one under which the mapped runs of five layers agree
(with others small layers are 5 to 80 % off); the runs with the library's tile were not used. The sources compiled anew
(gcc 12.2, the flags of their makefile) give the same for "analytical" and 8 more for the other two; so "unet", of which
no row was seen, has their figures.
"""


@dataclass(frozen=True)
class MappedLayer:
    """A layer's run with the library's tile, that with the mapping, and the work of the library's call."""

    automatic: Work
    mapped: Work
    searched: Work


@dataclass(frozen=True)
class MappedProgram(MachineProgram):
    """Layers by name, each run with the library's tile and then as mapped."""

    layers: tuple[tuple[str, MappedLayer], ...]

    def outcome(self, hw: Hardware, clock: Clock) -> TaskOutcome:
        """Return all runs as parts, by the ids of their rows, and their sum."""
        session, header = Session(hw, clock), Session(hw.with_(HEADER), clock)
        parts: dict[str, TaskOutcome] = {}
        for name, layer in self.layers:
            around = header.call(layer.searched)
            session.start = replace(session.start, ran=header.start.ran)
            parts[f"{name}-{AUTOMATIC}"] = call(session, layer.automatic, around)
            parts[name] = call(session, layer.mapped)
        return TaskOutcome(sum(part.cycles or 0 for part in parts.values()), parts=parts)


def program(columns: Mapping[str, str], hw: Hardware, path: Path) -> MappedProgram:
    """Return the program of a row."""
    key = _key(columns)
    return MappedProgram(tuple((row["id"], _layer(row, hw, key)) for row in _rows(path) if _key(row) == key))


@lru_cache(maxsize=4)
def _rows(path: Path) -> tuple[Mapping[str, str], ...]:
    return tuple(columns for _, columns in csvfile.read(path).records())


def _key(columns: Mapping[str, str]) -> tuple[str, ...]:
    *of_set, kind = (columns[name] for name in PROGRAM)
    return (*of_set, kind.rpartition("_")[2])  # a row's kind is fpga_conv, that of its line in the table conv


def _layer(columns: Mapping[str, str], hw: Hardware, key: tuple[str, ...]) -> MappedLayer:
    """Return the two runs of a layer; the library of 2022 kept no operand between tiles."""
    outer_first = columns["loop_order_inner_to_outer"][::-1]
    auto, tiled = (tuple(int(size) for size in columns[name].split("x")) for name in ("auto_tile", "tile"))
    result, weights, image = _addresses(key)
    if columns["M"]:
        m, n, k = (int(columns[name]) for name in "MNK")
        work = build.matmul(m, n, k, input_bytes=hw.input_bytes, acc_bytes=hw.acc_bytes, resident="none")
        work = replace(
            work,
            a=replace(work.a, address=image),
            b=replace(work.b, address=weights),
            c=replace(work.c, address=result),
        )
        order = "".join(AXES[letter] for letter in outer_first if letter in AXES)
        return MappedLayer(_product(work, auto, "ijk"), _product(work, tiled, order), work)
    size, channels, out, kernel = (int(columns[name]) for name in ("in_rows", "in_channels", "out_channels", "kernel"))
    conv = build.conv(
        size, channels, out, kernel, bias=False, stride=int(columns["stride"]), padding=int(columns["padding"]),
        resident="none", downsampling=False,
    )  # fmt: skip
    conv = replace(
        conv, x=replace(conv.x, address=image), weights=replace(conv.weights, address=weights),
        c=replace(conv.c, address=result),
    )  # fmt: skip
    return MappedLayer(_conv(conv, auto, conv.loop_order), _conv(conv, tiled, outer_first), conv)


def _addresses(key: tuple[str, ...]) -> Iterator[int]:
    """Yield the addresses of results, weights and input."""
    at = ARRAYS_FROM + OFFSET_BYTES.get(key, 0)
    for size in (*ARRAY_BYTES[key[-1]], 0):
        yield at
        at += size


def _product(work: Matmul, tile: tuple[int, ...], order: str) -> Matmul:
    i, j, k = tile
    return replace(work, tile=(i, j, k), loop_order=order, any_order=True)


def _conv(work: Conv, tile: tuple[int, ...], order: str) -> Conv:
    n, p, q, k, r, s, c = tile
    return replace(work, tile=(n, p, q, k, r, s, c), loop_order=order)
