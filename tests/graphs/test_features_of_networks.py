"""Every family meets every feature: it works, or is refused in words; nothing else happens.

Networks are cut down to a layer and small widths, and planned; what is refused is pinned by the feature's own tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

import sim
from sim.base.errors import InputError
from sim.graph import Graph
from sim.run.request import Request, Resolver
from workloads import NETWORKS, WORKLOADS, build
from workloads.networks.clip import CLIP
from workloads.networks.config import Latent
from workloads.networks.decoders import DECODERS
from workloads.networks.decoding import TokenStep, decoder
from workloads.networks.encoders import ENCODED
from workloads.networks.models import ENCODERS
from workloads.networks.seq2seq import SEQ2SEQ
from workloads.networks.vision import VISION


def cut(name: str, step: TokenStep) -> Graph:
    """Return one layer of a decoder in small widths; experts, groups, norms and windows as they are."""
    config = DECODERS[name]
    heads = 4 if config.groups < config.heads else config.heads and 2
    small = replace(
        config, layers=2, hidden=64, heads=heads, kv_heads=2 if config.kv_heads else 0, head_dim=32, ffn=64, vocab=64,
        experts=min(config.experts, 8), per_token=2, shared_ffn=32 if config.shared_ffn else 0,
        first_ffn=96 if config.first_ffn else 0, embedding_size=32 if config.embedding_size else 0,
        rotated=min(config.rotated, 16),
        latent=config.latent and Latent(32, 32, 16, 32, 32 if config.latent.query_rank else 0),
    )  # fmt: skip
    return decoder(name, small, step)


SMALL: dict[str, Mapping[str, Any]] = {
    "bert-tiny": {"seq": 16}, "albert-base": {"seq": 16, "layers": 1}, "linformer": {"seq": 16, "layers": 1},
    "linear-attention": {"seq": 16, "layers": 1}, "performer": {"seq": 16, "layers": 1, "features": 16},
    "longformer-base": {"seq": 32, "layers": 1, "window": 16, "chunk": 16},
    "bigbird-base": {"seq": 128, "layers": 1, "block_size": 16}, "mobilebert": {"seq": 16, "layers": 1},
    "reformer-enwik8": {"seq": 32, "layers": 3, "chunk": 16, "local": 16, "buckets": 4, "hashes": 2},
    "t5-small": {"seq": 8, "layers": 1}, "flan-t5-small": {"seq": 8, "layers": 1},
    "mpnet-base": {"seq": 16, "layers": 1}, "modernbert-base": {"seq": 80, "layers": 2},
    "clip-vit-b-32": {"image": 64, "layers": 1, "seq": 8}, "siglip-base": {"image": 32, "layers": 1, "seq": 8},
    "nomic-bert": {"seq": 16, "layers": 1}, "nllb-600m": {"phase": "prefill", "seq": 4, "source": 16, "layers": 1},
    "bart-base": {"phase": "prefill", "seq": 4, "source": 16, "layers": 1},
    "whisper-tiny": {"phase": "decode", "kv": 3, "source": 16, "layers": 1, "head": False},
    "vit-tiny": {"image": 32, "layers": 1}, "swin-tiny": {}, "mobilevit-xxs": {"image": 64},
    "mobilenet-v2": {"image": 32}, "resnet50": {"image": 32},
}  # fmt: skip
STEPS = {
    "gpt2": TokenStep(8), "opt-350m": TokenStep(4), "llama-3-8b": TokenStep(1, 9),
    "mistral-7b": TokenStep(1, 9, 2, lengths=(9, 3)), "mixtral-8x7b": TokenStep(3),
    "deepseek-moe-16b": TokenStep(1, 5), "qwen3-30b-a3b": TokenStep(1, 5, 2), "gemma-2b": TokenStep(5),
    "gemma-2-2b": TokenStep(5), "bloom-560m": TokenStep(4), "falcon-7b": TokenStep(3), "olmo-2-1b": TokenStep(3),
    "deepseek-v2-lite": TokenStep(1, 5, 2), "deepseek-v3": TokenStep(4), "command-r": TokenStep(3),
    "minitron-4b": TokenStep(3), "gpt-neo-125m": TokenStep(3), "smollm3-3b": TokenStep(1, 6),
    "gpt-oss-20b": TokenStep(3),
}  # fmt: skip
FEATURES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "plain": ("gemmini_ibert", {}),
    "no units": ("gemmini_default", {}),
    "blocks": ("gemmini_ibert", {"sparsity": "block16:0.5"}),
    "2:4": ("gemmini_sparse", {"sparsity": "2:4"}),
    "attention pattern": ("gemmini_sparse", {"sparsity": "attention=window:4,tile=16"}),
    "word sizes": ("gemmini_widening", {"sparsity": "w4a8"}),
    "heads": ("gemmini_ibert", {"prune": "heads=2"}),
    "columns": ("gemmini_ibert", {"prune": "ffn=48"}),
    "layers": ("gemmini_ibert", {"prune": "layers=1"}),
    "hidden": ("gemmini_ibert", {"prune": "hidden=48"}),
    "output stationary": ("gemmini_default", {"dataflow": "OS"}),
    "L2": ("gemmini_l2", {}),
}


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    """Return every network of the two tables."""
    return {name: build(name, **sizes) for name, sizes in SMALL.items()} | {
        name: cut(name, step) for name, step in STEPS.items()
    }


def test_every_builder_is_met() -> None:
    """A network is one of a family that shares its builder with a network above."""
    families = [set(CLIP), set(ENCODED), set(ENCODERS) | {"bert-tiny"}, set(DECODERS), set(SEQ2SEQ), set(VISION)]
    families += [{name for name in NETWORKS if name.startswith(word)} for word in ("swin", "mobilevit", "longformer")]
    families += [{name for name in NETWORKS if name.startswith("bigbird")}, {*WORKLOADS}]
    met = set(SMALL) | set(STEPS)
    for name in {**WORKLOADS, **NETWORKS}:
        assert name in met or any(name in family and family & met for family in families), name


@pytest.mark.parametrize("feature", FEATURES)
def test_every_network_takes_every_feature_or_refuses_it_in_words(feature: str, graphs: dict[str, Graph]) -> None:
    machine, requested = FEATURES[feature]
    taken = []
    resolver = Resolver()
    for name, graph in graphs.items():
        try:
            steps = resolver.case(Request.of(graph, machine, requested)).steps()
        except InputError as error:
            assert str(error).strip() and "Traceback" not in str(error)
            continue
        assert all(step.fallback is not None for step in steps if step.engine == "host"), "a silent fallback"
        taken.append(name)
    refused = {"attention pattern": 8, "heads": 16, "columns": 5, "layers": len(graphs) - 8, "hidden": 5}
    least = len(graphs) - refused.get(feature, 0)
    assert len(taken) >= least, sorted(set(graphs) - set(taken))


def test_sizes_and_phases_are_axes_of_a_sweep() -> None:
    sizes = {"layers": 1, "head": 0, "phase": ["prefill", "decode"], "seq": [1, 4]}
    table = sim.sweep("gemmini_ibert", workloads=["gpt2", "opt-125m"], sizes=sizes, progress=False, jobs=1)
    assert len(table) == 8 and table["sizes"].nunique() == 4 and table["cycles"].min() > 0


def test_layers_that_see_all_keys_keep_all_of_them_and_the_others_a_window() -> None:
    """Gemma 2: every second layer sees all keys."""
    graph = build("gemma-2-2b", phase="decode", kv=10_000, layers=4)
    assert [graph.tensors[f"L{n}.cache_K"].shape[1] for n in range(4)] == [4096, 10_001] * 2


def test_a_mask_is_added_behind_the_tanh_that_bounds_the_scores() -> None:
    """Bounded by a tanh, a masked score would still count."""
    graph = build("gemma-2-2b", seq=6, layers=1)
    chain = [op for op in graph.ops if op.layer == 0 and op.name.startswith(("L0.scores", "L0.softmax"))][:4]
    assert [op.kind for op in chain] == ["matmul", "tanh", "residual_add", "softmax"]
    assert all(one.output in two.inputs for one, two in pairwise(chain))
    assert chain[2].inputs[1].tensor == "causal_mask" and len(chain[0].inputs) == 2


def test_branches_that_read_the_same_x_are_one_norm_or_two_norms_behind_it() -> None:
    for name, norms in (("falcon-7b", 1), ("falcon-40b", 2), ("gpt-j-6b", 1), ("pythia-70m", 2)):
        graph = build(name, seq=2, layers=1)
        sources = {op.inputs[0].tensor for op in graph.ops if op.name in ("L0.norm1", "L0.norm2")}
        assert sources == {"input"} and sum(op.name.startswith("L0.norm") for op in graph.ops) == norms


def test_positions_as_a_bias_of_the_scores_are_those_of_each_head() -> None:
    """ALiBi adds to the scores of every head and needs no rotary embedding, with one query too."""
    for sizes in ({"seq": 6}, {"phase": "decode", "kv": 9}):
        graph = build("bloom-560m", layers=1, **sizes)
        scores = next(op for op in graph.ops if op.name.startswith("L0.scores"))
        assert scores.inputs[2].tensor == "alibi" and scores.inputs[2].batch == 16
        assert not any(op.kind == "rope" for op in graph.ops)
