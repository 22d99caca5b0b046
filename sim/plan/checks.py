"""What a plan is refused for before any time is spent: requests, operators without a price, tiles that do not fit."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol

from sim.base.errors import InputError
from sim.lower import lower
from sim.plan import by_hand

if TYPE_CHECKING:
    from sim.graph import Graph
    from sim.hardware import Hardware
    from sim.lower import Work


class Planned(Protocol):
    """What a step of a plan says of itself (`sim.plan.planner.Step`)."""

    @property
    def name(self) -> str:
        """Operator."""

    @property
    def works(self) -> tuple[Work, ...]:
        """Work items for the array."""

    @property
    def machine(self) -> Hardware | None:
        """The machine at its word sizes, None = as it is."""

    @property
    def host_kind(self) -> str | None:
        """The operator priced on the host."""

    @property
    def host_elements(self) -> int:
        """Elements that it handles."""


def refuse_request(graph: Graph, dataflow: str, mapping: by_hand.Choices) -> None:
    """Raise InputError for a dataflow or a mapping by hand that cannot be meant."""
    wrong = [] if dataflow in ("WS", "OS") else [f"dataflow: {dataflow!r} is none of WS, OS"]
    wrong += by_hand.problems(graph, mapping)
    if wrong:
        raise InputError(wrong)


def unpriced(steps: Iterable[Planned], hw: Hardware) -> list[tuple[str, str]]:
    """Return (operator, reason) of what the host runs and has no price for."""
    from sim.cost import host

    refused = []
    for step in steps:
        if step.host_kind is not None:
            try:
                host.cycles(step.host_kind, step.host_elements, hw)
            except InputError as error:
                refused += [(step.name, problem) for problem in error.problems]
    return refused


def misfits(steps: Iterable[Planned], hw: Hardware, mapping: by_hand.Choices) -> list[tuple[str, str]]:
    """Lower what was mapped by hand, so that a tile that does not fit is refused before any time is spent."""
    refused = []
    for step in steps:
        if step.works and any(fnmatchcase(step.name, pattern) for pattern in mapping):
            try:
                lower(step.works[0], step.machine or hw)
            except InputError as error:
                refused += [(step.name, problem) for problem in error.problems]
    return refused
