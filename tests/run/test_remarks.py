"""Legal settings without effect, and sizes out of proportion, are said or refused."""

from __future__ import annotations

import json

import pytest

import sim
from sim import hardware
from sim.analysis.whatif import PORT, knobs, trials
from sim.base.errors import InputError
from sim.cli import main
from sim.cli.sweep import parse_grid
from sim.run.remarks import of_machine, of_unused_keys
from sim.run.request import Request, resolve
from workloads.limits import MAX_OPERATORS

TINY = {"seq": 16, "hidden": 32, "heads": 2, "ffn": 32}
FAST = {"memory.read_bytes_per_cycle": 64}


@pytest.mark.parametrize("memory", ("none", "ddr4_2400"))
def test_a_memory_faster_than_the_bus_is_named_with_the_key_that_limits_it(memory: str) -> None:
    given = {**FAST, "memory.dram": memory}
    (remark,) = of_machine(hardware.load("gemmini_ibert", given))
    assert remark.startswith("memory.read_bytes_per_cycle = 64 acts as 16") and "dma.bus_bytes" in remark
    plain, fast = (
        sim.simulate("encoder-layer", "gemmini_ibert", overrides=overrides, **TINY)
        for overrides in ({"memory.dram": memory}, given)
    )
    assert plain.cycles == fast.cycles, "the remark is true"
    assert plain.totals["remarks"] is None and fast.totals["remarks"] == remark
    table = sim.sweep(
        "gemmini_ibert", workloads="encoder-layer", sizes=TINY, grid={key: [v] for key, v in given.items()}
    )
    assert table["remarks"][0] == remark


def test_the_remedy_named_is_one() -> None:
    overrides = {**FAST, "dma.bus_bytes": 64}
    assert not list(of_machine(hardware.load("gemmini_ibert", overrides)))


def test_doubling_the_port_leaves_a_memory_alone_that_the_bus_limits() -> None:
    steps = {step.direction: dict(step.overrides) for step in trials(hardware.load("gemmini_ibert", FAST), [PORT])}
    assert steps["more"] == {"dma.bus_bytes": 32, "memory.write_bytes_per_cycle": 32}
    assert steps["less"] == {"dma.bus_bytes": 8, "memory.write_bytes_per_cycle": 8}


@pytest.mark.parametrize("machine", ["gemmini_default", "gemmini_ibert", "kim2023_tuned", "sanger", "gemmini_l2"])
def test_every_knob_offered_can_be_moved(machine: str) -> None:
    """Law of hints: what the message on an unknown knob offers is taken."""
    hw = hardware.load(machine)
    movable = {step.knob for step in trials(hw)}
    for knob in movable:
        assert trials(hw, [knob])
    for knob in set(knobs(hw)) - movable:
        with pytest.raises(InputError):
            trials(hw, [knob])
    with pytest.raises(InputError, match="--knob 'memory port'"):
        trials(hw, ["memory.read_bytes_per_cycle"])


@pytest.mark.parametrize(
    ("workload", "sizes"),
    [
        ("bert-tiny", {"seq": 1_000_000}),
        ("bert-tiny", {"seq": 1_000_000_000}),
        ("bert-tiny", {"layers": 1_000_000}),
        ("bert-base", {"batch": 1_000_000}),
        ("encoder-layer", {"hidden": 1_200_000_000}),
        ("resnet50", {"image": 100_000}),
    ],
)
def test_sizes_beyond_the_limit_are_refused_before_time_is_spent(workload: str, sizes: dict[str, int]) -> None:
    with pytest.raises(InputError, match="limit") as refused:
        resolve(Request.of(workload, "gemmini_ibert", sizes))
    assert "--allow-large" in str(refused.value)


def test_large_sizes_that_are_meant_are_taken_up_to_what_addresses_reach() -> None:
    case = resolve(Request.of("encoder-layer", "gemmini_ibert", {"seq": 24_000, "allow_large": True}))
    assert max(tensor.elements for tensor in case.graph.tensors.values()) > 1 << 32
    with pytest.raises(InputError, match="limit"):
        resolve(Request.of("encoder-layer", "gemmini_ibert", {"seq": 1_000_000, "allow_large": True}))
    many = {"layers": 4, "batch": MAX_OPERATORS // 12, **TINY}  # 3 operators a sequence and layer, 11 a layer
    with pytest.raises(InputError, match="more than 32,768 operators"):
        resolve(Request.of("encoder-layer", "gemmini_ibert", many))
    assert len(resolve(Request.of("encoder-layer", "gemmini_ibert", many | {"allow_large": True})).graph.ops) > 32_768


def test_a_model_beyond_its_positions_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "bert-tiny", "--seq", "520", "--size", "layers=1"])
    assert "note: bert-tiny has 512 positions" in capsys.readouterr().out


