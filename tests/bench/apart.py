"""Measurements in processes of their own, so that the memory and the caches of each are its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any


def main(file: str, known: Iterable[str], measure: Callable[[str], dict[str, Any]]) -> None:
    """Print what `measure` finds of the names on the command line (none: all known) as JSON, a line each.

    One name is measured in this process, several by ``file``, the program itself, in a process each.
    """
    names = sys.argv[1:]
    if len(names) == 1:
        print(json.dumps(measure(names[0])), flush=True)
        return
    for name in names or known:
        subprocess.run([sys.executable, file, name], check=True)
