"""Every reported column, once: its unit, what it means and how it is computed.

`carat columns` prints this table; a test holds it against the frames, so that no column is without a
definition and no definition without a column. Units: 1 = a plain number or ratio, "" = text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Column(NamedTuple):
    """Definition of one column. ``tables``: where it appears (ops, kinds, totals, sweep, explore)."""

    name: str
    unit: str
    tables: tuple[str, ...]
    definition: str
    formula: str = ""


CAUSES: dict[str, str] = {
    "compute": "the array takes in a row of operands",
    "bank_conflict": "a row is held back by another access to its scratchpad or accumulator bank",
    "load_wait": "execution waits for data that is being loaded from memory",
    "store_wait": "execution waits for, or only the tail consists of, results being written to memory",
    "normalize": "the normaliser, the scale unit or a side unit is the only unit at work",
    "dependency": "a command waits for another to complete, with no memory access under way",
    "queue_full": "a command waits because a queue or the reservation station is full",
    "fill_drain": "the array fills or drains: results are under way, no row goes in",
    "issue": "no command has arrived yet (front end, hardware loop), and the one between two programs",
    "cpu_issue": "the CPU works on its next command, and no unit of the accelerator has anything to do",
    "call": "the CPU is in a library call before its first command or behind its last, the accelerator idle",
    "host": "the host CPU runs an operator that the array cannot; the array is idle",
}
"""Why a cycle passed. Each cycle has one cause: the first that applies, in this order; "host" comes apart."""

ENERGY: dict[str, str] = {
    "mac": "multiply-accumulates of the array",
    "register": "operand and partial-sum registers of the array",
    "scratchpad": "scratchpad row accesses",
    "accumulator": "accumulator row accesses, additions in place included",
    "special_function": "scaling, activation and normalisation units",
    "dram": "bytes moved to and from memory",
    "l2": "L2 cache between the DMA and memory, if there is one",
    "host": "host CPU while it runs operators, calls the library or issues commands",
    "leakage": "static power over the whole time",
}
"""Components of energy, as `sim.cost.energy.price` names them."""

BOUNDS: dict[str, tuple[str, ...]] = {
    "compute": ("compute", "fill_drain"),
    "memory": ("load_wait", "store_wait"),
    "sram": ("bank_conflict",),
    "normalize": ("normalize",),
    "control": ("dependency", "queue_full", "issue"),
    "cpu": ("cpu_issue", "call"),
    "host": ("host",),
}
"""What bounds an operator, and the causes whose cycles count towards it."""

OPS, TOTALS, KINDS = ("ops",), ("totals", "sweep"), ("kinds",)
ALL, RESULTS = ("ops", "kinds", "totals", "sweep"), ("ops", "totals", "sweep")
PE = "rows x columns of the array"


def _columns() -> Iterator[Column]:
    yield Column("hardware", "", RESULTS, "name of the machine")
    yield Column("workload", "", RESULTS, "name of the graph")
    yield Column("op_kind", "", ("ops", "kinds"), "kind of operator; a + joins what the array applies on move-out")
    yield Column("layer", "1", OPS, "number of the layer, from 0; null outside layers")
    yield Column("op", "", OPS, "name of the operator; a suffix names the conversion put before or behind it")
    yield Column(
        "engine",
        "",
        OPS,
        "array; host for an operator that the array cannot run; unit for a side unit that ranks or predicts",
    )
    yield Column("fallback", "", OPS, "why the host runs the operator, and which setting avoids it; null elsewhere")
    yield Column("dataflow", "", OPS, "WS or OS of a matmul, null otherwise")
    yield Column("words", "", OPS, "types multiplied and bits of A, B, C in memory; null: all of the input type")
    yield Column("m", "1", OPS, "rows of one invocation's result")
    yield Column("n", "1", OPS, "columns of one invocation's result")
    yield Column("k", "1", OPS, "length of the dot products of a matmul, else 0")
    yield Column("batch", "1", OPS, "independent repetitions (heads, batch items)")
    yield Column("invocations", "1", ALL, "programs run on the array, each up to its fence")
    yield Column(
        "distinct",
        "1",
        ALL,
        "invocations unlike all earlier ones of the run: only these are simulated",
    )
    yield Column("start_cycle", "cycles", OPS, "cycle in which the operator starts, from 0")
    yield Column("end_cycle", "cycles", OPS, "cycle in which the next operator may start", "start_cycle + cycles")
    yield Column(
        "cycles",
        "cycles",
        ALL,
        "accelerator clock cycles from the operator's first command to idle",
        "sum of all *_cycles causes",
    )
    for cause, meaning in CAUSES.items():
        yield Column(f"{cause}_cycles", "cycles", RESULTS, f"cycles in which {meaning}")
    yield Column(
        "cpu_cycles",
        "cycles",
        RESULTS,
        "cycles in which the CPU works: library calls, the commands it issues, operators it runs; 0 for the first two "
        "without cpu.prices",
        "call_cycles + host_cycles + sum of the gaps before commands",
    )
    yield Column(
        "visited_cycles",
        "cycles",
        ALL,
        "cycles that the clock had to look at, repetitions counted as often as they run",
    )
    yield Column(
        "bound",
        "",
        OPS,
        "group of causes with the most cycles: " + ", ".join(BOUNDS),
        "argmax over the groups of causes",
    )
    yield Column("macs", "1", ALL, "multiply-accumulates of operands that are not zero")
    yield Column("macs_skipped", "1", RESULTS, "multiply-accumulates of the dense operator that were not done")
    yield Column(
        "mac_slots",
        "1",
        RESULTS,
        "multiply-accumulates that the array had room for in the rows it took in: those of zeros and padding included",
        f"rows taken in x {PE}",
    )
    yield Column(
        "density",
        "1",
        RESULTS,
        "share of the dense multiply-accumulates that was done; null without any",
        "macs / (macs + macs_skipped)",
    )
    yield Column(
        "scheme",
        "",
        OPS,
        "scheme applied to the zeros (`carat list`; sampled: chosen scores only); null without one",
    )
    yield Column(
        "metadata_bytes", "bytes", RESULTS, "index, bitmaps and tables stored beside the values of sparse operands"
    )
    yield Column(
        "util_mapping",
        "1",
        OPS,
        "share of the multipliers that hold a useful operand, over the rows taken in; null when none was",
        f"macs / (rows taken in x {PE})",
    )
    yield Column(
        "util_compute",
        "1",
        OPS,
        "share of the cycles in which the array takes in a row; null on the host",
        "rows taken in x cycles per row / cycles",
    )
    yield Column(
        "utilization",
        "1",
        ALL,
        "share of the array's multiply-accumulate slots that did useful work; never above 1",
        "macs / (cycles x peak_macs_per_cycle)",
    )
    yield Column(
        "peak_macs_per_cycle",
        "1",
        RESULTS,
        "multiply-accumulates per cycle with all multipliers at work, at the operator's word sizes; mean over cycles",
        f"({PE}, each what it splits into) / cycles per row",
    )
    yield Column(
        "effective_macs_per_cycle",
        "1",
        RESULTS,
        "dense multiply-accumulates per cycle, as if none had been skipped: may exceed the array's",
        "(macs + macs_skipped) / cycles",
    )
    traffic = "by the accelerator's DMA; host operators move theirs through the CPU and are not counted"
    yield Column("dram_read_bytes", "bytes", ALL, f"bytes requested from memory {traffic}")
    yield Column("dram_write_bytes", "bytes", ALL, f"bytes written to memory {traffic}")
    yield Column("dram_read_requests", "1", RESULTS, "read requests sent to memory")
    yield Column("dram_write_requests", "1", RESULTS, "write requests sent to memory")
    yield Column("spad_read_bytes", "bytes", RESULTS, "scratchpad bytes read", "row reads x columns x element bytes")
    yield Column(
        "spad_write_bytes",
        "bytes",
        RESULTS,
        "scratchpad bytes written",
        "row writes x columns x element bytes",
    )
    yield Column("acc_read_bytes", "bytes", RESULTS, "accumulator bytes read", "row reads x columns x sum bytes")
    yield Column(
        "acc_write_bytes",
        "bytes",
        RESULTS,
        "accumulator bytes written, additions in place included",
        "row writes x columns x sum bytes",
    )
    yield Column("energy_pj", "pJ", ALL, "energy of array, memories, DRAM and host", "sum of the energy_*_pj columns")
    for component, meaning in ENERGY.items():
        yield Column(f"energy_{component}_pj", "pJ", RESULTS, f"energy of the {meaning}")
    yield Column("share", "1", KINDS, "share of all cycles", "cycles / total cycles")
    yield Column(
        "visited_share",
        "1",
        ("kinds", *TOTALS),
        "share of the array's cycles that the clock had to visit; null without any",
        "visited_cycles / cycles not on the host",
    )
    yield Column("ops", "1", KINDS, "operators of this kind")
    yield Column("clock_mhz", "MHz", TOTALS, "accelerator clock")
    yield Column("time_s", "s", TOTALS, "time at that clock", "cycles / (clock_mhz x 1e6)")
    yield Column("power_w", "W", TOTALS, "mean power", "energy_pj x 1e-12 / time_s")
    yield Column("edp_js", "J s", TOTALS, "energy-delay product", "energy_pj x 1e-12 x time_s")
    yield Column(
        "area_mm2",
        "mm2",
        TOTALS,
        "area of the machine in the 22 nm of the published one (hwconfigs/area), whatever the energy table's node",
        "sum of sim.cost.area.area_um2 x 1e-6",
    )
    yield Column(
        "area_not_modelled",
        "",
        TOTALS,
        "units of the machine that no published figure is known for: in no component of its area; null = none",
    )
    yield Column(
        "energy_not_modelled",
        "",
        TOTALS,
        "units of the machine whose work no published figure gives: in no component of its energy; null = none",
    )
    yield Column(
        "remarks",
        "",
        TOTALS,
        "settings of the machine that another key limits, or that are out of proportion; null = none",
    )
    sweep = ("sweep",)
    yield Column("sparsity", "", sweep, "pattern:density/scheme of the weights, or a file; null = dense")
    yield Column("prune", "", sweep, "structured pruning, e.g. heads=8,layers=6; null = none")
    yield Column("seed", "1", sweep, "seed of the random masks")
    yield Column("best", "", ("explore",), "true where no point tried is better in one objective and as good in all")
    yield Column(
        "version",
        "",
        sweep,
        "release and source digest of the code that computed the row; null when it failed at the door",
    )
    yield Column(
        "error",
        "",
        sweep,
        "why the point failed; null = it did not. Swept hardware keys and workload sizes are further columns",
    )


COLUMNS: dict[str, Column] = {column.name: column for column in _columns()}


def table(name: str) -> tuple[str, ...]:
    """Return the names of the columns of table ``name`` in reporting order."""
    return tuple(column.name for column in COLUMNS.values() if name in column.tables)


def bound(cause_cycles: Iterable[tuple[str, int]]) -> str:
    """Return the group of `BOUNDS` that holds the most cycles (the first of equals)."""
    cycles = dict(cause_cycles)
    return max(BOUNDS, key=lambda group: sum(cycles.get(cause, 0) for cause in BOUNDS[group]))