def test_a_grid_of_millions_is_counted_first() -> None:
    with pytest.raises(InputError, match="9,000,000 combinations"):
        many = list(range(1, 3001))
        sim.sweep(
            "gemmini_ibert",
            workloads="encoder-layer",
            grid={"memory.latency_cycles": many, "clock_mhz": many},
        )


def test_a_range_of_billions_is_counted_before_it_is_listed() -> None:
    with pytest.raises(InputError, match=r"99,999,999,999 values; the limit is 1,000,000"):
        parse_grid(["memory.latency_cycles=1:99999999999:1"])


def test_sweep_json_has_every_digit_of_run_json(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--seq", "16", "--size", "hidden=32", "--size", "heads=2", "--size", "ffn=32"]
    found = []
    for words in (["run", "encoder-layer", *sizes, "--json"], ["sweep", "encoder-layer", *sizes, "--json"]):
        with pytest.raises(SystemExit):
            main(words)
        found.append(json.loads(capsys.readouterr().out))
    run, (row,) = found[0]["totals"], found[1]
    assert {name: row[name] for name in run} == run


def test_every_broken_rule_is_reported_with_a_broken_array() -> None:
    overrides = {"array.mesh_rows": 12, "array.mesh_columns": 12, "scratchpad.capacity": "300KiB"}
    with pytest.raises(InputError) as refused:
        hardware.load("gemmini_default", overrides)
    assert "dim_power_of_two" in str(refused.value) and "scratchpad_bank_rows" in str(refused.value)


def test_no_machine_is_offered_for_a_name_unlike_any() -> None:
    with pytest.raises(InputError) as refused:
        hardware.load("gemmini_default", {"host": "xeon"})
    assert "did you mean" not in str(refused.value) and "rocket" in str(refused.value)


def test_a_key_whose_unit_is_off_is_named() -> None:
    changes = {"tlb.entries": 16, "sparsity.fft_block": 16, "cpu.code": "warm"}
    found = list(of_unused_keys(hardware.load("gemmini_default", changes)))
    assert [line.partition(" = ")[0] for line in found] == ["tlb.entries", "sparsity.fft_block", "cpu.code"]
    assert not list(of_unused_keys(hardware.load("gemmini_default", {**changes, "tlb.pages": "4KiB"})))[2:]
    for name in hardware.presets():
        assert not list(of_unused_keys(hardware.load(name))), name


def test_weights_of_a_layernorm_that_its_unit_cannot_apply_are_named() -> None:
    sizes = {"seq": 16, "layers": 1}
    noted = sim.simulate("gpt2", "gemmini_ibert", **sizes).totals["remarks"]
    assert "take no gamma and beta" in noted and "folded into the weights after it" in noted
    assert sim.simulate("gpt2", "gemmini_default", **sizes).totals["remarks"] is None  # the host applies them


@pytest.mark.parametrize(("block", "said"), [(16, True), (32, False)])
def test_blocks_that_narrow_words_undo_are_said_with_a_size_that_is_not(tmp_path, block: int, said: bool) -> None:
    # int4 weights: the array of PEs that split works as 32 x 32, where four blocks of 16 are zero together seldom.
    sizes = {"seq": 32, "hidden": 128, "heads": 2, "ffn": 256}
    words = '[[precision]]\nweights = "int4"\nactivations = "int8"\n'
    zeros = f'[[weights]]\npattern = "block{block}"\ndensity = 0.5\n'
    specs = {name: tmp_path / f"{name}.toml" for name in ("narrow", "both")}
    specs["narrow"].write_text(words)
    specs["both"].write_text(zeros + words)
    narrow, both = (
        sim.simulate("encoder-layer", "gemmini_decomposable", sparsity=str(path), **sizes) for path in specs.values()
    )
    found = both.totals["remarks"] or ""
    assert ("block32" in found and "32 x 32" in found) == said
    # The remark is true: half of the weights are zero, and less than 15 % of the cycles are saved, or more.
    assert (both.cycles > 0.85 * narrow.cycles) == said
    assert not narrow.totals["remarks"]
