"""Oracle: the command streams of packed and stored weights leave numpy's product of the masked matrices in DRAM.

The machine without time (tests/lower) gets what the schemes add: PEs that pick their operand by an index, and a load
path that expands what it reads.
"""

from __future__ import annotations

import numpy as np
import pytest
from functional_machine import BASE, Machine
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import hardware
from sim.isa import STORED_SHIFT, Funct
from sim.lower import PackedMatmul, blocksparse, build, lower
from sim.lower.sparsecost import Profile
from sim.lower.sparsestream import Builder
from sim.lower.sparseworks import extra_reads
from sim.sparsity import formats, packing, patterns

INDEX_ADDRESS = BASE + (1 << 22)
SMALL = {"scratchpad.capacity": "16KiB", "accumulator.capacity": "8KiB"}
CODE = 64
"""A packed weight w of activation number i of its group is written as i * CODE + w + CODE / 2."""


@pytest.fixture(scope="module")
def machines():
    return {"large": hardware.load("gemmini_sparse"), "small": hardware.load("gemmini_sparse", SMALL)}


class Selecting(Machine):
    """Weights carry the number of the activation they multiply; A comes ``fetch`` blocks at once."""

    fetch = 1

    def compute(self, a, bd, preloaded):
        if preloaded:
            self.weights = self.staged
        local, _, rows = a
        wide = np.concatenate([self.rows_of(local, f * self.dim, rows) for f in range(self.fetch)], axis=1)
        index, value = np.divmod(self.weights, CODE)
        value -= CODE // 2
        picked = wide[:, index.astype(int)]
        assert not np.isnan(picked[:, value != 0]).any(), "picks an activation that nobody loaded"
        result = np.where(value != 0, picked * value, 0).sum(axis=1)
        local, cols, rows = self.target
        into = self.rows_of(local, 0, rows)[:, :cols]
        into[:] = into + result if local >> 30 & 1 else result
        self.macs += int(np.count_nonzero(value)) * rows


def squeezed(b, mask, found, dim, window):
    """B packed as the scheme says: [groups * fetch * dim, N] of coded weights."""
    k, n = b.shape
    packed = np.full((len(found.rows) * found.fetch_rows * dim, n), CODE // 2, float)
    for s, group in enumerate(range(0, k, found.depth)):
        for j in range(-(-n // dim)):
            columns = slice(j * dim, min(n, (j + 1) * dim))
            row = s * found.fetch_rows * dim
            for first in range(group, min(k, group + found.depth), window):
                kept = [np.flatnonzero(column) for column in mask[first : first + window, columns].T]
                for c, numbers in enumerate(kept):
                    for r, i in enumerate(numbers):
                        packed[row + r, j * dim + c] = (
                            (first - group + i) * CODE + b[first + i, j * dim + c] + CODE // 2
                        )
                row += max(map(len, kept))
    return packed


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 140)] * 3),
    machine=st.sampled_from(["large", "small"]),
    density=st.sampled_from([0.0, 0.05, 0.3, 0.7]),
    window=st.sampled_from([2, 4, 5, 16]),
    fetch=st.sampled_from([1, 2, 4]),
    bias=st.sampled_from(["none", "full", "row"]),
    seed=st.integers(0, 99),
)
def test_packed_products_are_those_of_the_masked_matrix(machines, size, machine, density, window, fetch, bias, seed):
    hw, (m, n, k) = machines[machine], size
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-8, 8, (m, k)), rng.integers(1, 8, (k, n)) * rng.choice([-1, 1], (k, n))
    mask = rng.random((k, n)) < density
    found = packing.pack(mask, hw.dim, fetch, window)
    dense = build.matmul(m, n, k, bias=bias)
    rows = tuple(tuple(map(int, row)) for row in found.rows)
    work = PackedMatmul(dense, rows, found.depth, fetch, found.row_index_bits, INDEX_ADDRESS, int(mask.sum()))
    ran = Selecting(hw, 1 << 23)
    ran.fetch = fetch
    ran.dram[INDEX_ADDRESS - BASE :] = 0
    ran.write(dense.a.address, k, a, 1)
    ran.write(INDEX_ADDRESS + (1 << 21), n, squeezed(b, mask, found, hw.dim, window), 1)
    moved = type(dense.b)(INDEX_ADDRESS + (1 << 21), n)
    work = PackedMatmul(**{**vars(work), "matmul": type(dense)(**{**vars(dense), "b": moved})})
    expected = a @ (b * mask)
    if bias != "none":
        d = rng.integers(-99, 99, (1 if bias == "row" else m, n))
        ran.write(dense.d.address, dense.d.row_stride, d, hw.acc_bytes)
        expected = expected + d
    program = lower(work, hw)
    ran.run(program)
    np.testing.assert_array_equal(ran.read(dense.c.address, n, (m, n), 1), expected)
    assert ran.macs == m * mask.sum()
    computes = np.isin(program["funct"], [Funct.COMPUTE_PRELOADED, Funct.COMPUTE_ACCUMULATED])
    fed = int((program["rs1"][computes] >> 48 & 0xFFFF).sum())
    assert extra_reads(work, program, hw) >= fed * (fetch - 1)


