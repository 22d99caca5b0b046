"""The form in which a checkpoint is computed: engines of operators, and element types between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MASK = "attention_mask"
"""Tensor that is added to the scores of padded sequences: 0, or a large negative number for a padding key."""

SHARES, MINUS = "token_shares", "minus_one"
"""Inputs of attention to centred values (`workloads.checkpoint.centred`): shares of tokens in a mean, negative; -1."""

IDENTITY = "identity."
"""Prefix of tensors whose product only widens elements."""


@dataclass(frozen=True)
class Engines:
    """Engines of the operators that the published model has in float.

    ``gelu``: "host" reads int32 sums in float; "array" widens int8 to the integer GELU; "fused" runs that GELU on the
    sums of the matmul before it: no extra pass, but its weights lose resolution so that int32 does not overflow.
    ``layernorm``: "host", or "array": normalised by the array's unit, gain and shift as a diagonal product.
    ``embeddings``: "host" adds look-ups in float; "array" adds rows of int8 tables.
    """

    gelu: Literal["host", "array", "fused"] = "host"
    layernorm: Literal["host", "array"] = "host"
    embeddings: Literal["host", "array"] = "host"

    def needs(self) -> set[str]:
        """Return the operators for which the machine needs units."""
        wanted = {"gelu": self.gelu != "host", "layernorm": self.layernorm == "array"}
        return {name for name, array in wanted.items() if array}


LOGITS = "logits"
POOLED = "pooled"
"""Outputs of a head."""


@dataclass(frozen=True)
class Form:
    """Types of values between operators.

    ``padded``: the scores get an attention mask. ``wide_scores``: they stay int32, for a host that runs softmax (int8
    has no range for a mask). ``full_sums``: values read by the host leave the array as int32; False for accumulators
    that cannot store int32. ``residual``: type of the residual stream and of LayerNorm's input. "int32" if the host
    runs LayerNorm, which writes its output a second time, with the scale of the sums to which the array adds it; also
    if the array runs LayerNorm, GELU and the embeddings (`workloads.checkpoint.array`). With "int32", ``copies``:
    tensor -> columns that are split into several (`sim.graph.kinds.elementwise.spread`) or kept wide; ``groups``:
    GELU's output -> its neurons, group by group.
    ``float_norm``: the host's LayerNorm has its own conversions before and after it, because an int8 one would run on
    the array.
    ``centred``: attention multiplies values without their mean over the tokens (`workloads.checkpoint.centred`); not
    with a causal mask, where a token's mean would be that of later ones.
    ``cache``: of a decoder, number of keys and values in each layer's cache, which outlives the graph; 0: no cache.
    ``past``: number of them written by earlier graphs; the rows of this one follow.
    """

    padded: bool = False
    wide_scores: bool = False
    full_sums: bool = True
    residual: Literal["int8", "int32"] = "int8"
    copies: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    groups: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    float_norm: bool = False
    centred: bool = False
    cache: int = 0
    past: int = 0
