"""Reasons to refuse a plan before the simulation.

Illegal requests, operators without a price, tiles that do not fit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sim.base.errors import InputError
from sim.cost import host
from sim.lower import check, lower
from sim.plan import by_hand

if TYPE_CHECKING:
    from sim.graph import Graph
    from sim.hardware import Hardware
    from sim.plan.step import Step


UNABLE = {
    "IS": "input-stationary: a PE holds an element of B or a sum, and none of A; to keep A, multiply the transposed "
    "matrices, of which A^T is the operand B",
    "RS": "row-stationary: a PE would need registers for rows of a kernel and of an image, which it lacks; "
    "convolutions are unrolled along the array's rows",
}
"""Dataflows of other arrays, and why this array lacks them."""


def refuse_request(graph: Graph, dataflow: str, mapping: by_hand.Choices) -> None:
    """Raise InputError for an unknown dataflow or an illegal mapping by hand."""
    wrong = []
    if dataflow not in ("WS", "OS"):
        why = f"{UNABLE[dataflow]}; " if dataflow in UNABLE else ""
        wrong.append(f"dataflow: {dataflow!r} is none of WS, OS ({why}nearest: WS)")
    wrong += by_hand.problems(graph, mapping)
    if wrong:
        raise InputError(wrong)


def refuse_size(size_bytes: int, hw: Hardware) -> None:
    """Raise InputError when the tensors do not fit into the machine's DRAM."""
    dram = hw.memory.dram
    if dram == "none" or size_bytes <= dram.capacity_bytes:
        return
    channels = dram.channels
    while size_bytes > dram.capacity_bytes // dram.channels * channels:
        channels *= 2
    raise InputError(
        f"{hw.name}: memory.dram = {dram.name} holds {dram.capacity_bytes:,} bytes, the graph's tensors take "
        f"{size_bytes:,}; nearest legal value: memory.dram.channels = {channels}"
    )


def unpriced(steps: Iterable[Step], hw: Hardware) -> list[tuple[str, str]]:
    """Return (operator, reason) of host operators without a price."""
    refused = []
    for step in steps:
        if step.host_kind is not None:
            try:
                host.cycles(step.host_kind, step.host_elements, hw)
            except InputError as error:
                refused += [(step.name, problem) for problem in error.problems]
    return refused


def misfits(steps: Iterable[Step], hw: Hardware, mapping: by_hand.Choices) -> list[tuple[str, str]]:
    """Lower the operators mapped by hand, so that a tile that does not fit is refused before the simulation."""
    refused = []
    for step in steps:
        if step.works and any(by_hand.names(pattern, step.name) for pattern in mapping):
            try:
                lower(step.works[0], step.machine or hw)
            except InputError as error:
                refused += [(step.name, problem) for problem in error.problems]
    return refused


def unlowerable(steps: Iterable[Step], hw: Hardware) -> list[tuple[str, str]]:
    """Return (operator, reason) of steps that cannot be lowered: every planned step must run."""
    refused: list[tuple[str, str]] = []
    reasons: dict[tuple[int, int], tuple[str, ...]] = {}
    for step in steps:
        for key, work in {(id(work), id(step.machine)): work for work in step.equivalent}.items():
            if key not in reasons:
                try:
                    check(work, step.machine or hw)
                    reasons[key] = ()
                except InputError as error:
                    reasons[key] = error.problems
            refused += [(step.name, problem) for problem in reasons[key]]
    return refused
