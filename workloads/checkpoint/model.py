"""Trained transformers from a folder on disk in the Hugging Face layout, safetensors weights.

Encoders: BERT (MiniLM, TinyBERT), RoBERTa, DistilBERT; decoders: `workloads.checkpoint.decoder`; vision transformers:
`workloads.checkpoint.vision`. Nothing is downloaded.
Names and shapes are those of the published models; a prefix such as ``bert.`` is removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.base import safetensors
from sim.base.errors import InputError, did_you_mean
from sim.base.reading import inside, read_json
from workloads.checkpoint import decoder as decoders
from workloads.checkpoint import head as heads
from workloads.checkpoint import vision as visions
from workloads.checkpoint.decoder import Decoder
from workloads.checkpoint.head import Head
from workloads.checkpoint.vision import Vision

Weights = dict[str, npt.NDArray[np.float32]]

CONFIG_KEYS = {
    "bert": {
        "layers": "num_hidden_layers",
        "hidden": "hidden_size",
        "heads": "num_attention_heads",
        "ffn": "intermediate_size",
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
        "token_types": "type_vocab_size",
    },
    "distilbert": {
        "layers": "n_layers",
        "hidden": "dim",
        "heads": "n_heads",
        "ffn": "hidden_dim",
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
    },
}
"""Model type of config.json -> our name of a size -> its key there."""

LAYER_NAMES = {
    "bert": (
        "encoder.layer.{}.",
        {
            "matmul_Q": "attention.self.query",
            "matmul_K": "attention.self.key",
            "matmul_V": "attention.self.value",
            "W_out": "attention.output.dense",
            "layernorm1": "attention.output.LayerNorm",
            "FF1": "intermediate.dense",
            "FF2": "output.dense",
            "layernorm2": "output.LayerNorm",
        },
    ),
    "distilbert": (
        "transformer.layer.{}.",
        {
            "matmul_Q": "attention.q_lin",
            "matmul_K": "attention.k_lin",
            "matmul_V": "attention.v_lin",
            "W_out": "attention.out_lin",
            "layernorm1": "sa_layer_norm",
            "FF1": "ffn.lin1",
            "FF2": "ffn.lin2",
            "layernorm2": "output_layer_norm",
        },
    ),
}
"""Model type -> prefix of a layer, our operator -> its module there."""

ANCHORS = {"bert": "embeddings.word_embeddings.weight", **dict.fromkeys(decoders.GPT2, "wte.weight")}
ANCHORS |= dict.fromkeys(visions.KEYS, "embeddings.patch_embeddings.projection.weight")
ANCHORS |= {kind: "embed_tokens.weight" for kind in decoders.KEYS if kind not in decoders.GPT2}
"""Model type -> a tensor that each file has: the text before its name is the file's prefix."""

OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
EPSILONS = ("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps")

MAX_WEIGHT = float(1 << 40)
"""Of a checkpoint: of numbers up to here sums of a row, squared and summed again, stay within float32 (2^128); trained
weights are below 2^10."""

BUFFERS = {"embeddings.position_ids", "embeddings.token_type_ids"}
"""Constants that older files hold in addition to the weights."""

CONFIG_KEYS["roberta"] = CONFIG_KEYS["bert"]
LAYER_NAMES["roberta"] = LAYER_NAMES["bert"]
CONFIG_KEYS |= decoders.KEYS | visions.KEYS

PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")

ALIASES = {"xlm-roberta": "roberta", "camembert": "roberta"}
"""Model types that are equal to another one."""

ROBERTA_HEAD = {"classifier.dense.": "pooler.dense.", "classifier.out_proj.": "classifier."}
"""RoBERTa's classifier -> the same two layers as BERT names them."""

GELU_NAMES = ("gelu", "gelu_new", "gelu_pytorch_tanh")


@dataclass(frozen=True)
class Checkpoint:
    """A trained model. ``weights``: "word", "position", "token_type" [rows, hidden]; per operator such as

    "L0.FF1" its ".weight" [in, out] and ".bias" [out] (LayerNorm: both [hidden]), "embed_norm.*" and the layers of
    ``head`` likewise. ``unused``: tensors of the file that are not used. ``decoder``: None for an encoder.
    ``vision``: of a vision transformer, which has no vocabulary; its layers are described by ``decoder``.
    ``derived``: weights in other forms, kept from one graph to the next (`workloads.checkpoint.array`).
    """

    name: str
    layers: int
    hidden: int
    heads: int
    ffn: int
    vocabulary: int
    positions: int
    token_types: int
    epsilon: float
    weights: Weights
    head: Head | None = None
    unused: tuple[str, ...] = ()
    decoder: Decoder | None = None
    vision: Vision | None = None
    derived: dict[Any, Weights] = field(default_factory=dict, repr=False, compare=False)

    @property
    def head_dim(self) -> int:
        """Elements of one attention head."""
        return self.hidden // self.heads if self.decoder is None else self.decoder.head_dim

    @property
    def decodes(self) -> bool:
        """Return whether the model predicts the next token."""
        return self.decoder is not None and self.decoder.causal

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all inputs of the model's values: sizes, head and weights."""
        sizes = [getattr(self, one.name) for one in fields(self) if one.name not in ("name", "weights", "derived")]
        found = hashlib.sha256(repr(sizes).encode())
        for name in sorted(self.weights):
            values = np.ascontiguousarray(self.weights[name])
            found.update(repr((name, values.shape, values.dtype.str)).encode())
            found.update(values.reshape(-1).view(np.uint8).data)
        return found.hexdigest()


