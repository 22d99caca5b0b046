"""Sparse attention of fixed pattern as an edit of the graph: every tile of queries reads only the keys that it needs.

Keys that a query attends to: *causal* (no later tokens), *window* (at most ``window`` away), *local* (of their own
block of ``window``), *strided* (a window, and every ``stride``-th token: Sparse Transformer), *longformer* (a window,
and ``globals`` tokens that attend to all and are attended by all), *bigbird* (the same, and ``random`` blocks of keys
per block of queries), *mask* (a given one, bool[queries, keys], from a file). ``causal`` can be combined with any of
them.

If there are fewer queries than keys, the queries are the last tokens (decoding with cached keys); with more queries
than keys their positions are undefined, and every pattern but a given mask is refused.

Scores, softmax and context become one triple per tile of ``tile`` queries, over the keys that any query of the tile
attends to, in whole blocks of ``tile`` keys: the other scores of a block are computed and masked, so that windows of 32
and 64 tokens cost the same in tiles of 64 (`Pattern.remarks`). If those keys are not adjacent, they and their values
are first copied together (operator kind "copy"), because the array's loops need rows at equal distances. A bias of the
scores is cut like the scores; it is not copied, so with a bias the keys of a tile must be adjacent. All of this runs on
unmodified hardware.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from sim.base.errors import InputError, some
from sim.graph import Graph, Op, Tensor, View
from sim.sparsity.masks import files, patterns
from sim.sparsity.masks.patterns import Mask
from sim.sparsity.structure import Attention, attention_blocks
from sim.sparsity.table import Count, CountOrNone, SchemeTable, Share

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

DYNAMIC = {"topk": ("k", "share"), "threshold": ("density",)}
"""Patterns that depend on the data (`sim.sparsity.edits.dynamic`) -> the sizes of which one is needed."""

SCHEMES = ("tiles", "pack")

DEFAULT_TILE = 64

FAR = 0.25
"""Excess of computed scores over the pattern's, as a share, above which a run has a remark."""


