"""A Hugging Face config.json as a network: its sizes by the names of each model type.

Keys that change the network and are not modelled are errors, all at once; keys that say nothing about its graph
(initialisation, dropout, tokens, training) are passed over. The file is data: nothing in it is imported or run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sim.base.errors import InputError, did_you_mean
from sim.base.reading import read_json
from sim.graph import Graph
from workloads.bert import Model, encoder_model
from workloads.networks import hf_others as others
from workloads.networks.config import Config
from workloads.networks.mobilebert import mobilebert
from workloads.networks.models import decoder_model
from workloads.networks.reformer import reformer
from workloads.networks.sparse_attention import bigbird_attention, longformer_attention
from workloads.networks.vision import Vision, vision

MOST_SIZE = 1 << 24
"""Of any size in it: the largest published ones (vocabularies, positions) are below 2^21."""

ACTIVATIONS = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_fast": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu", "silu": "silu", "swish": "silu",
}  # fmt: skip

Sizes = Mapping[str, Any]


@dataclass(frozen=True)
class ModelType:
    """Reader of a model type. ``sizes``: key -> whole number that must be there, or default where it may be missing.

    ``make``: (name, sizes) -> builder. ``fixed``: key -> the values under which the network is the one modelled.
    """

    sizes: Mapping[str, int | None]
    make: Callable[[str, Sizes], Callable[..., Graph]]
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


def _activation(sizes: Sizes, key: str, default: str) -> Any:
    given = sizes.get(key, default)
    if not isinstance(given, str) or given not in ACTIVATIONS:
        raise InputError(f"{key} is {given!r}{did_you_mean(str(given), ACTIVATIONS)}")
    return ACTIVATIONS[given]


def _gpt2(name: str, s: Sizes) -> Callable[..., Graph]:
    config = Config(
        layers=s["n_layer"], hidden=s["n_embd"], heads=s["n_head"], ffn=s["n_inner"] or 4 * s["n_embd"],
        vocab=s["vocab_size"], positions=s["n_positions"], most_positions=s["n_positions"], rotated=0,
        activation=_activation(s, "activation_function", "gelu_new"), gated=False, norm="layernorm", biases=True,
        tied=s.get("tie_word_embeddings", True),
    )  # fmt: skip
    return decoder_model(name, config)


def _opt(name: str, s: Sizes) -> Callable[..., Graph]:
    narrow = s["word_embed_proj_dim"]
    config = Config(
        layers=s["num_hidden_layers"], hidden=s["hidden_size"], heads=s["num_attention_heads"], ffn=s["ffn_dim"],
        vocab=s["vocab_size"], positions=s["max_position_embeddings"] + 2, most_positions=s["max_position_embeddings"],
        rotated=0, activation=_activation(s, "activation_function", "relu"), gated=False, norm="layernorm",
        biases=True, tied=s.get("tie_word_embeddings", True), pre_norm=s.get("do_layer_norm_before", True),
        embedding_size=0 if narrow in (0, s["hidden_size"]) else narrow,
    )  # fmt: skip
    return decoder_model(name, config)


def _llama(name: str, s: Sizes, **more: Any) -> Callable[..., Graph]:
    rope = s.get("rope_parameters") or {}
    base = s.get("rope_theta") or (rope.get("rope_theta") if isinstance(rope, Mapping) else None) or 10000.0
    factor = s.get("partial_rotary_factor") or (
        rope.get("partial_rotary_factor") if isinstance(rope, Mapping) else None
    )
    if factor not in (None, 1.0):
        size = s["head_dim"] or s["hidden_size"] // s["num_attention_heads"]
        more = {**more, "rotated": int(size * factor)}
    config = Config(
        layers=s["num_hidden_layers"], hidden=s["hidden_size"], heads=s["num_attention_heads"],
        kv_heads=s["num_key_value_heads"], head_dim=s["head_dim"], ffn=s["intermediate_size"], vocab=s["vocab_size"],
        most_positions=s["max_position_embeddings"], rope_base=float(base), tied=s.get("tie_word_embeddings", False),
        **{"activation": _activation(s, "hidden_act", "silu"), **more},
    )  # fmt: skip
    return decoder_model(name, config)


def _mistral(name: str, s: Sizes) -> Callable[..., Graph]:
    return _llama(name, s, window=s.get("sliding_window") or 0)


def _mixtral(name: str, s: Sizes) -> Callable[..., Graph]:
    experts, picked = s["num_local_experts"], s["num_experts_per_tok"]
    if not 1 <= picked <= experts:
        raise InputError(f"num_experts_per_tok is {picked}, must be 1 to num_local_experts ({experts})")
    return _llama(name, s, window=s.get("sliding_window") or 0, experts=experts, per_token=picked)


def _qwen2(name: str, s: Sizes) -> Callable[..., Graph]:
    return _llama(name, s, qkv_bias=True)


def _qwen3(name: str, s: Sizes) -> Callable[..., Graph]:
    return _llama(name, s, qk_norm=True)


def _qwen3_moe(name: str, s: Sizes) -> Callable[..., Graph]:
    experts, picked = s["num_experts"], s["num_experts_per_tok"]
    if not 1 <= picked <= experts:
        raise InputError(f"num_experts_per_tok is {picked}, must be 1 to num_experts ({experts})")
    narrow = {**s, "intermediate_size": s["moe_intermediate_size"]}
    return _llama(name, narrow, qk_norm=True, experts=experts, per_token=picked)


def _gemma(name: str, s: Sizes) -> Callable[..., Graph]:
    act = ACTIVATIONS.get(s.get("hidden_activation") or "gelu_pytorch_tanh", "gelu_tanh")
    return _llama(name, {"tie_word_embeddings": True, **s}, activation=act)


def _encoder(s: Sizes) -> Model:
    return Model(
        s["num_hidden_layers"], s["hidden_size"], s["num_attention_heads"], s["intermediate_size"],
        token_types=s["type_vocab_size"], vocab=s["vocab_size"], positions=s["max_position_embeddings"],
    )  # fmt: skip


def _bert(name: str, s: Sizes) -> Callable[..., Graph]:
    return encoder_model(name, _encoder(s))


def _albert(name: str, s: Sizes) -> Callable[..., Graph]:
    narrow = s["embedding_size"]
    model = Model(
        s["num_hidden_layers"], s["hidden_size"], s["num_attention_heads"], s["intermediate_size"], shared=True,
        token_types=s["type_vocab_size"], vocab=s["vocab_size"], positions=s["max_position_embeddings"],
        embedding_size=0 if narrow == s["hidden_size"] else narrow,
    )  # fmt: skip
    return encoder_model(name, model)


def _longformer(name: str, s: Sizes) -> Callable[..., Graph]:
    given = s.get("attention_window", 512)
    windows = set(given) if isinstance(given, list) else {given}
    if len(windows) != 1 or not all(isinstance(one, int) and one > 0 for one in windows):
        raise InputError(f"attention_window is {given!r}, must be one whole number for all layers")
    attention = partial(longformer_attention, name)
    sizes = {"window": windows.pop(), "global_tokens": 1, "chunk": 64}
    return encoder_model(name, _encoder(s), seq=s["max_position_embeddings"] // 2, attention=attention, **sizes)


def _big_bird(name: str, s: Sizes) -> Callable[..., Graph]:
    attention = partial(bigbird_attention, name)
    sizes = {"block_size": s["block_size"], "random_blocks": s["num_random_blocks"], "seed": 0}
    return encoder_model(name, _encoder(s), seq=s["max_position_embeddings"], attention=attention, **sizes)


def _distilbert(name: str, s: Sizes) -> Callable[..., Graph]:
    model = Model(
        s["n_layers"], s["dim"], s["n_heads"], s["hidden_dim"], token_types=0, pooler=False, vocab=s["vocab_size"],
        positions=s["max_position_embeddings"],
    )  # fmt: skip
    return encoder_model(name, model)


def _vit(name: str, s: Sizes) -> Callable[..., Graph]:
    labels = s.get("id2label") or {}
    sizes = Vision(
        s["num_hidden_layers"], s["hidden_size"], s["num_attention_heads"], patch=s["patch_size"],
        image=s["image_size"], classes=len(labels) or s["num_labels"], ffn=s["intermediate_size"],
    )  # fmt: skip
    return vision(name, sizes)


DECODER = {
    "num_hidden_layers": None, "hidden_size": None, "num_attention_heads": None, "intermediate_size": None,
    "vocab_size": None, "max_position_embeddings": 2048, "num_key_value_heads": 0, "head_dim": 0,
}  # fmt: skip
ENCODER = {
    "num_hidden_layers": None, "hidden_size": None, "num_attention_heads": None, "intermediate_size": None,
    "vocab_size": None, "max_position_embeddings": None, "type_vocab_size": None,
}  # fmt: skip
NO_BIAS: dict[str, tuple[Any, ...]] = {"attention_bias": (False,), "mlp_bias": (False,)}
PLAIN: dict[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute",), "is_decoder": (False,), "add_cross_attention": (False,),
    "hidden_act": ("gelu",),
}  # fmt: skip

EITHER_GELU = {**PLAIN, "hidden_act": ("gelu", "gelu_new")}
"""One operator stands for both forms."""

MODEL_TYPES: dict[str, ModelType] = {
    "gpt2": ModelType(
        {"n_layer": None, "n_embd": None, "n_head": None, "n_inner": 0, "vocab_size": None, "n_positions": None},
        _gpt2, {"add_cross_attention": (False,), "scale_attn_weights": (True,)},
    ),
    "opt": ModelType(
        {"num_hidden_layers": None, "hidden_size": None, "num_attention_heads": None, "ffn_dim": None,
         "vocab_size": None, "max_position_embeddings": None, "word_embed_proj_dim": 0},
        _opt, {"enable_bias": (True,), "_remove_final_layer_norm": (False,), "layer_norm_elementwise_affine": (True,)},
    ),
    "llama": ModelType(DECODER, _llama, NO_BIAS),
    "mistral": ModelType(DECODER, _mistral),
    "mixtral": ModelType({**DECODER, "num_local_experts": None, "num_experts_per_tok": None}, _mixtral),
    "qwen2": ModelType(DECODER, _qwen2, {"use_sliding_window": (False,)}),
    "qwen3": ModelType(DECODER, _qwen3, {"attention_bias": (False,), "use_sliding_window": (False,)}),
    "qwen3_moe": ModelType(
        {**DECODER, "num_experts": None, "num_experts_per_tok": None, "moe_intermediate_size": None}, _qwen3_moe,
        {"attention_bias": (False,), "use_sliding_window": (False,), "decoder_sparse_step": (1,),
         "mlp_only_layers": ([],)},
    ),
    "gemma": ModelType(DECODER, _gemma, {"attention_bias": (False,)}),
    "bert": ModelType(ENCODER, _bert, PLAIN),
    "roberta": ModelType(ENCODER, _bert, PLAIN),
    "albert": ModelType(
        {**ENCODER, "embedding_size": 128}, _albert,
        {**EITHER_GELU, "num_hidden_groups": (1,), "inner_group_num": (1,)},
    ),
    "longformer": ModelType(ENCODER, _longformer, PLAIN),
    "big_bird": ModelType(
        {**ENCODER, "block_size": 64, "num_random_blocks": 3}, _big_bird,
        {**EITHER_GELU, "attention_type": ("block_sparse",)},
    ),
    "distilbert": ModelType(
        {"n_layers": None, "dim": None, "n_heads": None, "hidden_dim": None, "vocab_size": None,
         "max_position_embeddings": None},
        _distilbert, {"activation": ("gelu",), "sinusoidal_pos_embds": (False,)},
    ),
    "vit": ModelType(
        {"num_hidden_layers": None, "hidden_size": None, "num_attention_heads": None, "intermediate_size": None,
         "patch_size": None, "image_size": None, "num_labels": 2},
        _vit, {"qkv_bias": (True,), "num_channels": (3,), "hidden_act": ("gelu",)},
    ),
}  # fmt: skip
MODEL_TYPES |= {
    "deit": MODEL_TYPES["vit"],
    "t5": ModelType(others.T5[0], others.t5, others.T5[1]),
    "whisper": ModelType(others.WHISPER[0], others.whisper, others.WHISPER[1]),
    "swin": ModelType(others.SWIN[0], others.swin_of, others.SWIN[1]),
    "mobilevit": ModelType(others.MOBILEVIT_KEYS[0], others.mobilevit_of, others.MOBILEVIT_KEYS[1]),
    "mobilebert": ModelType(others.MOBILEBERT[0], others.one_size(mobilebert), others.MOBILEBERT[1]),
    "reformer": ModelType(others.REFORMER[0], others.one_size(reformer), others.REFORMER[1]),
    "deepseek": ModelType({**DECODER, **others.DEEPSEEK[0]}, others.deepseek, others.DEEPSEEK[1]),
}
"""Keys that are read of each model type."""


HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads")
HIDDEN = ("hidden_size", "n_embd", "dim", "d_model")
"""Keys of the number of heads and of the columns of a row, by model type."""


def is_config(content: Any) -> bool:
    """Return whether JSON content is a model's configuration, not a graph."""
    return isinstance(content, dict) and "model_type" in content and "ops" not in content


