"""Measured sparsity: which blocks of a real model's weights are zero, in place of an assumed density.

`carat infer -o DIR` keeps DIR/masks.npz; ``carat run bert-mini --sparsity DIR/masks.npz``, or
``simulate("bert-mini", hw, sparsity=load(DIR / "masks.npz"))``, skips just the blocks that are zero there.
"""

from __future__ import annotations

from sim.sparsity.masks.measured import MeasuredMasks, load

__all__ = ["MeasuredMasks", "load"]
