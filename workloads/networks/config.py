"""The sizes of a transformer decoder, and the number of its parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Config:
    """Published sizes of a decoder (elements). Every field that is left out is what most decoders have.

    ``kv_heads`` 0: as many as ``heads``; ``head_dim`` 0: hidden / heads. ``gated``: the feed-forward network
    multiplies activation(x W_gate) with x W_up. ``pre_norm``: norms in front of attention and feed-forward network,
    one more behind the last layer. ``positions``: rows of a learned position table, 0 = none; ``most_positions``:
    tokens that the model was trained for. ``rotated``: columns of a head that a rotary embedding turns, 0 = none,
    -1 = all. ``window``: keys that a token sees, 0 = all. ``experts``: feed-forward networks of a layer, of which a
    router picks ``per_token`` for each token; 0 = one, and no router. ``shared_ffn``: columns of the network of
    shared experts, which each token meets beside; ``first_ffn``: of that of the first layer, which then has no
    experts. ``qk_norm``: an RMSNorm of each head of Q and K. ``embedding_size`` 0: hidden, otherwise products widen
    and narrow it.
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
    pre_norm: bool = True
    positions: int = 0
    rotated: int = -1
    rope_base: float = 10000.0
    qkv_bias: bool = False
    biases: bool = False
    tied: bool = False
    window: int = 0
    experts: int = 0
    per_token: int = 2
    embedding_size: int = 0
    qk_norm: bool = False
    shared_ffn: int = 0
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

    def layer_parameters(self) -> int:
        """Return the parameters of one layer."""
        qkv = self.hidden * (self.queries + 2 * self.keys)
        qkv += (self.queries + 2 * self.keys) * (self.qkv_bias or self.biases)
        out = self.queries * self.hidden + self.hidden * self.biases
        wide = self.ffn * (2 if self.gated else 1)
        ffn = self.hidden * wide + self.ffn * self.hidden + (wide + self.hidden) * self.biases
        router = self.hidden * self.experts
        norms = 2 * self.norm_parameters(self.hidden) + (2 * self.size if self.qk_norm else 0)
        shared = 3 * self.hidden * self.shared_ffn
        return qkv + out + ffn * max(1, self.experts) + router + norms + shared

    def norm_parameters(self, columns: int) -> int:
        """Return the parameters of a norm: gamma, and beta of a LayerNorm."""
        return columns * (2 if self.norm == "layernorm" else 1)

    def parameters(self) -> int:
        """Return the parameters of the whole network: tables, layers, last norm, head."""
        tables = self.vocab * self.embedding + self.positions * self.hidden
        if self.embedding_size:
            tables += 2 * self.embedding_size * self.hidden
        last = self.norm_parameters(self.hidden) if self.pre_norm else 0
        head = 0 if self.tied else self.vocab * self.embedding
        layers = self.layers * self.layer_parameters()
        if self.first_ffn:
            dense = replace(self, experts=0, shared_ffn=0, first_ffn=0, ffn=self.first_ffn)
            layers += dense.layer_parameters() - self.layer_parameters()
        return tables + layers + last + head

    def active_parameters(self) -> int:
        """Return the parameters that one token meets: of the experts those that its router picks."""
        if not self.experts:
            return self.parameters()
        expert = 3 * self.hidden * self.ffn if self.gated else 2 * self.hidden * self.ffn
        return self.parameters() - (self.layers - bool(self.first_ffn)) * (self.experts - self.per_token) * expert
