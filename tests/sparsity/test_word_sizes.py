"""Laws of word sizes: the input type is today's machine, narrower moves no more bytes, no mode beats its peak, all
clocks agree, and the programs of every mode leave numpy's product in memory.
"""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import reference
from helpers.bench_machine import check_traffic
from helpers.words import line, modes
from hypothesis import given, settings
from hypothesis import strategies as st

import sim
from sim.base.errors import InputError
from sim.functional import Machine
from sim.functional.machine import BASE_ADDRESS
from sim.graph import Graph, Op, Tensor, View
from sim.hardware import load, precision
from sim.hardware.precision import WIDENS
from sim.hardware.schema import ELEMENT_BITS
from sim.lower import Operand, build, lower
from sim.plan.planner import plan
from sim.sparsity.grid import lines
from sim.sparsity.spec import parse
from sim.timing import timer
from sim.trace.profile import profile
from workloads import encoder_layer

SIZES = {"seq": 32, "hidden": 64, "heads": 2, "ffn": 128}
GRAPH = encoder_layer(**SIZES)
MACHINES = {name: load(f"gemmini_{name}") for name in ("widening", "decomposable", "bitserial")}
MODES = modes(MACHINES)


def run(hw: Any, sparsity: str | None, **more: Any) -> sim.Result:
    return sim.simulate(GRAPH, hw, sparsity=sparsity, **more)


def moved(result: sim.Result) -> int:
    return int(result.totals["dram_read_bytes"] + result.totals["dram_write_bytes"])


def product(m: int, n: int, k: int) -> Graph:
    tensors = [Tensor("a", (m, k), "int8", "input"), Tensor("b", (k, n), "int8", "weight")]
    tensors.append(Tensor("c", (m, n), "int8", "activation"))
    views = [View.whole(tensor) for tensor in tensors]
    return Graph("product", {t.name: t for t in tensors}, (Op("product", "matmul", tuple(views[:2]), views[2]),))


@settings(max_examples=12, deadline=None)
@given(size=st.tuples(*[st.integers(1, 20)] * 3), name=st.sampled_from(["widening", "decomposable"]))
def test_the_input_type_is_the_plain_machine_cycle_for_cycle(size: tuple[int, int, int], name: str) -> None:
    m, n, k = (4 * blocks for blocks in size)
    plain = sim.simulate(product(m, n, k), "gemmini_ibert")
    same = sim.simulate(product(m, n, k), MACHINES[name], sparsity="w8a8")
    columns = [column for column in plain.ops.columns if column != "hardware"]
    assert same.ops[columns].equals(plain.ops[columns])


