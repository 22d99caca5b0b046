"""Pruning: the edited graph equals the one built small from the start; MACs by formula; errors are reported."""

from __future__ import annotations

from inspect import signature
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.base.errors import InputError
from sim.graph import Graph
from sim.sparsity.edits.prune import prune
from sim.sparsity.edits.pruning import Pruning, parse
from workloads import WORKLOADS, bert_base, build, encoder_layer
from workloads.graph_file import from_dict


def layers(**sizes: Any) -> Graph:
    return encoder_layer(**{"seq": 16, "hidden": 64, "head_dim": 8, **sizes})


@settings(max_examples=30, deadline=None)
@given(
    heads=st.integers(1, 8),
    ffn=st.integers(1, 96),
    depth=st.integers(1, 3),
    batch=st.integers(1, 2),
    head_dim=st.integers(1, 8),
    hidden=st.integers(1, 64),
)
def test_the_edit_equals_the_small_graph(
    heads: int, ffn: int, depth: int, batch: int, head_dim: int, hidden: int
) -> None:
    # Oracle: the builder, given the small sizes; it and the edit share no code.
    whole = layers(heads=8, ffn=96, layers=3, batch=batch)
    small = layers(heads=heads, ffn=ffn, layers=depth, batch=batch, head_dim=head_dim, hidden=hidden)
    assert prune(whole, Pruning(heads=heads, ffn=ffn, layers=depth, head_dim=head_dim, hidden=hidden)) == small


def test_hidden_size_is_pruned_in_the_embeddings_too() -> None:
    whole = build("bert-tiny", seq=16, embeddings=True)
    pruned = prune(whole, "hidden=96")
    tables = [tensor for name, tensor in pruned.tensors.items() if name.endswith("_table")]
    assert tables and all(tensor.shape[-1] == 96 for tensor in tables)


@pytest.mark.parametrize("name", [name for name, make in WORKLOADS.items() if "seq" in signature(make).parameters])
def test_pruning_nothing_changes_nothing(name: str) -> None:
    graph = build(name, seq=16)
    depth = len({op.layer for op in graph.ops})
    heads, neurons = graph.op("L0.scores").batch, graph.op("L0.gelu").output.cols
    assert prune(graph, f"heads={heads},layers={depth},ffn={neurons}") == graph
    assert prune(graph, Pruning()) == graph


@pytest.mark.parametrize(("heads", "depth", "ffn"), [(8, 6, 1536), (12, 12, 3072), (1, 1, 1)])
def test_macs_by_formula(heads: int, depth: int, ffn: int) -> None:
    seq, d, size = 128, 768, 64
    pruned = prune(bert_base(seq), f"heads={heads},layers={depth},ffn={ffn}")
    per_layer = 4 * seq * d * heads * size + 2 * heads * seq * seq * size + 2 * seq * d * ffn
    assert pruned.macs == depth * per_layer
    weights = 4 * d * heads * size + 3 * heads * size + d + 2 * d * ffn + ffn + d + 4 * d
    assert pruned.parameters == depth * weights


def test_ends_of_a_model_are_joined_to_the_layers_that_stay() -> None:
    ends = {"seq": 16, "embeddings": True, "pooler": True, "batch": 2}
    assert prune(build("bert-tiny", **ends), "layers=1") == build("bert-tiny", layers=1, **ends)


@pytest.mark.parametrize("spec", ["L*.FF1.columns=24", "*.FF2.rows=24", "*.FF1.weight.columns=24"])
def test_a_weight_by_name_takes_along_what_meets_it(spec: str) -> None:
    # Rows of the second feed-forward weight meet columns of the first: either way the graph of ffn=24.
    graph = layers(heads=4, ffn=32, layers=2)
    assert prune(graph, spec) == prune(graph, "ffn=24") != graph
    one = prune(graph, spec.replace("L*", "L1").replace("*.", "L1."))
    assert one.tensors["L0.FF1.weight"].shape[1] == 32 and one.tensors["L1.FF1.weight"].shape[1] == 24


def test_names_do_not_matter() -> None:
    # The edit follows structure: with every operator and tensor renamed it removes the same.
    graph = layers(heads=4, ffn=32)
    tensors = {name: f"t{i}" for i, name in enumerate(graph.tensors)}
    data = graph.to_dict()
    for tensor in data["tensors"]:
        tensor["name"] = tensors[tensor["name"]]
    for i, op in enumerate(data["ops"]):
        op["name"] = f"op{i}"
        op["attrs"] = {k: tensors.get(v, v) if isinstance(v, str) else v for k, v in op["attrs"].items()}
        for view in (*op["inputs"], op["output"]):
            view["tensor"] = tensors[view["tensor"]]
    assert prune(from_dict(data), "heads=2,ffn=8").macs == prune(graph, "heads=2,ffn=8").macs < graph.macs


