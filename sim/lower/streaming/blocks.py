"""Commands of a block of an attention in blocks (`sim.lower.streaming`), DRAM addresses relative to its operands.

Blocks of equal size and position have equal commands except for these addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sim.hardware import Hardware
from sim.isa.commands import ACCUMULATE_BIT, ACCUMULATOR_BIT, COMMAND, GARBAGE_ADDRESS, Funct, Program, local_operand
from sim.lower import matmul
from sim.lower.encode import LOAD_FUNCTS, Stream
from sim.lower.norm import emit_passes
from sim.lower.rows import PART, b_places
from sim.lower.tiling import blocks_of
from sim.lower.work import Matmul, Norm, Operand, Streaming

KEY_STATE, VALUE_STATE, ROW_STATE = range(3)
"""Load states: keys, values, and alternately bias, queries and probabilities."""

BANKS = 4
"""Banks of the scratchpad for which operands are laid out, as in every Gemmini machine."""

Numbers = npt.NDArray[np.int64]
Fill = Callable[[Stream], None]
At = Callable[[Numbers, Numbers], Numbers]
"""(Strip, block of K) -> scratchpad row."""


class Base(IntEnum):
    """Operand whose DRAM address is added to the first operand of a command."""

    NONE = 0
    QUERY = 1
    KEY = 2
    BIAS = 3
    PROBABILITY = 4
    VALUE = 5
    RESULT = 6


class RelativeCommands(NamedTuple):
    """Commands with DRAM addresses relative to the operands in ``bases``."""

    program: Program
    bases: Numbers

    def at(self, addresses: Mapping[Base, int]) -> Program:
        """Return the commands with the operands at ``addresses``."""
        placed = self.program.copy()
        placed["rs1"] += np.array([addresses.get(base, 0) for base in Base])[self.bases]
        return placed


@dataclass(frozen=True)
class HeadShape:
    """Blocks of DIM of a head: ``n`` of keys, ``k`` of a query, ``o`` of a value; all local addresses.

    ``part``: blocks of a part's side. ``probabilities``: first scratchpad rows of their parts, which alternate;
    ``keys``, ``values``: likewise. ``slot``: accumulator rows of a slot (half of the banks if there are two) with a
    block's scores and results.
    """

    n: int
    k: int
    o: int
    part: int
    probabilities: tuple[int, int]
    keys: tuple[int, ...]
    values: tuple[int, ...]
    slot: int

    def parts(self, across: int) -> list[tuple[int, int]]:
        """Return the parts of all keys (rows of parts) by ``across`` blocks: first key block, first block across."""
        return [(n, x) for n in range(0, self.n, self.part) for x in range(0, across, self.part)]


def shape_of(work: Streaming, hw: Hardware) -> HeadShape:
    """Return all local addresses. ``keys`` and ``values`` have fewer than two parts if the scratchpad is too small.

    With four banks loads write another bank than the array reads: probabilities alternate between the first and the
    last bank, keys and values between the two others.
    """
    scores, context = work.heads[0]
    n, k, o = (blocks_of(size, hw.dim) for size in (scores.n, scores.k, context.n))
    part = min(PART, hw.max_block_len)
    queries, taken = work.strips * k * hw.dim, work.strips * part * hw.dim
    bank_rows, b_rows = hw.sp_rows // hw.scratchpad.banks, PART * PART * hw.dim
    if hw.scratchpad.banks == BANKS and queries + taken <= bank_rows and 2 * b_rows <= bank_rows:
        probabilities = (queries, (BANKS - 1) * bank_rows)
        room = range(0, bank_rows - 2 * b_rows + 1, 2 * b_rows)
        keys, values = (
            tuple(bank * bank_rows + row + first for row in room for bank in (1, 2)) for first in (0, b_rows)
        )
    else:
        probabilities = (queries, queries + taken)
        places = b_places(hw, queries + 2 * taken)
        keys, values = tuple(places[::2]), tuple(places[1::2])
    return HeadShape(n, k, o, part, probabilities, keys, values, hw.acc_rows // work.slots)


class Blocks:
    """Makes the commands of blocks; ``rows``: queries of a block, ``number``: its number among all blocks."""

    def __init__(self, work: Streaming, hw: Hardware):
        self.work, self.hw, self.shape = work, hw, shape_of(work, hw)
        scores, self.context = work.heads[0]
        self.scores = scores if work.turned is None else replace(scores, b=work.turned, transpose_b=False)

    def _heights(self, rows: int) -> Numbers:
        """Return the queries of each strip of a block of ``rows``."""
        first = np.arange(0, rows, self.work.height)
        return np.minimum(self.work.height, rows - first)

    def _loads(
        self, operand: Operand, base: Base, rows: tuple[int, int], cols: tuple[int, int], place: int, per_row: int = 0
    ) -> RelativeCommands:
        """Return loads of rows and columns ``(first, behind)`` of an operand, DIM rows and a part's columns at a time.

        ``place``: first scratchpad row; consecutive groups of DIM rows of the operand are ``per_row`` blocks apart.
        """
        dim, wide = self.hw.dim, self.shape.part * self.hw.dim
        row, col = (axis.ravel() for axis in np.meshgrid(np.arange(*rows, dim), np.arange(*cols, wide), indexing="ij"))
        state = {Base.KEY: KEY_STATE, Base.VALUE: VALUE_STATE}.get(base, ROW_STATE)
        source = (row * operand.row_stride + col) * self.hw.input_bytes
        local = place + (row - rows[0]) * per_row + col - cols[0]
        shape = local_operand(local, np.minimum(wide, cols[1] - col), np.minimum(dim, rows[1] - row))
        return self._commands(np.full(len(row), int(LOAD_FUNCTS[state])), source, shape, base)

    def _commands(self, funct: Numbers, rs1: Numbers, rs2: Numbers, base: Base = Base.NONE) -> RelativeCommands:
        commands = np.zeros(len(funct), COMMAND)
        commands["funct"], commands["rs1"], commands["rs2"] = funct, rs1, rs2
        commands["gap"] = self.hw.cpu.command_cycles
        return RelativeCommands(commands, np.full(len(funct), int(base)))

    def _plain(self, fill: Fill) -> RelativeCommands:
        program = self.stream(fill)
        return RelativeCommands(program, np.zeros(len(program), np.int64))

    def _strip_loads(
        self, operand: Operand, base: Base, rows: int, cols: tuple[int, int], place: int, per_strip: int
    ) -> list[RelativeCommands]:
        """Return the loads of a block's strips, beginning at scratchpad row ``place``, ``per_strip`` blocks each."""
        found = []
        for strip, high in enumerate(self._heights(rows)):
            first = strip * self.work.height
            local = place + strip * per_strip * self.hw.dim
            found.append(self._loads(operand, base, (first, first + int(high)), cols, local))
        return found

    def scores_commands(self, rows: int, number: int, fresh: bool) -> tuple[RelativeCommands, RelativeCommands]:
        """Return the first loads of a block of scores, and its commands."""
        shape, dim, product = self.shape, self.hw.dim, self.scores
        slot = self._slot(number)
        head = self._bias(rows, slot)
        head.append(self._configured_rows(product.a.row_stride, product.a_scale))
        head += self._strip_loads(product.a, Base.QUERY, rows, (0, product.k), 0, shape.k)
        loads, computes = [], []
        for turn, (n, k) in enumerate(shape.parts(shape.k)):
            place = shape.keys[turn % len(shape.keys)]
            down, across = ((n, product.n), (k, product.k)) if product.transpose_b else ((k, product.k), (n, product.n))
            loads.append(self._part(product.b, Base.KEY, down, across, place) if fresh else None)
            blocks = (k, min(shape.part, shape.k - k)), (n, min(shape.part, shape.n - n))
            a_at = partial(_row_of, dim=dim, per_strip=shape.k, first=0)
            results = (slot, shape.n, product.bias != "none")
            computes.append(self._computes(product, rows, blocks, place, a_at, results))
        lead = [self._plain(lambda stream: stream.config_ex(transpose_b=True))] if product.transpose_b else []
        return self._pipelined(head, lead, loads, computes)

    def context_commands(self, rows: int, number: int, fresh: bool) -> tuple[RelativeCommands, RelativeCommands]:
        """Return the first loads of the product of a block's probabilities with the values, and its commands."""
        shape, dim, product = self.shape, self.hw.dim, self.context
        head = [self._configured_rows(self.work.buffer.row_stride, product.a_scale)]
        loads, computes = [], []
        for turn, (n, o) in enumerate(shape.parts(shape.o)):
            place = shape.values[turn % len(shape.values)]
            a_first = shape.probabilities[n // shape.part % 2]
            needed: list[RelativeCommands] = []
            if o == 0:
                cols = (n * dim, min((n + shape.part) * dim, product.k))
                needed += self._strip_loads(self.work.buffer, Base.PROBABILITY, rows, cols, a_first, shape.part)
            if fresh:
                needed.append(self._part(product.b, Base.VALUE, (n, product.k), (o, product.n), place))
            loads.append(_joined(needed) if needed else None)
            blocks = (n, min(shape.part, shape.n - n)), (o, min(shape.part, shape.o - o))
            a_at = partial(_row_of, dim=dim, per_strip=shape.part, first=a_first - n * dim)
            computes.append(
                self._computes(product, rows, blocks, place, a_at, (self._results_row(number), shape.o, False))
            )
        lead = [self._plain(lambda stream: stream.config_ex())] if self.scores.transpose_b else []
        return self._pipelined(head, lead, loads, computes)

    def _configured_rows(self, stride: int, scale: float) -> RelativeCommands:
        return self._plain(lambda stream: stream.config_ld(stride * self.hw.input_bytes, ROW_STATE, scale=scale))

    def _part(
        self, operand: Operand, base: Base, down: tuple[int, int], across: tuple[int, int], place: int
    ) -> RelativeCommands:
        """Return the loads of one part of keys or values; ``down``, ``across``: first block, elements in all."""
        dim, part = self.hw.dim, self.shape.part
        rows, cols = ((first * dim, min((first + part) * dim, size)) for first, size in (down, across))
        return self._loads(operand, base, rows, cols, place, part)

    def _pipelined(
        self,
        head: list[RelativeCommands],
        lead: list[RelativeCommands],
        loads: list[RelativeCommands | None],
        computes: list[RelativeCommands],
    ) -> tuple[RelativeCommands, RelativeCommands]:
        """Return head and body of a phase.

        The loads of each part are placed before the computes of the previous part.
        """
        head = [*head, *([loads[0]] if loads[0] is not None else [])]
        body = list(lead)
        for number, compute in enumerate(computes):
            ahead = loads[number + 1] if number + 1 < len(loads) else None
            body += [] if ahead is None else [ahead]
            body.append(compute)
        return _joined(head), _joined(body)

    def _computes(
        self,
        product: Matmul,
        rows: int,
        blocks: tuple[tuple[int, int], tuple[int, int]],
        place: int,
        a_at: At,
        results: tuple[int, int, bool],
    ) -> RelativeCommands:
        """Return preload and compute of every block of a part, each for all strips while its weights stay.

        ``blocks``: (first, number) along K and the columns; ``a_at``: (strip, block of K) -> scratchpad row;
        ``results``: first accumulator row, blocks of a row, whether to add to the contents.
        """
        dim, part, height = self.hw.dim, self.shape.part, self.work.height
        (k_first, ks), (j_first, js) = blocks
        first, per_row, adds = results
        high = self._heights(rows)
        k, j, strip = (axis.ravel() for axis in np.indices((ks, js, len(high))))
        deep = np.minimum(dim, product.k - (k_first + k) * dim)
        wide = np.minimum(dim, product.n - (j_first + j) * dim)
        block = j * part + k if product.transpose_b else k * part + j
        weights = np.where(strip == 0, place + block * dim, GARBAGE_ADDRESS)
        bits = np.where((k_first + k > 0) | adds, ACCUMULATE_BIT, 0) | ACCUMULATOR_BIT
        result = bits + first + (strip * per_row + j_first + j) * height
        funct, rs1, rs2 = (np.empty(2 * len(k), np.int64) for _ in range(3))
        funct[::2], funct[1::2] = (
            int(Funct.PRELOAD),
            np.where(strip == 0, int(Funct.COMPUTE_PRELOADED), int(Funct.COMPUTE_ACCUMULATED)),
        )
        rs1[::2], rs2[::2] = local_operand(weights, wide, deep), local_operand(result, wide, high[strip])
        rs1[1::2] = local_operand(a_at(strip, k_first + k), deep, high[strip])
        rs2[1::2] = local_operand(np.int64(GARBAGE_ADDRESS), dim, dim)
        return self._commands(funct, rs1, rs2)

    def _bias(self, rows: int, slot: int) -> list[RelativeCommands]:
        """Return the loads of the bias of a block of scores."""
        product, hw, height = self.scores, self.hw, self.work.height
        if product.bias == "none" or product.d is None:
            return []
        stride = 0 if product.bias == "row" else product.d.row_stride
        narrow = height if height < hw.dim else 0
        found = [self._plain(lambda stream: stream.config_ld(stride * hw.acc_bytes, ROW_STATE, block_rows=narrow))]
        wide = hw.max_block_len_acc * hw.dim
        for strip, high in enumerate(self._heights(rows)):
            col = np.arange(0, product.n, wide)
            local = ACCUMULATOR_BIT + slot + (strip * self.shape.n + col // hw.dim) * height
            shape = local_operand(local, np.minimum(wide, product.n - col), int(high))
            source = (strip * height * stride + col) * hw.acc_bytes
            found.append(self._commands(np.full(len(col), int(LOAD_FUNCTS[ROW_STATE])), source, shape, Base.BIAS))
        return found

    def passes(self, rows: int, number: int) -> tuple[RelativeCommands]:
        """Return the normaliser's passes over a block of scores, which end in its buffer."""
        product, height = self.scores, self.work.height
        norm = Norm(
            product.m, product.n, "softmax", Operand(0, product.n), Operand(0, self.work.buffer.row_stride),
            product.scale, product.bert_scale,
        )  # fmt: skip

        def fill(stream: Stream) -> None:
            for strip, high in enumerate(self._heights(rows)):
                base = self._slot(number) + strip * self.shape.n * height
                emit_passes(stream, norm, self.hw, strip * height, int(high), base, height)

        program = self.stream(fill)
        bases = np.where(program["funct"] == Funct.MVOUT, int(Base.PROBABILITY), int(Base.NONE))
        return (RelativeCommands(program, bases),)

    def result_stores(self, rows: int, number: int) -> tuple[RelativeCommands]:
        """Return the stores of a block's results, and the configuration of the stores after them."""
        product, hw, height = self.context, self.hw, self.work.height
        stride = product.c.row_stride * hw.input_bytes
        found = [self._plain(lambda stream: stream.config_st(stride, scale=product.scale))]
        wide = hw.dim * (hw.max_block_len if height == hw.dim else 1)
        for strip, high in enumerate(self._heights(rows)):
            col = np.arange(0, product.n, wide)
            local = ACCUMULATOR_BIT + self._results_row(number) + (strip * self.shape.o + col // hw.dim) * height
            shape = local_operand(local, np.minimum(wide, product.n - col), int(high))
            source = (strip * height * product.c.row_stride + col) * hw.input_bytes
            found.append(self._commands(np.full(len(col), int(Funct.MVOUT)), source, shape, Base.RESULT))
        return (_joined([*found, self._plain(self.configure_passes)]),)

    def configure_passes(self, stream: Stream) -> None:
        """Configure the stores of probabilities and the normaliser."""
        stream.config_st(self.work.buffer.row_stride * self.hw.input_bytes, scale=self.scores.scale)
        matmul.emit_softmax_constants(stream, self.scores.bert_scale)

    def _slot(self, number: int) -> int:
        """Return the first accumulator row of block ``number``'s scores."""
        return number % self.work.slots * self.shape.slot

    def _results_row(self, number: int) -> int:
        """Return the first accumulator row of block ``number``'s results, after its scores."""
        return self._slot(number) + self.work.block * self.shape.n

    def stream(self, fill: Fill) -> Program:
        """Return the commands that ``fill`` emits."""
        stream = Stream(self.hw)
        fill(stream)
        return stream.program()


def _row_of(strip: Numbers, block: Numbers, *, dim: int, per_strip: int, first: int) -> Numbers:
    """Return the scratchpad row of a block of A: ``per_strip`` blocks per strip, beginning at row ``first``."""
    return first + (strip * per_strip + block) * dim


def _joined(parts: list[RelativeCommands]) -> RelativeCommands:
    programs, bases = zip(*parts, strict=True)
    return RelativeCommands(np.concatenate(programs), np.concatenate(bases))