@settings(max_examples=60, deadline=None)
@given(size=st.tuples(*[st.integers(1, 48)] * 3), mode=st.sampled_from(MODES), data=st.data())
def test_narrower_moves_no_more_bytes(size: tuple[int, int, int], mode: tuple[str, str, str], data: Any) -> None:
    # The hardware loop loads whole blocks of B along K, so of arrays that split only such sizes are compared.
    name, a, w = mode
    wider = [one for one in MODES if one[0] == name and all(map(wide, one[1:], (a, w)))]
    _, wide_a, wide_w = data.draw(st.sampled_from(wider))
    m, n, k = (4 * blocks for blocks in size)
    graph = product(m, n, -(-k // 64) * 64 if name == "decomposable" else k)
    narrow, wide_run = (
        sim.simulate(graph, MACHINES[name], sparsity=line(*types)) for types in ((a, w), (wide_a, wide_w))
    )
    assert moved(narrow) <= moved(wide_run)


def wide(one: str, other: str) -> bool:
    return ELEMENT_BITS[one] >= ELEMENT_BITS[other]


@pytest.mark.parametrize(("name", "a", "w"), MODES)
def test_no_mode_beats_its_peak_and_causes_sum(name: str, a: str, w: str) -> None:
    result = run(MACHINES[name], line(a, w))
    for row in result.rows:
        assert sum(row[f"{cause}_cycles"] for cause in sim.run.columns.CAUSES) == row["cycles"]
        assert 0 <= row["utilization"] <= 1 and 0 <= (row["util_compute"] or 0) <= 1
        assert row["macs"] <= row["mac_slots"] or not row["macs"]
        assert row["macs"] <= row["cycles"] * row["peak_macs_per_cycle"]
    assert result.totals["macs"] == GRAPH.macs and 0 < result.totals["utilization"] <= 1


@pytest.mark.parametrize(
    ("name", "line", "peak"),
    [
        ("widening", "w4a4", 256), ("widening", "w2a8", 256),
        ("decomposable", "w4a4", 1024), ("decomposable", "w4a8", 512), ("decomposable", "w8a4", 512),
        ("decomposable", "w8a8", 256), ("decomposable", "w8a16", 128), ("decomposable", "w16a16", 64),
        ("bitserial", "w8a8", 256), ("bitserial", "w8a4", 512), ("bitserial", "w2a2", 1024),
        ("bitserial", "w4a8", 256), ("bitserial", "w8a16", 128), ("bitserial", "w16a8", 128),
    ],
)  # fmt: skip
def test_peaks_by_formula(name: str, line: str, peak: int) -> None:
    # Law: 256 x 64 / (a w) for multipliers that split, 1024 x 2 / a for serial ones of two bits, 256 for fixed ones.
    assert sim.simulate(product(32, 32, 32), MACHINES[name], sparsity=line).totals["peak_macs_per_cycle"] == peak


def test_twice_the_sums_are_paid_for_at_the_accumulator() -> None:
    # Law: a row of the split array gives twice the sums; a port of one per column takes them in two cycles.
    wide, narrow = MACHINES["decomposable"], MACHINES["decomposable"].with_({"array.sums_per_cycle": 0})
    peaks = [precision.machine(hw, "int4", "int4", (4, 4, 8)).peak_macs_per_cycle for hw in (wide, narrow)]
    assert peaks == [1024, 512]
    graph = product(128, 128, 512)
    cycles = [sim.simulate(graph, hw, sparsity="w4a4").cycles for hw in (wide, narrow)]
    assert 1.5 < cycles[1] / cycles[0] <= 2


def test_twice_the_sums_leave_the_accumulator_in_two_cycles() -> None:
    # Bound: a softmax passes every row of sums three times; all clocks agree on the pace.
    hw = MACHINES["decomposable"].with_({"array.sums_per_cycle": 0})
    runs = [run(hw, "w4a4", clock=clock, cache=False) for clock in ("reference", "leap", "periodic")]
    columns = [column for column in runs[0].ops.columns if column != "visited_cycles"]
    assert runs[1].ops[columns].equals(runs[0].ops[columns]) and runs[2].ops[columns].equals(runs[0].ops[columns])
    heads, rows, blocks = 2, 32, 1  # 32 columns of scores are one block of the split array
    scores = [one.ops.set_index("op").loc["L0.scores"] for one in (runs[0], run(MACHINES["decomposable"], "w4a4"))]
    assert scores[0]["words"].startswith("int4 x int4")
    assert scores[0]["cycles"] >= max(heads * 3 * rows * blocks * 2, scores[1]["cycles"] + heads * rows)


@pytest.mark.parametrize("sizes", [(7, 64, 2), (1, 300, 2), (64, 64, 1), (33, 65, 31)])
def test_no_array_takes_in_more_than_a_row_at_a_time(sizes: tuple[int, int, int]) -> None:
    """The fault found: rows that flush an output-stationary serial array counted as slow as rows of operands, 1.15."""
    for flow in ("OS", "WS"):
        overrides = {"memory.latency_cycles": 1, "memory.read_bytes_per_cycle": 16.0}
        row = sim.simulate(product(*sizes), MACHINES["bitserial"], dataflow=flow, overrides=overrides).rows[0]
        assert 0 < row["util_compute"] <= 1


@pytest.mark.parametrize(("name", "row_cycles"), [("bitserial", 4), ("widening", 1)])
def test_rows_enter_at_their_pace(name: str, row_cycles: int) -> None:
    # Tight gate: an array that never waits takes a row every ``row_cycles``, and all of it is compute.
    row = sim.simulate(product(512, 128, 512), MACHINES[name], sparsity="w8a8").rows[0]
    fed = row["mac_slots"] // MACHINES[name].dim ** 2
    assert fed * row_cycles <= row["cycles"] and row["util_compute"] == fed * row_cycles / row["cycles"]
    assert row["util_compute"] > 0.85
    assert abs(row["compute_cycles"] - fed * row_cycles) <= 0.02 * row["cycles"]


@pytest.mark.parametrize(("name", "line"), [(n, one) for n in MACHINES for one in ("w4a4", "w4a8", "w2a4")])
def test_all_clocks_agree(name: str, line: str) -> None:
    runs = [run(MACHINES[name], line, clock=clock, cache=False) for clock in ("reference", "leap", "periodic")]
    columns = [column for column in runs[0].ops.columns if column != "visited_cycles"]
    assert runs[1].ops[columns].equals(runs[0].ops[columns])
    assert runs[2].ops[columns].equals(runs[0].ops[columns])


def test_narrow_weights_are_half_the_bytes_and_nothing_else() -> None:
    # Law: at equal tiles (a word of 8 bits) int4 weights save half of what their loads read.
    wide, narrow = (run(MACHINES["widening"], one).ops.set_index("op") for one in ("w8a8", "w4a8"))
    saved = wide["dram_read_bytes"] - narrow["dram_read_bytes"]
    for name, k, n in (("L0.FF1", 64, 128), ("L0.FF2", 128, 64), ("L0.W_out", 64, 64)):
        assert saved[name] == k * n // 2
    assert saved["L0.scores"] == saved["L0.layernorm1"] == 0
    assert (narrow["dram_write_bytes"] == wide["dram_write_bytes"]).all()


def test_a_tensor_is_as_wide_as_its_widest_reader() -> None:
    # The residual stream is read by an addition, which knows int8 only; what only products read is stored in 4 bits.
    steps = {step.name: step for step in plan(GRAPH, MACHINES["widening"], sparsity=parse("w4a4"))}
    words = {name: step.machine.words for name, step in steps.items() if step.machine is not None}
    assert words["L0.FF1"][:3] == (8, 4, 4) and words["L0.FF1"].a_type == "int4"
    assert words["L0.scores"][:3] == (4, 4, 4) and "L0.residual_add1" not in words


def test_energy_goes_with_the_widths_only_where_the_multiplier_does() -> None:
    mac = {n: run(hw, "w4a4").totals["energy_mac_pj"] for n, hw in MACHINES.items()}
    whole = run("gemmini_ibert", None).totals["energy_mac_pj"]
    assert mac["widening"] == pytest.approx(whole)
    assert mac["decomposable"] == mac["bitserial"] == pytest.approx(whole / 4)


def test_a_change_of_mode_costs_a_command() -> None:
    slow = MACHINES["widening"].with_({"cpu.command_cycles": 50, "cpu.loop_cycles": 50})
    both, first, dense = (run(slow, one).ops.set_index("op") for one in ("w4a8@*FF?", "w4a8@*FF1", None))
    assert both.loc["L0.FF1", "issue_cycles"] >= dense.loc["L0.FF1", "issue_cycles"] + 50
    # FF2 in the same mode as FF1 pays nothing; from FF1 back to int8 a command again
    assert first.loc["L0.FF2", "cycles"] == dense.loc["L0.FF2", "cycles"] + 50


def test_word_sizes_go_together_with_zeros() -> None:
    hw = MACHINES["decomposable"].with_({"sparsity.select_inputs": 16, "sparsity.fetch_rows": 4})
    rules = parse("w4a4")
    whole, half = (
        sim.simulate(GRAPH, hw, sparsity=replace(rules, zeros=parse(zeros).zeros)).ops.set_index("op")
        for zeros in ("4:4", "2:4")
    )
    plain = run(hw, "w4a4").ops.set_index("op")
    assert (whole["cycles"] <= plain["cycles"]).all() and (whole["macs"] == plain["macs"]).all()
    assert half.loc["L0.FF2", "macs"] == plain.loc["L0.FF2", "macs"] / 2
    assert half.loc["L0.FF2", "dram_read_bytes"] < plain.loc["L0.FF2", "dram_read_bytes"]


def values(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> np.ndarray:
    """All values of an integer type; of floats small whole numbers, exact in any order of summing."""
    top = 4 if not kind.startswith("int") else 1 << (ELEMENT_BITS[kind] - 1)
    return rng.integers(-top, top, shape)


def executed(machine: Any, work: Any, operands: dict[str, np.ndarray]) -> tuple[np.ndarray, Any]:
    """Return (C, execution): the program in the order of the timing core, its traffic that of the core."""
    times = timer.run(lower(work, machine), machine, timeline=True)
    ran = Machine(machine, 1 << 20)
    b = operands["b"].T if work.transpose_b else operands["b"]
    ran.write(work.a.address, operands["a"], work.a.row_stride, kind=ran.types["a"])
    ran.write(work.b.address, b, work.b.row_stride, kind=ran.types["b"])
    if "d" in operands:
        ran.write(work.d.address, operands["d"], work.d.row_stride, wide=True)
    done = ran.run(times)
    check_traffic(done, times)
    kind = None if work.full_c else ran.types["c"]
    return ran.read(work.c.address, (work.m, work.n), work.c.row_stride, wide=work.full_c, kind=kind), done


FLOATS = [
    ("fp32", a, w) for a in ("fp32", "bf16", "fp16", "int16", "int8") for w in ("fp32", "bf16", "int8", "int4", "int2")
] + [("bf16", a, w) for a in ("bf16", "int8") for w in ("bf16", "int8", "int4", "int2")]
FLOAT_MACHINES = {kind: load(f"gemmini_{kind}_4x4", {"array.accepts": list(WIDENS[kind])}) for kind in ("fp32", "bf16")}


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 36)] * 3),
    mode=st.sampled_from(MODES),
    stored=st.tuples(*[st.sampled_from([0, 1, 2])] * 2),
    c_bits=st.sampled_from([2, 4, 8, 16]),
    fields=st.tuples(st.booleans(), st.sampled_from(["none", "full", "row"]), st.booleans()),
    small=st.booleans(),
    seed=st.integers(0, 999),
)
def test_programs_of_all_modes_leave_the_product(
    size: tuple[int, int, int],
    mode: tuple[str, str, str],
    stored: tuple[int, int],
    c_bits: int,
    fields: tuple[bool, Any, bool],
    small: bool,
    seed: int,
) -> None:
    # Oracle: numpy. Operands lie in memory as wide as multiplied or wider; all values of the types multiplied.
    name, a_type, w_type = mode
    transpose_b, bias, full_c = fields
    hw = MACHINES[name]
    if small and name != "decomposable":
        hw = hw.with_({"scratchpad.capacity": "64KiB", "accumulator.capacity": "32KiB"})
    bits = [min(16, ELEMENT_BITS[one] << more) for one, more in zip((a_type, w_type), stored, strict=True)]
    machine = precision.machine(hw, a_type, w_type, (*bits, c_bits))
    m, n, k = (4 * blocks for blocks in size)
    rng = np.random.default_rng(seed)
    operands = {"a": values(rng, a_type, (m, k)), "b": values(rng, w_type, (k, n))}
    if bias != "none":
        operands["d"] = rng.integers(-(1 << 20), 1 << 20, (1 if bias == "row" else m, n))
    found, done = executed(machine, placed(m, n, k, transpose_b, bias, full_c), operands)
    sums = reference.wrap(operands["a"] @ operands["b"] + operands.get("d", 0))
    expected = (
        sums if full_c else reference.rescale(sums, 0.05, kind="int16").clip(-(1 << c_bits - 1), (1 << c_bits - 1) - 1)
    )
    np.testing.assert_array_equal(found, expected)
    assert done.narrowed == 0
    assert machine.peak_macs_per_cycle == Fraction(machine.dim**2, machine.row_cycles)


