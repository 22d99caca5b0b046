"""Loading: bases, overrides, units, identity of a machine, and files that are not what they should be."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from sim.base.errors import InputError
from sim.hardware import Hardware, load, parse_settings


def refusal(source: object, overrides: dict[str, object] | None = None) -> str:
    with pytest.raises(InputError) as refused:
        load(source, overrides)  # type: ignore[arg-type]
    return str(refused.value)


def test_overrides_take_units_and_leave_the_preset_alone() -> None:
    before = load("gemmini_default")
    hw = before.with_({"scratchpad.capacity": "0.5MiB", "dma.bus_bytes": "256bit", "memory.l2_bytes": "1 MiB"})
    assert (hw.scratchpad.capacity_bytes, hw.dma.bus_bytes, hw.memory.l2_bytes) == (512 * 1024, 32, 1024**2)
    assert before == load("gemmini_default") != hw


@pytest.mark.parametrize(
    ("clock", "rate", "latency", "bytes_per_cycle", "cycles"),
    [
        (1000, "25.6GB/s", "100ns", 25.6, 100),
        (500, "25.6GB/s", "101ns", 51.2, 51),  # 50.5 cycles are 51
        ("2GHz", "16B/cycle", "7cycles", 16.0, 7),
        ("1GHz", "1GiB/s", "0.1us", 1.073741824, 100),
    ],
)
def test_rates_and_latencies_go_through_the_clock(
    clock: object, rate: str, latency: str, bytes_per_cycle: float, cycles: int
) -> None:
    hw = load(
        "gemmini_default",
        {"clock_mhz": clock, "memory.read_bytes_per_cycle": rate, "memory.latency_cycles": latency},
    )
    assert hw.memory.read_bytes_per_cycle == pytest.approx(bytes_per_cycle, rel=1e-12)
    assert hw.memory.latency_cycles == cycles


def test_a_table_as_override_changes_only_the_keys_it_has() -> None:
    hw = load("gemmini_default", {"array": {"mesh_rows": 8, "mesh_columns": 8}})
    assert hw == load("gemmini_8x8")


def test_a_rate_in_seconds_follows_a_later_change_of_clock() -> None:
    hw = load("gemmini_default", {"memory.read_bytes_per_cycle": "16GB/s"})
    assert hw.with_({"clock_mhz": 500}).memory.read_bytes_per_cycle == 32
    assert pickle.loads(pickle.dumps(hw)).with_({"clock_mhz": 500}).memory.read_bytes_per_cycle == 32


def test_a_copy_has_a_key_of_its_own() -> None:
    """Caches go by the key: a changed copy that kept it would be given another machine's timings."""
    hw = load("gemmini_default")
    before = hw.key
    other = hw.model_copy(update={"clock_mhz": 2 * hw.clock_mhz})
    assert other.key != before
    assert other != hw
    assert hw.key == before


def test_key_depends_on_content_not_on_name_or_spelling() -> None:
    hw = load("gemmini_default")
    same = load("gemmini_sp64k", {"scratchpad.capacity": 262144, "name": "other"})
    assert hw.key == same.key and hw == same and len({hw, same}) == 1
    assert load("gemmini_default", {"queues.st": 3}).key != hw.key


def test_a_machine_survives_its_own_dump() -> None:
    hw = load("kim2023_tuned")
    assert load(hw.model_dump()) == hw == pickle.loads(pickle.dumps(hw))
    assert load(hw) is hw


def test_a_file_inherits_from_a_preset_and_from_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('base = "gemmini_default"\nscratchpad.capacity = "128KiB"\n')
    (tmp_path / "child.toml").write_text('base = "mine.toml"\nhost = "none"\n[array]\ndataflow = "WS"\n')
    child = load(tmp_path / "child.toml")
    assert child == load("gemmini_default", {"scratchpad.capacity": "128KiB", "array.dataflow": "WS", "host": "none"})
    assert child.name == "child" and load(str(tmp_path / "child.toml")) == child


def test_a_base_given_in_a_mapping() -> None:
    hw = load({"base": "gemmini_ibert", "name": "big", "scratchpad": {"capacity": "512KiB"}})
    assert hw == load("gemmini_ibert", {"scratchpad.capacity": "512KiB"}) and hw.name == "big"


