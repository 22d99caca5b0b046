"""Oracle: every product on the array equals numpy's, bit for bit, whatever the shape, flags, machine and data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import reference
from helpers.bench_machine import (
    MACHINES,
    check_traffic,
    execute,
    heard,
    legal,
    matmul_operands,
    sizes_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.functional import Machine
from sim.lower import BlockSparseMatmul, Operand, build
from sim.lower.encode import Stream
from sim.lower.sparse.blocksparse import index_bytes
from sim.lower.tiling import matmul_tile
from sim.timing import timer

INDEX_ADDRESS = 0x2001_0000 + (1 << 21)


def assert_exact(hw, work, rng, **options):
    """Run ``work`` on random data and compare every stored element with numpy's."""
    kind = hw.array.input_type
    span = {"low": -12, "high": 12} if work.activation == "softmax" and rng.random() < 0.7 else {}
    a, b, d, places = matmul_operands(work, rng, kind=kind, **span)
    machine, done, times = execute(work, hw, places, **options)
    chain = matmul_tile(work, hw)[2] * hw.dim
    sums = reference.product(a, b, d, work, hw, chain)
    found = machine.read(work.c.address, (work.m, work.n), work.c.row_stride, wide=work.full_c)
    np.testing.assert_array_equal(found, reference.activate(sums, heard(hw, work), kind))
    check_traffic(done, times)
    return done


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(MACHINES)),
    size=st.tuples(*[st.integers(1, 90)] * 3),
    turn=st.sampled_from(["", "", "a", "b"]),
    fields=st.fixed_dictionaries(
        {
            "bias": st.sampled_from(["none", "full", "row"]),
            "dataflow": st.sampled_from(["WS", "WS", "OS"]),
            "activation": st.sampled_from(["none", "relu", "igelu", "softmax", "layernorm"]),
            "full_c": st.booleans(),
            "low_d": st.booleans(),
            "scale": st.sampled_from([0.0005, 0.003, 0.05, 1.0]),
            "bert_scale": st.sampled_from([0.002, 0.05, 0.3]),
            **dict.fromkeys(("a_scale", "b_scale", "d_scale"), st.sampled_from([1.0, 1.0, 0.5, 1.7])),
        }
    ),
    rows_apart=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_products_are_exact(name, size, turn, fields, rows_apart, seed):
    hw = MACHINES[name]
    turned = {"transpose_a": turn == "a", "transpose_b": turn == "b"} if fields["dataflow"] == "WS" else {}
    if hw.array.dataflow == "OS":
        turned = {}
    wanted = build.matmul(*size, **turned, **sizes_of(hw), **fields)
    work = legal(hw, wanted)
    work = replace(work, c=Operand(work.c.address, work.c.row_stride + rows_apart))
    assert_exact(hw, work, np.random.default_rng(seed), seed=seed % 1000)


@pytest.mark.parametrize("name", sorted(MACHINES))
@pytest.mark.parametrize("dataflow", ["WS", "OS"])
def test_every_machine_multiplies(name, dataflow):
    """More k than one load moves: what hypothesis draws need not meet every machine."""
    hw = MACHINES[name]
    work = legal(hw, build.matmul(21, 35, 130, bias="row", dataflow=dataflow, scale=0.004, **sizes_of(hw)))
    assert_exact(hw, work, np.random.default_rng(1))


def test_a_columns_field_holds_no_more_than_a_request():
    """The generated header allows 64 columns on a DMA of 32 bytes: the field has 6 bits, and nothing is loaded."""
    hw = MACHINES["gemmini_dma32"]
    stream = Stream(hw)
    stream.config_st(64)
    stream.config_ld(64)
    for cols in (48, 64):
        stream.mvin(0x2001_0000, 0, cols, 1)
    stream.mvout(0x2001_1000, 0, 16, 1)
    stream.fence()
    times = timer.run(stream.program(), hw, timeline=True)
    machine = Machine(hw, 1 << 16)
    machine.write(0x2001_0000, np.arange(64))
    done = machine.run(times)
    assert done.counters["SPAD_WRITE_ROWS"] == times.counters["SPAD_WRITE_ROWS"] == 48 // 16
    np.testing.assert_array_equal(machine.read(0x2001_1000, (1, 16))[0], np.arange(16))
    assert hw.max_block_len == 2


