"""Encoder-decoders: T5 (Raffel et al. 2020), BART (Lewis et al. 2020) and its kin, Whisper (Radford et al. 2022).

Encode: the encoder over ``seq`` tokens (Whisper: positions after its two convolutions). Prefill: the encoder over
``source`` tokens, keys and values of its output for every decoder layer, and the decoder over ``seq`` first tokens.
Decode: ``seq`` new tokens after ``kv`` cached ones, with the keys and values of ``source`` tokens cached as well.

T5's relative positions are a bias [heads, queries, keys] of sums, looked up once for the encoder and once for the
decoder from 32 buckets a head by the bucket of each pair, which is given, and added to the scores of every layer.
BART's norms stand behind the sums, those of mBART, Pegasus and M2M-100 in front of the branches; the looked-up words,
their positions and the norm behind them are the input.
Whisper's convolutions of three taps are products: the rows of A are three adjacent frames, windows that overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from sim.base.errors import InputError, did_you_mean
from sim.graph import Graph, Tensor, View
from workloads.encoder import check_sizes, states_sizes
from workloads.networks.builder import Network

PHASES = ("encode", "prefill", "decode")
BUCKETS = 32
"""Distances of T5's relative positions."""


@dataclass(frozen=True)
class Seq2Seq:
    """Published sizes of one model (elements), the same of encoder and decoder but for ``decoder_layers`` (0: layers).

    ``mels`` 0: tokens are words; otherwise frames of this many channels, which two convolutions read, the second of
    stride 2. ``positions``: rows of a learned position table; ``source``: tokens of the encoder by default.
    ``gated``: activation(x W_gate) times x W_up; ``activation``: "" = ReLU in T5 without a gate, GELU in all others.
    ``tied``: the scores of words are products with the word table. ``pre_norm``: of BART's kin, norms in front of the
    branches and behind the stacks; ``word_norms``: norms of the looked-up words. ``own_biases``: each layer of T5's kin
    looks up positions of its own.
    """

    layers: int
    hidden: int
    heads: int
    ffn: int
    vocab: int
    head_dim: int = 64
    mels: int = 0
    positions: int = 0
    source: int = 512
    gated: bool = False
    tied: bool = True
    family: Literal["t5", "bart", "whisper"] = "t5"
    decoder_layers: int = 0
    activation: Literal["", "relu", "gelu", "silu"] = ""
    pre_norm: bool = False
    word_norms: bool = True
    own_biases: bool = False

    @property
    def is_t5(self) -> bool:
        """Return whether it has RMSNorms, no biases and relative positions.

        Other models have LayerNorms, biases, GELUs.
        """
        return self.family == "t5"

    @property
    def norms_behind(self) -> bool:
        """Return whether norms stand behind the sums: BART's do."""
        return self.family == "bart" and not self.pre_norm

    @property
    def key_bias(self) -> bool:
        """Return whether products that make K have a bias: those of T5 and Whisper have none."""
        return self.family == "bart"

    @property
    def depths(self) -> tuple[int, int]:
        """Layers of the encoder and of the decoder."""
        return self.layers, self.decoder_layers or self.layers

    @property
    def function(self) -> str:
        """Kind of the activation."""
        return self.activation or ("relu" if self.is_t5 and not self.gated else "gelu")

    @property
    def inner(self) -> int:
        """Columns of all heads."""
        return self.heads * self.head_dim

    def parameters(self) -> int:
        """Return the parameters of the whole network."""
        biased, bart = not self.is_t5, self.family == "bart"
        attention = 4 * self.hidden * self.inner + ((3 + bart) * self.hidden if biased else 0)
        ffn = (3 if self.gated else 2) * self.hidden * self.ffn + ((self.hidden + self.ffn) if biased else 0)
        norm = self.hidden * (2 if biased else 1)
        (encoder, decoder), ends = self.depths, self.pre_norm + self.word_norms if bart else 1
        stacks = encoder * (attention + ffn + 2 * norm) + decoder * (2 * attention + ffn + 3 * norm) + 2 * ends * norm
        tables = (1 if self.tied else 2) * self.vocab * self.hidden + self.positions * self.hidden
        if self.is_t5:
            return stacks + tables + (sum(self.depths) if self.own_biases else 2) * BUCKETS * self.heads
        if bart:
            return stacks + tables + self.positions * self.hidden
        stem = 3 * self.mels * self.hidden + 3 * self.hidden**2 + 2 * self.hidden
        return stacks + tables + stem + self.source * self.hidden


