"""Mappings of passes over rows: sums of two operands, and normalisations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import ceil, prod
from typing import Any

from sim.hardware import Hardware
from sim.lower.norm import norm_tile_rows
from sim.lower.resadd import acc_rows_of, chosen_tile, resadd_tile
from sim.lower.tiling import blocks_of
from sim.lower.work import Norm, ResidualAdd
from sim.mapping.bounds import LOOP_COMMANDS, NORM_PASSES, Demand
from sim.mapping.kinds.kind import MappedKind, Reach, even_sizes
from sim.mapping.opmapping import OpMapping


def resadd_space(work: ResidualAdd, hw: Hardware, *, even: bool = False) -> Iterator[OpMapping]:
    """Yield the tiles of whole blocks that half of the accumulator holds."""
    rows, cols = blocks_of(work.rows, hw.dim), blocks_of(work.cols, hw.dim)
    sizes = [even_sizes(total) if even else list(range(1, total + 1)) for total in (rows, cols)]
    for i, j in product(*sizes):
        tile = (min(work.rows, i * hw.dim), min(work.cols, j * hw.dim))
        if acc_rows_of(tile, hw) <= hw.acc_rows // 2:
            yield OpMapping("residual_add", tile)


def norm_space(work: Norm, hw: Hardware) -> Iterator[OpMapping]:
    """Yield whole blocks of rows, and all that fit."""
    most = norm_tile_rows(replace(work, tile_rows=None), hw)
    for rows in sorted({*range(hw.dim, most, hw.dim), most}):
        yield OpMapping("norm", (rows,))


class _Rows(MappedKind):
    """Common part of both: every element is loaded and stored once with any tile."""

    def size(self, work: Any, hw: Hardware, reach: Reach) -> int:
        """Return an upper estimate of the number of mappings in `space`, without listing them."""
        return prod(blocks_of(limit, hw.dim) for limit in self.limits(work, hw))

    def pass_over(self, work: ResidualAdd | Norm, element_bytes: int, hw: Hardware) -> Demand:
        """Return the demand of one pass over the rows: bytes read for each element, no loop command, no stored row."""
        read_bytes, c_bytes = work.rows * work.cols * element_bytes, work.rows * work.cols * hw.input_bytes
        return Demand(
            array_rows=0,
            read_bytes=read_bytes,
            write_bytes=c_bytes,
            read_requests=ceil(read_bytes / hw.dma.max_request_bytes),
            write_requests=ceil(c_bytes / hw.dma.max_request_bytes),
            load_commands=0,
            issued_commands=0,
        )


class Sums(_Rows):
    """Residual additions, through the matmul loop."""

    def shape(self, work: ResidualAdd) -> str:
        """Return the sizes in words."""
        return f"residual_add {work.rows}x{work.cols}"

    def limits(self, work: ResidualAdd, hw: Hardware) -> tuple[int, ...]:
        """Return the whole operator as one tile."""
        return work.rows, work.cols

    def library(self, work: ResidualAdd, hw: Hardware) -> OpMapping:
        """Return the mapping that Gemmini's C library gives. Raises InputError when nothing fits."""
        return OpMapping("residual_add", resadd_tile(work.rows, work.cols, hw))

    def check(self, mapped: ResidualAdd, hw: Hardware) -> None:
        """Raise InputError for each rule that a mapped item breaks."""
        chosen_tile(mapped, hw)

    def space(self, work: ResidualAdd, hw: Hardware, *, even: bool, reach: Reach) -> Iterator[OpMapping]:
        """Yield the legal mappings; ``even``: only those with even tiles."""
        return resadd_space(work, hw, even=even)

    def demand(self, work: ResidualAdd, mapping: OpMapping, hw: Hardware) -> Demand:
        """Return what a mapping asks of the shared resources at least."""
        loops = blocks_of(work.rows, mapping.tile[0]) * blocks_of(work.cols, mapping.tile[1])
        return replace(self.pass_over(work, 2 * hw.input_bytes, hw), issued_commands=LOOP_COMMANDS["matmul"] * loops)


class Normalisations(_Rows):
    """LayerNorm and softmax; a normalised row leaves the accumulator three times."""

    def shape(self, work: Norm) -> str:
        """Return the sizes in words."""
        return f"{work.kind} {work.rows}x{work.cols}"

    def limits(self, work: Norm, hw: Hardware) -> tuple[int, ...]:
        """Return the whole operator as one tile."""
        return (work.rows,)

    def library(self, work: Norm, hw: Hardware) -> OpMapping:
        """Return the mapping that Gemmini's C library gives. Raises InputError when nothing fits."""
        return OpMapping("norm", (norm_tile_rows(replace(work, tile_rows=None), hw),))

    def check(self, mapped: Norm, hw: Hardware) -> None:
        """Raise InputError for each rule that a mapped item breaks."""
        norm_tile_rows(mapped, hw)

    def space(self, work: Norm, hw: Hardware, *, even: bool, reach: Reach) -> Iterator[OpMapping]:
        """Yield whole blocks of rows, and all that fit."""
        return norm_space(work, hw)

    def demand(self, work: Norm, mapping: OpMapping, hw: Hardware) -> Demand:
        """Return what a mapping asks of the shared resources at least."""
        rows = NORM_PASSES * work.rows * blocks_of(work.cols, hw.dim)
        return replace(self.pass_over(work, hw.acc_bytes, hw), store_rows=rows)
