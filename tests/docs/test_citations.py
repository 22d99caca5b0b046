"""What the repository cites opens in the repository: sections of docs/reference, and every path that a text names."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
SUFFIXES = {".py", ".toml", ".md", ".cfg", ".ipynb"}


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / name for name in names if Path(name).suffix in SUFFIXES and (ROOT / name).is_file()]


TEXTS = {path: path.read_text(encoding="utf-8") for path in tracked() if path != Path(__file__)}

NUMBERED = re.compile(r"(gemmini_machine|papers)\.md (?:section )?((?:\d+(?:\.\d+)*)(?:(?:, | and )\d+(?:\.\d+)*)*)")
LETTERED = re.compile(r"addendum (?:3 )?((?:[DE]\d+)(?:, [DE]\d+)*)")


def sections(name: str) -> set[str]:
    """Numbers of headings and letters of rules in a text of docs/reference."""
    text = (REFERENCE / name).read_text(encoding="utf-8")
    return {*re.findall(r"^#+ (\d+(?:\.\d+)*)\b", text, re.M), *re.findall(r"\*\*([DE]\d+)\*\*", text)}


@pytest.mark.parametrize("pattern", [NUMBERED, LETTERED], ids=["sections", "rules"])
def test_every_cited_section_exists(pattern: re.Pattern[str]) -> None:
    missing, found = [], 0
    for path, text in TEXTS.items():
        for match in pattern.finditer(text):
            name = f"{match.group(1)}.md" if pattern is NUMBERED else "gemmini_machine_addendum.md"
            for cited in re.split(r", | and ", match.group(match.lastindex or 1)):
                found += 1
                if cited not in sections(name):
                    missing.append(f"{path.relative_to(ROOT)}: {name} {cited}")
    assert found > 10
    assert not missing


@pytest.mark.parametrize("name", sorted(path.name for path in REFERENCE.glob("*.md") if path.name != "README.md"))
def test_every_text_of_the_reference_is_cited(name: str) -> None:
    words = {"gemmini_machine_addendum.md": "addendum"}.get(name, name)
    assert any(words in text for path, text in TEXTS.items() if path.parent != REFERENCE)


ROOMS = "sim|workloads|reports|hwconfigs|tests|docs"
PATH = re.compile(rf"(?<![\w./-])((?:{ROOMS})/[\w./-]*\w\.(?:py|md|toml|csv|png|ipynb|gz))\b")
MADE = ("docs/log/",)
"""Diaries tell of files as they were."""


def test_every_path_in_a_text_exists() -> None:
    gone = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in TEXTS.items()
        if path.suffix != ".py" or "tests" not in path.parts
        if not str(path.relative_to(ROOT)).startswith((*MADE, "CHANGELOG"))
        for name in PATH.findall(text)
        if not (ROOT / name).exists()
    ]
    assert not gone