# Chung et al. 2022; Xue et al. 2021: T5 of version 1.1.
FLAN = partial(Seq2Seq, vocab=32128, gated=True, tied=False)
WHISPER = partial(Seq2Seq, vocab=51865, mels=80, positions=448, source=1500, family="whisper")
WHISPER3 = partial(WHISPER, vocab=51866, mels=128)
BART = partial(Seq2Seq, vocab=50265, positions=1026, source=1024, family="bart")
# Liu et al. 2020; Fan et al. 2020, NLLB team 2022; Zhang et al. 2020; Junczys-Dowmunt et al. 2018 (OPUS-MT).
M2M = partial(Seq2Seq, source=1024, family="bart", pre_norm=True, word_norms=False, activation="relu")

SEQ2SEQ: dict[str, Seq2Seq] = {
    "t5-small": Seq2Seq(6, 512, 8, 2048, 32128),
    "t5-base": Seq2Seq(12, 768, 12, 3072, 32128),
    "t5-large": Seq2Seq(24, 1024, 16, 4096, 32128),
    "t5-3b": Seq2Seq(24, 1024, 32, 16384, 32128, head_dim=128),
    "t5-11b": Seq2Seq(24, 1024, 128, 65536, 32128, head_dim=128),
    "flan-t5-small": FLAN(8, 512, 6, 1024),
    "flan-t5-base": FLAN(12, 768, 12, 2048),
    "flan-t5-large": FLAN(24, 1024, 16, 2816),
    "flan-t5-xl": FLAN(24, 2048, 32, 5120),
    "flan-t5-xxl": FLAN(24, 4096, 64, 10240),
    "mt5-small": FLAN(8, 512, 6, 1024, vocab=250112),
    "byt5-small": FLAN(12, 1472, 6, 3584, vocab=384, decoder_layers=4),
    "umt5-small": FLAN(8, 512, 6, 1024, vocab=256384, own_biases=True),
    "bart-base": BART(6, 768, 12, 3072),
    "bart-large": BART(12, 1024, 16, 4096),
    "distilbart": BART(12, 1024, 16, 4096, vocab=50264, decoder_layers=6),
    "mbart-large": BART(12, 1024, 16, 4096, vocab=250027, pre_norm=True),
    "m2m100-418m": M2M(12, 1024, 16, 4096, 128112),
    "nllb-600m": M2M(12, 1024, 16, 4096, 256206),
    "pegasus-large": M2M(16, 1024, 16, 4096, 96103),
    "opus-mt-en-de": Seq2Seq(
        6,
        512,
        8,
        2048,
        58101,
        family="bart",
        word_norms=False,
        activation="silu",
    ),
    "whisper-tiny": WHISPER(4, 384, 6, 1536),
    "whisper-base": WHISPER(6, 512, 8, 2048),
    "whisper-small": WHISPER(12, 768, 12, 3072),
    "whisper-medium": WHISPER(24, 1024, 16, 4096),
    "whisper-large": WHISPER(32, 1280, 20, 5120),
    "whisper-large-v3": WHISPER3(32, 1280, 20, 5120),
    "whisper-large-v3-turbo": WHISPER3(32, 1280, 20, 5120, decoder_layers=4),
    "distil-whisper-large-v3": WHISPER3(32, 1280, 20, 5120, decoder_layers=2),
}


