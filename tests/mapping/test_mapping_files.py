"""Maps as files: what is written reads back, what is wrong is refused with the rule and the way out."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import sim
import workloads
from sim import hardware
from sim.base.errors import InputError
from sim.graph import Graph
from sim.mapping.export import to_header, to_json
from sim.mapping.kinds import kind_of, library
from sim.mapping.mapfile import read, to_toml
from sim.mapping.maps import MapEntry, Maps, check, operators
from sim.mapping.opmapping import OpMapping

HW = hardware.load("gemmini_ibert")


def small_graph() -> Graph:
    return workloads.build("encoder-layer", seq=32, hidden=64, heads=2, ffn=64)


def library_maps(graph: Graph) -> Maps:
    entries = tuple(
        MapEntry((name,), kind_of(item).shape(item), library(item, HW), 200, 300)
        for name, (_, item) in operators(graph, HW).items()
    )
    return Maps(graph.name, HW.name, HW.key, HW.dim, "cycles", entries)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "maps.toml"
    path.write_text(text)
    return path


def problems_of(path: Path) -> str:
    with pytest.raises(InputError) as refused:
        check(read(path), small_graph(), HW, "maps.toml")
    return str(refused.value)


def test_round_trip(tmp_path: Path) -> None:
    maps = library_maps(small_graph())
    assert read(written(tmp_path, to_toml(maps))) == maps
    check(maps, small_graph(), HW, "maps.toml")


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('objective = "cycles"', 'objectiv = "cycles"', "unknown key 'objectiv' (did you mean 'objective'?)"),
        ('objective = "cycles"', 'objective = "cycle"', "did you mean 'cycles'"),
        ("tile = [2", "tile = [0", "tile I = 0 must be >= 1; nearest: tile = [1"),
        ("tile = [2", "tile = [2, 1", "must be 3 whole numbers (I, J, K)"),
        ("tile = [2", "tile = [2.5", "must be 3 whole numbers"),
        ("tile = [2", "tile = [90", "tile I = 90 must be 1..2 (the operator has 2 blocks)"),
        ("tile = ", "tiles = ", "unknown key 'tiles' (did you mean 'tile'?)"),
        ('loop_order = "ijk"', 'loop_order = "ijj"', "must be a permutation of 'ijk'"),
        ('kind = "matmul"', 'kind = "matmull"', "did you mean 'matmul'"),
        ('resident = "library"', 'resident = "libary"', "did you mean 'library'"),
        ('resident = "library"', 'residnt = "a"', "unknown key 'residnt' (did you mean 'resident'?)"),
        ('halves = "slot"', 'halves = "aparts"', "did you mean 'apart'"),
        ('dataflow = "WS"', 'dataflow = "OS"\nresident = "a"', "not valid TOML"),
        ('dataflow = "WS"\nresident = "library"', 'dataflow = "OS"\nresident = "a"', "nearest: resident 'none'"),
        ("gap = -1.0", 'gap = "small"', "must be a number"),
        ('kind = "matmul"', 'kind = "conv"', "must be 7 whole numbers"),
        ('format = "carat-maps-1"', 'format = "carat-maps-9"', "this Carat reads 'carat-maps-1'"),
        ("dim = 16", 'dim = "16"', "dim = '16' must be a whole number"),
        ("dim = 16", "", "key 'dim' is missing"),
        ("[[mapping]]", "[[mapping", "not valid TOML"),
        ('"L0.matmul_Q"', '"L0.matmul_QQ"', "no operator 'L0.matmul_QQ'"),
        ('"L0.matmul_K"', '"L0.matmul_Q"', "operator 'L0.matmul_Q' already has mapping 1"),
        ("matmul 32x64x64", "matmul 64x64x64", "is for matmul 64x64x64"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = to_toml(library_maps(small_graph()))
    assert old in text
    assert message in problems_of(written(tmp_path, text.replace(old, new, 1)))


def test_missing_operator_and_wrong_machine_are_told_together(tmp_path: Path) -> None:
    maps = library_maps(small_graph())
    other = replace(maps, entries=maps.entries[1:], hardware="gemmini_default", hardware_key="0" * 64)
    told = problems_of(written(tmp_path, to_toml(other)))
    assert "found for the machine gemmini_default (key 000000000000), not for gemmini_ibert" in told
    assert f"no mapping for {maps.entries[0].operators[0]}" in told


def test_changed_parameter_of_the_same_machine_is_named() -> None:
    maps = library_maps(small_graph())
    with pytest.raises(InputError, match="whose parameters differ"):
        check(maps, small_graph(), HW.with_({"memory.latency_cycles": 41}), "maps.toml")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read(tmp_path / "none.toml")


def test_header_has_one_line_per_operator_in_the_call_s_order() -> None:
    """tiled_matmul takes tile_I, tile_J, tile_K in this order (gemmini.h), so the macro stands for all three."""
    maps = library_maps(small_graph())
    defined = re.findall(r"^#define (\w+)_TILES (\d+), (\d+), (\d+) /\*", to_header(maps), flags=re.MULTILINE)
    tiles = [mapping.tile for mapping in maps.by_operator().values() if mapping.kind == "matmul"]
    assert [tuple(int(size) for size in sizes) for _, *sizes in defined] == tiles
    assert len({name for name, *_ in defined}) == len(tiles)


def test_header_hides_what_the_call_cannot_express_and_survives_odd_names() -> None:
    entries = (
        MapEntry(("a.b", "a-b", "1st*/"), "matmul 16x16x16", OpMapping("matmul", (1, 1, 1)), 10, 20),
        MapEntry(("other",), "matmul 16x16x16", OpMapping("matmul", (1, 1, 1), "jik"), 10, 20),
    )
    text = to_header(Maps("x", "y", "0" * 64, 16, "cycles", entries))
    assert re.findall(r"#define (\w+_TILES)", text) == ["A_B_TILES", "A_B_2_TILES", "OP_1ST___TILES"]
    assert text.count("/*") == text.count("*/")
    assert "(1,1,1) jik cannot be expressed" in text


def test_json_carries_every_operator() -> None:
    maps = library_maps(small_graph())
    rows = json.loads(to_json(maps))["operators"]
    assert {row["operator"] for row in rows} == set(maps.by_operator())
    assert all(row["gain"] == 1.5 and row["library_call"] for row in rows)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"tile": (1, 1, 1), "dataflow": "OSS"}, "dataflow 'OSS' is unknown .did you mean 'OS'"),
        ({"tile": (1, 1, 1), "loop_order": 3}, "loop_order is 3, must be a word"),
        ({"tile": (1, 1, 1), "halves": "appart"}, "halves 'appart' is unknown .did you mean 'apart'"),
    ],
)
def test_a_word_that_no_mapping_has_is_refused(choice: dict[str, object], message: str) -> None:
    """The fault found: dataflow=OSS ran as weight-stationary without a word."""
    with pytest.raises(InputError, match=message):
        sim.simulate("encoder-layer", "gemmini_default", mapping={"*.FF1": choice}, seq=16, hidden=32, heads=2, ffn=64)