def placed(m: int, n: int, k: int, transpose_b: bool = False, bias: Any = "none", full_c: bool = False) -> Any:
    """A product whose operands find room at any width."""
    places = [BASE_ADDRESS + place * (1 << 18) for place in range(4)]
    return replace(
        build.matmul(m, n, k, bias=bias, full_c=full_c), a=Operand(places[0], k),
        b=Operand(places[1], k if transpose_b else n), c=Operand(places[2], n), d=Operand(places[3], n),
        transpose_b=transpose_b,
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 12)] * 3),
    mode=st.sampled_from(FLOATS),
    wider=st.booleans(),
    seed=st.integers(0, 99),
)
def test_floating_arrays_widen_what_they_take(
    size: tuple[int, int, int], mode: tuple[str, str, str], wider: bool, seed: int
) -> None:
    # Oracle: numpy. A fixed floating-point PE holds every value of the types it widens.
    name, a_type, w_type = mode
    own = ELEMENT_BITS[name]
    bits = [own if wider else ELEMENT_BITS[one] for one in (a_type, w_type)]
    machine = precision.machine(FLOAT_MACHINES[name], a_type, w_type, (*bits, own))
    m, n, k = (4 * blocks for blocks in size)
    rng = np.random.default_rng(seed)
    operands = {"a": values(rng, a_type, (m, k)), "b": values(rng, w_type, (k, n))}
    found, done = executed(machine, placed(m, n, k), operands)
    sums = reference.product(operands["a"], operands["b"], None, placed(m, n, k), FLOAT_MACHINES[name], k)
    np.testing.assert_array_equal(found, reference.rescale(sums, 0.05, kind=name))
    assert done.narrowed == 0


