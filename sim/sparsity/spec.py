"""Block-sparse weights: which blocks of a weight matrix are zero, from a line such as "block16:0.5".

The grammar is ``pattern:density[@names]``. ``block16`` makes a weight matrix B[K,N] of 16 x 16 blocks;
density is the share of blocks that are *not* zero; ``@*FF*`` restricts it to matmuls whose name matches the
glob. "dense" is no sparsity at all. Masks are made here, not learnt: which blocks are zero is random, how
many is exact.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt

from sim.errors import InputError, did_you_mean
from sim.graph import Graph, Op

Mask = npt.NDArray[np.bool_]
"""Blocks of B by (k, j): True where the block is stored and computed."""

MAX_BLOCK = 65535
"""Columns and rows of a block travel in 16-bit fields of a command (sim/isa.py)."""


@dataclass(frozen=True)
class Sparsity:
    """Block sparsity of weights. ``density`` of 1 is a full mask; ``block`` of 0 is dense, no mask at all.

    For one seed masks are nested: what a lower density keeps, a higher one keeps too. A mask depends on
    nothing but the operator's name, the seed, the density and the block grid.
    """

    block: int
    density: float
    seed: int = 0
    names: str = "*"

    def __str__(self) -> str:
        """Return the line that `parse` reads."""
        where = "" if self.names == "*" else f"@{self.names}"
        return f"block{self.block}:{self.density!r}{where}" if self.block else "dense"

    def applies_to(self, op: Op, graph: Graph) -> bool:
        """Return whether ``op`` is a matmul by a weight whose name matches."""
        is_weighted = op.kind == "matmul" and graph.tensors[op.inputs[1].tensor].kind == "weight"
        return bool(self.block) and is_weighted and fnmatchcase(op.name, self.names)

    def check(self, graph: Graph, dim: int) -> None:
        """Raise InputError unless `array_mask` has a mask for this array and the names match an operator."""
        problems = self._block_problems(dim)
        weighted = [op.name for op in graph.ops if Sparsity(1, 1.0).applies_to(op, graph)]
        if self.block and not any(fnmatchcase(name, self.names) for name in weighted):
            problems.append(
                f"sparsity {self}: no matmul with weights of {graph.name} is named {self.names!r}"
                f"{did_you_mean(self.names, weighted)}"
            )
        if problems:
            raise InputError(problems)

    def mask_for(self, op: Op, k_blocks: int, j_blocks: int) -> Mask:
        """Return the mask of ``op``'s weights, bool[k_blocks, j_blocks] (in blocks of this sparsity).

        Exactly round(density * k_blocks * j_blocks) blocks are True (a half rounds to even).
        """
        blocks = k_blocks * j_blocks
        kept = round(self.density * blocks) if self.block else blocks
        mask = np.zeros(blocks, np.bool_)
        mask[_order(f"{self.seed}/{op.name}", blocks)[:kept]] = True
        return mask.reshape(k_blocks, j_blocks)

    def array_mask(self, op: Op, dim: int) -> Mask:
        """Return the mask of ``op``'s weights in blocks of the array, bool[ceil(K/dim), ceil(N/dim)].

        A block of several array blocks is zero or not as a whole. Raises InputError unless it is a multiple.
        """
        if problems := self._block_problems(dim):
            raise InputError(problems)
        _, n, k = op.mnk
        block = self.block or dim
        times = block // dim
        mask = self.mask_for(op, -(-k // block), -(-n // block))
        wide = np.repeat(np.repeat(mask, times, axis=0), times, axis=1)
        return wide[: -(-k // dim), : -(-n // dim)]

    def _block_problems(self, dim: int) -> list[str]:
        if self.block % dim == 0:
            return []
        legal = max(1, round(self.block / dim)) * dim
        rule = f"block {self.block} is not a multiple of the array's {dim} (nearest: block{legal})"
        return [f"sparsity {self}: {rule}"]


def _order(name: str, count: int) -> npt.NDArray[np.intp]:
    """Return a random order of range(count) that is the same on every machine and for every numpy.

    Ranks are the hashes of a counter started by the name: the SplitMix64 finaliser (Steele, Lea, Flood 2014).
    """
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    x = np.uint64(start) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(x ^ (x >> np.uint64(31)), kind="stable")


def parse(text: str, seed: int = 0) -> Sparsity:
    """Read "block16:0.5", "block16:0.5@*FF*" or "dense". Raises InputError listing all problems."""
    if text == "dense":
        return Sparsity(0, 1.0, seed)
    body, at, names = text.partition("@")
    pattern, colon, density_text = body.partition(":")
    problems = []
    word = re.fullmatch(r"([A-Za-z:_-]*)(.*)", pattern)
    kind, size = word.groups() if word else ("", "")
    if kind != "block":
        problems.append(f"unknown pattern {pattern!r}{did_you_mean(kind or pattern, ('block', 'dense'))}")
    elif not re.fullmatch(r"[0-9]{1,9}", size) or not 1 <= int(size) <= MAX_BLOCK:
        problems.append(f"block size {size!r} must be a whole number from 1 to {MAX_BLOCK}, as in block16")
    density = _density(density_text) if colon else None
    if density is None:
        problems.append(f"density {density_text!r} must be a number, as in block16:0.5")
    elif not 0.0 <= density <= 1.0:
        nearest = 0 if density < 0 else 1
        problems.append(f"density {density:g} is the share of non-zero blocks, 0 to 1 (nearest: {nearest})")
    if at and not names:
        problems.append("no name behind '@'; leave it out to mean all weights")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        problems.append(f"seed {seed!r} must be a whole number >= 0")
    if problems:
        raise InputError([f"sparsity {text!r}: {problem}" for problem in problems])
    return Sparsity(int(size), float(density_text), seed, names or "*")


def _density(text: str) -> float | None:
    """Return the number ``text``, or None where it is none."""
    return float(text) if re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", text) else None
