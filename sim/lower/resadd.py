"""Residual addition in the accumulator, one hardware loop per tile (tiled_resadd_auto)."""

from __future__ import annotations

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.isa.commands import Program
from sim.lower.call import Call
from sim.lower.encode import MatmulLoop, Stream
from sim.lower.tiling import blocks_of
from sim.lower.work import Operand, ResidualAdd


def resadd_tile(rows: int, cols: int, hw: Hardware) -> tuple[int, int]:
    """Return the library's tile (rows, cols) in elements."""
    return search_resadd_tile(rows, cols, hw)[0]


def search_resadd_tile(rows: int, cols: int, hw: Hardware) -> tuple[tuple[int, int], int]:
    """Halve rows or remove a block of columns until the tile fits; return the tile and the number of passes.

    Raises InputError if not even one block fits into half of the accumulator.
    """
    if hw.dim > hw.acc_rows // 2:
        raise InputError(
            f"residual add: a block takes {hw.dim} accumulator rows, half of the accumulator has {hw.acc_rows // 2} "
            f"(nearest: accumulator.capacity_bytes = {2 * hw.dim * hw.dim * hw.acc_bytes})"
        )
    tile_rows, tile_cols = rows, cols
    passes = 0
    while acc_rows_of((tile_rows, tile_cols), hw) > hw.acc_rows // 2:
        if tile_rows >= tile_cols or tile_cols <= hw.dim:
            tile_rows //= 2
        else:
            tile_cols -= hw.dim
        passes += 1
    return (tile_rows, tile_cols), passes


def acc_rows_of(tile: tuple[int, int], hw: Hardware) -> int:
    """Return the accumulator rows that a tile of elements takes."""
    return blocks_of(tile[0], hw.dim) * hw.dim * blocks_of(tile[1], hw.dim)


def chosen_tile(work: ResidualAdd, hw: Hardware) -> tuple[int, int]:
    """Return the item's tile or the library's choice. Raises InputError if the item's tile does not fit."""
    nearest = resadd_tile(work.rows, work.cols, hw)
    if work.tile is None:
        return nearest
    problems = [
        f"residual add tile: {name} = {size} must be 1..{limit}"
        for name, size, limit in zip(("rows", "cols"), work.tile, (work.rows, work.cols), strict=True)
        if not 1 <= size <= limit
    ]
    if work.tile[1] % hw.dim and work.tile[1] < work.cols:
        problems.append(f"residual add tile: cols = {work.tile[1]} must be a multiple of {hw.dim}, or all {work.cols}")
    if (acc := acc_rows_of(work.tile, hw)) > hw.acc_rows // 2:
        problems.append(
            f"residual add tile {work.tile}: needs {acc} accumulator rows, half of it has {hw.acc_rows // 2}"
        )
    if problems:
        raise InputError([f"{problem}; a legal tile: {nearest}" for problem in problems])
    return work.tile


def check_resadd(work: ResidualAdd, hw: Hardware) -> tuple[int, int]:
    """Return the tile of a residual addition. Raises InputError on sizes below 1 and a tile too large."""
    problems = [
        f"residual add: {name} = {getattr(work, name)} must be >= 1"
        for name in ("rows", "cols")
        if getattr(work, name) < 1
    ]
    if problems:
        raise InputError(problems)
    return chosen_tile(work, hw)


def lower_resadd(work: ResidualAdd, hw: Hardware) -> Program:
    """Return the program of one residual addition. Raises InputError as `check_resadd` does.

    Each operand has its own row stride, 0 for one row that is added to all: the C library has one stride for all three
    operands, but load states and hardware loop have three.
    """
    tile_rows, tile_cols = check_resadd(work, hw)
    b = work.b or Operand(0, work.a.row_stride)
    stream = Stream(hw, inlined=True, folded=search_resadd_tile(work.rows, work.cols, hw)[1] == 0)
    stream.mark("resadd_config")
    stream.config_st(hw.packed_bytes(work.c.row_stride, "c"), activation=int(work.relu), scale=work.c_scale)
    stream.config_ex()
    stream.config_ld(hw.packed_bytes(work.a.row_stride, "a"), 0, scale=work.a_scale, shrink=True)
    stream.config_ld(hw.packed_bytes(b.row_stride, "b"), 1, scale=work.b_scale, shrink=True)
    for row in range(0, work.rows, tile_rows):
        for col in range(0, work.cols, tile_cols):
            stream.mark("resadd_loop" if row or col else "resadd_loop_first")
            rows, cols = min(tile_rows, work.rows - row), min(tile_cols, work.cols - col)
            i, j = blocks_of(rows, hw.dim), blocks_of(cols, hw.dim)
            to_a, to_b, to_c = (
                hw.packed_bytes(row * operand.row_stride + col, name)
                for name, operand in (("a", work.a), ("b", b), ("c", work.c))
            )
            stream.loop_ws(
                MatmulLoop(
                    (i, j, 0),
                    (i * hw.dim - rows, j * hw.dim - cols, 0),
                    (work.a.address + to_a, b.address + to_b if work.b else 0, 0, work.c.address + to_c),
                    (work.a.row_stride, b.row_stride, 0, work.c.row_stride),
                    activation=int(work.relu),
                    residual=True,
                )
            )
    stream.fence()
    return stream.program()


def call_resadd(work: ResidualAdd, hw: Hardware) -> Call:
    """Return the library call of a residual addition."""
    passes = 0 if work.tile is not None else search_resadd_tile(work.rows, work.cols, hw)[1]
    padded = work.rows % hw.dim or chosen_tile(work, hw)[0] % hw.dim
    return Call("resadd", passes, folded=passes == 0, paths=("resadd_padded",) if padded else ())