def test_sums_beyond_the_array_s_20_bits_are_kept_and_counted():
    # gemmini.h sums in int32; the RTL's array clips what leaves it to 20 bits (PE.scala): 64 * 127**2 > 2**19
    hw = MACHINES["gemmini_default"]
    work = build.matmul(4, 5, 64, dataflow="OS", full_c=True)
    a, b = np.full((4, 64), 127), np.full((64, 5), 127)
    machine, done, _ = execute(work, hw, [(work.a.address, a, None, False), (work.b.address, b, None, False)])
    np.testing.assert_array_equal(machine.read(work.c.address, (4, 5), wide=True), a @ b)
    assert done.beyond_array == 20


def test_a_masked_column_has_no_share():
    # an attention mask is a bias of -10000 in real units; what is left is the softmax of the other columns
    hw = MACHINES["gemmini_ibert"]
    fields = {"transpose_b": True, "activation": "softmax", "bert_scale": 0.001}
    masked = build.matmul(8, 24, 16, bias="row", **fields)
    a, b, d, places = matmul_operands(masked, np.random.default_rng(4), -20, 20)
    d[:, :20], d[:, 20:] = 0, -10_000 / 0.001
    machine, done, _ = execute(masked, hw, places)
    found = machine.read(masked.c.address, (8, 24))
    np.testing.assert_array_equal(found[:, 20:], 0)
    np.testing.assert_array_equal(found[:, :20], reference.softmax(a @ b[:, :20], 0.001))
    assert done.overflows == 0


def test_int32_sums_wrap():
    hw = MACHINES["int16"]
    work = build.matmul(2, 3, 9, full_c=True, **sizes_of(hw))
    a, b = np.full((2, 9), 32767), np.full((9, 3), 32767)
    machine, _, _ = execute(work, hw, [(work.a.address, a, None, False), (work.b.address, b, None, False)])
    np.testing.assert_array_equal(machine.read(work.c.address, (2, 3), wide=True), reference.wrap(a @ b))


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 150)] * 3),
    density=st.sampled_from([0.0, 0.2, 0.6, 0.95]),
    bias=st.sampled_from(["none", "full", "row"]),
    name=st.sampled_from(sorted(name for name, hw in MACHINES.items() if hw.array.dataflow != "OS")),
    seed=st.integers(0, 999),
)
def test_block_sparse_products_are_exact(size, density, bias, name, seed):
    hw = MACHINES[name]
    kind = hw.array.input_type
    work = build.matmul(*size, bias=bias, scale=0.004, activation="relu", **sizes_of(hw))
    rng = np.random.default_rng(seed)
    mask = rng.random((-(-work.k // hw.dim), -(-work.n // hw.dim))) < density
    sparse = BlockSparseMatmul(work, tuple(tuple(map(bool, row)) for row in mask), INDEX_ADDRESS)
    kept = np.kron(mask, np.ones((hw.dim, hw.dim), int))[: work.k, : work.n]
    a, b, d, places = matmul_operands(work, rng, kind=kind)
    # blocks that the mask calls zero are never loaded: what lies there must not matter
    places[1] = (work.b.address, np.where(kept, b, 77), work.b.row_stride, False)
    machine, done, times = execute(sparse, hw, places)
    assert index_bytes(sparse.mask) > 0
    sums = reference.product(a, b * kept, d, work, hw, work.k)
    found = machine.read(work.c.address, (work.m, work.n))
    np.testing.assert_array_equal(found, reference.activate(sums, heard(hw, work), kind))
    check_traffic(done, times)
