"""Planned operators on the executor: the programs of each scheme give numpy's numbers, what none computes is named."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import hardware
from sim.base.errors import InputError
from sim.functional import Machine, run_step
from sim.functional.sampled import Choice, pack_rows, write_index
from sim.functional.weights import write_stored
from sim.graph import Graph, Op, Tensor, View
from sim.lower import lower
from sim.plan.planner import plan
from sim.sparsity.edits.compress import Compression
from sim.sparsity.edits.dynamic import Dynamic
from sim.sparsity.rules import Rules
from sim.sparsity.spec import parse
from sim.timing import timer
from workloads import encoder_layer

SPARSE = hardware.load("gemmini_sparse")
DRAM_BYTES = 1 << 24
UNIT = {"sparsity.fft_butterflies_per_cycle": 16, "sparsity.fft_block": 64}


def product(m: int, n: int, k: int) -> Graph:
    tensors = [Tensor("a", (m, k), "int8", "input"), Tensor("w", (k, n), "int8", "weight")]
    tensors.append(Tensor("c", (m, n), "int8", "activation"))
    return Graph.from_ops(
        "g", tensors, [Op("p", "matmul", tuple(map(View.whole, tensors[:2])), View.whole(tensors[2]))]
    )


@settings(max_examples=8, deadline=None)
@given(
    rule=st.one_of(
        st.builds(Dynamic, st.just("topk"), k=st.integers(1, 40), seed=st.integers(0, 3)),
        st.builds(Dynamic, st.just("threshold"), density=st.floats(0.03, 0.9), seed=st.integers(0, 3)),
    ),
    seed=st.integers(0, 99),
)
def test_planned_attention_of_chosen_scores_is_masked_attention(rule, seed):
    # Oracle: numpy, head by head. Scores leave packed; the context takes them from where they lie.
    heads, seq, size = 2, 48, 32
    rules = Rules((), rule)
    graph = rules.edit(encoder_layer(seq=seq, hidden=heads * size, heads=heads, ffn=64))
    steps = {step.name: step for step in plan(graph, SPARSE, sparsity=rules)}
    scores, context = (steps[f"L0.{name}"] for name in ("scores", "context"))
    machine, rng = Machine(SPARSE, DRAM_BYTES), np.random.default_rng(seed)
    choices = [Choice(mask, SPARSE.sparsity.resident_reach) for mask in rule.masks("L0.scores", heads, seq, seq)]
    q, k, v = (rng.integers(-9, 9, (heads, seq, size)) for _ in range(3))
    for head, (one, two) in enumerate(zip(scores.works, context.works, strict=True)):
        for operand, matrices in ((one.matmul.a, q), (one.matmul.b, k), (two.matmul.b, v)):
            machine.write(operand.address, matrices[head], operand.row_stride)
    for step in (scores, context):
        units = [write_index(machine, work, choice) for work, choice in zip(step.works, choices, strict=True)]
        assert [done.clashes for done in run_step(machine, step, units)] == [0] * heads
    for head, work in enumerate(context.works):
        shares = np.zeros((seq, seq), int)
        for row in range(seq):
            there = np.flatnonzero(choices[head].mask[row])
            whole = (q[head] @ k[head].T)[row : row + 1, there]
            shares[row, there] = reference.softmax(whole, scores.works[head].matmul.bert_scale)[0]
        found = machine.read(work.matmul.c.address, (seq, size), work.matmul.c.row_stride)
        np.testing.assert_array_equal(found, reference.rescale(shares @ v[head], work.matmul.scale))


def test_planned_packed_activations_are_those_of_the_masked_matrix(tmp_path):
    (tmp_path / "spec.toml").write_text('[[activations]]\npattern = "2:4"\n')
    rules, graph, rng = parse(str(tmp_path / "spec.toml")), product(40, 48, 96), np.random.default_rng(0)
    (step,) = plan(graph, SPARSE, sparsity=rules)
    (work,) = step.works
    choice = Choice(rules.zeros[0].element_mask(graph.ops[0]), group=(2, 4))
    a, b = rng.integers(-99, 99, (40, 96)), rng.integers(-99, 99, (96, 48))
    machine = Machine(SPARSE, DRAM_BYTES)
    machine.write(work.matmul.a.address, pack_rows(a, choice, work, SPARSE.dim), work.matmul.a.row_stride)
    machine.write(work.matmul.b.address, b)
    run_step(machine, step, [write_index(machine, work, choice)])
    sums = np.where(choice.mask, a, 0) @ b
    np.testing.assert_array_equal(
        machine.read(work.matmul.c.address, (40, 48)), reference.rescale(sums, work.matmul.scale)
    )


@pytest.mark.parametrize("block", [8, 16, 32, 96])
def test_planned_circulants_are_the_matrix_written_out(block):
    rules = Rules((), compressions=(Compression("circulant", block=block),))
    (step,) = plan(product(40, 96, 192), SPARSE, sparsity=rules)
    (work,), rng = step.works, np.random.default_rng(block)
    first = rng.integers(-99, 99, (192 // block, 96 // block, block))
    b = np.block([[np.stack([np.roll(row, shift) for shift in range(block)]) for row in line] for line in first])
    a = rng.integers(-99, 99, (40, 192))
    machine = Machine(SPARSE, DRAM_BYTES)
    machine.write(work.matmul.a.address, a)
    run_step(machine, step, [write_stored(machine, work, b, "circulant", block)])
    found = machine.read(work.matmul.c.address, (40, 96))
    np.testing.assert_array_equal(found, reference.rescale(a @ b, work.matmul.scale))


def test_a_transform_is_refused_by_name_and_its_products_run():
    # The unit's rounding is not modelled: only the products by frequency are programs of the array.
    hw = hardware.load("gemmini_ibert", UNIT)
    graph = product(24, 32, 48)
    rules = Rules((), compressions=(Compression("circulant", block=8, via="fft"),))
    machine, rng, ran = Machine(hw, DRAM_BYTES), np.random.default_rng(0), 0
    for step in plan(rules.edit(graph), hw, sparsity=rules):
        if step.engine == "array":
            for work in step.works:
                a, b = (rng.integers(-99, 99, shape) for shape in ((work.m, work.k), (work.k, work.n)))
                machine.write(work.a.address, a, work.a.row_stride)
                machine.write(work.b.address, b, work.b.row_stride)
                work_sums = reference.wrap(a @ b)
                last = work, work_sums
            run_step(machine, step)
            found = machine.read(last[0].c.address, last[1].shape, last[0].c.row_stride, wide=True)
            np.testing.assert_array_equal(found, last[1])
            ran += 1
            continue
        with pytest.raises(InputError, match=rf'{step.name}: {step.kind} runs on a side unit.*via = "direct"'):
            run_step(machine, step)
    assert ran == 2


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (parse("2:4"), r"p: its operands are packed \(select\): 0 units for 1 programs \(nearest: 1"),
        (parse("unstructured:0.3/rle"), r"p: its operands are packed \(rle\): 0 units"),
        (Rules((), compressions=(Compression("circulant", block=32),)), r"its operands are packed \(circulant\)"),
    ],
)
def test_packed_operands_never_run_as_if_they_were_dense(rules, message):
    (step,) = plan(product(32, 64, 64), SPARSE, sparsity=rules)
    machine = Machine(SPARSE, DRAM_BYTES)
    with pytest.raises(InputError, match=message):
        run_step(machine, step)
    if step.scheme != "select":
        with pytest.raises(InputError, match="expand stored weights"):
            machine.run(timer.run(lower(step.works[0], SPARSE), SPARSE, timeline=True))


def test_what_the_host_or_a_ranking_unit_does_is_named():
    rules = Rules((), Dynamic("topk", k=4))
    steps = plan(rules.edit(encoder_layer(seq=32, hidden=64, heads=2, ffn=64)), SPARSE, sparsity=rules)
    machine = Machine(SPARSE, DRAM_BYTES)
    (mask,) = (step for step in steps if step.kind == "mask")
    with pytest.raises(InputError, match=r"L0\..*: mask runs on a side unit.*write_index"):
        run_step(machine, mask)


@pytest.mark.parametrize("kind", ["conv", "depthwise_conv"])
def test_a_window_that_moves_further_along_rows_is_a_program_for_each_row_of_results(kind):
    """Oracle: the sum over taps. Two images, zeros on three sides, strides of 2 and 1, in a tensor of more channels."""
    window = {"in_rows": 7, "in_cols": 6, "kernel": 3, "stride": 1, "stride_rows": 2, "padding": 1,
              "padding_rows": 0, "padding_rows_end": 2, "padding_end": 0}  # fmt: skip
    outs, alone = (5, False) if kind == "conv" else (4, True)
    rows, cols = 4, 5
    x = Tensor("x", (2 * 42, 9), "int8", "input")
    w = Tensor("w", (4, 9) if alone else (36, outs), "int8", "weight")
    y = Tensor("y", (2 * rows * cols, outs), "int8", "activation")
    seen = View("x", 1, 84, 4, 9, 84 * 9, 3)
    op = Op("c", kind, (seen, View.whole(w)), View.whole(y), window)
    (step,) = plan(Graph.from_ops("g", (x, w, y), [op]), SPARSE)
    assert len(step.works) == 2 * rows and sum(work.macs for work in step.works) == step.macs
    rng, machine = np.random.default_rng(0), Machine(SPARSE, DRAM_BYTES)
    image, kernel = rng.integers(-9, 9, (2, 7, 6, 9)), rng.integers(-9, 9, w.shape)
    machine.write(step.works[0].x.address - 3, image.reshape(84, 9), 9)
    machine.write(step.works[0].weights.address, kernel, w.shape[1])
    run_step(machine, step)
    padded = np.pad(image[..., 3:7], ((0, 0), (0, 2), (1, 0), (0, 0)))
    taps = (
        kernel.reshape(4, 3, 3).transpose(1, 2, 0)[..., None] * np.eye(4, dtype=int)
        if alone
        else kernel.reshape(3, 3, 4, 5)
    )
    sums = np.zeros((2, rows, cols, outs), int)
    for i, j in np.ndindex(3, 3):
        sums += padded[:, i : i + 2 * rows - 1 : 2, j : j + cols] @ taps[i, j]
    found = machine.read(step.works[0].c.address, (2 * rows * cols, outs), outs)
    np.testing.assert_array_equal(found, reference.rescale(sums.reshape(-1, outs), step.works[0].scale))
