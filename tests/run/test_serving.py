"""The bundle for LLMServingSim 2.0: its files, and that its numbers are those of runs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import sim
from sim.base.errors import InputError
from sim.run.request import Request
from sim.run.serving import HEADERS, Bounds, _Timed, bundle, doubling
from sim.timing.memo import Memo
from workloads.networks.decoders import DECODERS

SMALL = Bounds(tokens=16, sequences=2, kv=16)


def test_tables_have_the_documented_columns_and_the_times_of_runs(tmp_path: Path) -> None:
    """Documented: folder layout, column names, microseconds; a norm is counted with the sum before it."""
    made = bundle(Request("qwen2-0.5b", "gemmini_ibert"), SMALL)
    folder = made.write(tmp_path)
    assert folder == tmp_path / "gemmini_ibert" / "qwen2-0.5b" / "int8"
    tables = {}
    for name in ("dense", "per_sequence", "attention"):
        with (folder / "tp1" / f"{name}.csv").open() as file:
            header, *tables[name] = csv.reader(file)
        assert tuple(header) == HEADERS[name]
    assert "max_num_batched_tokens: 16" in (folder / "meta.yaml").read_text()
    sizes = {"phase": "prefill", "seq": 16, "layers": 1, "embeddings": True}
    run = sim.simulate("qwen2-0.5b", "gemmini_ibert", progress=False, **sizes)
    cycles = {name: sum(row["cycles"] for row in run.rows if name in row["op"]) for name in ("FF_down", "matmul_")}
    dense = {(layer, int(tokens)): float(time) for layer, tokens, time in tables["dense"]}
    microseconds = 1000.0  # cycles in one at 1 GHz
    assert dense["down_proj", 16] == pytest.approx(cycles["FF_down"] / microseconds, abs=1e-3)
    assert dense["qkv_proj", 16] == pytest.approx(cycles["matmul_"] / microseconds, abs=1e-3)
    step = sim.simulate("qwen2-0.5b", "gemmini_ibert", phase="decode", kv=16, layers=1, batch=2, progress=False)
    scores = sum(row["cycles"] for row in step.rows if row["op"] == "head")
    once = {(layer, int(count)): float(time) for layer, count, time in tables["per_sequence"]}
    assert once["lm_head", 2] == pytest.approx(scores / microseconds, abs=1e-3)  # a tied head: the table's transpose
    grid = {tuple(map(int, row[:4])): float(row[4]) for row in tables["attention"]}
    assert grid[16, 16, 2, 16] == pytest.approx(grid[16, 16, 0, 0] + grid[0, 0, 2, 16], abs=1e-3)
    with pytest.raises(InputError, match="exists"):
        made.write(tmp_path)


def test_attention_of_a_batch_is_that_of_its_sequences_one_by_one() -> None:
    """What lets one row stand for n equal steps: programs do not overlap."""
    sizes = {"phase": "decode", "kv": 40, "layers": 1, "head": False, "progress": False}
    one, three = (
        sum(row["cycles"] for row in sim.simulate("qwen2-0.5b", "gemmini_ibert", batch=n, **sizes).rows
            if any(part in row["op"] for part in ("scores", "softmax", "context")))
        for n in (1, 3)
    )  # fmt: skip
    assert three == pytest.approx(3 * one, rel=0.01)


def test_experts_are_a_table_over_tokens_and_touched_experts() -> None:
    timed = _Timed(Request("mixtral-8x7b", "gemmini_ibert"), DECODERS["mixtral-8x7b"], Memo())
    points = {(tokens, touched): time for tokens, touched, time in timed.experts([1, 4])}
    assert [touched for tokens, touched in points if tokens == 4] == [2, 4, 8]
    assert points[1, 2] < points[4, 2] < points[4, 8]


def test_doubling_ends_at_the_last() -> None:
    assert doubling(16, 100) == [16, 32, 64, 100] and doubling(1, 1) == [1]


@pytest.mark.parametrize(
    ("name", "bounds", "options", "message"),
    [
        ("bert-tiny", SMALL, {}, "supports only gated decoders"),
        ("qwen2-0.5", SMALL, {}, "did you mean 'qwen2-0.5b'"),
        ("qwen2-0.5b", Bounds(tokens=0), {}, "tokens is 0, must be a whole number from 16"),
        ("qwen2-0.5b", SMALL, {"model": "../up"}, "model is '../up'"),
    ],
)
def test_what_makes_no_bundle_is_refused(name: str, bounds: Bounds, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        bundle(Request(name, "gemmini_ibert"), bounds, **options)
    assert message in str(caught.value)
