"""What is derived from the timeline agrees with the counters, and a trace is one that a viewer can load."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sim
from sim.analysis import saved
from sim.base.errors import InputError
from sim.cli import main
from sim.lower import lower
from sim.timing import timer
from sim.trace import chrome, events, gantt
from sim.trace.commands import decode
from sim.trace.profile import OTHER, profile
from sim.trace.walk import walk

SPARSE = {"seq": 32, "hidden": 64, "heads": 2, "ffn": 128, "sparsity": "block16:0.5"}


def split(result: sim.Result) -> pd.DataFrame:
    return pd.DataFrame(profile(result).operands)


@pytest.mark.parametrize("sparsity", [None, "block16:0.5"])
def test_operands_sum_to_the_dram_counters(sparsity: str | None) -> None:
    """Conservation: every byte has an owner; dense and aligned requests carry nothing beyond the operands."""
    result = sim.simulate("encoder-layer", "gemmini_ibert", sparsity=sparsity, seq=32, hidden=64, heads=2, ffn=128)
    table = split(result)
    assert table["read_bytes"].sum() == result.totals["dram_read_bytes"]
    assert table["write_bytes"].sum() == result.totals["dram_write_bytes"]
    assert (table[["read_bytes", "write_bytes"]] >= 0).all(axis=None)
    if sparsity is None:
        assert OTHER not in set(table["operand"])


@pytest.mark.parametrize(
    "sparsity", ["2:4", "unstructured:0.3/pack", "unstructured:0.3/bitmap", "unstructured:0.3/csr"]
)
def test_packed_and_stored_weights_have_an_owner(sparsity: str) -> None:
    """What lies beyond the operands is the rest of misaligned requests: less than one of 64 B for each that is sent."""
    result = sim.simulate("encoder-layer", "gemmini_sparse", sparsity=sparsity, seq=32, hidden=64, heads=2, ffn=128)
    table = split(result)
    assert table["read_bytes"].sum() == result.totals["dram_read_bytes"]
    assert (table[["read_bytes", "write_bytes"]] >= 0).all(axis=None)
    beyond = table.loc[table["operand"] == OTHER, "read_bytes"].sum()
    assert beyond < 64 * result.totals["dram_read_requests"] and beyond < 0.2 * result.totals["dram_read_bytes"]
    weights = table.query("op == 'L0.FF1' and operand == 'B (weights)'")["read_bytes"].sum()
    assert 0 < weights < 64 * 128 * 2, "fewer than the dense matrix read twice"


def test_weights_are_read_at_least_once_and_results_written_once(fast: sim.Result) -> None:
    """Compulsory traffic: FF1 has 64 x 64 int8 weights, and writes its 32 x 64 int8 results exactly once."""
    ff1 = split(fast).query("op == 'L0.FF1'").set_index("operand")
    assert ff1.loc["B (weights)", "read_bytes"] >= 64 * 64
    assert ff1.loc["C (results)", "write_bytes"] == 32 * 64
    assert ff1.loc["D (bias)", "read_bytes"] % (64 * 4) == 0, "whole rows of 32-bit sums"


def test_activity_over_time_integrates_to_the_counters(fast: sim.Result) -> None:
    made = profile(fast, bins=37)
    widths = np.diff(made.edges)
    counters = fast.counters
    for series, counter in (("read_beats", "BUS_READ_BEATS"), ("write_beats", "BUS_WRITE_BEATS")):
        assert (made.activity[series] * widths).sum() == pytest.approx(counters[counter])
        assert made.activity[series].max() <= 1
    assert (made.activity["mesh_rows"] * widths).sum() == pytest.approx(counters["MESH_INPUT_ROWS"])


def test_rows_in_use_never_exceed_the_memories(fast: sim.Result) -> None:
    hw = fast.hardware
    for row in fast.rows:
        commands = decode(fast.timeline(row["op"]), hw)
        held = walk(commands, hw, row["cycles"])
        assert held.scratchpad.min() >= 0 and held.scratchpad.max() <= hw.sp_rows
        assert held.accumulator.min() >= 0 and held.accumulator.max() <= hw.acc_rows
        assert held.scratchpad[-1] == held.accumulator[-1] == 0, "at the end nothing is still to be read"


def test_the_awaited_command_ended_before_the_waiting_one_began(fast: sim.Result) -> None:
    commands = decode(fast.timeline("L0.FF1"), fast.hardware)
    held = walk(commands, fast.hardware, 10**6)
    waiters = np.flatnonzero(held.waited_for >= 0)
    assert len(waiters), "the first compute waits for its loads"
    causes = held.waited_for[waiters]
    assert (commands.complete[causes] <= commands.issue[waiters]).all()
    assert (commands.complete[causes] > commands.alloc[waiters]).all(), "it was still under way when the waiter entered"
    assert (commands.queue[causes] != commands.queue[waiters]).all()


def test_a_trace_is_well_formed(fast: sim.Result) -> None:
    """Slices of a track nest or follow each other, arrows have both ends inside slices, counters stay in range."""
    traced = json.loads(chrome.to_json(chrome.trace(fast)))
    tracks = defaultdict(list)
    arrows = defaultdict(dict)
    for event in traced["traceEvents"]:
        if event["ph"] == "X":
            assert event["dur"] >= 0 and 0 <= event["ts"] <= fast.cycles
            tracks[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
        elif event["ph"] in "sf":
            arrows[event["id"]][event["ph"]] = event
        elif event["ph"] == "C":
            assert event["args"]["value"] >= 0
            if event["name"].startswith("array"):
                assert event["args"]["value"] <= 1
    for slices in tracks.values():
        ends = sorted(slices)
        assert all(one[1] <= two[0] for one, two in pairwise(ends)), "slices overlap"
    assert arrows
    for ends_of in arrows.values():
        assert set(ends_of) == {"s", "f"} and ends_of["s"]["ts"] <= ends_of["f"]["ts"]
        for event in ends_of.values():
            assert any(a <= event["ts"] <= b for a, b in tracks[event["pid"], event["tid"]])
    names = {event["args"]["name"] for event in traced["traceEvents"] if event["name"] == "thread_name"}
    assert {"load", "execute", "store", "array", "DMA read", "DMA write", "scratchpad bank 0"} <= names


def test_a_trace_stays_within_its_bound(fast: sim.Result) -> None:
    whole, small = chrome.trace(fast), chrome.trace(fast, chrome.Bounds(events=2000))
    commands = [e for e in small["traceEvents"] if e["ph"] in "Xsf" and e["pid"] == events.MACHINE]
    assert len(commands) <= 2000 < len(whole["traceEvents"])
    assert small["otherData"]["commands_left_out"] > 0 == whole["otherData"]["commands_left_out"]


def test_a_window_shows_its_commands_only(fast: sim.Result) -> None:
    traced = chrome.trace(fast, chrome.Bounds(window=(1000, 1500)))
    slices = [e for e in traced["traceEvents"] if e["ph"] == "X" and e["pid"] == events.MACHINE]
    assert slices and all(e["ts"] < 1500 and e["ts"] + e["dur"] > 1000 - 500 for e in slices)


def test_text_bars_show_loads_before_computes_before_stores(fast: sim.Result) -> None:
    lines = gantt.text(chrome.trace(fast, chrome.Bounds("L0.FF1")), width=80).splitlines()
    bars = {line.split("|")[0].strip(): line.split("|")[1] for line in lines if "|" in line}
    assert all(len(bar) == 80 for bar in bars.values())
    starts = [len(bars[unit]) - len(bars[unit].lstrip()) for unit in ("load", "execute", "store")]
    assert starts == sorted(starts)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        (chrome.Bounds("FF9"), "no operator has this name"),
        (chrome.Bounds(window=(10**9, 10**9 + 1)), "the run has"),
        (chrome.Bounds(first=0), "--first 0: must be at least 1"),
    ],
)
def test_bounds_that_show_nothing_are_refused(fast: sim.Result, bounds: chrome.Bounds, message: str) -> None:
    with pytest.raises(InputError, match=message):
        chrome.trace(fast, bounds)


def test_command_line_writes_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--seq", "16", "--size", "hidden=32", "--size", "heads=2", "--size", "ffn=32"]
    path = tmp_path / "trace.json"
    for words in (["-o", str(path)], []):
        with pytest.raises(SystemExit) as ended:
            main(["trace", "encoder-layer", *small, "--op", "L0.FF1", *words])
        assert ended.value.code == 0
    assert json.loads(path.read_text())["otherData"]["programs"] == 1
    assert "scratchpad bank 0 |" in capsys.readouterr().out


def test_programs_too_long_to_record_are_named(fast: sim.Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.trace.profile.MAX_COMMANDS", 40)
    record = saved.record_of(fast, Path("x"))
    assert record["profile"]["left_out"]


def test_both_clocks_see_the_same_counters(fast: sim.Result) -> None:
    """Counters over time are read in the core, so the law of the two clocks holds for them too."""
    work = fast.step("L0.FF1").works[0]
    program = lower(work, fast.hardware)
    leap, reference = (timer.run(program, fast.hardware, clock=clock, timeline=True) for clock in ("leap", "reference"))
    assert leap.seen is not None and reference.seen is not None
    assert (leap.seen == reference.seen).all()
    last = leap.seen[leap.seen["t_complete"].argmax()]
    assert last["why"].sum() == last["t_complete"], "every cycle before has a cause"
