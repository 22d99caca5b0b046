"""All rules of a run: pruning, zeros, storage of zeros, word sizes.

`sim.sparsity.spec` reads them from a line or a file. Of several rules that match an operator the last one applies.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.base.errors import InputError
from sim.graph import Graph, Op
from sim.sparsity.edits import attention, cascade, compress, dynamic, outliers
from sim.sparsity.edits.dynamic import Chosen, Dynamic
from sim.sparsity.edits.pruning import Pruning
from sim.sparsity.masks.zeros import ZeroRule
from sim.sparsity.precision import Precision, last_for
from sim.sparsity.structure import weighted


@dataclass(frozen=True)
class Rules:
    """Rules in the order of the file; without any, the run is dense."""

    zeros: tuple[ZeroRule, ...] = ()
    attention: attention.Pattern | Dynamic | None = None
    compressions: tuple[compress.Compression, ...] = ()
    cascade: cascade.Cascade | None = None
    precisions: tuple[Precision, ...] = ()
    prunings: tuple[Pruning, ...] = ()

    def __str__(self) -> str:
        """All rules, in order; "dense" where there are none."""
        edits = [repr(edit) for edit in (self.cascade, self.attention, *self.compressions) if edit is not None]
        cuts = [f"prune {cut}" for cut in self.prunings]
        return "; ".join([*cuts, *map(str, self.zeros), *edits, *map(str, self.precisions)]) or "dense"

    @property
    def only_prunes(self) -> bool:
        """Whether the pruned graph is dense and its words are the machine's own."""
        return self == Rules(prunings=self.prunings)

    @property
    def compares(self) -> bool:
        """Whether dense and sparse programs are compared: zeros are used, or there is no rule ("dense")."""
        return bool(self.zeros or self.compressions or self.attention or self.cascade) or self == Rules()

    def rule_for(self, op: Op, graph: Graph, operand: str = "weights") -> ZeroRule | None:
        """Return the last rule for the zeros of an operand of ``op``, or None."""
        found = [rule for rule in self.zeros if rule.operand == operand and rule.applies_to(op, graph)]
        return found[-1] if found else None

    def edit(self, graph: Graph) -> Graph:
        """Return a graph that is pruned already with the other edits of the rules. Raises InputError."""
        if self.cascade is not None:
            graph = cascade.edit(graph, self.cascade)
        for compression in self.compressions:
            if problems := compression.problems(graph):
                raise InputError(problems)
            graph = compress.edit(graph, compression)
        if isinstance(self.attention, Dynamic):
            graph = dynamic.edit(graph, self.attention)
        elif self.attention is not None:
            graph = attention.edit(graph, self.attention)
        if not any(rule.splits for rule in self.precisions):
            return graph
        stored = {op.name for op in weighted(graph) if self.rule_for(op, graph) or self.compression_for(op, graph)}
        return outliers.edit(graph, self.precisions, stored)

    def chosen(self, op: Op, graph: Graph) -> Chosen | None:
        """Return the chosen scores of an attention that ``op`` computes or reads; else None."""
        return dynamic.chosen(graph, op, self.attention) if isinstance(self.attention, Dynamic) else None

    def compression_for(self, op: Op, graph: Graph) -> compress.Compression | None:
        """Return the last compression of ``op``'s weights, or None."""
        found = [one for one in self.compressions if not one.edits and one.applies_to(op, graph)]
        return found[-1] if found else None

    def precision_for(self, op: Op) -> Precision | None:
        """Return the last rule for the word sizes of ``op``, or None."""
        return last_for(self.precisions, op)

    def check(self, graph: Graph, dim: int) -> None:
        """Raise InputError with all problems of all rules. ``dim``: side of the array (for given masks)."""
        problems = [problem for rule in self.zeros for problem in rule.problems(graph, dim)]
        problems += [problem for rule in self.precisions for problem in rule.problems(graph)]
        if problems:
            raise InputError(problems)

    def remarks(self, graph: Graph) -> list[str]:
        """Return a remark for each rule that is too coarse for the requested density.

        ``graph``: pruned, before other edits.
        """
        found = [line for rule in self.zeros for line in rule.remarks(graph)]
        return found + (self.attention.remarks(graph) if self.attention is not None else [])
