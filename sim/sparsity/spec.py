"""What is sparse, and what the machine is to do about it, from a line such as "block16:0.5", "2:4" or "masks.npz".

The grammar is ``[operand=]pattern[:density][/scheme][@names]``; the operand is the weights, or as in "activations=2:4".
"attention=topk:0.2/pack" is a table [attention] in a line (`rules`). Patterns of a weight matrix B[K,N]: ``block16``
(16 x 16 blocks are zero or not as a whole), ``2:4`` (of each four weights along K two are not zero), ``unstructured``,
or a file of real masks (.npz, .npy, .safetensors; `measured`). Density is the share of what is *not* zero. The scheme
says what the machine makes of the zeros (`SCHEMES`); left out, it is the best one that the machine has for the pattern.
``@*FF*`` restricts the line to matmuls whose name matches the glob; "dense" is no sparsity at all. A file SPEC.toml
holds several such rules (`rules`). Masks drawn here are not learnt: which weights are zero is random, how many exact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError, did_you_mean
from sim.graph import Graph, Op
from sim.sparsity import attention, patterns
from sim.sparsity.patterns import Mask as Mask

if TYPE_CHECKING:
    from sim.sparsity.pruning import Pruning
    from sim.sparsity.rules import Rules

MAX_BLOCK = 65535
"""Columns and rows of a block travel in 16-bit fields of a command (sim/isa/commands.py)."""

PATTERNS = {
    "dense": "no zeros",
    "blockN:D": "N x N blocks, share D of them not zero",
    "N:M": "N of each M weights along K are not zero, e.g. 2:4",
    "unstructured:D": "share D of the weights is not zero, anywhere",
    "activations=...": "the same of the activations, e.g. activations=2:4",
    "attention=...": "scores that count: causal, window:64, longformer:32,2, topk:64, topk:0.2/pack, threshold:0.15",
    "wNaM": "N-bit integer weights, M-bit activations, e.g. w4a8; w4a8s16: sums too (types, outliers: SPEC.toml)",
    "FILE": "real masks or weights by operator (.npz, .npy, .safetensors), e.g. masks.npz of `carat infer`",
    "SPEC.toml": "rules per operator, pruning, attention and compression (docs/SPARSITY.md)",
}

SCHEMES = {
    "skip": "blocks of the array that are all zero are neither loaded nor computed; the CPU leaves their commands out",
    "scheduler": "the same by a unit that reads the block index and issues the commands itself",
    "select": "N:M weights (or activations) packed in DRAM and scratchpad; each PE picks what they meet by an index",
    "pack": "zeros squeezed out along K per block column; each PE picks its activation by an index",
    "gate": "a zero keeps its multiplier from switching: energy only",
    "compress": "stored in the smallest of the machine's formats, expanded by the load path: traffic only",
    "bitmap": "stored as a bitmap and values, expanded by the load path",
    "rle": "stored as runs of zeros and values, expanded by the load path",
    "csr": "stored by rows as column numbers and values, expanded by the load path",
    "csc": "stored by columns as row numbers and values, expanded by the load path",
}
"""What a machine can make of zeros."""

OPERANDS = ("weights", "activations")

FILES = re.compile(r"(.+\.(?:npz|npy|safetensors))(?:/([A-Za-z_]+))?")


@dataclass(frozen=True)
class Sparsity:
    """One rule. ``density`` of 1 is a full mask; ``block`` of 0 is dense, no mask at all.

    ``pattern``: "block" (of ``block`` elements), "nm" (``group`` = (N, M)), "unstructured" or "measured". ``operand``:
    "weights" or "activations". ``scheme``: a key of `SCHEMES`, "" = the machine's best. For one seed masks are
    nested; a mask depends on nothing but the operator's name, the seed, the density and the shape.
    """

    block: int
    density: float
    seed: int = 0
    names: str = "*"
    pattern: str = "block"
    group: tuple[int, int] = (0, 0)
    scheme: str = ""
    operand: str = "weights"

    def __str__(self) -> str:
        """Return the line that `parse` reads."""
        what = {
            "block": f"block{self.block}:{self.density!r}",
            "nm": f"{self.group[0]}:{self.group[1]}",
            "unstructured": f"unstructured:{self.density!r}",
        }[self.pattern]
        return self.line(what) if self.active else "dense"

    def line(self, what: str) -> str:
        """Return the whole line around a pattern's own part of it."""
        of = "" if self.operand == "weights" else f"{self.operand}="
        how = f"/{self.scheme}" if self.scheme else ""
        where = "" if self.names == "*" else f"@{self.names}"
        return f"{of}{what}{how}{where}"

    @property
    def active(self) -> bool:
        """Whether there is anything to do; "dense" is the rule without a block."""
        return self.pattern != "block" or self.block > 0

    def applies_to(self, op: Op, graph: Graph) -> bool:
        """Return whether ``op`` is a matmul whose operand (a weight, unless activations are meant) the rule names."""
        if not self.active or op.kind != "matmul":
            return False
        b = graph.tensors[op.inputs[1].tensor]
        if self.operand == "weights" and b.kind != "weight":
            return False
        return fnmatchcase(op.name, self.names) or (self.operand == "weights" and fnmatchcase(b.name, self.names))

    def rule_for(self, op: Op, graph: Graph, operand: str = "weights") -> Sparsity | None:
        """Return the rule for an operand of ``op``, or None."""
        return self if self.operand == operand and self.applies_to(op, graph) else None

    @property
    def only_prunes(self) -> bool:
        """Whether there is nothing to do."""
        return not self.active

    @property
    def prunings(self) -> tuple[Pruning, ...]:
        """A line of zeros prunes nothing."""
        return ()

    def edit(self, graph: Graph) -> Graph:
        """Return the graph with what the rules change in it: nothing, here."""
        return graph

    def chosen(self, op: Op, graph: Graph) -> None:
        """A line of zeros chooses no scores."""

    def compression_for(self, op: Op, graph: Graph) -> None:
        """A line of zeros says nothing about how values are stored."""

    def precision_for(self, op: Op) -> None:
        """A line of zeros says nothing about word sizes."""

    def check(self, graph: Graph, dim: int) -> None:
        """Raise InputError unless the names match an operator. ``dim``: side of the array (for given masks)."""
        if problems := self.problems(graph, dim):
            raise InputError(problems)

    def problems(self, graph: Graph, dim: int) -> list[str]:
        """Return what `check` would raise."""
        del dim
        every: list[str] = [op.name for op in graph.ops if op.kind == "matmul"]
        if self.operand == "weights":
            every = [op.name for op in graph.ops if Sparsity(1, 1.0).applies_to(op, graph)]
        if not self.active or any(self.applies_to(op, graph) for op in graph.ops):
            return []
        what = "matmul with weights" if self.operand == "weights" else "matmul"
        return [f"sparsity {self}: no {what} of {graph.name} is named {self.names!r}{did_you_mean(self.names, every)}"]

    def mask_for(self, op: Op, k_blocks: int, j_blocks: int) -> Mask:
        """Return the mask of ``op``'s weights, bool[k_blocks, j_blocks] (in blocks of this sparsity).

        Exactly round(density * k_blocks * j_blocks) blocks are True (a half rounds to even).
        """
        density = self.density if self.active else 1.0
        return patterns.random_cells(f"{self.seed}/{op.name}", (k_blocks, j_blocks), density)

    def element_mask(self, op: Op) -> Mask:
        """Return which weights of ``op`` are kept, bool[K, N] (for activations bool[M, K])."""
        m, n, k = op.mnk
        rows, cols = (k, n) if self.operand == "weights" else (m, k)
        name = f"{self.seed}/{op.name}" if self.operand == "weights" else f"{self.seed}/{op.name}/activations"
        if self.pattern == "nm":
            if self.operand == "weights":
                return patterns.random_groups(name, (rows, cols), *self.group)
            return patterns.random_groups(name, (cols, rows), *self.group).T
        if self.pattern == "unstructured":
            return patterns.random_cells(name, (rows, cols), self.density)
        block = self.block or 1
        return patterns.enlarged(self.mask_for(op, -(-rows // block), -(-cols // block)), block, (rows, cols))

    def array_mask(self, op: Op, dim: int) -> Mask:
        """Return which blocks of the array hold a kept weight, bool[ceil(K/dim), ceil(N/dim)]."""
        return patterns.touched(self.element_mask(op), dim)


def parse(text: str, seed: int = 0) -> Sparsity | Rules:
    """Read "block16:0.5", "2:4", "unstructured:0.3/bitmap@*FF*", "w4a8", "masks.npz", "SPEC.toml" or "dense".

    And "activations=2:4", "attention=topk:0.2/pack". Raises InputError listing all problems.
    """
    if text == "dense":
        return Sparsity(0, 1.0, seed)
    if prefixed := re.fullmatch(r"([A-Za-z_]+)=(.*)", text):
        return _prefixed(prefixed[1], prefixed[2], seed)
    from sim.sparsity import precision

    if (words := precision.short(text)) is not None:
        from sim.sparsity.rules import Rules

        return Rules((), precisions=(words,))
    body, at, names = text.partition("@")
    if body.endswith(".toml"):
        from sim.sparsity.rules import read

        if at:
            raise InputError(f"sparsity {text!r}: the file names the operators of each rule, leave out '@{names}'")
        return read(Path(body), seed)
    problems = []
    if at and not names:
        problems.append("no name behind '@'; leave it out to mean all weights")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        problems.append(f"seed {seed!r} must be a whole number >= 0")
    if file := FILES.fullmatch(body):
        problems += scheme_problems(file[2] or "", "measured")
        _raise(text, problems)
        from sim.sparsity.measured import load

        return load(file[1], scheme=file[2] or default_scheme("weights"), names=names or "*")
    body, _, scheme = body.partition("/")
    found, more = _pattern(body, scheme)
    _raise(text, more + problems)
    return Sparsity(seed=seed, names=names or "*", scheme=scheme, **found)


def _prefixed(operand: str, line: str, seed: int) -> Sparsity | Rules:
    """Read a line behind "activations=", "attention=" or "weights="."""
    if operand == "attention":
        from sim.sparsity.rules import attention_line

        return attention_line(line, seed)
    if operand not in OPERANDS:
        raise InputError(f"sparsity: unknown operand {operand!r}{did_you_mean(operand, (*OPERANDS, 'attention'))}")
    rule = parse(line, seed)
    if not isinstance(rule, Sparsity) or not rule.active or rule.operand != "weights":
        raise InputError(f"sparsity '{operand}={line}': {operand}= takes a pattern or a file of masks, as in 2:4")
    file = FILES.fullmatch(line.partition("@")[0])
    return replace(rule, operand=operand, scheme=default_scheme(operand) if file and not file[2] else rule.scheme)


def _raise(text: str, problems: list[str]) -> None:
    if problems:
        raise InputError([f"sparsity {text!r}: {problem}" for problem in problems])


def _pattern(body: str, scheme: str) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of a rule and what is wrong with them."""
    if group := re.fullmatch(r"([+-]?\d+):(\d+)", body):
        keep, of = int(group[1]), int(group[2])
        problems = group_problems(keep, of) + scheme_problems(scheme, "nm")
        return {"block": 0, "density": keep / max(1, of), "pattern": "nm", "group": (keep, of)}, problems
    if group := re.fullmatch(r"(\d+:\d+):(.*)", body):
        return {}, [f"{group[1]} has a density of its own, leave out {group[2]!r}"]
    word, colon, density_text = body.partition(":")
    parts = re.fullmatch(r"([A-Za-z_-]*)(.*)", word)
    kind, size = parts.groups() if parts else ("", "")
    problems = []
    if kind not in ("block", "unstructured") or (kind == "unstructured" and size):
        known = ("block", "dense", "unstructured")
        files = "or a file (.npz, .npy, .safetensors, SPEC.toml)"
        sizes = {"topk": ("k",), "threshold": ("density",), **attention.PATTERNS}.get(kind)
        if sizes is None:
            problems.append(f"unknown pattern {word!r}{did_you_mean(kind or word, known)}; or N:M such as 2:4, {files}")
        else:
            line = f"attention={kind}" + (":" + ",".join(name.upper() for name in sizes) if sizes else "")
            problems.append(f"{kind} says which scores count, not which weights (nearest: {line})")
    elif kind == "block" and (not re.fullmatch(r"[0-9]{1,9}", size) or not 1 <= int(size) <= MAX_BLOCK):
        problems.append(f"block size {size!r} must be a whole number from 1 to {MAX_BLOCK}, as in block16")
    example = "unstructured:0.3" if kind == "unstructured" else "block16:0.5"
    density = _number(density_text) if colon else None
    if density is None and (colon or not problems):  # whether an unknown pattern needs one is unknown, too
        problems.append(f"density {density_text!r} must be a number, as in {example}")
    elif density is not None:
        problems += density_problems(density, "weights" if kind == "unstructured" else "blocks")
    problems += scheme_problems(scheme, kind)
    if problems:
        return {}, problems
    return {"block": int(size) if kind == "block" else 0, "density": density, "pattern": kind}, []


def default_scheme(operand: str) -> str:
    """Return what is made of the zeros of real masks where nothing is said: what needs least of a machine."""
    return "skip" if operand == "weights" else "gate"


def group_problems(keep: int, of: int) -> list[str]:
    """Return what is wrong with an N:M pattern."""
    if of < 1 or of > MAX_BLOCK:
        return [f"{keep}:{of}: groups are of 1 to {MAX_BLOCK} weights"]
    if not 1 <= keep <= of:
        return [f"{keep}:{of} keeps {keep} of {of}: N:M needs 1 <= N <= M (nearest: {min(max(keep, 1), of)}:{of})"]
    return []


def density_problems(density: float, what: str) -> list[str]:
    """Return what is wrong with a share of ``what``."""
    if 0.0 <= density <= 1.0:
        return []
    nearest = 0 if density < 0 else 1
    return [f"density {density:g} is the share of non-zero {what}, 0 to 1 (nearest: {nearest})"]


def scheme_problems(scheme: str, pattern: str) -> list[str]:
    """Return what is wrong with a scheme for a pattern."""
    if not scheme:
        return []
    if scheme not in SCHEMES:
        return [f"unknown scheme {scheme!r}{did_you_mean(scheme, SCHEMES)}"]
    if scheme == "select" and pattern != "nm":
        what = "a file of masks" if pattern == "measured" else pattern
        return [f"scheme select needs an N:M pattern such as 2:4, not {what}; pack takes any"]
    return []


def _number(text: str) -> float | None:
    """Return the number ``text``, or None where it is none."""
    return float(text) if re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", text) else None
