"""`machine_of_row`: columns overrule cfg, new values work, and a row that makes no sense is refused."""

from __future__ import annotations

import pytest

from sim.base.errors import InputError
from sim.hardware import load
from sim.validate.row_machines import machine_of_row

FULL_ROW = {
    "cfg": "nobody_has_seen_this",
    "id": "case_1",
    "DIM": "8",
    "dataflow_hw": "WS",
    "sp_KiB": "32",
    "sp_banks": "2",
    "acc_KiB": "16",
    "acc_banks": "1",
    "bus_bits": "256",
    "max_in_flight_mem_reqs": "32",
    "rs_ld": "4",
    "rs_st": "2",
    "rs_ex": "8",
    "ldq": "4",
    "stq": "3",
    "exq": "5",
    "dma_maxbytes": "128",
    "tile_rows": "2",
    "l2_KiB": "0",
    "rtl": "gemmini-8c3f992",
    "mem_latency": "77",
    "rd_bytes_per_cycle": "5.5",
    "wr_bytes_per_cycle": "2",
    "cycles": "123",
    "input_type": "fp16",
    "spatial_output_type": "fp16",
    "acc_type": "fp32",
    "input_bytes": "2",
    "acc_bytes": "4",
    "tile_latency": "3",
    "spad_read_delay": "2",
    "mesh_output_delay": "4",
    "acc_latency": "5",
    "acc_scale_latency": "6",
    "acc_scale_units": "4",
    "mvin_scale_latency": "7",
    "mvin_scale_units": "none",
    "mvin_acc_scale": "latency 9, per_lane",
    "sp_singleported": "0",
    "acc_singleported": "1",
    "acc_sub_banks": "4",
    "ex_read_from_spad": "1",
    "ex_read_from_acc": "0",
    "ex_write_to_spad": "0",
    "ex_write_to_acc": "1",
    "raw_hazards_impossible": "1",
    "hardcode_d_to_garbage_addr": "1",
    "acc_read_full_width": "0",
    "acc_read_small_width": "1",
    "training_convs": "0",
    "datapath": "real",
}


def test_a_full_row_decides_the_machine_whatever_its_cfg() -> None:
    hw = machine_of_row(FULL_ROW)
    assert (hw.dim, hw.array.mesh_rows, hw.array.tile_columns, hw.array.dataflow) == (8, 4, 2, "WS")
    assert (hw.scratchpad.capacity_bytes, hw.scratchpad.banks, hw.scratchpad.single_ported) == (
        32768,
        2,
        False,
    )
    assert (hw.accumulator.capacity_bytes, hw.accumulator.banks, hw.accumulator.sub_banks) == (16384, 1, 4)
    assert (hw.dma.bus_bytes, hw.dma.max_request_bytes, hw.dma.max_in_flight_requests) == (32, 128, 32)
    assert (hw.dma.mvin_scale_units, hw.dma.mvin_acc_scale, hw.accumulator.scale_units) == ("none", 9, 4)
    assert (hw.memory.latency_cycles, hw.memory.read_bytes_per_cycle) == (77, 5.5)
    assert (hw.reservation_station.ex, hw.queues.st, hw.queues.ex) == (8, 3, 5)
    assert hw.scratchpad.read_pipeline_cycles == 1  # the newer commit, whatever the delay
    assert hw.raw_hazards_impossible and not hw.features.training_convs


def test_columns_overrule_cfg() -> None:
    hw = machine_of_row({"cfg": "default+dim=8+sp=64", "DIM": "16", "sp_KiB": "128"})
    assert (hw.dim, hw.scratchpad.capacity_bytes) == (16, 128 * 1024)


def test_cfg_fills_what_columns_leave_open() -> None:
    """encoder.csv has no machine columns but cfg, one bandwidth for both ways, and a command gap."""
    hw = machine_of_row({"cfg": "norm", "mem_latency": "100", "bytes_per_cycle": "8", "min_cmd_gap": "8"})
    assert hw.features.normalizations and hw.accumulator.capacity_bytes == 128 * 1024
    assert (hw.memory.read_bytes_per_cycle, hw.memory.write_bytes_per_cycle) == (8, 8)
    assert (hw.cpu.command_cycles, hw.cpu.loop_cycles) == (8, 8)


def test_changes_of_any_base_and_by_column_name() -> None:
    hw = machine_of_row({"cfg": "lean+spbanks=8+mem_latency=10"})
    assert hw == load("gemmini_lean", {"scratchpad.banks": 8, "memory.latency_cycles": 10})


def test_numbers_that_went_through_a_float_column_are_read() -> None:
    assert machine_of_row({"cfg": "chip", "DIM": "16.0", "acc_bytes": "4.0", "acc_singleported": "1.0"}) == load(
        "gemmini_chip"
    )


def test_empty_cells_are_not_given() -> None:
    assert machine_of_row({"cfg": "chip", "DIM": "", "cmd_interval": "nan"}) == load("gemmini_chip")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"cfg": "defalt", "id": "r7"},
            "row 'r7': column cfg: unknown machine 'defalt' (did you mean 'default'?)",
        ),
        ({"cfg": "default+dmi=8"}, "unknown change 'dmi=8' (did you mean 'dim'?)"),
        ({"sp_KiB": "many"}, "column sp_KiB"),
        ({"DIM": "12.5"}, "column DIM: '12.5' is not a whole number"),
        ({"DIM": "18", "tile_rows": "4"}, "column DIM = 18: not a multiple of tile_rows = 4"),
        ({"bus_bits": "20"}, "column bus_bits: '20' is not a whole number of bytes"),
        ({"acc_singleported": "yes"}, "'yes' is neither 0 nor 1"),
        ({"acc_bytes": "four"}, "column acc_bytes"),
        ({"acc_bytes": "2"}, "column acc_bytes = 2: the other columns give 4"),
        ({"raw_hazards_impossible": "1"}, "column raw_hazards_impossible = 1: the other columns give 0"),
        ({"sp_banks": "3"}, "rule banks_power_of_two"),
        ({"mem_latency": "-4"}, "memory.latency_cycles = -4: must be at least 0"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused(row: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as refused:
        machine_of_row(row)
    assert message in str(refused.value)


def test_all_faulty_cells_are_named_at_once() -> None:
    with pytest.raises(InputError) as refused:
        machine_of_row({"sp_KiB": "x", "acc_KiB": "y", "DIM": "z"})
    assert len(refused.value.problems) == 3
