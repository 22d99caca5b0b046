"""The keys of a machine, each with unit, range and meaning, and a machine as TOML: what `carat show --hw NAME` prints.

Ranges are read from the schema (`sim.hardware.schema`); rules that involve several keys are in `legality`.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sim.base.toml import flat
from sim.hardware.machine import Hardware

MEANINGS: dict[str, str] = {
    "name": "name of the machine in tables and messages",
    "description": "one line for `carat list`",
    "rtl": "version of Gemmini's RTL that is modelled",
    "clock_mhz": "accelerator clock",
    "energy_table": "energy per action: a name of hwconfigs/energy or a TOML file",
    "waived_rules": "legality rules that this machine may break",
    "unsaid": "settings of another simulator's file without a key here",
    "array.mesh_rows": "rows of tiles of the systolic array",
    "array.mesh_columns": "columns of tiles of the systolic array",
    "array.tile_rows": "rows of PEs in a tile, combinational",
    "array.tile_columns": "columns of PEs in a tile, combinational",
    "array.dataflow": "weight-stationary, output-stationary, or both",
    "array.input_type": "type of the operands",
    "array.acc_type": "type of the sums",
    "array.tile_latency_cycles": "registers between tiles beyond one",
    "array.mesh_output_delay_cycles": "registers after the array",
    "array.ex_read_from_spad": "computes may read operands from the scratchpad",
    "array.ex_read_from_acc": "computes may read operands from the accumulator",
    "array.ex_write_to_spad": "computes may write results to the scratchpad",
    "array.ex_write_to_acc": "computes may write results to the accumulator",
    "array.hardcode_d_to_garbage": "weight-stationary without a preloaded bias",
    "array.pe": "narrow operands: widened, multipliers that split, or bit by bit",
    "array.accepts": "further types that are multiplied",
    "array.accumulates": "further, narrower types of sums",
    "array.sums_per_cycle": "sums that the accumulator takes in and gives out; 0 = one per column",
    "array.serial_activation_bits": "bits of an activation per cycle of a serial PE; 0 = all",
    "array.serial_weight_bits": "bits of a weight per cycle of a serial PE; 0 = all",
    "scratchpad.capacity_bytes": "capacity of the input memory",
    "scratchpad.banks": "banks, each of which serves one access per port and cycle",
    "scratchpad.single_ported": "a bank reads or writes in a cycle, not both",
    "scratchpad.read_delay_cycles": "read delay that sizes the queues behind the scratchpad",
    "scratchpad.read_pipeline_cycles": "registers after the SRAM",
    "scratchpad.narrow_words": "rows hold operands at their own width",
    "accumulator.capacity_bytes": "capacity of the output memory",
    "accumulator.banks": "banks",
    "accumulator.single_ported": "a bank reads or writes in a cycle, not both",
    "accumulator.sub_banks": "single-ported parts of a bank; -1 = none",
    "accumulator.latency_cycles": "from a write to the row in memory",
    "accumulator.scale_latency_cycles": "pipeline of the scale unit",
    "accumulator.scale_units": "scale units of a row: one per lane, a number shared between lanes, or none",
    "accumulator.read_full_width": "move-out of unscaled sums",
    "accumulator.read_small_width": "move-out of scaled elements",
    "dma.bus_bytes": "bytes of a beat of the bus",
    "dma.max_request_bytes": "largest request",
    "dma.max_in_flight_requests": "requests in flight per direction",
    "dma.mvin_scale_latency_cycles": "pipeline of the scaler in the load path",
    "dma.mvin_scale_units": "scalers in the load path: one per lane, a number, or none",
    "dma.mvin_acc_scale": "latency of the scaler of loads to the accumulator, in cycles, or none",
    "reservation_station.ld": "entries for loads",
    "reservation_station.st": "entries for stores",
    "reservation_station.ex": "entries for computes",
    "reservation_station.serialise_stores": "a store waits for the completion of the store before it",
    "queues.ld": "entries of the load controller's queue",
    "queues.st": "entries of the store controller's queue",
    "queues.ex": "entries of the execute controller's queue",
    "features.normalizations": "units for softmax and LayerNorm",
    "features.max_pool": "max-pooling on move-out",
    "features.training_convs": "transposed and dilated convolutions",
    "features.nonlinear_activations": "GELU on move-out",
    "features.first_layer_optimizations": "several pixels of a narrow image per row",
    "memory.latency_cycles": "from a request to its first beat",
    "memory.read_bytes_per_cycle": "rate of reads",
    "memory.write_bytes_per_cycle": "rate of writes",
    "memory.l2_bytes": "capacity of the L2 cache; 0 = none",
    "memory.technology": "DRAM of the energy table",
    "memory.dram": "DRAM device with its timing (hwconfigs/dram); none = fixed latency and rate",
    "memory.one_port": "reads and writes take turns behind the L2",
    "cpu.command_cycles": "least cycles between two commands",
    "cpu.loop_cycles": "least cycles before the first command of a hardware loop",
    "cpu.prices": "prices of the CPU's code (hwconfigs/cpu); none = command_cycles alone",
    "cpu.sizes": "sizes known to the compiler: see docs/CPU.md",
    "cpu.code": "whether the CPU's code is in its cache at first: see docs/CPU.md",
    "host": "the CPU that runs operators the array cannot (hwconfigs/host), or none",
    "host.name": "name of the CPU",
    "host.clock_ratio": "host clock / accelerator clock",
    "host.takes": "operators of the host that the array could run",
    "host.cycles_per_element": "host cycles of each kind of operator per element",
    "host.operators": "measured prices of a kind of operator: see docs/CPU.md",
    "host.values": "distribution of inputs for the prices: see docs/CPU.md",
    "host.converts": "operators are preceded and followed by conversions of their types",
    "host.requantizes": "kinds whose results are written in the input type without a conversion",
    "sparsity.select_inputs": "activations among which a PE selects by the index of its weight; 0 = its row's",
    "sparsity.fetch_rows": "rows of activations that the array takes in at a time",
    "sparsity.gating": "operand whose zeros keep a multiplier from switching",
    "sparsity.decoder": "formats of stored weights that the load path expands",
    "sparsity.decoder_elements_per_cycle": "rate of that expansion; 0 = no decoder",
    "sparsity.block_scheduler": "a unit issues the commands of non-zero blocks instead of the CPU",
    "sparsity.top_k_per_cycle": "scores that the ranking unit reads; 0 = no such unit",
    "sparsity.fft_butterflies_per_cycle": "rate of the transform unit; 0 = none",
    "sparsity.fft_block": "elements of a transform",
    "sparsity.resident_weights": "weights that a PE holds",
    "sparsity.resident_reach": "weights that an index may select: the PE's own, or those of its row or column",
    "sparsity.pack_and_split": "a unit packs the chosen scores of a mask into sub-rows",
    "sparsity.predictor_macs_per_cycle": "rate of an array that predicts scores; 0 = the main array does",
    "sparsity.predictor_bits": "width of its operands",
    "cores.count": "accelerators on one bus, a CPU each",
    "cores.shared": "memory behind that bus",
    "cores.split": "how operators are divided among cores",
    "cores.hand": "with split = hand: operators, how they are divided, and their cores",
    "cores.barrier_cycles": "barrier; lines = two cache lines",
    "tlb.pages": "pages of address translation; none = physical addresses",
    "tlb.entries": "entries for 4-KiB pages",
    "tlb.superpage_entries": "entries for 2-MiB pages",
    "tlb.walk_cycles": "page-table walk whose entry is in the data cache",
    "vector.lanes": "lanes of the vector unit, which runs operators that the array cannot; 0 = no such unit",
    "vector.add_cycles": "per lane for a sum, comparison, shift or conversion",
    "vector.multiply_cycles": "per lane for a product",
    "vector.divide_cycles": "per lane for a quotient",
    "vector.root_cycles": "per lane for a square root",
    "vector.exponential_cycles": "per lane for an exponential",
    "vector.port_bytes": "bytes read, and bytes written, per cycle; 0 = the bus width",
    "vector.buffer_bytes": "the vector unit's row memory; longer rows are read again by each pass",
    "tlb.page_tables": "level in which page-table entries are found the first time",
}
"""Key -> meaning; keys below one that is named here ("host.cycles_per_element.gelu") share its meaning."""

UNITS = {
    "_bytes_per_cycle": "B/cycle",
    "_elements_per_cycle": "elements/cycle",
    "_macs_per_cycle": "MACs/cycle",
    "_per_cycle": "1/cycle",
    "_cycles": "cycles",
    "_bytes": "B",
    "_bits": "bit",
    "_mhz": "MHz",
}
"""Suffix of a key -> its unit; the first match."""


class Key(NamedTuple):
    """One key of a machine: dotted name, value, unit ("" = a plain number, switch or name), legal range, meaning."""

    name: str
    value: Any
    unit: str
    range: str
    meaning: str


def keys(hw: Hardware) -> list[Key]:
    """Return every key of the machine in the order of its tables."""
    ranges = dict(_ranges(Hardware))
    found = []
    for name, value in flat(hw.model_dump(mode="json")).items():
        owner = _owner(name, MEANINGS)
        unit = next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")
        unit = "host cycles" if owner == "host.cycles_per_element" else unit
        found.append(Key(name, value, unit, ranges.get(name, ranges.get(owner, "")), MEANINGS[owner]))
    return found


def to_toml(hw: Hardware) -> str:
    """Return the machine as a TOML file that `sim.hardware.load` reads back to an equal machine."""
    lines: list[str] = []
    _tables(hw.model_dump(mode="json"), "", lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _owner(name: str, known: Mapping[str, str]) -> str:
    """Return the longest known key that is ``name`` or a table above it."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if (key := ".".join(parts[:length])) in known:
            return key
    raise KeyError(name)