def test_a_load_narrows_to_the_type_that_is_multiplied_and_says_so() -> None:
    # Oracle: numpy's clip. What lies there in 16 bits and is multiplied in 4 saturates at the load.
    machine = precision.machine(MACHINES["decomposable"], "int4", "int4", (16, 4, 8))
    rng = np.random.default_rng(0)
    a, b = rng.integers(-30, 30, (20, 32)), rng.integers(-8, 8, (32, 16))
    found, done = executed(machine, placed(20, 16, 32), {"a": a, "b": b})
    np.testing.assert_array_equal(found, reference.rescale(a.clip(-8, 7) @ b, 0.05))
    assert done.narrowed == int(((a < -8) | (a > 7)).sum())  # one tile: every element is loaded once


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (None, 'c in 16 bits may be int16, fp16, bf16: choose one, e.g. stored={"c": "int16"}'),
        ({"c": "int8"}, "c as int8: the program moves elements of 16 bits of it"),
        ({"cc": "int16"}, "operand 'cc' (did you mean 'c'?)"),
    ],
)
def test_bits_that_do_not_say_a_type_are_asked_about(stored: dict[str, str] | None, message: str) -> None:
    machine = precision.machine(FLOAT_MACHINES["fp32"], "int8", "int4", (8, 4, 16))
    with pytest.raises(InputError) as refused:
        Machine(machine, 1 << 16, stored=stored)
    assert message in str(refused.value)
    for kind in ("int16", "fp16", "bf16"):
        assert Machine(machine, 1 << 16, stored={"c": kind}).types["c"] == kind


