"""A Hugging Face config.json as a network: its sizes by the names of each model type.

Keys that change the network and are not modelled are errors, all at once; keys without effect on the graph
(initialisation, dropout, tokens, training) are ignored. The file is data: nothing in it is imported or run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.base.errors import InputError
from sim.base.reading import read_json
from workloads.networks.hugging_face.decoders import DECODERS
from workloads.networks.hugging_face.encoded import ENCODED_KIN
from workloads.networks.hugging_face.encoders import ENCODERS
from workloads.networks.hugging_face.form import Builder, ModelType, Sizes
from workloads.networks.hugging_face.gpt_kin import GPT_KIN
from workloads.networks.hugging_face.latent import LATENT_KIN
from workloads.networks.hugging_face.llama_kin import LLAMA_KIN
from workloads.networks.hugging_face.others import OTHERS
from workloads.networks.hugging_face.pictures import PICTURES
from workloads.networks.hugging_face.refused import unknown_type
from workloads.networks.hugging_face.seq2seq import SEQ2SEQ_TYPES

MAX_SIZE = 1 << 24
"""Limit of any size in it: the largest published ones (vocabularies, positions) are below 2^21."""

MODEL_TYPES: dict[str, ModelType] = {
    **DECODERS,
    **LLAMA_KIN,
    **GPT_KIN,
    **LATENT_KIN,
    **ENCODERS,
    **ENCODED_KIN,
    **SEQ2SEQ_TYPES,
    **PICTURES,
    **OTHERS,
}
"""Reader of each model type."""

SWITCHES = (
    "tie_word_embeddings", "do_layer_norm_before", "use_parallel_residual", "new_decoder_architecture", "multi_query",
    "parallel_attn", "bias", "alibi", "use_bias", "use_qkv_bias",
)  # fmt: skip
"""Keys that are true or false."""

HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads")
HIDDEN = ("hidden_size", "n_embd", "dim", "d_model")
"""Keys of the number of heads and of the columns of a row, by model type."""


def is_config(content: Any) -> bool:
    """Return whether JSON content is a model's configuration, not a graph."""
    return isinstance(content, dict) and "model_type" in content and "ops" not in content


def from_file(path: Path) -> Builder:
    """Return the builder of a config.json, or of the one in a folder. Raises InputError listing all problems."""
    file = path / "config.json" if path.is_dir() else path
    content = read_json(file)
    try:
        return builder(content, path.name if path.is_dir() else file.parent.resolve().name)
    except InputError as error:
        raise InputError([f"{file}: {problem}" for problem in error.problems]) from None


def builder(content: Any, name: str) -> Builder:
    """Return the builder of the network that a configuration describes. Raises InputError listing all problems."""
    if not is_config(content):
        raise InputError("not a model configuration: a JSON object with model_type is needed")
    kind = content["model_type"]
    if not isinstance(kind, str) or kind not in MODEL_TYPES:
        raise InputError(unknown_type(content, MODEL_TYPES))
    known = MODEL_TYPES[kind]
    problems, content = [], {**{key: content[old] for old, key in known.aliases.items() if old in content}, **content}
    sizes = dict(content)
    for key, default in known.sizes.items():
        value = content.get(key)
        value = default if value is None else value
        sizes[key] = value
        if value is None:
            problems.append(f"{key} is missing")
        elif isinstance(value, bool) or not isinstance(value, int) or not (1 <= value <= MAX_SIZE or value == default):
            problems.append(f"{key} is {value!r}, must be a whole number from 1 to {MAX_SIZE}")
    problems += [
        f"{key} is {content[key]!r}: this changes the network and is not modelled (nearest: "
        f"{repr(legal[0]) if legal else 'null'})"
        for key, legal in known.fixed.items()
        if content.get(key) is not None and content[key] not in legal
    ]
    problems += [
        f"{key} is {content[key]!r}, must be true or false"
        for key in SWITCHES
        if not isinstance(content.get(key, True), bool)
    ]
    window = content.get("sliding_window") if content.get("use_sliding_window", True) else None
    if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
        problems.append(f"sliding_window is {window!r}, must be a whole number >= 1 or null")
    if content.get("quantization_config"):
        problems.append(_quantised(content["quantization_config"]))
    problems += _rotary_problems(content)
    problems += [] if problems else _head_problems(sizes)
    if problems:
        raise InputError(problems)
    return known.make(name, sizes)


def _quantised(given: object) -> str:
    """Return the message on weights of another word size: which, and how to run with it."""
    table = given if isinstance(given, Mapping) else {}
    method = str(table.get("quant_method", "a method without a name"))[:40]
    four = table.get("load_in_4bit") or table.get("_load_in_4bit")
    bits = table.get("bits", 4 if four else 8 if method in ("bitsandbytes", "fp8", "fbgemm_fp8") else None)
    words = f"weights of {bits} bits" if isinstance(bits, int) else "weights of another word size"
    float8 = " (floating point, which no machine here multiplies; the nearest is int8)" if "fp8" in method else ""
    width = f"; --sparsity w{bits}a8 gives weights of that width" if bits == 4 else ""
    return (
        f"quantization_config: {method}, {words}{float8}: only the sizes of a configuration are read; remove the key"
        f"{width} (other widths: a SPEC.toml, docs/PRECISION.md)"
    )


def _rotary_problems(content: Sizes) -> list[str]:
    """Return the problems of the rotary embedding's numbers."""
    nested = content.get("rope_parameters")
    parts = [content, nested] if isinstance(nested, Mapping) else [content]
    most = {"rope_theta": 1e12, "partial_rotary_factor": 1.0, "rotary_pct": 1.0}
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
    problems = []
    if not sizes.get("head_dim") and not sizes.get("d_kv") and hidden % heads:
        problems.append(f"hidden size {hidden} is not a multiple of {heads} heads")
    problems += [
        f"{key} {sizes[key]} do not divide {heads} heads"
        for key in ("num_key_value_heads", "num_kv_heads")
        if sizes.get(key) and heads % sizes[key]
    ]
    return problems
