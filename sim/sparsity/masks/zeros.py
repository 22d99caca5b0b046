"""One rule for the zeros of an operand: operators, pattern, density, scheme.

Patterns of a weight matrix B[K, N]: ``block`` (N x N blocks are zero or not as a whole), ``nm`` (N of each M weights
along K are not zero), ``unstructured`` (anywhere). Masks drawn here are not learnt: the positions of zeros are random,
their number is exact. Given masks: `sim.sparsity.masks.measured`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from sim.base.errors import did_you_mean
from sim.graph import Graph, Op
from sim.sparsity.masks import patterns
from sim.sparsity.masks.patterns import Mask as Mask
from sim.sparsity.structure import weighted

Operand = Literal["weights", "activations"]
OPERANDS: tuple[Operand, ...] = ("weights", "activations")

SCHEMES = {
    "skip": "blocks of the array that are all zero are neither loaded nor computed; the CPU omits their commands",
    "scheduler": "the same by a unit that reads the block index and issues the commands itself",
    "select": "N:M weights (or activations) packed in DRAM and scratchpad; each PE selects the other operand by an "
    "index",
    "pack": "zeros removed along K per block column; each PE selects its activation by an index",
    "gate": "a zero gates its multiplier: energy only",
    "compress": "stored in the smallest of the machine's formats, expanded by the load path: traffic only",
    "bitmap": "stored as a bitmap and values, expanded by the load path",
    "rle": "stored as runs of zeros and values, expanded by the load path",
    "csr": "stored by rows as column numbers and values, expanded by the load path",
    "csc": "stored by columns as row numbers and values, expanded by the load path",
}
"""Schemes by which a machine uses zeros."""

FAR = 0.25
"""Relative difference of requested and obtained density above which a run has a remark."""


@dataclass(frozen=True)
class ZeroRule:
    """A rule for the zeros of an operand. ``density``: share of values (or blocks) that are not zero.

    ``pattern``: "block" (of ``block`` elements), "nm" (``group`` = (N, M)), "unstructured" or "measured". ``operand``:
    "weights" or "activations". ``scheme``: a key of `SCHEMES`, "" = the machine's best. For one seed masks are
    nested; a mask depends only on the operator's name, the seed, the density and the shape.
    """

    block: int
    density: float
    seed: int = 0
    names: str = "*"
    pattern: str = "block"
    group: tuple[int, int] = (0, 0)
    scheme: str = ""
    operand: Operand = "weights"

    def __str__(self) -> str:
        """Return the line that `sim.sparsity.spec.parse` reads."""
        what = {
            "block": f"block{self.block}:{self.density!r}",
            "nm": f"{self.group[0]}:{self.group[1]}",
            "unstructured": f"unstructured:{self.density!r}",
        }[self.pattern]
        return self.line(what)

    def line(self, what: str) -> str:
        """Return the whole line of a rule, given the text of its pattern."""
        of = "" if self.operand == "weights" else f"{self.operand}="
        how = f"/{self.scheme}" if self.scheme else ""
        where = "" if self.names == "*" else f"@{self.names}"
        return f"{of}{what}{how}{where}"

    def applies_to(self, op: Op, graph: Graph) -> bool:
        """Return whether ``op`` is a matmul whose operand (a weight, or activations) the rule names."""
        if not op.is_matmul or (self.operand == "weights" and not graph.multiplies_weights(op)):
            return False
        if self._leaves_out(op):
            return False
        names = (op.name, op.inputs[1].tensor) if self.operand == "weights" else (op.name,)
        return any(fnmatchcase(name, self.names) for name in names)

    def _leaves_out(self, op: Op) -> bool:
        """Return whether the rule, which names no operators, omits ``op`` because its weights are stored transposed.

        Such as a tied head: the array transposes whole blocks, and no program skips zero blocks then.
        """
        drawn = type(self) is ZeroRule and self.names == "*" and self.operand == "weights"
        return drawn and self.scheme not in ("gate", "dense") and bool(op.attrs["transpose_b"])

    def problems(self, graph: Graph, dim: int) -> list[str]:
        """Return the problems of the rule for a graph. ``dim``: side of the array (for given masks)."""
        del dim
        if any(self.applies_to(op, graph) for op in graph.ops):
            return []
        weights = self.operand == "weights"
        every = weighted(graph) if weights else [op for op in graph.ops if op.is_matmul]
        what = "matmul with weights" if weights else "matmul"
        hint = did_you_mean(self.names, [op.name for op in every])
        return [f"sparsity {self}: no {what} of {graph.name} is named {self.names!r}{hint}"]

    def remarks(self, graph: Graph) -> list[str]:
        """Return a remark for each shape with too few blocks to come near the requested density.

        And one for the operators that the rule omits.
        """
        left = [op.name for op in weighted(graph) if self._leaves_out(op)]
        why = "stored as the transpose of its weights, whose blocks are not skipped: it runs dense"
        turned = [f"sparsity {self}: {', '.join(left)}: {why} (@{left[0]} asks for it, and is refused)"] if left else []
        if self.pattern != "block":
            return turned
        far: dict[tuple[int, int], list[str]] = {}
        for op in graph.ops:
            if self.applies_to(op, graph) and abs(self.obtained(op) - self.density) > FAR * self.density:
                far.setdefault(self.shape(op), []).append(op.name)
        found = turned
        for (rows, cols), names in far.items():
            more = f" and {len(names) - 1} more" if names[1:] else ""
            blocks = self._grid(rows, cols, self.block)
            has = f"{rows}x{cols} has {blocks} block{'s' * (blocks != 1)} of {self.block}x{self.block}"
            got = self.obtained(next(op for op in graph.ops if op.name == names[0]))
            found.append(
                f"sparsity {self}: {names[0]}{more}: {has}: the density obtained is {got:.4g}, not {self.density:g} "
                f"(nearest pattern: {self._finer(rows, cols)})"
            )
        return found

    @staticmethod
    def _grid(rows: int, cols: int, block: int) -> int:
        """Return the blocks of a matrix."""
        return -(-rows // block) * -(-cols // block)

    def _finer(self, rows: int, cols: int) -> str:
        """Return the pattern with the largest block, by halving, whose density comes near the requested one."""
        block = self.block // 2
        while block > 1 and abs(patterns.kept(self.density, self._grid(rows, cols, block)) * block * block
                                - self.density * rows * cols) > FAR * self.density * rows * cols:  # fmt: skip
            block //= 2
        return f"block{block}:{self.density:g}" if block else f"block{self.block}:1"

    def shape(self, op: Op) -> tuple[int, int]:
        """Return rows and columns of the operand: (K, N) of weights, (M, K) of activations."""
        m, n, k = op.mnk
        return (k, n) if self.operand == "weights" else (m, k)

    def obtained(self, op: Op) -> float:
        """Return the share of the operand's elements that the mask keeps."""
        return float(self.element_mask(op).mean())

    def mask_for(self, op: Op, k_blocks: int, j_blocks: int) -> Mask:
        """Return the mask of the operand's blocks, bool[k_blocks, j_blocks] (in blocks of this rule).

        round(density * k_blocks * j_blocks) blocks are True (a half rounds to even), at least one of a density above 0.
        """
        return patterns.random_cells(f"{self.seed}/{op.name}", (k_blocks, j_blocks), self.density)

    def element_mask(self, op: Op) -> Mask:
        """Return the mask of the operand's elements, bool[K, N] (of activations bool[M, K])."""
        rows, cols = self.shape(op)
        name = f"{self.seed}/{op.name}" if self.operand == "weights" else f"{self.seed}/{op.name}/activations"
        if self.pattern == "nm":
            if self.operand == "weights":
                return patterns.random_groups(name, (rows, cols), *self.group)
            return patterns.random_groups(name, (cols, rows), *self.group).T
        if self.pattern == "unstructured":
            return patterns.random_cells(name, (rows, cols), self.density)
        grid = self.mask_for(op, -(-rows // self.block), -(-cols // self.block))
        return patterns.enlarged(grid, self.block, (rows, cols))

    def array_mask(self, op: Op, dim: int) -> Mask:
        """Return whether each block of the array holds a kept weight, bool[ceil(K/dim), ceil(N/dim)]."""
        return patterns.touched(self.element_mask(op), dim)
