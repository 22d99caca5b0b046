"""Sliding windows: number of results of a convolution or a pooling along one axis."""

from __future__ import annotations


def positions(size: int, window: int, stride: int = 1, padding: int = 0, behind: int | None = None) -> int:
    """Return the number of windows of ``window`` in ``size`` elements with ``padding`` before them (< 1: none).

    ``behind``: padding after them, None = as much.
    """
    return (size + padding + (padding if behind is None else behind) - window) // stride + 1
