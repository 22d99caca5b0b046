"""Generation: a prefill and decode steps, each equal to its own run; what is refused."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import sim
from sim.base.errors import InputError
from sim.cli.app import app
from sim.run.generation import TOKEN_COLUMNS
from sim.timing.memo import Memo

SIZES = {"layers": 1, "seq": 24}


def test_each_step_is_the_run_of_its_own_graph() -> None:
    memo = Memo()
    found = sim.generate("distilgpt2", "gemmini_ibert", tokens=3, memo=memo, **SIZES)
    ends = {"layers": 1, "head": True, "embeddings": True}
    alone = [sim.simulate("distilgpt2", "gemmini_ibert", phase="prefill", seq=24, memo=memo, **ends)]
    for kv in (24, 25):
        alone.append(sim.simulate("distilgpt2", "gemmini_ibert", phase="decode", kv=kv, memo=memo, **ends))
    assert [row["cycles"] for row in found.rows] == [result.cycles for result in alone]
    assert [row["kv"] for row in found.rows] == [0, 24, 25]


def test_totals_are_those_of_the_rows() -> None:
    found = sim.generate("distilgpt2", "gemmini_ibert", tokens=3, batch=2, **SIZES)
    rows, total = found.rows, found.totals
    assert total["cycles"] == sum(row["cycles"] for row in rows)
    assert total["ttft_s"] == rows[0]["time_s"]
    assert total["tpot_s"] == pytest.approx((rows[1]["time_s"] + rows[2]["time_s"]) / 2)
    assert total["tokens_per_s"] == pytest.approx(2 * 3 / sum(row["time_s"] for row in rows))
    assert list(found.series.columns) == list(TOKEN_COLUMNS)


def test_the_command_prints_one_row_a_token() -> None:
    words = ["run", "distilgpt2", "--phase", "generate", "--seq", "24", "--tokens", "2", "--size", "layers=1", "--json"]
    printed = json.loads(CliRunner().invoke(app, words).stdout)
    assert [row["token"] for row in printed["tokens"]] == [1, 2]
    assert printed["totals"]["tokens"] == 2


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        ({"tokens": 0}, "tokens is 0, must be a whole number from 1"),
        ({"kv": 5}, "begins with an empty cache"),
        ({"seq": 1 << 22, "tokens": 2}, "beyond the limit of 4,194,304 keys"),
    ],
)
def test_what_cannot_be_generated_is_refused(requested: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sim.generate("distilgpt2", "gemmini_ibert", **{"layers": 1, **requested})


def test_an_encoder_generates_nothing() -> None:
    with pytest.raises(InputError, match="bert-base cannot generate: it is no decoder"):
        sim.generate("bert-base", "gemmini_ibert")