def seq2seq(name: str, sizes: Seq2Seq) -> Callable[..., Graph]:
    """Return the builder of one encoder-decoder."""

    @states_sizes
    def build(
        phase: str = "encode",
        seq: int | None = None,
        source: int = sizes.source,
        kv: int = 0,
        batch: int = 1,
        layers: int | None = None,
        head: bool | None = None,
        dtype: str = "int8",
    ) -> Graph:
        if phase not in PHASES:
            raise InputError(
                f"{name}: phase is {phase!r}, can be {', '.join(PHASES)}{did_you_mean(str(phase), PHASES)}"
            )
        encodes = phase == "encode"
        tokens = (source if encodes else 1) if seq is None else seq
        depths = sizes.depths if layers is None else (layers, layers)
        check_sizes(name, {"seq": tokens, "source": source, "batch": batch, "layers": depths[0]}, dtype)
        if isinstance(kv, bool) or not isinstance(kv, int) or kv < 0 or (kv and phase != "decode"):
            raise InputError(f"{name}: kv is {kv!r}, must be a whole number >= 0, 0 but in phase decode (nearest: 0)")
        if encodes and source not in (tokens, sizes.source):
            raise InputError(
                f"{name}: source {source} and seq {tokens} both give the encoder's tokens (nearest: source={tokens})"
            )
        if encodes and head:
            raise InputError(f"{name}: head is {head!r}, the scores of words come from the decoder (nearest: false)")
        whole = _Parts(Network(name, dtype), sizes, batch, depths)
        encoded = whole.encoder(tokens if encodes else source) if phase != "decode" else None
        if not encodes:
            whole.decoder(tokens, kv, source, encoded, phase == "decode" if head is None else head)
        return whole.net.graph()

    build.__name__ = build.__qualname__ = name.replace("-", "_")
    build.__doc__ = (
        f"Return {name} in a ``phase``: encode, prefill or decode. Raises InputError for illegal sizes.\n\n"
        "``seq``: tokens of the encoder (encode), new tokens of the decoder otherwise (1); ``source``: tokens of the\n"
        "encoder (encode: where seq is not given), ``kv``: tokens of the decoder whose keys are cached. ``layers``\n"
        "cuts both stacks, ``head`` (decode: on) gives the scores of all words, ``dtype``: element type."
    )
    return build


