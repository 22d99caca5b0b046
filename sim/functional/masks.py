"""Measured sparsity: which blocks of a real model's weights are zero, in place of an assumed density.

`carat infer -o DIR` keeps DIR/masks.npz; ``simulate("bert-mini", hw, sparsity=load(DIR / "masks.npz", hw.dim))`` skips
just the blocks that are zero there. Operators are matched by name, as the encoder builders give them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sim.errors import InputError
from sim.graph import Graph, Op
from sim.sparsity.spec import Mask, Sparsity


@dataclass(frozen=True)
class MeasuredMasks(Sparsity):
    """Sparsity with the given masks: operator name -> bool[k_blocks, j_blocks] in blocks of ``block`` elements."""

    masks: Mapping[str, Mask] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        """Block size and a digest of the masks, so that two measurements are never taken for one."""
        digest = hashlib.sha256()
        for name in sorted(self.masks):
            digest.update(name.encode() + np.packbits(self.masks[name]).tobytes())
        return f"measured{self.block}:{digest.hexdigest()[:12]}"

    def applies_to(self, op: Op, graph: Graph) -> bool:
        """Return whether ``op`` is a matmul by a weight that was measured."""
        return op.name in self.masks and super().applies_to(op, graph)

    def check(self, graph: Graph, dim: int) -> None:
        """Raise InputError unless every mask has the shape of its operator's weights, and one belongs to the graph."""
        problems = self._block_problems(dim)
        measured = [op for op in graph.ops if self.applies_to(op, graph)]
        for op in measured:
            _, n, k = op.mnk
            wanted = (-(-k // self.block), -(-n // self.block))
            found = self.masks[op.name].shape
            if found != wanted:
                problems.append(f"sparsity {self}: {op.name} has {wanted} blocks of {self.block}, its mask {found}")
        if not measured:
            problems.append(
                f"sparsity {self}: {graph.name} has none of the measured operators {sorted(self.masks)[:3]}"
            )
        if problems:
            raise InputError(problems)

    def mask_for(self, op: Op, k_blocks: int, j_blocks: int) -> Mask:
        """Return the measured mask; `check` has compared its shape."""
        return self.masks[op.name]


def load(path: str | Path, block: int) -> MeasuredMasks:
    """Read the masks that `carat infer` kept. ``block``: side of the array they were measured for."""
    try:
        with np.load(path) as stored:
            masks = {name: stored[name].astype(np.bool_) for name in stored.files}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as masks of `carat infer`: {error}") from error
    kept = sum(int(mask.sum()) for mask in masks.values()) / max(1, sum(mask.size for mask in masks.values()))
    return MeasuredMasks(block, kept, masks=masks)