def load(folder: str | Path) -> Checkpoint:
    """Return the model of a folder with config.json and model.safetensors (or shards with their index).

    Raises InputError listing all tensors and keys that are missing, of a wrong shape, not finite, or unknown.
    """
    path = Path(folder)
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; it must hold config.json and model.safetensors")
    config = _json(path / "config.json")
    kind = _architecture(config, path)
    sizes = _sizes(config, kind, path)
    epsilon = _epsilon(config, path)
    raw = _without_prefix(_tensors(path), kind)
    _compare(sizes, kind, raw, path)
    decoder = head = vision = None
    if kind in visions.KEYS:
        decoder, vision = visions.read(config, kind, sizes, path)
        sizes |= {"positions": vision.tokens, "vocabulary": 0}
        raw = visions.prepared(raw, kind, sizes, vision, path)
        head = heads.find(config, kind, {name: values.shape for name, values in raw.items()}, path)
        wanted = {**visions.wanted(kind, sizes, vision), **heads.wanted(head, sizes["hidden"])}
    elif kind in decoders.KEYS:
        decoder = decoders.read(config, kind, sizes, path)
        raw = decoders.prepared(raw, kind, sizes, decoder)
        wanted = decoders.wanted(kind, sizes, decoder)
        head = Head("language", (decoders.LM_HEAD,), tuple(map(str, range(sizes["vocabulary"]))))
    else:
        head = heads.find(config, kind, {name: values.shape for name, values in raw.items()}, path)
        wanted = {**wanted_tensors(kind, sizes), **heads.wanted(head, sizes["hidden"])}
    weights = _weights(raw, wanted, path)
    if kind == "roberta":
        first = _first_position(config, sizes["positions"], path)
        weights["position"] = weights["position"][first:]
        sizes["positions"] -= first
    unused = tuple(sorted(set(raw) - {source for source, _, _ in wanted.values()} - BUFFERS - visions.BUFFERS))
    name = path.resolve().name
    known: dict[str, Any] = {**sizes, "weights": weights, "head": head, "unused": unused}
    return Checkpoint(name, epsilon=epsilon, decoder=decoder, vision=vision, **known)


def _weights(
    raw: dict[str, npt.NDArray[Any]], wanted: dict[str, tuple[str, tuple[int, ...], bool]], path: Path
) -> Weights:
    """Return the weights by our names.

    Raises InputError listing all that are missing, of a wrong shape or not finite.
    """
    weights: Weights = {}
    problems = []
    for name, (source, shape, turned) in wanted.items():
        if source not in raw:
            problems.append(f"{path}: tensor {source!r} is missing{did_you_mean(source, raw)}")
            continue
        found = raw[source]
        if found.shape != shape:
            problems.append(f"{path}: tensor {source!r} has shape {found.shape}; config.json requires {shape}")
        elif not np.isfinite(found).all():
            bad = int((~np.isfinite(found)).sum())
            problems.append(f"{path}: tensor {source!r} holds {bad} values that are not finite (NaN, infinity)")
        elif found.size and (largest := float(np.abs(found).max())) > MAX_WEIGHT:
            problems.append(
                f"{path}: tensor {source!r} holds {largest:.3g}: weights are at most {MAX_WEIGHT:.3g}, beyond which "
                "squares of sums overflow float32"
            )
        else:
            values = found.astype(np.float32)
            weights[name] = np.ascontiguousarray(values.T if turned else values)
    if problems:
        raise InputError(problems)
    return weights


def _first_position(config: dict[str, Any], positions: int, path: Path) -> int:
    """Return the position-table row of RoBERTa's first token: the one after the padding's."""
    pad = config.get("pad_token_id", 1)
    if isinstance(pad, bool) or not isinstance(pad, int) or not 0 <= pad < positions - 1:
        raise InputError(f"{path}: config.json: pad_token_id is {pad!r}, must be a whole number, e.g. 1")
    return pad + 1


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold one JSON object")
    return content


def _architecture(config: dict[str, Any], path: Path) -> str:
    kind = str(config.get("model_type", ""))
    kind = ALIASES.get(kind, kind)
    problems = []
    if kind in decoders.KEYS or kind in visions.KEYS:
        return kind
    if kind not in CONFIG_KEYS:
        problems.append(f"{path}: unknown architecture model_type {kind!r}{did_you_mean(kind, CONFIG_KEYS)}")
    activation = config.get("hidden_act", config.get("activation", "gelu"))
    if activation not in GELU_NAMES:
        problems.append(f"{path}: activation {activation!r} is not GELU{did_you_mean(str(activation), GELU_NAMES)}")
    if config.get("position_embedding_type", "absolute") != "absolute":
        problems.append(f"{path}: position_embedding_type {config['position_embedding_type']!r}: only 'absolute'")
    if problems:
        raise InputError(problems)
    return kind


