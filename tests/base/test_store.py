"""The store survives kills, a full disk and files that are something else."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sim.base.errors import CaratError, InputError
from sim.base.store import Store, point_key
from sim.base.version import code_version

SWEEP = """
import sys, time
from pathlib import Path
import sim

def tell(done, total, label):
    print(done, total, flush=True)
    if done == int(sys.argv[4]):
        time.sleep(600)  # until killed

if __name__ == "__main__":
    frame = sim.sweep(
        "gemmini_ibert",
        grid={"memory.latency_cycles": [20, 40, 60, 80, 100]},
        workloads="encoder-layer",
        sizes={"seq": 16, "hidden": 32, "heads": 2, "ffn": 32},
        jobs=int(sys.argv[1]),
        store=sys.argv[2],
        progress=tell,
    )
    Path(sys.argv[3]).write_text(frame.to_csv(index=False))
"""
POINTS = 5
ROOT = Path(__file__).parents[2]
CONFIG = {"version": "v", "seed": 1}


def start(tmp_path: Path, jobs: int, store: str, out: str, stop_after: int = -1) -> subprocess.Popen[str]:
    script = tmp_path / "sweep.py"
    script.write_text(SWEEP)
    files = (str(tmp_path / store), str(tmp_path / out))
    arguments = [sys.executable, str(script), str(jobs), *files, str(stop_after)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment)


def _wait_until_gone(group: int) -> None:
    """Wait for the end of every process of the group: workers end with their parent."""
    for _ in range(600):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a worker outlives the sweep that was killed")


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_sweep_goes_on_where_it_was(jobs: int, tmp_path: Path) -> None:
    killed = start(tmp_path, jobs, "killed.sqlite", "never.csv", stop_after=2)
    assert killed.stdout is not None
    for line in killed.stdout:
        if line.startswith("2 "):
            killed.send_signal(signal.SIGKILL)
            break
    killed.wait()
    killed.stdout.close()
    _wait_until_gone(killed.pid)
    assert not (tmp_path / "never.csv").exists()
    resumed = start(tmp_path, jobs, "killed.sqlite", "resumed.csv")
    said, _ = resumed.communicate()
    assert said.startswith(f"2 {POINTS}\n")
    straight = start(tmp_path, 1, "straight.sqlite", "straight.csv")
    straight.communicate()
    assert (tmp_path / "resumed.csv").read_bytes() == (tmp_path / "straight.csv").read_bytes()


WRITER = """
import sys
from sim.base.store import Store

with Store(sys.argv[1]) as store:
    store.enlist("sweep", [(n, str(n), {"n": n}) for n in range(100_000)], {})
    for n in range(len(store), 100_000):
        store.put(str(n), {"version": "v", "seed": n}, {"n": n, "text": "x" * 3000})
        print(n, flush=True)
"""


def test_store_survives_sigkill_at_random_points(tmp_path: Path) -> None:
    """Every point reported as written is there and whole after each kill, and writing goes on behind it."""
    path, script = tmp_path / "store.sqlite", tmp_path / "writer.py"
    script.write_text(WRITER)
    delays = np.random.default_rng(7).uniform(0, 0.05, 6)  # s after the first write: some 100 writes
    last = -1
    for delay in delays:
        arguments = [sys.executable, str(script), str(path)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as writer:
            assert writer.stdout is not None
            first = int(writer.stdout.readline())
            assert first > last or last == -1, "it goes on behind what is kept"
            time.sleep(delay)
            writer.kill()
            last = max([first, *(int(line) for line in writer.stdout.read().split())])
        with Store(path) as store:
            assert store._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            kept = [store.get(str(n)) for n in range(len(store))]
        assert [row["n"] for row in kept if row is not None] == list(range(len(kept)))
        assert last + 1 <= len(kept) <= last + 2, "at most the write under way was not reported"


@pytest.mark.parametrize("seed", [1])
def test_sweep_survives_sigkill_at_random_points(seed: int, tmp_path: Path) -> None:
    """Killed with its workers, three times at random moments of its life, it ends with the rows of a straight run."""
    for delay in np.random.default_rng(seed).uniform(0.2, 3.0, 3):
        running = start(tmp_path, 2, "killed.sqlite", "resumed.csv")
        time.sleep(delay)
        running.kill()
        running.communicate()
        _wait_until_gone(running.pid)
    start(tmp_path, 1, "killed.sqlite", "resumed.csv").communicate()
    start(tmp_path, 1, "straight.sqlite", "straight.csv").communicate()
    assert (tmp_path / "resumed.csv").read_bytes() == (tmp_path / "straight.csv").read_bytes()


def test_full_disk_keeps_what_was_written_and_says_so(tmp_path: Path) -> None:
    """A limit on file size makes the disk full at a known point."""
    path = tmp_path / "store.sqlite"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with Store(path) as store:
            store.put("first", CONFIG, {"cycles": 1})
            resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
            with pytest.raises(CaratError, match=r"1 points written before are kept; make room"):
                store.put("second", CONFIG, {"text": "x" * 1_000_000})
            assert store.get("first") == {"cycles": 1}
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    with Store(path) as store:
        assert len(store) == 1 and store.get("second") is None


def test_row_comes_back_bit_for_bit(tmp_path: Path) -> None:
    row = {"cycles": 2**60 + 1, "utilization": 0.1 + 0.2, "layer": None, "op": "ü\n"}
    with Store(tmp_path / "a" / "store.sqlite") as store:
        store.put("key", CONFIG, row)
        assert store.get("key") == row


def test_each_row_carries_version_seed_and_configuration(tmp_path: Path) -> None:
    with Store(tmp_path / "store.sqlite") as store:
        store.put("key", {**CONFIG, "machine": {"dim": 16}}, {})
    with sqlite3.connect(tmp_path / "store.sqlite") as db:
        rows = db.execute("SELECT version, seed, config FROM points").fetchall()
    db.close()
    assert rows == [("v", 1, '{"machine": {"dim": 16}, "seed": 1, "version": "v"}')]


@pytest.mark.parametrize("content", [b"not a database, but long enough to look like one" * 40])
def test_file_that_is_no_store_is_refused_and_left_alone(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"notes\.txt: cannot be opened as a sweep store"):
        Store(path)
    assert path.read_bytes() == content


def test_key_does_not_depend_on_the_order_of_keys() -> None:
    assert point_key({"a": 1, "b": 2}) == point_key({"b": 2, "a": 1}) != point_key({"a": 1, "b": 3})


def test_version_names_release_and_sources() -> None:
    release, digest = code_version().split("+")
    assert release[0].isdigit() and len(digest) == 8 and int(digest, 16) >= 0
