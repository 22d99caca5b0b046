"""Sliding windows: how many results a convolution or a pooling has along one axis."""

from __future__ import annotations


def positions(size: int, window: int, stride: int = 1, padding: int = 0) -> int:
    """Return how many windows of ``window`` fit into ``size`` elements with ``padding`` on both ends (< 1: none)."""
    return (size + 2 * padding - window) // stride + 1
