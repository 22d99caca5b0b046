"""Rules that involve several parameters: requirements of Gemmini's generator and of its DMA.

From gemmini_machine.md 1.4 (read in GemminiConfigs.scala unless a rule says otherwise). Not here, because
types and other rules imply them: element widths in {8, 16, 32, 64} bits; DIM * ceil(bits / (DIM / 2)) a power
of two; one width for inputs and weights (there is one input type). A machine of a paper that breaks a rule lists it in
``waived_rules``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from sim.base.errors import did_you_mean
from sim.hardware.explain import hint, literal
from sim.hardware.files import config_files
from sim.hardware.legality.broken import Broken, Rule, is_power, nearest_power, text
from sim.hardware.legality.core import CORE_RULES
from sim.hardware.legality.cores import placings, shared_latency, shared_memory, shared_requests
from sim.hardware.legality.memory import (
    dma_sizes,
    known_dram,
    l2_requests,
    l2_size,
    memory_latency,
    memory_rate,
    one_port,
    page_tables,
    tlb_entries,
)
from sim.hardware.legality.words import (
    accepted_types,
    chosen_scores,
    decoder_array,
    decoder_rate,
    selected_operands,
    serial_bits,
    sums_taken_in,
    transform_unit,
)
from sim.hardware.machine import Hardware

MAX_ROWS = 2**25
"""Largest number of rows of a local memory: addresses and 6 metadata bits have 32 bits."""


def problems(hw: Hardware, ignore: Collection[str] = (), nearest: Mapping[str, object] | None = None) -> list[str]:
    """Return one sentence per broken rule that is not waived; rules about keys in ``ignore`` are left out.

    ``nearest``: dotted key -> value of a legal machine near this one, if known; else each rule's own suggestion.
    """
    sentences = [sentence(name, found, nearest) for name, found in broken(hw, ignore)]
    names = {rule.__name__ for rule in RULES}
    for waived in hw.waived_rules:
        if waived not in names:
            sentences.append(f"waived_rules: unknown rule {waived!r}{did_you_mean(waived, names)}")
    return sentences


def broken(hw: Hardware, ignore: Collection[str] = ()) -> Iterator[tuple[str, Broken]]:
    """Yield (rule, `Broken`) of each broken rule that is neither waived nor about a key in ``ignore``."""
    square = hw if _array_is_legal(hw) else _with_legal_array(hw)
    for rule in RULES:
        if rule.__name__ not in hw.waived_rules:
            for found in rule(hw if rule in OF_ARRAY else square):
                if not any(key == bad or key.startswith(f"{bad}.") for key in found.keys for bad in ignore):
                    yield rule.__name__, found


def sentence(rule: str, found: Broken, nearest: Mapping[str, object] | None = None) -> str:
    """Return the message of a broken rule: key and value, requirement, nearest legal value, rule."""
    key = found.keys[0]
    changes = found.changes if nearest is None else {key: nearest[key]} if key in nearest else {}
    return f"{key} = {literal(found.value)}: {found.demand}{hint(key, changes)} [rule {rule}]"


def _array_is_legal(hw: Hardware) -> bool:
    return all(rule.__name__ in hw.waived_rules or not list(rule(hw)) for rule in OF_ARRAY)


def _with_legal_array(hw: Hardware) -> Hardware:
    """Return the machine with the nearest legal array: so that other broken rules are found together with it."""
    dim = nearest_power(hw.dim, 2)
    sides = {"mesh_rows": dim, "mesh_columns": dim, "tile_rows": 1, "tile_columns": 1}
    return hw.model_copy(update={"array": hw.array.model_copy(update=sides)})


def square_array(hw: Hardware) -> Iterator[Broken]:
    """Rows and columns of PEs are equal in number."""
    array = hw.array
    columns = array.mesh_columns * array.tile_columns
    if columns != hw.dim:
        dim = nearest_power(hw.dim, 2)
        tile = array.tile_columns if dim % array.tile_columns == 0 else 1
        yield Broken(
            ("array.mesh_columns", "array.mesh_rows", "array.tile_rows", "array.tile_columns"),
            array.mesh_columns,
            f"the array is square: mesh_rows * tile_rows = {hw.dim}, mesh_columns * tile_columns = {columns}",
            {"array.mesh_columns": dim // tile} | ({} if tile == array.tile_columns else {"array.tile_columns": tile}),
        )


def dim_power_of_two(hw: Hardware) -> Iterator[Broken]:
    """DIM is a power of two and at least 2."""
    if not is_power(hw.dim) or hw.dim < 2:
        yield Broken(
            ("array.mesh_rows", "array.tile_rows"),
            hw.array.mesh_rows,
            f"DIM = mesh_rows * tile_rows = {hw.dim} must be a power of two, at least 2",
            {f"array.mesh_{side}": nearest_power(hw.dim, 2) for side in ("rows", "columns")}
            | {f"array.tile_{side}": 1 for side in ("rows", "columns") if getattr(hw.array, f"tile_{side}") != 1},
        )


def _bank_rows(table: str, capacity: int, banks: int, row_bytes: int, dim: int) -> Iterator[Broken]:
    rows = capacity / (banks * row_bytes)
    if not is_power(dim) or not is_power(banks):
        return  # reported by their own rules; a capacity for an illegal array or illegal banks would mislead
    if rows != int(rows) or not is_power(int(rows)) or int(rows) % dim:
        legal = nearest_power(rows, nearest_power(dim)) * banks * row_bytes
        yield Broken(
            (f"{table}.capacity", f"{table}.banks", "array"),
            text(capacity),
            f"rows per bank = capacity / ({banks} banks * {row_bytes} B) = {rows:g} must be a power of two "
            f"and a multiple of DIM = {dim}",
            text(legal),
        )


def banks_power_of_two(hw: Hardware) -> Iterator[Broken]:
    """The bank is a field of the row address (LocalAddr.scala), filled in all measured machines."""
    for table, banks in (("scratchpad", hw.scratchpad.banks), ("accumulator", hw.accumulator.banks)):
        if not is_power(banks):
            demand = "bits of the row address select the bank, so it must be a power of two"
            yield Broken((f"{table}.banks",), banks, demand, nearest_power(banks))


def scratchpad_bank_rows(hw: Hardware) -> Iterator[Broken]:
    """Rows of a scratchpad bank: a power of two, a multiple of DIM."""
    row_bytes = hw.dim * hw.input_bytes
    return _bank_rows("scratchpad", hw.scratchpad.capacity_bytes, hw.scratchpad.banks, row_bytes, hw.dim)


def accumulator_bank_rows(hw: Hardware) -> Iterator[Broken]:
    """Rows of an accumulator bank: a multiple of DIM, and a power of two by LocalAddr.scala."""
    row_bytes = hw.dim * hw.acc_bytes
    return _bank_rows("accumulator", hw.accumulator.capacity_bytes, hw.accumulator.banks, row_bytes, hw.dim)


def scratchpad_holds_accumulator(hw: Hardware) -> Iterator[Broken]:
    """SP_ROWS / DIM - 2 >= ACC_ROWS / DIM."""
    sp_blocks, acc_blocks = hw.sp_rows // hw.dim, hw.acc_rows // hw.dim
    if sp_blocks - 2 < acc_blocks and is_power(hw.dim) and is_power(hw.scratchpad.banks):
        need = (acc_blocks + 2) * hw.dim / hw.scratchpad.banks  # rows per bank; powers of two only
        rows = 1 << max(0, int(need - 1)).bit_length()
        if rows * hw.scratchpad.banks > MAX_ROWS:
            yield Broken(
                ("accumulator.capacity", "accumulator.banks", "scratchpad.capacity", "array"),
                text(hw.accumulator.capacity_bytes),
                f"no scratchpad has two blocks more than its {acc_blocks}",
                text(MAX_ROWS // 2 * hw.dim * hw.acc_bytes),
            )
            return
        yield Broken(
            ("scratchpad.capacity", "scratchpad.banks", "accumulator.capacity", "accumulator.banks", "array"),
            text(hw.scratchpad.capacity_bytes),
            f"its {sp_blocks} blocks minus 2 must be at least the accumulator's {acc_blocks} blocks",
            text(rows * hw.scratchpad.banks * hw.dim * hw.input_bytes),
        )


def accumulator_sub_banks(hw: Hardware) -> Iterator[Broken]:
    """A single-ported accumulator has 1, 2 or 4 sub-banks."""
    sub_banks = hw.accumulator.sub_banks
    if hw.accumulator.single_ported and sub_banks not in (1, 2, 4):
        demand = "a single-ported accumulator needs a power of two of sub-banks, at most 4"
        nearest = min(4, nearest_power(max(1, sub_banks)))
        yield Broken(("accumulator.sub_banks", "accumulator.single_ported"), sub_banks, demand, nearest)
    elif sub_banks < 1 and sub_banks != -1:
        yield Broken(("accumulator.sub_banks",), sub_banks, "a number of sub-banks, or -1 for none", -1)


def accumulator_latency(hw: Hardware) -> Iterator[Broken]:
    """acc_latency >= 2 (AccumulatorMem.scala)."""
    if hw.accumulator.latency_cycles < 2:
        demand = "an accumulator write takes at least 2 cycles"
        yield Broken(("accumulator.latency_cycles",), hw.accumulator.latency_cycles, demand, 2)


def accumulator_scale_latency(hw: Hardware) -> Iterator[Broken]:
    """The scale unit after the accumulator has a latency above zero."""
    if hw.accumulator.scale_latency_cycles < 1:
        yield Broken(("accumulator.scale_latency_cycles",), 0, "the scale unit takes at least 1 cycle", 1)


def reservation_station_entries(hw: Hardware) -> Iterator[Broken]:
    """Entries of each class are a power of two."""
    station = hw.reservation_station
    for kind, entries in (("ld", station.ld), ("st", station.st), ("ex", station.ex)):
        if not is_power(entries):
            nearest = nearest_power(entries)
            yield Broken((f"reservation_station.{kind}",), entries, "entries must be a power of two", nearest)


def execute_entries(hw: Hardware) -> Iterator[Broken]:
    """A preload leaves the reservation station only after its compute has entered."""
    if hw.reservation_station.ex < 2:
        demand = "a preload waits for the compute after it (ExecuteController.scala): at least 2 execute entries"
        yield Broken(("reservation_station.ex",), hw.reservation_station.ex, demand, 2)


def execute_queue(hw: Hardware) -> Iterator[Broken]:
    """The execute controller reads three commands at a time."""
    if hw.queues.ex < 3:
        yield Broken(("queues.ex",), hw.queues.ex, "the execute controller needs at least 3 entries", 3)


def local_address_bits(hw: Hardware) -> Iterator[Broken]:
    """Row address and 6 metadata bits fit into 32 bits (LocalAddr.scala)."""
    memories = (
        ("scratchpad", hw.sp_rows, hw.input_bytes, MAX_ROWS),
        ("accumulator", hw.acc_rows, hw.acc_bytes, MAX_ROWS // 2),  # the scratchpad has more blocks
    )
    for table, rows, element_bytes, most in memories:
        bits = max(0, rows - 1).bit_length()
        if bits + 6 >= 32:
            yield Broken(
                (f"{table}.capacity", "array"),
                f"{rows} rows",
                f"a row address of {bits} bits plus 6 metadata bits must stay below 32",
                text(most * hw.dim * element_bytes),
            )


def normalizer_type(hw: Hardware) -> Iterator[Broken]:
    """The normaliser works on integers as wide as the scale type, float32 (Normalizer.scala)."""
    if hw.features.normalizations and hw.array.acc_type != "int32":
        demand = "the normaliser (features.normalizations) needs a signed 32-bit integer accumulator"
        if hw.array.input_type.startswith("int"):
            yield Broken(("array.acc_type", "features.normalizations"), hw.array.acc_type, demand, "int32")
        else:
            yield Broken(("features.normalizations", "array.acc_type"), True, demand, False)


def same_number_kind(hw: Hardware) -> Iterator[Broken]:
    """Inputs and sums are both integers or both floating point, and sums are not narrower."""
    floats = hw.array.input_type.startswith("int") != hw.array.acc_type.startswith("int")
    if floats or hw.acc_bytes < hw.input_bytes:
        demand = f"sums of {hw.array.input_type} inputs must be of the same kind and not narrower"
        nearest = "int32" if hw.array.input_type.startswith("int") else "fp32"
        yield Broken(("array.acc_type", "array.input_type"), hw.array.acc_type, demand, nearest)


def hardwired_d(hw: Hardware) -> Iterator[Broken]:
    """Without a D operand there is nothing to preload in the output-stationary dataflow."""
    if hw.array.hardcode_d_to_garbage and hw.array.dataflow != "WS":
        demand = "a hard-wired D operand (hardcode_d_to_garbage) works weight-stationary only"
        yield Broken(("array.dataflow", "array.hardcode_d_to_garbage"), hw.array.dataflow, demand, "WS")


def command_pace(hw: Hardware) -> Iterator[Broken]:
    """A hardware loop is set up by commands, so it cannot come faster than one."""
    command, loop = hw.cpu.command_cycles, hw.cpu.loop_cycles
    if loop < command:
        demand = f"a hardware loop starts with a command, so at least command_cycles = {command}"
        yield Broken(("cpu.loop_cycles", "cpu.command_cycles"), loop, demand, command)


def known_energy_table(hw: Hardware) -> Iterator[Broken]:
    """The energy table exists."""
    tables = config_files("energy")
    if hw.energy_table not in tables and not hw.energy_table.endswith(".toml"):
        demand = f"no such energy table{did_you_mean(hw.energy_table, tables)}"
        yield Broken(("energy_table",), hw.energy_table, demand)


def host_takes_priced(hw: Hardware) -> Iterator[Broken]:
    """The host runs only operators for which it has a price."""
    if hw.host == "none":
        return
    for kind in hw.host.takes:
        if kind not in hw.host.priced:
            demand = f"the host has no price for it{did_you_mean(kind, hw.host.priced)}"
            yield Broken(("host.takes", "host.cycles_per_element"), kind, demand)


OF_ARRAY: tuple[Rule, ...] = (square_array, dim_power_of_two)
"""Rules that all others assume."""

RULES: tuple[Rule, ...] = (
    square_array,
    dim_power_of_two,
    banks_power_of_two,
    scratchpad_bank_rows,
    accumulator_bank_rows,
    scratchpad_holds_accumulator,
    accumulator_sub_banks,
    accumulator_latency,
    accumulator_scale_latency,
    memory_latency,
    memory_rate,
    one_port,
    reservation_station_entries,
    execute_entries,
    execute_queue,
    local_address_bits,
    normalizer_type,
    same_number_kind,
    hardwired_d,
    dma_sizes,
    l2_size,
    l2_requests,
    command_pace,
    selected_operands,
    chosen_scores,
    decoder_rate,
    decoder_array,
    transform_unit,
    accepted_types,
    serial_bits,
    sums_taken_in,
    known_energy_table,
    known_dram,
    tlb_entries,
    page_tables,
    shared_memory,
    shared_requests,
    placings,
    shared_latency,
    host_takes_priced,
    *CORE_RULES,
)
"""All rules, in the order of the report. A rule's function name is its name in ``waived_rules``."""
