"""MPNet (Song et al. 2020): a BERT whose scores have a bias by distance, the same in all layers.

The bias [heads, queries, keys] is looked up once, from one number per head for each of 32 buckets of distances; the
bucket of each pair of tokens is given.
"""

from __future__ import annotations

from sim.graph import Tensor, View
from sim.graph.encoder import Attention, Builder, Sequences, full_attention
from workloads.bert import BertSizes, encoder_model

BUCKETS = 32
"""Number of buckets of distances."""

BIAS = "position_bias"


def relative_attention() -> Attention:
    """Return an attention over all tokens, with the bias of their distances."""
    return _attend


def _attend(builder: Builder, given: Sequences) -> Tensor:
    known = next((tensor for tensor in builder.tensors if tensor.name == BIAS), None)
    return full_attention(builder, given, known or _looked_up(builder, given))


def _looked_up(builder: Builder, given: Sequences) -> Tensor:
    table = builder.tensor(f"{BIAS}_table", (BUCKETS, given.heads), builder.sums, "weight")
    buckets = builder.tensor(f"{BIAS}_buckets", (given.seq, given.seq), "int32", "input")
    bias = builder.tensor(BIAS, (given.heads, given.seq, given.seq), builder.sums)
    builder.op("look_up_positions", "position_bias", [View.whole(buckets), View.whole(table)], View.whole(bias), None)
    return bias


RELATIVE = {
    "mpnet-base": encoder_model(
        "mpnet-base",
        BertSizes(12, 768, 12, 3072, token_types=0, vocab=30527, positions=514),
        attention=relative_attention,
    ),
}
"""Encoders by the name that the command line takes."""
