"""The sizes of a transformer decoder, and the number of its parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Config:
    """Published sizes of a decoder (elements). Every field that is left out is what most decoders have.

    Attention: ``kv_heads`` 0: as many as ``heads``; ``head_dim`` 0: hidden / heads. ``qk_norm``: an RMSNorm of each
    "head" of Q and K, or of their whole "row". ``rotated``: columns of a head that a rotary embedding turns, 0 = none,
    -1 = all; ``alibi``: a bias of each head's scores in its place. ``window``: keys that a token sees, 0 = all; every
    ``full_every``-th layer sees all of them (0 = none does). ``capped``: a tanh bounds the scores of keys and of words.

    Feed-forward network: ``gated``: activation(x W_gate) times x W_up. ``experts``: networks of a layer, of which a
    router picks ``per_token`` for each token; 0 = one, and no router. ``shared_ffn``: columns of the network of shared
    experts, which each token meets beside, ``shared_gate``: weighed by a number of each token; ``first_ffn``: columns
    of that of the first layer, which then has no experts.

    Norms: ``norms_at``: "before" attention and feed-forward network, "behind" their sums with x, on each "branch"
    before its sum, or "both" before it and on the branch; all but "behind" have one more behind the last layer.
    ``parallel_norms``: attention and feed-forward network both read x and are added: 1 = behind one norm, 2 = behind
    one norm each, 0 = one after the other. ``word_norm``: a norm of the looked-up words.

    Ends: ``positions``: rows of a learned position table, 0 = none; ``most_positions``: tokens that the model was
    trained for. ``embedding_size`` 0: hidden, otherwise products widen and narrow the words. ``tied``: the scores of
    words are products with the word table. ``biases``: of all products, or of some: ``qkv_bias``, ``ffn_bias``,
    ``head_bias``.
    """

    layers: int
    hidden: int
    heads: int
    ffn: int
    vocab: int
    most_positions: int
    kv_heads: int = 0
    head_dim: int = 0
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "silu"
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
    ffn_bias: bool = False
    head_bias: bool = False
    tied: bool = False
    window: int = 0
    full_every: int = 0
    experts: int = 0
    per_token: int = 2
    embedding_size: int = 0
    qk_norm: Literal["none", "head", "row"] = "none"
    capped: bool = False
    word_norm: bool = False
    shared_ffn: int = 0
    shared_gate: bool = False
    first_ffn: int = 0

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
        """Return the sizes of one layer: the first may have no experts, some see all keys."""
        of = replace(self, experts=0, shared_ffn=0, ffn=self.first_ffn) if self.first_ffn and index == 0 else self
        return replace(of, window=0) if self.full_every and (index + 1) % self.full_every == 0 else of

    def layer_parameters(self) -> int:
        """Return the parameters of one layer."""
        qkv = (self.hidden + (self.qkv_bias or self.biases)) * (self.queries + 2 * self.keys)
        out = self.queries * self.hidden + self.hidden * self.biases
        normed = {"none": 0, "head": 2 * self.size, "row": self.queries + self.keys}[self.qk_norm]
        router = self.hidden * self.experts
        shared = self.ffn_parameters(self.shared_ffn) + self.hidden * self.shared_gate if self.shared_ffn else 0
        norms = self.parallel_norms or (4 if self.norms_at == "both" else 2)
        ffn = self.ffn_parameters(self.ffn) * max(1, self.experts)
        return qkv + out + normed + ffn + router + shared + norms * self.norm_parameters(self.hidden)

    def ffn_parameters(self, columns: int) -> int:
        """Return the parameters of a feed-forward network by its columns."""
        wide = columns * (2 if self.gated else 1)
        return self.hidden * wide + columns * self.hidden + (wide + self.hidden) * (self.biases or self.ffn_bias)

    def norm_parameters(self, columns: int) -> int:
        """Return the parameters of a norm: gamma, and beta of a LayerNorm."""
        return columns * (2 if self.norm == "layernorm" else 1)

    def parameters(self) -> int:
        """Return the parameters of the whole network: tables, layers, last norm, head."""
        tables = self.vocab * self.embedding + self.positions * self.hidden
        if self.embedding_size:
            tables += 2 * self.embedding_size * self.hidden
        norms = (self.norms_at != "behind") + self.word_norm
        last = norms * self.norm_parameters(self.hidden)
        head = (0 if self.tied else self.vocab * self.embedding) + self.vocab * self.head_bias
        layers = self.of_layer(0).layer_parameters() + (self.layers - 1) * self.layer_parameters()
        return tables + layers + last + head

    def active_parameters(self) -> int:
        """Return the parameters that one token meets: of the experts those that its router picks."""
        if not self.experts:
            return self.parameters()
        idle = (self.experts - self.per_token) * self.ffn_parameters(self.ffn)
        return self.parameters() - (self.layers - bool(self.first_ffn)) * idle
