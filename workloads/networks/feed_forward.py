"""The feed-forward network of a decoder layer, gated or not."""

from __future__ import annotations

from sim.graph import Tensor
from workloads.networks.builder import Network
from workloads.networks.config import Config

ACTIVATIONS = {"gelu_tanh": "gelu"}
"""Forms of an activation that are one operator."""


def feed_forward(net: Network, config: Config, x: Tensor, name: str = "") -> Tensor:
    """Add activation(x W1) W2, or (activation(x W_gate) * x W_up) W_down.

    A ReLU is applied by the product; its square ("relu2") is the ReLU times itself.
    """
    kind = ACTIVATIONS.get(config.activation, config.activation)
    biased = config.biases or config.ffn_bias
    if not config.gated:
        active = _activated(net, config, x, kind, f"{name}FF1", f"{name}{kind}")
        return net.linear(active, config.hidden, name=f"{name}FF2", bias=biased)
    gate = net.linear(x, config.ffn, name=f"{name}FF_gate", bias=biased)
    up = net.linear(x, config.ffn, name=f"{name}FF_up", bias=biased)
    active = net.multiply(net.each(kind, gate, name=f"{name}{kind}"), up, name=f"{name}multiply")
    return net.linear(active, config.hidden, name=f"{name}FF_down", bias=biased)


def _activated(net: Network, config: Config, x: Tensor, kind: str, product: str, name: str) -> Tensor:
    """Add activation(x W1)."""
    relu = kind in ("relu", "relu2")
    biased = config.biases or config.ffn_bias
    wide = net.linear(x, config.ffn, name=product, bias=biased, activation="relu" if relu else "none")
    if relu:
        return net.multiply(wide, wide, name=name) if kind == "relu2" else wide
    return net.each(kind, wide, name=name)
