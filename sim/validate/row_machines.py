"""The machine of one row of the measured tables (formats: README.md and MACHINES.md beside them).

The column ``cfg`` names a base machine and changes ("default+dim=8+sp=64"); every other machine column of the row
overrides ``cfg``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from sim.base.errors import InputError, did_you_mean
from sim.base.numbers import decimal
from sim.hardware.loading import load, presets
from sim.hardware.machine import Hardware

BASES = {
    "default": "gemmini_default",
    "norm": "gemmini_ibert",
    "ibert": "gemmini_ibert",
    "lean": "gemmini_lean",
    "chip": "gemmini_chip",
    "fp32dim4": "gemmini_fp32_4x4",
    "bf16dim8": "gemmini_bf16_8x8",
    "bf16dim4": "gemmini_bf16_4x4",
    "fp16dim4": "gemmini_fp16_4x4",
    "chipFP32": "gemmini_chip_fp32",
    "largeChip": "gemmini_large_chip",
}
"""First word of ``cfg`` -> preset."""

Convert = Callable[[str], object]


def _whole(text: str, times: float = 1) -> int:
    number = decimal(text) * times
    if not number.is_integer():
        raise ValueError(f"{text!r} is not a whole number{'' if times == 1 else ' of bytes'}")
    return int(number)


def _kib(text: str) -> int:
    return _whole(text, 1024)


def _bits(text: str) -> int:
    return _whole(text, 1 / 8)


def _flag(text: str) -> bool:
    values = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
    if text.lower() not in values:
        raise ValueError(f"{text!r} is neither 0 nor 1")
    return values[text.lower()]


def _units(text: str) -> object:
    return text if text in ("per_lane", "none") else "per_lane" if text == "-1" else _whole(text)


def _scaler_latency(text: str) -> object:
    match = re.search(r"latency (\d+)", text)
    return int(match[1]) if match else text if text == "none" else _whole(text)


COLUMNS: dict[str, tuple[tuple[str, ...], Convert]] = {
    "dataflow_hw": (("array.dataflow",), str),
    "sp_KiB": (("scratchpad.capacity",), _kib),
    "sp_banks": (("scratchpad.banks",), _whole),
    "acc_KiB": (("accumulator.capacity",), _kib),
    "acc_banks": (("accumulator.banks",), _whole),
    "bus_bits": (("dma.bus_bytes",), _bits),
    "max_in_flight_mem_reqs": (("dma.max_in_flight_requests",), _whole),
    "rs_ld": (("reservation_station.ld",), _whole),
    "rs_st": (("reservation_station.st",), _whole),
    "rs_ex": (("reservation_station.ex",), _whole),
    "ldq": (("queues.ld",), _whole),
    "stq": (("queues.st",), _whole),
    "exq": (("queues.ex",), _whole),
    "dma_maxbytes": (("dma.max_request_bytes",), _whole),
    "l2_KiB": (("memory.l2_bytes",), _kib),
    "rtl": (("rtl",), str),
    "input_type": (("array.input_type",), str),
    "acc_type": (("array.acc_type",), str),
    "tile_latency": (("array.tile_latency_cycles",), _whole),
    "spad_read_delay": (("scratchpad.read_delay_cycles",), _whole),
    "mesh_output_delay": (("array.mesh_output_delay_cycles",), _whole),
    "acc_latency": (("accumulator.latency_cycles",), _whole),
    "acc_scale_latency": (("accumulator.scale_latency_cycles",), _whole),
    "acc_scale_units": (("accumulator.scale_units",), _units),
    "mvin_scale_latency": (("dma.mvin_scale_latency_cycles",), _whole),
    "mvin_scale_units": (("dma.mvin_scale_units",), _units),
    "mvin_acc_scale": (("dma.mvin_acc_scale",), _scaler_latency),
    "sp_singleported": (("scratchpad.single_ported",), _flag),
    "acc_singleported": (("accumulator.single_ported",), _flag),
    "acc_sub_banks": (("accumulator.sub_banks",), _whole),
    "ex_read_from_spad": (("array.ex_read_from_spad",), _flag),
    "ex_read_from_acc": (("array.ex_read_from_acc",), _flag),
    "ex_write_to_spad": (("array.ex_write_to_spad",), _flag),
    "ex_write_to_acc": (("array.ex_write_to_acc",), _flag),
    "hardcode_d_to_garbage_addr": (("array.hardcode_d_to_garbage",), _flag),
    "acc_read_full_width": (("accumulator.read_full_width",), _flag),
    "acc_read_small_width": (("accumulator.read_small_width",), _flag),
    "training_convs": (("features.training_convs",), _flag),
    "mem_latency": (("memory.latency_cycles",), _whole),
    "bytes_per_cycle": (("memory.read_bytes_per_cycle", "memory.write_bytes_per_cycle"), float),
    "rd_bytes_per_cycle": (("memory.read_bytes_per_cycle",), float),
    "wr_bytes_per_cycle": (("memory.write_bytes_per_cycle",), float),
    "pages": (("tlb.pages",), str),
    "cpu": (("cpu.prices",), str),
    "host": (("host",), str),
    "cpu_sizes": (("cpu.sizes",), str),
    "cpu_code": (("cpu.code",), str),
    "cmd_interval": (("cpu.command_cycles", "cpu.loop_cycles"), _whole),
    "min_cmd_gap": (("cpu.command_cycles", "cpu.loop_cycles"), _whole),
}
"""Column -> keys of the description and the parser of its text. DIM and tile_rows are joined in `_array`."""

MODIFIERS = {
    "dim": "DIM",
    "tile": "tile_rows",
    "df": "dataflow_hw",
    "sp": "sp_KiB",
    "acc": "acc_KiB",
    "bus": "bus_bits",
    "inflight": "max_in_flight_mem_reqs",
    "rsld": "rs_ld",
    "rsst": "rs_st",
    "rsex": "rs_ex",
    "dmamax": "dma_maxbytes",
    "l2": "l2_KiB",
}
"""Short names inside ``cfg`` -> column; a column's own name, with or without underscores, works as well."""

