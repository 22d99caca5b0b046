"""The builder of networks, for this package and for users: each method adds an operator and returns its result.

    net = Network("mine")
    x = net.input("x", 128, 768)
    y = net.attention(net.linear(x, 768), net.linear(x, 768), net.linear(x, 768), heads=12)
    net.add(x, net.linear(y, 768))
    graph = net.graph()

A result is a tensor of rows (tokens of all sequences, one behind the other) and columns. Elements are of the network's
``dtype``, sums and biases of its accumulator's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sim.base.errors import InputError
from sim.graph import Graph, Tensor, View
from sim.graph.encoder import Parts
from workloads.encoder import check_sizes

PAGE = 4096
"""Multiple to which a row of scores is padded (elements) if a sequence has one query.

Whole pages in int8, so that all heads have equal page offsets.
"""


@dataclass(frozen=True)
class Capped:
    """Scores that a tanh bounds, before ``mask`` [queries, keys] (elements, None = none) is added."""

    mask: Tensor | None


class Network(Parts):
    """A graph under construction. Operators are named by function, with a number if a name occurs again."""

    def __init__(self, name: str, dtype: str = "int8"):
        check_sizes(name, {}, dtype)
        super().__init__(dtype)
        self.name = name
        self._prefix = ""
        self._layer: int | None = None
        self._used: dict[str, int] = {}

    @contextmanager
    def layer_of(self, index: int) -> Iterator[None]:
        """Name the operators added inside L<index>.<name> and assign them to that layer."""
        before = self._prefix, self._layer
        self._prefix, self._layer = f"L{index}.", index
        yield
        self._prefix, self._layer = before

    @property
    def prefix(self) -> str:
        """Prefix of the names of the present layer."""
        return self._prefix

    def name_of(self, wanted: str) -> str:
        """Return an unused name, prefixed with the layer."""
        name = f"{self._prefix}{wanted}"
        count = self._used[name] = self._used.get(name, 0) + 1
        return name if count == 1 else f"{name}_{count}"

    def apply(self, kind: str, name: str, sources: list[View], output: View, **attrs: object) -> None:
        """Add an operator of the present layer."""
        self.op(name, kind, sources, output, self._layer, **attrs)

    def input(self, name: str, rows: int, cols: int, dtype: str | None = None) -> Tensor:
        """Return a tensor that is given with each run."""
        check_sizes(self.name, {"rows": rows, "cols": cols}, self.dtype, most=math.inf)
        return self.tensor(name, (rows, cols), dtype, "input")

    def state(self, name: str, *shape: int) -> Tensor:
        """Return a tensor that outlives the graph, such as a KV cache."""
        return self.tensor(name, shape, None, "state")

    def linear(
        self,
        x: Tensor | View,
        cols: int | Tensor,
        *,
        name: str = "linear",
        bias: bool = True,
        into: View | None = None,
        wide: bool = False,
        activation: str = "none",
    ) -> Tensor:
        """Return x W (+ bias). ``x``: a tensor or a part of one; ``cols``: columns of W, or another operator's weight
        of which W is the transpose (a tied head).

        ``into``: destination of the result instead of a new tensor; ``wide``: the result keeps the type of the sums.
        """
        source = View.whole(x) if isinstance(x, Tensor) else x
        at = self.name_of(name)
        tied = isinstance(cols, Tensor)
        if isinstance(cols, Tensor):
            w, cols = cols, cols.shape[0]
        else:
            w = self.tensor(f"{at}.weight", (source.cols, cols), kind="weight")
        views = [source, View.whole(w)]
        if bias:
            b = self.tensor(f"{at}.bias", (cols,), self.sums, "weight")
            views.append(View(b.name, 1, 1, cols, 0, 0))
        if into is None:
            shape = (source.rows, cols) if source.batch == 1 else (source.batch, source.rows, cols)
            result = self.tensor(at, shape, self.sums if wide else None)
            into = View.whole(result)
        else:
            result = next(tensor for tensor in reversed(self.tensors) if tensor.name == into.tensor)
        attrs = {"repeating_bias": True, "transpose_b": tied, "activation": activation}
        self.apply("matmul", at, views, into, **attrs)
        return result

    def each(self, kind: str, x: Tensor, *others: Tensor, name: str = "", **attrs: object) -> Tensor:
        """Return an operator's result, of the shape and the element type of its first operand."""
        at = self.name_of(name or kind)
        result = self.tensor(at, x.shape)
        self.apply(kind, at, [View.whole(source) for source in (x, *others)], View.whole(result), **attrs)
        return result

    def add(self, x: Tensor, y: Tensor, name: str = "residual_add") -> Tensor:
        """Return x + y."""
        return self.each("residual_add", x, y, name=name)

    def multiply(self, x: Tensor, y: Tensor, name: str = "multiply") -> Tensor:
        """Return x times y, element by element."""
        return self.each("multiply", x, y, name=name)

    def norm(self, x: Tensor | View, kind: str = "layernorm", name: str = "", weights: str = "all") -> Tensor:
        """Return a LayerNorm or RMSNorm of the rows of x, with ``weights``: "all" of its kind, "gamma" or "none"."""
        at = self.name_of(name or kind)
        source, shape = (x, (x.rows, x.cols)) if isinstance(x, View) else (View.whole(x), x.shape)
        named = self.norm_weights(at, source.cols, kind, weights)
        result = self.tensor(at, shape)
        self.apply(kind, at, [source], View.whole(result), **named)
        return result

    def norm_weights(self, at: str, cols: int, kind: str, weights: str = "all") -> dict[str, str]:
        """Add the weights of the norm named ``at`` over rows of ``cols`` columns; return their names by attribute."""
        names = {"none": (), "gamma": ("gamma",), "all": ("gamma", "beta") if kind == "layernorm" else ("gamma",)}
        named = {part: f"{at}.{part}" for part in names[weights]}
        for weight in named.values():
            self.tensor(weight, (cols,), self.sums, "weight")
        return named

    def attention(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor | View,
        *,
        heads: int,
        kv_heads: int | None = None,
        batch: int | Sequence[int] = 1,
        added: Tensor | Capped | None = None,
    ) -> Tensor:
        """Return softmax(Q K^T) V for each head. Rows of q are those of ``batch`` sequences.

        ``kv_heads``: heads of K and V, each for heads / kv_heads heads of Q. ``k``, ``v``: tensors [batch, rows,
        columns] or [batch * rows, columns]. ``batch``: number of sequences, or per sequence the number of its first
        rows of K and V that are used. ``added``: sums that are added to the scores, [queries, keys] to those of all
        heads (a mask) or [heads, queries, keys] (positions); or the scores are `Capped`. The scale 1/sqrt(head size) is
        folded into Q's. Heads of V may have other columns than those of K, and V may be the first columns of a tensor's
        rows (a view). Raises InputError for heads that do not divide.
        """
        groups, sequences = kv_heads or heads, batch if isinstance(batch, int) else len(batch)
        rows, cols = q.shape[0] // sequences, q.shape[-1]
        stored = k.shape[-2] if len(k.shape) == 3 else k.shape[0] // sequences
        counts = [stored] * batch if isinstance(batch, int) else list(batch)
        held = v if isinstance(v, View) else View.whole(v)
        problems = _attention_problems(self.name, q, k, heads, groups, counts, stored)
        if not problems and (held.cols % groups or held.batch * held.rows != math.prod(k.shape[:-1])):
            problems = [f"{self.name}: attention: V is {held}, must have the rows of K and columns of {groups} heads"]
        if problems:
            raise InputError(problems)
        size, share = cols // heads, heads // groups
        taken = held.cols // groups
        context = self.tensor(self.name_of("attended"), (q.shape[0], heads * taken))
        for item, count in enumerate(counts):
            tail = f".b{item}" if sequences > 1 else ""
            parts = zip(*(_split(rows, share, groups, columns) for columns in (size, taken)), strict=True)
            for (first, heads_here, requested), (_, _, given) in parts:
                inside = f"{tail}.g{first}" if share > 1 and rows > 1 else tail
                queries, result = (
                    view(t.name, item * rows * t.shape[-1]) for view, t in ((requested, q), (given, context))
                )
                at, weights = self.name_of(f"scores{inside}"), self.name_of(f"softmax{inside}")
                kept = _keys(k.name, k.shape[-1], (count, size), item * stored, first, heads_here)
                values = _keys(held.tensor, held.row_stride, (count, taken), item * stored, first, heads_here)
                padded = -(-count // PAGE) * PAGE if rows == 1 else count
                block = queries.rows * padded
                scores, shares = (self.tensor(name, (queries.batch, queries.rows, padded)) for name in (at, weights))
                raw, weighed = (
                    View(t.name, queries.batch, queries.rows, count, padded, block) for t in (scores, shares)
                )
                sums = [_sums(added, queries.batch, rows, count, first * share)] if isinstance(added, Tensor) else []
                self.apply("matmul", at, [queries, kept, *sums], raw, transpose_b=True)
                if isinstance(added, Capped):
                    raw = self._capped(at, raw, added.mask)
                self.apply("softmax", shares.name, [raw], weighed)
                self.apply("matmul", self.name_of(f"context{inside}"), [weighed, values], result)
        return context

    def _capped(self, scores: str, raw: View, mask: Tensor | None) -> View:
        """Bound scores by a tanh, whose two scales are folded into the operators around it, and add the mask."""
        masked = [] if mask is None else [View(mask.name, raw.batch, raw.rows, raw.cols, raw.cols, 0)]
        for kind, addends in [("tanh", []), ("residual_add", masked)][: 1 + len(masked)]:
            shape = (raw.batch, raw.rows, raw.row_stride)
            made = self.tensor(self.name_of(f"{scores.removeprefix(self._prefix)}_{kind}"), shape)
            into = View(made.name, raw.batch, raw.rows, raw.cols, raw.row_stride, raw.batch_stride)
            addends = (
                [] if kind == "tanh" or mask is None else [View(mask.name, raw.batch, raw.rows, raw.cols, raw.cols, 0)]
            )
            self.apply(kind, made.name, [raw, *addends], into)
            raw = into
        return raw

    def graph(self) -> Graph:
        """Return the graph. Raises InputError listing every broken rule."""
        return Graph(self.name, {tensor.name: tensor for tensor in self.tensors}, tuple(self.ops))


class _Heads:
    """A window of the heads' columns of Q or of the context, without its offset."""

    def __init__(self, batch: int, rows: int, cols: int, row_stride: int, batch_stride: int, offset: int):
        self.fields = batch, rows, cols, row_stride, batch_stride
        self.offset = offset

    def __call__(self, tensor: str, offset: int) -> View:
        return View(tensor, *self.fields, offset + self.offset)


def _split(rows: int, share: int, groups: int, size: int) -> Iterator[tuple[int, int, _Heads]]:
    """Yield (first head of K, heads of K, window of Q): one operator per head of K, or one for all.

    With one query a sequence, the heads of Q that share a head of K are the rows of one product.
    """
    cols = share * groups * size
    if share == 1:
        yield 0, groups, _Heads(groups, rows, size, cols, size, 0)
    elif rows == 1:
        yield 0, groups, _Heads(groups, share, size, size, share * size, 0)
    else:
        for group in range(groups):
            yield group, 1, _Heads(share, rows, size, cols, size, group * share * size)


def _keys(tensor: str, width: int, shape: tuple[int, int], skipped: int, first: int, heads: int) -> View:
    """Return the rows of ``heads`` heads from head ``first`` on, behind ``skipped`` rows of ``width`` columns."""
    rows, size = shape
    apart = size if heads > 1 else rows * width
    return View(tensor, heads, rows, size, width, apart, skipped * width + first * size)


def _sums(added: Tensor, heads: int, rows: int, count: int, first: int) -> View:
    """Return the addend of the scores of ``heads`` heads from head ``first`` on."""
    if len(added.shape) < 3:
        return View.whole(added)
    block = rows * count
    return View(added.name, heads, rows, count, count, block, first * block)


def _attention_problems(
    name: str, q: Tensor, k: Tensor, heads: int, groups: int, counts: Sequence[int], stored: int
) -> list[str]:
    cols, width = q.shape[-1], k.shape[-1]
    problems = []
    if heads < 1 or cols % heads:
        problems.append(f"{name}: attention: heads {heads} do not divide {cols} columns of Q")
    if groups < 1 or heads % max(1, groups):
        problems.append(f"{name}: attention: kv_heads {groups} do not divide heads {heads}")
    if not problems and width != cols // heads * groups:
        problems.append(
            f"{name}: attention: K has {width} columns, but {groups} heads of {cols // heads} have other columns"
        )
    if q.shape[0] % len(counts):
        problems.append(f"{name}: attention: batch {len(counts)} does not divide {q.shape[0]} rows of Q")
    problems += [
        f"{name}: attention: keys {count} must be 1 to {stored}, the rows of K"
        for count in dict.fromkeys(counts)
        if not 1 <= count <= stored
    ]
    return problems
