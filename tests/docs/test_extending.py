"""Every recipe of docs/EXTENDING.md runs as it stands, in the order of the page."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "EXTENDING.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_recipes_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "recipes"}
    monkeypatch.setitem(sys.modules, "recipes", types.ModuleType("recipes"))  # dataclasses look their module up
    for block in re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S):
        exec(compile(block, str(PAGE), "exec"), names)


@pytest.mark.parametrize("section", re.split(r"^## ", TEXT, flags=re.M)[1:], ids=lambda text: text.split("\n")[0])
def test_every_recipe_is_code_that_a_test_runs(section: str) -> None:
    assert "```python" in section or re.search(r"`tests/[\w/]+(\.py)?`", section)
