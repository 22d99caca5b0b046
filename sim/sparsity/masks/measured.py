"""Real masks: the zero weights of a model, from a file, instead of an assumed density.

A file holds one array per operator, under the operator's name ("L0.FF1") or its weight's ("L0.FF1.weight"): a mask or
the weights themselves [K, N], or a mask of the array's blocks [ceil(K/dim), ceil(N/dim)] as `carat infer -o DIR` writes
to DIR/masks.npz. Non-zero means kept. A .npy file holds one array, for every operator of that shape.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sim.base.errors import InputError, did_you_mean, some
from sim.graph import Graph, Op
from sim.sparsity.masks import patterns
from sim.sparsity.masks.files import ANY, read
from sim.sparsity.masks.patterns import Mask
from sim.sparsity.masks.zeros import ZeroRule
from sim.sparsity.structure import weighted


@dataclass(frozen=True)
class MeasuredMasks(ZeroRule):
    """A rule with given masks by operator or weight: bool[K, N], or bool[k_blocks, j_blocks] of ``block``.

    ``block`` 0: the side of the run's array. ``source``: the file, for errors.
    """

    masks: Mapping[str, Mask] = field(default_factory=dict, compare=False)
    source: str = field(default="", compare=False)
    digest: str = ""

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for name in sorted(self.masks):
            digest.update(f"{name}{self.masks[name].shape}".encode() + np.packbits(self.masks[name]).tobytes())
        object.__setattr__(self, "digest", digest.hexdigest()[:12])
        object.__setattr__(self, "pattern", "measured")

    def __str__(self) -> str:
        """Block size and a digest of the masks, so that different masks have different names."""
        return self.line(f"measured{self.block or ''}:{self.digest}")

    def given(self, op: Op) -> Mask | None:
        """Return the mask of an operator in the file, or None."""
        weight = op.inputs[1].tensor if self.operand == "weights" else op.name
        for name in (op.name, weight, f"{op.name}.weight"):
            if name in self.masks:
                return self.masks[name]
        return self.masks.get(ANY)

    def applies_to(self, op: Op, graph: Graph) -> bool:
        """Return whether ``op`` is a matmul by a weight with a mask."""
        return super().applies_to(op, graph) and self.given(op) is not None

    def problems(self, graph: Graph, dim: int) -> list[str]:
        """Return the problems: a mask of the wrong shape, names that no operator has."""
        found = []
        where = self.source or str(self)
        measured = [op for op in graph.ops if self.applies_to(op, graph)]
        for op in measured:
            whole, blocks = self._shapes(op, self.block or dim)
            mask = self.given(op)
            assert mask is not None
            if mask.shape not in (whole, blocks):
                found.append(
                    f"sparsity {where}: {op.name} has {whole} weights, {blocks} blocks of {self.block or dim}; "
                    f"its mask has shape {mask.shape}"
                )
        if not measured:
            first = sorted(self.masks)[0] if self.masks else ""
            found.append(
                f"sparsity {where}: {graph.name} has none of the measured operators {sorted(self.masks)[:3]}"
                f"{did_you_mean(first, [op.name for op in weighted(graph)])}"
            )
        return some(found)

    def _shapes(self, op: Op, block: int) -> tuple[tuple[int, int], tuple[int, int]]:
        whole = self.shape(op)
        return whole, (-(-whole[0] // block), -(-whole[1] // block))

    def mask_for(self, op: Op, k_blocks: int, j_blocks: int) -> Mask:
        """Return the measured mask; `check` has compared its shape."""
        mask = self.given(op)
        assert mask is not None
        return mask

    def element_mask(self, op: Op) -> Mask:
        """Return the measured mask of ``op``, block masks enlarged to weights."""
        mask = self.given(op)
        assert mask is not None
        whole = self.shape(op)
        if mask.shape == whole:
            return mask
        block = self.block or -(-whole[0] // mask.shape[0])
        return patterns.enlarged(mask, block, whole)


def load(path: str | Path, block: int = 0, *, scheme: str = "skip", names: str = "*") -> MeasuredMasks:
    """Read masks or weights. ``block``: side of the blocks of block masks (0: of the run's array).

    Raises InputError for a file that cannot be read, holds no arrays, or arrays that are no matrices.
    """
    arrays = read(Path(path))
    if Path(path).suffix == ".safetensors":  # files of whole models also contain biases and gains
        arrays = {name: array for name, array in arrays.items() if array.ndim == 2}
    wrong = [f"{path}: {name!r} has shape {a.shape}, must be a matrix" for name, a in arrays.items() if a.ndim != 2]
    if wrong or not arrays:
        raise InputError(wrong or f"{path}: holds no arrays")
    masks = {name: np.asarray(array != 0) for name, array in arrays.items()}
    kept = sum(int(mask.sum()) for mask in masks.values()) / max(1, sum(mask.size for mask in masks.values()))
    return MeasuredMasks(block, kept, names=names, scheme=scheme, masks=masks, source=str(path))
