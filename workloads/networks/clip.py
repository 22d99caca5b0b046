"""Pairs of an image tower and a text tower: CLIP (Radford et al. 2021) and SigLIP (Zhai et al. 2023).

The image tower is a vision transformer, the text tower decoders' layers without a cache: CLIP's tokens see those before
them, SigLIP's all. CLIP pools an image by its class token, SigLIP by an attention of one learned query over all rows
and a feed-forward network behind it; both pool a text by its last token. A product gives each image a score for each
text; its learned factor is a scale.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sim.base.errors import InputError
from sim.graph import Graph, Tensor, View
from workloads.encoder import check_sizes, takes
from workloads.networks.builder import Network
from workloads.networks.config import Config
from workloads.networks.decoding import TokenStep
from workloads.networks.decoding.ends import embedded
from workloads.networks.decoding.layer import addend, layer
from workloads.networks.form import Builder
from workloads.networks.vision import VisionSizes, check_image, first_rows, tower


@dataclass(frozen=True)
class Pair:
    """Published sizes of both towers. ``projection``: columns of the rows that are compared; SigLIP: of its text."""

    image: VisionSizes
    text: Config
    projection: int
    siglip: bool = False


@dataclass(frozen=True)
class PairSizes:
    """Sizes that the builder of a pair takes; ``seq`` and ``image`` 0: those of the model."""

    phase: str = "encode"
    seq: int = 0
    batch: int = 1
    texts: int = 1
    image: int = 0
    layers: int | None = None
    embeddings: bool = False
    part: str = "both"
    dtype: str = "int8"


@dataclass
class _Towers:
    net: Network
    pair: Pair
    of: PairSizes
    made: dict[str, Tensor] = field(default_factory=dict)

    def image(self) -> Tensor:
        """Return a row an image."""
        net, pair, of = self.net, self.pair, self.of
        depth = pair.image.layers if of.layers is None else of.layers
        x = tower(net, pair.image, of.image or pair.image.image, of.batch, depth)
        if pair.siglip:
            return self._pooled(net.norm(x, name="last_norm"))
        first = net.norm(first_rows(x, of.batch), name="last_norm")
        return net.linear(first, pair.projection, name="project_image", bias=False)

    def _pooled(self, x: Tensor) -> Tensor:
        """Attend over all rows with one learned query, and add a feed-forward network of the result to it."""
        net, sizes, batch = self.net, self.pair.image, self.of.batch
        probe = net.tensor("probe", (1, sizes.hidden), kind="weight")
        requested = View(probe.name, 1, batch, sizes.hidden, 0, 0)
        q = net.linear(requested, sizes.hidden, name="pool_Q")
        k, v = (net.linear(x, sizes.hidden, name=f"pool_{part}") for part in "KV")
        context = net.attention(q, k, v, heads=sizes.heads, batch=batch)
        x = net.linear(context, sizes.hidden, name="pool_out")
        wide = net.linear(net.norm(x, name="pool_norm"), sizes.ffn or 4 * sizes.hidden, name="pool_FF1")
        active = net.each(sizes.activation, wide, name=f"pool_{sizes.activation}")
        return net.add(x, net.linear(active, sizes.hidden, name="pool_FF2"), name="pool_add")

    def text(self) -> Tensor:
        """Return a row a text."""
        net, config, of = self.net, self.pair.text, self.of
        step = TokenStep(of.seq or config.positions, 0, of.texts, encodes=True, causal=not self.pair.siglip)
        x = embedded(net, config, step) if of.embeddings else net.input("text", of.texts * step.new, config.hidden)
        mask = addend(net, config, step)
        depth = config.layers if of.layers is None else of.layers
        before = 0 if of.part == "text" else self.pair.image.layers if of.layers is None else of.layers
        for index in range(before, before + depth):
            with net.layer_of(index):
                x = layer(net, config, step, x, mask)
        last = View(x.name, 1, of.texts, config.hidden, step.new * config.hidden, 0, (step.new - 1) * config.hidden)
        pooled = net.norm(last, name="text_norm")
        return net.linear(pooled, self.pair.projection, name="project_text", bias=self.pair.siglip)


PARTS = ("both", "image", "text")


def clip(name: str, pair: Pair) -> Builder:
    """Return the builder of a pair of towers."""

    def build(of: PairSizes) -> Graph:
        if of.phase != "encode":
            raise InputError(f"{name}: phase is {of.phase!r}, can be encode (no KV cache is kept)")
        if of.part not in PARTS:
            raise InputError(f"{name}: part is {of.part!r}, can be {', '.join(PARTS)}")
        layers, most = 1 if of.layers is None else of.layers, pair.text.positions
        check_sizes(name, {"batch": of.batch, "texts": of.texts, "layers": layers, "seq": of.seq or most}, of.dtype)
        check_image(name, pair.image, of.image or pair.image.image, of.dtype)
        if of.seq > most:
            raise InputError(f"{name}: seq {of.seq} is beyond the position table (nearest: {most})")
        towers = _Towers(Network(name, of.dtype), pair, of)
        made = [make() for part, make in (("image", towers.image), ("text", towers.text)) if of.part in ("both", part)]
        if of.part == "both":
            towers.net.linear(made[0], made[1], name="compare", bias=False, wide=True)
        return towers.net.graph()

    build.__name__ = build.__qualname__ = name.replace("-", "_")
    build.__doc__ = (
        f"Return {name} for ``batch`` images and ``texts`` texts of ``seq`` tokens. Raises InputError.\n\n"
        "``part``: both towers and their scores, or image or text alone. ``image``: pixels a side; ``layers`` cuts\n"
        "both stacks, ``embeddings`` adds the look-ups of words, ``dtype``: element type."
    )
    return takes(PairSizes)(build)


def text_tower(layers: int, hidden: int, heads: int, ffn: int, **more: object) -> Config:
    """Return the sizes of a text tower: 77 positions and CLIP's words and activation where ``more`` says no others."""
    of: dict[str, object] = {"vocab": 49408, "positions": 77, "activation": "silu"}
    of |= {"norm": "layernorm", "gated": False, "biases": True, "rotated": 0, **more}
    return Config(layers=layers, hidden=hidden, heads=heads, ffn=ffn, most_positions=int(str(of["positions"])), **of)  # type: ignore[arg-type]


def _clip(layers: int, hidden: int, heads: int, patch: int, text: tuple[int, int], image: int = 224) -> Pair:
    columns, text_heads = text
    eye = VisionSizes(layers, hidden, heads, patch, image, 0, activation="silu", first_norm=True, patch_bias=False)
    return Pair(eye, text_tower(12, columns, text_heads, 4 * columns), columns)


CLIP: dict[str, Pair] = {
    "clip-vit-b-32": _clip(12, 768, 12, 32, (512, 8)),
    "clip-vit-b-16": _clip(12, 768, 12, 16, (512, 8)),
    "clip-vit-l-14": _clip(24, 1024, 16, 14, (768, 12)),
    "clip-vit-l-14-336": _clip(24, 1024, 16, 14, (768, 12), 336),
    "siglip-base": Pair(
        VisionSizes(12, 768, 12, classes=0, ffn=3072, tokens=0),
        text_tower(12, 768, 12, 3072, vocab=32000, positions=64, activation="gelu"), 768, siglip=True,
    ),
}  # fmt: skip
"""Pairs by the name that the command line takes."""