def from_file(path: Path) -> Callable[..., Graph]:
    """Return the builder of a config.json, or of the one in a folder. Raises InputError listing all problems."""
    file = path / "config.json" if path.is_dir() else path
    content = read_json(file)
    try:
        return builder(content, path.name if path.is_dir() else file.parent.resolve().name)
    except InputError as error:
        raise InputError([f"{file}: {problem}" for problem in error.problems]) from None


def builder(content: Any, name: str) -> Callable[..., Graph]:
    """Return the builder of the network that a configuration describes. Raises InputError listing all problems."""
    if not is_config(content):
        raise InputError("no configuration of a model: a JSON object with model_type is needed")
    kind = content["model_type"]
    if not isinstance(kind, str) or kind not in MODEL_TYPES:
        raise InputError(f"model_type is {kind!r}{did_you_mean(str(kind), MODEL_TYPES)}")
    known = MODEL_TYPES[kind]
    problems, sizes = [], dict(content)
    for key, default in known.sizes.items():
        value = content.get(key)
        value = default if value is None else value
        sizes[key] = value
        if value is None:
            problems.append(f"{key} is missing")
        elif isinstance(value, bool) or not isinstance(value, int) or not (1 <= value <= MOST_SIZE or value == default):
            problems.append(f"{key} is {value!r}, must be a whole number from 1 to {MOST_SIZE}")
    problems += [
        f"{key} is {content[key]!r}: this changes the network and is not modelled (nearest: {legal[0]!r})"
        for key, legal in known.fixed.items()
        if content.get(key) is not None and content[key] not in legal
    ]
    problems += [
        f"{key} is {content[key]!r}, must be true or false"
        for key in ("tie_word_embeddings", "do_layer_norm_before")
        if not isinstance(content.get(key, True), bool)
    ]
    window = content.get("sliding_window")
    if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
        problems.append(f"sliding_window is {window!r}, must be a whole number >= 1 or null")
    if content.get("quantization_config"):
        problems.append(
            "quantization_config: weights of other word sizes are said by --sparsity SPEC.toml (docs/PRECISION.md)"
        )
    problems += _rotary_problems(content)
    problems += [] if problems else _head_problems(sizes)
    if problems:
        raise InputError(problems)
    return known.make(name, sizes)


def _rotary_problems(content: Sizes) -> list[str]:
    """Return what is wrong with the numbers of the rotary embedding."""
    nested = content.get("rope_parameters")
    parts = [content, nested] if isinstance(nested, Mapping) else [content]
    most = {"rope_theta": 1e12, "partial_rotary_factor": 1.0}
    return [
        f"{key} is {part[key]!r}, must be a number above 0, at most {limit:g}"
        for part in parts
        for key, limit in most.items()
        if part.get(key) is not None and not (type(part[key]) in (int, float) and 0 < part[key] <= limit)
    ]


def _head_problems(sizes: Sizes) -> list[str]:
    """Return the problems of the numbers of heads."""
    heads = next((sizes[key] for key in HEADS if isinstance(sizes.get(key), int)), 1)
    hidden = next((sizes[key] for key in HIDDEN if isinstance(sizes.get(key), int)), heads)
    groups = sizes.get("num_key_value_heads") or heads
    problems = []
    if not sizes.get("head_dim") and not sizes.get("d_kv") and hidden % heads:
        problems.append(f"hidden size {hidden} is no multiple of {heads} heads")
    if heads % groups:
        problems.append(f"num_key_value_heads {groups} do not divide {heads} heads")
    return problems