DERIVED: dict[str, tuple[Convert, Callable[[Hardware], int]]] = {
    "input_bytes": (_whole, lambda hw: hw.input_bytes),
    "acc_bytes": (_whole, lambda hw: hw.acc_bytes),
    "raw_hazards_impossible": (_flag, lambda hw: int(hw.raw_hazards_impossible)),
}
"""Columns that follow from others: parser of their text, and the required value. Compared, never set."""


def machine_of_row(row: Mapping[str, str]) -> Hardware:
    """Return the machine that one table row describes, its memory and command pace included.

    ``row``: column -> text; empty cells and columns that describe the work or the result are not read.
    Raises InputError: an unknown ``cfg`` without all machine columns, an illegal value, a contradiction between
    columns, an illegal machine.
    """
    cells = {key: str(value).strip() for key, value in row.items() if key in _READ and value is not None}
    cells = {key: value for key, value in cells.items() if value not in ("", "nan", "NaN")}
    try:
        return _machine(tuple(cells.items()))
    except InputError as error:
        where = f"row {row['id']!r}" if row.get("id") else "row"
        raise InputError([f"{where}: {problem}" for problem in error.problems]) from error


@lru_cache(maxsize=4096)  # tables hold thousands of rows and some dozens of machines
def _machine(items: tuple[tuple[str, str], ...]) -> Hardware:
    cells = dict(items)
    cfg = cells.get("cfg", "default")
    base, changes, problems = _read_cfg(cfg, settled="input_type" in cells and "acc_type" in cells)
    settings = changes | cells
    overrides: dict[str, object] = {"name": cfg}
    for column, (keys, convert) in COLUMNS.items():
        if column in settings:
            try:
                overrides |= dict.fromkeys(keys, convert(settings[column]))
            except ValueError as error:
                problems.append(f"column {column}: {error}")
    hardware = load(base)
    if hardware.accumulator.scale_units == "none":  # the tables have one per lane also for unused units
        overrides.pop("accumulator.scale_units", None)
    if isinstance(overrides.get("accumulator.scale_units"), int):  # a measured machine; the core refuses to run it
        overrides["waived_rules"] = [*hardware.waived_rules, "core_scale_units"]
    try:
        overrides |= _array(settings, hardware)
        if not problems:
            hardware = hardware.with_(overrides)
            problems += _contradictions(cells, hardware)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    return hardware


def _contradictions(cells: Mapping[str, str], hardware: Hardware) -> list[str]:
    problems = []
    for column, (convert, derive) in DERIVED.items():
        try:
            if column in cells and convert(cells[column]) != derive(hardware):
                problems.append(f"column {column} = {cells[column]}: the other columns give {derive(hardware)}")
        except ValueError as error:
            problems.append(f"column {column}: {error}")
    return problems


_ARRAY = ("DIM", "tile_rows")
_READ = frozenset({"cfg", *COLUMNS, *DERIVED, *_ARRAY})


def _array(settings: Mapping[str, str], base: Hardware) -> dict[str, object]:
    """Return the keys of a square array, DIM PEs a side, of square tiles."""
    given = {}
    for column in _ARRAY:
        try:
            given[column] = _whole(settings[column]) if column in settings else 0
        except ValueError as error:
            raise InputError(f"column {column}: {error}") from error
    dim, tile = given["DIM"] or base.dim, given["tile_rows"] or base.array.tile_rows
    if tile < 1 or dim < 1 or dim % tile:
        raise InputError(f"column DIM = {dim}: not a multiple of tile_rows = {tile}")
    mesh = dim // tile
    return {
        "array.mesh_rows": mesh,
        "array.mesh_columns": mesh,
        "array.tile_rows": tile,
        "array.tile_columns": tile,
    }


def _read_cfg(cfg: str, settled: bool) -> tuple[str, dict[str, str], list[str]]:
    """Return preset, column -> text, problems. ``settled``: the columns alone describe the whole machine."""
    name, *changes = cfg.split("+")
    problems = []
    base = BASES.get(name, name)
    if base not in presets():
        if not settled:
            problems.append(f"column cfg: unknown machine {name!r}{did_you_mean(name, [*BASES, *presets()])}")
        base = "gemmini_default"
    known = {**{column.replace("_", ""): column for column in (*COLUMNS, *_ARRAY)}, **MODIFIERS}
    settings = {}
    for change in changes:
        key, _, value = change.partition("=")
        column = known.get(key.replace("_", ""))
        if column is not None and value:
            settings[column] = value
        elif not settled:
            problems.append(f"column cfg: unknown change {change!r}{did_you_mean(key, known)}")
    return base, settings, problems
