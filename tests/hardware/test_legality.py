"""Each rule of gemmini_machine.md 1.4: a case that breaks it alone, and a way out that is legal."""

from __future__ import annotations

import re
from random import Random

import pytest

from sim.base.errors import InputError
from sim.core.params import BANKS, RING, XACTS
from sim.core.units.reservation import SLOTS
from sim.hardware import load, parse_settings
from sim.hardware.keys import keys
from sim.hardware.legality import RULES, core
from sim.timing.timer import parameters

BROKEN: dict[str, dict[str, object]] = {
    "square_array": {"array.mesh_columns": 8},
    "dim_power_of_two": {"array.mesh_rows": 12, "array.mesh_columns": 12},
    "scratchpad_bank_rows": {"scratchpad.capacity": "192KiB"},
    "accumulator_bank_rows": {"accumulator.capacity": "48KiB"},
    "banks_power_of_two": {"accumulator.banks": 3},
    "scratchpad_holds_accumulator": {"scratchpad.capacity": "64KiB", "accumulator.capacity": "256KiB"},
    "accumulator_sub_banks": {"accumulator.single_ported": True, "accumulator.sub_banks": 8},
    "accumulator_latency": {"accumulator.latency_cycles": 1},
    "accumulator_scale_latency": {"accumulator.scale_latency_cycles": 0},
    "memory_latency": {"memory.latency_cycles": 0},
    "memory_rate": {"memory.write_bytes_per_cycle": 1e-7},
    "reservation_station_entries": {"reservation_station.ex": 12},
    "execute_entries": {"reservation_station.ex": 1},
    "execute_queue": {"queues.ex": 2},
    "local_address_bits": {"scratchpad.capacity": "1GiB"},
    "tlb_entries": {"tlb.entries": 12},
    "page_tables": {"tlb.page_tables": "l2"},
    "one_port": {"memory.one_port": True},
    "normalizer_type": {"features.normalizations": True, "array.acc_type": "int16"},
    "same_number_kind": {"array.acc_type": "fp32"},
    "hardwired_d": {"array.hardcode_d_to_garbage": True},
    "dma_sizes": {"dma.max_request_bytes": 8},
    "l2_size": {"memory.l2_bytes": "300KiB"},
    "l2_requests": {"memory.l2_bytes": "512KiB", "dma.max_request_bytes": 128},
    "command_pace": {"cpu.command_cycles": 8},
    "selected_operands": {"sparsity.fetch_rows": 8},
    "chosen_scores": {"sparsity.pack_and_split": True},
    "decoder_rate": {"sparsity.decoder": ["bitmap"]},
    "decoder_array": {
        **{f"array.mesh_{side}": 256 for side in ("rows", "columns")},
        **{f"{memory}.capacity": "4MiB" for memory in ("scratchpad", "accumulator")},
        "sparsity.decoder": ["bitmap"],
        "sparsity.decoder_elements_per_cycle": 256,
    },
    "transform_unit": {"sparsity.fft_butterflies_per_cycle": 8, "sparsity.fft_block": 12},
    "accepted_types": {"array.accepts": ["int4", "fp16"]},
    "serial_bits": {"array.pe": "bit_serial"},
    "sums_taken_in": {"array.pe": "decomposable", "array.sums_per_cycle": 8},
    "known_energy_table": {"energy_table": "45mn"},
    "known_dram": {"memory.technology": "ddr5"},
    "shared_memory": {"cores.count": 2},
    "shared_requests": {"cores.count": 8, "cores.shared": "memory", "dma.max_in_flight_requests": 64},
    "shared_latency": {"cores.count": 2, "cores.shared": "memory", "memory.latency_cycles": 2},
    "placings": {"cores.count": 2, "cores.shared": "memory", "cores.split": "hand"},
    "host_takes_priced": {"host.takes": ["conv"]},
    "core_counts": {"queues.ld": 65},
    "core_mesh": {"array.mesh_output_delay_cycles": 1000},
    "core_scale_units": {"accumulator.scale_units": 4},
}