def test_host_tables_can_be_named_and_changed() -> None:
    hw = load("gemmini_default", {"host.cycles_per_element.softmax": 3, "host.clock_ratio": 2.0})
    assert hw.host != "none" and hw.host.cycles_per_element["softmax"] == 3
    assert load("gemmini_default", {"host": "none"}).host == "none"


def test_a_machine_cannot_be_changed_in_place() -> None:
    hw = load("gemmini_default")
    with pytest.raises(ValueError, match="frozen"):
        hw.clock_mhz = 1.0
    with pytest.raises(ValueError, match="frozen"):
        hw.scratchpad.banks = 8


def test_settings_of_the_command_line() -> None:
    text = ["scratchpad.capacity=512KiB", "queues.ex=16", "features.max_pool=false", 'rtl="gemmini-8c3f992"']
    settings = parse_settings([*text, "memory.read_bytes_per_cycle=25.6GB/s"])
    assert settings["queues.ex"] == 16 and settings["features.max_pool"] is False
    assert load("gemmini_default", settings).rtl == "gemmini-8c3f992"
    with pytest.raises(InputError, match="expected key=value") as refused:
        parse_settings(["scratchpad.capacity", "=3"])
    assert len(refused.value.problems) == 2


def test_unknown_preset_names_the_closest() -> None:
    assert "did you mean 'gemmini_default'" in refusal("gemmini_defalt")
    assert "did you mean 'gemmini_ibert'" in refusal({"base": "gemini_ibert"})
    assert "unknown host CPU 'rocket_kim' (did you mean 'rocket_kim2023'?)" in refusal(
        "gemmini_default", {"host": "rocket_kim"}
    )


def test_corrupt_toml_names_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text('base = "gemmini_default"\n[scratchpad\nbanks = 4\n')
    message = refusal(file)
    assert str(file) in message and "line 2" in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "no such machine file" in refusal(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in refusal(tmp_path / "binary.toml")


def test_cyclic_bases_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('base = "b.toml"\n')
    (tmp_path / "b.toml").write_text('base = "a.toml"\n')
    assert "cyclic" in refusal(tmp_path / "a.toml")
    assert str(tmp_path / "b.toml") in refusal(tmp_path / "a.toml")
    assert "expected the name of a preset" in refusal({"base": 3})


def test_a_cycle_cannot_hide_behind_another_spelling(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.toml").write_text('base = "sub/../a.toml"\n')
    assert "cyclic" in refusal(tmp_path / "a.toml")


def test_a_description_without_base_says_what_is_missing() -> None:
    message = refusal({"array": {"mesh_rows": 4}})
    assert "missing: rtl" in message and "array.mesh_columns" in message and "base =" in message


def test_all_problems_are_named_at_once() -> None:
    """Unknown keys, wrong units, wrong types and broken rules in one refusal, each with its way out."""
    message = refusal(
        "gemmini_default",
        {
            "scratchpad.capcity": 2,
            "scratchpd.banks": 1,
            "memory.latency_cycles": -3,
            "memory.read_bytes_per_cycle": "16KiB",
            "clock_mhz": "1KiB",
            "accumulator.capacity": "4 lumps",
            "array.input_type": "int9",
            "features.max_pool": 1,
            "queues.st": 0,
            "host.clock_ratio": "fast",
            "dma.mvin_scale_units": "per_lan",
            "reservation_station.ld": 6,
        },
    )
    for part in (
        "scratchpad.capcity: unknown key (did you mean 'scratchpad.capacity'?)",
        "scratchpd: unknown key (did you mean 'scratchpad'?)",
        "memory.latency_cycles = -3: must be at least 0; nearest legal value: 1",
        "memory.read_bytes_per_cycle: '16KiB': unit 'KiB' is not a rate",
        "clock_mhz: '1KiB': unit 'KiB' is not a frequency",
        "accumulator.capacity: '4 lumps': unit 'lumps' is not a size",
        "array.input_type = 'int9': not a known value (did you mean 'int8'?)",
        "features.max_pool = 1: must be true or false",
        "queues.st = 0: must be at least 1; nearest legal value: 1",
        "host.clock_ratio = 'fast': must be a number",
        "dma.mvin_scale_units = 'per_lan': not a known value (did you mean 'per_lane'?)",
        "reservation_station.ld = 6: entries must be a power of two; nearest legal value: 4",
    ):
        assert part in message
    assert len(message.splitlines()) == 12


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("clock_mhz", 0, "nearest legal value: 0.001"),
        ("memory.read_bytes_per_cycle", float("inf"), "nearest legal value: 1000000"),
        ("memory.latency_cycles", "2.5", "not a whole number of cycles"),
        ("memory.latency_cycles", "5 KiB", "is not a duration"),
        ("scratchpad.capacity", "1.3B", "not a whole number of bytes"),
        ("scratchpad.capacity", "lots", "is not a number with a unit"),
        ("array.mesh_rows", 16.5, "must be a whole number"),
        ("host.cycles_per_element.softmax", -1.0, "must be at least 0"),
        ("array", 4, "must be a table"),
        ("name", 4, "must be a text"),
    ],
)
def test_each_kind_of_wrong_value(key: str, value: object, message: str) -> None:
    assert message in refusal("gemmini_default", {key: value})


