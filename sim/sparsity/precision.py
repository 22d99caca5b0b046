"""Word sizes per operator and operand: [[precision]] of a SPEC.toml, or a line such as "w4a8@*FF?".

    [[precision]]
    operators = "*.FF?"         # glob over matmuls, convolutions or their weight tensors; the last match wins
    weights = "int4"            # int2, int4, int8, int16, fp16, bf16, fp32; default: the array's input type
    activations = "int8"        # of A, and of B if it is no weight
    cache = "int4"              # of B if it is a state, such as cached keys and values; default: as activations
    sums = "int16"              # in the accumulator and in memory; default: array.acc_type
    outliers = 0.005            # share of the K features, or outlier_file = "columns.npz": operator -> their numbers
    outlier_type = "int16"      # type in which they are multiplied; default: int16 for integers

Effect of the types on the array: `sim.hardware.precision`. A tensor is stored as wide as its widest reader requires.
With outliers a product becomes two (Dettmers et al., LLM.int8(), 2208.07339): all features but the outliers in the
narrow types, and the outliers in the wide type, gathered from A by copies; the first stores its sums in memory, the
second adds to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

from sim.base.errors import InputError, did_you_mean
from sim.graph import Graph, Op
from sim.sparsity.table import Error, SchemeTable

ElementType = Literal["int2", "int4", "int8", "int16", "fp16", "bf16", "fp32"]
SumType = Literal["int8", "int16", "int32", "fp16", "bf16", "fp32"]

TYPES = get_args(ElementType)
"""Names of element types that a rule may give."""

SUM_TYPES = get_args(SumType)
"""Names of types that a rule may give to sums."""

SHORT = re.compile(r"w(\d+)a(\d+)(?:s(\d+))?")
"""The line for integers: bits of weights, of activations and optionally of sums."""


SUFFIX = ".outliers"
"""Suffix of the name of the wide part of a product with outliers."""


@dataclass(frozen=True)
class Precision:
    """One rule: element types of the operands (and sums) of the products named; "" = the array's own.

    ``outliers``: share of the K features in ``outlier_type``; ``columns``: operator -> their numbers, if given by a
    file (a share is spread evenly).
    """

    operators: str = "*"
    weights: str = ""
    activations: str = ""
    sums: str = ""
    outliers: float = 0.0
    outlier_type: str = "int16"
    columns: tuple[tuple[str, tuple[int, ...]], ...] = ()
    cache: str = ""

    def __str__(self) -> str:
        """The rule as text, for messages."""
        kept = f", outliers {self.outliers:g} in {self.outlier_type}" if self.outliers else ""
        kept = f", outliers of a file in {self.outlier_type}" if self.columns else kept
        types = f"weights {self.weights or 'as they are'}, activations {self.activations or 'as they are'}"
        types += f", cache {self.cache}" if self.cache else ""
        types += f", sums {self.sums}" if self.sums else ""
        return f"precision {types}{kept}" + ("" if self.operators == "*" else f"@{self.operators}")

    @property
    def splits(self) -> bool:
        """Whether the rule splits off outliers."""
        return bool(self.outliers or self.columns)

    def applies_to(self, op: Op) -> bool:
        """Return whether ``op`` is a product whose name or second operand matches."""
        if not op.record.word_sizes:
            return False
        names = (op.name.removesuffix(SUFFIX), op.inputs[1].tensor.partition(SUFFIX)[0])
        return any(fnmatchcase(name, self.operators) for name in names)

    def types_for(self, op: Op, graph: Graph) -> tuple[str, str]:
        """Return the types of A and B of a product to which the rule applies; "" = the array's input type."""
        if op.name.endswith(SUFFIX):
            return self.outlier_type, self.outlier_type
        kind = graph.tensors[op.inputs[1].tensor].kind
        kept = {"weight": self.weights, "state": self.cache or self.activations}
        return self.activations, kept.get(kind, self.activations)

    def problems(self, graph: Graph) -> list[str]:
        """Return the problems of the rule for a graph."""
        products = [op for op in graph.ops if op.record.word_sizes]
        named = [op for op in graph.ops if self.applies_to(op)]
        if named and self.cache and all(graph.tensors[op.inputs[1].tensor].kind != "state" for op in named):
            return [f"{self}: cache: no matching product of {graph.name} reads a state (nearest: leave cache out)"]
        if named:
            return []
        hint = did_you_mean(self.operators, [op.name for op in products])
        what = "matmul or convolution" if any(op.is_convolution for op in products) else "matmul"
        return [f"{self}: no {what} of {graph.name} is named {self.operators!r}{hint}"]


class PrecisionTable(SchemeTable):
    """[[precision]] of a SPEC.toml. ``outlier_file``: operator -> numbers of its outlier features."""

    operators: str = "*"
    weights: ElementType | None = None
    activations: ElementType | None = None
    cache: ElementType | None = None
    sums: SumType | None = None
    outliers: Error = 0.0
    outlier_type: ElementType = "int16"
    outlier_file: str | None = None

    def problems(self, given: frozenset[str]) -> list[str]:
        """Return the problems: both a share and a file of outliers, or an empty table."""
        found = []
        if {"outliers", "outlier_file"} <= given:
            found.append("give either outliers (a share) or outlier_file")
        if not {"weights", "activations", "cache", "sums", "outliers", "outlier_file"} & given:
            found.append("is empty: give weights, activations, cache, sums or outliers")
        return found


def from_table(table: PrecisionTable, columns: Mapping[str, tuple[int, ...]]) -> Precision:
    """Return the rules of a table, ``columns`` from its file."""
    types = (table.weights or "", table.activations or "", table.sums or "")
    own = tuple(sorted(columns.items()))
    return Precision(table.operators, *types, table.outliers, table.outlier_type, own, table.cache or "")


def short(text: str) -> Precision | None:
    """Return the rule of "w4a8", "w4a8s16" or "w4a8@*FF?", None for another kind of line.

    Raises InputError for odd widths.
    """
    body, at, names = text.partition("@")
    found = SHORT.fullmatch(body)
    if found is None:
        return None
    *types, sums = [f"int{bits}" if bits else "" for bits in found.groups()]
    problems = [
        f"precision {text!r}: {name} is none of int2, int4, int8, int16{did_you_mean(name, TYPES)}"
        for name in types
        if name not in TYPES[:4]
    ]
    problems = list(dict.fromkeys(problems))
    if sums and sums not in SUM_TYPES[:3]:
        problems.append(
            f"precision {text!r}: sums in {sums}, none of int8, int16, int32{did_you_mean(sums, SUM_TYPES)}"
        )
    if at and not names:
        problems.append(f"precision {text!r}: no name after '@'; leave it out for all matmuls")
    if problems:
        raise InputError(problems)
    return Precision(names or "*", types[0], types[1], sums)


def last_for(rules: Sequence[Precision], op: Op) -> Precision | None:
    """Return the last rule that matches ``op``, or None."""
    found = [one for one in rules if one.applies_to(op)]
    return found[-1] if found else None
