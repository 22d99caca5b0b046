"""Sparse attention of fixed pattern as an edit of the graph: every tile of queries sees only the keys it needs.

Tokens see tokens: *causal* (none behind), *window* (at most ``window`` away), *local* (of their own block of
``window``), *strided* (a window, and every ``stride``-th token: Sparse Transformer), *longformer* (a window, and
``globals`` tokens that see all and are seen by all), *bigbird* (the same, and ``random`` blocks of keys per block of
queries), *mask* (a real one, bool[queries, keys], from a file). ``causal`` may join any of them.

Scores, softmax and context become one triple per tile of ``tile`` queries, over the keys that any query of the tile
sees, in whole blocks of ``tile`` keys: what lies inside a block and is not seen is computed and masked. Where those
keys are not adjacent, they and their values are first copied together (operator kind "copy"), because the array's
loops walk rows of one distance. Unmodified hardware runs all of it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from sim.base.errors import InputError, did_you_mean
from sim.graph import Graph, Op, Tensor, View
from sim.sparsity import patterns
from sim.sparsity.patterns import Mask
from sim.sparsity.structure import Attention, attention_blocks

PATTERNS = {
    "causal": (),
    "window": ("window",),
    "local": ("window",),
    "strided": ("window", "stride"),
    "longformer": ("window", "globals"),
    "bigbird": ("window", "globals", "random"),
    "mask": ("mask",),
}
"""Pattern -> the sizes it needs."""

DYNAMIC = ("topk", "threshold")
"""Patterns that depend on the data (`sim.sparsity.dynamic`)."""

SCHEMES = ("tiles", "pack")

DEFAULT_TILE = 64


@dataclass(frozen=True)
class Pattern:
    """A fixed pattern; sizes count tokens, ``random`` blocks of ``tile`` tokens.

    ``scheme``: "tiles", or "pack", which computes single scores on an array that can (`sim.sparsity.dynamic`).
    """

    pattern: str
    window: int = 0
    stride: int = 0
    globals: int = 0
    random: int = 0
    causal: bool = False
    tile: int = DEFAULT_TILE
    seed: int = 0
    scheme: str = "tiles"
    given: Mask | None = field(default=None, compare=False, repr=False)
    digest: str = ""

    def mask(self, tokens: int) -> Mask:
        """Return bool[queries, keys]: who sees whom."""
        i, j = np.arange(tokens)[:, None], np.arange(tokens)[None, :]
        if self.given is not None:
            return self.given & (j <= i) if self.causal else self.given
        near = np.abs(i - j) <= self.window
        seen: Mask = np.asarray(
            {
                "causal": np.ones((tokens, tokens), np.bool_),
                "local": i // max(1, self.window) == j // max(1, self.window),
                "strided": near | (j % max(1, self.stride) == max(1, self.stride) - 1),
            }.get(self.pattern, near)
        )
        if self.pattern in ("longformer", "bigbird"):
            seen = seen | (j < self.globals) | (i < self.globals)
        if self.pattern == "bigbird":
            seen = seen | self._random(tokens)
        return seen & (j <= i) if self.causal or self.pattern == "causal" else seen

    def _random(self, tokens: int) -> Mask:
        blocks = -(-tokens // self.tile)
        ranks = patterns.order(f"{self.seed}/bigbird", blocks * blocks).reshape(blocks, blocks)
        chosen = ranks.argsort(axis=1).argsort(axis=1) < self.random
        return patterns.enlarged(chosen, self.tile, (tokens, tokens))

    def runs(self, tokens: int) -> list[tuple[range, list[range]]]:
        """Return (queries, runs of keys) of every tile of queries."""
        blocks = patterns.touched(self.mask(tokens), self.tile)
        found = []
        for number, row in enumerate(blocks):
            used = np.flatnonzero(row)
            starts = [int(b) for a, b in pairwise([-2, *used]) if b != a + 1]
            ends = [int(a) + 1 for a, b in pairwise([*used, -2]) if b != a + 1]
            keys = [range(a * self.tile, min(b * self.tile, tokens)) for a, b in zip(starts, ends, strict=True)]
            found.append((range(number * self.tile, min((number + 1) * self.tile, tokens)), keys))
        return found


def parse(table: dict[str, Any], seed: int = 0, folder: Path = Path()) -> Pattern:
    """Read the table [attention] of a SPEC.toml in ``folder``. Raises InputError listing all problems."""
    known = [one.name for one in fields(Pattern) if one.name not in ("given", "digest")] + ["mask"]
    problems = [f"unknown key {key!r}{did_you_mean(key, known)}" for key in table if key not in known]
    name = str(table.get("pattern"))
    if name not in PATTERNS:
        what = f"unknown pattern {name!r}" if "pattern" in table else "no pattern"
        problems.append(f"{what}{did_you_mean(name, (*PATTERNS, *DYNAMIC))}")
    needed = PATTERNS.get(name, ())
    problems += [f"pattern {name} needs {size}" for size in needed if size not in table]
    for key in ("window", "stride", "globals", "random", "tile", "seed"):
        least = 0 if key in ("window", "globals", "random", "seed") else 1
        value = table.get(key, least)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            problems.append(f"{key} is {value!r}, must be a whole number >= {least}")
    if (scheme := table.get("scheme", "tiles")) not in SCHEMES:
        problems.append(f"scheme {scheme!r}{did_you_mean(str(scheme), SCHEMES)}; can be {', '.join(SCHEMES)}")
    if not isinstance(table.get("causal", False), bool):
        problems.append(f"causal is {table['causal']!r}, must be true or false")
    if name == "local" and table.get("window") == 0:
        problems.append("window is 0: blocks of the local pattern hold 1 token or more (nearest: 1)")
    if problems:
        raise InputError(problems)
    sizes = {"seed": seed, **table}
    if "mask" in sizes:
        from sim.sparsity.measured import read

        arrays = list(read(folder / str(sizes.pop("mask"))).values())
        if len(arrays) != 1 or arrays[0].ndim != 2 or arrays[0].shape[0] != arrays[0].shape[1]:
            raise InputError(f"mask {table['mask']!r}: must hold one square array [queries, keys]")
        given = np.asarray(arrays[0] != 0)
        digest = hashlib.sha256(f"{given.shape}".encode() + np.packbits(given).tobytes()).hexdigest()[:12]
        sizes |= {"given": given, "digest": digest}
    return Pattern(**sizes)


def edit(graph: Graph, pattern: Pattern) -> Graph:
    """Return ``graph`` with every attention cut to the pattern; one that leaves nothing out returns it unchanged.

    Raises InputError where there is no attention, or where a query would see no key (its softmax has no sum).
    """
    blocks = attention_blocks(graph)
    if not blocks:
        raise InputError(f"attention {pattern.pattern}: {graph.name} isn't made of matmul, softmax, matmul")
    for scores, softmax, _ in blocks:
        if pattern.given is not None and pattern.given.shape != (tokens := scores.output.shape[1:]):
            raise InputError(f"attention mask: its shape is {pattern.given.shape}, {scores.name} has {tokens} scores")
        seen = pattern.mask(scores.output.cols)
        if empty := np.flatnonzero(~seen.any(axis=1)).tolist():
            raise InputError(
                f"attention {pattern.pattern}: {softmax.name}: query {empty[0]} (and {len(empty) - 1} more) "
                "sees no key; a softmax needs one value in every row (nearest: let every token see itself)"
            )
    tensors = dict(graph.tensors)
    ops: list[Op] = []
    replaced = {op.name: block for block in blocks for op in block}
    for op in graph.ops:
        if op.name not in replaced:
            ops.append(op)
        elif op is replaced[op.name][0]:
            ops += tiles(tensors, replaced[op.name], pattern)
    used = {view.tensor for op in ops for view in (*op.inputs, op.output)}
    used |= {name for op in ops for name in op.attrs.values() if isinstance(name, str)}
    return Graph(graph.name, {name: tensor for name, tensor in tensors.items() if name in used}, tuple(ops))


def tiles(tensors: dict[str, Tensor], block: Attention, pattern: Pattern) -> list[Op]:
    """Return the operators of one attention; whole rows of queries that see everything stay in one triple.

    ``tensors`` takes up the new ones.
    """
    scores, softmax, context = block
    tokens = scores.output.cols
    parts = pattern.runs(tokens)
    if all(keys == [range(tokens)] for _, keys in parts):
        return list(block)
    ops: list[Op] = []
    for number, (queries, keys) in enumerate(parts):
        at, size = f".t{number}", sum(map(len, keys))
        q = _rows(scores.inputs[0], queries)
        k, v = scores.inputs[1], context.inputs[1]
        if len(keys) > 1:
            k = _gather(tensors, ops, f"{scores.name}{at}.keys", k, keys, scores.layer)
            v = _gather(tensors, ops, f"{context.name}{at}.values", v, keys, context.layer)
        else:
            k, v = _rows(k, keys[0]), _rows(v, keys[0])
        shape = (scores.output.batch, len(queries), size)
        made = []
        for op in (scores, softmax):
            whole = tensors[op.output.tensor]
            tensors[f"{whole.name}{at}"] = tensor = replace(whole, name=f"{whole.name}{at}", shape=shape)
            made.append(View.whole(tensor))
        ops += [
            replace(scores, name=f"{scores.name}{at}", inputs=(q, k), output=made[0]),
            replace(softmax, name=f"{softmax.name}{at}", inputs=(made[0],), output=made[1]),
            replace(
                context,
                name=f"{context.name}{at}",
                inputs=(made[1], v),
                output=_rows(context.output, queries),
            ),
        ]
    return ops


def _rows(view: View, rows: range) -> View:
    """Return some rows of every repetition of a window."""
    return replace(view, rows=len(rows), offset=view.offset + rows.start * view.row_stride)


def _gather(
    tensors: dict[str, Tensor], ops: list[Op], name: str, view: View, runs: list[range], layer: int | None
) -> View:
    """Append copies that bring runs of rows together, all heads at once; return the window on them."""
    source = tensors[view.tensor]
    width, size = view.row_stride, sum(map(len, runs))
    tensors[name] = together = Tensor(name, (size, width), source.dtype, "activation")
    first = view.offset // width
    row = 0
    for number, run in enumerate(runs):
        taken = View(source.name, 1, len(run), width, width, 0, (first + run.start) * width)
        put = View(together.name, 1, len(run), width, width, 0, row * width)
        ops.append(Op(f"{name}{number}", "copy", (taken,), put, {}, layer))
        row += len(run)
    return replace(view, tensor=name, rows=size, offset=view.offset % width)
