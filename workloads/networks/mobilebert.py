"""MobileBERT (Sun et al. 2020): layers of 128 columns between products that narrow and widen 512.

Its norm is a factor and a shift per column: a depth-wise convolution of one tap. Queries and
keys come from a narrowed input, values from the wide one; each layer has four feed-forward networks. Embeddings of
three neighbouring words, as overlapping rows, are widened by one product.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.base.errors import InputError
from sim.graph import Graph, Tensor, View
from workloads.encoder import check_sizes, states_sizes
from workloads.networks.builder import Network

NAME = "mobilebert"
LAYERS, HIDDEN, INNER, HEADS, FFN, NETWORKS, VOCAB, POSITIONS = 24, 512, 128, 4, 512, 4, 30522, 512
NEIGHBOURS = 3


@states_sizes
def mobilebert(
    seq: int = 128,
    batch: int = 1,
    layers: int = LAYERS,
    embeddings: bool = False,
    dtype: str = "int8",
    phase: str = "encode",
) -> Graph:
    """Return MobileBERT for ``batch`` sequences of ``seq`` tokens. Raises InputError for illegal sizes.

    ``layers`` cuts the stack, ``embeddings`` adds the look-ups (its pooler is the first token, without weights),
    ``dtype``: element type.
    """
    if phase != "encode":
        raise InputError(f"{NAME}: phase is {phase!r}, can be encode (an encoder keeps no KV cache)")
    check_sizes(NAME, {"seq": seq, "batch": batch, "layers": layers}, dtype)
    if embeddings and seq > POSITIONS:
        raise InputError(f"{NAME}: seq {seq} is beyond the position table (nearest: {POSITIONS})")
    parts = _Parts(Network(NAME, dtype), batch, seq)
    x = parts.embedded() if embeddings else parts.net.input("input", batch * seq, HIDDEN)
    for index in range(layers):
        with parts.net.layer_of(index):
            x = parts.layer(x)
    return parts.net.graph()


@dataclass
class _Parts:
    net: Network
    batch: int
    seq: int

    def scaled(self, x: Tensor, name: str) -> Tensor:
        """Add a factor and a shift of each column."""
        net, at, cols = self.net, self.net.name_of(name), x.shape[1]
        factor = net.tensor(f"{at}.weight", (cols, 1), kind="weight")
        shift = net.tensor(f"{at}.bias", (cols,), net.sums, "weight")
        result = net.tensor(at, x.shape)
        views = [View.whole(tensor) for tensor in (x, factor, shift)]
        net.apply("depthwise_conv", at, views, View.whole(result), in_rows=1, in_cols=x.shape[0])
        return result

    def layer(self, x: Tensor) -> Tensor:
        """Add one layer."""
        net = self.net
        narrow, shared = (
            self.scaled(net.linear(x, INNER, name=f"narrow_{what}"), f"narrow_{what}_norm") for what in ("input", "QK")
        )
        q, k, v = (net.linear(y, INNER, name=f"matmul_{p}") for y, p in ((shared, "Q"), (shared, "K"), (x, "V")))
        context = net.attention(q, k, v, heads=HEADS, batch=self.batch)
        y = self.scaled(net.add(net.linear(context, INNER, name="W_out"), narrow), "norm1")
        for _ in range(NETWORKS):
            wide = net.linear(y, FFN, name="FF1", activation="relu")
            y = self.scaled(net.add(net.linear(wide, INNER, name="FF2"), y), "norm2")
        return self.scaled(net.add(net.linear(y, HIDDEN, name="widen"), x), "widen_norm")

    def embedded(self) -> Tensor:
        """Look up words, widen three neighbours at a time, add positions and types."""
        net, seq, rows = self.net, self.seq, self.batch * self.seq
        # A row of zeros before and after each sequence, which no operator writes.
        words = net.state("word_rows", self.batch, seq + 2, INNER)
        table = net.tensor("word_table", (VOCAB, INNER), kind="weight")
        ids = View.whole(net.input("word_ids", self.batch, seq, "int32"))
        put = View(words.name, self.batch, seq, INNER, INNER, (seq + 2) * INNER, INNER)
        net.op("embed_word", "embedding", [ids, View.whole(table)], put, None)
        weight = net.tensor("embed_widen.weight", (NEIGHBOURS * INNER, HIDDEN), kind="weight")
        bias = net.tensor("embed_widen.bias", (HIDDEN,), net.sums, "weight")
        taken = View(words.name, self.batch, seq, NEIGHBOURS * INNER, INNER, (seq + 2) * INNER)
        total = net.tensor("embed_widen", (rows, HIDDEN))
        views = [taken, View.whole(weight), View.whole(bias)]
        result = View(total.name, self.batch, seq, HIDDEN, HIDDEN, seq * HIDDEN)
        net.op("embed_widen", "matmul", views, result, None, repeating_bias=True)
        for what, count in (("position", POSITIONS), ("token_type", 2)):
            found = net.tensor(f"{what}_embedding", (rows, HIDDEN))
            table = net.tensor(f"{what}_table", (count, HIDDEN), kind="weight")
            ids = View.whole(net.input(f"{what}_ids", 1, rows, "int32"))
            net.op(f"embed_{what}", "embedding", [ids, View.whole(table)], View.whole(found), None)
            total = net.add(total, found, name=f"add_{what}")
        return self.scaled(total, "embed_norm")
