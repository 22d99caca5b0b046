"""The ends of the command line: one line for everything, the right exit code, and no traceback unless requested."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim.cli import main

ROOT = Path(__file__).parents[2]


def carat(*words: str, code: str | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "sim", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        ("ZeroDivisionError('x\\x1b[31m')", 70, "this is a fault of carat (version "),
        ("RecursionError()", 70, "CARAT_DEBUG=1"),
        ("MemoryError()", 2, "out of memory"),
        ("KeyboardInterrupt()", 130, "interrupted"),
        ("FileNotFoundError(2, 'No such file or directory')", 2, "the current folder: No such file"),
        ("BrokenPipeError()", 2, ""),
    ],
)
def test_what_no_door_refused_is_one_line(raised: str, code: int, said: str) -> None:
    thrower = f"def app(**_): raise {raised}\nsim.cli.app.app_for = lambda _: app"
    done = carat(code=f"import sim.cli, sim.cli.app\n{thrower}\nsim.cli.main(['list'])")
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr


def test_a_fault_shows_where_when_asked() -> None:
    thrower = "def app(**_): raise ZeroDivisionError"
    code = f"import sim.cli, sim.cli.app\n{thrower}\nsim.cli.app.app_for = lambda _: app\nsim.cli.main(['list'])"
    assert "Traceback" in carat(code=code, CARAT_DEBUG="1").stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_output_is_reported() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "sim", "columns"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("closed", "said"), [(1, "stdout is closed"), (2, "")])
def test_a_closed_output_is_no_fault(closed: int, said: str) -> None:
    code = f"import os, sys; os.close({closed}); os.execv(sys.executable, [sys.executable, '-m', 'sim', 'columns'])"
    done = carat(code=code)
    assert done.returncode == 0 and said in done.stderr and "Traceback" not in done.stderr


def test_workers_do_not_import_from_the_current_folder(tmp_path: Path) -> None:
    """A file called like a module of Python's, lying in the current folder, is not run by worker processes."""
    for name in ("tempfile", "socket", "selectors", "queue"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    code = "from sim.base.workers import pool\nwith pool(1) as p: print(p.submit(abs, -7).result())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    script = tmp_path / "in" / "script.py"
    script.parent.mkdir()
    script.write_text("if __name__ == '__main__':\n    " + code.replace("\n", "\n    "))
    command = [sys.executable, str(script)]
    environment.pop("PYTHONSAFEPATH")
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.stdout == "7\n", done.stderr
    assert not (tmp_path / "ran").exists()


def test_a_latency_of_seconds_is_said_before_the_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A billion cycles for a billion of nanoseconds keep a run busy for minutes: the remark must not come after it."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sim.run.pipeline.run", interrupted)
    with pytest.raises(SystemExit):
        main(["run", "encoder-layer", "--seq", "16", "--set", "memory.latency_cycles=1000000000"])
    assert "memory.latency_cycles = 1,000,000,000 is 1 s at 1000 MHz" in capsys.readouterr().err
