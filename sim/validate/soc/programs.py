"""Programs of rows of a whole machine: sequential library calls, each from call to return.

Cycles of a call are those between two readings of the cycle counter: the CPU's part before the first command and after
the accelerator is idle, and the accelerator's in between.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sim.lower.encoder import operators
from sim.lower.work import Work
from sim.run.session import Session, Start
from sim.validate.tasks import MachineProgram, TaskOutcome, outcome_of

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.timing.timing import Clock


BIAS_OFFSET_BYTES = 8
"""Offset in bytes of a bias within a line: the measured layers' biases lie on 8-byte boundaries only (the addresses of
LOOP_WS_CONFIG_ADDRS_DC on every encoder trace end in 08 or 88), so that each of its rows takes two requests."""


def call(session: Session, work: Work, around: int | None = None) -> TaskOutcome:
    """Run one library call and return it with the CPU's cycles around it, as cause "call".

    ``around``: these cycles, if the library is called with other arguments than those of ``work``.
    """
    around = session.call(work) if around is None else around
    inside = outcome_of(session.advance(work))
    assert inside.cycles is not None
    causes = {**inside.causes, "call": around}
    return replace(inside, cycles=inside.cycles + around, causes=causes)


@dataclass(frozen=True)
class Calls(MachineProgram):
    """The last of a sequence of calls; ``ran``: pieces of the library's code that the program has run before.

    ``initialised``: the CPU has just written their operands, which an L2 then holds.
    """

    works: tuple[Work, ...]
    ran: frozenset[str] = frozenset()
    initialised: bool = False

    def outcome(self, hw: Hardware, clock: Clock) -> TaskOutcome:
        """Run all calls, which fill the L2, and return the last."""
        session = Session(hw, clock, start=replace(Start.reset(hw), ran=self.ran))
        first = 0 if hw.memory.l2_bytes else len(self.works) - 1
        for work in (*self.works[: self.initialised], *self.works[:first]):
            session.advance(work)
        outcomes = [call(session, work) for work in self.works[first:]]
        return outcomes[-1]


@dataclass(frozen=True)
class LayerPasses(MachineProgram):
    """An encoder layer as in transformer.c, run ``passes`` times; the last pass is measured."""

    seq: int
    hidden: int
    heads: int
    ffn: int
    passes: int = 1

    def outcome(self, hw: Hardware, clock: Clock) -> TaskOutcome:
        """Return the whole layer, its operators as parts."""
        session = Session(hw, clock)
        works = [(name, _off(work)) for name, work in operators(self.seq, self.hidden, self.heads, self.ffn, hw)]
        parts: dict[str, TaskOutcome] = {}
        for _ in range(self.passes):
            parts = {}
            for name, work in works:
                session.begin(name)
                parts[name] = call(session, work)
        causes: dict[str, int] = {}
        for part in parts.values():
            causes = {cause: causes.get(cause, 0) + cycles for cause, cycles in part.causes.items()}
        return TaskOutcome(sum(part.cycles or 0 for part in parts.values()), causes=causes, parts=parts)


def _off(work: Work) -> Work:
    """Return a product with its bias at the measured programs' offset."""
    product = work.product
    if product is None or product.d is None or product.bias == "none":
        return work
    return replace(product, d=replace(product.d, address=product.d.address + BIAS_OFFSET_BYTES))
