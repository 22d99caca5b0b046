"""Decoders in their phases, and encoders of the same layers.

Prefill writes the KV cache and reads it, a decode step appends to it and reads it.

The cache of a layer is a state [sequences, keys, columns] that outlives the graph: K and V (K behind its rotary
embedding) are written there in place, as many rows as there are new tokens behind those that are there. A sliding
window keeps as many rows as it sees, the oldest is overwritten. Tokens of one graph are masked causally: a matrix
[queries, keys] of sums is added to all scores as they are computed; one token sees all keys and has no mask. ALiBi's
bias [heads, queries, keys], the mask in it, is given and added in the same way. Scores that a tanh bounds have the mask
added behind it. Layers that see a window and layers that see all keys have caches of their own lengths.

By default a prefill is its layers on embedded tokens, what published MACs count, and a decode step also gives the
scores of all words for the next token. ``embeddings`` adds the look-ups, ``head`` the scores. GELU of either form is
one operator, which the I-BERT polynomial stands for on the array.

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
from workloads.networks.decoding.step import PHASES, Step, problems_of

__all__ = ["PHASES", "Step", "decoder"]


def decoder(
    name: str,
    config: Config,
    step: Step,
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
