"""The layer graph of a trained encoder: BERT's order, in which LayerNorm follows the residual add.

It differs from `workloads.encoder` (the order of Gemmini's benchmark, LayerNorm before the add), because its values
must be right. `Engines` chooses the operators computed in integers on the array; operations that the array's units lack
are realised by block-sparse products with diagonal matrices: widening int8 to the int32 that the normaliser and the
integer GELU need (times an identity), and LayerNorm's gain and shift (times a diagonal, plus a bias).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.graph import Graph
from workloads.checkpoint.array import ArrayEncoder
from workloads.checkpoint.centred import constants
from workloads.checkpoint.decoder_layers import DecoderLayers
from workloads.checkpoint.form import IDENTITY, MASK, Engines, Form
from workloads.checkpoint.layers import Encoder, WideEncoder
from workloads.checkpoint.model import Checkpoint
from workloads.checkpoint.vision_layers import VisionLayers

__all__ = ["MASK", "Engines", "Form", "encoded", "graph", "graph_and_weights"]

Array = npt.NDArray[Any]


def encoded(model: Checkpoint) -> str:
    """Return the name of the encoder's output tensor, [tokens, hidden]."""
    return f"L{model.layers - 1}.output"


def graph(model: Checkpoint, seq: int, engines: Engines | None = None, form: Form | None = None) -> Graph:
    """Return the graph of ``model``, its head included, on ``seq`` tokens of one sequence.

    Raises InputError for an illegal length.
    """
    return graph_and_weights(model, seq, engines, form)[0]


def graph_and_weights(
    model: Checkpoint, seq: int, engines: Engines | None = None, form: Form | None = None
) -> tuple[Graph, dict[str, Array]]:
    """Return the graph as `graph`, and those of its weights that the checkpoint lacks or has in another form."""
    engines, form = engines or Engines(), form or Form()
    if form.past and seq > 1:
        raise InputError(f"{model.name}: {seq} tokens with a cache; only one at a time is supported (nearest: 1)")
    if form.cache and not form.past + seq <= form.cache <= model.positions:
        raise InputError(f"{model.name}: a cache of {form.cache} keys for {form.past + seq} tokens")
    if not 1 <= seq <= model.positions:
        nearest = min(max(seq, 1), model.positions)
        raise InputError(f"{model.name}: {seq} tokens; 1 to {model.positions} have a position (nearest: {nearest})")
    if model.vision is not None and seq != model.vision.tokens:
        raise InputError(f"{model.name}: {seq} tokens; an image has {model.vision.tokens}")
    if model.decoder is not None:
        if engines != Engines():
            raise InputError(
                f"{model.name}: norms and activations of decoders run on the host, as do those of vision transformers; "
                "the array computes products (nearest: without --gelu, --layernorm and --embeddings)"
            )
        layers = (DecoderLayers if model.vision is None else VisionLayers)(model, seq, engines, form).build()
        return layers, _constants(model, layers)
    if form.residual == "int32" and engines.layernorm == "array":
        build = ArrayEncoder(model, seq, engines, form)
        layers = build.build()
        return layers, {**build.values, **constants(build.tensors, build.values)}
    layers = (WideEncoder if form.residual == "int32" else Encoder)(model, seq, engines, form).build()
    return layers, _constants(model, layers)


def _constants(model: Checkpoint, layers: Graph) -> dict[str, Array]:
    """Return identities, gains and shifts, and weights whose rows are repeated for split columns."""
    found: dict[str, Array] = {}
    for tensor in layers.tensors.values():
        name = tensor.name
        if name.startswith(IDENTITY):
            found[name] = np.eye(tensor.shape[0], dtype=np.float32)
        elif name.endswith(".gain"):
            found[name] = np.diag(model.weights[name.removesuffix(".gain") + ".weight"])
        elif name.endswith(".shift"):
            found[name] = model.weights[name.removesuffix(".shift") + ".bias"]
    split = {op.output.tensor: op.attrs["copies"] for op in layers.ops if op.attrs.get("copies")}
    for op in layers.ops:
        if op.is_matmul and op.inputs[0].tensor in split:
            weights = model.weights[op.inputs[1].tensor]
            found[op.inputs[1].tensor] = np.concatenate([weights, weights[list(split[op.inputs[0].tensor])]])
    return {**found, **constants([*layers.tensors.values()], {**model.weights, **found})}
