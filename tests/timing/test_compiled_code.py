"""Compiled code is read back only from a folder that is ours alone, and only when it is what was written."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = "from sim.core import folder; print(folder.cache_folder())"
ANSWER = """
import sys
from pathlib import Path
from sim.core import kept
import numba
numba.config.CACHE_DIR = sys.argv[1]
sys.path.insert(0, sys.argv[-1])
from answer import answer
kept.checked(answer, Path(sys.argv[1]))
print(answer(2), sum(answer.stats.cache_hits.values()), sum(answer.stats.cache_misses.values()))
"""


def said(script: str, *arguments: str, **environment: str) -> str:
    """What a Python process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, **environment},
    )  # fmt: skip
    return done.stdout.strip()


def test_the_folder_is_private(tmp_path: Path) -> None:
    folder = Path(said(FOLDER, CARAT_CACHE_DIR=str(tmp_path)))
    assert folder == tmp_path / "carat"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_others_may_write_to_is_not_trusted(tmp_path: Path) -> None:
    """Something planted may lie in it already, so that closing it now would not help."""
    (tmp_path / "carat").mkdir()
    (tmp_path / "carat").chmod(0o777)
    assert Path(said(FOLDER, CARAT_CACHE_DIR=str(tmp_path))) != tmp_path / "carat"


def test_a_folder_that_others_may_replace_is_not_trusted(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert Path(said(FOLDER, CARAT_CACHE_DIR=str(tmp_path))) != tmp_path / "carat"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_not_trusted(tmp_path: Path) -> None:
    """Neither where it was requested nor under the temporary directory: each used to be unpickled as it lay there."""
    for home in (tmp_path / "requested", tmp_path / f"carat-{os.getuid()}"):
        home.mkdir()
        (home / "carat").mkdir(mode=0o700)
        os.chown(home / "carat", 12345, 12345)
    folder = Path(said(FOLDER, CARAT_CACHE_DIR=str(tmp_path / "requested"), TMPDIR=str(tmp_path)))
    assert folder.parents[1] == tmp_path and folder.parent.name not in ("requested", f"carat-{os.getuid()}")
    assert not folder.exists()  # it ended with its process


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "planted").mkdir(mode=0o700)
    (tmp_path / "carat").symlink_to(tmp_path / "planted")
    assert Path(said(FOLDER, CARAT_CACHE_DIR=str(tmp_path))).resolve() != tmp_path / "planted"


@pytest.mark.parametrize("suffix", ("nbc", "nbi"))
def test_a_flipped_bit_is_compiled_anew(tmp_path: Path, suffix: str) -> None:
    """Every bit of it: numba would fail at each start, or run what is not what was compiled."""
    (tmp_path / "answer.py").write_text(
        "import numba\n@numba.njit(cache=True)\ndef answer(n):\n    return 20 * n + 2\n"
    )
    assert said(ANSWER, str(tmp_path)) == "42 0 1"
    assert said(ANSWER, str(tmp_path)) == "42 1 0"
    [file] = tmp_path.rglob(f"*.{suffix}")
    whole = file.read_bytes()
    for place in (3, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert said(ANSWER, str(tmp_path)) == "42 0 1"
        assert said(ANSWER, str(tmp_path)) == "42 1 0"
    file.write_bytes(whole[:40])
    assert said(ANSWER, str(tmp_path)) == "42 0 1"


def test_the_same_source_elsewhere_is_not_compiled_again(tmp_path: Path) -> None:
    """numba keys on the path of the source by itself: a second checkout used to compile for most of a minute."""
    kept = tmp_path / "kept"
    for checkout, hits in (("one", 0), ("two", 1)):
        (tmp_path / checkout).mkdir()
        (tmp_path / checkout / "answer.py").write_text(
            "import numba\n@numba.njit(cache=True)\ndef answer(n):\n    return 20 * n + 2\n"
        )
        assert said(ANSWER, str(kept), str(tmp_path / checkout)) == f"42 {hits} {1 - hits}"


ANNOUNCED = """
import sys
from pathlib import Path
from sim.base import notice
from sim.core import kept
import numba
numba.config.CACHE_DIR = sys.argv[1]
sys.path.insert(0, sys.argv[2])
from answer import answer
kept.checked(answer, Path(sys.argv[1]))
with notice.heard_by(lambda part: print("compiling", part)):
    print(answer(2), sum(answer.stats.cache_hits.values()))
print(kept.is_kept(answer, (numba.types.int64,)), kept.is_kept(answer, (numba.types.float64,)))
"""


def test_what_is_compiled_is_announced_once_for_each_version_of_the_sources(tmp_path: Path) -> None:
    """The folder is named after the sources; types of arguments that were not compiled are not taken for kept."""
    (tmp_path / "answer.py").write_text(
        "import numba\n@numba.njit(cache=True)\ndef answer(n):\n    return 20 * n + 2\n"
    )
    assert said(ANNOUNCED, str(tmp_path / "room-1"), str(tmp_path)) == "compiling room\n42 0\nTrue False"
    assert said(ANNOUNCED, str(tmp_path / "room-1"), str(tmp_path)) == "42 1\nTrue False"
    assert said(ANNOUNCED, str(tmp_path / "room-2"), str(tmp_path)) == "compiling room\n42 0\nTrue False"


def test_code_of_another_cpu_is_not_taken_for_ours(tmp_path: Path) -> None:
    """numba's index holds the name of the CPU: a folder shared by two machines is compiled on each."""
    (tmp_path / "answer.py").write_text(
        "import numba\n@numba.njit(cache=True)\ndef answer(n):\n    return 20 * n + 2\n"
    )
    given = (str(tmp_path / "room-1"), str(tmp_path))
    assert said(ANNOUNCED, *given, NUMBA_CPU_NAME="core2") == "compiling room\n42 0\nTrue False"
    assert said(ANNOUNCED, *given) == "compiling room\n42 0\nTrue False"
    assert said(ANNOUNCED, *given) == "42 1\nTrue False"
