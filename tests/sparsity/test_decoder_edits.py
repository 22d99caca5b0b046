"""Pruning and zeros in decoders: masks, caches, rotary embeddings, tied heads; what cannot go is refused by name."""

from __future__ import annotations

import pytest

import sim
from sim.base.errors import InputError
from sim.sparsity.edits.prune import prune
from workloads import build

PHASES = ({"phase": "prefill", "seq": 16}, {"phase": "decode", "kv": 20, "head": False})


@pytest.mark.parametrize("sizes", PHASES)
def test_heads_behind_a_mask_or_a_cache_are_pruned(sizes: dict[str, object]) -> None:
    """Half of the heads: half of Q, K, V and the projection, weights and biases, and half of the scores' products."""
    whole = build("distilgpt2", layers=1, **sizes)
    half = prune(whole, "heads=6")
    assert whole.parameters - half.parameters == 4 * 768 * 384 + 3 * 384
    tokens, keys = (16, 16) if sizes["phase"] == "prefill" else (1, 21)
    assert whole.macs - half.macs == tokens * (4 * 768 * 384 + 2 * keys * 384)
    caches = {tensor.shape[-1] for tensor in half.tensors.values() if tensor.kind == "state"}
    assert caches == {384}


@pytest.mark.parametrize("sizes", PHASES)
def test_rotated_heads_are_pruned_whole(sizes: dict[str, object]) -> None:
    whole = build("llama-2-7b", layers=1, **sizes)
    quarter = prune(whole, "heads=8")
    assert whole.parameters - quarter.parameters == 4 * 4096 * 3072
    assert {op.output.cols for op in quarter.ops if op.kind == "rope"} == {1024}
    with pytest.raises(InputError, match="rotates pairs of columns of each head: only whole heads can be removed"):
        prune(whole, "head_dim=64")


@pytest.mark.parametrize("sizes", PHASES)
def test_heads_that_share_a_head_of_k_go_in_whole_groups(sizes: dict[str, object]) -> None:
    whole = build("qwen2-0.5b", layers=1, **sizes)
    with pytest.raises(
        InputError, match=r"14 heads of Q share 2 of K: only whole groups of 7 can be .*nearest: heads=7\)"
    ):
        prune(whole, "heads=2")
    half = prune(whole, "heads=7")
    assert whole.parameters - half.parameters == (2 * 896 + 1) * 7 * 64 + 2 * (896 + 1) * 64


def test_a_rule_for_all_weights_leaves_a_tied_head_dense_and_says_so() -> None:
    sizes = {"phase": "decode", "kv": 4, "layers": 1}
    dense, sparse = (
        sim.simulate("distilgpt2", "gemmini_ibert", progress=False, sparsity=rule, **sizes)
        for rule in (None, "block16:0.5")
    )
    head = [next(row["macs"] for row in result.rows if row["op"] == "head") for result in (dense, sparse)]
    assert head[0] == head[1] and sparse.totals["macs"] < dense.totals["macs"]
    assert "head: stored as the transpose of its weights" in sparse.totals["remarks"]
    with pytest.raises(InputError, match="blocks of transposed operands are not skipped"):
        sim.simulate("distilgpt2", "gemmini_ibert", progress=False, sparsity="block16:0.5@head", **sizes)
