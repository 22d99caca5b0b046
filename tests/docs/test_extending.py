"""Every recipe of docs/EXTENDING.md runs as it stands, in the order of the page."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "EXTENDING.md"


def test_the_recipes_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == len(re.findall(r"^## ", PAGE.read_text(encoding="utf-8"), re.M))
    names: dict[str, object] = {"__name__": "recipes"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
