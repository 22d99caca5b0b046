"""An operator kind is one record: a made-up one, declared in this file alone, goes from the graph to the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sim
from reports.style import kind_color
from sim import hardware
from sim.base.errors import InputError
from sim.cost import host
from sim.functional.host import apply, forward
from sim.graph import Graph, Op, Tensor, View, kinds
from sim.graph.kinds import Columns, Kind
from sim.graph.kinds.elementwise import number_kind, of_one
from sim.plan.planner import plan
from sim.sparsity.edits.prune import prune
from workloads.analysis import count

CUBE = Kind(
    "cube",
    "one input, to the third power",
    number_kind,
    per_element=(2.0, 2.0),
    reference=of_one(lambda x: x**3),
    columns=Columns(),
    price="gelu",
    color="#123456",
)


@pytest.fixture
def cube() -> Iterator[Kind]:
    with kinds.registered(CUBE):
        yield CUBE


def network(kind: str = "cube", hidden: int = 32) -> Graph:
    """x[16, 32] w1, cube, w2: a feed-forward network around the operator."""
    x = Tensor("x", (16, 32), "int8", "input")
    w1, w2 = Tensor("w1", (32, hidden), "int8", "weight"), Tensor("w2", (hidden, 32), "int8", "weight")
    y, a = Tensor("y", (16, hidden), "int8", "activation"), Tensor("a", (16, hidden), "int8", "activation")
    z = Tensor("z", (16, 32), "int8", "activation")
    whole = View.whole
    ops = (
        Op("up", "matmul", (whole(x), whole(w1)), whole(y)),
        Op("act", kind, (whole(y),), whole(a)),
        Op("down", "matmul", (whole(a), whole(w2)), whole(z)),
    )
    return Graph.from_ops("made-up", (x, w1, w2, y, a, z), ops)


def test_a_made_up_kind_runs_from_graph_to_report(cube: Kind, tmp_path: Path) -> None:
    graph = network()
    hw = hardware.load("gemmini_default")
    steps = plan(graph, hw)
    assert [step.engine for step in steps] == ["array", "host", "host", "host", "array"]
    result = sim.simulate(graph, hw)
    rows = {row["op"]: row for row in result.rows}
    assert rows["act"]["cycles"] == host.cycles("gelu", 16 * 32, hw) == host.cycles("cube", 16 * 32, hw)
    assert rows["act"]["energy_host_pj"] > 0
    assert "cube" in rows["act"]["fallback"]
    assert result.fallbacks()[0]["op_kinds"] == "cube"
    result.save(tmp_path / "run")
    assert "cube" in (tmp_path / "run" / "ops.csv").read_text()
    assert kind_color("cube") == "#123456"
    assert count(graph.op("act"), graph).flops == 2 * 16 * 32


def test_a_made_up_kind_computes_and_prunes(cube: Kind) -> None:
    rng = np.random.default_rng(3)
    graph = network()
    given = {name: rng.normal(size=graph.tensors[name].shape).astype(np.float32) for name in ("x", "w1", "w2")}
    values = forward(graph, given, 0.0, 1)
    np.testing.assert_allclose(values["z"], (given["x"] @ given["w1"]) ** 3 @ given["w2"], rtol=2e-4, atol=1e-3)
    small = prune(graph, "up.columns=8")
    assert small.tensors["w2"].shape == (8, 32) and small.tensors["a"].shape == (16, 8)


def test_an_unknown_kind_is_refused_by_name_in_every_room() -> None:
    close = r"unknown operator kind 'gellu' \(did you mean 'gelu'\?\)"
    with pytest.raises(InputError, match=close):
        network("gellu")
    view = View("y", 1, 16, 32, 32, 0)
    stray = Op("act", "gellu", (view,), view)
    with pytest.raises(InputError, match=close):
        apply(stray, [np.zeros((1, 16, 32))], {}, 0.0, 1)
    with pytest.raises(InputError, match=close):
        _ = stray.macs
    with pytest.raises(InputError, match=r"no price for operator 'gellu' \(did you mean 'gelu'\?\)"):
        host.cycles("gellu", 1, hardware.load("gemmini_default"))


def test_a_kind_without_values_is_refused_by_name_where_values_are_wanted() -> None:
    scores, places = View("s", 1, 1, 8, 8, 0), View("p", 1, 1, 4, 4, 0)
    with pytest.raises(InputError, match="values of top_k are not modelled"):
        apply(Op("best", "top_k", (scores,), places), [np.zeros((1, 1, 8))], {}, 0.0, 1)


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(InputError, match="'gelu' exist already"), kinds.registered(Kind("gelu", "", number_kind)):
        pass


def test_operands_that_are_no_views_are_refused_with_what_to_write() -> None:
    """Issue 17.17: `Op("z", "softmax", ("h",), view)` was a traceback later on."""
    view = View("h", 1, 4, 8, 8, 0)
    with pytest.raises(InputError, match=r"operator z: inputs\[0\] is 'h', must be a View.*View\.whole"):
        Op("z", "softmax", ("h",), view)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"inputs\[0\] is 'h'.*\n.*output is 'y'"):
        Op("z", "softmax", "h", "y")  # type: ignore[arg-type]


def test_writers_of_interleaved_windows_fill_a_tensor() -> None:
    """Heads of grouped-query attention: one operator writes columns 0-7 of each row, another columns 8-15."""
    x = Tensor("x", (4, 8), "int8", "input")
    y = Tensor("y", (4, 16), "int8", "activation")
    left, right = View("y", 1, 4, 8, 16, 0), View("y", 1, 4, 8, 16, 0, offset=8)
    ops = [Op(name, "copy", (View.whole(x),), view) for name, view in (("l", left), ("r", right))]
    assert Graph.from_ops("g", [x, y], ops).producers("y") == tuple(ops)
    with pytest.raises(InputError, match="elements are written more than once"):
        Graph.from_ops("g", [x, y], [ops[0], Op("r", "copy", (View.whole(x),), View("y", 1, 4, 8, 16, 0, offset=7))])


def test_a_state_is_written_in_part_and_read_as_it_was_left() -> None:
    """A KV cache: a row is appended, all rows up to it are read; an activation may do neither."""
    x = Tensor("x", (1, 8), "int8", "input")
    out = Tensor("out", (5, 8), "int8", "activation")
    append = View("cache", 1, 1, 8, 8, 0, offset=4 * 8)
    read = View("cache", 1, 5, 8, 8, 0)
    ops = [Op("append", "copy", (View.whole(x),), append), Op("read", "copy", (read,), View.whole(out))]
    cache = Tensor("cache", (64, 8), "int8", "state")
    graph = Graph.from_ops("g", [x, out, cache], reversed(ops))
    assert [op.name for op in graph.ops] == ["append", "read"], "what is appended is read after it"
    with pytest.raises(InputError, match="8 of 512 elements written"):
        Graph.from_ops("g", [x, out, Tensor("cache", (64, 8), "int8", "activation")], ops)


def test_what_records_say_of_results_holds_for_their_reference() -> None:
    """Bounded results lie in -1 to 1; a whole-row result changes with any element of the row, others do not."""
    rng = np.random.default_rng(3)
    x = np.asarray(rng.normal(0, 20, (1, 4, 8)), np.float32)
    moved = x.copy()
    moved[0, 0, 0] += 1.5
    seen = set()
    for kind in kinds.KINDS.values():
        if kind.rules is not number_kind or kind.inputs != (1,) or kind.reference is None:
            continue
        op = Op("op", kind.name, (View("x", 1, 4, 8, 8, 32),), View("y", 1, 4, 8, 8, 32))
        y, after = (kind.reference(op, [values], kinds.Values()) for values in (x, moved))
        if kind.bounded:
            assert np.abs(y).max() <= 1
        assert bool((y[0, 0, 1:] != after[0, 0, 1:]).any()) == kind.whole_rows, kind.name
        if kind.standardises:
            assert y.mean(axis=-1) == pytest.approx(0, abs=1e-5) and y.std(axis=-1) == pytest.approx(1, abs=1e-3)
        seen.add(kind.name)
    assert {"softmax", "layernorm", "tanh", "gelu", "copy"} <= seen


def test_a_made_up_nonlinearity_of_a_feed_forward_layer_is_found_by_pruning() -> None:
    """`feed_forward` is all that pruning of neurons asks for: without it there is nothing to prune."""
    with kinds.registered(replace(CUBE, feed_forward=True)):
        assert prune(network(), "ffn=16").op("act").output.cols == 16
    with kinds.registered(CUBE), pytest.raises(InputError, match="no matmul, then gelu, silu or relu, matmul"):
        prune(network(), "ffn=16")
