"""SCALE-Sim configurations (.cfg) as machines: array, memories, dataflow and bandwidth become keys of `DEFAULT_BASE`.

Settings with a key: the array's sides, the dataflow, the memories of inputs and filters as one scratchpad, that of
results as the accumulator, the interface's bandwidth (a word is one byte, and the bus at least as wide) unless
SCALE-Sim
calculates it. All other settings are listed in `Hardware.unsaid`.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.base.errors import InputError, did_you_mean
from sim.base.reading import read_text

BASE = "gemmini_default"
"""The base machine, for everything that such a file does not define."""

ARCHITECTURE = "architecture_presets"
SIZES = ("arrayheight", "arraywidth", "ifmapsramszkb", "filtersramszkb", "ofmapsramszkb")
SPELLED = {
    name.lower(): name
    for name in (
        "ArrayHeight",
        "ArrayWidth",
        "IfmapSramSzkB",
        "FilterSramSzkB",
        "OfmapSramSzkB",
        "Dataflow",
        "Bandwidth",
    )
}
MAX_COUNT = 1 << 20
DATAFLOWS = {"os": "OS", "ws": "WS"}
MIN_BUS, MAX_BUS = 8, 64
"""Largest beat in bytes: the base's requests."""


def machine(file: Path, label: str) -> dict[str, Any]:
    """Return the tables of a configuration, relative to its base. Raises InputError with all problems of the file."""
    sections = _read(file, label)
    found = dict(sections.get(ARCHITECTURE, {}))
    problems = [f"[{ARCHITECTURE}] has no {SPELLED[name]}" for name in (*SIZES, "dataflow") if name not in found]
    numbers = {name: _number(found.pop(name), SPELLED[name], problems) for name in SIZES if name in found}
    dataflow = found.pop("dataflow", "ws").lower()
    if dataflow not in DATAFLOWS:
        hint = did_you_mean(dataflow, DATAFLOWS)
        problems.append(f"Dataflow is {dataflow!r}; this array has os and ws{hint or ' (nearest: ws)'}")
    if sections.get("sparsity", {}).get("sparsitysupport", "").lower() == "true":
        problems.append("SparsitySupport is true: use --sparsity instead (nearest: SparsitySupport : false)")
    memory, unsaid = _memory(found, sections.get("run_presets", {}), problems)
    if problems:
        raise InputError([f"{label}: {problem}" for problem in problems])
    unsaid += [f"{name} = {value}" for name, value in found.items()]
    unsaid += [
        f"[{section}] {name} = {value}"
        for section, values in sections.items()
        if section not in ("general", ARCHITECTURE)
        for name, value in values.items()
        if (section, name) not in (("run_presets", "interfacebandwidth"), ("sparsity", "sparsitysupport"))
    ]
    height, width, inputs, filters, results = (numbers[name] for name in SIZES)
    name = sections.get("general", {}).get("run_name", "").strip('"') or file.stem
    return {
        "base": BASE,
        "name": name,
        "description": f"SCALE-Sim's {file.name}: {height}x{width}, {dataflow}; the rest is {BASE}'s",
        "unsaid": unsaid,
        "array": {
            "mesh_rows": height,
            "mesh_columns": width,
            "tile_rows": 1,
            "tile_columns": 1,
            "dataflow": DATAFLOWS[dataflow],
        },
        "scratchpad": {"capacity": f"{inputs + filters}KiB"},
        "accumulator": {"capacity": f"{results}KiB"},
        **memory,
    }


def _read(file: Path, label: str) -> dict[str, dict[str, str]]:
    """Return the sections of a file, names in lower case."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        parser.read_string(read_text(file).lstrip("\ufeff"), label)
    except configparser.Error as error:
        raise InputError(f"{label}: no SCALE-Sim configuration: {' '.join(str(error).split())[:200]}") from None
    if not parser.has_section(ARCHITECTURE):
        raise InputError(f"{label}: no SCALE-Sim configuration: it has no section [{ARCHITECTURE}]")
    return {section: dict(parser[section]) for section in parser.sections()}


def _number(text: str, name: str, problems: list[str]) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MAX_COUNT):
        problems.append(f"{name} is {text!r}, must be a whole number from 1 to {MAX_COUNT}")
        return 1
    return int(text)


def _memory(found: dict[str, str], run: Mapping[str, str], problems: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the tables of memory and bus, and bandwidth settings without a key; removes them from ``found``."""
    mode, text = run.get("interfacebandwidth", "CALC").strip().upper(), found.pop("bandwidth", "")
    if mode not in ("CALC", "USER"):
        problems.append(f"InterfaceBandwidth is {mode!r}, can be CALC, USER")
    if mode == "CALC" or not text:
        return {}, [f"Bandwidth = {text} (InterfaceBandwidth CALC: not used there either)"] if text else []
    rates = [_number(part.strip(), "Bandwidth", problems) for part in text.split(",")]
    if len(rates) not in (1, 3):
        problems.append(f"Bandwidth is {text!r}, must be one number, or one for each of the three memories")
        return {}, []
    read, write = (rates[0], rates[0]) if len(rates) == 1 else (rates[0] + rates[1], rates[2])
    bus = MIN_BUS
    while bus < min(max(read, write), MAX_BUS):
        bus *= 2
    memory = {"read_bytes_per_cycle": float(read), "write_bytes_per_cycle": float(write)}
    return {"memory": memory, "dma": {"bus_bytes": bus}}, []
