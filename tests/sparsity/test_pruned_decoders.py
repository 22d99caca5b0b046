"""A pruned decoder is the decoder of fewer heads, neurons or columns, operator by operator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.graph import Graph
from sim.sparsity.edits.prune import prune
from sim.sparsity.edits.pruning import parse
from sim.sparsity.edits.saliency import choices
from sim.sparsity.structure import attention_blocks
from workloads.networks.config import Config
from workloads.networks.decoding import TokenStep, decoder
from workloads.networks.seq2seq import Seq2Seq, seq2seq

SMALL = Config(layers=2, hidden=64, heads=8, kv_heads=4, head_dim=16, ffn=96, vocab=32, most_positions=64)
STEPS = {
    "prefill": TokenStep(5),
    "decode": TokenStep(1, 9),
    "batch": TokenStep(4, batch=2),
    "decode of a batch": TokenStep(1, 9, 3),
}


def shapes(graph: Graph) -> dict[str, object]:
    """Return kind, sizes and windows of each operator, and the elements of each tensor."""
    ops = {op.name: (op.kind, op.batch, op.mnk, [view.shape for view in op.inputs]) for op in graph.ops}
    return ops | {f"tensor {name}": tensor.elements for name, tensor in graph.tensors.items()}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("alibi", [False, True])
def test_without_whole_groups_of_heads_it_is_the_network_of_fewer_groups(step: str, alibi: bool) -> None:
    config = replace(SMALL, rotated=0 if alibi else -1, alibi=alibi, kv_heads=0 if alibi else 4)
    fewer = replace(config, heads=4, kv_heads=0 if alibi else 2)
    pruned = prune(decoder("small", config, STEPS[step]), "heads=4")
    assert shapes(pruned) == shapes(decoder("small", fewer, STEPS[step]))


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        replace(SMALL, gated=False, activation="relu"),
        replace(SMALL, gated=False, activation="relu2"),
        replace(SMALL, activation="gelu_tanh"),
        replace(SMALL, experts=4, per_token=2, shared_ffn=96, router="sigmoid"),
    ],
)
def test_without_neurons_it_is_the_network_of_a_narrower_feed_forward(config: Config) -> None:
    narrow = replace(config, ffn=48, shared_ffn=48 if config.shared_ffn else 0)
    assert shapes(prune(decoder("small", config, TokenStep(5)), "ffn=48")) == shapes(
        decoder("small", narrow, TokenStep(5))
    )


def test_without_columns_it_is_the_network_of_a_narrower_hidden_size_experts_too() -> None:
    config = replace(SMALL, experts=4, per_token=2)
    pruned, narrow = prune(decoder("s", config, TokenStep(5)), "hidden=48"), replace(config, hidden=48)
    assert shapes(pruned) == shapes(decoder("s", narrow, TokenStep(5)))


@pytest.mark.parametrize("sizes", [{}, {"phase": "prefill", "seq": 4, "source": 8}])
def test_heads_with_positions_of_their_own_go_with_their_column_of_the_table(sizes: dict[str, object]) -> None:
    """T5: the table [buckets, heads] loses a column, the bias [heads, queries, keys] a matrix."""
    graph, fewer = (
        seq2seq("t5", Seq2Seq(2, 64, heads, 96, 32, head_dim=16))(**({"seq": 8} | sizes)) for heads in (4, 2)
    )
    assert shapes(prune(graph, "heads=2")) == shapes(fewer)


def test_a_part_of_a_group_is_refused_and_the_nearest_whole_one_named() -> None:
    with pytest.raises(
        InputError, match=r"8 heads of Q share 4 of K: only whole groups of 2 can be .*nearest: heads=4\)"
    ):
        prune(decoder("small", SMALL, TokenStep(5)), "heads=3")
    with pytest.raises(InputError, match="groups to remove cannot be chosen by weights"):
        choices(decoder("small", SMALL, TokenStep(5)), parse("heads=4"))


def test_experts_of_a_layer_are_chosen_one_by_one() -> None:
    config = replace(SMALL, layers=1, experts=2, per_token=2)
    requested = choices(decoder("small", config, TokenStep(5)), parse("ffn=48"))
    assert sorted(requested) == ["L0.E0.silu.ffn", "L0.E1.silu.ffn"]
    assert all(np.array_equal(choice.owner, np.arange(96)) for choice in requested.values())


def test_a_routers_softmax_is_no_attention() -> None:
    graph = decoder("small", replace(SMALL, experts=4), TokenStep(5))
    assert len(attention_blocks(graph)) == 2 * 4, "two layers of four groups"
