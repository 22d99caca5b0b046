"""Products whose rows are normalised in the accumulator, DIM rows at a time, by single commands (no hardware loops).

The hardware loop and the library keep two tiles in the accumulator, one per half, and a row has to fit into one half. A
strip of DIM rows in the whole accumulator allows rows twice as wide: first the bias, then for parts of K and of the
columns the loads and the computes, with the loads of a part before the computes of the previous part; then the
normaliser's passes over each row as in `sim.lower.norm`. The reservation station orders a strip's first computes after
the passes of the previous strip, by the accumulator rows that they share. A transposed B is first stored in memory in
the order of multiplication, if the item has an address for it, followed by a fence. Adjacent parts are in different
banks of the scratchpad, and A in a bank of its own, so that loads and the array do not conflict.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.isa.commands import ACCUMULATE_BIT, ACCUMULATOR_BIT, COMMAND, GARBAGE_ADDRESS, Funct, Program, local_operand
from sim.lower import matmul
from sim.lower.call import Call
from sim.lower.encode import Stream
from sim.lower.norm import emit_passes
from sim.lower.tiling import blocks_of, matmul_blocks
from sim.lower.work import Matmul, Norm, NormKind, Operand, RowsMatmul

PART = 4
"""Blocks of a part along K and along the columns: those that one load command moves in a row."""

A_PARTS = 2
"""Parts of A in the scratchpad, used alternately."""


def widest(hw: Hardware) -> int:
    """Return the columns of the widest rows that fit the whole accumulator, DIM rows at a time."""
    return hw.acc_rows // hw.dim * hw.dim


def check_rows(work: RowsMatmul, hw: Hardware) -> None:
    """Raise InputError if the machine or the program refuses the item (all problems in one error)."""
    product = work.matmul
    matmul.check(product, hw)
    where = f"matmul {product.m}x{product.n}x{product.k}: "
    problems = []
    if work.turned is not None and (work.identity is None or not product.transpose_b or hw.bits("b") != hw.bits("c")):
        problems.append(
            "only a transposed B is stored in the order of multiplication, with an identity, at the width of C"
        )
    if product.activation not in ("softmax", "layernorm"):
        problems.append(f"activation {product.activation!r}; whole rows are for softmax and layernorm")
    if product.n > widest(hw):
        problems.append(f"rows of {product.n} columns; the accumulator holds {hw.dim} rows of at most {widest(hw)}")
    if product.transpose_a or product.low_d:
        problems.append("transposed A and a bias of input type need the hardware loop")
    if product.tile is not None:
        problems.append("a tile of its own; strips of DIM whole rows have none (nearest: no tile)")
    if len(b_places(hw)) < 2:
        problems.append(f"{hw.dim * PART * (A_PARTS + 2 * PART)} scratchpad rows are needed, it has {hw.sp_rows}")
    if problems:
        raise InputError([where + problem for problem in problems])


def b_places(hw: Hardware, a_rows: int | None = None) -> list[int]:
    """Return the first scratchpad rows of the parts of B in the order of use: bank by bank, except A's bank.

    ``a_rows``: rows of A at the start of the scratchpad; None = those of this module's strips.
    """
    part, banks = PART * PART * hw.dim, hw.scratchpad.banks
    a_rows = A_PARTS * PART * hw.dim if a_rows is None else a_rows
    bank_rows = hw.sp_rows // hw.scratchpad.banks
    if banks < 3 or bank_rows < max(part, a_rows):
        return list(range(a_rows, hw.sp_rows - part + 1, part))
    return [bank * bank_rows + n * part for n in range(bank_rows // part) for bank in range(1, banks)]


def call_rows(work: RowsMatmul, hw: Hardware) -> Call:
    """Return the call of a product in strips, which the library lacks: it has the price of its product's call."""
    paths = ("softmax",) if work.matmul.activation == "softmax" else ()
    return Call("matmul", loops=True, inlined=False, paths=paths)


@dataclass(frozen=True)
class _Part:
    """A part of a strip: first block and blocks along the columns and K; scratchpad rows of its B and A."""

    j: int
    js: int
    k: int
    ks: int
    b_local: int
    a_local: int

    @property
    def loads_a(self) -> bool:
        """Whether it loads A's part: true for the first columns of a part of K."""
        return self.j == 0


def _parts(work: Matmul, hw: Hardware) -> Iterator[_Part]:
    """Yield the parts of all strips in order; the alternation continues from strip to strip."""
    rows, cols, depth = matmul_blocks(work, hw.dim)
    places = b_places(hw)
    turn = a_turn = 0
    for _ in range(rows):
        for k in range(0, depth, PART):
            for j in range(0, cols, PART):
                a_local = a_turn % A_PARTS * PART * hw.dim
                yield _Part(j, min(PART, cols - j), k, min(PART, depth - k), places[turn % len(places)], a_local)
                turn += 1
            a_turn += 1


