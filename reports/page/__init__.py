"""Self-contained HTML pages: one of runs, one of a sweep. They open from disk and ask nothing of a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reports.page.runs import runs_page
from reports.page.sweep import sweep_page
from sim.analysis import saved, sweep_table
from sim.base.errors import InputError


def of(sources: Sequence[Path], whatif: Path | None = None) -> str:
    """Return the page of kept runs (folders) or of one sweep (table or store), by what the sources are.

    ``whatif``: the table of `carat whatif -o` to show beside. Raises InputError for anything else, all at once.
    """
    sweeps = [path for path in sources if not path.is_dir() and sweep_table.is_sweep(path)]
    if sweeps:
        if len(sources) > 1:
            raise InputError(f"report: one sweep ({sweeps[0]}) or several runs, not {len(sources)} sources together")

        return sweep_page(sweep_table.read(sweeps[0]), sweeps[0].name, whatif)
    if whatif is not None:
        raise InputError("--whatif goes with a sweep; runs are compared with each other")

    return runs_page(saved.load_all(list(sources)))


def checked(path: Path) -> Path:
    """Return ``path`` if a page can be written there. Raises InputError: another ending, or no such folder."""
    if path.suffix not in (".html", ".htm"):
        raise InputError(f"{path}: a page is written as FILE.html")
    if not path.resolve().parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")
    return path
