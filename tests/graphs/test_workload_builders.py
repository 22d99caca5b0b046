"""Builders: published sizes, closed-form MACs, the library's operator order, and clear refusals."""

from __future__ import annotations

import json
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.base.errors import InputError
from sim.graph import Graph
from workloads import WORKLOADS, build
from workloads.bert import MODELS, parameters
from workloads.graph_file import from_dict

# The project's model table: parameters (10^6) and GMACs of the encoder at 128 and 512 tokens. Published are
# 4.4, 11.3, 29.1, 41.7, 110, 340 and 66 million parameters.
MODEL_TABLE = {
    "bert-tiny": (4.39, 0.059, 0.336),
    "bert-mini": (11.17, 0.436, 2.147),
    "bert-small": (28.76, 1.678, 7.516),
    "bert-medium": (41.37, 3.355, 15.032),
    "bert-base": (109.48, 11.174, 48.318),
    "bert-large": (335.14, 39.460, 167.504),
    "distilbert": (66.36, 5.587, 24.159),
}

# Operators of one layer in the order of Gemmini's transformer benchmark, softmax and GELU apart.
LAYER = [
    "matmul_Q",
    "matmul_K",
    "matmul_V",
    "scores",
    "softmax",
    "context",
    "W_out",
    "layernorm1",
    "residual_add1",
]
LAYER += ["FF1", "gelu", "FF2", "layernorm2", "residual_add2"]


@pytest.mark.parametrize("name", MODELS)
def test_parameters_and_macs_are_those_of_the_model_table(name: str) -> None:
    millions, *gmacs = MODEL_TABLE[name]
    assert round(parameters(name) / 1e6, 2) == millions
    assert [round(build(name, seq=seq).macs / 1e9, 3) for seq in (128, 512)] == gmacs


@pytest.mark.parametrize("name", MODELS)
def test_the_full_graph_has_the_published_parameters(name: str) -> None:
    ends = {"embeddings": True, "pooler": MODELS[name].pooler}
    assert build(name, seq=16, **ends).parameters == parameters(name)


@pytest.mark.parametrize("name", sorted(set(WORKLOADS) - {"resnet50"}))
@pytest.mark.parametrize("batch", [1, 2])
def test_macs_by_formula(name: str, batch: int) -> None:
    seq, d, f = 24, 768, 3072
    layers = 1
    if name in MODELS:
        d, f, layers = MODELS[name].hidden, MODELS[name].ffn, MODELS[name].layers
    per_layer = 4 * seq * d * d + 2 * seq * seq * d + 2 * seq * d * f
    assert build(name, seq=seq, batch=batch).macs == batch * layers * per_layer


def test_operators_come_in_the_order_of_the_library() -> None:
    graph = build("encoder-layer", layers=2)
    assert [op.name for op in graph.ops] == [f"L{layer}.{name}" for layer in range(2) for name in LAYER]
    assert [op.layer for op in graph.ops] == [0] * len(LAYER) + [1] * len(LAYER)


def test_types_are_those_of_the_integer_encoder() -> None:
    graph = build("encoder-layer")
    wide = {op.name for op in graph.ops if graph.tensors[op.output.tensor].dtype == "int32"}
    assert wide == {"L0.W_out", "L0.FF2"}
    for op in graph.ops:
        source = graph.tensors[op.inputs[0].tensor].dtype
        assert source == ("int32" if op.kind == "layernorm" else "int8")


def test_heads_are_windows_of_one_matrix() -> None:
    seq, hidden, heads = 32, 128, 4
    graph = build("encoder-layer", seq=seq, hidden=hidden, heads=heads, batch=2)
    second = graph.op("L0.scores.b1").inputs[0]
    assert (second.batch, second.rows, second.cols) == (heads, seq, hidden // heads)
    assert (second.row_stride, second.batch_stride, second.offset) == (hidden, hidden // heads, seq * hidden)
    assert second.end == 2 * seq * hidden


def test_bias_is_given_as_the_library_gives_it() -> None:
    graph = build("encoder-layer", seq=32)
    attention, feed_forward = graph.op("L0.matmul_Q"), graph.op("L0.FF1")
    assert (attention.inputs[2].rows, attention.inputs[2].row_stride) == (32, 0)
    assert not attention.attrs["repeating_bias"]
    assert (feed_forward.inputs[2].rows, feed_forward.inputs[2].row_stride) == (1, 0)
    assert feed_forward.attrs["repeating_bias"]


def test_float_elements_have_float_sums() -> None:
    graph = build("bert-tiny", dtype="bf16", embeddings=True)
    dtypes = {t.dtype for t in graph.tensors.values() if t.kind != "input" or t.name == "input"}
    assert dtypes == {"bf16", "fp32"}


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("bert-bse", {}, "unknown workload 'bert-bse' (did you mean 'bert-base'?)"),
        ("bert-base", {"sequence": 4}, "no size 'sequence' (did you mean 'seq'?)"),
        ("bert-base", {"seq": 0}, "seq is 0, must be a whole number >= 1"),
        ("bert-base", {"batch": 1.5}, "batch is 1.5, must be a whole number >= 1"),
        ("bert-base", {"dtype": "int4"}, "unknown dtype 'int4'"),
        ("bert-base", {"seq": 513, "embeddings": True}, "beyond the position table (nearest: 512)"),
        ("distilbert", {"pooler": True}, "the model has no pooler"),
        ("encoder-layer", {"hidden": 100, "heads": 12}, "not a multiple of heads 12 (nearest: heads=10"),
        ("encoder-layer", {"head_dim": -1}, "head_dim is -1"),
    ],
)
def test_bad_sizes_are_reported(name: str, sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        build(name, **sizes)
    assert message in str(caught.value)


def test_all_bad_sizes_come_at_once() -> None:
    with pytest.raises(InputError) as caught:
        build("encoder-layer", seq=0, heads=-1, dtype="int7")
    assert len(caught.value.problems) == 3


def test_a_graph_file_is_the_graph(tmp_path: Path) -> None:
    graph = build("bert-tiny", embeddings=True, pooler=True, batch=2)
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(graph.to_dict()))
    assert build(str(path)) == graph
    with pytest.raises(InputError, match="fixed sizes"):
        build(str(path), seq=4)


