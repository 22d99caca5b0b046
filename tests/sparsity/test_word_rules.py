"""Word sizes at the door: rules read as written, outliers split exactly, everything else is refused with a way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import reference
from helpers.bench_machine import check_traffic

import sim
from sim.base.errors import InputError
from sim.functional import Machine
from sim.graph import Graph, Op, Tensor, View
from sim.hardware import load
from sim.lower import lower
from sim.plan.placement import place
from sim.plan.planner import plan
from sim.plan.word_sizes import WordSizes
from sim.sparsity.edits import outliers
from sim.sparsity.precision import Precision
from sim.sparsity.rules import Rules
from sim.sparsity.spec import parse
from sim.timing import timer
from workloads import encoder_layer

GRAPH = encoder_layer(seq=32, hidden=64, heads=2, ffn=128)
SPLIT = load("gemmini_decomposable")


def spec(folder: Path, text: str) -> Rules:
    (folder / "spec.toml").write_text(text)
    found = parse(str(folder / "spec.toml"))
    assert isinstance(found, Rules)
    return found


def run(rules: Any, hw: Any = SPLIT, **more: Any) -> sim.Result:
    return sim.simulate(GRAPH, hw, sparsity=rules, **more)


def test_the_last_rule_that_names_an_operator_wins(tmp_path: Path) -> None:
    rules = spec(
        tmp_path,
        '[[precision]]\nweights = "int4"\n[[precision]]\noperators = "*.FF?"\nweights = "int2"\nactivations = "int4"\n',
    )
    words = run(rules).ops.set_index("op")["words"]
    assert words["L0.FF1"].startswith("int4 x int2") and words["L0.W_out"].startswith("int8 x int4")
    assert words["L0.scores"] is None or words["L0.scores"] != words["L0.scores"]


def test_the_short_line_is_the_same_rule(tmp_path: Path) -> None:
    long = spec(tmp_path, '[[precision]]\noperators = "*.FF?"\nweights = "int4"\nactivations = "int8"\n')
    assert parse("w4a8@*FF?") == Rules((), precisions=(Precision("*FF?", "int4", "int8"),))
    assert run(long).ops.equals(run("w4a8@*.FF?").ops)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('weights = "int3"', "weights 'int3' is none of int2, int4"),
        ('sums = "int4"', "sums 'int4' is none of int8, int16, int32"),
        ('weight = "int4"', "unknown key 'weight' (did you mean 'weights'?)"),
        ('operators = "*"', "is empty: give weights, activations, cache, sums or outliers"),
        ("outliers = 1.5", "outliers is 1.5, must be a number >= 0 and below 1 (nearest: 0.99)"),
        ("outliers = -1", "(nearest: 0)"),
        ('outliers = "many"', "outliers is 'many', must be a number"),
        ('outliers = 0.1\noutlier_file = "f.npz"', "give either outliers (a share) or outlier_file"),
        ('outlier_file = "none.npz"', "cannot be read"),
        ("outlier_file = 5", "outlier_file is 5, must be text in quotes"),
        ('weights = "int4"\noperators = 5', "operators is 5, must be text in quotes"),
        ('outliers = 0.1\noutlier_type = "int12"', "outlier_type 'int12' is none of"),
    ],
)
def test_a_wrong_rule_says_where_and_what(tmp_path: Path, table: str, message: str) -> None:
    np.savez(tmp_path / "f.npz", **{"L0.FF1": np.array([1])})
    with pytest.raises(InputError) as refused:
        spec(tmp_path, f"[[precision]]\n{table}\n")
    assert message in str(refused.value) and "precision 1: " in str(refused.value)


@pytest.mark.parametrize("key", ["precision", "compress"])
def test_a_single_table_is_reported_to_be_one_of_several(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match=rf"{key} must be a list of tables, \[\[{key}\]\]"):
        spec(tmp_path, f'[{key}]\nkind = "narrow"\nweights = "int4"\n')


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("w3a8", "int3 is none of int2, int4, int8, int16"),
        ("w4a8s12", "sums in int12, none of int8, int16, int32"),
        ("w4a8@", "no name after '@'"),
        ("w4a8@*FF9", "no matmul of encoder-layer is named '*FF9'"),
    ],
)
def test_a_wrong_line_is_reported(line: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        run(line)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("hw", "line", "message"),
    [
        ("gemmini_ibert", "w4a8", "--set 'array.accepts=[\"int4\"]'"),
        ("gemmini_widening", "w16a16", "--hw gemmini_decomposable"),
        ("gemmini_fp32_4x4", "w4a8", "--set 'array.accepts="),
    ],
)
def test_a_type_that_the_array_does_not_take_names_the_option(hw: str, line: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        run(line, hw)
    assert message in str(refused.value)


def test_rows_must_begin_on_whole_bytes() -> None:
    odd = encoder_layer(seq=5, hidden=34, heads=2, ffn=33)
    with pytest.raises(InputError, match=r"33 elements do not fill one \(nearest: 34\)"):
        sim.simulate(odd, SPLIT, sparsity="w4a4")


def test_a_split_array_needs_rows_for_a_block() -> None:
    small = SPLIT.with_({"accumulator.capacity": "8KiB", "accumulator.banks": 8})
    with pytest.raises(InputError, match=r"splits into 64 x 64, a bank of the accumulator holds 4 rows of 64"):
        run("w2a2", small)


def test_outliers_do_all_the_work_of_the_product_and_no_more() -> None:
    # Law: what the narrow and the wide part multiply is the dense product; every cost is an operator of its own.
    rules = Rules((), precisions=(Precision("*.FF1", outliers=4 / 64),))
    ops = run(rules).ops.set_index("op")
    dense = run(None).ops.set_index("op")
    assert ops.loc["L0.FF1", "macs"] == 32 * 128 * 60 and ops.loc["L0.FF1.outliers", "macs"] == 32 * 128 * 4
    assert ops["macs"].sum() == dense["macs"].sum() and ops["macs_skipped"].sum() == 0
    assert ops.loc["L0.FF1.gather", "invocations"] == 4  # a program for each run of adjacent columns
    assert ops.loc["L0.FF1.gather", "dram_write_bytes"] == 4 * 32 * 16  # a beat for each element of two bytes
    assert ops.loc["L0.FF1", "dram_write_bytes"] == 32 * 128 * 4  # sums at full width
    assert ops.loc["L0.FF1.outliers", "dram_read_bytes"] >= 32 * 128 * 4 + 2 * 4 * (32 + 128)
    assert ops.loc["L0.FF1.outliers", "peak_macs_per_cycle"] == 64
    assert ops.loc["L0.FF1", "dram_read_bytes"] > dense.loc["L0.FF1", "dram_read_bytes"]  # A is stored in 16 bits


def test_outliers_of_a_file_come_side_by_side(tmp_path: Path) -> None:
    np.savez(tmp_path / "outliers.npz", **{"L0.FF1": np.array([9, 3, 4, 5]), "L0.FF2": np.array([0])})
    rules = spec(tmp_path, '[[precision]]\noutlier_file = "outliers.npz"\n')
    ops = run(rules).ops.set_index("op")
    assert ops.loc["L0.FF1.gather", "invocations"] == 2 and ops.loc["L0.FF2.gather", "invocations"] == 1
    graph = rules.edit(GRAPH)
    assert graph.op("L0.FF1.gather").attrs["columns"] == (3, 4, 5, 9)
    assert "L0.W_out.outliers" not in {op.name for op in graph.ops}


def test_the_parts_of_a_split_product_make_the_product() -> None:
    # Oracle: numpy, with the features that the edit takes out.
    rng = np.random.default_rng(0)
    a, b = rng.integers(-99, 99, (5, 64)), rng.integers(-9, 9, (64, 7))
    chosen = list(outliers.features(Precision(outliers=0.1), GRAPH.op("L0.FF1")))
    rest = b.copy()
    rest[chosen] = 0
    assert len(chosen) == 6
    np.testing.assert_array_equal(a @ rest + a[:, chosen] @ b[chosen], a @ b)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"L0.FF1": [64]}, "outlier feature 64: K is 64 (nearest: 63)"),
        ({"L0.FF1": list(range(64))}, "all 64 features are outliers"),
        ({"L0.FF9": [1]}, "no operator of encoder-layer is named 'L0.FF9'"),
    ],
)
def test_outliers_that_cannot_be_are_reported(tmp_path: Path, columns: dict[str, list[int]], message: str) -> None:
    np.savez(tmp_path / "f.npz", **{name: np.array(numbers) for name, numbers in columns.items()})
    with pytest.raises(InputError) as refused:
        run(spec(tmp_path, '[[precision]]\noutlier_file = "f.npz"\n'))
    assert message in str(refused.value)


def test_a_file_of_outliers_holds_whole_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", **{"L0.FF1": np.array([0.5])})
    with pytest.raises(InputError, match="must be whole numbers in one row"):
        outliers.load(tmp_path / "f.npz")


def test_outliers_and_zeros_of_one_operator_are_refused() -> None:
    rules = Rules(parse("2:4").zeros, precisions=(Precision(outliers=0.1),))
    with pytest.raises(InputError, match="only one of them is possible for one operator"):
        run(rules)


@pytest.mark.parametrize("name", ["decomposable", "bitserial"])
def test_gather_narrow_part_and_wide_part_leave_the_product_in_memory(name: str) -> None:
    # Oracle: numpy. The programs of all three operators, one after the other on one memory.
    hw = load(f"gemmini_{name}")
    m, n, k = 37, 40, 72
    tensors = {
        "a": Tensor("a", (m, k), "int8", "input"),
        "b": Tensor("b", (k, n), "int8", "weight"),
        "d": Tensor("d", (1, n), "int32", "weight"),
        "c": Tensor("c", (m, n), "int8", "activation"),
    }
    a, b, d, c = (View.whole(tensor) for tensor in tensors.values())
    product = Graph("product", tensors, (Op("x", "matmul", (a, b, d), c, {"repeating_bias": True}),))
    rules = Rules((), precisions=(Precision(activations="int4", weights="int4", outliers=0.06),))
    graph = rules.edit(product)
    chosen = list(graph.op("x.gather").attrs["columns"])
    places, _ = place(graph, hw, WordSizes(graph, hw, rules).bits)
    rng = np.random.default_rng(0)
    values = {
        "a": rng.integers(-8, 8, (m, k)),
        "b": rng.integers(-8, 8, (k, n)),
        "d": rng.integers(-999, 999, (1, n)),
    }
    values["a"][:, chosen] = rng.integers(-2000, 2000, (m, len(chosen)))
    values["b"][chosen] = rng.integers(-2000, 2000, (len(chosen), n))
    memory = Machine(hw, 1 << 19)
    rest = values["b"].copy()
    rest[chosen] = 0
    memory.write(places["a"], values["a"], kind="int16")  # as wide as the widest reader
    memory.write(places["b"], rest, kind="int4")
    memory.write(places["b.outliers.x"], values["b"][chosen], kind="int16")
    memory.write(places["d"], values["d"], kind="int32")
    steps = plan(graph, hw, sparsity=rules)
    assert [step.name for step in steps] == ["x.gather", "x", "x.outliers"]
    for step in steps:
        machine = step.machine or hw
        for work in step.works:
            times = timer.run(lower(work, machine), machine, timeline=True)
            done = memory.for_operator(machine).run(times)
            check_traffic(done, times)
        assert (done.narrowed > 0) == (step.name == "x")  # outliers saturate where their weights are zeros
    sums = values["a"] @ values["b"] + values["d"]
    found = memory.read(places["c"], (m, n))
    np.testing.assert_array_equal(found, reference.rescale(sums, steps[-1].works[0].scale))


def test_an_array_that_is_output_stationary_only_takes_no_other_words() -> None:
    hw = load("gemmini_default", {"array.dataflow": "OS", "array.accepts": ["int4"]})
    with pytest.raises(InputError, match="needs dataflow WS"):
        sim.simulate(GRAPH, hw, sparsity="w4a8")
