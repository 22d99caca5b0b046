"""Heads, neurons, columns or layers that pruning keeps: the most salient, by given scores or the weights' magnitude.

Scores have a name and a value per candidate: "L0.heads" [heads], "L0.ffn" [neurons], "L0.head_dim" [head_dim],
"layers" [layers], "hidden" [hidden], and "L0.FF1.columns" [N], "L0.FF2.rows" [K] of a weight pruned by name. From
weights (by tensor name, [K, N]) the score is the sum of squares of all weights removed with the candidate: those that
the edit of the graph (`prune`) would narrow, and for "hidden" rows or columns of every matrix that reads or writes the
feature, embedding tables included (biases, gains and shifts of LayerNorm do not count). With a gradient for each matrix
("NAME.gradient") it is the square of the sum of weight times gradient (first order; Molchanov et al., 1906.10771), with
the mean of squared gradients ("NAME.fisher", diagonal Fisher) half the sum of squared weights times it (second order:
the increase of the loss; Theis et al., 1801.05787). `select` returns the indices kept, ascending; `cut` removes the
others from the matrices, so that the pruned graph computes the same as the whole graph with them set to zero, except
that LayerNorm takes mean and variance over the remaining features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError, by_reason, did_you_mean, some
from sim.base.files import write_arrays
from sim.graph import Graph
from sim.sparsity.edits.prune import narrowed
from sim.sparsity.edits.pruning import SIDES, Named, Pruning
from sim.sparsity.structure import attention_blocks, neurons, weighted

Array = npt.NDArray[Any]
GRADIENT, FISHER = ".gradient", ".fisher"
"""Suffixes of the arrays of gradients, which have the shape of the weights."""

Selection = dict[str, Array]
"""Name of the scores -> indices kept, ascending."""


@dataclass(frozen=True)
class Choice:
    """``count`` candidates, of which ``kept`` are kept.

    ``owner``: the candidate at each place at which the matrices of ``cut`` (name -> axis) are cut, int[places].
    """

    count: int
    kept: int
    owner: Array
    cut: Mapping[str, int]


def choices(graph: Graph, pruning: Pruning) -> dict[str, Choice]:
    """Return every choice of ``pruning`` by the name of its scores, without those that keep all.

    Raises InputError if an operator needs the whole dimension.
    """
    found: dict[str, Choice] = {}
    if pruning.heads is not None or pruning.head_dim is not None:
        for scores, _, _ in attention_blocks(graph):
            at = f"L{scores.layer}"
            if f"{at}.heads" in found or f"{at}.head_dim" in found:
                continue  # each sequence of a batch has its own scores operator, with the same weights
            shared = [graph.tensors[view.tensor].shape[-1] // view.cols for view in scores.inputs[:2]]
            if shared[0] != shared[1]:
                raise InputError(
                    f"{scores.name}: {shared[0]} heads of Q share {shared[1]} of K: the groups to remove cannot "
                    "be chosen by weights (nearest: without weights, which removes the last groups)"
                )
            places, cut = narrowed(graph, "heads", scores)
            heads, size = scores.output.batch, scores.inputs[0].cols
            if pruning.heads is not None:
                found[f"{at}.heads"] = Choice(heads, pruning.heads, np.arange(places) // size, cut)
            if pruning.head_dim is not None:
                found[f"{at}.head_dim"] = Choice(size, pruning.head_dim, np.arange(places) % size, cut)
    if pruning.ffn is not None:
        active = neurons(graph)
        layers = Counter(op.layer for op in active)
        for op in active:
            places, cut = narrowed(graph, "ffn", op)
            at = f"L{op.layer}" if layers[op.layer] == 1 else op.name  # experts of a layer
            found[f"{at}.ffn"] = Choice(places, pruning.ffn, np.arange(places), cut)
    if pruning.hidden is not None:
        places, cut = narrowed(graph, "hidden")
        found["hidden"] = Choice(places, pruning.hidden, np.arange(places), cut)
    for one in pruning.named:
        for op in one.matmuls(graph):
            places, cut = narrowed(graph, one.side, op)
            found[f"{op.name}.{one.side}"] = Choice(places, one.kept, np.arange(places), cut)
    if pruning.layers is not None:
        depth = len(_layers(graph))
        found["layers"] = Choice(depth, pruning.layers, np.zeros(0, np.int64), {})
    return {name: choice for name, choice in found.items() if choice.kept != choice.count}


def magnitudes(graph: Graph, weights: Mapping[str, Array], pruning: Pruning) -> dict[str, Array]:
    """Return the scores of all candidates of ``pruning``.

    Raises InputError for weights that are missing or of another shape.
    """
    requested = choices(graph, pruning)
    needed = {name for choice in requested.values() for name in choice.cut}
    if "layers" in requested:
        needed |= {name for names in _layers(graph).values() for name in names}
    _complete(graph, weights, needed)
    parts, first_order = _parts(weights, needed)
    found: dict[str, Array] = {}
    for name, choice in requested.items():
        each = [parts[weight].sum(axis=1 - axis) for weight, axis in choice.cut.items()]
        found[name] = np.bincount(choice.owner, np.sum(each, axis=0), choice.count)
    if "layers" in requested:
        sums = [sum(float(parts[name].sum()) for name in names) for names in _layers(graph).values()]
        found["layers"] = np.array(sums)
    return {name: values**2 for name, values in found.items()} if first_order else found


def _parts(weights: Mapping[str, Array], needed: Iterable[str]) -> tuple[dict[str, Array], bool]:
    """Return each weight's part of a score, and whether the sum of parts is squared (first order).

    Raises InputError if only some weights have gradients, or gradients have another shape or are of both kinds.
    """
    names = sorted(needed)
    given = {ending: [name for name in names if name + ending in weights] for ending in (GRADIENT, FISHER)}
    if given[GRADIENT] and given[FISHER]:
        raise InputError(f"weights: both {GRADIENT} and {FISHER} are given; give only one")
    values = {name: np.asarray(weights[name], np.float64) for name in names}
    ending = next((one for one in given if given[one]), None)
    if ending is None:
        return {name: array**2 for name, array in values.items()}, False
    problems = []
    for name in names:
        beside = np.asarray(weights.get(name + ending, np.zeros(0)))
        if name not in given[ending]:
            problems.append(f"weights: {name + ending!r} is missing, but {given[ending][0] + ending!r} is given")
        elif beside.shape != values[name].shape or beside.dtype.kind not in "iuf" or not np.isfinite(beside).all():
            problems.append(
                f"weights: {name + ending!r} must be {values[name].shape} finite numbers, has shape {beside.shape}, "
                f"type {beside.dtype}"
            )
        elif ending == FISHER and beside.min() < 0:
            problems.append(f"weights: {name + ending!r} is negative; means of squared gradients must be >= 0")
    if problems:
        raise InputError(some(problems))
    if ending == GRADIENT:
        return {name: array * weights[name + ending] for name, array in values.items()}, True
    return {name: array**2 * weights[name + ending] / 2 for name, array in values.items()}, False


def _layers(graph: Graph) -> dict[int, list[str]]:
    """Return the matrices of each layer, in order."""
    layers: dict[int, list[str]] = {op.layer: [] for op in graph.ops if op.layer is not None}
    for op in weighted(graph):
        if op.layer is not None:
            layers[op.layer].append(op.inputs[1].tensor)
    return dict(sorted(layers.items()))


def _complete(graph: Graph, weights: Mapping[str, Array], needed: Iterable[str]) -> None:
    products = {op.inputs[1].tensor: (op.mnk[2], op.mnk[1]) for op in weighted(graph)}
    wrong = []
    missing = [name for name in graph.tensors if name in needed and name not in weights]
    for name in (name for name in graph.tensors if name in needed and name in weights):
        shape = products.get(name, graph.tensors[name].shape)
        if np.shape(weights[name]) != shape:
            wrong.append((name, f"shape {np.shape(weights[name])}, {graph.name} takes {shape}"))
        elif not np.isfinite(weights[name]).all():
            wrong.append((name, "values that are no finite numbers (NaN, infinity)"))
    problems = [f"weights: {_first(missing)} missing{did_you_mean(missing[0], weights)}"] if missing else []
    problems += [f"weights: {names}: {reason}" for names, reason in by_reason(wrong)]
    if problems:
        raise InputError(some(problems))


def _first(names: list[str]) -> str:
    """Return the first names as text."""
    return by_reason([(repr(name), "") for name in names])[0][0]


def choose(graph: Graph, pruning: Pruning) -> Selection:
    """Return the indices kept by the scores or weights of ``pruning``; empty without either.

    ``graph``: the whole one. Raises InputError for arrays that do not fit it.
    """
    if pruning.scores is not None:
        return select(graph, pruning, pruning.scores)
    if pruning.weights is not None:
        return select(graph, pruning, magnitudes(graph, pruning.weights, pruning))
    return {}


def write_selection(chosen: Mapping[str, Array], path: Path) -> None:
    """Write the indices kept to a .npz file, whole or not at all. Raises InputError."""
    write_arrays(path, chosen)


def lines(chosen: Mapping[str, Array], most: int = 12) -> list[str]:
    """Return a line per choice, "L0.heads: 8 kept: 0 1 3 4 5 7 9 11"."""
    found = []
    for name, stay in chosen.items():
        rest = f" and {len(stay) - most} more" if len(stay) > most else ""
        found.append(f"{name}: {len(stay)} kept: {' '.join(map(str, stay[:most]))}{rest}")
    return found


def select(graph: Graph, pruning: Pruning, scores: Mapping[str, Array]) -> Selection:
    """Return the most salient candidates that ``pruning`` keeps, per layer; of equals the first are kept.

    Raises InputError if scores are missing, have another length than the candidates, or are no numbers.
    """
    requested, found = choices(graph, pruning), {}
    missing = [name for name in requested if name not in scores]
    problems = [f"saliency: no scores {_first(missing)}{did_you_mean(missing[0], scores)}"] if missing else []
    for name, choice in ((name, choice) for name, choice in requested.items() if name in scores):
        values = np.asarray(scores[name])
        numbers = values.dtype.kind in "iufb"
        if not numbers or values.shape != (choice.count,) or not np.isfinite(values).all():
            kind = f"has shape {values.shape}, type {values.dtype}"
            problems.append(f"saliency: {name!r} must be {choice.count} finite numbers, {kind}")
        elif not 1 <= choice.kept <= choice.count:
            nearest = min(max(choice.kept, 1), choice.count)
            problems.append(f"saliency: {choice.kept} of {choice.count} {name!r} cannot be kept (nearest: {nearest})")
        else:
            found[name] = np.sort(np.argsort(-values.astype(np.float64), kind="stable")[: choice.kept])
    if problems:
        raise InputError(some(problems))
    return found


def cut(graph: Graph, weights: Mapping[str, Array], chosen: Selection) -> dict[str, Array]:
    """Return the matrices of the pruned graph, without the removed rows and columns (layers are left to the caller).

    ``graph``: the whole one. Raises InputError for weights that are missing.
    """
    sides = [name.rpartition(".") for name in chosen]
    parts: dict[str, Any] = {part: 0 for _, _, part in sides if part not in (*SIDES, "layers")}
    named = tuple(Named(op, side, 0) for op, _, side in sides if side in SIDES)
    made = {name: choice for name, choice in choices(graph, Pruning(**parts, named=named)).items() if name in chosen}
    _complete(graph, weights, {name for choice in made.values() for name in choice.cut})
    stays: dict[tuple[str, int], Array] = {}
    for name, choice in made.items():
        kept = np.isin(choice.owner, chosen[name])
        for weight, axis in choice.cut.items():
            stays[weight, axis] = kept & stays.get((weight, axis), True)
    left = {name: np.asarray(values) for name, values in weights.items()}
    for (weight, axis), kept in stays.items():
        left[weight] = np.compress(kept, left[weight], axis)
    return left