HAND_WRITTEN: dict[str, Any] = {
    "name": "by-hand",
    "tensors": [
        {"name": "x", "shape": [8, 4], "dtype": "int8", "kind": "input"},
        {"name": "w", "shape": [4, 4], "dtype": "int8", "kind": "weight"},
        {"name": "y", "shape": [8, 4], "dtype": "int8", "kind": "activation"},
        {"name": "z", "shape": [8, 4], "dtype": "int8", "kind": "activation"},
    ],
    "ops": [
        {"name": "add", "kind": "residual_add", "inputs": ["x", "y"], "output": "z"},
        {"name": "mm", "kind": "matmul", "inputs": ["x", "w"], "output": "y"},
    ],
}


def test_a_hand_written_graph_may_be_short_and_in_any_order() -> None:
    graph = from_dict(HAND_WRITTEN)
    assert isinstance(graph, Graph) and [op.name for op in graph.ops] == ["mm", "add"]
    assert graph.macs == 8 * 4 * 4


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"ops": None}, "ops is None, must be: list"),
        ({"tensors": [{**HAND_WRITTEN["tensors"][0], "shape": []}]}, "shape is [], must be: list of whole"),
        ({"ops": [{**HAND_WRITTEN["ops"][1], "attrs": {"scale": [1]}}]}, "must be: object of plain values"),
        ({"ops": [{**HAND_WRITTEN["ops"][1], "layer": "0"}]}, "layer is '0', must be: whole number or null"),
        ({"nodes": []}, "unknown key 'nodes'"),
        ({"tensors": [{"name": "x", "shape": [1]}]}, "tensors[0]: 'dtype' is missing"),
        (
            {"tensors": [{**HAND_WRITTEN["tensors"][0], "shape": "8x4"}]},
            "shape is '8x4', must be: list of whole numbers",
        ),
        ({"tensors": [*HAND_WRITTEN["tensors"], HAND_WRITTEN["tensors"][0]]}, "more than once: 'x'"),
        (
            {"ops": [{**HAND_WRITTEN["ops"][1], "inputs": ["x", "ww"]}]},
            "unknown tensor 'ww' (did you mean 'w'?)",
        ),
        (
            {"ops": [{**HAND_WRITTEN["ops"][1], "output": {"tensor": "y"}}]},
            "ops[0].output: 'rows' is missing",
        ),
        ({"ops": [{**HAND_WRITTEN["ops"][1], "output": 3}]}, "ops[0].output: must be an object"),
        ({"ops": [{**HAND_WRITTEN["ops"][1], "atrs": {}}]}, "unknown key 'atrs' (did you mean 'attrs'?)"),
    ],
)
def test_a_wrong_graph_file_is_reported(edit: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        from_dict({**HAND_WRITTEN, **edit})
    assert message in str(caught.value)


VALUES = st.sampled_from([None, True, -1, 0, 3, 2.5, 10**30, "x", "L0.Q", [], [1], ["a"], {}, {"a": 1}])


@settings(deadline=None)
@given(st.lists(st.tuples(st.randoms(use_true_random=False), VALUES), min_size=1, max_size=3))
def test_any_edit_of_a_graph_file_gives_a_graph_or_a_clear_error(edits: list[tuple[Random, Any]]) -> None:
    data = build("encoder-layer", seq=4, hidden=8, heads=2, ffn=16).to_dict()
    for random, value in edits:
        place: Any = data
        while True:
            key = random.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if not isinstance(place[key], dict | list) or not place[key] or random.random() < 0.1:
                break
            place = place[key]
        place[key] = deepcopy(value)  # a later edit may change it, and the next example draws it again
    with suppress(InputError):
        assert str(from_dict(data))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"name": ', "line 1, column 10: not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1]", "must be an object"),
    ],
)
def test_a_file_that_is_no_graph_is_reported(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        build(str(path))
    assert str(path) in str(caught.value) and message in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        build(str(tmp_path / "missing.json"))
