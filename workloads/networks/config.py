"""The sizes of a transformer decoder, and the number of its parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Latent:
    """Sizes of multi-head latent attention (elements; DeepSeek-AI 2024).

    Keys and values of a token are cached as one row of ``rank`` columns, from which a product computes those of each
    head, and ``rotated`` further columns with a rotary embedding, shared by all heads. A head of Q or K has ``plain``
    columns and the rotated ones, a head of V ``values``. ``query_rank``: columns of the row from which Q is
    computed, 0 = Q is computed from x.
    """

    rank: int
    plain: int
    rotated: int
    values: int
    query_rank: int = 0

    @property
    def cached(self) -> int:
        """Columns of the cache."""
        return self.rank + self.rotated

    @property
    def size(self) -> int:
        """Columns of a head of Q or K."""
        return self.plain + self.rotated

    def parameters(self, hidden: int, heads: int) -> int:
        """Return the parameters of the attention, with its two norms."""
        made_of = self.query_rank or hidden
        down = hidden * self.query_rank + self.query_rank + hidden * self.cached + self.rank
        return down + heads * (made_of * self.size + self.rank * (self.plain + self.values) + self.values * hidden)


@dataclass(frozen=True)
class Config:
    """Published sizes of a decoder (elements). Defaults are those of most decoders.

    Attention: ``kv_heads`` 0: equal to ``heads``; ``head_dim`` 0: hidden / heads. ``qk_norm``: an RMSNorm of each
    "head" of Q and K, or of their whole "row". ``rotated``: columns of a head with rotary embedding, 0 = none, -1 =
    all, in layers not among ``unrotated``; ``alibi``: a bias of each head's scores instead.
    ``window``: keys that a token sees, 0 = all; every ``full_every``-th layer (0 = none) and ``full_layers`` see all of
    them. ``capped``: a tanh bounds the scores of keys and of words. ``latent``: replaces the heads of K and V.
    ``sinks``: each head has one more learned number in the denominator of its softmax, which the graph leaves out.

    Feed-forward network: ``gated``: activation(x W_gate) times x W_up; "relu2" is the square of a ReLU. ``experts``:
    networks of a layer, of which a router (``router``: its function) picks ``per_token`` for each token; 0 = one, and
    no router. ``shared_ffn``: columns of the network of shared experts, applied to each token in addition,
    ``shared_gate``: weighted per token; ``first_ffn``: columns of the network of the first ``dense_layers`` layers,
    which then have no experts.

    Norms: ``norms_at``: "before" attention and feed-forward network, "behind" their sums with x, on each "branch"
    before its sum, or "both" before it and on the branch; all but "behind" have one more after the last layer.
    ``parallel_norms``: attention and feed-forward network both read x and are added: 1 = with one common norm, 2 = with
    one norm each, 0 = sequential. ``word_norm``: a norm of the looked-up words, with ``word_norm_first`` in the place
    of the first layer's first one. ``norm_weights``: "all" weights of a norm's kind, "gamma" alone, or "none".

    Ends: ``positions``: rows of a learned position table, 0 = none, or computed rows (``sinusoids``);
    ``most_positions``: length in tokens that the model was trained for. ``embedding_size`` 0: hidden, otherwise
    products widen and narrow the words. ``token_types``: rows of a table that is added to them. ``tied``: the scores of
    words are products with the word table. ``biases``: of all products except the head's, or of some: ``qkv_bias``,
    ``out_bias``, ``ffn_bias``, ``router_bias``, ``head_bias``.
    """

    layers: int
    hidden: int
    heads: int
    ffn: int
    vocab: int
    most_positions: int
    kv_heads: int = 0
    head_dim: int = 0
    activation: Literal["gelu", "gelu_tanh", "relu", "relu2", "silu"] = "silu"
    gated: bool = True
    norm: Literal["layernorm", "rmsnorm"] = "rmsnorm"
    norms_at: Literal["before", "behind", "branch", "both"] = "before"
    parallel_norms: int = 0
    positions: int = 0
    rotated: int = -1
    rope_base: float = 10000.0
    alibi: bool = False
    biases: bool = False
    qkv_bias: bool = False
    out_bias: bool = False
    ffn_bias: bool = False
    router_bias: bool = False
    head_bias: bool = False
    tied: bool = False
    window: int = 0
    full_every: int = 0
    full_layers: tuple[int, ...] = ()
    unrotated: tuple[int, ...] = ()
    experts: int = 0
    per_token: int = 2
    embedding_size: int = 0
    qk_norm: Literal["none", "head", "row"] = "none"
    capped: bool = False
    word_norm: bool = False
    word_norm_first: bool = False
    token_types: int = 0
    shared_ffn: int = 0
    shared_gate: bool = False
    first_ffn: int = 0
    dense_layers: int = 1
    router: Literal["softmax", "sigmoid"] = "softmax"
    norm_weights: Literal["all", "gamma", "none"] = "all"
    sinusoids: bool = False
    sinks: bool = False
    latent: Latent | None = None

    @property
    def queries(self) -> int:
        """Columns of all heads of Q."""
        return self.heads * self.size

    @property
    def keys(self) -> int:
        """Columns of all heads of K or V."""
        return self.groups * self.size

    @property
    def size(self) -> int:
        """Columns of a head."""
        return self.head_dim or self.hidden // self.heads

    @property
    def groups(self) -> int:
        """Heads of K and V."""
        return self.kv_heads or self.heads

    @property
    def embedding(self) -> int:
        """Columns of the word table."""
        return self.embedding_size or self.hidden

    @property
    def rope(self) -> int:
        """Columns of a head that are rotated."""
        return self.size if self.rotated < 0 else self.rotated

    def of_layer(self, index: int) -> Config:
        """Return the sizes of one layer: the first may have no experts, some see all keys, or do not rotate them."""
        of = self
        if self.first_ffn and index < self.dense_layers:
            of = replace(of, experts=0, shared_ffn=0, ffn=self.first_ffn)
        if (self.full_every and (index + 1) % self.full_every == 0) or index in self.full_layers:
            of = replace(of, window=0)
        return replace(of, rotated=0) if index in self.unrotated else of

    def layer_parameters(self) -> int:
        """Return the parameters of one layer."""
        router = (self.hidden + self.router_bias) * self.experts
        shared = self.ffn_parameters(self.shared_ffn) + self.hidden * self.shared_gate if self.shared_ffn else 0
        norms = self.parallel_norms or (4 if self.norms_at == "both" else 2)
        ffn = self.ffn_parameters(self.ffn) * max(1, self.experts)
        return self.attention_parameters() + ffn + router + shared + norms * self.norm_parameters(self.hidden)

    def attention_parameters(self) -> int:
        """Return the parameters of a layer's attention."""
        if self.latent:
            return self.latent.parameters(self.hidden, self.heads)
        qkv = (self.hidden + (self.qkv_bias or self.biases)) * (self.queries + 2 * self.keys)
        out = self.queries * self.hidden + self.hidden * (self.out_bias or self.biases)
        normed = {"none": 0, "head": 2 * self.size, "row": self.queries + self.keys}[self.qk_norm]
        return qkv + out + self.norm_parameters(normed) + self.heads * self.sinks

    def ffn_parameters(self, columns: int) -> int:
        """Return the parameters of a feed-forward network by its columns."""
        wide = columns * (2 if self.gated else 1)
        return self.hidden * wide + columns * self.hidden + (wide + self.hidden) * (self.biases or self.ffn_bias)

    def norm_parameters(self, columns: int) -> int:
        """Return the parameters of a norm: gamma, and beta of a LayerNorm."""
        parts = {"none": 0, "gamma": 1, "all": 2 if self.norm == "layernorm" else 1}
        return columns * parts[self.norm_weights]

    def parameters(self) -> int:
        """Return the parameters of the whole network: tables, layers, last norm, head."""
        tables = self.vocab * self.embedding + (self.positions + self.token_types) * self.hidden
        if self.embedding_size:
            tables += 2 * self.embedding_size * self.hidden
        norms = (self.norms_at != "behind") + self.word_norm - self.word_norm_first
        last = norms * self.norm_parameters(self.hidden)
        head = (0 if self.tied else self.vocab * self.embedding) + self.vocab * self.head_bias
        layers = sum(self.of_layer(index).layer_parameters() for index in range(self.layers))
        return tables + layers + last + head

    def active_parameters(self) -> int:
        """Return the number of parameters used for one token: of the experts only those that the router picks."""
        if not self.experts:
            return self.parameters()
        idle = (self.experts - self.per_token) * self.ffn_parameters(self.ffn)
        routed = self.layers - (self.dense_layers if self.first_ffn else 0)
        return self.parameters() - routed * idle
