"""Published encoders of decoders' layers by name: pre-norm or with rotary embeddings and gates, no library's order."""

from __future__ import annotations

from functools import partial

from sim.base.errors import InputError
from sim.graph import Graph
from workloads.encoder import takes
from workloads.networks.config import Config
from workloads.networks.decoding import TokenStep, decoder
from workloads.networks.form import Builder, EncoderSizes

# Warner et al. 2024: windows of 128 keys but in every third layer, GeGLU, norms without shift, rotary embedding.
MODERN = partial(
    Config, vocab=50368, most_positions=8192, norm="layernorm", norm_weights="gamma", activation="gelu", window=128,
    word_norm=True, word_norm_first=True, rope_base=160000.0,
)  # fmt: skip
# Lin et al. 2023, ESM-2: proteins; 33 kinds of tokens.
ESM2 = partial(Config, vocab=33, most_positions=1026, norm="layernorm", gated=False, activation="gelu", biases=True)
ENCODED: dict[str, Config] = {
    "modernbert-base": MODERN(layers=22, hidden=768, heads=12, ffn=1152, full_layers=tuple(range(0, 22, 3))),
    "modernbert-large": MODERN(layers=28, hidden=1024, heads=16, ffn=2624, full_layers=tuple(range(0, 28, 3))),
    "nomic-bert": Config(
        layers=12, hidden=768, heads=12, ffn=3072, vocab=30528, most_positions=8192, norm="layernorm",
        norms_at="behind", word_norm=True, token_types=2, rope_base=1000.0,
    ),
    "esm2-8m": ESM2(layers=6, hidden=320, heads=20, ffn=1280),
    "esm2-150m": ESM2(layers=30, hidden=640, heads=20, ffn=2560),
    "esm2-650m": ESM2(layers=33, hidden=1280, heads=20, ffn=5120),
}  # fmt: skip
"""Encoders by the name that the command line takes."""


def encoded_model(name: str, config: Config, *, causal: bool = False) -> Builder:
    """Return the builder of one encoder. ``causal``: tokens see those before them."""

    def build(of: EncoderSizes) -> Graph:
        if of.phase != "encode":
            raise InputError(f"{name}: phase is {of.phase!r}, can be encode (an encoder keeps no KV cache)")
        step = TokenStep(of.seq, 0, of.batch, encodes=True, causal=causal)
        return decoder(name, config, step, layers=of.layers, embeddings=of.embeddings, dtype=of.dtype)

    build.__name__ = build.__qualname__ = name.replace("-", "_").replace(".", "_")
    build.__doc__ = (
        f"Return {name} for ``batch`` sequences of ``seq`` tokens. Raises InputError for illegal sizes.\n\n"
        "``layers`` cuts the stack, ``embeddings`` adds the look-ups, ``dtype``: element type."
    )
    return takes(EncoderSizes)(build)
