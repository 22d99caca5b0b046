"""Remarks of a run on its own request: legal settings that have no effect, or were surely not meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import workloads
from sim.lower.work import Norm

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.run.request import Case

LONG_LATENCY_S = 1e-4
"""A memory that answers later than this is no DRAM: three orders of magnitude above any row miss."""


def remarks(case: Case) -> Iterator[str]:
    """Yield one sentence per setting of a case that another one limits, or that is out of all proportion."""
    if isinstance(case.request.graph, str):
        yield from workloads.remarks(case.request.graph, dict(case.request.sizes))
    yield from of_machine(case.hw)
    yield from of_unused_keys(case.hw)
    yield from of_norms(case)
    if case.rules is not None:
        yield from case.rules.remarks(case.given)


def of_machine(hw: Hardware) -> Iterator[str]:
    """Yield the sentences about a machine alone."""
    if hw.unsaid:
        yield f"{hw.name} was read from another simulator's file; no key says {', '.join(hw.unsaid)}"
    if hw.memory.dram == "none":
        for way in ("read", "write"):
            rate = getattr(hw.memory, f"{way}_bytes_per_cycle")
            if rate > hw.dma.bus_bytes:
                yield (
                    f"memory.{way}_bytes_per_cycle = {rate:g} acts as {hw.dma.bus_bytes}: the port moves one beat of "
                    f"dma.bus_bytes = {hw.dma.bus_bytes} a cycle; raise that key too"
                )
    seconds = hw.memory.latency_cycles / (hw.clock_mhz * 1e6)
    if seconds > LONG_LATENCY_S:
        yield f"memory.latency_cycles = {hw.memory.latency_cycles:,} is {seconds:.3g} s at {hw.clock_mhz:g} MHz"
    if hw.dma.max_in_flight_requests == 1:
        yield (
            "dma.max_in_flight_requests = 1: many programs never end, on the RTL as here (tests/oracle/DEVIATIONS.md); "
            "nearest that ends: 2"
        )


UNUSED: tuple[tuple[str, str, str, object], ...] = (
    ("tlb", "entries superpage_entries walk_cycles page_tables", "tlb.pages", "none"),
    ("sparsity", "fft_block", "sparsity.fft_butterflies_per_cycle", 0),
    ("sparsity", "predictor_bits", "sparsity.predictor_macs_per_cycle", 0),
    ("sparsity", "resident_reach", "sparsity.resident_weights", 1),
    (
        "vector",
        "add_cycles multiply_cycles divide_cycles root_cycles exponential_cycles port_bytes buffer_bytes",
        "vector.lanes",
        0,
    ),
    ("cpu", "sizes code", "cpu.prices", "none"),
)
"""Table, keys of it, the key that switches their unit off, and its value then; the schema has a default of each."""


def of_unused_keys(hw: Hardware) -> Iterator[str]:
    """Yield a sentence for each key that was changed and does nothing, because another one switches its unit off."""
    for table, names, switch, off in UNUSED:
        part = getattr(hw, table)
        if getattr(getattr(hw, switch.partition(".")[0]), switch.partition(".")[2]) != off:
            continue
        for name in names.split():
            value = getattr(part, name)
            if value != type(part).model_fields[name].default:
                yield f"{table}.{name} = {value} changes nothing: {switch} = {off} switches its unit off"


def of_norms(case: Case) -> Iterator[str]:
    """Yield a sentence about LayerNorms whose weights the normalisation units have no place for."""
    if "layernorm" not in case.hw.array_operators:
        return
    graph = case.graph
    named = [
        op.name
        for op in graph.ops
        if op.kind in Norm.OPERATORS
        and any(op.attrs.get(weight) for weight in op.record.weight_attributes)
        and graph.tensors[op.inputs[0].tensor].dtype == "int8"
    ]
    if named:
        more = f" and {len(named) - 1} more" if named[1:] else ""
        yield (
            f"{named[0]}{more}: the normalisation units take no gamma and beta; cycles are those of a checkpoint with "
            "both folded into the weights behind"
        )
