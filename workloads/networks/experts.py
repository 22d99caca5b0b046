"""A mixture of experts: a router, and a feed-forward network per expert on the tokens routed to it.

Experts of each token are drawn from a seed, uniformly and distinct, or given as tokens of each expert
(of every layer). Shared experts, applied to every token, are one more feed-forward network. Only experts with a token
are loaded and computed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from sim.graph import Tensor, View
from workloads.networks.builder import Network
from workloads.networks.config import Config
from workloads.networks.feed_forward import feed_forward


def loads(tokens: int, config: Config, seed: int, layer: str) -> list[int]:
    """Return the tokens of each expert of a layer, drawn from ``seed``."""
    draw = random.Random(f"{seed}:{layer}")
    picks = Counter(one for _ in range(tokens) for one in draw.sample(range(config.experts), config.per_token))
    return [picks[one] for one in range(config.experts)]


def routing_problems(name: str, config: Config, routing: Sequence[int], tokens: int) -> list[str]:
    """Return the problems of given tokens of each expert."""
    if not routing:
        return []
    if not config.experts:
        return [f"{name}: routing: the model has no experts (nearest: leave it out)"]
    problems, wanted = [], tokens * config.per_token
    if len(routing) != config.experts:
        problems.append(f"{name}: routing names {len(routing)} experts, the model has {config.experts}")
    if sum(routing) != wanted or max(routing) > tokens:
        problems.append(
            f"{name}: routing sends {sum(routing)} tokens, {max(routing)} to one expert; {tokens} tokens with "
            f"{config.per_token} experts each are {wanted}, at most {tokens} to one"
        )
    return problems


def experts(net: Network, config: Config, x: Tensor, seed: int = 0, routing: Sequence[int] = ()) -> Tensor:
    """Add router, experts and the sum of their shares; return it."""
    rows, cols = x.shape
    router = net.linear(x, config.experts, name="router", bias=config.router_bias)
    net.each(config.router, router, name=f"router_{config.router}")
    total: Tensor | None = None
    if config.shared_ffn:
        total = feed_forward(net, replace(config, ffn=config.shared_ffn), x, name="shared.")
        if config.shared_gate:
            gate = net.each("sigmoid", net.linear(x, 1, name="shared.gate", bias=False), name="shared.sigmoid")
            total = net.multiply(total, gate, name="shared.weighed")
    for expert, count in enumerate(routing or loads(rows, config, seed, net.name_of("experts"))):
        if not count:
            continue
        ids = net.input(net.name_of(f"E{expert}.ids"), 1, count, "int32")
        shares = net.input(net.name_of(f"E{expert}.shares"), 1, count)
        taken = net.tensor(net.name_of(f"E{expert}.tokens"), (count, cols))
        net.apply("pick_rows", taken.name, [View.whole(x), View.whole(ids)], View.whole(taken))
        fed = feed_forward(net, config, taken, name=f"E{expert}.")
        part = net.tensor(net.name_of(f"E{expert}.part"), (rows, cols))
        net.apply("scatter_add", part.name, [View.whole(fed), View.whole(ids), View.whole(shares)], View.whole(part))
        total = part if total is None else net.add(total, part, name=f"E{expert}.add")
    assert total is not None, "each token has an expert"
    return total
