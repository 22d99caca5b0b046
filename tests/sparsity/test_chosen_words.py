"""Word sizes of chosen scores: their programs move and hold narrower words; what cannot pick among parts says so."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import sim
from sim.base.errors import InputError
from sim.hardware import load
from sim.sparsity.edits.dynamic import Dynamic
from sim.sparsity.precision import Precision
from sim.sparsity.rules import Rules
from sim.trace.profile import profile
from workloads import encoder_layer

HEADS, SEQ, SIZE = 2, 64, 32
GRAPH = encoder_layer(seq=SEQ, hidden=64, heads=HEADS, ffn=64)
NARROW = {"array.accepts": ["int4", "int2"], "scratchpad.narrow_words": True}
SERIAL = {
    "array.accepts": ["int4", "int2"], "array.pe": "bit_serial", "array.serial_activation_bits": 2,
}  # fmt: skip
FIXED, BITS = load("gemmini_sparse", NARROW), load("gemmini_sparse", SERIAL)
TOP = Dynamic("topk", share=0.2)


def both(activations: str, pattern: Dynamic = TOP) -> Rules:
    named = ("L0.scores*", "L0.context*")
    return Rules((), pattern, precisions=tuple(Precision(name, activations=activations) for name in named))


def run(hw: Any, rules: Rules, **more: Any) -> dict[str, dict[str, Any]]:
    result = sim.simulate(GRAPH, hw, sparsity=rules, **more)
    return {row["op"].removeprefix("L0."): row for row in result.rows}


@pytest.mark.parametrize("pattern", [TOP, Dynamic("threshold", density=0.3)])
def test_the_input_type_is_the_plain_array_cycle_for_cycle(pattern: Dynamic) -> None:
    plain, same = run("gemmini_sparse", Rules((), pattern)), run(FIXED, both("int8", pattern))
    assert [{**row, "hardware": ""} for row in same.values()] == [{**row, "hardware": ""} for row in plain.values()]


@pytest.mark.parametrize("hw", [FIXED, BITS], ids=["fixed", "bit_serial"])
def test_narrower_moves_no_more_bytes_and_does_the_same_work(hw: Any) -> None:
    # Law: an element's bits say what moves; which scores are computed does not change.
    runs = [run(hw, both(kind)) for kind in ("int8", "int4", "int2")]
    for wide, narrow in itertools.pairwise(runs):
        for name in ("scores", "context", "matmul_Q"):
            moved = [row[name]["dram_read_bytes"] + row[name]["dram_write_bytes"] for row in (wide, narrow)]
            assert moved[1] <= moved[0]
            assert (
                wide[name]["macs"] == narrow[name]["macs"]
                and wide[name]["macs_skipped"] == narrow[name]["macs_skipped"]
            )
            assert 0 < narrow[name]["utilization"] <= 1
    assert runs[1]["scores"]["words"].startswith("int4 x int4, stored in 4/4/4")
    assert runs[1]["scores"]["scheme"] == runs[1]["context"]["scheme"] == "sampled"


def test_operands_are_half_the_bytes_and_the_index_stays() -> None:
    # Law, of scores whose operands fill requests: Q and K by their bits, a bit per score for the index.
    graph = encoder_layer(seq=SEQ, hidden=256, heads=2, ffn=64)
    parts = []
    for kind in ("int8", "int4"):
        operands = profile(sim.simulate(graph, FIXED, sparsity=both(kind))).operands
        parts.append({row["operand"]: row["read_bytes"] for row in operands if row["op"] == "L0.scores"})
    assert parts[0]["block index"] == parts[1]["block index"] == HEADS * SEQ * SEQ // 8
    for name in ("A", "B (weights)"):
        assert parts[0][name] == 2 * parts[1][name] == HEADS * SEQ * 128


def test_serial_rows_are_twice_as_fast_at_half_the_activation_bits() -> None:
    rows = [run(BITS, both(kind)) for kind in ("int8", "int4")]
    assert [one["context"]["peak_macs_per_cycle"] for one in rows] == [64, 128]
    assert rows[1]["context"]["cycles"] < 0.7 * rows[0]["context"]["cycles"]


@pytest.mark.parametrize("hw", [FIXED, BITS], ids=["fixed", "bit_serial"])
def test_all_clocks_agree(hw: Any) -> None:
    runs = [run(hw, both("int4"), clock=clock, cache=False) for clock in ("reference", "leap", "periodic")]
    for row in (row for one in runs for row in one.values()):
        row.pop("visited_cycles"), row.pop("counters")
    assert runs[0] == runs[1] == runs[2]


def test_the_predictor_reads_what_lies_there() -> None:
    # Law: bytes of Q and K by the bits in which they lie, whatever the predictor's own operands are cut to.
    hw = FIXED.with_({"sparsity.predictor_macs_per_cycle": 256})
    read = [run(hw, both(kind))["scores.predict"]["dram_read_bytes"] for kind in ("int8", "int4")]
    assert read == [2 * HEADS * SEQ * SIZE, HEADS * SEQ * SIZE]


def test_tiles_of_chosen_scores_take_words_on_arrays_that_split() -> None:
    split = load("gemmini_decomposable", {"sparsity.top_k_per_cycle": 16})
    skipped = Dynamic("topk", share=0.1, scheme="skip", tile=32)
    rows = run(split, both("int4", skipped))
    assert any(str(row["words"]).startswith("int4 x int4") for row in rows.values())


def test_parts_of_a_pe_pick_among_nothing() -> None:
    units = {"sparsity.resident_weights": 4, "sparsity.resident_reach": "line", "sparsity.pack_and_split": True}
    split = load("gemmini_decomposable", {**units, "sparsity.top_k_per_cycle": 16})
    with pytest.raises(InputError, match=r"int4 x int4: a PE that splits would select .* 4 parts.*scheme = \"skip\""):
        run(split, both("int4"))
    assert run(split, both("int8"))["scores"]["scheme"] == "sampled"
