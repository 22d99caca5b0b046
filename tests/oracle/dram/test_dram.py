"""A DRAM channel against two public simulators, request by request; every run of the tables."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from helpers.dram_devices import load_dram

from sim.core.units.dram import drive, state
from sim.hardware.dram import Dram
from sim.hardware.dram.numbers import channel_numbers

TABLES = Path(__file__).parent
DEVICES = {"ddr4": "ddr4_2400", "ddr3": "ddr3_1600", "lpddr5": "lpddr5_6400", "hbm2": "hbm2_2000"}
CONTROLLERS: dict[str, dict[str, Any]] = {
    "ramulator2.1": {"posted_writes": False},
    "ramulator2.1-rowhit": {"posted_writes": False, "row_hits_first": True},
    "dramsim3": {"rules": "bank_queues", "merge_reads": True, "posted_writes": True},
}
KEYS = ["stream", "simulator", "standard", "refresh"]
RUNS = [(simulator, standard) for simulator in CONTROLLERS for standard in DEVICES
        if simulator != "dramsim3" or standard in ("ddr3", "ddr4")]  # fmt: skip
COMPLETED = [run for run in RUNS if run[0] != "ramulator2.1-rowhit" or run[1] == "ddr4"]
"""Runs of totals, and those of which the cycles of each request are known."""


class Answer(NamedTuple):
    """What a channel answered: cycles of each request (accepted, completion, burst), its record, refused offers."""

    requests: np.ndarray
    channel: Any
    last: int
    refused: int


@cache
def _streams() -> dict[str, pd.DataFrame]:
    return {str(name): rows for name, rows in pd.read_csv(TABLES / "streams.csv.gz").groupby("stream")}


@cache
def _meta() -> pd.DataFrame:
    return pd.read_csv(TABLES / "streams_meta.csv").set_index("stream")


@cache
def _completions() -> pd.DataFrame:
    return pd.read_csv(TABLES / "completions.csv.gz")


def _answer(stream: str, simulator: str, standard: str, refresh: str) -> Answer:
    changes = {"refresh": refresh == "on", "controller": CONTROLLERS[simulator]}
    return drive_stream(load_dram(DEVICES[standard], changes), stream)


def drive_stream(dram: Dram, stream: str) -> Answer:
    """Drive one channel with a stream of the tables."""
    rows, meta = _streams()[stream], _meta().loc[stream]
    requests = rows[["arrival", "address", "is_write", "bytes"]].to_numpy(np.int64)
    if meta.arrival_clock != "mem":  # cycles of a 1 GHz core
        requests[:, 0] = -(-requests[:, 0] * 1000 // dram.tCK_ps)
    channels = state.build(channel_numbers(dram))
    answers = np.zeros((len(requests), 3), np.int64)
    last, refused = drive.replay(channels, requests, int(meta.outstanding), answers, True)
    return Answer(answers, channels[0], last, refused)


def _runs(table: pd.DataFrame, simulator: str, standard: str) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    rows = table[(table.simulator == simulator) & (table.standard == standard)]
    for key, run in rows.groupby(KEYS):
        yield tuple(map(str, key)), run


@pytest.mark.parametrize(("simulator", "standard"), COMPLETED)
def test_each_request_is_accepted_and_complete_in_its_cycle(simulator: str, standard: str) -> None:
    seen = 0
    for key, run in _runs(_completions(), simulator, standard):
        run = run.sort_values("seq")
        answer = _answer(key[0], key[1], key[2], key[3])
        assert answer.requests[:, 0].tolist() == run.accepted.tolist(), key
        assert answer.requests[:, 1].tolist() == run.completion.tolist(), key
        seen += 1
    assert seen >= 3


@pytest.mark.parametrize(("simulator", "standard"), RUNS)
def test_totals_of_each_run(simulator: str, standard: str) -> None:
    """The last completion to the clock; the rows' hits, misses and conflicts where the simulator counts them."""
    table = pd.read_csv(TABLES / "results.csv.gz")
    seen = 0
    for key, run in _runs(table, simulator, standard):
        answer, row = _answer(key[0], key[1], key[2], key[3]), run.iloc[0]
        assert (answer.last, answer.refused) == (row.cycles, row.refused_offers), key
        if simulator != "dramsim3":  # its drive stops with the last acknowledge, before its last writes
            judged = [row.row_hits, row.row_misses, row.row_conflicts]
            commands = [row.ACT, row.PRE, row.PREab, row.RD, row.WR, row.REF]
            assert answer.channel.outcome.tolist() == judged, key
            assert answer.channel.issued.tolist() == commands, key
            assert [answer.channel.forwarded, answer.channel.coalesced] == [row.forwarded, row.coalesced], key
        seen += 1
    assert seen >= 55
