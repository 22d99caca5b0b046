"""Multi-head latent attention (DeepSeek-AI 2024, arXiv 2405.04434).

One narrow row per token in the cache, for all heads.

A product computes the row [rank + rotated] of each token; its first columns are normalised, its last ones rotated, both
into the cache. Two forms give the same scores; the one with fewer MACs is built:

- expanded: a product computes K and V of all heads from every cached row; chosen for many new tokens (prefill);
- absorbed: Q is first multiplied by the weights of K, so that its heads are multiplied by the cached rows, and the
weights of V are applied to the heads' sums of rows; chosen for one new token (decode).
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.graph import Tensor, View
from workloads.networks.builder import Network
from workloads.networks.config import Config, Latent
from workloads.networks.decoding.step import TokenStep


def latent_attention(net: Network, config: Config, x: Tensor, *, step: TokenStep, added: Tensor | None) -> Tensor:
    """Add the attention of a layer, ``added`` (a mask or nothing) to its scores; return its output."""
    assert config.latent is not None, "the caller chose this attention because it is set"
    of, heads = config.latent, config.heads
    part = _Attention(net, of, heads, step, config.rope_base)
    source = x
    if of.query_rank:
        source = net.norm(net.linear(x, of.query_rank, name="matmul_Q_down", bias=False), "rmsnorm", name="norm_Q")
    q = net.linear(source, heads * of.size, name="matmul_Q", bias=False)
    cache = part.cached(net.linear(x, of.cached, name="matmul_KV_down", bias=False))
    weight = net.tensor(net.name_of("matmul_KV.weight"), (of.rank, heads * (of.plain + of.values)), kind="weight")
    context = (part.absorbed if is_absorbed(config, step) else part.expanded)(q, cache, weight, added)
    return net.linear(context, config.hidden, name="W_out", bias=False)


def is_absorbed(config: Config, step: TokenStep) -> bool:
    """Return whether Q and the context are multiplied by the cached rows: fewer MACs than with K and V of all heads."""
    of = config.latent
    assert of is not None
    keys, width = step.past + step.new, of.plain + of.values
    absorbed = step.new * (of.rank * width + keys * (of.cached + of.rank))
    return absorbed < keys * of.rank * width + step.new * keys * (of.size + of.values)


@dataclass(frozen=True)
class _Attention:
    """The operators of one layer's attention."""

    net: Network
    of: Latent
    heads: int
    step: TokenStep
    base: float

    @property
    def keys(self) -> int:
        """Rows of a sequence in the cache."""
        return self.step.past + self.step.new

    def pasts(self) -> tuple[int, ...]:
        """Return the cached rows of each sequence."""
        return self.step.lengths or (self.step.past,) * self.step.batch

    def cached(self, made: Tensor) -> Tensor:
        """Put the rows of the new tokens into the cache, normalised and rotated; return it."""
        net, of, step, cols = self.net, self.of, self.step, self.of.cached
        cache = net.state(net.name_of("cache_latent"), step.batch, self.keys, cols)
        at = net.name_of("norm_KV")
        named, turned = net.norm_weights(at, of.rank, "rmsnorm"), net.name_of("rope_K")
        for item, past in enumerate(self.pasts()):
            tail = f".b{item}" if step.batch > 1 else ""
            taken, put = item * step.new * cols, (item * self.keys + past) * cols
            views = [View(t, 1, step.new, of.rank, cols, 0, o) for t, o in ((made.name, taken), (cache.name, put))]
            net.apply("rmsnorm", f"{at}{tail}", views[:1], views[1], **named)
            views = [
                View(t, 1, step.new, of.rotated, cols, 0, o + of.rank)
                for t, o in ((made.name, taken), (cache.name, put))
            ]
            self._rope(f"{turned}{tail}", views, past)
        return cache

    def _rope(self, at: str, views: list[View], position: int) -> None:
        rotated = self.of.rotated
        attrs = {"head_dim": rotated, "rotated": rotated, "base": self.base, "position": position}
        self.net.apply("rope", at, views[:1], views[1], **attrs)

    def _rotate_queries(self, q: Tensor, into: Tensor, size: int) -> None:
        """Store the rotated columns of each head of Q after the other columns of a head of ``size`` columns."""
        of, step, at = self.of, self.step, self.net.name_of("rope_Q")
        for item, past in enumerate(self.pasts()):
            views = [
                View(t.name, self.heads, step.new, of.rotated, t.shape[1], wide, item * step.new * t.shape[1] + first)
                for t, wide, first in ((q, of.size, of.plain), (into, size, size - of.rotated))
            ]
            self._rope(f"{at}.b{item}" if step.batch > 1 else at, views, past)

    def _weights(self, weight: Tensor, first: int, cols: int) -> View:
        """Return the weights of K (from column 0 of a head on) or V of each head."""
        wide = self.of.plain + self.of.values
        return View(weight.name, self.heads, self.of.rank, cols, self.heads * wide, wide, first)

    def _by_head(self, tensor: Tensor, rows: int, size: int, cols: int) -> View:
        """Return the first ``cols`` columns of each head of ``size`` columns, of ``rows`` rows."""
        return View(tensor.name, self.heads, rows, cols, tensor.shape[1], size)

    def absorbed(self, q: Tensor, cache: Tensor, weight: Tensor, added: Tensor | None) -> Tensor:
        """Multiply Q by the weights of K, attend over cached rows, multiply the sums of rows by the weights of V."""
        net, of, heads, step, rows = self.net, self.of, self.heads, self.step, q.shape[0]
        wide = net.tensor(net.name_of("absorbed_Q"), (rows, heads * of.cached))
        source, put = self._by_head(q, rows, of.size, of.plain), self._by_head(wide, rows, of.cached, of.rank)
        net.apply("matmul", wide.name, [source, self._weights(weight, 0, of.plain)], put, transpose_b=True)
        self._rotate_queries(q, wide, of.cached)
        seen = [past + step.new for past in self.pasts()]
        rank = View(cache.name, step.batch, self.keys, of.rank, of.cached, self.keys * of.cached)
        sums = net.attention(wide, cache, rank, heads=heads, kv_heads=1, batch=seen, added=added)
        context = net.tensor(net.name_of("context_V"), (rows, heads * of.values))
        views = [self._by_head(sums, rows, of.rank, of.rank), self._weights(weight, of.plain, of.values)]
        net.apply("matmul", context.name, views, self._by_head(context, rows, of.values, of.values))
        return context

    def expanded(self, q: Tensor, cache: Tensor, weight: Tensor, added: Tensor | None) -> Tensor:
        """Compute K and V of all heads from every cached row, and add attention over them."""
        net, of, heads, step = self.net, self.of, self.heads, self.step
        placed = net.tensor(net.name_of("placed_Q"), q.shape)
        views = [self._by_head(t, q.shape[0], of.size, of.plain) for t in (q, placed)]
        net.apply("copy", placed.name, views[:1], views[1])
        self._rotate_queries(q, placed, of.size)
        rows = step.batch * self.keys
        k = net.tensor(net.name_of("matmul_K"), (rows, heads * of.size))
        v = net.tensor(net.name_of("matmul_V"), (rows, heads * of.values))
        known = View(cache.name, 1, rows, of.rank, of.cached, 0)
        for made, size, first, cols in ((k, of.size, 0, of.plain), (v, of.values, of.plain, of.values)):
            net.apply("matmul", made.name, [known, self._weights(weight, first, cols)],
                      self._by_head(made, rows, size, cols))  # fmt: skip
        turned = View(cache.name, heads, rows, of.rotated, of.cached, 0, of.rank)
        put = View(k.name, heads, rows, of.rotated, heads * of.size, of.size, of.plain)
        net.apply("copy", net.name_of("rotated_K"), [turned], put)
        return net.attention(q=placed, k=k, v=v, heads=heads, batch=[self.keys] * step.batch, added=added)
