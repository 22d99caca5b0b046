"""Configurations of encoders: the BERT family and its sparse kin."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from sim.base.errors import InputError
from workloads.bert import BertSizes, encoder_model
from workloads.networks.hugging_face.form import Builder, Fixed, ModelType, Sizes
from workloads.networks.relative_attention import BUCKETS, relative_attention
from workloads.networks.sparse_attention import bigbird_attention, longformer_attention

ENCODER = {
    "num_hidden_layers": None, "hidden_size": None, "num_attention_heads": None, "intermediate_size": None,
    "vocab_size": None, "max_position_embeddings": None, "type_vocab_size": None,
}  # fmt: skip
PLAIN: Fixed = {
    "position_embedding_type": ("absolute",), "is_decoder": (False,), "add_cross_attention": (False,),
    "hidden_act": ("gelu",),
}  # fmt: skip

EITHER_GELU = {**PLAIN, "hidden_act": ("gelu", "gelu_new")}
"""Both forms are one operator."""


def _encoder(s: Sizes) -> BertSizes:
    return BertSizes(
        s["num_hidden_layers"], s["hidden_size"], s["num_attention_heads"], s["intermediate_size"],
        token_types=s["type_vocab_size"], vocab=s["vocab_size"], positions=s["max_position_embeddings"],
    )  # fmt: skip


def _bert(name: str, s: Sizes) -> Builder:
    return encoder_model(name, _encoder(s))


def _electra(name: str, s: Sizes) -> Builder:
    """Return the builder of a discriminator: its tables may be narrower than its layers, and it has no pooler."""
    narrow = s["embedding_size"]
    model = replace(_encoder(s), pooler=False, embedding_size=0 if narrow == s["hidden_size"] else narrow)
    return encoder_model(name, model)


def _mpnet(name: str, s: Sizes) -> Builder:
    model = BertSizes(
        s["num_hidden_layers"], s["hidden_size"], s["num_attention_heads"], s["intermediate_size"], token_types=0,
        vocab=s["vocab_size"], positions=s["max_position_embeddings"],
    )  # fmt: skip
    return encoder_model(name, model, attention=relative_attention)


def _albert(name: str, s: Sizes) -> Builder:
    narrow = s["embedding_size"]
    model = BertSizes(
        s["num_hidden_layers"], s["hidden_size"], s["num_attention_heads"], s["intermediate_size"], shared=True,
        token_types=s["type_vocab_size"], vocab=s["vocab_size"], positions=s["max_position_embeddings"],
        embedding_size=0 if narrow == s["hidden_size"] else narrow,
    )  # fmt: skip
    return encoder_model(name, model)


def _longformer(name: str, s: Sizes) -> Builder:
    given = s.get("attention_window", 512)
    windows = set(given) if isinstance(given, list) else {given}
    if len(windows) != 1 or not all(isinstance(one, int) and one > 0 for one in windows):
        raise InputError(f"attention_window is {given!r}, must be one whole number for all layers")
    attention = partial(longformer_attention, name)
    sizes = {"window": windows.pop(), "global_tokens": 1, "chunk": 64}
    return encoder_model(name, _encoder(s), seq=s["max_position_embeddings"] // 2, attention=attention, **sizes)


def _big_bird(name: str, s: Sizes) -> Builder:
    attention = partial(bigbird_attention, name)
    sizes = {"block_size": s["block_size"], "random_blocks": s["num_random_blocks"], "seed": 0}
    return encoder_model(name, _encoder(s), seq=s["max_position_embeddings"], attention=attention, **sizes)


def _distilbert(name: str, s: Sizes) -> Builder:
    model = BertSizes(
        s["n_layers"], s["dim"], s["n_heads"], s["hidden_dim"], token_types=0, pooler=False, vocab=s["vocab_size"],
        positions=s["max_position_embeddings"],
    )  # fmt: skip
    return encoder_model(name, model)


ENCODERS: dict[str, ModelType] = {
    "bert": ModelType(ENCODER, _bert, PLAIN),
    "roberta": ModelType(ENCODER, _bert, PLAIN),
    "xlm-roberta": ModelType(ENCODER, _bert, PLAIN),
    "camembert": ModelType(ENCODER, _bert, PLAIN),
    "data2vec-text": ModelType(ENCODER, _bert, PLAIN),
    "splinter": ModelType(ENCODER, _bert, PLAIN),
    "ernie": ModelType(ENCODER, _bert, {**PLAIN, "use_task_id": (False,)}),
    "electra": ModelType({**ENCODER, "embedding_size": 128}, _electra, PLAIN),
    "mpnet": ModelType(
        {key: default for key, default in ENCODER.items() if key != "type_vocab_size"}, _mpnet,
        {"relative_attention_num_buckets": (BUCKETS,), "hidden_act": ("gelu",)},
    ),
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
}  # fmt: skip
"""Model types whose tokens see all others, or those of a pattern."""
