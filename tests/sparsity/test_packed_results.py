"""Oracle: programs of packed and stored weights leave numpy's product of the masked matrices in DRAM, bit for bit.

DRAM holds what the schemes say: encoded streams that the loads expand, packed rows with their index. The executor runs
them in the order of the timing core, so that a row of index or feed that is overwritten too early shows as well.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import reference
from helpers.bench_machine import check_traffic, draw, matmul_operands, sizes_of
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import hardware
from sim.base.errors import InputError
from sim.functional import Machine
from sim.functional.weights import write_packed, write_stored
from sim.graph import Graph, Op, Tensor, View
from sim.isa.commands import STORED_SHIFT, Funct
from sim.lower import PackedMatmul, build, lower
from sim.lower.sparse.blocksparse import layout, packed_reads
from sim.lower.work import Operand
from sim.plan.planner import plan
from sim.sparsity.edits.compress import Compression
from sim.sparsity.masks import codec, formats, packing, patterns
from sim.sparsity.spec import parse
from sim.timing import timer

BASE = 0x2001_0000
INDEX_ADDRESS, PACKED_ADDRESS = BASE + (1 << 22), BASE + (1 << 23)
DRAM_BYTES = 1 << 24
SMALL = {"scratchpad.capacity": "16KiB", "accumulator.capacity": "8KiB"}
INT16 = {
    "array.input_type": "int16",
    "scratchpad.capacity": "512KiB",
    "dma.mvin_scale_units": "none",
    "sparsity.fetch_rows": 2,
}
UNITS = {
    "sparsity.select_inputs": 16,
    "sparsity.fetch_rows": 4,
    "sparsity.decoder": [*formats.SPARSE_FORMATS, "codebook", "circulant"],
    "sparsity.decoder_elements_per_cycle": 4,
}

MACHINES = {
    "large": hardware.load("gemmini_sparse"),
    "small": hardware.load("gemmini_sparse", SMALL),
    "int16": hardware.load("gemmini_sparse", INT16),
    "fp32": hardware.load("gemmini_fp32_4x4", UNITS),
    "bf16": hardware.load("gemmini_bf16_4x4", UNITS),
}


def product_of(hw, size, rng, **fields):
    """A product with room behind B's place, its operands as small whole numbers (exact in any order)."""
    dense = build.matmul(*size, scale=0.01, **fields, **sizes_of(hw))
    kind = "int8" if hw.array.input_type in reference.ROUND else hw.array.input_type
    a, b, d, places = matmul_operands(dense, rng, -8, 8, kind=kind)
    return replace(dense, b=Operand(PACKED_ADDRESS, size[1])), a, np.where(b == 0, 3, b), d, places


def run(hw, work, places, fill):
    """Execute a packed product; ``fill``: writes the weights into DRAM and returns the unit."""
    program = lower(work, hw)
    times = timer.run(program, hw, timeline=True)
    machine = Machine(hw, DRAM_BYTES)
    for address, matrix, stride, wide in places:
        machine.write(address, matrix, stride, wide=wide)
    unit = fill(machine)
    done = machine.run(times, unit)
    check_traffic(done, times)
    return machine.read(work.matmul.c.address, (work.matmul.m, work.matmul.n)), program


def expected(a, b, d, work, hw):
    sums = reference.wrap(a @ b + (0 if d is None else d)) if hw.array.acc_type == "int32" else a @ b
    if hw.array.acc_type != "int32" and d is not None:
        sums = sums + d
    return reference.activate(sums, work, hw.array.input_type)


