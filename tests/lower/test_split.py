"""Work items cut for several cores: the pieces cover the item once, lie in its tensors, and come out even."""

from __future__ import annotations

import pytest
from helpers.clocks import WORKS

from sim.base.errors import InputError
from sim.hardware import load
from sim.lower import BlockSparseMatmul, Matmul, Operand, build, lower
from sim.lower.split import cut, shares

HW = load("gemmini_default")


CUT = ("matmul", "row_bias_full_c", "one_row", "transposed_b", "transposed_a", "softmax_fused", "resadd", "layernorm",
       "conv")  # fmt: skip


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("parts", (2, 3, 5))
@pytest.mark.parametrize("rows", (False, True))
def test_pieces_cover_the_result_once_and_no_byte_twice(name: str, parts: int, rows: bool) -> None:
    work = WORKS[name]
    pieces = cut(work, parts, load("gemmini_ibert"), rows=rows)
    assert sum(piece.macs for piece in pieces) == work.macs
    results = [byte for piece in pieces for byte in _bytes(piece)]
    assert len(results) == len(set(results)) and set(results) == set(_bytes(work))
    assert all(len(lower(piece, load("gemmini_ibert"))) > 0 for piece in pieces)


def _bytes(work: object) -> list[int]:
    """Addresses of the elements of the result, of input type."""
    if hasattr(work, "out_channels"):
        pixels, columns, c, step = work.batch * work.pooled_rows * work.pooled_cols, work.out_channels, work.c, 1
    else:
        pixels, columns = (work.m, work.n) if hasattr(work, "m") else (work.rows, work.cols)  # type: ignore[attr-defined]
        c, step = work.c, 4 if getattr(work, "full_c", False) else 1  # type: ignore[attr-defined]
    return [c.address + step * (row * c.row_stride + column) for row in range(pixels) for column in range(columns)]


def test_columns_of_b_lie_where_they_did() -> None:
    work = build.matmul(32, 96, 64)
    first, second = cut(work, 2, HW)
    assert isinstance(first, Matmul) and isinstance(second, Matmul)
    assert (first.n, second.n) == (48, 48)
    assert second.b == Operand(work.b.address + 48, work.b.row_stride) and second.a == work.a
    turned = build.matmul(32, 96, 64, transpose_b=True)
    assert cut(turned, 2, HW)[1].b.address == turned.b.address + 48 * turned.b.row_stride  # type: ignore[union-attr]


def test_heads_are_dealt_out_whole_where_they_come_out_even_and_cut_where_not() -> None:
    heads = [build.matmul(128, 128, 64)] * 12
    assert [len(share) for share in shares(heads, 4, HW)] == [3, 3, 3, 3]
    for cores in (8, 16, 5):
        dealt = shares(heads, cores, HW)
        macs = [sum(work.macs for work in share) for share in dealt]
        assert sum(macs) == 12 * 128 * 128 * 64 and max(macs) <= 1.15 * min(macs)


def test_a_single_row_is_cut_by_columns_alone() -> None:
    assert [bool(share) for share in shares([build.matmul(1, 32, 64)], 4, HW)].count(True) == 2
    assert [bool(share) for share in shares([build.matmul(1, 32, 64)], 4, HW, rows=True)].count(True) == 1


def test_what_cannot_be_cut_is_reported() -> None:
    sparse = BlockSparseMatmul(build.matmul(32, 32, 32), ((True, False), (False, True)), 0)
    with pytest.raises(InputError, match="BlockSparseMatmul cannot be cut"):
        cut(sparse, 2, HW)
