"""Networks by name as functions from sizes to a graph."""

from __future__ import annotations

from dataclasses import dataclass

from sim.base.errors import InputError, did_you_mean
from sim.graph import Graph
from workloads.bert import BertSizes, encoder_model
from workloads.encoder import takes
from workloads.networks.clip import CLIP, clip
from workloads.networks.config import Config
from workloads.networks.decoders import DECODERS
from workloads.networks.decoding import PHASES, TokenStep, decoder
from workloads.networks.encoders import ENCODED, encoded_model
from workloads.networks.form import Builder
from workloads.networks.linear_attention import LINEAR
from workloads.networks.mobilebert import mobilebert
from workloads.networks.mobilenet import mobilenet_v2
from workloads.networks.mobilevit import MOBILEVIT, mobilevit
from workloads.networks.reformer import reformer
from workloads.networks.relative_attention import RELATIVE
from workloads.networks.seq2seq import SEQ2SEQ, seq2seq
from workloads.networks.sparse_attention import SPARSE
from workloads.networks.swin import SWIN, swin
from workloads.networks.vision import VISION, vision

# Liu et al. 2019; Wang et al. 2020 (sentence-transformers/all-MiniLM-*); Jiao et al. 2020; Sanh et al. 2019; Lan et al.
# 2019; Conneau et al. 2020; Clark et al. 2020 (albert-*-v2: one layer's weights for all, tables of 128 columns).
ENCODERS: dict[str, BertSizes] = {
    "roberta-base": BertSizes(12, 768, 12, 3072, token_types=1, vocab=50265, positions=514),
    "roberta-large": BertSizes(24, 1024, 16, 4096, token_types=1, vocab=50265, positions=514),
    "distilroberta": BertSizes(6, 768, 12, 3072, token_types=1, vocab=50265, positions=514),
    "xlm-roberta-base": BertSizes(12, 768, 12, 3072, token_types=1, vocab=250002, positions=514),
    "xlm-roberta-large": BertSizes(24, 1024, 16, 4096, token_types=1, vocab=250002, positions=514),
    "electra-small": BertSizes(12, 256, 4, 1024, pooler=False, embedding_size=128),
    "electra-base": BertSizes(12, 768, 12, 3072, pooler=False),
    "minilm-l6": BertSizes(6, 384, 12, 1536),
    "minilm-l12": BertSizes(12, 384, 12, 1536),
    "tinybert-4": BertSizes(4, 312, 12, 1200),
    "tinybert-6": BertSizes(6, 768, 12, 3072),
    "albert-base": BertSizes(12, 768, 12, 3072, vocab=30000, embedding_size=128, shared=True),
    "albert-large": BertSizes(24, 1024, 16, 4096, vocab=30000, embedding_size=128, shared=True),
    "albert-xlarge": BertSizes(24, 2048, 16, 8192, vocab=30000, embedding_size=128, shared=True),
    "albert-xxlarge": BertSizes(12, 4096, 64, 16384, vocab=30000, embedding_size=128, shared=True),
}

PHASE_HELP = "generate is a run over many graphs: `carat run NAME --phase generate`, `sim.generate`"


MAX_DIGITS = 9
"""Digits of a number in a list."""


def _numbers(name: str, what: str, text: str) -> tuple[int, ...]:
    """Return the whole numbers of "8+0+8". Raises InputError."""
    parts = str(text).split("+") if text != "" else []
    if any(not part.isdecimal() or len(part) > MAX_DIGITS for part in parts):
        raise InputError(f"{name}: {what} is {text!r}, must be whole numbers joined by +, such as 100+7+33")
    return tuple(map(int, parts))


@dataclass(frozen=True)
class DecoderSizes:
    """Sizes that the builder of a decoder takes."""

    phase: str = "prefill"
    seq: int | None = None
    kv: int = 0
    batch: int = 1
    layers: int | None = None
    embeddings: bool = False
    head: bool | None = None
    seed: int = 0
    lengths: str = ""
    routing: str = ""
    dtype: str = "int8"


def decoder_model(name: str, config: Config) -> Builder:
    """Return the builder of one decoder; all of them have the same sizes."""

    def build(of: DecoderSizes) -> Graph:
        if of.phase not in PHASES:
            hint = PHASE_HELP if of.phase == "generate" else did_you_mean(str(of.phase), PHASES).strip()
            raise InputError(f"{name}: phase is {of.phase!r}, can be {', '.join(PHASES)} {hint}")
        new = of.seq if of.seq is not None else 1 if of.phase == "decode" else 128
        scored = of.phase == "decode" if of.head is None else of.head
        own = _numbers(name, "lengths", of.lengths), _numbers(name, "routing", of.routing)
        if own[0] and (of.kv or of.batch not in (1, len(own[0]))):
            raise InputError(f"{name}: lengths {of.lengths} replace kv and batch (nearest: leave out kv and batch)")
        step = TokenStep(new, max(own[0], default=of.kv), len(own[0]) or of.batch, of.seed, *own)
        return decoder(name, config, step, layers=of.layers, embeddings=of.embeddings, head=scored, dtype=of.dtype)

    build.__name__ = build.__qualname__ = name.replace("-", "_").replace(".", "_")
    build.__doc__ = (
        f"Return {name} in a ``phase``, prefill or decode. Raises InputError for illegal sizes.\n\n"
        "``seq``: new tokens of each of ``batch`` sequences (prefill 128, decode 1), ``kv``: tokens whose keys are\n"
        "cached before. ``layers`` cuts the stack, ``embeddings`` and ``head`` (decode: on) add its ends, ``seed``:\n"
        "of the tokens' experts or ``routing``: tokens of each, '8+0+8'. ``lengths``: cached tokens of each sequence\n"
        "of a decode step, '100+7+33', instead of ``kv`` and ``batch``. ``dtype``: element type."
    )
    return takes(DecoderSizes)(build)


NETWORKS: dict[str, Builder] = {
    **{name: encoder_model(name, model) for name, model in ENCODERS.items()},
    **LINEAR,
    **SPARSE,
    **RELATIVE,
    **{name: decoder_model(name, config) for name, config in DECODERS.items()},
    **{name: encoded_model(name, config) for name, config in ENCODED.items()},
    **{name: seq2seq(name, model) for name, model in SEQ2SEQ.items()},
    "mobilebert": mobilebert,
    "reformer-enwik8": reformer,
    "mobilenet-v2": mobilenet_v2,
    **{name: mobilevit(name, sizes) for name, sizes in MOBILEVIT.items()},
    **{name: swin(name, sizes) for name, sizes in SWIN.items()},
    **{name: clip(name, pair) for name, pair in CLIP.items()},
    **{name: vision(name, sizes) for name, sizes in VISION.items()},
}
"""Networks in addition to `workloads.WORKLOADS`, by their command-line name."""
