"""Sliding windows: how many results a convolution or a pooling has along one axis."""

from __future__ import annotations


def positions(size: int, window: int, stride: int = 1, padding: int = 0, behind: int | None = None) -> int:
    """Return how many windows of ``window`` fit into ``size`` elements with ``padding`` before them (< 1: none).

    ``behind``: padding behind them, None = as much.
    """
    return (size + padding + (padding if behind is None else behind) - window) // stride + 1