def test_weights_stored_transposed_are_pruned_alike() -> None:
    graph = layers(heads=4, ffn=32, layers=2)
    data = graph.to_dict()
    weights = [tensor for tensor in data["tensors"] if tensor["name"].endswith(".weight")]
    for tensor in weights:
        tensor["shape"].reverse()
    for op in data["ops"]:
        view = op["inputs"][1] if op["kind"] == "matmul" else op["output"]
        if view["tensor"] in [tensor["name"] for tensor in weights]:
            op["attrs"]["transpose_b"] = True
            view["rows"], view["cols"], view["row_stride"] = view["cols"], view["rows"], view["rows"]
    pruned, plain = prune(from_dict(data), "heads=2,ffn=8"), prune(graph, "heads=2,ffn=8")
    assert pruned.macs == plain.macs < graph.macs and pruned.parameters == plain.parameters
    assert pruned.tensors["L0.FF1.weight"].shape == plain.tensors["L0.FF1.weight"].shape[::-1] == (8, 64)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("head=8", "unknown part 'head' (did you mean 'heads'?)"),
        ("heads", "heads is '', must be a whole number >= 1"),
        ("heads=0", "heads is 0, must be a whole number >= 1 (nearest: 1)"),
        ("heads=2.5", "heads is '2.5', must be a whole number >= 1"),
        ("heads=2,heads=3", "heads is given twice"),
        ("", "unknown part ''"),
        ("heads=13", "heads=13, but L0.scores has 12 (nearest: heads=12)"),
        ("layers=13", "layers=13, but bert-base has 12 (nearest: layers=12)"),
        ("ffn=4000", "ffn=4000, but L11.gelu has 3072 (nearest: ffn=3072)"),
        ("L0.FF1.column=9", "unknown part 'L0.FF1.column'"),
        ("L0.FF9.columns=9", "has no matmul with weights named 'L0.FF9' (did you mean 'L0.FF"),
        ("L0.FF1.columns=4000", "L0.FF1.columns=4000, but L0.FF1 has 3072 (nearest: L0.FF1.columns=3072)"),
        ("L0.W_out.columns=700", "L0.layernorm1 (layernorm) needs all columns of 'L0.projected'"),
        ("L0.matmul_V.columns=700", "L0.context (matmul) needs all columns of 'L0.V'"),
        ("hidden=769", "hidden=769, but bert-base has 768 (nearest: hidden=768)"),
        ("head_dim=65", "head_dim=65, but L0.scores has 64 (nearest: head_dim=64)"),
    ],
)
def test_a_wrong_specification_is_reported(spec: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        prune(bert_base(seq=16), spec)
    assert message in str(caught.value)


def test_all_problems_come_at_once() -> None:
    with pytest.raises(InputError) as caught:
        prune(encoder_layer(seq=16), "heads=13,layers=2,ffn=9999")
    assert len(caught.value.problems) == 3
    with pytest.raises(InputError) as caught:
        parse("head=8,layers=x,ffn=-1")
    assert len(caught.value.problems) == 3


def test_a_graph_without_the_structure_is_reported() -> None:
    data = layers(heads=4, ffn=32).to_dict()
    only = {**data, "ops": data["ops"][:3]}
    used = {view["tensor"] for op in only["ops"] for view in (*op["inputs"], op["output"])}
    only["tensors"] = [tensor for tensor in data["tensors"] if tensor["name"] in used]
    with pytest.raises(InputError) as caught:
        prune(from_dict(only), "heads=2,ffn=8,layers=1")
    assert len(caught.value.problems) == 3  # no attention, no feed-forward, and Q, K and V all leave the layer


def test_given_activations_cannot_be_narrowed() -> None:
    data = layers(heads=4, ffn=32).to_dict()
    data["ops"] = data["ops"][3:6]
    used = {view["tensor"] for op in data["ops"] for view in (*op["inputs"], op["output"])}
    data["tensors"] = [t for t in data["tensors"] if t["name"] in used]
    for tensor in data["tensors"]:
        tensor["kind"] = "input" if tensor["name"] in ("L0.Q", "L0.K", "L0.V") else tensor["kind"]
    with pytest.raises(InputError, match=r"'L0.Q' is given, not computed"):
        prune(from_dict(data), "heads=2")