def test_word_sizes_are_lines_of_a_sweep() -> None:
    assert lines("w8a8,w4a8,2:4", None) == ["dense", "w8a8", "w4a8", "2:4"]


@pytest.mark.parametrize("name", MACHINES)
def test_traffic_by_operand_sums_to_the_counters(name: str, tmp_path: Path) -> None:
    result = run(MACHINES[name], "w4a8")
    operands = profile(result).operands
    for way in ("read", "write"):
        assert sum(row[f"{way}_bytes"] for row in operands) == result.totals[f"dram_{way}_bytes"]
    result.save(tmp_path / "kept")  # law: the nominal figures of the kept band are those of the run
    record = json.loads((tmp_path / "kept" / "run.json").read_text())
    assert sum(part["nominal"] for part in record["energy_pj"].values()) == pytest.approx(result.totals["energy_pj"])
    assert record["roofs"]["macs_per_cycle"] == max(row["peak_macs_per_cycle"] for row in result.rows)


def test_narrower_sums_are_half_the_bytes_and_twice_the_rows() -> None:
    # Law, for the machine's own accumulator type: the array takes in the same rows.
    wide, narrow = (load("gemmini_default", {"array.acc_type": one}) for one in ("int32", "int16"))
    assert narrow.acc_rows == 2 * wide.acc_rows
    graph = product(128, 64, 64)
    rows = [sim.simulate(graph, hw).rows[0] for hw in (wide, narrow)]
    assert rows[1]["acc_write_bytes"] == rows[0]["acc_write_bytes"] / 2 and rows[1]["mac_slots"] == rows[0]["mac_slots"]
    assert 0 < rows[1]["energy_accumulator_pj"] < rows[0]["energy_accumulator_pj"]
