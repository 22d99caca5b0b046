"""One layer of a decoder: norms, attention with its cache, and the feed-forward network or its experts."""

from __future__ import annotations

from functools import partial

from sim.graph import Tensor, View
from workloads.networks.builder import Capped, Network
from workloads.networks.config import Config
from workloads.networks.decoding.cache import alone, into_cache, pieces, rotated, written
from workloads.networks.decoding.latent import latent_attention
from workloads.networks.decoding.step import TokenStep
from workloads.networks.experts import experts
from workloads.networks.feed_forward import feed_forward


def addend(net: Network, config: Config, step: TokenStep) -> Tensor | None:
    """Return the addend of a layer's scores: the causal mask, or ALiBi's bias with the mask in it."""
    keys, sums = step.keys(config), net.sums
    if step.encodes:
        masked = step.new > 1 and (step.causal or 0 < config.window // 2 < step.new)
        return net.input(net.name_of("mask"), step.new, step.new, sums) if masked else None
    if config.alibi:
        return net.tensor("alibi", (config.heads, step.new, keys), sums, "input")
    dtype = net.dtype if config.capped else sums
    return net.input(net.name_of("causal_mask"), step.new, keys, dtype) if step.new > 1 else None


def layer(
    net: Network, config: Config, step: TokenStep, x: Tensor, added: Tensor | None, normed: bool = False
) -> Tensor:
    """Return the output of one layer. ``added``: to its scores, None = nothing. ``normed``: x is, for its attention."""
    routed = partial(experts, seed=step.seed, routing=step.routing) if config.experts else feed_forward
    attend = latent_attention if config.latent else _encoded if step.encodes else _attention
    branches = (partial(attend, step=step, added=added), routed)
    norm = partial(net.norm, kind=config.norm, weights=config.norm_weights)
    if config.parallel_norms:
        sources = [norm(x, name=f"norm{n + 1}") for n in range(config.parallel_norms)]
        made = [branch(net, config, source) for branch, source in zip(branches, [*sources, sources[0]], strict=False)]
        return net.add(x, net.add(made[0], made[1], name="branch_add"), name="residual_add1")
    for n, branch in enumerate(branches, start=1):
        before = config.norms_at in ("before", "both") and not (normed and n == 1)
        part = branch(net, config, norm(x, name=f"norm{n}") if before else x)
        if config.norms_at in ("branch", "both"):
            part = norm(part, name=f"branch_norm{n}")
        x = net.add(x, part, name=f"residual_add{n}")
        if config.norms_at == "behind":
            x = norm(x, name=f"norm{n}")
    return x


def _attention(net: Network, config: Config, x: Tensor, *, step: TokenStep, added: Tensor | None) -> Tensor:
    """Q, K and V, the last two into the cache, and attention over the cache's new content."""
    bias, keys = config.qkv_bias or config.biases, step.keys(config)
    q = _normed(net, config, net.linear(x, config.queries, name="matmul_Q", bias=bias), "Q")
    caches = [net.state(net.name_of(f"cache_{part}"), step.batch, keys, config.keys) for part in "KV"]
    places = [written(cache, config, step) for cache in caches]
    if config.rope:
        q = rotated(net, config, step, q, "rope_Q")
        k = _normed(net, config, net.linear(x, config.keys, name="matmul_K", bias=bias), "K")
        rotated(net, config, step, k, "rope_K", places[0])
    elif config.qk_norm != "none":
        k = net.linear(x, config.keys, name="matmul_K", bias=bias)
        _norm(net, config, pieces(k, config, step, places[0]), "K")
    else:
        into_cache(net, x, config, step, ("matmul_K", bias, places[0]))
    into_cache(net, x, config, step, ("matmul_V", bias, places[1]))
    seen = [one.keys(config) for one in alone(step)] if step.lengths else [keys] * step.batch
    bounded = Capped(added) if config.capped else added
    context = net.attention(q, *caches, heads=config.heads, kv_heads=config.groups, batch=seen, added=bounded)
    return net.linear(context, config.hidden, name="W_out", bias=config.out_bias or config.biases)


def _encoded(net: Network, config: Config, x: Tensor, *, step: TokenStep, added: Tensor | None) -> Tensor:
    """Q, K and V, and attention over the tokens of the graph alone."""
    bias, widths = config.qkv_bias or config.biases, {"Q": config.queries, "K": config.keys, "V": config.keys}
    made = {part: net.linear(x, cols, name=f"matmul_{part}", bias=bias) for part, cols in widths.items()}
    for part in "QK":
        made[part] = _normed(net, config, made[part], part)
        if config.rope:
            made[part] = rotated(net, config, step, made[part], f"rope_{part}")
    q, k, v = made.values()
    context = net.attention(q, k, v, heads=config.heads, kv_heads=config.groups, batch=step.batch, added=added)
    return net.linear(context, config.hidden, name="W_out", bias=config.out_bias or config.biases)


def _normed(net: Network, config: Config, x: Tensor, part: str) -> Tensor:
    """Return Q or K, normalised per head or per row if the model does so."""
    if config.qk_norm == "none":
        return x
    result = net.tensor(f"{net.prefix}normed_{part}", x.shape)
    _norm(net, config, [(View.whole(x), View.whole(result))], part)
    return result


def _norm(net: Network, config: Config, views: list[tuple[View, View]], part: str) -> None:
    """Normalise Q or K per head or per row, into their tensor."""
    cols = views[0][0].cols
    size, at = config.size if config.qk_norm == "head" else cols, net.name_of(f"norm_{part}")
    named = net.norm_weights(at, size, config.norm, config.norm_weights)
    for item, pair in enumerate(views):
        source, put = (
            View(v.tensor, v.batch, v.rows * (cols // size), size, size, v.batch_stride, v.offset) for v in pair
        )
        net.apply(config.norm, f"{at}.b{item}" if len(views) > 1 else at, [source], put, **named)