def _sizes(config: dict[str, Any], kind: str, path: Path) -> dict[str, int]:
    sizes, problems = {"token_types": 0}, []
    for name, key in CONFIG_KEYS[kind].items():
        value = config.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            problems.append(f"{path}: config.json: {key} is {value!r}, must be a whole number >= 1")
        else:
            sizes[name] = value
    if not problems and sizes["hidden"] % sizes["heads"]:
        problems.append(
            f"{path}: config.json: {sizes['hidden']} hidden elements do not split into {sizes['heads']} heads"
        )
    if problems:
        raise InputError(problems)
    return sizes


def _compare(sizes: Mapping[str, int], kind: str, raw: Mapping[str, npt.NDArray[Any]], path: Path) -> None:
    """Compare sizes with the file before they are counted up to. Raises InputError for those beyond its tensors."""
    longest = max((length for values in raw.values() for length in values.shape), default=0)
    most = {"layers": (len(raw), "tensors"), **dict.fromkeys(("hidden", "ffn", "vocabulary"), (longest, "elements"))}
    problems = [
        f"{path}: config.json: {CONFIG_KEYS[kind][name]} is {sizes[name]}, but the file of weights has "
        + (f"{limit:,} tensors in all" if unit == "tensors" else f"no tensor of more than {limit:,} rows or columns")
        for name, (limit, unit) in most.items()
        if sizes.get(name, 0) > limit
    ]
    if problems:
        raise InputError(problems)


def _epsilon(config: dict[str, Any], path: Path) -> float:
    key = next((key for key in EPSILONS if key in config), EPSILONS[0])
    value = config.get(key, 1e-12)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise InputError(f"{path}: config.json: {key} is {value!r}, must be a number in [0, 1), e.g. 1e-12")
    return float(value)


def _tensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    index = path / "model.safetensors.index.json"
    pickled = [name for name in PICKLED if (path / name).exists()]
    if pickled and not index.exists() and not (path / "model.safetensors").exists():
        raise InputError(
            f"{path}: {pickled[0]} is a pickle, which can execute code when it is read; convert it to "
            f"model.safetensors "
            "first (safetensors.torch.save_file of what torch.load(..., weights_only=True) gives)"
        )
    names = ["model.safetensors"]
    if index.exists():
        places = _json(index).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise InputError(f"{index}: weight_map must name the file of each tensor")
        names = sorted({inside(path, name, f"{index}: weight_map").name for name in places.values()})
    tensors: dict[str, npt.NDArray[Any]] = {}
    for name in names:
        tensors.update(safetensors.read(path / name))
    return tensors


def _without_prefix(tensors: dict[str, npt.NDArray[Any]], kind: str) -> dict[str, npt.NDArray[Any]]:
    """Return tensors without the prefix before the model's names."""
    plain, anchor = {}, ANCHORS.get(kind, ANCHORS["bert"])
    whole = min((name for name in tensors if name.endswith(f".{anchor}")), key=len, default=f"{kind}.{anchor}")
    for name, values in tensors.items():
        short = name.removeprefix(whole.removesuffix(anchor))
        for old, new in OLD_NAMES.items():
            short = short.removesuffix(old) + new if short.endswith(old) else short
        for old, new in ROBERTA_HEAD.items() if kind == "roberta" else ():
            short = new + short.removeprefix(old) if short.startswith(old) else short
        plain[short] = values
    return plain


def wanted_tensors(kind: str, sizes: dict[str, int]) -> dict[str, tuple[str, tuple[int, ...], bool]]:
    """Our name -> (name in the file, shape there, transposed)."""
    hidden, ffn = sizes["hidden"], sizes["ffn"]
    tables = {"word": ("word_embeddings", sizes["vocabulary"]), "position": ("position_embeddings", sizes["positions"])}
    if sizes["token_types"]:
        tables["token_type"] = ("token_type_embeddings", sizes["token_types"])
    wanted: dict[str, tuple[str, tuple[int, ...], bool]] = {
        name: (f"embeddings.{source}.weight", (rows, hidden), False) for name, (source, rows) in tables.items()
    }
    for part in ("weight", "bias"):
        wanted[f"embed_norm.{part}"] = (f"embeddings.LayerNorm.{part}", (hidden,), False)
    prefix, modules = LAYER_NAMES[kind]
    for layer in range(sizes["layers"]):
        for op, module in modules.items():
            rows, cols = (ffn, hidden) if op == "FF1" else (hidden, ffn) if op == "FF2" else (hidden, hidden)
            source = prefix.format(layer) + module
            if op.startswith("layernorm"):
                rows = hidden
                wanted[f"L{layer}.{op}.weight"] = (f"{source}.weight", (hidden,), False)
            else:
                wanted[f"L{layer}.{op}.weight"] = (f"{source}.weight", (rows, cols), True)
            wanted[f"L{layer}.{op}.bias"] = (f"{source}.bias", (rows,), False)
    return wanted
