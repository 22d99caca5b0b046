"""Oracle: programs of chosen scores and packed activations leave numpy's product of the masked matrices, bit for bit.

DRAM holds what the scheme says: an index, packed rows. The executor reads the index from the scratchpad when a row is
streamed, in the order of the timing core, so index or rows that are overwritten too early show as well.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import reference
from helpers.bench_machine import draw, heard, sizes_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sim import hardware
from sim.base.errors import InputError
from sim.functional import Machine
from sim.functional.sampled import Choice, pack_rows, packed_columns, write_index
from sim.hardware import precision
from sim.isa.commands import Funct
from sim.lower import SampledMatmul, build, lower
from sim.lower.sparse.sampled import sums_written
from sim.lower.work import Operand
from sim.sparsity.masks import packing, patterns
from sim.timing import timer

BASE = 0x2001_0000
A, B, C, D, INDEX = (BASE + place * (1 << 19) for place in range(5))
SMALL = {"scratchpad.capacity": "32KiB", "accumulator.capacity": "32KiB"}
UNITS = {"sparsity.resident_weights": 4, "sparsity.resident_reach": "line", "sparsity.pack_and_split": True}
NARROW = {"array.accepts": ["int4"], "scratchpad.narrow_words": True, **SMALL}
SERIAL = {"array.accepts": ["int4"], "array.pe": "bit_serial", "array.serial_activation_bits": 2}
MACHINES = {
    "large": hardware.load("gemmini_sparse"),
    "small": hardware.load("gemmini_sparse", SMALL),
    "fp32": hardware.load("gemmini_fp32_4x4", UNITS),
    "bf16": hardware.load("gemmini_bf16_4x4", UNITS),
    "int4": precision.machine(hardware.load("gemmini_sparse", NARROW), "int4", "int4", (4, 4, 8)),
    "serial": precision.machine(hardware.load("gemmini_sparse", SERIAL), "int8", "int4", (8, 4, 8)),
    "sanger": hardware.load("hwconfigs/published/sanger.toml"),
}
SCALE = 0.02


def product(hw, picks, m, keys, width, choice, resident, **fields):
    """A sampled product of a choice, its operands far apart."""
    outputs = picks == "outputs"
    n, k = (keys, width) if outputs else (width, keys)
    more = {"transpose_b": True, "activation": "softmax", "bert_scale": SCALE} if outputs else {"scale": 0.01}
    dense = build.matmul(m, n, k, **more, **fields, **sizes_of(hw))
    row = keys
    bits = resident * hw.dim
    index_row = -(-keys // 8)
    if choice.group is None:
        counts = packing.sub_rows(choice.mask, hw.dim, resident, choice.reach)
    else:
        keep, of = choice.group
        row = -(-keys // of) * keep
        bits = hw.dim * (of - 1).bit_length()
        index_row = -(-row * (of - 1).bit_length() // 8)
        counts = np.ones((m, -(-keys // (resident * hw.dim))), int)
    a_stride = k if outputs else max(row, k)
    dense = replace(
        dense, a=Operand(A, a_stride), b=Operand(B, width), c=Operand(C, n), d=Operand(D, n) if dense.d else None
    )
    return SampledMatmul(dense, picks, tuple(map(tuple, counts.tolist())), resident, row, INDEX, index_row, bits)


def run(hw, work, choice, operands):
    """Execute a sampled product; returns the machine. Its traffic is that of the core, but for rows of nothing."""
    program = lower(work, hw)
    times = timer.run(program, hw, timeline=True)
    machine = Machine(hw, 5 << 19)
    for (address, matrix, stride, wide), operand in zip(operands, "abd", strict=False):
        machine.write(address, matrix, stride, wide=wide, kind=None if wide else machine.types[operand])
    unit = write_index(machine, work, choice)
    done = machine.run(times, unit)
    counters = {name: times.counters[name] for name in done.counters} | sums_written(work, program, times.counters)
    assert done.counters == counters
    assert (done.clashes, done.outside_writes) == (0, 0)
    return machine, done


def whole_bytes(hw, size):
    """Sizes whose rows begin on whole bytes in any word."""
    return tuple(-(-one // 4) * 4 for one in size) if hw.words else size


def chosen(rng, m, keys, density):
    """A mask in which every row keeps something."""
    mask = rng.random((m, keys)) < density
    mask[np.arange(m), rng.integers(0, keys, m)] = True
    return mask


@settings(max_examples=50, deadline=None)
@example(size=(74, 188, 68), name="small", density=0.1, resident=4, reach="line", seed=0)  # a slot is wholly full
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 200), st.integers(1, 70)),
    name=st.sampled_from(["large", "small", "small", "int4", "serial", "sanger"]),
    density=st.sampled_from([0.02, 0.2, 0.9]),
    resident=st.sampled_from([1, 2, 3, 4]),
    reach=st.sampled_from(["line", "pe"]),
    seed=st.integers(0, 99),
)
def test_chosen_scores_are_the_softmax_of_the_masked_matrix(size, name, density, resident, reach, seed):
    hw, rng = MACHINES[name], np.random.default_rng(seed)
    m, keys, width = whole_bytes(hw, size)
    resident = min(resident, hw.sparsity.resident_weights)
    choice = Choice(chosen(rng, m, keys, density), reach)
    work = product(hw, "outputs", m, keys, width, choice, resident)
    low, high = (-8, 8) if hw.words else (-20, 20)
    a, b = (draw(rng, hw.array.input_type, shape, low, high) for shape in ((m, width), (keys, width)))
    machine, done = run(hw, work, choice, [(A, a, width, False), (B, b, width, False)])
    found = machine.read(C, (m, keys))
    scores = a @ b.T
    for row, columns in enumerate(packed_columns(choice, work, hw.dim)):
        there = columns >= 0
        assert sorted(columns[there]) == np.flatnonzero(choice.mask[row]).tolist()
        expected = np.zeros(len(columns), int)
        expected[there] = reference.softmax(scores[row : row + 1, columns[there]], SCALE)[0]
        np.testing.assert_array_equal(found[row, : len(columns)], expected[:keys])
    assert done.overflows == 0


@settings(max_examples=50, deadline=None)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 200), st.integers(1, 70)),
    name=st.sampled_from(["large", "small", "small", "int4", "serial", "fp32", "bf16", "sanger"]),
    density=st.sampled_from([0.02, 0.2, 0.9]),
    resident=st.sampled_from([1, 2, 3, 4]),
    reach=st.sampled_from(["line", "pe"]),
    bias=st.sampled_from(["none", "full", "row"]),
    full_c=st.booleans(),
    seed=st.integers(0, 99),
)
def test_packed_rows_give_the_product_of_the_masked_matrix(size, name, density, resident, reach, bias, full_c, seed):
    hw, rng = MACHINES[name], np.random.default_rng(seed)
    m, keys, width = whole_bytes(hw, size)
    choice = Choice(chosen(rng, m, keys, density), reach)
    check_inputs(hw, product(hw, "inputs", m, keys, width, choice, resident, bias=bias, full_c=full_c), choice, rng)


@settings(max_examples=50, deadline=None)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 200), st.integers(1, 70)),
    name=st.sampled_from(["large", "small", "small", "int4", "serial", "fp32", "bf16"]),
    group=st.sampled_from([(1, 2), (2, 4), (1, 4), (4, 8), (2, 8), (4, 16)]),
    bias=st.sampled_from(["none", "full", "row"]),
    seed=st.integers(0, 99),
)
def test_n_of_m_activations_give_the_product_of_the_masked_matrix(size, name, group, bias, seed):
    hw, rng = MACHINES[name], np.random.default_rng(seed)
    m, keys, width = whole_bytes(hw, size)
    choice = Choice(patterns.random_groups(str(seed), (keys, m), *group).T, group=group)
    check_inputs(hw, product(hw, "inputs", m, keys, width, choice, group[1] // group[0], bias=bias), choice, rng)


def check_inputs(hw, work, choice, rng):
    """C is that of the dense program on the masked A; whole numbers, exact in any order of summing."""
    dense, kind = work.matmul, "int8"
    a, b = draw(rng, kind, (dense.m, dense.k), -8, 8), draw(rng, kind, (dense.k, dense.n), -8, 8)
    operands = [(A, pack_rows(a, choice, work, hw.dim), dense.a.row_stride, False), (B, b, dense.b.row_stride, False)]
    sums = np.where(choice.mask, a, 0) @ b
    if dense.bias != "none":
        d = draw(rng, kind, (1 if dense.bias == "row" else dense.m, dense.n), -999, 999)
        operands.append((D, d, dense.d.row_stride, True))
        sums = sums + d
    machine, done = run(hw, work, choice, operands)
    found = machine.read(C, (dense.m, dense.n), wide=dense.full_c)
    expected = sums if dense.full_c else reference.rescale(sums, heard(hw, dense).scale, kind=hw.array.input_type)
    np.testing.assert_array_equal(found, expected)
    assert done.narrowed == 0


def test_scores_and_context_of_one_memory_are_masked_attention():
    # Oracle: numpy, from queries to context: what the first product stores packed, the second one takes.
    hw, rng = MACHINES["small"], np.random.default_rng(1)
    m, keys, size = 60, 100, 32
    choice = Choice(chosen(rng, m, keys, 0.15))
    scores, context = (product(hw, picks, m, keys, size, choice, 4) for picks in ("outputs", "inputs"))
    second = replace(context.matmul, a=scores.matmul.c, b=Operand(D, size), c=Operand(D + (1 << 17), size))
    context = replace(context, matmul=second)
    q, k, v = (rng.integers(-15, 15, (rows, size)) for rows in (m, keys, keys))
    machine = Machine(hw, 5 << 19)
    for address, matrix in ((A, q), (B, k), (D, v)):
        machine.write(address, matrix)
    for work in (scores, context):
        unit = write_index(machine, work, choice)
        assert machine.run(timer.run(lower(work, hw), hw, timeline=True), unit).clashes == 0
    shares = np.zeros((m, keys), int)
    for row in range(m):
        there = np.flatnonzero(choice.mask[row])
        shares[row, there] = reference.softmax((q @ k.T)[row : row + 1, there], SCALE)[0]
    found = machine.read(second.c.address, (m, size))
    np.testing.assert_array_equal(found, reference.rescale(shares @ v, second.scale))


def test_an_index_that_is_overwritten_too_early_shows():
    # No command names index rows, nor all the rows that are streamed: without the zero that waits, loads run over them.
    hw, rng = MACHINES["small"], np.random.default_rng(0)
    choice = Choice(chosen(rng, 90, 200, 0.3))
    work = product(hw, "inputs", 90, 200, 64, choice, 2)
    program = lower(work, hw)
    guards = (program["funct"] == Funct.MVIN) & (program["rs1"] == 0)
    clashes = []
    for kept in (program, program[~guards]):
        machine = Machine(hw, 5 << 19)
        unit = write_index(machine, work, choice)
        clashes.append(machine.run(timer.run(kept, hw, timeline=True), unit).clashes)
    assert guards.any() and clashes[0] == 0 < clashes[1]


def test_the_index_decides_not_the_plan():
    # The same program with another index of as many choices computes the other product.
    hw, rng = MACHINES["large"], np.random.default_rng(3)
    first = np.zeros((20, 64), bool)
    first[:, ::4] = True
    work = product(hw, "inputs", 20, 64, 16, Choice(first), 4)
    for mask in (first, np.roll(first, 1, axis=1)):
        check_inputs(hw, work, Choice(mask), rng)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(np.ones((8, 64), bool)), "row 0 takes 4 sub-rows in window 0, the program has 1"),
        (Choice(np.ones((8, 32), bool)), r"mask of \(8, 32\): the product chooses among \(8, 64\)"),
        (Choice(np.ones((8, 64), bool), group=(1, 4)), "more than 1 of 4 values are kept"),
    ],
)
def test_another_choice_is_refused(choice, message):
    hw = MACHINES["large"]
    mask = np.zeros((8, 64), bool)
    mask[:, :16] = True
    work = product(hw, "inputs", 8, 64, 16, Choice(mask), 4)
    with pytest.raises(InputError, match=message):
        write_index(Machine(hw, 5 << 19), work, choice)