def test_errors_survive_the_trip_from_a_worker() -> None:
    with pytest.raises(InputError) as refused:
        load("gemmini_defalt")
    assert pickle.loads(pickle.dumps(refused.value)).problems == refused.value.problems
    assert isinstance(load("gemmini_default"), Hardware)


def test_one_value_under_two_names_is_refused(tmp_path: Path) -> None:
    text = 'base = "gemmini_default"\n[scratchpad]\ncapacity = "64KiB"\ncapacity_bytes = 131072\n'
    (tmp_path / "m.toml").write_text(text)
    for source, overrides in (
        (tmp_path / "m.toml", {}),
        ({"base": "gemmini_default", "scratchpad": {"capacity": "64KiB", "capacity_bytes": 1}}, {}),
        ("gemmini_default", {"scratchpad.capacity": "64KiB", "scratchpad.capacity_bytes": 131072}),
    ):
        with pytest.raises(InputError, match=r"scratchpad\.capacity and scratchpad\.capacity_bytes are two names"):
            load(source, overrides)
    assert load("gemmini_default", {"accumulator.capacity": "32KiB", "scratchpad.capacity_bytes": 131072})


def test_an_energy_table_lies_beside_the_machine_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a base does, wherever the command is run."""
    (tmp_path / "mine.toml").write_text('base = "45nm"\n')
    (tmp_path / "m.toml").write_text('base = "gemmini_default"\nenergy_table = "./mine.toml"\n')
    monkeypatch.chdir("/")
    assert load(tmp_path / "m.toml").energy_table == str(tmp_path / "mine.toml")


def test_a_machine_is_not_made_by_its_class() -> None:
    """What is called so would pass no rule; and the error is ours, not pydantic's."""
    for given in ({}, {"name": "x"}, load("gemmini_default").model_dump()):
        for make in (lambda given: Hardware(**given), Hardware.model_validate, Hardware.model_construct):
            with pytest.raises(InputError, match=r"made by sim\.hardware\.load"):
                make(given)
    with pytest.raises(InputError, match=r"made by sim\.hardware\.load"):
        Hardware.model_validate_json(load("gemmini_default").model_dump_json())
    assert pickle.loads(pickle.dumps(load("gemmini_default"))) == load("gemmini_default")


def test_a_key_that_is_meant_is_named_whole() -> None:
    """--set takes dotted keys: a hint without its table would be refused in turn."""
    for wrong in ("memory.latency", "array.mesh_row", "dma.bus", "accumulator.capcity", "vector.lane", "queues.le"):
        with pytest.raises(InputError) as refused:
            load("gemmini_ibert", {wrong: 16})
        meant = re.findall(r"did you mean '([^']+)'", str(refused.value))
        table = wrong.partition(".")[0]
        assert all(name.startswith(f"{table}.") for name in meant), meant
        for name in meant:
            load("gemmini_ibert", {name: "128KiB" if "capacity" in name else 16})
