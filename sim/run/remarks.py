"""Remarks on a request: legal settings that have no effect or are probably mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import workloads
from sim.lower.work import Norm
from sim.plan.word_sizes import WordSizes

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.run.request import Case
    from sim.sparsity.rules import Rules

LONG_LATENCY_S = 1e-4
"""Seconds: a memory with a longer latency is no DRAM; three orders of magnitude above any row miss."""


def remarks(case: Case) -> Iterator[str]:
    """Yield one sentence per setting of a case that another one limits, or that is out of proportion."""
    if isinstance(case.request.graph, str):
        yield from workloads.remarks(case.request.graph, dict(case.request.sizes))
    yield from of_machine(case.hw)
    yield from of_unused_keys(case.hw)
    yield from of_norms(case)
    if case.rules is not None:
        yield from case.rules.remarks(case.given)
        yield from of_blocks(case, case.rules)


def of_machine(hw: Hardware) -> Iterator[str]:
    """Yield the sentences about a machine alone."""
    if hw.unsaid:
        yield f"{hw.name} was read from another simulator's file; settings without a key here: {', '.join(hw.unsaid)}"
    for way in ("read", "write"):
        rate = getattr(hw.memory, f"{way}_bytes_per_cycle")
        if rate > hw.dma.bus_bytes:
            yield (
                f"memory.{way}_bytes_per_cycle = {rate:g} acts as {hw.dma.bus_bytes}: the port moves one beat of "
                f"dma.bus_bytes = {hw.dma.bus_bytes} a cycle; raise that key too"
            )
    yield from of_latency(hw)
    if hw.dma.max_in_flight_requests == 1:
        yield (
            "dma.max_in_flight_requests = 1: many programs never end, on the RTL as here (tests/oracle/DEVIATIONS.md); "
            "nearest that ends: 2"
        )


def of_latency(hw: Hardware) -> Iterator[str]:
    """Yield the sentence about a latency that is no DRAM's, which a command says before its run."""
    seconds = hw.memory.latency_cycles / (hw.clock_mhz * 1e6)
    if seconds > LONG_LATENCY_S:
        yield f"memory.latency_cycles = {hw.memory.latency_cycles:,} is {seconds:.3g} s at {hw.clock_mhz:g} MHz"


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
"""Table, keys of it, the key that switches their unit off, and its value when off; the schema has a default of each."""


def of_unused_keys(hw: Hardware) -> Iterator[str]:
    """Yield a sentence for each changed key without effect, because another key switches its unit off."""
    for table, names, switch, off in UNUSED:
        part = getattr(hw, table)
        if getattr(getattr(hw, switch.partition(".")[0]), switch.partition(".")[2]) != off:
            continue
        for name in names.split():
            value = getattr(part, name)
            if value != type(part).model_fields[name].default:
                yield f"{table}.{name} = {value} changes nothing: {switch} = {off} switches its unit off"


def of_norms(case: Case) -> Iterator[str]:
    """Yield a sentence about LayerNorms with weights, which the normalisation units do not take."""
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
            "both folded into the weights after it"
        )


UNDONE = 0.5
"""If another scheme leaves less than this share of a scheme's zero blocks, a remark names both."""


def of_blocks(case: Case, rules: Rules) -> Iterator[str]:
    """Yield a sentence for each rule of zero blocks that the array skips in larger blocks, most of which are not zero.

    An array whose PEs split for narrow words works as a larger one (docs/PRECISION.md): it undoes small blocks.
    """
    words = WordSizes(case.graph, case.hw, rules)
    for rule in (rule for rule in rules.zeros if rule.pattern == "block" and rule.scheme in ("", "skip")):
        named: dict[tuple[int, float, float], list[str]] = {}
        for op in case.graph.ops:
            if not rule.applies_to(op, case.graph) or rules.rule_for(op, case.graph, rule.operand) is not rule:
                continue
            dim = words.machine(op, op.output).dim
            wanted, left = 1 - rule.obtained(op), 1 - float(rule.array_mask(op, dim).mean())
            if rule.block < dim and left < UNDONE * wanted:
                named.setdefault((dim, wanted, left), []).append(op.name)
        if named:
            (dim, wanted, left), names = max(named.items(), key=lambda item: len(item[1]))
            count = sum(map(len, named.values()))
            more = f" and {count - 1} more" if count > 1 else ""
            why = "at its word sizes " if dim != case.hw.dim else ""
            yield (
                f"sparsity {rule}: {names[0]}{more}: the array works as {dim} x {dim} {why}and skips blocks of {dim}; "
                f"{left:.0%} of them are zero, of those of {rule.block} {wanted:.0%} (nearest pattern: block{dim})"
            )