def _tables(tables: Mapping[str, Any], prefix: str, lines: list[str]) -> None:
    values = {key: value for key, value in tables.items() if not isinstance(value, Mapping) and value is not None}
    if prefix:
        lines += ["", f"[{prefix}]"]
    lines += [f"{_key(key)} = {_literal(value)}" for key, value in values.items()]
    for key, value in tables.items():
        if isinstance(value, Mapping):
            _tables(value, f"{prefix}.{_key(key)}" if prefix else _key(key), lines)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key)


def _literal(value: Any) -> str:
    """Return a TOML value: numbers, switches, lists and text are written as in JSON."""
    return json.dumps(value)


def _ranges(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, legal values as text) of a model and the models in it."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", _range(field)
        for inner in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _ranges(inner, f"{prefix}{name}.")


def _range(field: FieldInfo) -> str:
    bounds, words = [], []
    signs = ((Ge, "ge", ">="), (Gt, "gt", ">"), (Le, "le", "<="), (Lt, "lt", "<"))
    for kind, constraints in _types(field.annotation, list(field.metadata)):
        for constraint in constraints:
            bounds += [
                f"{sign} {getattr(constraint, name)}" for is_a, name, sign in signs if isinstance(constraint, is_a)
            ]
        if typing.get_origin(kind) is typing.Literal:
            words += [str(word) for word in typing.get_args(kind)]
        elif kind is bool:
            words += ["true", "false"]
    return ", ".join(dict.fromkeys([*bounds, *words]))


def _types(kind: Any, constraints: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """Yield the plain types inside ``kind``, each with its constraints."""
    if typing.get_origin(kind) is typing.Annotated:
        inner, *more = typing.get_args(kind)
        for entry in more:
            constraints = [*constraints, *(getattr(entry, "metadata", None) or [entry])]
        yield from _types(inner, constraints)
    elif typing.get_origin(kind) in (None, typing.Literal):
        yield kind, constraints
    else:
        for inner in typing.get_args(kind):
            yield from _types(inner, constraints)
