"""Maps as TOML: written whole or not at all, read with every problem reported at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sim.base.errors import InputError, did_you_mean
from sim.base.reading import read_toml
from sim.base.text import one_line
from sim.lower.residency import HALVES, RESIDENTS
from sim.mapping.maps import MapEntry, Maps
from sim.mapping.opmapping import AXES, FIELDS, Kind, OpMapping
from sim.mapping.searching import OBJECTIVES

FORMAT = "carat-maps-1"

TOP: dict[str, type] = {
    "format": str,
    "workload": str,
    "hardware": str,
    "hardware_key": str,
    "dim": int,
    "objective": str,
    "mapping": list,
}
ENTRY: dict[str, type] = {
    "operators": list,
    "kind": str,
    "shape": str,
    "tile": list,
    "loop_order": str,
    "dataflow": str,
    "resident": str,
    "halves": str,
    "cycles": int,
    "library_cycles": int,
    "exhaustive": bool,
    "gap": float,
}
OPTIONAL = {*ENTRY, "objective"} - {"operators", "tile"}
"""Keys that maps written by hand may leave out."""

TYPE_NAMES = {str: "text", int: "a whole number", list: "a list", bool: "true or false", float: "a number"}


def to_toml(maps: Maps) -> str:
    """Return the text of a map file."""
    lines = [
        f"# Mappings of {one_line(maps.workload)} on {one_line(maps.hardware)}, for `carat run --mapping THIS_FILE`.",
        "# tile: blocks of DIM along I, J, K of a matmul; resident: operands that stay in the scratchpad. cycles: one",
        "# invocation from loop slot 0. gap: upper bound of the share by which the best possible mapping is better.",
        f'format = "{FORMAT}"',
        f"workload = {json.dumps(maps.workload)}",
        f"hardware = {json.dumps(maps.hardware)}",
        f"hardware_key = {json.dumps(maps.hardware_key)}",
        f"dim = {maps.dim}",
        f"objective = {json.dumps(maps.objective)}",
    ]
    for entry in maps.entries:
        names = ",\n  ".join(json.dumps(name) for name in entry.operators)
        lines += [
            "",
            "[[mapping]]",
            f"operators = [\n  {names},\n]",
            f"kind = {json.dumps(entry.mapping.kind)}",
            f"shape = {json.dumps(entry.shape)}",
            f"tile = {list(entry.mapping.tile)}",
            f"loop_order = {json.dumps(entry.mapping.loop_order)}",
            f"dataflow = {json.dumps(entry.mapping.dataflow)}",
            f"resident = {json.dumps(entry.mapping.resident)}",
            f"halves = {json.dumps(entry.mapping.halves)}",
            f"cycles = {entry.cycles}",
            f"library_cycles = {entry.library_cycles}",
            f"exhaustive = {json.dumps(entry.exhaustive)}",
            f"gap = {entry.gap}",
        ]
    return "\n".join(lines) + "\n"


def read(path: str | Path) -> Maps:
    """Return the maps of a TOML file. Raises InputError: no such file, bad TOML, unknown or missing keys."""
    return from_plain(read_toml(Path(path)), str(path))


def from_plain(content: Mapping[str, Any], where: str) -> Maps:
    """Return the maps of a parsed file. Raises InputError listing every problem."""
    problems = _key_problems(content, TOP, where)
    if content.get("format", FORMAT) != FORMAT:
        problems.append(f"{where}: format = {content['format']!r}; this Carat reads {FORMAT!r}")
    objective = content.get("objective", "cycles")
    if isinstance(objective, str) and objective not in OBJECTIVES:
        problems.append(f"{where}: objective {objective!r} is unknown{did_you_mean(objective, OBJECTIVES)}")
    tables = content.get("mapping")
    entries = []
    seen: dict[str, int] = {}
    for number, table in enumerate(tables if isinstance(tables, list) else [], start=1):
        place = f"{where}: mapping {number}"
        entry, broken = _entry(table, place)
        problems += broken
        if entry is not None:
            problems += [
                f"{place}: operator {name!r} already has mapping {seen[name]}"
                for name in entry.operators
                if name in seen
            ]
            seen |= dict.fromkeys(entry.operators, number)
            entries.append(entry)
    if problems:
        raise InputError(problems)
    return Maps(
        content["workload"],
        content["hardware"],
        content["hardware_key"],
        content["dim"],
        objective,
        tuple(entries),
    )


def _entry(table: Any, place: str) -> tuple[MapEntry | None, list[str]]:
    if not isinstance(table, Mapping):
        return None, [f"{place}: must be a table [[mapping]], got {table!r}"]
    problems = _key_problems(table, ENTRY, place)
    choices: tuple[tuple[str, Iterable[str], str], ...] = (
        ("kind", AXES, "matmul"),
        ("dataflow", ("WS", "OS"), "WS"),
        ("resident", RESIDENTS, "library"),
        ("halves", HALVES, "slot"),
    )
    for key, known, default in choices:
        value = table.get(key, default)
        if isinstance(value, str) and value not in known:
            problems.append(f"{place}: {key} = {value!r} is unknown{did_you_mean(value, known)}")
    if problems:
        return None, problems
    kind: Kind = table.get("kind", "matmul")
    more = {key: table[key] for key in FIELDS["matmul"] if key != "tile" and key in table}
    tile, names = table["tile"], table["operators"]
    if len(tile) != len(AXES[kind]) or any(type(size) is not int for size in tile):
        problems.append(f"{place}: tile = {tile} must be {len(AXES[kind])} whole numbers ({', '.join(AXES[kind])})")
    else:
        nearest = [max(1, size) for size in tile]
        problems += [
            f"{place}: tile {axis} = {size} must be >= 1; nearest: tile = {nearest}"
            for axis, size in zip(AXES[kind], tile, strict=True)
            if size < 1
        ]
    if not names or any(not isinstance(name, str) for name in names):
        problems.append(f"{place}: operators = {names} must be a list of at least one operator name")
    if problems:
        return None, problems
    mapping = OpMapping(kind, tuple(tile), **more)
    given = {key: table[key] for key in ("shape", "cycles", "library_cycles", "exhaustive", "gap") if key in table}
    return MapEntry(tuple(names), mapping=mapping, **{"shape": "", **given}), []


def _key_problems(table: Mapping[str, Any], keys: Mapping[str, type], place: str) -> list[str]:
    problems = [f"{place}: unknown key {key!r}{did_you_mean(key, keys)}" for key in table if key not in keys]
    for key, form in keys.items():
        if key not in table:
            if key not in OPTIONAL:
                problems.append(f"{place}: key {key!r} is missing ({TYPE_NAMES[form]})")
        elif type(table[key]) is not form:
            problems.append(f"{place}: {key} = {table[key]!r} must be {TYPE_NAMES[form]}")
    return problems