@dataclass(frozen=True)
class Pattern:
    """A fixed pattern; sizes count tokens, ``random`` counts blocks of ``tile`` tokens.

    ``scheme``: "tiles", or "pack", which computes single scores on an array with the units for it
    (`sim.sparsity.edits.dynamic`).
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

    def __str__(self) -> str:
        """Return the pattern with its sizes, as in a line of `sim.sparsity.spec`."""
        sizes = [str(getattr(self, size)) for size in PATTERNS[self.pattern] if size != "mask"]
        return ":".join([self.pattern, ",".join(sizes)] if sizes else [self.pattern])

    def mask(self, queries: int, keys: int) -> Mask:
        """Return bool[queries, keys]: whether a query attends to a key."""
        i, j = np.arange(queries)[:, None] + keys - queries, np.arange(keys)[None, :]
        if self.given is not None:
            return self.given & (j <= i) if self.causal else self.given
        near = np.abs(i - j) <= self.window
        seen: Mask = np.asarray(
            {
                "causal": np.ones((queries, keys), np.bool_),
                "local": i // max(1, self.window) == j // max(1, self.window),
                "strided": near | (j % max(1, self.stride) == max(1, self.stride) - 1),
            }.get(self.pattern, near)
        )
        if self.pattern in ("longformer", "bigbird"):
            seen = seen | (j < self.globals) | (i < self.globals)
        if self.pattern == "bigbird":
            seen = seen | self._random(keys)[keys - queries :]
        return seen & (j <= i) if self.causal or self.pattern == "causal" else seen

    def _random(self, tokens: int) -> Mask:
        blocks = -(-tokens // self.tile)
        ranks = patterns.order(f"{self.seed}/bigbird", blocks * blocks).reshape(blocks, blocks)
        chosen = ranks.argsort(axis=1).argsort(axis=1) < self.random
        return patterns.enlarged(chosen, self.tile, (tokens, tokens))

    def runs(self, queries: int, keys: int) -> list[tuple[range, list[range]]]:
        """Return (queries, runs of adjacent keys) of every tile of queries."""
        blocks = patterns.touched(self.mask(queries, keys), self.tile)
        found = []
        for number, row in enumerate(blocks):
            used = np.flatnonzero(row)
            starts = [int(b) for a, b in pairwise([-2, *used]) if b != a + 1]
            ends = [int(a) + 1 for a, b in pairwise([*used, -2]) if b != a + 1]
            seen = [range(a * self.tile, min(b * self.tile, keys)) for a, b in zip(starts, ends, strict=True)]
            found.append((range(number * self.tile, min((number + 1) * self.tile, queries)), seen))
        return found

    def problems(self, scores: Op) -> list[str]:
        """Return the problems of the pattern for the scores of one attention."""
        _, queries, keys = scores.output.shape
        where = f"attention {self}: {scores.name}"
        if self.given is not None:
            if self.given.shape != (queries, keys):
                return [f"attention mask: its shape is {self.given.shape}, {scores.name} has {(queries, keys)} scores"]
        elif queries > keys:
            return [
                f"{where} has {queries} queries and {keys} keys: {self.pattern} needs a key for every query (nearest: "
                f'pattern = "mask" with a mask of {queries} x {keys})'
            ]
        return []

    def remarks(self, graph: Graph) -> list[str]:
        """Return a remark for each shape of scores if tiles compute far more than the pattern has."""
        found: dict[tuple[int, int], str] = {}
        for scores, _, _ in attention_blocks(graph):
            _, queries, keys = scores.output.shape
            if (queries, keys) in found or self.problems(scores) or self.scheme != "tiles":
                continue
            wanted, got = float(self.mask(queries, keys).mean()), self.computed(queries, keys)
            if got > (1 + FAR) * wanted:
                found[queries, keys] = (
                    f"attention {self}: {scores.name}: tiles of {self.tile} tokens compute {got:.4g} of the scores, "
                    f"the pattern has {wanted:.4g} ({self._closer(queries, keys, wanted, got)}scheme pack computes "
                    "these alone, on a machine such as gemmini_sparse)"
                )
        return list(found.values())

    def computed(self, queries: int, keys: int) -> float:
        """Return the share of the scores that tiles compute."""
        return sum(len(rows) * sum(map(len, runs)) for rows, runs in self.runs(queries, keys)) / (queries * keys)

    def _closer(self, queries: int, keys: int, wanted: float, got: float) -> str:
        """Return the largest smaller tile that computes no quarter too much, or else the least; "" where none helps."""
        if self.pattern == "bigbird":  # whose random blocks are tiles: another tile is another pattern
            return ""
        best, tile = self, self.tile
        while tile > 1 and got > (1 + FAR) * wanted:
            tile //= 2
            tried = replace(self, tile=tile)
            if (share := tried.computed(queries, keys)) < got:
                best, got = tried, share
        if best is self:
            return ""
        return f"nearest: attention={self}{',' if ':' in str(self) else ':'}tile={best.tile} computes {got:.4g}; "


class AttentionTable(SchemeTable):
    """[attention] of a SPEC.toml: a fixed pattern, or one that depends on the data (`sim.sparsity.edits.dynamic`)."""

    pattern: Literal[
        "causal", "window", "local", "strided", "longformer", "bigbird", "mask", "topk", "threshold"
    ]  # fmt: skip
    window: CountOrNone | None = None
    stride: Count | None = None
    globals: CountOrNone | None = None
    random: CountOrNone | None = None
    causal: bool = False
    k: Count | None = None
    share: Share | None = None
    density: Share | None = None
    mask: str | None = None
    scheme: Literal["tiles", "pack", "skip"] | None = None
    tile: Count = DEFAULT_TILE
    seed: CountOrNone | None = None

    def problems(self, given: frozenset[str]) -> list[str]:
        """Return the problems of sizes and schemes that the pattern does not take."""
        if "pattern" not in self.model_fields_set:
            return []
        name, found = self.pattern, list[str]()
        depends = name in DYNAMIC
        sizes = DYNAMIC[name] if depends else PATTERNS[name]
        taken = {"pattern", "scheme", "tile", "seed", "mask", *sizes} | (set() if depends else {"causal"})
        found += [f"pattern {name} takes {', '.join(sizes) or 'no size'}, not {key}" for key in sorted(given - taken)
                  if key in AttentionTable.model_fields]  # fmt: skip
        if depends and len(given & {*sizes, "mask"}) != 1:
            found.append(f"pattern {name} needs one of {', '.join((*sizes, 'mask'))}")
        if not depends:
            found += [f"pattern {name} needs {size}" for size in sizes if size not in given]
            if "mask" in given and name != "mask":
                found.append(f'pattern {name} takes no mask (nearest: pattern = "mask")')
        able = ("pack", "skip") if depends else SCHEMES
        if self.scheme is not None and self.scheme not in able:
            found.append(f"scheme {self.scheme!r} of pattern {name}: can be {', '.join(able)}")
        if name == "local" and self.window == 0:
            found.append("window is 0: blocks of the local pattern hold 1 token or more (nearest: 1)")
        return found


def from_table(table: AttentionTable, seed: int = 0, folder: Path = Path()) -> Pattern:
    """Return the fixed pattern of a table, its mask read from ``folder``. Raises InputError for a wrong mask."""
    sizes = {key: getattr(table, key) or 0 for key in ("window", "stride", "globals", "random")}
    given, digest = None, ""
    if table.mask is not None:
        arrays = list(files.read(folder / table.mask).values())
        if len(arrays) != 1 or arrays[0].ndim != 2:
            raise InputError(f"mask {table.mask!r}: must hold one array [queries, keys]")
        given = np.asarray(arrays[0] != 0)
        digest = hashlib.sha256(f"{given.shape}".encode() + np.packbits(given).tobytes()).hexdigest()[:12]
    seed = seed if table.seed is None else table.seed
    scheme = table.scheme or "tiles"
    return Pattern(table.pattern, **sizes, causal=table.causal, tile=table.tile, seed=seed, scheme=scheme, given=given,
                   digest=digest)  # fmt: skip


def edit(graph: Graph, pattern: Pattern) -> Graph:
    """Return ``graph`` with every attention cut to the pattern; a full pattern returns it unchanged.

    Raises InputError if there is no attention, or a query would have no key (its softmax has no sum).
    """
    blocks = attention_blocks(graph)
    if not blocks:
        raise InputError(f"attention {pattern.pattern}: {graph.name} has no attention (matmul, softmax, matmul)")
    wrong = [problem for scores, _, _ in blocks for problem in pattern.problems(scores)]
    if wrong:
        raise InputError(some(wrong))
    for scores, softmax, _ in blocks:
        seen = pattern.mask(scores.output.rows, scores.output.cols)
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
    return Graph(
        graph.name, {name: tensor for name, tensor in tensors.items() if name in used}, tuple(ops), graph.sizes
    )


def tiles(tensors: dict[str, Tensor], block: Attention, pattern: Pattern) -> list[Op]:
    """Return the operators of one attention; queries that attend to all keys stay in one triple.

    New tensors are added to ``tensors``.
    """
    scores, softmax, context = block
    parts = pattern.runs(scores.output.rows, scores.output.cols)
    if all(keys == [range(scores.output.cols)] for _, keys in parts):
        return list(block)
    _refuse(block, pattern, parts)
    ops: list[Op] = []
    for number, (queries, keys) in enumerate(parts):
        at, size = f".t{number}", sum(map(len, keys))
        q, *score_bias = scores.inputs[0], *scores.inputs[2:]
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
        biases = tuple(_columns(_bias(scores, view, queries), keys[0]) for view in score_bias)
        rest = tuple(_bias(context, view, queries) for view in context.inputs[2:])
        context_rows = _rows(context.output, queries)
        ops += [
            replace(scores, name=f"{scores.name}{at}", inputs=(_rows(q, queries), k, *biases), output=made[0]),
            replace(softmax, name=f"{softmax.name}{at}", inputs=(made[0],), output=made[1]),
            replace(context, name=f"{context.name}{at}", inputs=(made[1], v, *rest), output=context_rows),
        ]
    return ops


def _refuse(block: Attention, pattern: Pattern, parts: list[tuple[range, list[range]]]) -> None:
    """Raise InputError for an attention whose result tiles would change."""
    scores, softmax, context = block
    where, problems = f"attention {pattern} in tiles: ", list[str]()
    if len(scores.inputs) > 2 and any(len(keys) > 1 for _, keys in parts):
        problems.append(
            f"{scores.name} has a bias, and {pattern.pattern} leaves keys that are not adjacent: a bias is not copied "
            "together (nearest: causal, window or local, or scores without a bias)"
        )
    if scores.attrs["transpose_a"] or not scores.attrs["transpose_b"]:
        problems.append(f"{scores.name} must multiply queries by transposed keys (nearest: transpose_b alone)")
    if context.attrs["transpose_a"] or context.attrs["transpose_b"]:
        problems.append(f"{context.name} must multiply by untransposed values (nearest: no transposed operand)")
    if len(softmax.inputs) > 1:
        problems.append(f"{softmax.name} reads {softmax.inputs[1].tensor} besides the scores")
    if problems:
        raise InputError([where + problem for problem in problems])


def _bias(op: Op, view: View, queries: range) -> View:
    """Return the rows of a bias for some queries: one row repeats, else each query has its own."""
    return view if op.attrs["repeating_bias"] else _rows(view, queries)


def _columns(view: View, columns: range) -> View:
    """Return some columns of every repetition of a window."""
    return replace(view, cols=len(columns), offset=view.offset + columns.start)


def _rows(view: View, rows: range) -> View:
    """Return some rows of every repetition of a window."""
    return replace(view, rows=len(rows), offset=view.offset + rows.start * view.row_stride)


def _gather(
    tensors: dict[str, Tensor], ops: list[Op], name: str, view: View, runs: list[range], layer: int | None
) -> View:
    """Append copies that gather runs of rows, of all heads at once; return the window on them."""
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