@dataclass
class _Parts:
    net: Network
    sizes: Seq2Seq
    batch: int
    depths: tuple[int, int]

    def norm(self, x: Tensor, name: str) -> Tensor:
        return self.net.norm(x, "rmsnorm" if self.sizes.is_t5 else "layernorm", name=name)

    def linear(self, x: Tensor, cols: int, name: str, *, bias: bool = True, into: View | None = None) -> Tensor:
        return self.net.linear(x, cols, name=name, bias=bias and not self.sizes.is_t5, into=into)

    def encoder(self, tokens: int) -> Tensor:
        """Add the encoder; return its output."""
        sizes, net = self.sizes, self.net
        x = self._stem(tokens) if sizes.mels else net.input("input", self.batch * tokens, sizes.hidden)
        bias = None if sizes.own_biases else self._positions("encoder_positions", tokens, tokens)
        for index in range(self.depths[0]):
            with net.layer_of(index):
                bias = self._positions("encoder_positions", tokens, tokens) if sizes.own_biases else bias
                x = self._branch(x, 1, partial(self._attention, added=bias))
                x = self._branch(x, 2, self._feed)
        return x if sizes.norms_behind else self.norm(x, "encoder_norm")

    def decoder(self, new: int, past: int, source: int, encoded: Tensor | None, head: bool) -> None:
        """Add the decoder over ``new`` tokens. ``encoded``: None = keys and values of the encoder are cached."""
        sizes, net, keys = self.sizes, self.net, past + new
        x = net.input("target", self.batch * new, sizes.hidden)
        bias = None if sizes.own_biases else self._positions("decoder_positions", new, keys)
        if new > 1 and not sizes.is_t5:
            bias = net.input("causal_mask", new, keys, net.sums)
        for index in range(self.depths[1]):
            with net.layer_of(self.depths[0] + index):
                bias = self._positions("decoder_positions", new, keys) if sizes.own_biases else bias
                x = self._branch(x, 1, partial(self._cached_attention, past=past, added=bias))
                x = self._branch(x, 2, partial(self._cross_attention, encoded=encoded, source=source))
                x = self._branch(x, 3, self._feed)
        x = x if sizes.norms_behind else self.norm(x, "decoder_norm")
        if head:
            cols = sizes.hidden
            last = View(x.name, 1, self.batch, cols, new * cols, 0, (new - 1) * cols)
            of = net.tensor("word_table", (sizes.vocab, cols), kind="weight") if sizes.tied else sizes.vocab
            net.linear(last, of, name="head", bias=False, wide=True)

    def _branch(self, x: Tensor, number: int, make: Callable[[Tensor], Tensor]) -> Tensor:
        """Add a branch of x to x, with the norm before the branch or after the sum."""
        norm, total = f"norm{number}", f"residual_add{number}"
        if self.sizes.norms_behind:
            return self.norm(self.net.add(x, make(x), name=total), norm)
        return self.net.add(x, make(self.norm(x, norm)), name=total)

    def _attention(self, x: Tensor, added: Tensor | None) -> Tensor:
        """Add the encoder's attention."""
        sizes, key_bias = self.sizes, self.sizes.key_bias
        q, v = (self.linear(x, sizes.inner, f"matmul_{part}") for part in "QV")
        k = self.linear(x, sizes.inner, "matmul_K", bias=key_bias)
        context = self.net.attention(q, k, v, heads=sizes.heads, batch=self.batch, added=added)
        return self.linear(context, sizes.hidden, "W_out")

    def _cached_attention(self, x: Tensor, past: int, added: Tensor | None) -> Tensor:
        """Add the decoder's attention over its own tokens."""
        sizes, keys = self.sizes, past + x.shape[0] // self.batch
        q = self.linear(x, sizes.inner, "matmul_Q")
        caches = [self._cached(x, part, keys, past) for part in "KV"]
        context = self.net.attention(q, *caches, heads=sizes.heads, batch=self.batch, added=added)
        return self.linear(context, sizes.hidden, "W_out")

    def _cross_attention(self, x: Tensor, encoded: Tensor | None, source: int) -> Tensor:
        """Add the decoder's attention over the encoder's tokens."""
        sizes = self.sizes
        q = self.linear(x, sizes.inner, "cross_Q")
        caches = [self._crossed(encoded, part, source) for part in "KV"]
        context = self.net.attention(q, *caches, heads=sizes.heads, batch=self.batch)
        return self.linear(context, sizes.hidden, "cross_out")

    def _feed(self, x: Tensor) -> Tensor:
        kind, ffn, hidden = self.sizes.function, self.sizes.ffn, self.sizes.hidden
        if self.sizes.gated:
            gate, up = (self.linear(x, ffn, f"FF_{part}") for part in ("gate", "up"))
            active = self.net.multiply(self.net.each(kind, gate, name=kind), up)
            return self.linear(active, hidden, "FF_down")
        relu, biased = kind == "relu", not self.sizes.is_t5
        wide = self.net.linear(x, ffn, name="FF1", bias=biased, activation="relu" if relu else "none")
        return self.linear(wide if relu else self.net.each(kind, wide, name=kind), hidden, "FF2")

    def _positions(self, name: str, queries: int, keys: int) -> Tensor | None:
        """Look up T5's bias of the scores; in a decoder, later tokens (masked) are one more bucket."""
        if not self.sizes.is_t5:
            return None
        net, heads = self.net, self.sizes.heads
        rows = BUCKETS + (name.startswith("decoder") and queries > 1)
        table = net.tensor(f"{net.prefix}{name}_table", (rows, heads), net.sums, "weight")
        buckets = net.input(f"{net.prefix}{name}_buckets", queries, keys, "int32")
        bias = net.tensor(f"{net.prefix}{name}", (heads, queries, keys), net.sums)
        views = [View.whole(buckets), View.whole(table)]
        net.apply("position_bias", net.name_of(f"look_up_{name}"), views, View.whole(bias))
        return bias

    def _cached(self, x: Tensor, part: str, keys: int, past: int) -> Tensor:
        """Append K or V of the new tokens to its cache; return the cache."""
        cols, new = self.sizes.inner, x.shape[0] // self.batch
        cache = self.net.state(self.net.name_of(f"cache_{part}"), self.batch, keys, cols)
        into = View(cache.name, self.batch, new, cols, cols, keys * cols, past * cols)
        rows = View(x.name, self.batch, new, x.shape[1], x.shape[1], new * x.shape[1])
        bias = not self.sizes.is_t5 and (part == "V" or self.sizes.key_bias)
        self.net.linear(rows, cols, name=f"matmul_{part}", bias=bias, into=into)
        return cache

    def _crossed(self, encoded: Tensor | None, part: str, source: int) -> Tensor:
        """Return K or V of the encoder's output, cached: written here in a prefill, before it in a decode step."""
        cols = self.sizes.inner
        cache = self.net.state(self.net.name_of(f"cross_cache_{part}"), self.batch, source, cols)
        if encoded is not None:
            whole = View(cache.name, 1, self.batch * source, cols, cols, 0)
            bias = part == "V" or self.sizes.key_bias
            self.linear(encoded, cols, f"cross_{part}", bias=bias, into=whole)
        return cache

    def _stem(self, tokens: int) -> Tensor:
        """Add Whisper's convolutions over 2 * tokens frames, padded by one on both ends, and its positions."""
        net, hidden = self.net, self.sizes.hidden
        frames = 2 * tokens
        given = net.input("frames", self.batch * (frames + 2), self.sizes.mels)
        first = self._conv(given, "conv1", frames, frames + 2, 1, padded=True)
        second = self._conv(first, "conv2", tokens, frames + 2, 2, padded=False)
        table = net.tensor("encoder_position_table", (tokens, hidden), kind="weight")
        placed = net.tensor("placed", second.shape)
        views = [View(t.name, self.batch, tokens, hidden, hidden, tokens * hidden) for t in (second, placed)]
        positions = View(table.name, self.batch, tokens, hidden, hidden, 0)
        net.op("add_position", "residual_add", [views[0], positions], views[1], None)
        return placed

    def _conv(self, x: Tensor, name: str, results: int, held: int, stride: int, *, padded: bool) -> Tensor:
        """Add a convolution of three taps and a GELU over ``held`` frames of each sequence.

        ``padded``: the result has a frame of zeros on both ends, given, for the next convolution.
        """
        net, channels, hidden = self.net, x.shape[1], self.sizes.hidden
        weight = net.tensor(f"{name}.weight", (3 * channels, hidden), kind="weight")
        bias = net.tensor(f"{name}.bias", (hidden,), net.sums, "weight")
        taken = View(x.name, self.batch, results, 3 * channels, stride * channels, held * channels)
        made = net.tensor(name, (self.batch, results, hidden))
        biased = View(bias.name, 1, 1, hidden, 0, 0)
        net.op(name, "matmul", [taken, View.whole(weight), biased], View.whole(made), None, repeating_bias=True)
        rows = results + 2 if padded else results
        active = net.tensor(f"{name}_gelu", (self.batch * rows, hidden), None, "state" if padded else "activation")
        offset = hidden if padded else 0
        into = View(active.name, self.batch, results, hidden, hidden, rows * hidden, offset)
        net.op(f"{name}_gelu", "gelu", [View.whole(made)], into, None)
        return active