WAY_OUT = {  # the nearest legal value that the message must name, and the key it is for
    "square_array": ("array.mesh_columns", 16),
    "scratchpad_bank_rows": ("scratchpad.capacity", "128KiB"),
    "accumulator_bank_rows": ("accumulator.capacity", "32KiB"),
    "banks_power_of_two": ("accumulator.banks", 2),
    "core_counts": ("queues.ld", 64),
    "core_mesh": ("array.mesh_output_delay_cycles", 969),
    "core_scale_units": ("accumulator.scale_units", "per_lane"),
    "scratchpad_holds_accumulator": ("scratchpad.capacity", "128KiB"),
    "accumulator_sub_banks": ("accumulator.sub_banks", 4),
    "accumulator_latency": ("accumulator.latency_cycles", 2),
    "accumulator_scale_latency": ("accumulator.scale_latency_cycles", 1),
    "memory_latency": ("memory.latency_cycles", 1),
    "memory_rate": ("memory.write_bytes_per_cycle", 1e-6),
    "reservation_station_entries": ("reservation_station.ex", 8),
    "execute_entries": ("reservation_station.ex", 2),
    "execute_queue": ("queues.ex", 3),
    "local_address_bits": ("scratchpad.capacity", "512MiB"),
    "normalizer_type": ("array.acc_type", "int32"),
    "same_number_kind": ("array.acc_type", "int32"),
    "hardwired_d": ("array.dataflow", "WS"),
    "dma_sizes": ("dma.max_request_bytes", 16),
    "l2_size": ("memory.l2_bytes", "256KiB"),
    "l2_requests": ("dma.max_request_bytes", 64),
    "command_pace": ("cpu.loop_cycles", 8),
    "selected_operands": ("sparsity.fetch_rows", 4),
    "chosen_scores": ("sparsity.resident_weights", 2),
    "decoder_rate": ("sparsity.decoder_elements_per_cycle", 16),
    "transform_unit": ("sparsity.fft_block", 8),
    "serial_bits": ("array.serial_activation_bits", 1),
    "sums_taken_in": ("array.sums_per_cycle", 16),
    "shared_memory": ("cores.shared", "memory"),
    "shared_requests": ("dma.max_in_flight_requests", 32),
    "shared_latency": ("memory.latency_cycles", 3),
}


def broken_rules(overrides: dict[str, object]) -> tuple[set[str], str]:
    with pytest.raises(InputError) as refused:
        load("gemmini_default", overrides)
    text = str(refused.value)
    return set(re.findall(r"\[rule (\w+)\]", text)), text


def test_every_rule_has_a_case() -> None:
    assert set(BROKEN) == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_named_and_nothing_else(rule: str) -> None:
    names, text = broken_rules(BROKEN[rule])
    assert names == {rule}
    assert text.startswith("gemmini_default: ")


@pytest.mark.parametrize("rule", WAY_OUT)
def test_the_nearest_legal_value_is_legal(rule: str) -> None:
    key, value = WAY_OUT[rule]
    _, text = broken_rules(BROKEN[rule])
    assert f"nearest legal value: {value}" in text
    load("gemmini_default", {**BROKEN[rule], key: value})


def test_all_broken_rules_are_reported_together() -> None:
    names, _ = broken_rules({"queues.ex": 1, "reservation_station.ld": 3, "dma.max_request_bytes": 48})
    assert names == {"execute_queue", "reservation_station_entries", "dma_sizes"}


def test_a_rule_can_be_waived_by_name_only() -> None:
    """The tuned machine of Kim et al. holds as many blocks in the accumulator as in the scratchpad."""
    tuned = load("kim2023_tuned")
    assert tuned.sp_rows == tuned.acc_rows and tuned.waived_rules == ("scratchpad_holds_accumulator",)
    with pytest.raises(InputError, match="rule scratchpad_holds_accumulator"):
        tuned.with_({"waived_rules": []})
    with pytest.raises(InputError, match="did you mean 'execute_queue'"):
        tuned.with_({"waived_rules": ["execute_que"]})


