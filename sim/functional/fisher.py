"""The diagonal Fisher information of a model's weights, from calibration sequences: for second-order saliency.

Mean over sequences of the squared gradient of the log-likelihood of an answer that is drawn from what the model says:
a label from a classifier's softmax, yes or no from each label of several, a number around a regression's, and where
there is no such head numbers of variance 1 around the encoder's output (Martens, 1412.1193, sections 5 and 9).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.functional import host
from sim.functional.gradients import backward, check
from sim.graph.kinds.elementwise import sigmoid

if TYPE_CHECKING:
    from sim.graph import Graph
    from workloads.checkpoint.head import Head

Array = npt.NDArray[Any]


def fisher(
    sequences: Iterable[tuple[Graph, Mapping[str, Array]]],
    head: Head | None,
    encoded: str,
    of_model: tuple[float, int],
    seed: int = 0,
) -> dict[str, Array]:
    """Return by weight matrix, embedding tables among them, the means of squared gradients.

    ``sequences``: the graph of each with what it is given. ``encoded``: the tensor that an encoder ends with.
    ``of_model``: epsilon and columns of a head. Raises InputError for an operator without a gradient.
    """
    rng = np.random.default_rng(seed)
    sums: dict[str, Array] = {}
    count = 0
    for graph, given in sequences:
        check(graph)
        matrices = [name for name, t in graph.tensors.items() if t.kind == "weight" and len(t.shape) == 2]
        values = host.forward(graph, given, *of_model)
        last = graph.ops[-1].output.tensor
        decides = head is not None and head.kind != "pooler"
        start = (
            {last: drawn(values[last], head, rng)}
            if decides and head
            else {encoded: rng.standard_normal(values[encoded].shape)}
        )
        for name, gradient in backward(graph, values, start, matrices, of_model).items():
            sums[name] = sums.get(name, 0.0) + gradient**2
        count += 1
    return {name: (total / count).astype(np.float32) for name, total in sums.items()}


def drawn(logits: Array, head: Head, rng: np.random.Generator) -> Array:
    """Return the gradient of the log-likelihood of a drawn answer by the logits [rows, labels]."""
    x = logits.astype(np.float64)
    if head.problem == "regression":
        return rng.standard_normal(x.shape)
    if head.problem == "multi_label_classification":
        shares = sigmoid(x).astype(np.float64)
        return np.asarray((rng.random(x.shape) < shares) - shares)
    x = x.T if head.kind == "span" else x  # start and end are each drawn from all tokens
    shares = np.exp(x - x.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    places = (shares.cumsum(axis=1) < rng.random((len(x), 1))).sum(axis=1).clip(max=x.shape[1] - 1)
    found = -shares
    found[np.arange(len(x)), places] += 1
    return np.asarray(found.T if head.kind == "span" else found)
