"""Maps for use outside Carat: a C header for the library's explicit-tile call, and plain JSON."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any

from sim.base.text import one_line
from sim.mapping.maps import MapEntry, Maps


def to_header(maps: Maps) -> str:
    """Return a C header with one line per operator: its tile sizes in the order of the library's arguments.

    tiled_matmul takes tile_I, tile_J, tile_K as consecutive arguments, so that one macro gives all three. A
    mapping that the call cannot express (loop order, residency, halves) is a comment, not a macro.
    """
    macros = _macro_names([name for entry in maps.entries for name in entry.operators])
    lines = [
        f"/* Tile sizes of {_comment(maps.workload)} on {_comment(maps.hardware)} (machine key "
        f"{maps.hardware_key[:12]}), objective: {_comment(maps.objective)}.",
        " * Arguments tile_I, tile_J, tile_K of tiled_matmul(), in blocks of DIM:",
        " *   tiled_matmul(M, N, K, A, B, D, C, ..., <OPERATOR>_TILES, transpose_A, ..., WS);",
        " * Two sizes: tile_I, tile_J of tiled_resadd(), in elements. One: tile_I of tiled_norm(), tile_J = all.",
        " * Seven: batches, porows, pocols, pochs, krows, kcols, kchs of tiled_conv().",
        " * Cycles: one call, predicted by Carat; in brackets those of tiled_matmul_auto(). */",
        "#ifndef CARAT_MAPS_H",
        "#define CARAT_MAPS_H",
        "",
        f"#if defined(DIM) && DIM != {maps.dim}",
        f'#error "these tiles were found for DIM = {maps.dim}"',
        "#endif",
        "",
    ]
    lines += [_line(macros[name], name, entry) for entry in maps.entries for name in entry.operators]
    return "\n".join([*lines, "", "#endif", ""])


def _line(macro: str, name: str, entry: MapEntry) -> str:
    mapping = entry.mapping
    sizes = ", ".join(str(size) for size in mapping.tile)
    what = f"{name}: {entry.shape}"
    if not mapping.callable:
        return f"/* {_comment(what)}: {mapping} cannot be expressed by the library's call */"
    flow = "" if mapping.dataflow == "WS" else f", {mapping.dataflow}"
    cycles = f", {entry.cycles} cycles ({entry.library_cycles})" if entry.cycles else ""
    return f"#define {macro}_TILES {sizes} /* {_comment(what)}{flow}{cycles} */"


def _comment(text: str) -> str:
    """Return ``text`` without sequences that end a C comment."""
    return one_line(text.replace("\n", " ")).replace("*/", "* /").replace("/*", "/ *")


def _macro_names(names: list[str]) -> dict[str, str]:
    """Return operator name -> C identifier, different for different operators."""
    macros: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        stem = re.sub(r"[^0-9A-Za-z_]", "_", name).upper()
        stem = f"OP_{stem}" if stem[:1].isdigit() else stem
        macro, number = stem, 2
        while macro in taken:
            macro, number = f"{stem}_{number}", number + 1
        taken.add(macro)
        macros[name] = macro
    return macros


def to_plain(maps: Maps) -> dict[str, Any]:
    """Return the maps as plain data, one object per operator."""
    rows = []
    for entry in maps.entries:
        numbers = {"cycles": entry.cycles, "library_cycles": entry.library_cycles}
        gain = entry.library_cycles / entry.cycles if entry.cycles else None
        for name in entry.operators:
            head = {"operator": name, "shape": entry.shape, **asdict(entry.mapping)}
            call = {"library_call": entry.mapping.callable, "exhaustive": entry.exhaustive, "gap": entry.gap}
            rows.append({**head, **numbers, "gain": gain, **call})
    top = {
        "workload": maps.workload,
        "hardware": maps.hardware,
        "hardware_key": maps.hardware_key,
        "dim": maps.dim,
        "objective": maps.objective,
    }
    return {**top, "operators": rows}


def to_json(maps: Maps) -> str:
    """Return `to_plain` as text."""
    return json.dumps(to_plain(maps), indent=1) + "\n"