@settings(max_examples=50, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 140)] * 3),
    name=st.sampled_from(["large", "large", "small", "small", "int16", "fp32", "bf16"]),
    density=st.sampled_from([0.0, 0.05, 0.3, 0.7]),
    window=st.sampled_from([2, 4, 5, 16]),
    fetch=st.sampled_from([1, 2, 4]),
    keep=st.booleans(),
    bias=st.sampled_from(["none", "full", "row"]),
    seed=st.integers(0, 99),
)
def test_packed_products_are_those_of_the_masked_matrix(size, name, density, window, fetch, keep, bias, seed):
    hw, rng = MACHINES[name], np.random.default_rng(seed)
    fetch = min(max(fetch, -(-window // hw.dim)), hw.sparsity.fetch_rows)
    window = min(window, fetch * hw.dim)
    _, n, k = size
    kept = max(1, window // 2) if keep else 0
    mask = patterns.random_groups("x", (k, n), kept, window) if keep else rng.random((k, n)) < density
    dense, a, b, d, places = product_of(hw, size, rng, bias=bias)
    found = packing.pack(mask, hw.dim, fetch, window, kept or None)
    rows = tuple(tuple(map(int, row)) for row in found.rows)
    work = PackedMatmul(dense, rows, found.depth, fetch, found.row_index_bits, INDEX_ADDRESS, int(mask.sum()))
    del places[1]
    result, program = run(hw, work, places, lambda machine: write_packed(machine, work, b, mask, window, kept))
    np.testing.assert_array_equal(result, expected(a, b * mask, d, dense, hw))
    computes = np.isin(program["funct"], [Funct.COMPUTE_PRELOADED, Funct.COMPUTE_ACCUMULATED])
    fed = int((program["rs1"][computes] >> 48 & 0xFFFF).sum())
    assert packed_reads(work, program, hw) >= fed * (fetch - 1)


def stored_work(hw, dense, bits, weights):
    """A product whose blocks are expanded from ``bits`` each."""
    rows = tuple((min(hw.dim, dense.k - g * hw.dim),) * bits.shape[1] for g in range(bits.shape[0]))
    return PackedMatmul(dense, rows, hw.dim, 1, 0, INDEX_ADDRESS, weights, tuple(tuple(map(int, r)) for r in bits))


@settings(max_examples=50, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 140)] * 3),
    name=st.sampled_from(sorted(MACHINES)),
    density=st.sampled_from([0.0, 0.1, 0.4]),
    form=st.sampled_from(formats.SPARSE_FORMATS),
    seed=st.integers(0, 99),
)
def test_stored_products_are_those_of_the_masked_matrix(size, name, density, form, seed):
    hw, rng = MACHINES[name], np.random.default_rng(seed)
    dense, a, b, _, places = product_of(hw, size, rng)
    mask = rng.random(b.shape) < density
    bits = formats.block_bits(mask, hw.dim, 8 * hw.input_bytes, form)
    work = stored_work(hw, dense, bits, int(mask.sum()))
    del places[1]
    result, program = run(hw, work, places, lambda machine: write_stored(machine, work, b * mask, form))
    np.testing.assert_array_equal(result, expected(a, b * mask, None, dense, hw))
    # Law: what is loaded of B is what the format says, every load rounded up to whole bytes per row.
    rs2 = program["rs2"][(program["funct"] == Funct.MVIN2) & (program["rs2"] >> STORED_SHIFT > 0)]
    if len(rs2) == len(layout(work, hw).stored):
        loaded = (rs2 >> STORED_SHIFT) * (rs2 >> 48 & 0xFF) * -(-(rs2 >> 32 & 0xFFFF) // hw.dim)
        assert 0 <= int(loaded.sum()) - int(bits.sum()) / 8 <= len(rs2) * (64 + 1)


@settings(max_examples=40, deadline=None)
@given(
    blocks=st.tuples(st.integers(1, 70), st.integers(1, 9), st.integers(1, 9)),
    name=st.sampled_from(sorted(MACHINES)),
    kind=st.sampled_from([("narrow", 2), ("narrow", 4), ("codebook", 3), ("codebook", 16), ("circulant", 2),
                          ("circulant", 4), ("circulant", 3), ("circulant", 24), ("circulant", 32), ("circulant", 64),
                          ("circulant", 80)]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_compressed_products_are_those_of_the_expanded_matrix(blocks, name, kind, seed):
    hw, rng = MACHINES[name], np.random.default_rng(seed)
    form, size = kind
    m, j, k = blocks
    step = size if form == "circulant" else 1
    shape = (m, j * 4 // step * step + step, k * 12 // step * step + step)
    dense, a, b, _, places = product_of(hw, shape, rng)
    if form == "narrow":
        if hw.array.acc_type != "int32":
            return
        b = rng.integers(-(1 << size - 1), 1 << size - 1, b.shape)
    elif form == "codebook":
        b = rng.choice([-7, 0, 5] if size == 3 else np.arange(-8, 8), b.shape)
    else:
        first = rng.integers(-8, 8, (b.shape[0] // size, size, b.shape[1] // size))
        turned = (np.arange(size)[None, :] - np.arange(size)[:, None]) % size
        b = first[:, turned].transpose(0, 1, 3, 2).reshape(b.shape)
    compression = Compression(form, **{{"narrow": "bits", "codebook": "entries", "circulant": "block"}[form]: size})
    op = weighted(shape).ops[0]
    bits = compression.block_bits(op, hw.dim, 8 * hw.input_bytes)
    work = replace(stored_work(hw, dense, bits, b.size), circulant=size if form == "circulant" else 0)
    del places[1]
    result, _ = run(hw, work, places, lambda machine: write_stored(machine, work, b, form, size))
    np.testing.assert_array_equal(result, expected(a, b, None, dense, hw))


def weighted(size):
    """A graph of one product by a weight."""
    m, n, k = size
    tensors = [Tensor("a", (m, k), "int8", "input"), Tensor("w", (k, n), "int8", "weight")]
    tensors.append(Tensor("c", (m, n), "int8", "activation"))
    return Graph.from_ops(
        "g", tensors, [Op("p", "matmul", tuple(map(View.whole, tensors[:2])), View.whole(tensors[2]))]
    )


@pytest.mark.parametrize(
    "line", ["2:4", "1:4", "unstructured:0.2/pack", "unstructured:0.3/rle", "unstructured:0.3/csc"]
)
def test_what_is_planned_computes(line):
    """From the option of `carat run` to numbers: the work items of the plan, as it places them."""
    hw, rng, size = MACHINES["large"], np.random.default_rng(1), (40, 96, 128)
    graph, rules = weighted(size), parse(line)
    (rule,) = rules.zeros
    (step,) = plan(graph, hw, sparsity=rules)
    (work,) = step.works
    assert isinstance(work, PackedMatmul)
    mask = rule.element_mask(graph.ops[0])
    a, b = draw(rng, "int8", (40, 128)), draw(rng, "int8", (128, 96)) * mask
    b[mask & (b == 0)] = 1
    dense = work.matmul

    def fill(machine):
        if work.stored_bits is not None:
            return write_stored(machine, work, b, step.scheme)
        window, keep = (rule.group[1], rule.group[0]) if line[1] == ":" else (hw.sparsity.select_inputs, 0)
        return write_packed(machine, work, b, mask, window, keep)

    result, _ = run(hw, work, [(dense.a.address, a, None, False)], fill)
    np.testing.assert_array_equal(result, expected(a, b, None, dense, hw))


def test_an_index_that_is_overwritten_too_early_shows():
    """No command names index rows: without the zero that waits for the last preload of a slot, loads run over them."""
    hw, rules, graph = MACHINES["large"], parse("2:4"), weighted((40, 96, 128))
    (rule,) = rules.zeros
    ((work,),) = (step.works for step in plan(graph, hw, sparsity=rules))
    mask = rule.element_mask(graph.ops[0])
    program = lower(work, hw)
    guards = (program["funct"] == Funct.MVIN2) & (program["rs1"] == 0)
    clashes = []
    for kept in (program, program[~guards]):
        machine = Machine(hw, DRAM_BYTES)
        unit = write_packed(machine, work, mask.astype(int), mask, *reversed(rule.group))
        clashes.append(machine.run(timer.run(kept, hw, timeline=True), unit).clashes)
    assert guards.any() and clashes[0] == 0 < clashes[1]


def test_packed_rows_by_formula():
    # Law: N:M keeps N rows of every M, whatever the mask; packing keeps those of the fullest column of each window.
    mask = patterns.random_groups("x", (96, 40), 2, 4)
    found = packing.pack(mask, 16, 2, 4, keep=2)
    assert found.rows.tolist() == [[16] * 3] * 3 and found.depth == 32 and found.row_index_bits == 16 * 2
    noise = np.random.default_rng(0).random((96, 40)) < 0.2
    free = packing.pack(noise, 16, 2, 8)
    by_hand = [
        [sum(noise[w : w + 8, j : j + 16].sum(axis=0).max() for w in range(s, s + 32, 8)) for j in range(0, 40, 16)]
        for s in range(0, 96, 32)
    ]
    assert free.rows.tolist() == by_hand and free.row_index_bits == 16 * 3 + 2
    assert free.rows.sum() * 16 >= noise.sum()


@pytest.mark.parametrize("form", formats.SPARSE_FORMATS)
@pytest.mark.parametrize("density", [0.0, 0.03, 0.25, 1.0])
@pytest.mark.parametrize("dim", [4, 16, 32])
def test_streams_are_as_long_as_the_formula_says(form, density, dim):
    # Law: the formulas of `formats` are the lengths of real streams, block by block.
    mask = np.random.default_rng(2).random((30, 50)) < density
    bits = formats.block_bits(mask, dim, 8, form)
    for q, j in np.ndindex(bits.shape):
        block = mask[q * dim : (q + 1) * dim, j * dim : (j + 1) * dim].astype(np.int64) * 200
        assert codec.encode_block(block, dim, 8, form).size == bits[q, j]


def test_format_sizes_by_hand():
    mask = np.zeros((16, 16), bool)
    mask[0, 3] = mask[2, 1] = True  # runs of 3, 29 and 222 zeros: no, one and fourteen fillers
    sizes = {form: int(formats.block_bits(mask, 16, 8, form)[0, 0]) for form in formats.SPARSE_FORMATS}
    assert sizes == {"bitmap": 256 + 16, "rle": (2 + 1 + 14) * 12, "csr": 2 * 12 + 144, "csc": 2 * 12 + 144}


@pytest.mark.parametrize(
    ("form", "size", "weights", "message"),
    [
        ("narrow", 2, np.full((16, 16), 2), "2 does not fit 2 bits"),
        ("codebook", 4, np.arange(256).reshape(16, 16) - 128, "256 values, the codebook names 4"),
        ("circulant", 4, np.arange(256).reshape(16, 16) - 128, "not made of circulants of 4"),
        ("circulant", 5, np.zeros((18, 18)), "18x18 is not made of whole circulants of 5"),
        ("circulant", 2, np.zeros((18, 18)), "circulants of 2, the program loads circulants of 0"),
        ("bitmap", 0, np.ones((16, 16)), "its mask is not that"),
        ("zip", 0, np.ones((16, 16)), "not 'zip'"),
    ],
)
def test_weights_that_do_not_fit_are_refused(form, size, weights, message):
    hw = MACHINES["large"]
    dense = build.matmul(16, weights.shape[1], weights.shape[0])
    blocks = -(-weights.shape[0] // 16)
    work = stored_work(hw, dense, np.full((blocks, blocks), 512), 256)
    with pytest.raises(InputError, match=message):
        write_stored(Machine(hw, DRAM_BYTES), work, weights, form, size)


@pytest.mark.parametrize("block", [32, 48, 128])
@pytest.mark.parametrize("name", ["small", "fp32"])
def test_circulants_larger_than_the_array_are_cut_anywhere(name, block):
    """A load brings what it expands: tiles and requests may begin and end inside a circulant."""
    hw, rng = MACHINES[name], np.random.default_rng(block)
    n, k = 3 * block, 2 * block
    dense, a, _, _, places = product_of(hw, (40, n, k), rng)
    first = rng.integers(-8, 8, (k // block, block, n // block))
    turned = (np.arange(block)[None, :] - np.arange(block)[:, None]) % block
    b = first[:, turned].transpose(0, 1, 3, 2).reshape(k, n)
    op = weighted((40, n, k)).ops[0]
    bits = Compression("circulant", block=block).block_bits(op, hw.dim, 8 * hw.input_bytes)
    # Law: a strip of DIM rows of a circulant is stored once, so larger circulants than the array save no more.
    assert bits.sum() == k // hw.dim * n * 8 * hw.input_bytes
    work = replace(stored_work(hw, dense, bits, b.size), circulant=block)
    del places[1]
    result, _ = run(hw, work, places, lambda machine: write_stored(machine, work, b, "circulant", block))
    np.testing.assert_array_equal(result, expected(a, b, None, dense, hw))
    inside = [at for at in layout(work, hw).stored if at[1] * hw.dim % block]
    assert inside, "no load begins inside a circulant"
