"""Oracle: a program, run in the order of the timing core, leaves exactly numpy's product in DRAM.

So every (i, j, k) block is computed once and only once, nothing is read before it is loaded (rows never written hold
noise), no operand leaves its memory or its half, and the multiply-accumulates of the stream are those of the operator.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from helpers import reference
from helpers.bench_machine import check_traffic, execute, matmul_operands
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import hardware
from sim.functional.machine import BASE_ADDRESS
from sim.isa.commands import Funct
from sim.lower import BlockSparseMatmul, build, lower
from sim.lower.sparse.blocksparse import index_bytes
from sim.lower.tiling import auto_matmul_tile, matmul_blocks

INDEX_ADDRESS = BASE_ADDRESS + (1 << 21)
SMALL = {"scratchpad.capacity": "16KiB", "accumulator.capacity": "8KiB"}
"""Several tiles in every dimension already for matrices of 100 elements."""

COMPUTES = (Funct.COMPUTE_PRELOADED, Funct.COMPUTE_ACCUMULATED)


@pytest.fixture(scope="module")
def machines():
    return {
        "default": hardware.load("gemmini_default"),
        "small": hardware.load("gemmini_default", SMALL),
        "small_ws": hardware.load("gemmini_default", {**SMALL, "memory.latency_cycles": 200}),
        "fp32": hardware.load("gemmini_fp32_4x4"),
        "ibert": hardware.load("gemmini_ibert"),
    }


def macs(times):
    """Multiply-accumulates of a timeline: each compute's rows and depth, times the columns of its result.

    Output stationary the columns are those of B, weight stationary those of the preload's result.
    """
    total, cols = 0, 0
    for funct, rs1, rs2 in times.timeline[["funct", "rs1", "rs2"]].tolist():
        if funct == Funct.PRELOAD:
            cols = rs2 >> 32 & 0xFFFF
        elif funct in COMPUTES:
            absent = rs2 >> 29 & 7 == 7  # a local address of all flags: there is no such operand
            total += (rs1 >> 48 & 0xFFFF) * (rs1 >> 32 & 0xFFFF) * (cols if absent else rs2 >> 32 & 0xFFFF)
    return total


def run_matmul(work, hw, seed=0, mask=None):
    """Return (C in DRAM, expected C, multiply-accumulates) with random integer operands."""
    rng = np.random.default_rng(seed)
    matmul = work.matmul if isinstance(work, BlockSparseMatmul) else work
    a, b, d, places = matmul_operands(matmul, rng, -8, 8, bias=99)
    if mask is not None:
        b = b * np.kron(mask, np.ones((hw.dim, hw.dim), int))[: matmul.k, : matmul.n]
        places[1] = (matmul.b.address, b, matmul.b.row_stride, False)
    machine, done, times = execute(work, hw, places)
    check_traffic(done, times)
    found = machine.read(matmul.c.address, (matmul.m, matmul.n), matmul.c.row_stride, wide=matmul.full_c)
    sums = a @ b + (0 if d is None else d)
    return found, reference.activate(sums, matmul, hw.array.input_type), macs(times)


def sized(hw, m, n, k, **fields):
    return build.matmul(m, n, k, scale=0.06, input_bytes=hw.input_bytes, acc_bytes=hw.acc_bytes, **fields)


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 150)] * 3),
    machine=st.sampled_from(["default", "small", "fp32"]),
    bias=st.sampled_from(["none", "full", "row"]),
    transpose=st.sampled_from([(False, False), (True, False), (False, True)]),
    full_c=st.booleans(),
)
def test_weight_stationary_product_is_exact(machines, size, machine, bias, transpose, full_c):
    hw = machines[machine]
    work = sized(hw, *size, bias=bias, transpose_a=transpose[0], transpose_b=transpose[1], full_c=full_c)
    found, expected, ran = run_matmul(work, hw)
    np.testing.assert_array_equal(found, expected)
    assert ran == work.macs


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 150)] * 3),
    machine=st.sampled_from(["default", "small", "fp32"]),
    bias=st.sampled_from(["none", "full", "row"]),
    full_c=st.booleans(),
)
def test_output_stationary_product_is_exact(machines, size, machine, bias, full_c):
    hw = machines[machine]
    work = sized(hw, *size, bias=bias, full_c=full_c, dataflow="OS")
    found, expected, ran = run_matmul(work, hw)
    np.testing.assert_array_equal(found, expected)
    assert ran == work.macs


def legal_tiles(work, hw):
    top = matmul_blocks(work, hw.dim)
    best = auto_matmul_tile(work, hw)
    shapes = product({1, top[0], best[0]}, {1, top[1], best[1]}, {1, 3, best[2]})
    half_spad, half_acc = hw.sp_rows // 2 // hw.dim, hw.acc_rows // 2 // hw.dim
    return [(i, j, k) for i, j, k in shapes if (i + j) * k <= half_spad and i * j <= half_acc and k <= top[2]]


@pytest.mark.parametrize("bias", ["none", "row"])
def test_tiles_by_hand_do_not_change_the_result(machines, bias):
    hw = machines["small"]
    work = sized(hw, 90, 70, 100, bias=bias)
    tiles = legal_tiles(work, hw)
    assert len(tiles) > 10
    for tile in tiles:
        found, expected, ran = run_matmul(replace(work, tile=tile), hw)
        np.testing.assert_array_equal(found, expected, err_msg=str(tile))
        assert ran == work.macs


@pytest.mark.parametrize("order", ["ijk", "jik"])
@pytest.mark.parametrize("size", [(200, 200, 200), (100, 200, 30), (200, 20, 60), (20, 200, 60)])
def test_loop_orders_do_not_change_the_result(machines, order, size):
    hw = machines["small"]
    work = replace(sized(hw, *size, bias="full"), loop_order=order)
    found, expected, _ = run_matmul(work, hw)
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 200)] * 3),
    machine=st.sampled_from(["default", "small", "small_ws", "fp32"]),
    bias=st.sampled_from(["none", "full", "row"]),
    density=st.sampled_from([0.0, 0.05, 0.3, 0.6, 0.95]),
    full_c=st.booleans(),
    seed=st.integers(0, 99),
)
def test_block_sparse_product_is_exact_and_does_only_its_blocks(machines, size, machine, bias, density, full_c, seed):
    hw = machines[machine]
    dense = sized(hw, *size, bias=bias, full_c=full_c)
    _, blocks_j, blocks_k = matmul_blocks(dense, hw.dim)
    mask = np.random.default_rng(seed).random((blocks_k, blocks_j)) < density
    work = BlockSparseMatmul(dense, tuple(map(tuple, mask.tolist())), INDEX_ADDRESS)
    found, expected, ran = run_matmul(work, hw, seed, mask)
    np.testing.assert_array_equal(found, expected)
    extent_k = np.minimum(hw.dim, size[2] - hw.dim * np.arange(blocks_k))
    extent_j = np.minimum(hw.dim, size[1] - hw.dim * np.arange(blocks_j))
    assert ran == size[0] * int((extent_k[:, None] * extent_j * mask).sum())


def test_block_sparse_tiles_by_hand_do_not_change_the_result(machines):
    hw = machines["small"]
    dense = sized(hw, 90, 70, 100, bias="row")
    mask = np.random.default_rng(3).random((7, 5)) < 0.4
    for tile, order in product([(1, 1, 1), (2, 2, 2), (4, 1, 3), (1, 4, 1)], ["ijk", "jik"]):
        shaped = replace(dense, tile=tile, loop_order=order)
        work = BlockSparseMatmul(shaped, tuple(map(tuple, mask.tolist())), INDEX_ADDRESS)
        found, expected, _ = run_matmul(work, hw, 3, mask)
        np.testing.assert_array_equal(found, expected, err_msg=f"{tile} {order}")


def test_full_mask_is_the_dense_program(machines):
    hw = machines["default"]
    dense = build.matmul(100, 200, 300, bias="row")
    work = BlockSparseMatmul(dense, ((True,) * 13,) * 19, INDEX_ADDRESS)
    assert np.array_equal(lower(work, hw), lower(dense, hw))


def test_zero_blocks_are_not_loaded_and_the_index_is(machines):
    """Law: bytes loaded of B are those of its non-zero blocks; the index comes on top, in full."""
    hw = machines["default"]
    mask = np.random.default_rng(1).random((16, 16)) < 0.25
    work = BlockSparseMatmul(build.matmul(128, 256, 256), tuple(map(tuple, mask.tolist())), INDEX_ADDRESS)
    program = lower(work, hw)
    sizes = (program["rs2"] >> 32 & 0xFFFF) * (program["rs2"] >> 48 & 0xFFFF)
    weights, third = program["funct"] == 1, program["funct"] == 14
    loads_per_block = sizes[weights].sum() / (256 * mask.sum())
    assert loads_per_block == int(loads_per_block) >= 1
    index = third & (program["rs1"] >= INDEX_ADDRESS)
    assert sizes[index].sum() >= index_bytes(work.mask) == 16 * 2


def test_denser_nested_masks_never_issue_fewer_computes(machines):
    hw = machines["default"]
    noise = np.random.default_rng(5).random((16, 16))
    counts = []
    for density in (0.1, 0.3, 0.5, 0.7, 0.9):
        mask = tuple(map(tuple, (noise < density).tolist()))
        program = lower(BlockSparseMatmul(build.matmul(128, 256, 256), mask, INDEX_ADDRESS), hw)
        counts.append(int((program["funct"] == 6).sum()))
    assert counts == sorted(counts)
    assert counts == [8 * int((noise < density).sum()) for density in (0.1, 0.3, 0.5, 0.7, 0.9)]


@pytest.mark.parametrize("size", [(16, 16), (100, 100), (1, 700), (512, 33)])
@pytest.mark.parametrize("machine", ["default", "small", "fp32"])
def test_residual_add_is_exact(machines, machine, size):
    hw = machines[machine]
    work = build.resadd(*size, input_bytes=hw.input_bytes)
    rng = np.random.default_rng(7)
    a, b = rng.integers(-60, 60, size), rng.integers(-60, 60, size)
    ran, done, times = execute(work, hw, [(work.a.address, a, None, False), (work.b.address, b, None, False)])
    check_traffic(done, times)
    np.testing.assert_array_equal(ran.read(work.c.address, size), a + b)


@pytest.mark.parametrize("kind", ["layernorm", "softmax"])
@pytest.mark.parametrize("size", [(1, 16), (17, 100), (40, 1024)])
def test_norm_stores_every_row_three_times_in_its_own_place(machines, kind, size):
    """Law: three passes over each row; the last writes every element of C once, from where X was loaded."""
    hw = machines["ibert"]
    work = build.norm(*size, kind)
    x = np.random.default_rng(2).integers(-99, 99, size)
    ran, done, times = execute(work, hw, [(work.x.address, x, None, True)])
    check_traffic(done, times)
    expected = reference.layernorm(x, work.scale) if kind == "layernorm" else reference.softmax(x, work.bert_scale)
    np.testing.assert_array_equal(ran.read(work.c.address, size), expected)
    stores = times.timeline[times.timeline["funct"] == 3]
    assert (stores["rs2"] >> 32 & 0xFFFF).sum() == 3 * size[0] * size[1]
