"""Oracle: every product on the array equals numpy's, bit for bit, whatever the shape, flags, machine and data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from functional import reference
from functional.bench_machine import check_traffic, execute, matmul_operands
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import hardware
from sim.lower import BlockSparseMatmul, Operand, build
from sim.lower.blocksparse import index_bytes

INT8 = [
    name
    for name in hardware.presets()
    if (hw := hardware.load(name)).array.input_type == "int8" and not hw.memory.l2_bytes
]
SMALL = {"scratchpad.capacity": "16KiB", "accumulator.capacity": "8KiB"}
INDEX_ADDRESS = 0x2001_0000 + (1 << 21)


def legal(hw, work):
    """The nearest work this machine takes."""
    if hw.array.dataflow != "BOTH":
        work = replace(work, dataflow=hw.array.dataflow)
    if hw.max_block_len > hw.loop_max_block_len:
        work = replace(work, dataflow="WS")  # see test_long_rows_of_hand_issued_loads
    if work.dataflow == "OS":
        work = replace(work, low_d=False)
        if work.activation in ("softmax", "layernorm"):
            work = replace(work, activation="none")
    if work.activation in ("igelu", "softmax", "layernorm") and not hw.features.normalizations:
        work = replace(work, activation="relu")
    if not hw.accumulator.read_full_width or work.activation != "none":
        work = replace(work, full_c=False)
    return work


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(INT8),
    small=st.booleans(),
    size=st.tuples(*[st.integers(1, 90)] * 3),
    bias=st.sampled_from(["none", "full", "row"]),
    turn=st.sampled_from(["", "", "a", "b"]),
    dataflow=st.sampled_from(["WS", "WS", "OS"]),
    activation=st.sampled_from(["none", "relu", "igelu", "softmax", "layernorm"]),
    full_c=st.booleans(),
    low_d=st.booleans(),
    scale=st.sampled_from([0.0005, 0.003, 0.05, 1.0]),
    bert_scale=st.sampled_from([0.002, 0.05, 0.3]),
    rows_apart=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_integer_products_are_exact(
    name, small, size, bias, turn, dataflow, activation, full_c, low_d, scale, bert_scale, rows_apart, seed
):
    hw = hardware.load(name, SMALL if small and name == "gemmini_default" else None)
    turned = {"transpose_a": turn == "a", "transpose_b": turn == "b"} if dataflow == "WS" else {}
    fields = {"dataflow": dataflow, "activation": activation, "low_d": low_d, "scale": scale, "bert_scale": bert_scale}
    work = legal(hw, build.matmul(*size, bias=bias, full_c=full_c, **turned, **fields))
    work = replace(work, c=Operand(work.c.address, work.c.row_stride + rows_apart))
    rng = np.random.default_rng(seed)
    high = 128 if activation != "softmax" else 12
    a, b, d, places = matmul_operands(work, rng, -high, high)
    machine, done, times = execute(work, hw, places, seed % 1000)
    found = machine.read(work.c.address, (work.m, work.n), work.c.row_stride, wide=work.full_c)
    np.testing.assert_array_equal(found, reference.activate(a @ b + (0 if d is None else d), work))
    check_traffic(done, times)


@pytest.mark.xfail(strict=True, reason="the library's MAX_BLOCK_LEN of 4 blocks exceeds a DMA of 32 bytes a row")
def test_long_rows_of_hand_issued_loads():
    """gemmini_dma32: 64 columns do not fit the field of an mvin (63 at most), which then asks for none."""
    hw = hardware.load("gemmini_dma32")
    work = build.matmul(16, 16, 64, dataflow="OS", full_c=True)
    a, b, _, places = matmul_operands(work, np.random.default_rng(0))
    machine, _, _ = execute(work, hw, places)
    np.testing.assert_array_equal(machine.read(work.c.address, (16, 16), wide=True), a @ b)


@settings(max_examples=15, deadline=None)
@given(size=st.tuples(*[st.integers(1, 60)] * 3), scales=st.tuples(*[st.sampled_from([1.0, 0.5, 1.7, 0.013])] * 2))
def test_operands_are_scaled_on_the_way_in(size, scales):
    hw = hardware.load("gemmini_default")
    work = build.matmul(*size, bias="full", low_d=True, a_scale=scales[0], d_scale=scales[1], full_c=True)
    a, b, d, places = matmul_operands(work, np.random.default_rng(1))
    machine, _, _ = execute(work, hw, places)
    expected = reference.scale_int8(a, scales[0]) @ b + reference.scale_int8(d, scales[1])
    np.testing.assert_array_equal(machine.read(work.c.address, (work.m, work.n), wide=True), expected)


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 150)] * 3),
    density=st.sampled_from([0.0, 0.2, 0.6, 0.95]),
    bias=st.sampled_from(["none", "full", "row"]),
    name=st.sampled_from(["gemmini_default", "gemmini_lean", "gemmini_8x8", "gemmini_chip"]),
    seed=st.integers(0, 999),
)
def test_block_sparse_products_are_exact(size, density, bias, name, seed):
    hw = hardware.load(name)
    work = build.matmul(*size, bias=bias, scale=0.004, activation="relu")
    rng = np.random.default_rng(seed)
    mask = rng.random((-(-work.k // hw.dim), -(-work.n // hw.dim))) < density
    sparse = BlockSparseMatmul(work, tuple(tuple(map(bool, row)) for row in mask), INDEX_ADDRESS)
    a, b, d, places = matmul_operands(work, rng)
    b = b * np.kron(mask, np.ones((hw.dim, hw.dim), int))[: work.k, : work.n]
    # blocks that the mask calls zero are never loaded: what lies there must not matter
    places[1] = (work.b.address, np.where(b == 0, 77, b), work.b.row_stride, False) if not mask.any() else (
        work.b.address, b, work.b.row_stride, False
    )  # fmt: skip
    machine, done, times = execute(sparse, hw, places)
    assert index_bytes(sparse.mask) > 0
    expected = reference.activate(a @ b + (0 if d is None else d), work)
    np.testing.assert_array_equal(machine.read(work.c.address, (work.m, work.n)), expected)
    check_traffic(done, times)


@pytest.mark.parametrize("name", ["gemmini_fp32_4x4", "gemmini_chip_fp32", "gemmini_bf16_8x8", "gemmini_fp16_4x4"])
@pytest.mark.parametrize("bias", ["none", "full", "row"])
def test_floating_point_products_are_exact(name, bias):
    hw = hardware.load(name)
    kind = hw.array.input_type
    scale = 1.0 if name == "gemmini_chip_fp32" else 0.37  # its scaler is the identity
    work = build.matmul(21, 18, 27, bias=bias, input_bytes=hw.input_bytes, acc_bytes=4, scale=scale)
    a, b, d, places = matmul_operands(work, np.random.default_rng(3), floats=True)
    rounded = {"fp32": np.float32, "bf16": reference.bfloat16, "fp16": lambda x: x.astype(np.float16)}[kind]
    machine, done, times = execute(work, hw, places)
    total = reference.float_product(rounded(a), rounded(b), d, hw.dim)
    expected = rounded(total * np.float32(work.scale))
    found = machine.read(work.c.address, (work.m, work.n))
    np.testing.assert_array_equal(found, np.asarray(expected, np.float32))
    check_traffic(done, times)
