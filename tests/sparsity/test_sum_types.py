"""Sums of another type per operator: rows and bytes by their bits where adders are cut, refused where they are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import reference
from helpers.bench_machine import check_traffic
from hypothesis import given, settings
from hypothesis import strategies as st

import sim
from sim.base.errors import InputError
from sim.functional import Machine
from sim.graph import Graph, Op, Tensor, View
from sim.hardware import load, precision
from sim.lower import build, lower
from sim.plan.planner import plan
from sim.sparsity.precision import Precision, PrecisionTable, from_table, short
from sim.sparsity.rules import Rules
from sim.sparsity.table import read
from sim.timing import timer
from workloads import encoder_layer, resnet50

CUT = {"array.accumulates": ["int16"]}
PLAIN, HALVED = load("gemmini_ibert"), load("gemmini_ibert", CUT)
GRAPH = encoder_layer(seq=32, hidden=64, heads=2, ffn=128)


def rules(*found: Precision) -> Rules:
    return Rules((), precisions=found)


HALF = rules(Precision(sums="int16"))


def product(m: int, n: int, k: int, *, full: bool, bias: bool) -> Graph:
    tensors = [Tensor("a", (m, k), "int8", "input"), Tensor("b", (k, n), "int8", "weight")]
    tensors += [Tensor("d", (1, n), "int32", "weight")] if bias else []
    tensors.append(Tensor("c", (m, n), "int32" if full else "int8", "activation"))
    *inputs, output = (View.whole(tensor) for tensor in tensors)
    op = Op("product", "matmul", tuple(inputs), output, {"repeating_bias": True})
    return Graph("product", {t.name: t for t in tensors}, (op,))


@settings(max_examples=15, deadline=None)
@given(size=st.tuples(*[st.integers(1, 60)] * 3), full=st.booleans(), bias=st.booleans())
def test_sums_of_the_accumulators_type_are_the_plain_machine(size: tuple[int, ...], full: bool, bias: bool) -> None:
    graph = product(*size, full=full, bias=bias)
    plain, same = sim.simulate(graph, PLAIN), sim.simulate(graph, HALVED, sparsity=rules(Precision(sums="int32")))
    assert same.ops.equals(plain.ops)


@settings(max_examples=25, deadline=None)
@given(size=st.tuples(*[st.integers(1, 20)] * 3), full=st.booleans(), bias=st.booleans())
def test_narrower_sums_move_no_more_bytes_and_do_the_same_work(size: tuple[int, ...], full: bool, bias: bool) -> None:
    # Law: requests are no more than at the accumulator's own width; the per-operator type is the machine-wide one.
    m, n, k = (16 * blocks for blocks in size)
    graph = product(m, n, k, full=full, bias=bias)
    wide, narrow = sim.simulate(graph, HALVED), sim.simulate(graph, HALVED, sparsity=HALF)
    for way in ("read", "write") if max(size) <= 4 else ():  # one tile: of larger ones the library cuts others
        assert narrow.totals[f"dram_{way}_bytes"] <= wide.totals[f"dram_{way}_bytes"]
    assert narrow.totals["macs"] == wide.totals["macs"] == graph.macs
    off = {"features.normalizations": False}  # the normaliser is of 32 bits; a plain product does not pass it
    machine_wide = sim.simulate(graph, load("gemmini_ibert", {**off, "array.acc_type": "int16"}))
    one, other = narrow.rows[0], machine_wide.rows[0]
    for column in ("dram_read_bytes", "dram_write_bytes", "acc_read_bytes", "acc_write_bytes", "mac_slots"):
        assert one[column] == other[column]
    assert one["energy_accumulator_pj"] == pytest.approx(other["energy_accumulator_pj"])


def test_full_width_results_and_rows_are_half_the_bytes() -> None:
    # Law: at one tile the array takes in the same rows, each of half the bits.
    graph = product(64, 64, 64, full=True, bias=False)
    wide, narrow = sim.simulate(graph, HALVED).rows[0], sim.simulate(graph, HALVED, sparsity=HALF).rows[0]
    assert wide["dram_write_bytes"] == 2 * narrow["dram_write_bytes"] == 64 * 64 * 4
    assert wide["acc_write_bytes"] == 2 * narrow["acc_write_bytes"]
    assert narrow["words"] == "int8 x int8, stored in 8/8/8 bit, added up in int16"
    steps = plan(graph, HALVED, sparsity=HALF)
    assert steps[0].machine is not None and steps[0].machine.acc_rows == 2 * HALVED.acc_rows


def test_a_network_of_convolutions_adds_up_in_half_the_bits() -> None:
    graph = resnet50(image=32)
    named = rules(Precision("S*", sums="int16"), Precision("stem", sums="int16"))
    runs = [sim.simulate(graph, HALVED, sparsity=named, clock=clock, cache=False) for clock in ("leap", "periodic")]
    columns = [column for column in runs[0].ops.columns if column != "visited_cycles"]
    assert runs[1].ops[columns].equals(runs[0].ops[columns])
    wide = sim.simulate(graph, HALVED)
    assert runs[0].totals["dram_read_bytes"] < wide.totals["dram_read_bytes"]  # biases
    assert runs[0].totals["energy_accumulator_pj"] < 0.6 * wide.totals["energy_accumulator_pj"]
    assert runs[0].totals["macs"] == graph.macs


@settings(max_examples=30, deadline=None)
@given(size=st.tuples(*[st.integers(1, 70)] * 3), full=st.booleans(), name=st.sampled_from(["int4", "int8"]))
def test_programs_leave_the_product(size: tuple[int, ...], full: bool, name: str) -> None:
    # Oracle: numpy, with sums of two bytes in the accumulator and in memory.
    hw = load("gemmini_decomposable", {**CUT, "scratchpad.capacity": "128KiB", "accumulator.capacity": "32KiB"})
    machine = precision.machine(hw, name, "int8", (8, 8, 8), "int16")
    assert machine.acc_bytes == 2
    m, n, k = size
    work = build.matmul(m, n, k, bias="row", full_c=full, acc_bytes=2)
    rng = np.random.default_rng(m * n + k)
    top = 8 if name == "int4" else 128  # of int8 the sums wrap at 16 bits
    a, b, d = (rng.integers(-high, high, shape) for high, shape in ((top, (m, k)), (128, (k, n)), (9999, (1, n))))
    times = timer.run(lower(work, machine), machine, timeline=True)
    ran = Machine(machine, 1 << 17)
    assert work.d is not None
    ran.write(work.a.address, a, kind=ran.types["a"])
    ran.write(work.b.address, b, kind=ran.types["b"])
    ran.write(work.d.address, d, wide=True)
    check_traffic(ran.run(times), times)
    sums = (a @ b + d).astype(np.int16).astype(np.int64)
    found = ran.read(work.c.address, (m, n), wide=full, kind=None if full else ran.types["c"])
    np.testing.assert_array_equal(found, sums if full else reference.rescale(sums, work.scale))


@pytest.mark.parametrize(
    ("hw", "found", "message"),
    [
        (PLAIN, Precision("L0.matmul_Q", sums="int16"), "(--set 'array.accumulates=[\"int16\"]')"),
        (HALVED, Precision("L0.matmul_Q", sums="fp32"), '(--set array.acc_type="fp32")'),
        (HALVED, Precision("L0.FF1", sums="int16"), "sums in int16 with igelu: the I-BERT units take int32 only"),
        (HALVED, Precision("L0.scores", sums="int16"), "sums in int16 with softmax"),
        (HALVED, Precision("L0.FF2", sums="int16"), "its operators need L0.FF2 int16, L0.layernorm2 int32 (nearest: "),
    ],
)
def test_sums_that_cannot_be_are_reported_with_legal_ones(hw: Any, found: Precision, message: str) -> None:
    with pytest.raises(InputError) as refused:
        sim.simulate(GRAPH, hw, sparsity=rules(found))
    assert message in str(refused.value)


def test_a_machine_cuts_adders_of_integers_only() -> None:
    with pytest.raises(InputError, match="adders of fp32 behind fp32 PEs are cut into nothing narrower"):
        load("gemmini_fp32_4x4", {"array.accumulates": ["fp16"]})
    with pytest.raises(InputError, match=r"cut into int8, int16; nearest legal value: int16"):
        load("gemmini_ibert", {"array.accumulates": ["int32"]})


def test_the_rule_is_read_as_written() -> None:
    assert from_table(read(PrecisionTable, {"operators": "*.W_Q", "sums": "int16"}), {}) == Precision(
        "*.W_Q", sums="int16"
    )
    assert "sums int16" in str(Precision(sums="int16"))
    assert short("w4a8s16@S*") == Precision("S*", "int4", "int8", "int16")