def lower_rows(work: RowsMatmul, hw: Hardware) -> Program:
    """Return the program. Raises InputError as `check_rows` does."""
    check_rows(work, hw)
    product, stream = work.matmul, Stream(hw)
    if work.turned is not None:
        product = replace(product, b=work.turned, transpose_b=False)
        stream.emit_packed(matmul.lower_matmul(_turning(work), hw))
    matmul.emit_config(stream, product, hw)
    rows, cols, depth = matmul_blocks(product, hw.dim)
    a_strip = blocks_of(cols, PART) * blocks_of(depth, PART)
    parts = list(_parts(product, hw))
    _load(stream, product, hw, parts[0], 0)
    for strip in range(rows):
        if product.bias != "none":
            _load_bias(stream, product, hw, strip)
        for number in range(strip * a_strip, (strip + 1) * a_strip):
            if number + 1 < len(parts):
                _load(stream, product, hw, parts[number + 1], (number + 1) // a_strip)
            _compute(stream, product, hw, parts[number], strip)
        row = strip * hw.dim
        emit_passes(stream, _rows_of(product), hw, row, min(hw.dim, product.m - row), 0)
    stream.fence()
    return stream.program()


def _turning(work: RowsMatmul) -> Matmul:
    """Return the product that stores a transposed B in the order of multiplication: identity x B."""
    product = work.matmul
    assert work.identity is not None and work.turned is not None
    return Matmul(product.k, product.n, product.k, work.identity, product.b, work.turned, transpose_b=True, scale=1.0)


def _rows_of(work: Matmul) -> Norm:
    """Return the normalisation of the product's rows, whose input is in the accumulator."""
    kind: NormKind = "softmax" if work.activation == "softmax" else "layernorm"
    return Norm(work.m, work.n, kind, Operand(0, work.n), work.c, work.scale, work.bert_scale)


def _load_bias(stream: Stream, work: Matmul, hw: Hardware, strip: int) -> None:
    """Load the bias of a strip into the accumulator."""
    assert work.d is not None
    row, wide = strip * hw.dim, min(hw.max_block_len_acc, blocks_of(work.n, hw.dim)) * hw.dim
    rows = min(hw.dim, work.m - row)
    for col in range(0, work.n, wide):
        at = (0 if work.bias == "row" else row * work.d.row_stride) + col
        local = ACCUMULATOR_BIT + col
        stream.mvin(work.d.address + at * hw.acc_bytes, local, min(wide, work.n - col), rows, state=2)


def _load(stream: Stream, work: Matmul, hw: Hardware, part: _Part, strip: int) -> None:
    """Load a part of B, and A's part if it is needed."""
    dim = hw.dim
    if part.loads_a:
        row, col = strip * dim, part.k * dim
        source = work.a.address + hw.packed_bytes(row * work.a.row_stride + col, "a")
        stream.mvin(source, part.a_local, min(part.ks * dim, work.k - col), min(dim, work.m - row))
    across, down = ((part.k, part.ks, work.k), (part.j, part.js, work.n))
    if not work.transpose_b:
        across, down = down, across
    for line in range(down[1]):
        row, col = (down[0] + line) * dim, across[0] * dim
        source = work.b.address + hw.packed_bytes(row * work.b.row_stride + col, "b")
        cols, rows = min(across[1] * dim, across[2] - col), min(dim, down[2] - row)
        stream.mvin(source, part.b_local + line * PART * dim, cols, rows, state=1)


def _compute(stream: Stream, work: Matmul, hw: Hardware, part: _Part, strip: int) -> None:
    """Preload and compute each block of B in a part: K outside, columns inside, as the hardware loop does."""
    dim = hw.dim
    k, j = (axis.ravel() for axis in np.indices((part.ks, part.js)))
    deep = np.minimum(dim, work.k - (part.k + k) * dim)
    wide = np.minimum(dim, work.n - (part.j + j) * dim)
    rows = min(dim, work.m - strip * dim)
    place = j * PART + k if work.transpose_b else k * PART + j
    adds = np.where((part.k + k > 0) | (work.bias != "none"), ACCUMULATE_BIT, 0)
    found = np.empty((len(k), 2), COMMAND)
    found["gap"] = stream.gap
    preloads, computes = found[:, 0], found[:, 1]
    preloads["funct"], computes["funct"] = Funct.PRELOAD, Funct.COMPUTE_PRELOADED
    preloads["rs1"] = local_operand(part.b_local + place * dim, wide, deep)
    preloads["rs2"] = local_operand((ACCUMULATOR_BIT | adds) + (part.j + j) * dim, wide, rows)
    computes["rs1"] = local_operand(part.a_local + k * dim, deep, rows)
    computes["rs2"] = local_operand(GARBAGE_ADDRESS, dim, dim)
    stream.emit_packed(found.ravel())
