"""Which heads, neurons, columns or layers stay: the most salient ones, by given scores or by the weights' magnitude.

Scores have a name and a value per candidate: "L0.heads" [heads], "L0.ffn" [neurons], "L0.head_dim" [head_dim],
"layers" [layers], and "L0.FF1.columns" [N], "L0.FF2.rows" [K] of a weight pruned by name. From weights (by tensor name,
[K, N]) the score is the sum of squares of all that would go with the candidate. `select` gives the numbers that stay,
ascending; `cut` takes them out of the weights, so that the pruned graph computes what the whole one does with the
others set to zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.errors import InputError, did_you_mean
from sim.graph import Graph, Op
from sim.sparsity.prune import SIDES, Pruning, narrowed, weighted
from sim.sparsity.structure import attention_blocks

Array = npt.NDArray[Any]
Selection = dict[str, Array]
"""Name of the scores -> numbers that stay, ascending."""


def _projections(graph: Graph, block: tuple[Op, Op, Op]) -> tuple[list[str], list[str]]:
    """Return the weights whose columns are heads (Q, K, V) and those whose rows are (behind the context)."""
    scores, _, context = block
    views = (*scores.inputs, context.inputs[1])
    before = [op.inputs[1].tensor for view in views for op in graph.producers(view.tensor)]
    return before, [op.inputs[1].tensor for op in graph.consumers(context.output.tensor)]


def _feed_forward(graph: Graph, gelu: Op) -> tuple[str, str]:
    (first,), (second,) = graph.producers(gelu.inputs[0].tensor), graph.consumers(gelu.output.tensor)
    return first.inputs[1].tensor, second.inputs[1].tensor


def magnitudes(graph: Graph, weights: Mapping[str, Array], pruning: Pruning | None = None) -> dict[str, Array]:
    """Return the scores of everything that can be pruned; of rows and columns, of what ``pruning`` names.

    Raises InputError for weights that are missing.
    """
    _complete(graph, weights)
    squares = {name: np.asarray(values, np.float64) ** 2 for name, values in weights.items()}
    found: dict[str, Array] = {}
    layers: dict[int, float] = {}
    for op in graph.ops:
        if op.layer is not None and op.kind == "matmul" and op.inputs[1].tensor in squares:
            layers[op.layer] = layers.get(op.layer, 0.0) + float(squares[op.inputs[1].tensor].sum())
    for block in attention_blocks(graph):
        before, behind = _projections(graph, block)
        heads = block[0].output.batch
        columns = np.sum([squares[name].sum(axis=0) for name in before], axis=0)
        columns = columns + np.sum([squares[name].sum(axis=1) for name in behind], axis=0)
        by_head = columns.reshape(heads, -1)
        found[f"L{block[0].layer}.heads"] = by_head.sum(axis=1)
        found[f"L{block[0].layer}.head_dim"] = by_head.sum(axis=0)
    for gelu in (op for op in graph.ops if op.kind == "gelu"):
        first, second = _feed_forward(graph, gelu)
        found[f"L{gelu.layer}.ffn"] = squares[first].sum(axis=0) + squares[second].sum(axis=1)
    for one in pruning.named if pruning is not None else ():
        for op in one.matmuls(graph):
            sides = _sides(graph, op.name, one.side).items()
            found[f"{op.name}.{one.side}"] = np.sum([squares[name].sum(axis=1 - axis) for name, axis in sides], axis=0)
    found["layers"] = np.array([layers[layer] for layer in sorted(layers)])
    return found


def _complete(graph: Graph, weights: Mapping[str, Array]) -> None:
    problems = []
    for op in graph.ops:
        if op.kind != "matmul" or graph.tensors[op.inputs[1].tensor].kind != "weight":
            continue
        name, (_, n, k) = op.inputs[1].tensor, op.mnk
        if name not in weights:
            problems.append(f"weights: {name!r} is missing{did_you_mean(name, weights)}")
        elif np.shape(weights[name]) != (k, n):
            problems.append(f"weights: {name!r} has shape {np.shape(weights[name])}, {op.name} takes {(k, n)}")
    if problems:
        raise InputError(problems)


def choose(
    graph: Graph, pruning: Pruning, scores_file: str | Path | None = None, weights_path: str | Path | None = None
) -> Selection:
    """Return what stays by a file of scores (.npz), or by the magnitude of weights on disk.

    ``weights_path``: a folder with a checkpoint (`workloads.checkpoint`), or a .safetensors or .npz file of matrices
    [K, N] by tensor name. Raises InputError for what cannot be read, or does not fit.
    """
    from sim.sparsity import measured
    from workloads import checkpoint

    if (scores_file is None) == (weights_path is None):
        raise InputError("give either a file of scores (--saliency) or weights (--weights), not both")
    if scores_file is not None:
        return select(graph, pruning, measured.read(Path(scores_file)))
    path = Path(str(weights_path))
    weights: Mapping[str, Array] = checkpoint.load(path).weights if path.is_dir() else measured.read(path)
    return select(graph, pruning, magnitudes(graph, weights, pruning))


def write_selection(chosen: Mapping[str, Array], path: Path) -> None:
    """Write the numbers that stay to a .npz file, whole or not at all. Raises InputError."""
    partial = path.with_name(f".{path.name}.partial.npz")
    try:
        np.savez(partial, allow_pickle=False, **chosen)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def lines(chosen: Mapping[str, Array], most: int = 12) -> list[str]:
    """Return a line per choice, "L0.heads: 8 stay: 0 1 3 4 5 7 9 11"."""
    found = []
    for name, stay in chosen.items():
        rest = f" and {len(stay) - most} more" if len(stay) > most else ""
        found.append(f"{name}: {len(stay)} stay: {' '.join(map(str, stay[:most]))}{rest}")
    return found


def select(graph: Graph, pruning: Pruning, scores: Mapping[str, Array]) -> Selection:
    """Return the most salient ones that ``pruning`` keeps, per layer; of equals the first stay.

    Raises InputError where scores are missing, have another length than there are candidates, or are no numbers.
    """
    sizes: dict[str, tuple[int, int]] = {}
    for block in attention_blocks(graph):
        at, heads, size = f"L{block[0].layer}", block[0].output.batch, block[0].inputs[0].cols
        sizes |= {f"{at}.heads": (heads, pruning.heads or heads), f"{at}.head_dim": (size, pruning.head_dim or size)}
    for gelu in (op for op in graph.ops if op.kind == "gelu"):
        sizes[f"L{gelu.layer}.ffn"] = (gelu.output.cols, pruning.ffn or gelu.output.cols)
    for one in pruning.named:
        for op in one.matmuls(graph):
            sizes[f"{op.name}.{one.side}"] = narrowed(graph, op.name, one.side)[0], one.kept
    depth = len({op.layer for op in graph.ops if op.layer is not None})
    sizes["layers"] = (depth, pruning.layers or depth)
    problems, found = [], {}
    for name, (count, kept) in sizes.items():
        if kept == count:
            continue
        if name not in scores:
            problems.append(f"saliency: no scores {name!r}{did_you_mean(name, scores)}")
            continue
        values = np.asarray(scores[name], np.float64)
        if values.shape != (count,) or not np.isfinite(values).all():
            problems.append(f"saliency: {name!r} must be {count} finite numbers, has shape {values.shape}")
        elif not 1 <= kept <= count:
            problems.append(f"saliency: {kept} of {count} {name!r} cannot stay (nearest: {min(max(kept, 1), count)})")
        else:
            found[name] = np.sort(np.argsort(-values, kind="stable")[:kept])
    if problems:
        raise InputError(problems)
    return found


def cut(graph: Graph, weights: Mapping[str, Array], chosen: Selection) -> dict[str, Array]:
    """Return the weights of the pruned graph: rows and columns of what goes taken out (layers are left to the caller).

    ``graph``: the whole one. Raises InputError for weights that are missing.
    """
    _complete(graph, weights)
    left = {name: np.asarray(values) for name, values in weights.items()}
    for block in attention_blocks(graph):
        at, heads, size = f"L{block[0].layer}", block[0].output.batch, block[0].inputs[0].cols
        places = np.arange(heads * size).reshape(heads, size)
        stay = places[chosen.get(f"{at}.heads", np.arange(heads))][:, chosen.get(f"{at}.head_dim", np.arange(size))]
        before, behind = _projections(graph, block)
        left |= {name: left[name][:, stay.ravel()] for name in before}
        left |= {name: left[name][stay.ravel()] for name in behind}
    for gelu in (op for op in graph.ops if op.kind == "gelu"):
        stay = chosen.get(f"L{gelu.layer}.ffn", np.arange(gelu.output.cols))
        first, second = _feed_forward(graph, gelu)
        left |= {first: left[first][:, stay], second: left[second][stay]}
    for name, stay in chosen.items():
        op, _, side = name.rpartition(".")
        if side in SIDES:
            for weight, axis in _sides(graph, op, side).items():
                left[weight] = np.take(left[weight], stay, axis)
    return left


def _sides(graph: Graph, name: str, side: str) -> dict[str, int]:
    """Return the matrices [K, N] that lose rows (axis 0) or columns (1) with one side of a weight."""
    stored = narrowed(graph, name, side)[1]
    found = {}
    for op in weighted(graph):
        weight = op.inputs[1].tensor
        if weight in stored:
            found[weight] = int((stored[weight] == -1) != op.attrs["transpose_b"])
    return found
