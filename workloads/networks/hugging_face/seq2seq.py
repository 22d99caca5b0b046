"""Configurations of encoder-decoders: T5, BART and its kin, Whisper."""

from __future__ import annotations

from functools import partial
from typing import Any

from sim.base.errors import InputError
from workloads.networks.hugging_face.form import Builder, Fixed, ModelType, Sizes, activation
from workloads.networks.seq2seq import BUCKETS, Seq2Seq, seq2seq

GATES = {"gated-gelu": "gelu", "gated-silu": "silu"}


def _t5(name: str, s: Sizes) -> Builder:
    """T5; version 1.1, mT5 and UMT5 have gates and a head of their own, UMT5 positions of each layer."""
    newer = s["model_type"] in ("mt5", "umt5")
    projection = s.get("feed_forward_proj", "gated-gelu" if newer else "relu")
    act: Any = GATES.get(projection, "")
    made = Seq2Seq(
        s["num_layers"], s["d_model"], s["num_heads"], s["d_ff"], s["vocab_size"], head_dim=s["d_kv"], gated=bool(act),
        activation=act, tied=s.get("tie_word_embeddings", True), decoder_layers=s["num_decoder_layers"],
        own_biases=s["model_type"] == "umt5",
    )  # fmt: skip
    return seq2seq(name, made)


def _bart(name: str, s: Sizes, **more: Any) -> Builder:
    """BART and kin, ``more`` as `Seq2Seq` says it; learned position tables have two rows more."""
    _alike(s)
    hidden, heads, positions = s["d_model"], s["encoder_attention_heads"], s["max_position_embeddings"]
    made = Seq2Seq(
        s["encoder_layers"], hidden, heads, s["encoder_ffn_dim"], s["vocab_size"], head_dim=hidden // heads,
        source=positions, family="bart", decoder_layers=s["decoder_layers"],
        activation=activation(s, "activation_function", more.pop("act", "gelu")).removesuffix("_tanh"),
        tied=s.get("tie_word_embeddings", True), **{"positions": positions + 2, **more},
    )  # fmt: skip
    return seq2seq(name, made)


def _whisper(name: str, s: Sizes) -> Builder:
    _alike(s)
    hidden, heads = s["d_model"], s["encoder_attention_heads"]
    made = Seq2Seq(
        s["encoder_layers"], hidden, heads, s["encoder_ffn_dim"], s["vocab_size"], head_dim=hidden // heads,
        mels=s["num_mel_bins"], positions=s["max_target_positions"], source=s["max_source_positions"],
        family="whisper", decoder_layers=s["decoder_layers"],
    )  # fmt: skip
    return seq2seq(name, made)


def _alike(s: Sizes) -> None:
    """Raise InputError where encoder and decoder differ in more than their layers."""
    for part in ("attention_heads", "ffn_dim"):
        one, two = f"encoder_{part}", f"decoder_{part}"
        if s.get(two) not in (None, s[one]):
            raise InputError(f"{two} is {s[two]!r}, must be {one} ({s[one]})")


T5: tuple[dict[str, int | None], Fixed] = (
    {"num_layers": None, "d_model": None, "num_heads": None, "d_ff": None, "vocab_size": None, "d_kv": 64,
     "num_decoder_layers": 0},
    {"feed_forward_proj": ("relu", *GATES), "relative_attention_num_buckets": (BUCKETS,),
     "is_encoder_decoder": (True,)},
)  # fmt: skip
SIDES: dict[str, int | None] = {
    "encoder_layers": None, "d_model": None, "encoder_attention_heads": None, "encoder_ffn_dim": None,
    "vocab_size": None, "decoder_layers": 0,
}  # fmt: skip
WHISPER: tuple[dict[str, int | None], Fixed] = (
    {**SIDES, "num_mel_bins": 80, "max_target_positions": 448, "max_source_positions": 1500},
    {"activation_function": ("gelu",), "scale_embedding": (False,), "tie_word_embeddings": (True,),
     "is_encoder_decoder": (True,)},
)  # fmt: skip
BART: dict[str, int | None] = {**SIDES, "max_position_embeddings": 1024}
PAIR: Fixed = {"is_encoder_decoder": (True,)}
BEHIND: Fixed = {
    **PAIR, "normalize_before": (False,), "add_final_layer_norm": (False,), "normalize_embedding": (True,),
}  # fmt: skip

_m2m = partial(_bart, positions=0, pre_norm=True, word_norms=False, act="relu")
_mbart = partial(_bart, pre_norm=True)
_marian = partial(_bart, positions=0, word_norms=False, act="swish")

SEQ2SEQ_TYPES: dict[str, ModelType] = {
    **{kind: ModelType(T5[0], _t5, T5[1]) for kind in ("t5", "mt5", "umt5")},
    "bart": ModelType(BART, _bart, BEHIND),
    "plbart": ModelType(BART, _bart, PAIR),
    "mbart": ModelType(BART, _mbart, PAIR),
    "m2m_100": ModelType(BART, _m2m, PAIR),
    "pegasus": ModelType(BART, _m2m, PAIR),
    "marian": ModelType(BART, _marian, {**PAIR, "share_encoder_decoder_embeddings": (True,)}),
    "whisper": ModelType(WHISPER[0], _whisper, WHISPER[1]),
}
"""Model types with an encoder and a decoder."""
