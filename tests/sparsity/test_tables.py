"""Tables of a SPEC.toml: every key of every table is checked, and the nearest value that an error names is taken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo

from sim.base.errors import InputError
from sim.sparsity.spec_file import SINGLE, TABLES, read
from sim.sparsity.table import _plain, nearest, rule

VALID: dict[str, dict[str, Any]] = {
    "weights": {"pattern": "block16", "density": 0.5},
    "activations": {"pattern": "unstructured", "density": 0.5},
    "prune": {"heads": 1},
    "attention": {"pattern": "window", "window": 4},
    "cascade": {"tokens": 0.5},
    "compress": {"kind": "narrow", "bits": 4},
    "precision": {"weights": "int4"},
}
KEYS = [(table, key) for table, kind in TABLES.items() for key in kind.model_fields]


def written(table: str, values: dict[str, Any]) -> str:
    def text(value: object) -> str:
        return str(value).lower() if isinstance(value, bool) else repr(value)

    head = f"[{table}]" if table in SINGLE else f"[[{table}]]"
    return "\n".join([head, *(f"{key} = {text(value)}" for key, value in values.items())])


def problems(folder: Path, table: str, values: dict[str, Any]) -> list[str]:
    (folder / "spec.toml").write_text(written(table, values))
    try:
        read(folder / "spec.toml")
    except InputError as error:
        return list(error.problems)
    return []


def wrong_values(field: FieldInfo) -> Iterator[object]:
    annotation, _ = _plain(field)
    yield "no such thing" if annotation is not str else 5
    if annotation in (int, float):
        yield from (True, -1, -0.5)
    if annotation is bool or get_origin(annotation) is Literal:
        yield 3


def test_every_table_has_a_valid_example(tmp_path: Path) -> None:
    assert VALID.keys() == TABLES.keys()
    for table, values in VALID.items():
        assert problems(tmp_path, table, values) == []


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_a_wrong_value_names_the_key_and_its_rule(tmp_path: Path, table: str, key: str) -> None:
    field = TABLES[table].model_fields[key]
    for value in wrong_values(field):
        found = problems(tmp_path, table, {**VALID[table], key: value})
        named = [line for line in found if re.search(rf"\b{key}\b", line)]
        assert named, (value, found)
        says = get_args(_plain(field)[0])[0] if get_origin(_plain(field)[0]) is Literal else rule(field)
        assert any(str(says) in line for line in named), (says, named)


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_the_nearest_value_is_taken(tmp_path: Path, table: str, key: str) -> None:
    # Law: a hint, applied, is accepted: the key is no longer named.
    field = TABLES[table].model_fields[key]
    for value in (-7, 0, 10**6, -0.5, 7.5):
        near = nearest(field, value)
        if near is not None:
            found = problems(tmp_path, table, {**VALID[table], key: near})
            assert not any(f"{key} is " in line for line in found), (value, near, found)


@pytest.mark.parametrize("table", TABLES)
def test_an_unknown_key_is_refused_with_the_nearest_name(tmp_path: Path, table: str) -> None:
    key = next(iter(VALID[table]))
    (found,) = problems(tmp_path, table, {**VALID[table], f"{key}s": 3})
    where = table if table in SINGLE else f"{table} 1"
    assert f"{where}: unknown" in found and f"{key}s" in found and f"did you mean {key!r}" in found


@pytest.mark.parametrize("table", TABLES)
def test_one_table_or_several(tmp_path: Path, table: str) -> None:
    head = f"[[{table}]]" if table in SINGLE else f"[{table}]"
    (tmp_path / "spec.toml").write_text(f"{head}\nx = 1\n")
    with pytest.raises(InputError, match=rf"{table} must be (one table|a list of tables)"):
        read(tmp_path / "spec.toml")
