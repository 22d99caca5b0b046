"""Every reported column, once: its unit, its meaning and its computation.

`carat columns` prints this table; a test compares it with the tables, so that every column has a definition and every
definition a column. Units: 1 = a plain number or ratio, "" = text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Column(NamedTuple):
    """Definition of one column. ``tables``: tables with this column (ops, kinds, totals, sweep, explore, cores)."""

    name: str
    unit: str
    tables: tuple[str, ...]
    definition: str
    formula: str = ""


CAUSES: dict[str, str] = {
    "compute": "the array takes in a row of operands",
    "bank_conflict": "a row waits for another access to its scratchpad or accumulator bank",
    "load_wait": "execution waits for data that is being loaded from memory",
    "store_wait": "execution waits for, or only the tail consists of, results being written to memory",
    "normalize": "the normaliser, the scale unit or a side unit is the only unit at work",
    "dependency": "a command waits for another to complete, with no memory access under way",
    "queue_full": "a command waits because a queue or the reservation station is full",
    "fill_drain": "the array fills or drains: results are under way, no row goes in",
    "issue": "no command has arrived yet (front end, hardware loop), or the array restarts between two programs",
    "cpu_issue": "the CPU prepares its next command, and every unit of the accelerator is idle",
    "call": "the CPU is in a library call before its first command or after its last, and the accelerator is idle",
    "vector": "the vector unit runs an operator that the array cannot, or waits for its operands; the array is idle",
    "host": "the host CPU runs an operator that the array cannot; the array is idle",
}
"""Causes of cycles. Each cycle has one cause: the first that applies, in this order; the last two exclude others."""

ENERGY: dict[str, str] = {
    "mac": "multiply-accumulates of the array",
    "register": "operand and partial-sum registers of the array",
    "scratchpad": "scratchpad row accesses",
    "accumulator": "accumulator row accesses, additions in place included",
    "special_function": "scaling, activation and normalisation units",
    "vector": "lanes and row memory of the vector unit",
    "dram": "bytes moved to and from memory",
    "l2": "L2 cache between the DMA and memory, if there is one",
    "host": "host CPU while it runs operators, calls the library or issues commands",
    "leakage": "static power over the whole time",
}
"""Components of energy, as `sim.cost.energy.price` names them."""

DRAM: dict[str, str] = {
    "activates": "rows opened in the DRAM; 0 without memory.dram, like the other four counts",
    "row_hits": "bursts that found their row open",
    "row_misses": "bursts that found their bank closed",
    "row_conflicts": "bursts that found another row open",
    "refreshes": "refreshes of a rank while the array worked",
}
"""Counts of a DRAM with its own description, without the prefix of its column."""

BOUNDS: dict[str, tuple[str, ...]] = {
    "compute": ("compute", "fill_drain"),
    "memory": ("load_wait", "store_wait"),
    "sram": ("bank_conflict",),
    "normalize": ("normalize",),
    "control": ("dependency", "queue_full", "issue"),
    "cpu": ("cpu_issue", "call"),
    "vector": ("vector",),
    "host": ("host",),
}
"""Bounds of an operator, and the causes whose cycles count towards each."""

BOUND_OF = {cause: group for group, causes in BOUNDS.items() for cause in causes}
"""Cause -> its bound."""

OPS, KINDS, SWEEP, EXPLORE, CORES = ("ops",), ("kinds",), ("sweep",), ("explore",), ("cores",)
RUN = ("totals", "sweep")
"""Tables with one row per run."""
RESULTS, ALL = ("ops", *RUN), ("ops", "kinds", *RUN)
PES = "rows x columns of the array"
DMA = "by the accelerator's DMA; host operators access memory through the CPU, whose bytes are not counted"

_TABLE: tuple[Column, ...] = (
    # Operator and engine.
    Column("hardware", "", RESULTS, "name of the machine"),
    Column("workload", "", RESULTS, "name of the graph"),
    Column("sizes", "", RUN, "sizes of the workload, e.g. seq=128,batch=1; of a graph file the shapes of its inputs"),
    Column("word_sizes", "", RUN, "element type and type of the sums; word sizes that operators have instead"),
    Column(
        "op_kind", "", ("ops", "kinds"), "kind of operator; after + the operator that the array applies on move-out"
    ),
    Column("layer", "1", OPS, "number of the layer, from 0; null outside layers"),
    Column("op", "", OPS, "name of the operator; a suffix names a conversion before or after it"),
    Column(
        "engine",
        "",
        OPS,
        "array; vector: the vector unit; host: operators that neither can run; unit: a side unit that ranks or "
        "predicts",
    ),
    Column(
        "fallback", "", OPS, "reason why the host runs the operator, and the setting that avoids it; null elsewhere"
    ),
    Column("covers", "", OPS, "other operators whose work its programs do; null: none"),
    Column(
        "schedule",
        "",
        OPS + SWEEP,
        "schedule of the operator's program, or requested for a sweep's point (docs/SCHEDULES.md); null: the library's",
    ),
    Column("declined", "", OPS, "reason why the requested schedule was declined; null otherwise"),
    Column("dataflow", "", OPS, "WS or OS of a matmul, null otherwise"),
    Column("words", "", OPS, "types multiplied and bits of A, B, C in memory; null: all of the machine's input type"),
    Column("m", "1", OPS, "rows of the result of one invocation"),
    Column("n", "1", OPS, "columns of the result of one invocation"),
    Column("k", "1", OPS, "length of the dot products of a matmul, else 0"),
    Column("batch", "1", OPS, "independent repetitions (heads, batch items)"),
    Column("invocations", "1", ALL, "programs run on the array, each up to its fence"),
    Column("distinct", "1", ALL, "invocations that equal no earlier one of the run; only these are simulated"),
    # Cycles.
    Column("start_cycle", "cycles", OPS, "cycle in which the operator starts, from 0"),
    Column("end_cycle", "cycles", OPS, "cycle in which the next operator may start", "start_cycle + cycles"),
    Column(
        "cycles",
        "cycles",
        ALL,
        "accelerator clock cycles from the operator's first command to idle",
        "sum of all *_cycles causes",
    ),
    *(Column(f"{cause}_cycles", "cycles", RESULTS, f"cycles in which {why}") for cause, why in CAUSES.items()),
    Column(
        "cpu_cycles",
        "cycles",
        RESULTS,
        "cycles in which the CPU works: library calls, the commands it issues, operators it runs; 0 for the first two "
        "without cpu.prices",
        "call_cycles + host_cycles + sum of the gaps before commands",
    ),
    Column(
        "visited_cycles", "cycles", ALL, "cycles that the simulator stepped, repeated ones counted as often as they run"
    ),
    Column(
        "bound",
        "",
        OPS,
        "group of causes with the most cycles: " + ", ".join(BOUNDS),
        "argmax over the groups of causes",
    ),
    # Work and utilization.
    Column("macs", "1", ALL, "multiply-accumulates of operands that are not zero"),
    Column("macs_skipped", "1", RESULTS, "multiply-accumulates of the dense operator that were skipped"),
    Column(
        "mac_slots",
        "1",
        RESULTS,
        "multiply-accumulates that the array could do in the rows it took in, zeros and padding included",
        f"rows taken in x {PES}",
    ),
    Column(
        "density",
        "1",
        RESULTS,
        "share of the dense multiply-accumulates that was computed; null without any",
        "macs / (macs + macs_skipped)",
    ),
    Column(
        "scheme", "", OPS, "how zeros are used (`carat list`; sampled: only chosen scores are computed); null = dense"
    ),
    Column(
        "vector_operations", "1", RESULTS, "sums, comparisons and products of the vector unit's lanes; 0 without it"
    ),
    Column("metadata_bytes", "bytes", RESULTS, "index, bitmaps and tables stored with the values of sparse operands"),
    Column(
        "util_mapping",
        "1",
        OPS,
        "share of the multipliers that hold a useful operand, over the rows taken in; null without rows",
        f"macs / (rows taken in x {PES})",
    ),
    Column(
        "util_compute",
        "1",
        OPS,
        "share of the cycles in which the array takes in a row; null on the host",
        "rows taken in x cycles per row (of a row that flushes an OS array: 1) / cycles",
    ),
    Column(
        "utilization",
        "1",
        ALL,
        "share of the array's multiply-accumulate slots that did useful work; never above 1",
        "macs / (cycles x peak_macs_per_cycle)",
    ),
    Column(
        "peak_macs_per_cycle",
        "1",
        RESULTS,
        "multiply-accumulates per cycle with all multipliers busy, at the operator's word sizes; mean over cycles",
        f"({PES}, times the multipliers a PE splits into) / cycles per row",
    ),
    Column(
        "effective_macs_per_cycle",
        "1",
        RESULTS,
        "dense multiply-accumulates per cycle, skipped ones included: may exceed the peak",
        "(macs + macs_skipped) / cycles",
    ),
    # Traffic.
    Column("dram_read_bytes", "bytes", ALL, f"bytes requested from memory {DMA}"),
    Column("dram_write_bytes", "bytes", ALL, f"bytes written to memory {DMA}"),
    Column("dram_read_requests", "1", RESULTS, "read requests sent to memory"),
    Column("dram_write_requests", "1", RESULTS, "write requests sent to memory"),
    *(Column(f"dram_{name}", "1", RESULTS, meaning) for name, meaning in DRAM.items()),
    Column("spad_read_bytes", "bytes", RESULTS, "scratchpad bytes read", "row reads x columns x element bytes"),
    Column("spad_write_bytes", "bytes", RESULTS, "scratchpad bytes written", "row writes x columns x element bytes"),
    Column("acc_read_bytes", "bytes", RESULTS, "accumulator bytes read", "row reads x columns x sum bytes"),
    Column(
        "acc_write_bytes",
        "bytes",
        RESULTS,
        "accumulator bytes written, additions in place included",
        "row writes x columns x sum bytes",
    ),
    # Energy.
    Column("energy_pj", "pJ", ALL, "energy of array, memories, DRAM and host", "sum of the energy_*_pj columns"),
    *(Column(f"energy_{part}_pj", "pJ", RESULTS, f"energy of the {what}") for part, what in ENERGY.items()),
    Column("energy_table", "", RUN, "table of energy per action (hwconfigs/energy) that energy_pj is computed with"),
    Column("node_nm", "nm", RUN, "technology node of that table; energies of different nodes cannot be compared"),
    # By kind of operator.
    Column("share", "1", KINDS, "share of all cycles", "cycles / total cycles"),
    Column(
        "visited_share",
        "1",
        ("kinds", *RUN),
        "share of the array's cycles that the simulator stepped; null without any",
        "visited_cycles / cycles not on the host",
    ),
    Column("ops", "1", KINDS, "operators of this kind"),
    # The whole run.
    Column("clock_mhz", "MHz", RUN, "accelerator clock"),
    Column("time_s", "s", RUN, "time at that clock", "cycles / (clock_mhz x 1e6)"),
    Column("power_w", "W", RUN, "mean power", "energy_pj x 1e-12 / time_s"),
    Column("edp_js", "J s", RUN, "energy-delay product", "energy_pj x 1e-12 x time_s"),
    Column(
        "area_mm2",
        "mm2",
        RUN,
        "area of the machine at 22 nm, the node of the published area (hwconfigs/area), at any energy table",
        "sum of sim.cost.area.area_um2 x 1e-6",
    ),
    Column(
        "area_not_modelled",
        "",
        RUN,
        "units of the machine without a published area: their area is missing in area_mm2; null = none",
    ),
    Column(
        "energy_not_modelled",
        "",
        RUN,
        "units of the machine without a published energy: their energy is missing in energy_pj; null = none",
    ),
    Column(
        "remarks",
        "",
        RUN,
        "settings of the machine without effect or out of proportion; null = none",
    ),
    # Cores of a machine of several.
    Column("core", "1", CORES, "number of the core, from 0"),
    Column("busy_cycles", "cycles", CORES, "cycles in which it worked on operators, its array, CPU or both"),
    Column("core_host_cycles", "cycles", CORES, "cycles of them in which its CPU ran operators"),
    Column("barrier_cycles", "cycles", CORES, "cycles in which it waited for the last core and for the barrier"),
    Column(
        "port_wait_cycles",
        "cycles",
        CORES,
        "cycles in which a beat of this core waited for the bus while another core's beat passed",
    ),
    Column("core_read_bytes", "B", CORES, "bytes that its DMA requested at its own port"),
    Column("core_write_bytes", "B", CORES, "bytes that its DMA wrote at its own port"),
    Column("core_macs", "1", CORES, "multiply-accumulates of the pieces it ran"),
    Column("core_invocations", "1", CORES, "programs run on its array"),
    Column("busy_share", "1", CORES, "share of the run in which this core worked", "busy_cycles / cycles of the run"),
    # Sweeps and searches.
    Column("sparsity", "", SWEEP, "pattern:density/scheme of the weights, or a file; null = dense"),
    Column("prune", "", SWEEP, "structured pruning, e.g. heads=8,layers=6; null = none"),
    Column("seed", "1", SWEEP, "seed of the random masks"),
    Column("best", "", EXPLORE, "true for points of the Pareto front of the objectives, among the points tried"),
    Column("version", "", SWEEP, "release and source digest of the code that computed the row; null = refused input"),
    Column(
        "error",
        "",
        SWEEP,
        "reason why the point failed; null = it succeeded. Swept hardware keys and workload sizes are further columns",
    ),
)
"""Every column in reporting order."""

COLUMNS: dict[str, Column] = {column.name: column for column in _TABLE}


PRICED = tuple(column.name for column in _TABLE if column.unit in ("pJ", "W", "J s"))
"""Columns that depend on the energy table: values of different tables cannot be compared."""


def table(name: str) -> tuple[str, ...]:
    """Return the names of the columns of table ``name`` in reporting order."""
    return tuple(column.name for column in COLUMNS.values() if name in column.tables)


def bound(cause_cycles: Iterable[tuple[str, int]]) -> str:
    """Return the group of `BOUNDS` that holds the most cycles (the first of equals)."""
    cycles = dict.fromkeys(BOUNDS, 0)
    for cause, count in cause_cycles:
        cycles[BOUND_OF[cause]] += count
    return max(cycles, key=cycles.__getitem__)
