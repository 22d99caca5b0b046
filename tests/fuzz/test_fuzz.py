"""Damaged files of every kind: each command ends with an answer or one clear error, never with a traceback.

300 cases in CI, the same each time; `make test-long` draws thousands of others (CARAT_EXAMPLES).
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
from pathlib import Path
from random import Random

import pytest
from fuzz import corpus
from fuzz.mutations import damaged

from sim.cli import REFUSED, main

CASES = max(10, int(os.environ.get("CARAT_EXAMPLES", "0")) // 25)
"""Cases of each kind."""
FIRST = 0 if "CARAT_EXAMPLES" not in os.environ else Random().randrange(10**9)


CPU_S = 30
"""CPU time of one case: the slowest takes some two seconds, and a number too large to count up to takes for ever."""
MEMORY_KIB = 1 << 20
"""What all cases of a kind may add to the memory of this process: files of the corpus have at most 100 KB."""


class TooLong(BaseException):
    """A command took more than `CPU_S`; no handler of Carat stops it."""


def _stop(*_: object) -> None:
    raise TooLong


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    corpus.build(folder)
    return folder


def outcome(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and stderr of a command, run in this process."""
    signal.signal(signal.SIGVTALRM, _stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_S)
    try:
        main(arguments)
        code: object = 0
    except SystemExit as end:
        code = end.code or 0
    except TooLong:
        code = -1
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    captured = capsys.readouterr()
    assert isinstance(code, int)
    assert "\x1b[31m" not in captured.out + captured.err
    return code, captured.err


COMPILES = "carat: compiling "
"""What the first run after a change of the code may say."""


@pytest.mark.parametrize("kind", corpus.COMMANDS)
def test_the_undamaged_file_is_taken(
    valid: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A corpus whose files were refused as they are would test nothing."""
    shutil.copytree(valid, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    name, words = corpus.COMMANDS[kind]
    code, said = outcome([name if word == "FILE" else word for word in words], capsys)
    assert code == 0 and [line for line in said.splitlines() if not line.startswith(COMPILES)] == []


@pytest.mark.parametrize("kind", corpus.COMMANDS)
def test_damage_is_answered_or_refused(
    valid: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(valid, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    name, words = corpus.COMMANDS[kind]
    faults = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(CASES):
        seed = f"{kind}:{FIRST + number}"
        content = damaged((valid / name).read_bytes(), Random(seed))
        (tmp_path / name).write_bytes(content)
        code, error = outcome([name if word == "FILE" else word for word in words], capsys)
        if code not in (0, REFUSED) or "Traceback" in error:
            faults.append((seed, code, error[-400:]))
        if code == REFUSED:
            assert error.strip(), seed
    assert not faults, faults
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY_KIB
