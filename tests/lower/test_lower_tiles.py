"""Tile sizes: published examples of the rule, legality of every choice, errors with a way out."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sim import hardware
from sim.base.errors import InputError
from sim.lower import build, lower
from sim.lower.conv.tiling import auto_conv_tile, conv_limits, conv_rows
from sim.lower.resadd import resadd_tile
from sim.lower.tiling import TileMemory, auto_matmul_tile, matmul_blocks, matmul_tile

DEFAULT = hardware.load("gemmini_default")
IBERT = hardware.load("gemmini_ibert")


@pytest.mark.parametrize(
    ("machine", "size", "tile"),
    [
        ("gemmini_default", (512, 512, 512), (5, 6, 32)),
        ("gemmini_default", (128, 768, 768), (5, 5, 48)),
        ("gemmini_default", (128, 3072, 768), (5, 5, 48)),
        ("gemmini_default", (128, 768, 3072), (5, 5, 51)),
        ("gemmini_default", (128, 256, 256), (5, 6, 16)),
        ("gemmini_default", (1, 1000, 2048), (1, 8, 56)),
        ("gemmini_default", (3136, 64, 576), (8, 4, 36)),
        ("gemmini_default", (1024, 1024, 1024), (5, 5, 51)),
        ("gemmini_ibert", (128, 768, 768), (8, 8, 32)),
        ("gemmini_fp32_4x4", (512, 512, 512), (22, 22, 46)),
        ("gemmini_bf16_4x4", (512, 512, 512), (22, 22, 93)),
        ("gemmini_bf16_8x8", (512, 512, 512), (11, 11, 46)),
    ],
)
def test_examples_of_the_specification(machine, size, tile):
    """gemmini_machine.md 9.1."""
    assert auto_matmul_tile(build.matmul(*size), hardware.load(machine)) == tile


sizes = st.tuples(*[st.integers(1, 3000)] * 3)


@given(size=sizes, dataflow=st.sampled_from(["WS", "OS"]))
def test_chosen_tile_is_legal_and_cannot_grow(size, dataflow):
    work = build.matmul(*size, dataflow=dataflow)
    i, j, k = matmul_tile(work, DEFAULT)
    room, top = TileMemory(DEFAULT, double_buffered=dataflow == "WS"), matmul_blocks(work, 16)
    assert room.holds(i, j, k)
    bigger = [(i + 1, j, k), (i, j + 1, k), (i, j, k + 1)]
    assert not any(room.holds(*tile) and all(t <= b for t, b in zip(tile, top, strict=True)) for tile in bigger)


@settings(max_examples=60)
@given(size=sizes, tile=st.tuples(*[st.integers(1, 200)] * 3))
def test_refused_tile_names_a_legal_one(size, tile):
    work = build.matmul(*size, tile=tile)
    room, top = TileMemory(DEFAULT, double_buffered=True), matmul_blocks(work, 16)
    fits = room.holds(*tile) and all(t <= b for t, b in zip(tile, top, strict=True))
    if fits:
        assert matmul_tile(work, DEFAULT) == tile
        return
    with pytest.raises(InputError, match="nearest legal tile") as caught:
        lower(work, DEFAULT)
    offered = tuple(map(int, re.findall(r"nearest legal tile: \((\d+), (\d+), (\d+)\)", str(caught.value))[0]))
    assert matmul_tile(replace(work, tile=offered), DEFAULT) == offered


def test_refused_tile_states_rule_and_numbers_of_all_problems():
    with pytest.raises(InputError) as caught:
        lower(build.matmul(512, 512, 512, tile=(8, 8, 33)), DEFAULT)
    text = str(caught.value)
    assert "I*J*DIM = 1024 accumulator rows, available: 512" in text
    assert "(I*K + K*J)*DIM = 8448 scratchpad rows, available: 8192" in text
    assert "tile K = 33 must be 1..32" in text


def test_nearest_tile_changes_as_little_as_possible():
    with pytest.raises(InputError, match=re.escape("nearest legal tile: (5, 6, 16)")):
        lower(build.matmul(512, 512, 512, tile=(6, 6, 16)), DEFAULT)


def test_normalised_output_needs_whole_rows():
    with pytest.raises(InputError, match="J = 64"):
        lower(build.matmul(64, 1024, 64, activation="softmax", tile=(1, 8, 1)), IBERT)
    with pytest.raises(InputError, match="at most 1024 columns fit"):
        lower(build.matmul(64, 2048, 64, activation="layernorm"), IBERT)


def test_loop_order_with_partial_sums_names_a_legal_order():
    work = replace(build.matmul(1024, 1024, 1024), loop_order="ikj")
    with pytest.raises(InputError, match="nearest: 'ijk'"):
        lower(work, DEFAULT)
    with pytest.raises(InputError, match="permutation of 'ijk'"):
        lower(replace(work, loop_order="iij"), DEFAULT)


def test_k_may_stand_anywhere_if_it_is_one_tile():
    work = build.matmul(512, 512, 256)
    same = lower(replace(work, loop_order="kij"), DEFAULT)
    assert (same == lower(work, DEFAULT)).all()


@given(rows=st.integers(1, 4000), cols=st.integers(1, 4000))
def test_residual_tile_fits_half_of_the_accumulator(rows, cols):
    tile_rows, tile_cols = resadd_tile(rows, cols, DEFAULT)
    assert 1 <= tile_rows <= rows and 1 <= tile_cols <= cols
    assert -(-tile_rows // 16) * 16 * -(-tile_cols // 16) <= DEFAULT.acc_rows // 2


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(4, 64),
    channels=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.sampled_from([1, 2]),
    pool=st.sampled_from([(0, 0, 0), (2, 2, 0), (3, 2, 1)]),
)
def test_convolution_tile_fits_and_covers(size, channels, kernel, stride, pool):
    assume(size >= kernel)
    work = build.conv(
        size,
        *channels,
        kernel,
        stride=stride,
        padding=kernel // 2,
        pool_size=pool[0],
        pool_stride=pool[1],
        pool_padding=pool[2],
    )
    assume(work.pooled_rows >= 1)
    tile, limits = auto_conv_tile(work, DEFAULT), conv_limits(work)
    spad, acc = conv_rows(work, tile, DEFAULT)
    assert spad <= DEFAULT.sp_rows // 2 and acc <= DEFAULT.acc_rows // 2
    assert all(1 <= t <= n for t, n in zip(tile, limits, strict=True))
    loops = int((lower(work, DEFAULT)["funct"] == 15).sum())
    covering = 1
    for part, whole in zip(tile, limits, strict=True):
        covering *= -(-whole // part)
    assert loops == covering


def test_convolution_tile_by_hand():
    work = build.conv(14, 64, 64, 3, padding=1)
    by_hand = replace(work, tile=(1, 7, 14, 32, 3, 3, 64))
    assert (lower(by_hand, DEFAULT)["funct"] == 15).sum() == 4
    with pytest.raises(InputError, match=r"pooled rows = 15 must be 1\.\.14"):
        lower(replace(work, tile=(1, 15, 14, 32, 3, 3, 64)), DEFAULT)
    with pytest.raises(InputError, match="accumulator rows, half of it has 512; a legal tile"):
        lower(replace(work, tile=(1, 14, 14, 64, 3, 3, 64)), DEFAULT)
