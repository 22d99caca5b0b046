"""The programs of sampled products, command by command: what lies in the scratchpad when a command reads it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sim.hardware import Hardware, load, precision
from sim.isa.commands import ACCUMULATE_BIT, GARBAGE_ADDRESS, Funct
from sim.lower import lower
from sim.lower.sparse.compiled.sampled_records import ROWS
from sim.lower.sparse.compiled.sampled_records import C as C_ADDRESS
from sim.lower.sparse.sampled_plan import SampledShape, choose_cut
from sim.lower.sparse.sampled_stream import walk
from sim.lower.work import Matmul, Operand, SampledMatmul
from sim.sparsity.masks import packing

HW = load("gemmini_sparse", {"scratchpad.capacity": "32KiB", "accumulator.capacity": "32KiB"})
DIM, RESIDENT = 16, 2
NARROW = {"array.accepts": ["int4", "int2"], "scratchpad.narrow_words": True}
MACHINES = (
    HW,
    precision.machine(HW.with_(NARROW), "int4", "int4", (4, 4, 4)),
    precision.machine(HW.with_(NARROW), "int8", "int4", (8, 4, 8)),
    precision.machine(HW.with_(NARROW), "int2", "int4", (4, 8, 2)),
)
"""The plain one, and words narrower in memory and in the scratchpad."""
LOADS = (Funct.MVIN, Funct.MVIN2, Funct.MVIN3)
A, B, C, INDEX = (k << 28 for k in range(1, 5))


def product(picks: str, m: int, keys: int, width: int, mask: np.ndarray) -> SampledMatmul:
    outputs = picks == "outputs"
    n, k = (keys, width) if outputs else (width, keys)
    matmul = Matmul(
        m, n, k, Operand(A, k), Operand(B, width), Operand(C, n),
        transpose_b=outputs, activation="softmax" if outputs else "none",
    )  # fmt: skip
    counts = packing.sub_rows(mask, DIM, RESIDENT, "line")
    rows = tuple(tuple(int(c) for c in row) for row in counts)
    return SampledMatmul(matmul, picks, rows, RESIDENT, keys, INDEX, -(-keys // 8), RESIDENT * DIM)


@settings(max_examples=40, deadline=None)
@example(picks="outputs", sizes=(33, 193, 65), density=0.2, seed=1, hw=HW)  # the index of all windows, in a slot of one
@given(
    picks=st.sampled_from(["outputs", "inputs"]),
    sizes=st.tuples(st.integers(1, 90), st.integers(17, 200), st.integers(1, 70)),
    density=st.sampled_from([0.02, 0.2, 0.9]),
    seed=st.integers(0, 99),
    hw=st.sampled_from(MACHINES),
)
def test_every_command_reads_what_it_names(
    picks: str, sizes: tuple[int, int, int], density: float, seed: int, hw: Hardware
) -> None:
    # Replay in program order: each mvin writes DRAM addresses into rows of the scratchpad. A preload must find its
    # block of B there, a compute the rows of A of its last sub-row; and weights come in only when the set before is in
    # use. All sub-rows are streamed past all their weights, and every row of C leaves.
    whole = 1 if hw is HW else 4  # elements of two bits that fill a byte
    m, keys, width = (sizes[0], *(whole * -(-size // whole) for size in sizes[1:]))
    mask = np.random.default_rng(seed).random((m, keys)) < density
    mask[:, 0] = True
    work = product(picks, m, keys, width, mask)
    shape, cut = SampledShape(work, hw), choose_cut(work, hw)
    met = walk(work, cut, hw).met
    meant = list(_meant(shape, cut))
    assert len(met.groups) == len(meant)
    held = np.repeat(np.arange(len(meant)), met.groups[:, 1])
    chunks = list(zip(np.repeat(np.arange(len(meant)), met.groups[:, 2]).tolist(), met.chunks.tolist(), strict=True))
    expected = [address for _, addresses, _ in meant for address in addresses]
    spad: dict[int, int] = {}
    results: dict[tuple[int, int], int] = {}
    strides, preloads, computes, stored, switched = [0, 0, 0], 0, 0, set(), -1
    for command in lower(work, hw):
        funct, rs1, rs2 = int(command["funct"]), int(command["rs1"]), int(command["rs2"])
        local, cols, rows = rs2 & 0x7FFFFFFF, rs2 >> 32 & 0xFFFF, rs2 >> 48 & 0xFFFF
        if funct == Funct.CONFIG and rs1 & 3 == 1:
            strides[rs1 >> 3 & 3] = rs2
        elif funct in LOADS:
            state = LOADS.index(funct)
            apart = hw.packed_bytes(DIM, ("a", "b", "word")[state])
            assert local + (-(-cols // DIM) - 1) * DIM + rows <= hw.sp_rows
            for row in range(rows):
                for block in range(-(-cols // DIM)):
                    spad[local + block * DIM + row] = rs1 + row * strides[state] + block * apart
        elif funct == Funct.PRELOAD and rs1 & 0xFFFFFFFF != GARBAGE_ADDRESS:
            assert rs1 & 0xFFFFFFFF == met.weights[preloads, 0]
            assert spad[rs1 & 0xFFFFFFFF] == B + hw.packed_bytes(expected[preloads] - B, "b")
            assert switched >= held[preloads] - 1, "the registers of the next weights are still in use"
            preloads += 1
        elif funct in (Funct.COMPUTE_PRELOADED, Funct.COMPUTE_ACCUMULATED):
            number, chunk = chunks[computes]
            if funct == Funct.COMPUTE_PRELOADED:
                switched += 1
                assert preloads >= met.groups[: number + 1, 1].sum()
            assert switched == number and rs1 >> 48 == chunk[ROWS] <= DIM
            place = sum(other[ROWS] for owner, other in chunks[: computes + 1] if owner == number) - 1
            streamed = meant[number][2][place + 1 - chunk[ROWS] : place + 1]
            last = streamed[-1][0] // DIM
            column, row = max((column, row) for row, column in streamed if row // DIM == last)
            assert spad[(rs1 & 0xFFFFFFFF) + row % DIM] == A + hw.packed_bytes(row * work.matmul.k + column, "a")
            begin = streamed[0][0]
            results[begin // DIM, meant[number][0]] = chunk[C_ADDRESS] & ~ACCUMULATE_BIT
            computes += 1
        elif funct == Funct.MVOUT:
            first = (rs1 - C) * 8 // hw.bits("c")
            stored |= {first // work.matmul.n + row for row in range(rows)}
            at, feature = first // work.matmul.n // DIM, first % work.matmul.n // DIM
            if picks == "inputs" and (at, feature) in results:
                assert rs2 & 0xBFFFFFFF == results[at, feature], "a result leaves from where it was summed up"
    assert (preloads, computes, stored) == (len(held), len(chunks), set(range(m)))


def _meant(shape: SampledShape, cut: object) -> object:
    """By group: features, DRAM addresses of its blocks of B, (row, first column in A) of its sub-rows in order."""
    for step in cut.steps:
        rows = [r for block in step.blocks for r in range(block * DIM, min((block + 1) * DIM, shape.m))]
        windows = [w for w in step.windows if shape.counts[rows, w].any()]
        pairs = [(w, f) for w in windows for f in step.features]
        for w, f in pairs if shape.outputs else sorted(pairs, key=lambda pair: pair[1]):
            keys = range(w * RESIDENT, min((w + 1) * RESIDENT, -(-shape.keys // DIM)))
            addresses = [B + (key * shape.width + f) * DIM for key in keys]
            places = [(r, int(shape.before[r, w]) + s) for r in rows for s in range(shape.counts[r, w])]
            yield f, addresses, [(r, (f if shape.outputs else place) * DIM) for r, place in places]


@pytest.mark.parametrize("picks", ["outputs", "inputs"])
def test_sub_rows_are_streamed_past_every_feature(picks: str) -> None:
    # Closed form: rows fed = sub-rows x features, every block of weights of a window that is wanted once per tile.
    mask = np.ones((32, 64), bool)
    work = product(picks, 32, 64, 32, mask)
    chunks = walk(work, choose_cut(work, HW), HW).met.chunks
    assert chunks[:, ROWS].sum() == 32 * (64 // DIM) * (32 // DIM)