def test_two_blocks_more_in_the_scratchpad_are_enough() -> None:
    """SP_ROWS / DIM - 2 >= ACC_ROWS / DIM: with powers of two, half as many blocks is the next legal size."""
    load("gemmini_default", {"scratchpad.capacity": "64KiB", "accumulator.capacity": "128KiB"})


def test_the_rules_of_the_core_are_the_sizes_of_its_record() -> None:
    assert (core.MAX_REQUESTS, core.MAX_BANKS, core.MAX_QUEUED) == (XACTS, BANKS, RING)
    assert core.MAX_ENTRIES < SLOTS <= 2 * core.MAX_ENTRIES


BAD: tuple[object, ...] = (
    *(
        0,
        -1,
        1,
        2,
        3,
        7,
        12,
        1000,
        10**6,
        2**40,
        2**63,
        1e-9,
        1e30,
        True,
        "OSS",
        "fp64",
        "",
        [],
        ["int3"],
        "3KiB",
        "9s",
    ),
)
MACHINES = ("gemmini_default", "gemmini_l2", "gemmini_fp32_4x4", "gemmini_sparse")
HINT = re.compile(r"[^:]*: (?P<key>[\w.]+)(?: = .*?)?: .*nearest legal value: (?P<value>.*?)(?: \[rule \w+\])?")
MEANT = re.compile(r"[^:]*: (?P<key>[\w.]+) = .*\(did you mean '(?P<value>[^']+)'\?\)")


def hints(problems: tuple[str, ...]) -> dict[str, object]:
    """Every value that a refusal names as legal, by key."""
    settings = []
    for problem in problems:
        if match := HINT.fullmatch(problem) or MEANT.match(problem):
            settings.append(f"{match['key']}={match['value']}")
        elif ": with the values named above: " in problem:
            settings += problem.partition("above: ")[2].replace(" = ", "=").split(", ")
    return parse_settings(settings)


def test_shared_scale_units_are_described_where_waived_and_never_run() -> None:
    """Rows measured with them are machines (`sim.validate.row_machines`); no clock models the sharing."""
    shared: dict[str, object] = {"accumulator.scale_units": 4}
    said = r"accumulator\.scale_units = 4: .*nearest legal value: per_lane"
    with pytest.raises(InputError, match=said):
        load("gemmini_default", shared)
    described = load("gemmini_default", {**shared, "waived_rules": ["core_scale_units"]})
    with pytest.raises(InputError, match=said):
        parameters(described)


@pytest.mark.parametrize("name", MACHINES)
def test_every_value_that_a_refusal_names_is_accepted(name: str) -> None:
    """For any key with any value: what the message says, applied, gives a machine that runs."""
    random = Random(name)
    named = [key.name for key in keys(load(name))]
    tried = 0
    for key in [*named, *random.choices(named, k=20)]:
        changes: dict[str, object] = {
            one: random.choice(BAD) for one in {key, *random.sample(named, random.choice((0, 0, 1)))}
        }
        try:
            parameters(load(name, changes))
        except InputError as refused:
            found = hints(refused.problems)
            unsaid = [one for one in refused.problems if "nearest legal" not in one and "above: " not in one]
            if not found or any("did you mean" not in one for one in unsaid):
                continue  # a text where a number belongs has no nearest value
            tried += 1
            given = {one: value for one, value in changes.items() if one.replace("_bytes", "") not in found}
            listed = {
                one: [value] if isinstance(value, str) else value
                for one, value in found.items()
                if isinstance(changes.get(one), list)
            }
            parameters(load(name, given | found | listed))
    assert tried > 15
