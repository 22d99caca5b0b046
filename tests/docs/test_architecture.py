"""docs/ARCHITECTURE.md and its picture name exactly the rooms that exist, in the order of the import contract."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def layers() -> list[str]:
    """Rooms of the contract from top to bottom."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["importlinter:contract:flow"]["layers"].split("\n")
    return [room.strip() for line in lines for room in re.split(r"[|:]", line) if room.strip()]


def test_the_table_is_the_contract() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text[text.index("| room | holds |") :]
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == layers()


def test_the_picture_shows_every_room() -> None:
    picture = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
    assert sorted(re.findall(r'<tspan font-weight="bold">(\w+)</tspan>', picture)) == sorted(layers())


def test_no_module_is_outside_a_room() -> None:
    modules = {path.name for path in (ROOT / "sim").glob("*.py")}
    assert modules == {"__init__.py", "__main__.py"}
