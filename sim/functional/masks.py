"""Measured sparsity: the zero blocks of a real model's weights, instead of an assumed density.

`carat infer -o DIR` writes DIR/masks.npz; ``carat run bert-mini --sparsity DIR/masks.npz``, or
``simulate("bert-mini", hw, sparsity=load(DIR / "masks.npz"))``, skips exactly these zero blocks.
"""

from __future__ import annotations

from pathlib import Path

from sim.sparsity.masks import measured
from sim.sparsity.rules import Rules


def load(path: str | Path, block: int = 0, *, scheme: str = "skip", names: str = "*") -> Rules:
    """Return the sparsity of a file of masks or weights; arguments and errors as `sim.sparsity.masks.measured.load`."""
    return Rules((measured.load(path, block, scheme=scheme, names=names),))


__all__ = ["load"]