class Expanding(Machine):
    """Loads of B give the address of a stored block; the decoder writes the rows that belong there."""

    def mvin(self, state, dram, local, cols, rows):
        row_bytes, rows = divmod(rows, 1 << STORED_SHIFT - 48)
        if row_bytes == 0:
            return super().mvin(state, dram, local, cols, rows)
        q, j = self.blocks[dram]
        blocks = -(-cols // self.dim)
        for block in range(blocks):
            width = min(self.dim, cols - block * self.dim)
            first = (j + block) * self.dim
            data = self.b[q * self.dim : q * self.dim + rows, first : first + width]
            self.rows_of(local, block * self.dim, rows)[:, :width] = data
        self.stored += row_bytes * rows * blocks
        return None


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 140)] * 3),
    machine=st.sampled_from(["large", "small"]),
    density=st.sampled_from([0.0, 0.1, 0.4]),
    form=st.sampled_from(formats.SPARSE_FORMATS),
    seed=st.integers(0, 99),
)
def test_stored_products_are_those_of_the_masked_matrix(machines, size, machine, density, form, seed):
    hw, (m, n, k) = machines[machine], size
    rng = np.random.default_rng(seed)
    mask = rng.random((k, n)) < density
    a, b = rng.integers(-8, 8, (m, k)), rng.integers(-8, 8, (k, n)) * mask
    bits = formats.block_bits(mask, hw.dim, 8, form)
    dense = build.matmul(m, n, k)
    rows = tuple((min(hw.dim, k - g * hw.dim),) * bits.shape[1] for g in range(bits.shape[0]))
    stored = tuple(tuple(map(int, row)) for row in bits)
    work = PackedMatmul(dense, rows, hw.dim, 1, 0, INDEX_ADDRESS, int(mask.sum()), stored)
    ran = Expanding(hw, 1 << 23)
    ran.b, ran.stored = b, 0
    blocks = blocksparse.describe(work, hw)
    builder = Builder(work, blocks, blocksparse._cut(dense, Profile(blocks, hw), hw), hw)
    builder.streams()
    ran.blocks = {INDEX_ADDRESS + at: block for block, at in builder.stored_at.items()}
    ran.write(dense.a.address, k, a, 1)
    program = lower(work, hw)
    ran.run(program)
    np.testing.assert_array_equal(ran.read(dense.c.address, n, (m, n), 1), a @ b)
    # Law: what is loaded of B is what the format says, every load rounded up to whole bytes per row.
    loads = int(((program["rs2"] >> STORED_SHIFT > 0) & np.isin(program["funct"], [1])).sum())
    if loads == len(builder.stored_at):
        assert 0 <= ran.stored - int(bits.sum()) / 8 <= loads * (64 + 1)


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
def test_format_sizes_by_formula(form):
    # Law: the formulas of `formats`, counted cell by cell.
    mask = np.random.default_rng(2).random((30, 50)) < 0.25
    bits = formats.block_bits(mask, 16, 8, form)
    values = int(mask.sum())
    overhead = {"bitmap": 256 * 8, "rle": values * 4, "csr": values * 4 + 16 * 9 * 8, "csc": values * 4 + 16 * 9 * 8}
    assert int(bits.sum()) == values * 8 + overhead[form]


def test_long_runs_cost_fillers():
    row = np.zeros((32, 32), bool)
    row[3, 31] = row[4, 15] = row[5, 16] = True  # runs of 31, 15 and 16 zeros: only 15 fits a field of 4 bits
    assert formats.block_bits(row, 32, 8, "rle").tolist() == [[(3 + 2) * 12]]
