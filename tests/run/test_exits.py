"""Early exit: averages over layers are sums over the rows of one run."""

from __future__ import annotations

import pytest

import sim
from sim.analysis.exits import early_exit
from sim.base.errors import InputError
from sim.cli import main

SIZES = {"seq": 16}


@pytest.fixture(scope="module")
def run() -> sim.Result:
    return sim.simulate("bert-tiny", "gemmini_ibert", **SIZES)


def test_no_exit_is_the_whole_network_and_the_classifiers_passed(run):
    # Law: an input that stays to the end costs the run, and each classifier on the way.
    left = early_exit(run, (0, 1))
    assert left.cycles == run.cycles + left.classifier_cycles
    assert left.classifier_cycles > 0
    assert left.layers == 2
    assert left.energy_pj > run.totals["energy_pj"]


def test_an_average_lies_where_its_shares_put_it(run):
    # Bound: linear in the shares, so halves are the mean of the two ends.
    ends = [early_exit(run, shares).cycles for shares in ((1, 0), (0, 1))]
    assert early_exit(run, (0.5, 0.5)).cycles == pytest.approx(sum(ends) / 2)
    assert ends[0] < ends[1]
    first = [row for row in run.rows if row["layer"] in (0, None)]
    assert ends[0] == sum(row["cycles"] for row in first) + early_exit(run, (1, 0)).classifier_cycles


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ((1,), "1 shares, .* has 2 layers"),
        ((0.9, 0.3), "add up to 1.2"),
        ((float("inf"),), "1 shares"),
        ((float("nan"), 1), "nan"),
    ],
)
def test_shares_of_other_layers_or_sums_are_refused(run, shares, words):
    with pytest.raises(InputError, match=words) as caught:
        early_exit(run, shares)
    if "nearest: " in str(caught.value):  # the hint is accepted
        near = str(caught.value).partition("nearest: ")[2].rstrip(")")
        early_exit(run, tuple(map(float, near.split(","))))


@pytest.mark.parametrize(("shares", "code", "words"), [("0.5,0.5", 0, "1.50 layers"), ("0.5,x", 2, "a share for each")])
def test_the_command_prints_the_average(capsys, shares, code, words):
    with pytest.raises(SystemExit) as ended:
        main(["run", "bert-tiny", "--seq", "16", "--exits", shares])
    assert ended.value.code == code
    assert words in "".join(capsys.readouterr())
