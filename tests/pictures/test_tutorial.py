"""The tutorial runs from top to bottom, and each cell shows what its text promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from sim import Result

ROOT = Path(__file__).parents[2]

EXECUTE = """
import json, sys
import nbclient, nbformat
book = nbformat.read(sys.argv[1], 4)
place = {"metadata": {"path": sys.argv[2]}}
nbclient.NotebookClient(book, timeout=300, kernel_name="python3", resources=place).execute()
cells = [cell for cell in book.cells if cell.cell_type == "code"]
print(json.dumps([[sorted(output.get("data", {})) for output in cell.outputs] for cell in cells]))
"""


def test_the_tutorial_runs(tmp_path: Path) -> None:
    """In a process of its own: the kernel's libraries warn of what is no fault of ours."""
    words = [sys.executable, "-c", EXECUTE, str(ROOT / "docs" / "tutorial.ipynb"), str(ROOT)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    shown = json.loads(done.stdout.splitlines()[-1])
    pictures = sum("image/png" in kinds for cell in shown for kinds in cell)
    tables = sum("text/html" in kinds for cell in shown for kinds in cell)
    assert pictures == 4 and tables >= 5


def test_the_tutorial_is_kept_without_its_answers() -> None:
    """Answers in the file would go stale unseen."""
    book = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text(encoding="utf-8"))
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in book["cells"])


def test_a_result_shows_its_causes_as_a_bar(fast: Result) -> None:
    text = fast._repr_html_()
    for cause, cycles in fast.causes.items():
        assert (f'title="{cause} ' in text) == (cycles > 0)
