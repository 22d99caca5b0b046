"""State shared by the planners of all engines: graph, machine, addresses, word sizes, and the refusals so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sim.base.errors import InputError
from sim.graph import Graph, Op, View
from sim.lower.work import Operand
from sim.plan import by_hand
from sim.plan.placement import Role, role, whole_pages
from sim.plan.schedules import Choices, Declined, chosen
from sim.plan.word_sizes import WordSizes

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.sparsity.edits.dynamic import Chosen
    from sim.sparsity.rules import Rules


@dataclass
class Planning:
    """A plan under construction.

    ``schedules``: operator pattern -> schedules. ``refused``: (operator, reason); ``declined``: operator -> why it does
    not get the requested schedule. ``index_addresses``: of indices and sums placed behind tensors.
    """

    graph: Graph
    hw: Hardware
    dataflow: str
    sparsity: Rules | None
    mapping: by_hand.Choices
    addresses: dict[str, int]
    free_address: int
    words: WordSizes
    schedules: Choices = field(default_factory=dict)
    declined: dict[str, Declined] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)
    index_addresses: list[int] = field(default_factory=list)
    _refused_names: set[str] = field(default_factory=set)

    @property
    def floats(self) -> bool:
        """Whether the array multiplies floating-point numbers."""
        return not str(self.hw.array.input_type).startswith(("int", "uint"))

    def dtype(self, view: View) -> str:
        """Return the graph's type of a view's tensor."""
        return self.graph.tensors[view.tensor].dtype

    def role(self, view: View) -> Role:
        """Return the role of a view's type on the machine."""
        return role(self.dtype(view), self.hw)

    def operand(self, view: View, batch: int) -> Operand:
        """Return repetition ``batch`` of a view as an operand in DRAM."""
        start = view.offset + (batch * view.batch_stride if view.batch > 1 else 0)
        at = self.addresses[view.tensor] + start * self.words.of(view.tensor) // 8
        return Operand(at, view.row_stride)

    def operands(self, view: View, count: int) -> list[Operand]:
        """Return the first ``count`` repetitions of a view as operands in DRAM; a view of batch 1 is repeated."""
        base, bits, stride = self.addresses[view.tensor], self.words.of(view.tensor), view.row_stride
        step = view.batch_stride if view.batch > 1 else 0
        return [Operand(base + (view.offset + b * step) * bits // 8, stride) for b in range(count)]

    def machine(self, op: Op, output: View) -> Hardware | None:
        """Return the machine at the word sizes of an operator, None for the unchanged machine."""
        try:
            found = self.words.machine(op, output)
        except InputError as error:
            for problem in error.problems:
                self.refuse(op, problem)
            return None
        return None if found.words is None else found

    def place_index(self, size_bytes: int) -> int:
        """Place an index after all tensors and return its address."""
        address = self.free_address
        self.free_address += whole_pages(size_bytes)
        self.index_addresses.append(address)
        return address

    def schedule(self, op: Op) -> frozenset[str]:
        """Return the schedules of an operator; none for the library's."""
        return chosen(self.schedules, op.name)

    def asks(self, name: str, schedule: str) -> bool:
        """Return whether a schedule is requested for the operator called ``name``."""
        return schedule in chosen(self.schedules, name)

    def decline(self, op: Op, schedule: str, reason: str) -> None:
        """Record why an operator does not get the requested schedule."""
        self.declined.setdefault(op.name, Declined(schedule, reason))

    def refuse(self, op: Op, reason: str) -> None:
        """Record why an operator cannot run."""
        self.refused.append((op.name, reason))
        self._refused_names.add(op.name)

    def is_refused(self, op: Op) -> bool:
        """Return whether an operator has been refused."""
        return op.name in self._refused_names

    def chosen(self, op: Op) -> Chosen | None:
        """Return the scores that the operator computes or reads, None for all."""
        return None if self.sparsity is None else self.sparsity.chosen(op, self.graph)
