"""The graph's door: every rule refuses what breaks it, all problems come at once, legal graphs survive."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sim.base.errors import InputError
from sim.cli.app import app
from sim.graph import Graph, Op, Tensor, View
from workloads import bert_tiny, build, encoder_layer


def mlp(**changes: Any) -> tuple[list[Tensor], list[Op]]:
    """Return tensors and operators of y = x[8,4] w[4,6] + b, z = gelu(y); ``changes`` edits tensors."""
    tensors = {
        "x": Tensor("x", (8, 4), "int8", "input"),
        "w": Tensor("w", (4, 6), "int8", "weight"),
        "b": Tensor("b", (6,), "int32", "weight"),
        "y": Tensor("y", (8, 6), "int8", "activation"),
        "z": Tensor("z", (8, 6), "int8", "activation"),
    }
    for name, change in changes.items():
        tensors[name] = replace(tensors[name], **change)
    x, w, b, y, z = (View.whole(tensor) for tensor in tensors.values())
    ops = [Op("mm", "matmul", (x, w, b), y, {"repeating_bias": True}), Op("act", "gelu", (y,), z)]
    return list(tensors.values()), ops


def refuse(tensors: list[Tensor], ops: list[Op]) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        Graph("g", {tensor.name: tensor for tensor in tensors}, tuple(ops))
    return caught.value.problems


def test_macs_are_batch_m_n_k() -> None:
    graph = Graph.from_ops("g", *mlp())
    assert graph.op("mm").mnk == (8, 6, 4)
    assert graph.macs == 8 * 6 * 4 and graph.op("act").macs == 0
    scores = encoder_layer(seq=32, hidden=128, heads=4).op("L0.scores")
    assert scores.mnk == (32, 32, 32) and scores.macs == 4 * 32**3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"w": {"shape": (5, 6)}}, "inner sizes differ: A is 8x4 and B is 5x6"),
        ({"y": {"shape": (6, 8)}}, "output is 6x8, A x B is 8x6"),
        ({"b": {"shape": (5,)}}, "bias is 1x5, must be 1x6"),
        ({"b": {"dtype": "int8"}}, "bias is int8, must be int32"),
        ({"w": {"dtype": "fp32"}}, "A int8 and B fp32 must be one dtype"),
        ({"z": {"dtype": "fp32"}}, "must both be integers or both floats"),
        ({"z": {"shape": (8, 5)}}, "input is 8x6, output 8x5: must be one shape"),
        ({"x": {"kind": "activation"}}, "reads the activation 'x', which no operator writes"),
        ({"y": {"kind": "weight"}}, "mm writes 'y', which is of kind 'weight'"),
        ({"x": {"dtype": "int9"}}, "unknown dtype 'int9' (did you mean 'int"),
        ({"x": {"kind": "wight"}}, "unknown kind 'wight' (did you mean 'weight'?)"),
        ({"z": {"shape": (0, 6)}}, "shape (0, 6) must be whole numbers >= 1"),
        ({"z": {"name": "q"}}, "act: unknown tensor 'q'"),
    ],
)
def test_a_broken_tensor_is_reported(changes: dict[str, Any], message: str) -> None:
    tensors, ops = mlp(**changes)
    names = ("x", "w", "b", "y", "z")
    filed = dict(zip(names, tensors, strict=True))
    with pytest.raises(InputError) as caught:
        Graph("g", filed, tuple(ops))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ({"tensor": "yy"}, "unknown tensor 'yy' (did you mean 'y'?)"),
        ({"rows": 9}, "ends at element 54, the tensor has 48 (6 too many)"),
        ({"offset": 1}, "ends at element 49, the tensor has 48 (1 too many)"),
        ({"cols": 0}, "cols is 0, must be >= 1"),
        ({"row_stride": -6}, "row_stride is -6, must be >= 0"),
        ({"batch": True}, "batch is True, must be >= 1"),
    ],
)
def test_a_window_outside_its_tensor_is_reported(view: dict[str, Any], message: str) -> None:
    tensors, ops = mlp()
    ops[1] = replace(ops[1], inputs=(replace(ops[1].inputs[0], **view),))
    assert any(message in problem for problem in refuse(tensors, ops))


@pytest.mark.parametrize(
    ("op", "message"),
    [
        ({"kind": "gellu"}, "unknown operator kind 'gellu' (did you mean 'gelu'?)"),
        ({"attrs": {"scale": 1.0}}, "unknown gelu attribute 'scale'"),
        ({"layer": -1}, "layer is -1"),
        ({"inputs": ()}, "gelu takes 1 inputs, not 0"),
        ({"name": "mm"}, "2 operators are named 'mm'"),
    ],
)
def test_a_broken_operator_is_reported(op: dict[str, Any], message: str) -> None:
    tensors, ops = mlp()
    assert any(message in problem for problem in refuse(tensors, [ops[0], replace(ops[1], **op)]))


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"scale": float("nan")}, "scale is nan"),
        ({"scale": 0}, "scale is 0"),
        ({"activation": "silu"}, "activation is 'silu', can be none, relu"),
        ({"transpose_b": 1}, "transpose_b is 1, must be true or false"),
        ({"repeating_bias": False}, "bias is 1x6, must be 8x6"),
        ({"transpos_b": True}, "unknown matmul attribute 'transpos_b' (did you mean 'transpose_b'?)"),
    ],
)
def test_a_broken_attribute_is_reported(attrs: dict[str, Any], message: str) -> None:
    tensors, ops = mlp()
    broken = replace(ops[0], attrs={**ops[0].attrs, **attrs})
    assert any(message in problem for problem in refuse(tensors, [broken, ops[1]]))


@pytest.mark.parametrize("attrs", [{"transpose_b": 0}, {"scale": True}])
def test_a_broken_attribute_is_reported_behind_an_equal_operator_that_is_sound(attrs: dict[str, Any]) -> None:
    """True equals 1, but is no number: an operator that was found sound vouches for one of the same types only."""
    tensors, ops = mlp()
    tensors.append(Tensor("again", (8, 6), "int8", "activation"))
    again = replace(ops[0], name="again", output=View.whole(tensors[-1]))
    Graph("g", {tensor.name: tensor for tensor in tensors}, (*ops, again))
    broken = replace(again, attrs={**again.attrs, **attrs})
    assert len(refuse(tensors, [*ops, broken])) == 1


def test_all_problems_come_at_once() -> None:
    tensors, ops = mlp(b={"dtype": "int8"}, z={"shape": (8, 5)})
    assert len(refuse(tensors, [ops[0], replace(ops[1], layer=-1)])) == 3
    assert len(refuse([], ops)) == 6  # every view names an unknown tensor


def test_reading_before_writing_is_reported_and_sorted_by_from_ops() -> None:
    tensors, ops = mlp()
    assert any("act reads 'y' before mm writes it" in problem for problem in refuse(tensors, ops[::-1]))
    assert Graph.from_ops("g", tensors, ops[::-1]) == Graph.from_ops("g", tensors, ops)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_only_the_window_that_is_read_must_be_there(order: tuple[int, int]) -> None:
    # Half by half: one half of y may be made after the other has been read.
    tensors, ops = mlp()
    x, w, b = ops[0].inputs
    y, z = ops[0].output, ops[1].output
    halves = []
    for i in order:
        y_half, z_half = (replace(view, rows=4, offset=24 * i) for view in (y, z))
        x_half = replace(x, rows=4, offset=16 * i)
        halves.append(Op(f"mm{i}", "matmul", (x_half, w, b), y_half, {"repeating_bias": True}))
        halves.append(Op(f"act{i}", "gelu", (y_half,), z_half))
    assert Graph.from_ops("g", tensors, halves).ops == tuple(halves)


def test_a_cycle_is_named() -> None:
    tensors, ops = mlp()
    y, z = ops[0].output, ops[1].output
    back = Tensor("back", (8, 6), "int8", "activation")
    tensors.append(back)
    loop = [Op("add", "residual_add", (y, View.whole(back)), z), Op("again", "gelu", (z,), View.whole(back))]
    with pytest.raises(InputError, match=r"in a cycle: (add -> again -> add|again -> add -> again)"):
        Graph.from_ops("g", tensors, [ops[0], *loop])


def test_elements_are_written_once_and_all_of_them() -> None:
    tensors, ops = mlp()
    half = replace(ops[1].output, rows=4)
    first = Op("first", "gelu", (replace(ops[0].output, rows=4),), half)
    assert any("24 of 48 elements written" in p for p in refuse(tensors, [ops[0], first]))
    again = replace(first, name="again")
    assert any("written more than once" in p for p in refuse(tensors, [ops[0], first, again]))
    rest = replace(again, output=replace(half, offset=24))
    assert Graph.from_ops("g", tensors, [rest, ops[0], first]).op("again") == rest
    smeared = replace(ops[1], output=replace(ops[1].output, row_stride=5))
    assert any("written more than once" in p for p in refuse(tensors, [ops[0], smeared]))


@settings(deadline=None)
@given(st.permutations(range(14)))
def test_any_order_of_operators_sorts_into_a_runnable_one(order: list[int]) -> None:
    graph = encoder_layer(seq=4, hidden=8, heads=2, ffn=16)
    again = Graph.from_ops(graph.name, graph.tensors.values(), [graph.ops[i] for i in order])
    # Graph checks the order itself; here: nothing is lost, doubled or changed.
    assert sorted(again.ops, key=lambda op: op.name) == sorted(graph.ops, key=lambda op: op.name)


def test_an_order_that_runs_is_kept() -> None:
    graph = bert_tiny(batch=2)
    assert Graph.from_ops(graph.name, graph.tensors.values(), graph.ops).ops == graph.ops


def test_graphs_are_values() -> None:
    graph, same = bert_tiny(), bert_tiny()
    assert graph == same and hash(graph) == hash(same) and pickle.loads(pickle.dumps(graph)) == graph
    assert graph.key == same.key != bert_tiny(seq=64).key
    with pytest.raises(TypeError):
        graph.tensors["x"] = Tensor("x", (1,), "int8", "input")  # type: ignore[index]


def test_unknown_operator_name_is_reported() -> None:
    with pytest.raises(InputError, match=r"no operator 'L0.score' \(did you mean 'L0.scores'\?\)"):
        bert_tiny().op("L0.score")


def test_print_has_a_line_for_every_operator() -> None:
    graph = bert_tiny()
    title, header, *lines = str(graph).splitlines()
    assert title == f"bert-tiny: {len(graph.ops)} operators, {graph.macs:,} MACs, {graph.parameters:,} weights"
    assert header.split() == ["operator", "kind", "shapes", "types", "MACs"]
    assert [line.split()[0] for line in lines] == [op.name for op in graph.ops]
    assert "128x128, 128x128, 128x128 -> 128x128" in lines[0] and lines[0].endswith(f"{graph.ops[0].macs:,}")


def test_an_imported_workload_is_the_same_graph(tmp_path: Path) -> None:
    file = tmp_path / "g.json"
    words = ["import", "gpt2", "--phase", "decode", "--kv", "9", "--size", "layers=1", "-o", str(file)]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert build(str(file)) == build("gpt2", phase="decode", kv=9, layers=1)
    file.write_text(file.read_text().replace("carat-graph-1", "carat-graph-9"))
    with pytest.raises(InputError, match="format is 'carat-graph-9', this version reads 'carat-graph-1'"):
        build(str(file))


def test_more_rows_than_are_checked_are_refused_as_that() -> None:
    """Columns written with different strides, too many rows for a look at each: not called written more than once."""
    rows = 15_000_000
    tensors = [Tensor("x", (rows, 1), "int8", "input"), Tensor("y", (rows, 4), "int8", "activation")]
    ops = []
    for name, count, stride in (("every", rows, 4), ("every_second", rows // 2, 8)):
        read = View("x", 1, count, 1, 1, 0)
        ops.append(Op(name, "copy", (read,), View("y", 1, count, 1, stride, 0, offset=len(ops))))
    with pytest.raises(InputError, match=r"'y': its 22,500,000 rows are too many to check"):
        Graph.from_ops("columns", tensors, ops)
