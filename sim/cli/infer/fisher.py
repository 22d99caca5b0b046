"""`carat infer --fisher FILE`: the weights of a model with their diagonal Fisher information, for pruning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from sim.base.errors import InputError
from sim.base.files import write_arrays
from sim.functional import gradients, tokens
from sim.functional.fisher import fisher
from sim.run.progress import Progress, silent
from sim.sparsity.edits.saliency import FISHER
from workloads.checkpoint import TABLES
from workloads.checkpoint.graph import Form, encoded, graph_and_weights

if TYPE_CHECKING:
    from sim.graph import Graph
    from workloads.checkpoint import Checkpoint

Array = npt.NDArray[Any]

FORM = Form(residual="int32")
"""Operators as the published models have them, in float."""


def check(path: Path, model: Checkpoint) -> None:
    """Raise InputError for a name that is no .npz, and for a model whose gradients are not computed."""
    if path.suffix != ".npz":
        raise InputError(f"--fisher {path}: a name that ends in .npz is needed (nearest: {path.with_suffix('.npz')})")
    gradients.check(graph_and_weights(model, model.vision.tokens if model.vision else 1, form=FORM)[0])


def write(
    path: Path, model: Checkpoint, sequences: Sequence[tokens.Sequence], seed: int, progress: Progress = silent
) -> str:
    """Write the arrays NAME and NAME.fisher of every matrix; return a line that says so. Raises InputError."""

    def given() -> Iterator[tuple[Graph, Mapping[str, Array]]]:
        for number, ids in enumerate(sequences):
            progress(number, len(sequences), "gradients")
            graph, more = graph_and_weights(model, len(ids), form=FORM)
            yield graph, {**tokens.inputs(model, ids), **more}
        progress(len(sequences), len(sequences), "")

    found = fisher(given(), model.head, encoded(model), (model.epsilon, model.head_dim), seed)
    arrays = {f"{name}_table" if name in TABLES else name: values for name, values in model.weights.items()}
    whole = {**arrays, **{name + FISHER: values for name, values in found.items()}}
    write_arrays(path, whole)
    return f"Kept in {path}: weights and diagonal Fisher information of {len(found)} matrices (--prune ... --weights)"
