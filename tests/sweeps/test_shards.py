"""Sweeps in parts: shards are a partition, merging is exact, and a table written from a store is the sweep's."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import sim
from sim.analysis.stored_sweeps import stored_table
from sim.base.errors import InputError
from sim.base.store import Store
from sim.base.version import code_version
from sim.cli import main
from sim.sweeps import write_table
from sim.sweeps.points import shard_positions

TINY = {"seq": 16, "hidden": 32, "heads": 2, "ffn": 32}
GRID = {"memory.latency_cycles": [20, 40, 80], "scratchpad.capacity": ["64KiB", "100KiB"]}
"""Six points; those with 100 KiB are refused at the door."""


def part(store: Path | None = None, shard: str | None = None, **more: Any) -> pd.DataFrame:
    return sim.sweep(
        "gemmini_ibert", grid=GRID, workloads="encoder-layer", sizes=TINY, jobs=1, store=store, shard=shard, **more
    )


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("total", [0, 1, 5, 12])
@pytest.mark.parametrize("count", [1, 2, 5, 7])
def test_shards_partition_the_points(total: int, count: int) -> None:
    shards = [shard_positions(f"{index}/{count}", total) for index in range(1, count + 1)]
    assert sorted(position for shard in shards for position in shard) == list(range(total))
    sizes = [len(shard) for shard in shards]
    assert max(sizes) - min(sizes) <= 1, "no batch job waits for one that has more to do"


@pytest.mark.parametrize(
    ("shard", "nearest"), [("0/4", "1/4"), ("5/4", "4/4"), ("1/0", "1/1"), ("half", "1/1"), ("1/2/3", "1/1")]
)
def test_shard_that_is_none_is_refused_with_the_nearest(shard: str, nearest: str) -> None:
    with pytest.raises(InputError, match=f"shard {shard}: .* nearest legal: {nearest}"):
        part(shard=shard)


def test_merged_shards_are_the_whole_sweep_bit_for_bit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = part(tmp_path / "whole.sqlite")
    parts = [part(tmp_path / f"{index}.sqlite", f"{index}/3") for index in (1, 2, 3)]
    assert [len(table) for table in parts] == [2, 2, 2]
    stores = [str(tmp_path / f"{index}.sqlite") for index in (3, 1, 2)]
    merged, table = str(tmp_path / "merged.sqlite"), str(tmp_path / "merged.csv")
    assert command("merge", merged, *stores[:2]) == 0
    assert "4 of 6 points, 2 missing" in capsys.readouterr().out
    assert command("merge", merged, stores[2], "-o", table) == 0
    assert "6 of 6 points, complete" in capsys.readouterr().out
    assert Path(table).read_text() == whole.to_csv(index=False)
    with Store(tmp_path / "whole.sqlite") as one, Store(merged) as other:
        assert one.sweeps() == other.sweeps()
        assert stored_table(other).equals(whole)


def test_merging_again_changes_nothing(tmp_path: Path) -> None:
    part(tmp_path / "a.sqlite", "1/2")
    part(tmp_path / "b.sqlite", "2/2")
    with Store(tmp_path / "a.sqlite") as store:
        assert store.merge(tmp_path / "b.sqlite") == 3
        assert store.merge(tmp_path / "b.sqlite") == 0
        assert len(store) == 6


def test_stores_that_disagree_are_not_merged(tmp_path: Path) -> None:
    part(tmp_path / "a.sqlite")
    part(tmp_path / "b.sqlite")
    with closing(sqlite3.connect(tmp_path / "b.sqlite")) as db, db:
        db.execute("UPDATE points SET row = '{\"cycles\": 1}'")
    with Store(tmp_path / "a.sqlite") as store:
        before = store.sweeps()
        with pytest.raises(InputError, match=r"b\.sqlite: tells another result"):
            store.merge(tmp_path / "b.sqlite")
        assert store.sweeps() == before


@pytest.mark.parametrize("verb", ["merge", "export"])
def test_store_that_is_not_there_is_refused(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    none = str(tmp_path / "none.sqlite")
    arguments = [verb, str(tmp_path / "out.sqlite"), none] if verb == "merge" else [verb, none]
    assert command(*arguments) == 2
    assert "none.sqlite: no such file" in capsys.readouterr().err
    assert not Path(none).exists()


def test_each_kept_row_has_version_seed_and_full_configuration(tmp_path: Path) -> None:
    """Enough to do it again: the machine whole, the graph by its key, and the graph itself once."""
    part(tmp_path / "s.sqlite")
    with closing(sqlite3.connect(tmp_path / "s.sqlite")) as db:
        rows = db.execute("SELECT version, seed, config FROM points").fetchall()
        graphs = dict(db.execute("SELECT key, graph FROM graphs").fetchall())
    assert len(rows) == 6 and {(version, seed) for version, seed, _ in rows} == {(code_version(), 0)}
    configs = [json.loads(config) for _, _, config in rows]
    sound = [config for config in configs if not config.get("refused")]
    assert len(sound) == 3
    for config in sound:
        machine = config["machine"]
        again = sim.simulate("encoder-layer", machine, **config["sizes"])
        assert again.graph.key == config["graph"] in graphs
        assert machine["memory"]["latency_cycles"] in GRID["memory.latency_cycles"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_exported_table_is_the_sweep(suffix: str, tmp_path: Path) -> None:
    table = part(tmp_path / "s.sqlite")
    path = tmp_path / f"table{suffix}"
    assert command("export", str(tmp_path / "s.sqlite"), "-o", str(path)) == 0
    read = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    assert list(read.columns) == list(table.columns)
    for name in ("memory.latency_cycles", "cycles", "energy_pj", "edp_js", "error"):
        assert read[name].isna().tolist() == table[name].isna().tolist()
        assert read[name].dropna().tolist() == table[name].dropna().tolist(), name
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_knob_of_mixed_values_fits_into_parquet(tmp_path: Path) -> None:
    table = pd.DataFrame({"scratchpad.capacity": [65536, "128KiB", None], "cycles": [1, 2, 3]})
    write_table(table, tmp_path / "t.parquet")
    kept = pd.read_parquet(tmp_path / "t.parquet")["scratchpad.capacity"]
    assert kept.dropna().tolist() == ["65536", "128KiB"] and kept.isna().tolist() == [False, False, True]


def test_output_of_another_kind_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("sweep", "encoder-layer", "-o", str(tmp_path / "t.xlsx")) == 2
    assert "written as .csv or .parquet; nearest: t.csv" in capsys.readouterr().err


def test_a_merge_that_is_refused_makes_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.sqlite").write_text("no database")
    assert command("merge", str(tmp_path / "new.sqlite"), str(tmp_path / "bad.sqlite")) == 2
    assert "bad.sqlite" in capsys.readouterr().err
    assert not (tmp_path / "new.sqlite").exists()
