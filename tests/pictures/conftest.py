"""Two tiny runs that differ in one setting, and what is made of them once for all tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim
from sim.analysis import saved

SIZES = {"seq": 32, "hidden": 64, "heads": 2, "ffn": 64}


@pytest.fixture(scope="session")
def fast() -> sim.Result:
    return sim.simulate("encoder-layer", "gemmini_ibert", **SIZES)


@pytest.fixture(scope="session")
def slow() -> sim.Result:
    return sim.simulate("encoder-layer", "gemmini_ibert", overrides={"memory.latency_cycles": 150}, **SIZES)


@pytest.fixture(scope="session")
def on_host() -> sim.Result:
    return sim.simulate("encoder-layer", "gemmini_default", **SIZES)


@pytest.fixture(scope="session")
def folders(
    fast: sim.Result, slow: sim.Result, on_host: sim.Result, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    place = tmp_path_factory.mktemp("runs")
    made = {"fast": fast, "slow": slow, "host": on_host}
    for name, result in made.items():
        result.save(place / name, command=f"carat run {name}")
    return [place / name for name in made]


@pytest.fixture(scope="session")
def runs(folders: list[Path]) -> dict[str, saved.SavedRun]:
    return {run.name: run for run in saved.load_all(folders)}
