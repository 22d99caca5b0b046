"""Each reported column has one definition, and each definition a column."""

from __future__ import annotations

import pytest

import sim
from sim.core.events import Cause
from sim.cost import energy
from sim.run import columns

TINY = {"seq": 16, "hidden": 32, "heads": 2, "ffn": 32}


@pytest.fixture(scope="module")
def result() -> sim.Result:
    return sim.simulate("encoder-layer", "gemmini_ibert", **TINY)


def test_frames_have_exactly_the_defined_columns(result: sim.Result) -> None:
    assert tuple(result.ops.columns) == columns.table("ops")
    assert tuple(result.kinds.columns) == columns.table("kinds")
    assert tuple(result.totals) == columns.table("totals")


def test_sweep_has_exactly_the_defined_columns() -> None:
    frame = sim.sweep("gemmini_ibert", workloads="encoder-layer", sizes=TINY)
    assert set(frame.columns) - set(TINY) == set(columns.table("sweep"))


def test_every_cause_of_the_core_is_defined_and_those_of_cpu_and_vector_unit_besides() -> None:
    assert list(columns.CAUSES) == [*(cause.name.lower() for cause in Cause), "call", "vector", "host"]


def test_every_component_of_energy_is_defined() -> None:
    assert tuple(columns.ENERGY) == energy.COMPONENTS


def test_bounds_partition_the_causes() -> None:
    grouped = [cause for group in columns.BOUNDS.values() for cause in group]
    assert sorted(grouped) == sorted(columns.CAUSES)


def test_every_definition_says_something() -> None:
    for column in columns.COLUMNS.values():
        assert len(column.definition) > 8, column.name
        quantity = column.name.endswith(("_cycles", "_bytes", "_pj", "_s", "_w", "_mhz"))
        assert not quantity or column.unit not in ("", "1"), column.name
