"""The floors of the house: sizes of files and functions, parameters, imports inside functions, circles of files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from helpers.sources import FILES, ROOMS, ROOT, Function, functions_of, nodes_of, tree_of

from sim.graph.kinds import KINDS

MAX_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 400, 60, 8

HEAVY = {
    "typer", "numpy", "numba", "pandas", "pydantic", "matplotlib", "jinja2", "SQLite", "dask", "optuna", "pyarrow",
    "onnx",
}  # fmt: skip
"""Libraries that take long to import, as a comment names them."""


def name_of(path: Path) -> str:
    """The module in a file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES if path.relative_to(ROOT).parts[0] in ROOMS}


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Modules that an import loads; libraries by their top name."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        names = [name if name in MODULES else str(node.module) for name in names]
    return [name if name in MODULES else name.split(".")[0] for name in names]


def at_the_top(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, Function | ast.expr):  # an expression holds no import
            continue
        elif "TYPE_CHECKING" not in ast.unparse(getattr(child, "test", ast.Pass())):
            yield from at_the_top(child)


@cache
def needs(module: str) -> frozenset[str]:
    """What one module imports at its top."""
    return frozenset(name for node in at_the_top(tree_of(MODULES[module])) for name in imported(node))


@cache
def loads(module: str) -> frozenset[str]:
    """All that is imported with a module, its packages and itself included."""
    found, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            package = name.rpartition(".")[0]
            waiting += [package] if package else []
            waiting += needs(name) if name in MODULES else []
    return frozenset(found)


def breaches(limit: int, sizes: Iterator[tuple[str, int]]) -> list[str]:
    return [f"{name}: {size}" for name, size in sizes if size > limit]


def test_files_are_short() -> None:
    sizes = ((str(path.relative_to(ROOT)), len(path.read_text(encoding="utf-8").splitlines())) for path in FILES)
    assert breaches(MAX_LINES, sizes) == []


def test_functions_fit_on_a_screen() -> None:
    sizes = (
        (f"{path.relative_to(ROOT)} {node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for path in FILES
        for node in functions_of(path)
    )
    assert breaches(MAX_FUNCTION_LINES, sizes) == []


def test_parameter_lists_are_short() -> None:
    sizes = (
        (f"{path.relative_to(ROOT)} {node.name}", len([*of.posonlyargs, *of.args, *of.kwonlyargs]))
        for path in FILES
        for node in functions_of(path)
        for of in [node.args]
    )
    assert breaches(MAX_PARAMETERS, sizes) == []


@pytest.mark.parametrize("room", ROOMS)
def test_an_import_inside_a_function_keeps_out_the_heavy_library_that_it_names(room: str) -> None:
    wrong = []
    for module, path in MODULES.items():
        if module.split(".")[0] != room:
            continue
        lines, above = path.read_text(encoding="utf-8").splitlines(), set(at_the_top(tree_of(path)))
        for node in (node for function in functions_of(path) for node in ast.walk(function)):
            if not isinstance(node, ast.Import | ast.ImportFrom) or node in above:
                continue
            for name in imported(node):
                named = set(re.findall(r"\w+", lines[node.lineno - 1].partition("#")[2])) & HEAVY
                true = {one for one in named if {"SQLite": "sqlite3"}.get(one, one) in loads(name) - loads(module)}
                if name in MODULES and not true:
                    wrong.append(f"{module}, line {node.lineno}: {name}")
    assert wrong == []


def test_no_room_asks_what_kind_of_work_item_it_has() -> None:
    """Items say of themselves what a room needs, or a table has a record for each kind: a new item is then one room."""
    items = {"Item", "Work"} | {
        node.name
        for path in (ROOT / "sim" / "lower").rglob("*.py")
        for node in tree_of(path).body
        if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & {"Item", "SparseItem"}
    }
    assert {"Matmul", "SparseItem", "PackedMatmul", "Conv"} <= items
    requested = [
        f"{name_of(path)}, line {node.lineno}: {ast.unparse(node)}"
        for path in FILES
        if path.relative_to(ROOT).parts[0] in ROOMS and ROOT / "sim" / "mapping" not in path.parents
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass")
        if items & {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)}
    ]
    assert requested == []


ATTENTION = {"softmax", "top_k"}
"""Attention is a softmax between two products; a choice of its scores (top_k) is not part of it."""


def test_no_room_compares_the_kind_of_an_operator_with_a_name() -> None:
    """What holds of a kind is a field of its record (`sim.graph.kinds`), so a new kind can say it of itself."""
    found = [
        (name_of(path), frozenset(words & KINDS.keys()))
        for path in FILES
        if path.relative_to(ROOT).parts[0] in ROOMS and ROOT / "sim" / "graph" / "kinds" not in path.parents
        for node in nodes_of(path)
        if isinstance(node, ast.Compare)
        # `.kind` of a work item says how it normalises, that of a measured row what was measured
        if any(re.search(r"(?<!work)(?<!row)\.kind$", ast.unparse(side)) for side in (node.left, *node.comparators))
        for words in [{of.value for of in ast.walk(node) if isinstance(of, ast.Constant)}]
        if words & KINDS.keys()
    ]
    assert {word for _, words in found for word in words} == ATTENTION
    assert {module for module, _ in found} == {"sim.sparsity.structure"}


def test_every_field_of_a_core_record_says_what_it_holds() -> None:
    """A comment on its line: what, in which unit. Times end in `_t` and are cycles."""
    wrong, fields = [], 0
    for path in sorted((ROOT / "sim" / "core").rglob("*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in nodes_of(path):
            match node:
                case (
                    ast.Tuple(elts=[ast.Constant(value=str()), ast.Constant(value="i8"), *_])
                    | ast.Tuple(elts=[ast.Constant(value=str()), ast.Name() | ast.Attribute(), *_], ctx=ast.Load())
                ):
                    fields += 1
                    if "  # " not in lines[(node.end_lineno or 0) - 1][node.end_col_offset :]:
                        wrong.append(str(path.relative_to(ROOT)))
    assert fields > 700
    assert wrong == []


def test_no_circle_of_files() -> None:
    def reached(module: str) -> set[str]:
        found, waiting = set[str](), [module]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += needs(name) & MODULES.keys()
        return found

    circles = [f"{module} and {name}" for module in MODULES for name in needs(module) & MODULES.keys() - {module}]
    assert [pair for pair in circles if pair.split(" and ")[0] in reached(pair.split(" and ")[1])] == []
