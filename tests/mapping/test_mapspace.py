"""Random samples of all mappings: what is drawn is legal, equal programs count once, bounds are laws."""

from __future__ import annotations

import numpy as np
import pytest

from sim import hardware
from sim.base.errors import InputError
from sim.cli import main
from sim.lower import build
from sim.lower.by_hand import ORDERS, problems
from sim.mapping.mapspace import Space
from sim.mapping.sampling import sample
from sim.timing import timer

HW = hardware.load("gemmini_default")
SMALL = build.matmul(48, 64, 96)


@pytest.mark.parametrize("uneven", [False, True])
def test_every_draw_is_legal_and_the_same_again(uneven: bool) -> None:
    space = Space(SMALL, HW, uneven)
    rows = space.sample(400, seed=3)
    assert len(rows) == 400
    assert not any(problems(SMALL, space.mapping(row), HW) for row in rows)
    assert (rows == space.sample(400, seed=3)).all()
    assert (rows != space.sample(400, seed=4)).any()
    assert {ORDERS[row["order"]] for row in rows} == set(ORDERS)
    assert len({int(row["rows"]) for row in rows}) == 5  # 1, 2, 4, 8, 16


def test_draws_are_uniform() -> None:
    """Every cut of a small product comes up as often as any other, within five standard deviations."""
    space = Space(build.matmul(16, 16, 16), HW)
    rows = space.sample(36_000, seed=0)
    _, times = np.unique(rows[["i", "j", "k", "rows", "columns"]], return_counts=True)
    expected = len(rows) / len(space._cuts)
    assert len(times) == len(space._cuts)
    assert np.abs(times - expected).max() < 5 * expected**0.5


def test_equal_rows_in_normal_form_are_equal_programs() -> None:
    space = Space(build.matmul(32, 48, 64), HW)
    rows = space.sample(300, seed=1)
    same = space.canonical(rows)
    merged = [n for n in range(len(rows)) if rows[n] != same[n]][:25]
    assert len(merged) == 25
    for n in merged:
        np.testing.assert_array_equal(space.program(rows[n : n + 1]), space.program(same[n : n + 1]))


@pytest.mark.parametrize("seed", range(12))
def test_no_mapping_needs_less_than_its_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = Space(build.matmul(*(int(n) for n in rng.integers(1, 80, 3))), HW, uneven=bool(seed % 2))
    row = space.sample(1, seed)
    timing = timer.run(space.program(row), HW, clock="leap")
    least = space.least(row)
    assert least.cycles[0] <= timing.cycles
    assert {name: n[0] for name, n in least.counters.items() if n[0] > timing.counters[name]} == {}


def test_what_is_left_out_cannot_be_in_the_percentile() -> None:
    """With every mapping simulated the percentiles that were certain are the same."""
    some = sample(SMALL, HW, count=120, seed=5, certain=10)
    every = sample(SMALL, HW, count=120, seed=5, certain=100)
    assert every.timed.all()
    assert some.timed.sum() < every.timed.sum()
    for percent in (1, 2, 5, 10):
        value, exact = some.percentile(percent)
        assert exact
        assert value == every.percentile(percent)[0]
    assert some.share_below() == every.share_below()
    assert not some.percentile(90)[1]
    assert some.percentile(90)[0] <= every.percentile(90)[0]  # said to be a least one, and it is


def test_the_sample_does_not_depend_on_the_workers() -> None:
    alone, pair = (sample(SMALL, HW, count=40, seed=2, jobs=jobs) for jobs in (1, 2))
    assert alone.to_dict() == pair.to_dict()
    assert alone.count == 40
    assert list(alone.table()["relative_edp"]) == sorted(alone.relative)


def test_refusals() -> None:
    with pytest.raises(InputError) as refused:
        sample(SMALL, HW, count=0, certain=0, seed=-1)
    assert len(refused.value.problems) == 3
    with pytest.raises(InputError, match="has no bias, no transposed operand"):
        Space(build.matmul(32, 32, 32, transpose_b=True), HW)


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    return ended.value.code, captured.out + captured.err


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    layer = ["map", "encoder-layer", "--seq", "32", "--size", "hidden=64", "--size", "heads=2", "--size", "ffn=128"]
    code, said = call(capsys, *layer, "--sample", "30", "--operator", "L0.FF1", "--jobs", "1")
    assert code == 0, said
    assert "below 3 times the least" in said
    code, said = call(capsys, *layer, "--sample", "30", "--operator", "L0.FF")
    assert code == 2
    assert "did you mean" in said
    code, said = call(capsys, *layer, "--uneven")
    assert code == 2
    assert "only --sample N uses it" in said
