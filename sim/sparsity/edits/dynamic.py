"""Attention whose mask depends on the data: the best keys of every query, found by a prediction that has a cost.

*topk* keeps ``k`` keys (or ``share`` of them) per query, *threshold* those whose predicted share of the softmax is
large enough; their number (``density``) is given, or a real ``mask`` [queries, keys] or [heads, queries, keys] comes
from a file. Masks drawn here are not learnt: the keys are random, their number is exact; for one seed masks are nested,
and every query keeps a key.

Each attention becomes five operators: *predict* (scores at low precision), *mask* (one bit per score), and scores,
softmax and context of the chosen scores. Scheme "pack" computes chosen scores only, on an array whose PEs select among
several weights (`sim.sparsity.masks.packing.sub_rows`); "skip" leaves out tiles that no query of a tile needs, on any
array. A pattern that keeps every key changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError, did_you_mean
from sim.graph import Graph, Op, Tensor, View
from sim.sparsity.edits import attention
from sim.sparsity.masks import files, patterns
from sim.sparsity.structure import attention_blocks
from sim.sparsity.table import read

Masks = npt.NDArray[np.bool_]
"""bool[heads, queries, keys]."""


@dataclass(frozen=True)
class Dynamic:
    """Keys per query (``k`` or ``share``), or ``density`` of all scores, or real masks by scores operator.

    ``tile``: tokens of a tile of scheme "skip". ``fixed``: a fixed pattern, packed without a prediction.
    """

    pattern: str
    k: int = 0
    share: float = 0.0
    density: float = 0.0
    scheme: str = "pack"
    tile: int = attention.DEFAULT_TILE
    seed: int = 0
    fixed: attention.Pattern | None = None
    given: Mapping[str, Masks] | None = field(default=None, compare=False, repr=False)
    digest: str = ""

    def kept(self, tokens: int) -> int:
        """Return the number of ``tokens`` that each query of a topk pattern keeps: at least one."""
        return min(tokens, self.k or max(1, round(self.share * tokens)))

    def masks(self, scores: str, heads: int, queries: int, keys: int) -> Masks:
        """Return the chosen scores of an attention."""
        if self.fixed is not None:
            return np.broadcast_to(self.fixed.mask(queries, keys), (heads, queries, keys))
        if self.given is not None:
            mask = self.given.get(scores, self.given.get("*"))
            assert mask is not None
            return np.broadcast_to(mask, (heads, queries, keys))
        return _drawn(self, scores, heads, queries, keys)

    def everything(self, queries: int, keys: int) -> bool:
        """Whether the pattern keeps every key, as far as known without a prediction."""
        if self.fixed is not None:
            return bool(self.fixed.mask(queries, keys).all())
        return self.given is None and (self.kept(keys) == keys if self.pattern == "topk" else self.density == 1)

    def remarks(self, graph: Graph) -> list[str]:
        """Return a remark for each shape of scores if tiles of scheme "skip" compute far more than are chosen."""
        found: dict[tuple[int, int, int], str] = {}
        for scores, _, _ in attention_blocks(graph):
            shape = scores.output.shape
            if self.scheme != "skip" or shape in found or problems(graph, self):
                continue
            masks = self.masks(scores.name, *shape)
            tiles = attention.Pattern("mask", tile=self.tile, given=np.asarray(masks.any(axis=0)))
            got = sum(len(rows) * sum(map(len, runs)) for rows, runs in tiles.runs(*shape[1:])) / (shape[1] * shape[2])
            if got > (1 + attention.FAR) * float(masks.mean()):
                found[shape] = (
                    f"attention {self.pattern}: {scores.name}: tiles of {self.tile} tokens compute {got:.4g} of the "
                    f"scores, {float(masks.mean()):.4g} are chosen (nearest: tile = {max(1, self.tile // 2)}, or "
                    "scheme pack)"
                )
        return list(found.values())


@lru_cache(maxsize=64)
def _drawn(pattern: Dynamic, scores: str, heads: int, queries: int, keys: int) -> Masks:
    """Return masks by random ranks: the best k of each query, or the best of all after one best key per query."""
    ranks = patterns.order(f"{pattern.seed}/{scores}", heads * queries * keys).reshape(heads, queries, keys)
    place = ranks.argsort(axis=-1, kind="stable").argsort(axis=-1, kind="stable")
    if pattern.pattern == "topk":
        return np.asarray(place < pattern.kept(keys))
    mask = np.zeros((heads, queries * keys), np.bool_)
    order = np.where(place == 0, np.uint64(0), ranks).reshape(heads, -1)
    count = round(pattern.density * queries * keys)
    chosen = np.argsort(order, axis=-1, kind="stable")[:, :count]
    np.put_along_axis(mask, chosen, values=True, axis=-1)
    return mask.reshape(heads, queries, keys)


def rule(keys: Mapping[str, Any], seed: int, folder: Path) -> attention.Pattern | Dynamic:
    """Return the rule of a table [attention]. Raises InputError with every problem."""
    table = read(attention.AttentionTable, keys)
    if table.pattern in attention.DYNAMIC:
        return from_table(table, seed, folder)
    return packed(attention.from_table(table, seed, folder))


def from_table(table: attention.AttentionTable, seed: int = 0, folder: Path = Path()) -> Dynamic:
    """Return the pattern of a table, its masks read from ``folder``. Raises InputError for wrong masks."""
    masks, digest = (None, "") if table.mask is None else _read(folder / table.mask)
    seed = seed if table.seed is None else table.seed
    sizes: dict[str, Any] = {"k": table.k or 0, "share": table.share or 0.0, "density": table.density or 0.0}
    scheme = table.scheme or "pack"
    return Dynamic(table.pattern, **sizes, scheme=scheme, tile=table.tile, seed=seed, given=masks, digest=digest)


def packed(pattern: attention.Pattern | Dynamic) -> attention.Pattern | Dynamic:
    """Return a fixed pattern of scheme "pack" as a `Dynamic`; any other pattern unchanged."""
    if isinstance(pattern, attention.Pattern) and pattern.scheme == "pack":
        return Dynamic(pattern.pattern, fixed=pattern)
    return pattern


def _read(path: Path) -> tuple[dict[str, Masks], str]:
    """Return the masks of a file, by scores operator ("*": all), and a digest of them."""
    arrays = {name: np.asarray(array != 0) for name, array in files.read(path).items()}
    wrong = [f"{path}: {name!r} has shape {a.shape}" for name, a in arrays.items() if a.ndim not in (2, 3)]
    if wrong or not arrays:
        rule = "must be [queries, keys] or [heads, queries, keys]"
        raise InputError([f"{problem}, {rule}" for problem in wrong] or f"{path}: holds no arrays")
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].shape}".encode() + np.packbits(arrays[name]).tobytes())
    return arrays, digest.hexdigest()[:12]


def problems(graph: Graph, pattern: Dynamic) -> list[str]:
    """Return the problems of a pattern for a graph."""
    found: list[str] = []
    blocks = attention_blocks(graph)
    if not blocks:
        return [f"attention {pattern.pattern}: {graph.name} isn't made of matmul, softmax, matmul"]
    for scores, softmax, _ in blocks:
        heads, queries, keys = scores.output.shape
        where = f"attention {pattern.pattern}: {scores.name}"
        if not scores.attrs["transpose_b"] or len(scores.inputs) != 2:
            found.append(f"{where}: scores must be queries x transposed keys, without a bias")
        if pattern.k > keys:
            found.append(f"{where}: k is {pattern.k}, there are {keys} keys (nearest: {keys})")
        if pattern.given is not None:
            mask = pattern.given.get(scores.name, pattern.given.get("*"))
            if mask is None:
                found.append(f"{where}: the file has no mask of that name{did_you_mean(scores.name, pattern.given)}")
                continue
            if mask.shape not in ((queries, keys), (heads, queries, keys)):
                found.append(f"{where}: its mask has shape {mask.shape}, must be {(heads, queries, keys)}")
                continue
        elif pattern.fixed is not None:
            if wrong := pattern.fixed.problems(scores):
                found += wrong
                continue
        elif pattern.pattern == "threshold" and round(pattern.density * queries * keys) < queries:
            found.append(
                f"{where}: density {pattern.density:g} of {keys} keys leaves queries without a key; a softmax needs "
                f"one value in every row (nearest: {1 / keys:.4g})"
            )
            continue
        empty = np.argwhere(~pattern.masks(scores.name, heads, queries, keys).any(axis=-1))
        if empty.size:
            head, query = empty[0].tolist()
            found.append(
                f"{where}: {softmax.name}: query {query} of head {head} (and {len(empty) - 1} more) sees no key; a "
                "softmax needs one value in every row (nearest: let every token see itself)"
            )
    return found


def edit(graph: Graph, pattern: Dynamic) -> Graph:
    """Return ``graph`` with prediction and mask before every attention; scheme "skip" also cuts it into tiles.

    Raises InputError with all `problems`.
    """
    if found := problems(graph, pattern):
        raise InputError(found)
    tensors, ops, known = dict(graph.tensors), [], list[str]()
    cut = {op.name: block for block in attention_blocks(graph) for op in block}
    for op in graph.ops:
        block = cut.get(op.name)
        if block is None or pattern.everything(block[0].output.rows, block[0].output.cols):
            ops.append(op)
        elif op is block[0]:
            known.append(_place_bits(tensors, op, pattern))
            ops += _predicted(tensors, op, pattern)
            ops += [op] if pattern.scheme == "pack" else attention.tiles(tensors, block, _wanted(op, pattern))
        elif pattern.scheme == "pack":
            ops.append(op)
    used = {view.tensor for op in ops for view in (*op.inputs, op.output)} | set(known)
    used |= {name for op in ops for name in op.attrs.values() if isinstance(name, str)}
    return Graph(
        graph.name, {name: tensor for name, tensor in tensors.items() if name in used}, tuple(ops), graph.sizes
    )


def _wanted(scores: Op, pattern: Dynamic) -> attention.Pattern:
    """Return the fixed pattern of the keys chosen by any query of any head: the heads of an operator are one batch."""
    mask = np.asarray(pattern.masks(scores.name, *scores.output.shape).any(axis=0))
    return attention.Pattern("mask", tile=pattern.tile, given=mask)


def _place_bits(tensors: dict[str, Tensor], scores: Op, pattern: Dynamic) -> str:
    """Add the tensor with a bit per score, set if chosen (a fixed pattern: one for all heads); return its name."""
    heads, queries, keys = scores.output.shape
    heads, kind = (1, "weight") if pattern.fixed is not None else (heads, "activation")
    name = kept_name(scores)
    tensors[name] = Tensor(name, (heads, queries, -(-keys // 8)), "int8", kind)
    return name


def _predicted(tensors: dict[str, Tensor], scores: Op, pattern: Dynamic) -> list[Op]:
    """Return the operators of prediction and choice; none for a fixed pattern."""
    if pattern.fixed is not None:
        return []
    name, dtype = f"{scores.name}.predicted", tensors[scores.inputs[0].tensor].dtype
    tensors[name] = Tensor(name, scores.output.shape, dtype, "activation")
    predicted, kept = View.whole(tensors[name]), View.whole(tensors[kept_name(scores)])
    rule = {"topk": "top_k", "threshold": "threshold"}[pattern.pattern]
    return [
        Op(f"{scores.name}.predict", "predict", scores.inputs, predicted, {}, scores.layer),
        Op(f"{scores.name}.mask", "mask", (predicted,), kept, {"rule": rule}, scores.layer),
    ]


def kept_name(scores: Op) -> str:
    """Return the name of the tensor with a bit per score, set if chosen."""
    return f"{scores.name}.kept"


@dataclass(frozen=True)
class Chosen:
    """Chosen scores of a product: those that it computes (``picks`` "outputs") or reads ("inputs").

    ``kept``: the tensor of their bits.
    """

    masks: Masks
    picks: Literal["outputs", "inputs"]
    kept: str


def chosen(graph: Graph, op: Op, pattern: Dynamic) -> Chosen | None:
    """Return the choice for an operator of an edited graph, or None."""
    if pattern.scheme != "pack":
        return None
    for scores, _, context in attention_blocks(graph):
        name = kept_name(scores)
        if op.name in (scores.name, context.name) and name in graph.tensors:
            masks = pattern.masks(scores.name, *scores.output.shape)
            return Chosen(masks, "outputs" if op.name == scores.name else "inputs", name)
    return None
