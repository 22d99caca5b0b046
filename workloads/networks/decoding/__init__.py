"""Decoders in their phases, and encoders of the same layers.

Prefill writes the KV cache and reads it, a decode step appends to it and reads it.

The cache of a layer is a state [sequences, keys, columns] that outlives the graph: K and V (K behind its rotary
embedding) are written there in place, one row per new token after the existing ones. With a sliding window the cache
has as many rows as the window; the oldest is overwritten. The tokens of one graph have a causal mask: a matrix
[queries, keys] of sums is added to all scores as they are computed; one token sees all keys and has no mask. ALiBi's
bias [heads, queries, keys], which includes the mask, is given and added in the same way. For scores bounded by a tanh
the mask is added after it. Caches of layers with a window and of layers that see all keys have different lengths.

By default a prefill consists of the layers on embedded tokens, as in published MAC counts, and a decode step also gives
the scores of all words for the next token. ``embeddings`` adds the look-ups, ``head`` the scores. Both forms of GELU
are one operator, computed on the array by the I-BERT polynomial.

An encoder has the same layers without a cache: each token sees all others, or a window of them by a given mask.
"""

from __future__ import annotations

from sim.base.errors import InputError
from sim.graph import Graph, Tensor
from workloads.encoder import check_sizes
from workloads.networks.builder import Network
from workloads.networks.config import Config
from workloads.networks.decoding.ends import embedded, scores
from workloads.networks.decoding.layer import addend, layer
from workloads.networks.decoding.step import PHASES, TokenStep, problems_of

__all__ = ["PHASES", "TokenStep", "decoder"]


def decoder(
    name: str,
    config: Config,
    step: TokenStep,
    *,
    layers: int | None = None,
    embeddings: bool = False,
    head: bool = False,
    dtype: str = "int8",
) -> Graph:
    """Return the graph of one step of a decoder. Raises InputError listing all illegal sizes."""
    depth = config.layers if layers is None else layers
    check_sizes(name, {"seq": step.new, "batch": step.batch, "layers": depth}, dtype)
    if problems := problems_of(name, config, step, embeddings):
        raise InputError(problems)
    net = Network(name, dtype)
    x = embedded(net, config, step) if embeddings else net.input("input", step.batch * step.new, config.hidden)
    addends: dict[int, Tensor | None] = {}
    for index in range(depth):
        of = config.of_layer(index)
        keys = of.window if step.encodes else step.keys(of)
        if keys not in addends:
            addends[keys] = addend(net, of, step)
        with net.layer_of(index):
            x = layer(net, of, step, x, addends[keys], normed=config.word_norm_first and index == 0)
    if config.norms_at != "behind":
        x = net.norm(x, config.norm, name="last_norm", weights=config.norm_weights)
    if head:
        scores(net, config, step, x)
    return net.graph()
