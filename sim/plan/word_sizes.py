"""Word sizes of one plan: the bits of each tensor's elements in memory, and the machine for each operator.

A tensor is stored in the widest type that a reader multiplies; a tensor that another kind of operator than matmul or
convolution reads has the array's input type, and so has a tensor without readers. A narrower consumer converts at its
load. A copy has the width that its readers require. An image whose pixels would not begin on whole bytes (3 channels)
is stored wider. Sums and biases in memory have the type of the sums of their operator: nothing converts them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sim.base.errors import InputError
from sim.hardware import precision
from sim.hardware.schema import ELEMENT_BITS, ELEMENT_BYTES
from sim.plan.placement import element_bits, role
from sim.sparsity.precision import SUFFIX

if TYPE_CHECKING:
    from sim.graph import Graph, Op, View
    from sim.hardware import Hardware
    from sim.sparsity.rules import Rules


def runs_of(numbers: Iterable[int]) -> list[range]:
    """Group ascending numbers into runs of consecutive ones."""
    runs: list[range] = []
    for number in numbers:
        if runs and runs[-1].stop == number:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
    return runs


class WordSizes:
    """``bits``: tensor -> bits of its elements, if not the width of their type.

    ``sums``: operator -> type of its sums, if not the accumulator's. ``taken``: operator -> features of its K that
    another product multiplies; zeros in this one.
    """

    def __init__(self, graph: Graph, hw: Hardware, sparsity: Rules | None):
        self.graph, self.hw = graph, hw
        self.own = 8 * hw.input_bytes
        self._widths: dict[str, int] = {}
        self.types: dict[str, tuple[str, str]] = {}
        self.sums: dict[str, str] = {}
        self.taken: dict[str, int] = {}
        named = {op.name: op for op in graph.ops}
        for op in graph.ops if sparsity is not None else ():
            rule = sparsity.precision_for(op) if sparsity is not None else None
            if rule is not None:
                if rule.splits and f"{op.name}{SUFFIX}" in named:
                    self.taken[op.name] = named[f"{op.name}{SUFFIX}"].mnk[2]
                a, b = rule.types_for(op, graph)
                self.types[op.name] = a or hw.array.input_type, b or hw.array.input_type
                if rule.sums not in ("", hw.array.acc_type):
                    self.sums[op.name] = rule.sums
        self.bits = {**self._stored(), **self._summed()} if self.types else {}

    def _summed(self) -> dict[str, int]:
        """Return tensor -> bits of sums and biases of another type than the accumulator's.

        Raises InputError if two operators differ.
        """
        wanted: dict[str, dict[str, str]] = {}
        for op in self.graph.ops:
            for view in (*op.inputs, op.output):
                if role(self.graph.tensors[view.tensor].dtype, self.hw) == "accumulator":
                    wanted.setdefault(view.tensor, {})[op.name] = self.sums.get(op.name, self.hw.array.acc_type)
        found: dict[str, int] = {}
        problems = []
        for tensor, readers in wanted.items():
            if len(set(readers.values())) > 1:
                types = ", ".join(f"{name} {kind}" for name, kind in readers.items())
                problems.append(
                    f"{tensor}: sums in memory have one type, and its operators need {types} (nearest: leave sums "
                    f"out of the [[precision]] of {next(name for name in readers if name in self.sums)}; for all "
                    "operators: array.acc_type)"
                )
            elif (kind := next(iter(readers.values()))) != self.hw.array.acc_type:
                found[tensor] = 8 * ELEMENT_BYTES[kind]
        if problems:
            raise InputError(problems)
        return found

    def _stored(self) -> dict[str, int]:
        wanted: dict[str, int] = {}
        for op in reversed(self.graph.ops):  # readers before writers: a copy is as wide as its reader
            for place, view in enumerate(op.inputs):
                width = wanted.get(op.output.tensor, self.own) if op.record.hands_on else self.own
                if op.name in self.types and place < 2:
                    width = ELEMENT_BITS[self.types[op.name][place]]
                while op.record.multiplies == "windows" and place == 0 and view.row_stride * width % 8:
                    width *= 2
                wanted[view.tensor] = max(wanted.get(view.tensor, 0), width)
        return {
            name: width
            for name, width in wanted.items()
            if width != self.own and role(self.graph.tensors[name].dtype, self.hw) == "element"
        }

    def of(self, tensor: str) -> int:
        """Return the bits of an element of a tensor in memory."""
        narrow = self.bits.get(tensor)
        if narrow is not None:
            return narrow
        dtype = self.graph.tensors[tensor].dtype
        if dtype not in self._widths:
            self._widths[dtype] = element_bits(dtype, self.hw)
        return self._widths[dtype]

    def machine(self, op: Op, output: View) -> Hardware:
        """Return the machine for ``op`` (with an operator fused into it); ``hw`` itself if no word size differs.

        Raises InputError for types that the array does not multiply, and for rows that do not begin on whole bytes.
        """
        if not self.types:
            return self.hw
        kind = self.hw.array.input_type
        a_type, b_type = self.types.get(op.name, (kind, kind))
        a, *b = (self._bits(view) for view in op.inputs[:2])
        stored = (a, b[0] if b else self.own, self._bits(output))
        found = precision.machine(self.hw, a_type, b_type, stored, self.sums.get(op.name, ""))
        if problems := [problem for view in (*op.inputs, output) for problem in self._split_bytes(view)]:
            raise InputError(problems)
        return found

    def _bits(self, view: View) -> int:
        """Return the bits of an operand of input type; the width of sums does not depend on the operands."""
        is_element = role(self.graph.tensors[view.tensor].dtype, self.hw) == "element"
        return self.of(view.tensor) if is_element else self.own

    def _split_bytes(self, view: View) -> list[str]:
        bits = self.of(view.tensor)
        places = {"row": view.row_stride * (view.rows > 1), "repetition": view.batch_stride * (view.batch > 1)}
        places["window"] = view.offset
        return [
            f"{view.tensor} in {bits} bits: every {what} must begin on a whole byte, and {elements} elements do not "
            f"fill one (nearest: {-(-elements * bits // 8) * 8 // bits})"
            for what, elements in places.items()
            if elements * bits % 8
        ]
