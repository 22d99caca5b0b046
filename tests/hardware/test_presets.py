"""Every preset is what its sources say: printed sizes of named configurations, and the measured tables."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from sim.hardware import Hardware, load, presets, published
from sim.hardware.files import config_files
from sim.validate.row_machines import machine_of_row

TABLES = Path(__file__).parents[3] / "shared" / "rtl"

PRESET_OF_CFG = {
    "default": "gemmini_default",
    "norm": "gemmini_ibert",
    "lean": "gemmini_lean",
    "chip": "gemmini_chip",
    "fp32dim4": "gemmini_fp32_4x4",
    "bf16dim8": "gemmini_bf16_8x8",
    "bf16dim4+df=WS": "gemmini_bf16_4x4_ws",
    "chipFP32": "gemmini_chip_fp32",
    "default+dim=4": "gemmini_4x4",
    "default+dim=8": "gemmini_8x8",
    "default+dim=32": "gemmini_32x32",
    "default+dim=32+sp=512+acc=128": "gemmini_32x32_512k_128k",
    "default+tile=4": "gemmini_tile4",
    "default+l2=512": "gemmini_l2",
    "default+rtl=gemmini-8c3f992": "gemmini_8c3f992",
    "default+df=WS": "gemmini_ws",
    "default+acc=16": "gemmini_acc16k",
    "default+sp=64": "gemmini_sp64k",
    "default+sp=512": "gemmini_sp512k",
    "default+sp=64+acc=16": "gemmini_64k_16k",
    "default+sp=128+acc=32": "gemmini_128k_32k",
    "default+sp=512+acc=128": "gemmini_512k_128k",
    "default+inflight=64": "gemmini_inflight64",
    "default+dmamax=32": "gemmini_dma32",
    "default+bus=64": "gemmini_bus64",
    "default+rsld=4": "gemmini_rs_ld4",
    "default+rsld=16+rsst=8+rsex=32": "gemmini_rs_double",
}
"""Every machine of the measured tables."""

# gemmini_machine.md 1.3: SP_ROWS, ACC_ROWS, MAX_BLOCK_LEN, MAX_BLOCK_LEN_ACC, nCmds, tagqlen, L_mesh
DERIVED_SIZES = {
    "gemmini_default": (16384, 1024, 4, 1, 2, 6, 32),
    "gemmini_lean": (16384, 1024, 4, 1, 5, 6, 32),
    "gemmini_ibert": (16384, 2048, 4, 1, 2, 6, 32),
    "gemmini_chip": (4096, 512, 4, 1, 2, 6, 33),
    "gemmini_large_chip": (4096, 512, 2, 1, 1, 6, 65),
    "gemmini_32x32_512k_128k": (16384, 1024, 2, 1, 1, 6, 64),
    "gemmini_fp32_4x4": (16384, 4096, 4, 4, 5, 16, 21),
    "gemmini_fp16_4x4": (32768, 4096, 8, 4, 5, 16, 21),
    "gemmini_bf16_4x4": (32768, 4096, 8, 4, 5, 16, 21),
    "gemmini_bf16_8x8": (16384, 2048, 4, 2, 3, 16, 45),
    "gemmini_chip_fp32": (2048, 512, 4, 4, 5, 11, 16),
}


@pytest.mark.parametrize("name", DERIVED_SIZES)
def test_derived_sizes_equal_the_printed_ones(name: str) -> None:
    hw = load(name)
    sizes = (hw.sp_rows, hw.acc_rows, hw.max_block_len, hw.max_block_len_acc)
    depths = (hw.load_commands_in_flight, hw.tag_queue_length, hw.mesh_latency_cycles)
    assert sizes + depths == DERIVED_SIZES[name]


def test_tiles_of_16_pes_shorten_the_mesh() -> None:
    hw = load("gemmini_tile4")  # addendum 4: L_mesh 8 for 4x4 tiles
    assert (hw.dim, hw.mesh_latency_cycles, hw.tag_queue_length) == (16, 8, 6)


@pytest.mark.parametrize("name", presets())
def test_each_preset_is_legal_described_and_named(name: str) -> None:
    hw = load(name)
    assert hw.name == name and len(hw.description) > 20


def test_presets_differ_in_more_than_their_names() -> None:
    keys = {load(name).key for name in presets()}
    assert len(keys) == len(presets())


def test_read_pipeline_and_store_order_follow_the_commit() -> None:
    old, new = load("gemmini_default"), load("gemmini_8c3f992")  # addendum D1, D3
    assert (old.scratchpad.read_pipeline_cycles, new.scratchpad.read_pipeline_cycles) == (4, 1)
    assert (old.reservation_station.serialise_stores, new.reservation_station.serialise_stores) == (
        False,
        True,
    )


def test_raw_hazards_are_impossible_where_the_sources_say_so() -> None:
    impossible = {name for name in presets() if load(name).raw_hazards_impossible}
    assert impossible == {"gemmini_lean", "gemmini_chip", "gemmini_large_chip", "gemmini_chip_fp32"}


def test_kim_machines_have_the_papers_memories_and_units() -> None:
    baseline, tuned = load("kim2023_baseline"), load("kim2023_tuned")  # papers.md 1.2-1.4
    sizes = [(hw.scratchpad.capacity_bytes >> 10, hw.accumulator.capacity_bytes >> 10) for hw in (baseline, tuned)]
    assert sizes == [(256, 64), (64, 256)]
    nonlinear = {"softmax", "layernorm", "gelu", "residual_add"}
    assert not nonlinear & baseline.array_operators
    assert nonlinear <= tuned.array_operators


def rows_by_cfg() -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for file in sorted(TABLES.glob("*.csv")):
        with file.open(newline="") as text:
            for row in csv.DictReader(text):
                if "cfg" in row:
                    found.setdefault(row["cfg"], []).append(row)
    return found


@pytest.mark.skipif(not TABLES.is_dir(), reason="the measured tables are not beside the repository")
def test_every_measured_machine_is_a_preset() -> None:
    rows = rows_by_cfg()
    assert set(rows) == set(PRESET_OF_CFG)
    for cfg, preset in PRESET_OF_CFG.items():
        machine, measured = load(preset), [machine_of_row(row) for row in rows[cfg]]
        assert all(equivalent(machine, hw) for hw in measured), cfg


def equivalent(preset: Hardware, measured: Hardware) -> bool:
    """Whether both are one machine behind the same memory and command pace, which rows of one cfg vary."""
    return preset.with_({"memory": measured.memory.model_dump(), "cpu": measured.cpu.model_dump()}) == measured


@pytest.mark.parametrize("cfg", PRESET_OF_CFG)
def test_cfg_alone_gives_the_preset(cfg: str) -> None:
    assert machine_of_row({"cfg": cfg}) == load(PRESET_OF_CFG[cfg])


def test_published_machines_have_names_of_their_own() -> None:
    # A name means one machine: by name the same as by path, and none is a preset's.
    assert len(published()) >= 5 and not set(published()) & set(presets())
    assert all(load(name) == load(path) for name, path in config_files("published").items())
