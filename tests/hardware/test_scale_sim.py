"""SCALE-Sim configurations as machines: what each setting becomes, what is listed as unsaid, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim
from sim import hardware
from sim.base.errors import InputError
from sim.hardware.keys import to_toml

CONFIG = """\ufeff[general]
run_name = example_32x32

[architecture_presets]
ArrayHeight:    32
ArrayWidth:     32
IfmapSramSzkB:   64\x20
FilterSramSzkB:  64
OfmapSramSzkB:   64
IfmapOffset:    0
Bandwidth : 10
Dataflow : os
MemoryBanks:   1

[run_presets]
InterfaceBandwidth: CALC\x20
"""


def written(tmp_path: Path, text: str = CONFIG) -> str:
    file = tmp_path / "scale.cfg"
    file.write_text(text.replace("\n", "\r\n"), encoding="utf-8")
    return str(file)


def test_array_memories_and_dataflow_become_keys(tmp_path: Path) -> None:
    machine, base = hardware.load(written(tmp_path)), hardware.load("gemmini_default")
    assert (machine.name, machine.dim, machine.array.dataflow) == ("example_32x32", 32, "OS")
    assert (machine.scratchpad.capacity_bytes, machine.accumulator.capacity_bytes) == (128 << 10, 64 << 10)
    assert machine.memory == base.memory and machine.dma == base.dma and machine.host == base.host
    assert "ifmapoffset = 0" in machine.unsaid and "memorybanks = 1" in machine.unsaid
    assert any(entry.startswith("Bandwidth = 10 (InterfaceBandwidth CALC") for entry in machine.unsaid)


def test_a_bandwidth_of_the_user_s_is_that_of_memory(tmp_path: Path) -> None:
    """Words are bytes; three rates are those of inputs and filters (read) and of results (written)."""
    user = CONFIG.replace("CALC", "USER")
    memory = hardware.load(written(tmp_path, user)).memory
    assert (memory.read_bytes_per_cycle, memory.write_bytes_per_cycle) == (10, 10)
    apart = hardware.load(written(tmp_path, user.replace(": 10", ": 20,30,40")))
    assert (apart.memory.read_bytes_per_cycle, apart.memory.write_bytes_per_cycle, apart.dma.bus_bytes) == (50, 40, 64)


def test_what_no_key_says_changes_no_result_but_is_told(tmp_path: Path) -> None:
    machine = hardware.load(written(tmp_path))
    assert machine.key == machine.model_copy(update={"unsaid": ()}).key
    (tmp_path / "net.csv").write_text("Layer,M,N,K,\nproduct,32,32,32,\n")
    result = sim.simulate(str(tmp_path / "net.csv"), written(tmp_path))
    assert "settings without a key here" in result.totals["remarks"] and "ifmapoffset = 0" in result.totals["remarks"]
    (tmp_path / "again.toml").write_text(to_toml(machine), encoding="utf-8")
    assert hardware.load(str(tmp_path / "again.toml")) == machine


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("Dataflow : os", "Dataflow : is", "Dataflow is 'is'; this array has os and ws"),
        ("ArrayWidth:     32", "ArrayWidth: 14", "array.mesh_columns = 14: the array is square"),
        ("ArrayHeight:    32", "ArrayHeight: many", "ArrayHeight is 'many', must be a whole number"),
        ("FilterSramSzkB:  64", "", "has no FilterSramSzkB"),
        ("FilterSramSzkB:  64", "FilterSramSzkB:  44", "must be a power of two"),
        ("CALC", "FAST", "InterfaceBandwidth is 'FAST', can be CALC, USER"),
        ("[run_presets]", "[sparsity]\nSparsitySupport : true\n[run_presets]", "use --sparsity instead"),
        ("[architecture_presets]", "[presets]", "no section [architecture_presets]"),
        ("[general]", "no section", "no SCALE-Sim configuration"),
    ],
)
def test_what_cannot_be_said_is_refused(old: str, new: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        hardware.load(written(tmp_path, CONFIG.replace(old, new)))
    assert told in str(caught.value)
