"""Work that does not depend on the machine must not grow unnoticed: programs, visited cycles, commands, imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

COUNTERS = Path(__file__).with_name("counters.py")
MAX_GROWTH = 1.02
"""Of a count beyond its recorded value (bar of the issue "fast everywhere")."""
RENEW = "if that is meant: python tests/bench/counters.py --renew"


def test_no_run_does_more_work_than_recorded() -> None:
    """12 s of CPU: whole runs in a process of their own, as a clock that has seen a program visits less of it."""
    settings = {**os.environ, "PYTHONPATH": str(COUNTERS.parents[2])}
    done = subprocess.run([sys.executable, COUNTERS], env=settings, capture_output=True, text=True, check=True)
    found, recorded = json.loads(done.stdout), json.loads(COUNTERS.with_suffix(".json").read_text())
    assert found["work"].keys() == recorded["work"].keys(), RENEW
    grown = {
        name: f"{recorded['work'][name]:,} -> {count:,}"
        for name, count in found["work"].items()
        if count > MAX_GROWTH * recorded["work"][name]
    }
    for command, (modules, heavy) in found["imports"].items():
        before, allowed = recorded["imports"][command]
        if modules > MAX_GROWTH * before or set(heavy) - set(allowed):
            grown[command] = f"{before} modules and {allowed} -> {modules} and {heavy}"
    assert not grown, f"{grown}; {RENEW}"
