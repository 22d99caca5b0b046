"""Configurations of networks of windows and mobile networks.

Networks that exist in one published size only are accepted if every key has that size.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.base.errors import InputError
from workloads.networks import mobilebert, reformer
from workloads.networks.hugging_face.form import Builder, Fixed, ModelType, Sizes
from workloads.networks.mobilevit import MOBILEVIT, mobilevit
from workloads.networks.swin import CLASSES, Swin, swin


def swin_of(name: str, s: Sizes) -> Builder:
    """Swin of any stages."""
    depths, heads = (tuple(s[key]) if isinstance(s.get(key), list) else () for key in ("depths", "num_heads"))
    if not depths or len(depths) != len(heads) or not all(isinstance(n, int) and 1 <= n <= 64 for n in depths + heads):
        raise InputError("depths and num_heads must be lists of equal length, of whole numbers from 1 to 64")
    labels = s.get("id2label")
    if labels is not None and len(labels) != CLASSES:
        raise InputError(f"id2label names {len(labels)} classes, must be {CLASSES}")
    return swin(name, Swin(depths, s["embed_dim"], heads))


def mobilevit_of(name: str, s: Sizes) -> Builder:
    """One of the published MobileViTs."""
    given = (
        tuple(s.get("neck_hidden_sizes") or ()),
        tuple(s.get("hidden_sizes") or ()),
        float(s.get("expand_ratio", 4.0)),
    )
    for sizes in MOBILEVIT.values():
        if given == ((16, *sizes.channels, sizes.last), sizes.hidden, float(sizes.ratio)):
            return mobilevit(name, sizes)
    raise InputError(
        f"neck_hidden_sizes {list(given[0])}, hidden_sizes {list(given[1])}, expand_ratio {given[2]:g} are those of "
        f"none of {', '.join(MOBILEVIT)}"
    )


def one_size(builder: Builder) -> Callable[[str, Sizes], Builder]:
    """Return the builder function of a network with one published size, which its ``fixed`` keys hold."""
    return lambda name, sizes: builder


SWIN: tuple[dict[str, int | None], Fixed] = (
    {"embed_dim": None},
    {"window_size": (7,), "patch_size": (4,), "num_channels": (3,), "mlp_ratio": (4.0, 4), "qkv_bias": (True,),
     "use_absolute_embeddings": (False,), "hidden_act": ("gelu",), "image_size": (224,)},
)  # fmt: skip
MOBILEVIT_KEYS: tuple[dict[str, int | None], Fixed] = (
    {},
    {"hidden_act": ("silu",), "num_channels": (3,), "patch_size": (2,), "num_attention_heads": (4,),
     "mlp_ratio": (2.0, 2), "conv_kernel_size": (3,), "qkv_bias": (True,), "output_stride": (32,)},
)  # fmt: skip
MOBILEBERT: tuple[dict[str, int | None], Fixed] = (
    {},
    {"num_hidden_layers": (mobilebert.LAYERS,), "hidden_size": (mobilebert.HIDDEN,),
     "num_attention_heads": (mobilebert.HEADS,), "intermediate_size": (mobilebert.FFN,),
     "intra_bottleneck_size": (mobilebert.INNER,), "embedding_size": (mobilebert.INNER,),
     "num_feedforward_networks": (mobilebert.NETWORKS,), "vocab_size": (mobilebert.VOCAB,),
     "max_position_embeddings": (mobilebert.POSITIONS,), "hidden_act": ("relu",), "normalization_type": ("no_norm",),
     "use_bottleneck": (True,), "use_bottleneck_attention": (False,), "key_query_shared_bottleneck": (True,),
     "trigram_input": (True,), "classifier_activation": (False,)},
)  # fmt: skip
REFORMER: tuple[dict[str, int | None], Fixed] = (
    {},
    {"attn_layers": (["local" if kind == "local" else "lsh" for kind in reformer.LAYERS],),
     "hidden_size": (reformer.HIDDEN,), "num_attention_heads": (reformer.HEADS,), "feed_forward_size": (reformer.FFN,),
     "attention_head_size": (reformer.SIZE,), "vocab_size": (reformer.VOCAB,),
     "num_hidden_layers": (len(reformer.LAYERS),),
     "axial_pos_shape": ([rows for rows, _ in reformer.AXES],),
     "axial_pos_embds_dim": ([cols for _, cols in reformer.AXES],),
     "hidden_act": ("relu",), "is_decoder": (True,)},
)  # fmt: skip

OTHERS: dict[str, ModelType] = {
    "swin": ModelType(SWIN[0], swin_of, SWIN[1]),
    "mobilevit": ModelType(MOBILEVIT_KEYS[0], mobilevit_of, MOBILEVIT_KEYS[1]),
    "mobilebert": ModelType(MOBILEBERT[0], one_size(mobilebert.mobilebert), MOBILEBERT[1]),
    "reformer": ModelType(REFORMER[0], one_size(reformer.reformer), REFORMER[1]),
}
"""Model types with windows, or one published size."""
