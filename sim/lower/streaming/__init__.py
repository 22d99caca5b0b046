"""Attention in blocks of queries: scores, softmax and the product with the values without the scores in memory.

A block of scores has whole rows in the accumulator. While the normaliser processes one block, the array computes the
scores of the next and multiplies the probabilities of the previous one with the values; if the accumulator has room for
only one block of scores, only the latter. Probabilities go through a buffer of two blocks in memory, as results leave
the accumulator to memory only; a fence ends each iteration, as the DMA does not compare the addresses of loads and
stores. Keys and values stay in the scratchpad for all blocks of a head if they fit, else they are loaded for each block
in parts of `PART` x `PART` blocks of DIM.

With strips of fewer than DIM queries rows can have more columns: their blocks are ``height`` rows apart. An online
softmax, of rows in pieces, is impossible: no command reads the normaliser's statistics or scales values in the
accumulator.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.isa.commands import COMMAND, Program
from sim.lower import matmul
from sim.lower.by_hand import interleaved
from sim.lower.call import Call
from sim.lower.encode import Stream
from sim.lower.streaming.blocks import KEY_STATE, VALUE_STATE, Base, Blocks, RelativeCommands, shape_of
from sim.lower.work import Matmul, Operand, Streaming


def accumulator_rows(n: int, o: int, height: int, strips: int, slots: int) -> int:
    """Return the accumulator rows of ``slots`` blocks of scores (``n`` blocks wide) and of results (``o``)."""
    return height * strips * slots * (n + o)


def check_streaming(work: Streaming, hw: Hardware) -> None:
    """Raise InputError if the machine or the program refuses the item (all problems in one error)."""
    if not work.parts or len(work.parts) % 2:
        raise InputError("streaming: each head needs two products; nearest: 2 parts")
    scores, context = work.heads[0]
    for product in (scores, context):
        matmul.check(product, hw)
    problems = []
    for pair in work.heads:
        if [_shape(one) for one in pair] != [_shape(one) for one in work.heads[0]]:
            problems.append("its heads differ in more than addresses")
    if scores.activation != "softmax" or scores.transpose_a or scores.low_d or scores.full_c:
        problems.append("the first product must have softmax, and A stored by rows")
    if context.activation != "none" or context.bias != "none" or context.transpose_a or context.transpose_b:
        problems.append("the second product must have no activation, no bias and no transposed operand")
    if context.full_c or (context.m, context.k) != (scores.m, scores.n):
        problems.append(f"the second product must take {scores.m} x {scores.n} and store elements")
    turns = (work.identity is None, work.turned is None)
    if turns[0] != turns[1] or (not turns[0] and not scores.transpose_b):
        problems.append("keys can be turned only if they are stored by rows, with an identity")
    if not 1 <= work.height <= hw.dim:
        problems.append(f"height {work.height} must be 1..{hw.dim}")
    if work.strips < 1 or work.slots not in (1, 2):
        problems.append(f"strips {work.strips} must be >= 1, slots {work.slots} 1 or 2")
    problems += [] if problems else _room_problems(work, hw)
    if problems:
        raise InputError([f"{work.title}: {problem}" for problem in dict.fromkeys(problems)])


def _shape(product: Matmul) -> Matmul:
    """Return a product without its addresses."""
    at: dict[str, Any] = {name: Operand(0, getattr(product, name).row_stride) for name in "abc"}
    return replace(product, **at, d=None if product.d is None else Operand(0, product.d.row_stride))


def _room_problems(work: Streaming, hw: Hardware) -> list[str]:
    shape = shape_of(work, hw)
    rows = accumulator_rows(shape.n, shape.o, work.height, work.strips, work.slots)
    found = []
    if rows > hw.acc_rows:
        found.append(f"a block takes {rows} rows of the accumulator, which has {hw.acc_rows}")
    if len(shape.values) < 2:
        found.append(f"parts of keys and values do not fit beside {work.block} queries in {hw.sp_rows} scratchpad rows")
    return found


def lower_streaming(work: Streaming, hw: Hardware) -> Program:
    """Return the program. Raises InputError as `check_streaming` does."""
    check_streaming(work, hw)
    return np.concatenate(list(_Turns(work, hw).turns()))


def call_streaming(work: Streaming, hw: Hardware) -> Call:
    """Return the call of an attention in blocks, which the library lacks: priced part by part (`sim.cpu.calls`)."""
    return matmul.call_matmul(work.parts[0], hw)


class _Block(NamedTuple):
    """A block of queries: its head, its first query, its queries, and its number among all blocks."""

    head: int
    row: int
    rows: int
    number: int


Maker = Callable[..., tuple[RelativeCommands, ...]]


class _Turns:
    """The program of one item under construction; commands of equal blocks are made once."""

    def __init__(self, work: Streaming, hw: Hardware):
        self.work, self.hw, self.made = work, hw, Blocks(work, hw)
        self._known: dict[Hashable, tuple[RelativeCommands, ...]] = {}
        m = work.parts[0].m
        starts = [(head, row) for head in range(len(work.heads)) for row in range(0, m, work.block)]
        self.blocks = [_Block(*at, min(work.block, m - at[1]), number) for number, at in enumerate(starts)]

    def turns(self) -> Iterator[Program]:
        """Yield the commands of each iteration: those hidden by a block's normalisation, and a fence."""
        for head in range(len(self.work.heads) if self.work.turned is not None else 0):
            yield self._turning(head)
        yield self._configured()
        lag = self.work.slots
        fence = self.made.stream(lambda stream: stream.fence())
        for turn in range(len(self.blocks) + lag):
            begun, normalised, behind = (self._at(turn - back) for back in (0, lag - 1, lag))
            if lag == 1 and begun is not None:
                yield np.concatenate(self._array(begun, None))
            passes = self._placed(normalised, self.made.passes) if normalised else [np.zeros(0, COMMAND)]
            loads, array = self._array(begun if lag == 2 else None, behind)
            yield loads
            yield interleaved(array, passes[0]) if len(array) and len(passes[0]) else np.concatenate([array, *passes])
            if behind is not None:
                yield self._placed(behind, self.made.result_stores)[0]
            yield fence

    def _at(self, number: int) -> _Block | None:
        return self.blocks[number] if 0 <= number < len(self.blocks) else None

    def _array(self, scores: _Block | None, context: _Block | None) -> tuple[Program, Program]:
        """Return the first loads of the array's work on two blocks, and the commands after them."""
        heads, bodies = [np.zeros(0, COMMAND)], [np.zeros(0, COMMAND)]
        shape, made = self.made.shape, self.made
        for block, make, across, places in (
            (scores, made.scores_commands, shape.k, shape.keys),
            (context, made.context_commands, shape.o, shape.values),
        ):
            if block is not None:
                stays = len(shape.parts(across)) <= len(places)
                head, body = self._placed(block, make, block.row == 0 or not stays)
                heads.append(head)
                bodies.append(body)
        return np.concatenate(heads), np.concatenate(bodies)

    def _placed(self, block: _Block, make: Maker, *more: bool) -> list[Program]:
        """Return commands of a block at its addresses. ``more``: whether its keys or values are to be loaded."""
        key = (make.__name__, block.rows, block.number % 2, *more)
        if key not in self._known:
            self._known[key] = make(block.rows, block.number, *more)
        addresses = self._addresses(block)
        return [part.at(addresses) for part in self._known[key]]

    def _addresses(self, block: _Block) -> dict[Base, int]:
        scores, context = self.work.heads[block.head]
        hw, row, bias = self.hw, block.row, 0
        if scores.d is not None and scores.bias != "none":
            bias = scores.d.address + (0 if scores.bias == "row" else row * scores.d.row_stride) * hw.acc_bytes
        buffer = self.work.buffer
        return {
            Base.QUERY: scores.a.address + row * scores.a.row_stride * hw.input_bytes,
            Base.KEY: scores.b.address if self.work.turned is None else self._turned(block.head).address,
            Base.BIAS: bias,
            Base.PROBABILITY: buffer.address + block.number % 2 * self.work.block * buffer.row_stride * hw.input_bytes,
            Base.VALUE: context.b.address,
            Base.RESULT: context.c.address + row * context.c.row_stride * hw.input_bytes,
        }

    def _turning(self, head: int) -> Program:
        """Return the product that stores a head's keys in the order of multiplication: identity x K."""
        product, identity, turned = self.work.heads[head][0], self.work.identity, self._turned(head)
        assert identity is not None
        turning = Matmul(product.k, product.n, product.k, identity, product.b, turned, transpose_b=True, scale=1.0)
        return matmul.lower_matmul(turning, self.hw)

    def _turned(self, head: int) -> Operand:
        """Return the operand of a head's turned keys."""
        turned, depth = self.work.turned, self.work.parts[0].k
        assert turned is not None
        return replace(turned, address=turned.address + head * depth * turned.row_stride * self.hw.input_bytes)

    def _configured(self) -> Program:
        """Return the configurations that hold for all iterations."""
        scores, context, element = self.made.scores, self.made.context, self.hw.input_bytes

        def fill(stream: Stream) -> None:
            stream.config_ex(transpose_b=scores.transpose_b)
            stream.config_ld(scores.b.row_stride * element, KEY_STATE, scale=scores.b_scale)
            stream.config_ld(context.b.row_stride * element, VALUE_STATE, scale=context.b_scale)
            self.made.configure_passes(stream)

        return self.made.stream(fill)
