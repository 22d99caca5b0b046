"""Entries run from shared objects: made once, read back only when they are what was written, without numba."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sim.core import compiling, folder, linked
from sim.core.jit import Entry

ROOT = Path(__file__).parents[2]
SOURCE = """
import numpy as np

def answer(n, rows):
    copy = rows.copy()
    copy[0] = 0.5
    total = 0
    for i in range(rows.shape[0]):
        total += i
    return n * total + 2, total

def sorted_(rows):
    return np.sort(rows)
"""
USE = """
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[1])
from answer import answer, sorted_
from sim.base import notice
from sim.core import linked
from sim.core.jit import Entry
from sim.core.jit import Entry
linked.SHIPPED = Path(sys.argv[3])
told = []
with notice.heard_by(told.append):
    entry = Entry(answer, "entry", Path(sys.argv[2]))
    rows = np.ones(5)
    print(*entry(4, rows), *entry.bound(5, rows)(), rows[0], len(entry.kinds), end=" ")
    if sys.argv[4:]:
        print(*Entry(sorted_, "plain", Path(sys.argv[2]))(np.array([3.0, 1.0])), end=" ")
print(*told, "numba" in sys.modules)
"""
ANSWER = "42 10 52 10 1.0 1"

pytestmark = pytest.mark.skipif(
    not linked.usable() or linked.linker() is None, reason="no shared objects can be made here"
)


def said(folder: Path, *more: str, room: str = "room-1", shipped: str = "none", **environment: str) -> str:
    """What a process of its own prints: the answers, what is compiled, whether numba was imported."""
    (folder / "answer.py").write_text(SOURCE)
    command = [sys.executable, "-c", USE, str(folder), str(folder / room), str(folder / shipped), *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.check_output(command, cwd=ROOT, env=environment, text=True).strip()


def test_what_was_made_once_runs_without_numba(tmp_path: Path) -> None:
    """Half of a short run used to be the import of numba."""
    assert said(tmp_path) == f"{ANSWER} room True"
    assert said(tmp_path) == f"{ANSWER} False"
    assert said(tmp_path, room="room-2") == f"{ANSWER} room True", "other sources have a folder of their own"


@pytest.mark.parametrize("part", ("code", "digest", "half"))
def test_a_damaged_object_is_made_anew(tmp_path: Path, part: str) -> None:
    said(tmp_path)
    [file] = tmp_path.rglob("*.so")
    whole = file.read_bytes()
    place = {"code": len(whole) // 2, "digest": len(whole) - 1, "half": 0}[part]
    file.write_bytes(whole[: len(whole) // 2] if part == "half" else whole[:place] + b"\0\1"[:1] + whole[place + 1 :])
    if file.read_bytes() == whole:
        file.write_bytes(whole[:place] + b"\1" + whole[place + 1 :])
    assert said(tmp_path) == f"{ANSWER} room True"
    assert said(tmp_path) == f"{ANSWER} False"


def test_what_a_wheel_brings_is_loaded_on_any_cpu(tmp_path: Path) -> None:
    """As .ci/wheel.py makes it, compiled for a generic CPU; an object for one CPU is not taken for another's."""
    assert said(tmp_path, room="wheel/room-1", NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == f"{ANSWER} room True"
    assert said(tmp_path, shipped="wheel") == f"{ANSWER} False"
    assert not list((tmp_path / "room-1").rglob("*.so"))
    assert said(tmp_path, room="wheel/room-1") == f"{ANSWER} room True"


def test_an_entry_that_no_object_can_be_made_of_runs_by_numba(tmp_path: Path) -> None:
    """It returns an array, whose memory numba manages; that it cannot be linked is found out once."""
    assert said(tmp_path, "both") == f"{ANSWER} 1.0 3.0 room room room True"
    assert said(tmp_path, "both") == f"{ANSWER} 1.0 3.0 True"
    assert [file.stat().st_size for file in tmp_path.rglob("sorted_*.so")] == [linked.DIGEST_BYTES]


def test_other_ways_to_compile_are_left_to_numba(tmp_path: Path) -> None:
    assert said(tmp_path, NUMBA_BOUNDSCHECK="1") == f"{ANSWER[:-1]}0 room True"
    assert not list(tmp_path.rglob("*.so"))


def test_every_entry_of_the_core_is_linked() -> None:
    """One that is not would import numba at every start, and nobody would notice."""
    for entry, arguments in compiling.wanted():
        assert isinstance(entry.prepared(*arguments), linked.Linked), entry.py_func.__name__


WHEEL, ENTRIES = ROOT / ".ci" / "wheel.py", ROOT / ".ci" / "entries.py"


def test_all_that_a_wheel_tries_runs_from_shared_objects() -> None:
    """An entry that numba has to run by itself is compiled at the user's: the first `make wheel` found one. 4 s."""
    parts = runpy.run_path(str(ENTRIES))
    parts["timing"]()
    parts["executor"]()
    rooms = [vars(module) for name, module in list(sys.modules.items()) if name.startswith("sim.")]
    entries = {one for room in rooms for one in room.values() if isinstance(one, Entry) and one.kinds}
    called = {f"{one.py_func.__module__.rpartition('.')[2]}.{one.py_func.__name__}": one for one in entries}
    assert called.keys() >= {
        "engine.run",
        "cores.run",
        "engine.rest",
        "stretch.go_on",
        "fill.fill",
        "sampled.sample",
        "loop.execute",
    }
    assert [name for name, one in called.items() if None in one._linked.values()] == []


@pytest.mark.long  # 3 minutes of CPU
def test_the_wheel_is_built_and_compiles_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, WHEEL, "--output", tmp_path], check=True)
    assert [wheel.stat().st_size < 10 * 2**20 for wheel in tmp_path.glob("*.whl")] == [True]


def opened_to_others(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o022)


def given_away(path: Path) -> None:
    os.chown(path, 65534, -1)


@pytest.mark.parametrize("change", (opened_to_others, given_away))
@pytest.mark.parametrize("depth", (0, 1, 2))
def test_a_file_that_others_could_have_written_is_not_ours(
    tmp_path: Path, change: Callable[[Path], None], depth: int
) -> None:
    if change is given_away and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    file = tmp_path / "room" / "module" / "code.so"
    before = os.umask(0o002)
    try:
        linked.write(file, b"code")
    finally:
        os.umask(before)
    assert folder.is_ours(file), "whatever the umask is"
    change([file, *file.parents][depth])
    assert not folder.is_ours(file)


def test_an_object_that_others_could_have_written_is_made_anew(tmp_path: Path) -> None:
    """Loading it runs its code. The digest is no signature: who can write the file can write the digest (5 s)."""
    said(tmp_path)
    [file] = tmp_path.rglob("*.so")
    opened_to_others(file)
    assert said(tmp_path) == f"{ANSWER} room True"
