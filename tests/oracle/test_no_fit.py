"""No measured value is looked up and no constant is keyed to a case: the simulator cannot know the tables."""

from __future__ import annotations

import ast
from pathlib import Path

from sim.validate import csvfile, runner

ORACLE = Path(__file__).parent
ROOT = ORACLE.parents[1]
SIMULATOR = [
    path for path in sorted((ROOT / "sim").rglob("*.py")) if "validate" not in path.parts and path.name != "peers.py"
]
ROUND = {base * 10**power for base in range(1, 11) for power in range(12)}
POWERS = {1 << power for power in range(64)} | {(1 << power) - 1 for power in range(65)}


def measured_cycles() -> set[int]:
    """Return all measured cycle counts that are too long and too odd to be anything else by chance."""
    files = [path for path in csvfile.inside(ORACLE) if "masks" not in path.name and "timeline." not in path.name]
    return {row.cycles for row in runner.read_rows(files) if row.cycles > 200} - ROUND - POWERS


def test_no_measured_figure_stands_in_the_simulator() -> None:
    forbidden = measured_cycles()
    assert len(forbidden) > 1000
    found = {
        f"{path.relative_to(ROOT)}:{node.lineno}": node.value
        for path in SIMULATOR
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value in forbidden
    }
    assert found == {}


def test_the_simulator_knows_neither_tables_nor_validation() -> None:
    """Only the command line may register the commands of sim.validate; nothing else may read tables."""
    for path in SIMULATOR:
        if "cli" in path.parts:
            continue
        text = path.read_text()
        assert "sim.validate" not in text, path
        # a text may cite the oracle; code that named it could read it
        code = [found for found in strings_of_code(text) if "oracle" in found.replace("tests/oracle/DEVIATIONS.md", "")]
        assert not code, (path, code)


def strings_of_code(text: str) -> list[str]:
    """Return the strings of a module that are no text of their own (docstrings, texts behind a constant)."""
    tree = ast.parse(text)
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [str(node.value) for node in strings if id(node) not in texts]


def test_no_case_of_the_tables_is_named_in_the_simulator() -> None:
    files = [path for path in csvfile.inside(ORACLE) if "masks" not in path.name and "timeline." not in path.name]
    names = {row.id for row in runner.read_rows(files) if len(row.id) > 8}
    for path in SIMULATOR:
        words = {
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not words & names, path
