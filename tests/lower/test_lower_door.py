"""The door of the lowering: refusals, rows of the tables, placement, the pace of the CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import hardware
from sim.base.errors import InputError
from sim.isa.commands import Funct
from sim.lower import BlockSparseMatmul, build, encoder, lower, place, with_gap
from sim.validate.row_items import item_of_row, repeats

DEFAULT = hardware.load("gemmini_default")
IBERT = hardware.load("gemmini_ibert")
LEAN = hardware.load("gemmini_lean")


@given(sizes=st.lists(st.integers(0, 100_000), max_size=6))
def test_operands_are_page_aligned_and_never_overlap(sizes):
    addresses = place(sizes)
    assert all(address % 4096 == 0 for address in addresses)
    ends = [address + size for address, size in zip(addresses, sizes, strict=True)]
    assert all(end <= start for end, start in zip(ends, addresses[1:], strict=False))
    assert addresses[:1] in ([], [0x2001_0000])


@pytest.mark.parametrize(
    ("work", "hw", "words"),
    [
        (build.matmul(0, 4, -1), DEFAULT, ["m = 0 must be >= 1", "k = -1 must be >= 1"]),
        (build.matmul(16, 16, 16, dataflow="OS"), LEAN, ["this array is built for WS only"]),
        (build.matmul(16, 16, 16, full_c=True), LEAN, ["read_full_width"]),
        (build.matmul(16, 16, 16, transpose_a=True, transpose_b=True), DEFAULT, ["one transposer"]),
        (
            build.matmul(16, 16, 16, transpose_b=True, dataflow="OS"),
            DEFAULT,
            ["transpose_b needs dataflow WS"],
        ),
        (build.matmul(16, 16, 16, activation="softmax"), DEFAULT, ["no normalisation units"]),
        (replace(build.matmul(16, 16, 16, bias="row"), d=None), DEFAULT, ["without a bias operand"]),
        (build.norm(16, 16, "layernorm"), DEFAULT, ["no normalisation units"]),
        (build.norm(16, 16, "softmx"), IBERT, ["did you mean 'softmax'"]),
        (build.norm(16, 16, "softmax", bert_scale=1.0), IBERT, ["bert_scale = 1.0 must be in (0, 0.693147]"]),
        (build.matmul(16, 16, 16, activation="igelu", bert_scale=0.0), IBERT, ["must be > 0 for 'igelu'"]),
        (build.resadd(0, 16), DEFAULT, ["rows = 0"]),
        (build.conv(14, 16, 16, 3, padding=3), DEFAULT, ["padding 3 must be smaller than kernel 3"]),
        (build.conv(14, 16, 16, 3, pool_size=2, pool_stride=2), IBERT, ["max_pool"]),
        (build.conv(2, 16, 16, 3), DEFAULT, ["the result has 0x0 pixels"]),
    ],
)
def test_refusals_name_what_and_why(work, hw, words):
    with pytest.raises(InputError) as caught:
        lower(work, hw)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("dense", "mask", "words"),
    [
        ({}, ((True,),), "B has 2x2 blocks"),
        ({"transpose_b": True}, ((True, False), (True, True)), "transposed operands"),
        ({"dataflow": "OS"}, ((True, False), (True, True)), "WS only"),
    ],
)
def test_block_sparse_refusals(dense, mask, words):
    with pytest.raises(InputError, match=words):
        lower(BlockSparseMatmul(build.matmul(32, 32, 32, **dense), mask, 0x3000_0000), DEFAULT)


def test_block_sparse_tile_without_room_for_its_index():
    """(4, 4, 64) fills half of the scratchpad to the last row when dense, so the index has no place."""
    dense = build.matmul(512, 512, 1024, tile=(4, 4, 64))
    assert len(lower(dense, DEFAULT)) > 1
    mask = tuple(tuple(k + j != 0 for j in range(32)) for k in range(64))
    with pytest.raises(InputError, match="block index do not fit 16384 scratchpad rows"):
        lower(BlockSparseMatmul(dense, mask, 0x3000_0000), DEFAULT)


def test_row_with_bad_values_lists_all_of_them():
    row = {"id": "x", "kind": "matmul", "M": "12", "N": "many", "K": "", "flow": "WSS", "act": "relu"}
    with pytest.raises(InputError) as caught:
        item_of_row(row)
    text = str(caught.value)
    assert "N = 'many' must be an integer" in text and "K = '' must be an integer" in text
    assert "did you mean 'WS'" in text


def test_row_of_a_command_sequence_is_not_a_library_call():
    with pytest.raises(InputError, match="'mvin' is not a library call"):
        item_of_row({"id": "x", "kind": "mvin", "case": "kind=mvin n=1"})


def test_unseen_rows_of_the_same_formats():
    row = {"id": "new", "case": "kind=matmul M=33 N=70 K=90 bias=2 act=1 fullC=1 tA=1 scale=0.5 rep=3"}
    work = item_of_row(row, hardware.load("gemmini_fp32_4x4"))
    assert (work.m, work.n, work.k, work.bias, work.activation) == (33, 70, 90, "row", "relu")
    assert (work.full_c, work.transpose_a, work.scale, work.a.row_stride) == (True, True, 0.5, 33)
    assert work.b.address - work.a.address == 12288  # 33*90 floats of 4 bytes, in pages
    assert repeats(row) == 3
    tiled = item_of_row(
        {"kind": "matmul", "M": "64", "N": "64", "K": "64", "tile_I": "2", "tile_J": "1", "tile_K": "4"}
    )
    assert tiled.tile == (2, 1, 4)
    conv = item_of_row({"kind": "conv", "in": "8", "ic": "3", "oc": "5", "k": "3", "s": "1", "p": "1", "b": "2"})
    assert (conv.batch, conv.out_rows, conv.activation, conv.bias is not None) == (2, 8, "relu", True)


def test_pace_of_the_cpu_is_in_the_gaps():
    """One gap per command; a hardware loop's first command also waits for the CPU's own loop work."""
    hw = hardware.load("gemmini_default", {"cpu.command_cycles": 3, "cpu.loop_cycles": 40})
    program = lower(build.matmul(512, 512, 512), hw)
    loop_starts = program["funct"] == Funct.LOOP_WS_CONFIG_BOUNDS
    fences = program["funct"] == Funct.FENCE
    assert set(program["gap"][loop_starts]) == {40}
    assert set(program["gap"][~loop_starts & ~fences]) == {3}
    measured = lower(build.matmul(512, 512, 512), DEFAULT)
    assert set(measured["gap"]) == {1}
    slowed = with_gap(measured, 8)
    assert set(slowed["gap"][~fences]) == {8} and set(measured["gap"]) == {1}


def test_every_program_ends_with_one_fence_and_repeats_whole():
    works = [
        build.matmul(20, 20, 20), build.matmul(20, 20, 20, dataflow="OS"), build.resadd(20, 20),
        build.conv(6, 3, 5, 3), build.norm(3, 20, "softmax"),
    ]  # fmt: skip
    for work in works:
        program = lower(work, hardware.load("gemmini_ibert", {"features.max_pool": True}))
        assert list(np.flatnonzero(program["funct"] == Funct.FENCE)) == [len(program) - 1]
    twice = lower(works[0], DEFAULT, repeat=2)
    assert np.array_equal(twice, np.tile(lower(works[0], DEFAULT), 2))


def test_encoder_refuses_heads_that_do_not_divide():
    with pytest.raises(InputError, match="nearest: heads = 4"):
        encoder.operators(32, 128, 5, 512, IBERT)
    with pytest.raises(InputError, match="seq = 0"):
        encoder.operators(0, 128, 2, 512, IBERT)


def test_encoder_layer_does_the_macs_of_its_closed_form():
    """Law: 4*s*h*h (projections) + 2*s*s*h (attention) + 2*s*h*f (feed-forward)."""
    s, h, a, f = 64, 256, 4, 1024
    layer = encoder.operators(s, h, a, f, IBERT)
    assert sum(work.macs for _, work in layer) == 4 * s * h * h + 2 * s * s * h + 2 * s * h * f
