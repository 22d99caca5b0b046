"""Tables of a SPEC.toml as pydantic models: every key has a type and a range, errors name the rule and a legal value.

A scheme's own file declares its table (`sim.sparsity.edits`, `sim.sparsity.masks`, `sim.sparsity.precision`); `read`
validates an entry of the file and reports all problems together.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo

from sim.base.errors import InputError, did_you_mean
from sim.base.table import Table

Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Density = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""Share of values that are not zero."""
Error = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]

TYPES: dict[object, str] = {int: "a whole number", float: "a number", str: "text in quotes", bool: "true or false"}


class SchemeTable(Table):
    """A table of a SPEC.toml."""

    def problems(self, given: frozenset[str]) -> list[str]:
        """Return the broken rules that involve several keys. ``given``: all keys of the table, valid or not."""
        del given
        return []


AnyTable = TypeVar("AnyTable", bound=SchemeTable)


def read(kind: type[AnyTable], table: Mapping[str, Any]) -> AnyTable:
    """Return a table of a kind. Raises InputError with every problem: unknown keys, types, ranges, joint rules."""
    problems: list[str] = []
    wrong: set[str] = set()
    try:
        found = kind.model_validate(dict(table))
    except ValidationError as error:
        for item in error.errors():
            key = str(item["loc"][0]) if item["loc"] else ""
            if key not in wrong:
                problems.append(_problem(kind, key, table, item["type"]))
            wrong.add(key)
        found = kind.model_construct(**{key: value for key, value in table.items() if key not in wrong})
    problems += found.problems(frozenset(table))
    if problems:
        raise InputError(problems)
    return found


def rule(field: FieldInfo) -> str:
    """Return the legal values of a field as text: "a whole number >= 1", "a number above 0 and at most 1"."""
    annotation, bounds = _plain(field)
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(str(choice) for choice in get_args(annotation))}"
    words = []
    for bound in bounds:
        words += [f">= {bound.ge:g}"] if isinstance(bound, Ge) else []
        words += [f"above {bound.gt:g}"] if isinstance(bound, Gt) else []
        words += [f"at most {bound.le:g}"] if isinstance(bound, Le) else []
        words += [f"below {bound.lt:g}"] if isinstance(bound, Lt) else []
    return f"{TYPES[annotation]} {' and '.join(words)}".strip()


def nearest(field: FieldInfo, value: object) -> float | None:
    """Return the nearest legal value of the field to ``value``, None unless it is a number."""
    annotation, bounds = _plain(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or annotation not in (int, float):
        return None
    if not isfinite(value):
        return None
    near: Any = round(value) if annotation is int else value
    for bound in bounds:
        if isinstance(bound, Ge):
            near = max(near, bound.ge)
        elif isinstance(bound, Le):
            near = min(near, bound.le)
        elif isinstance(bound, Gt) and near <= bound.gt:
            near = 0.01
        elif isinstance(bound, Lt) and near >= bound.lt:
            near = 0.99
    return float(near) if annotation is float else int(near)


def _plain(field: FieldInfo) -> tuple[object, list[Any]]:
    """Return a field's type without "or None", and its bounds."""
    annotation, bounds = field.annotation, list(field.metadata)
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(one for one in get_args(annotation) if one is not type(None))
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        for one in more:
            bounds += one.metadata if isinstance(one, FieldInfo) else [one]
    return annotation, bounds


def _problem(kind: type[SchemeTable], key: str, table: Mapping[str, Any], error: str) -> str:
    field = kind.model_fields.get(key)
    if error == "missing":
        assert field is not None
        annotation, _ = _plain(field)
        hint = did_you_mean("", get_args(annotation)) if get_origin(annotation) is Literal else ""
        return f"no {key}{hint}"
    if field is None:
        if kind.model_config.get("extra") == "allow":
            return f"{key} is {table[key]!r}, must be a whole number >= 1"
        return f"unknown key {key!r}{did_you_mean(key, kind.model_fields)}"
    value = table[key]
    annotation, _ = _plain(field)
    if get_origin(annotation) is Literal:
        choices = [str(choice) for choice in get_args(annotation)]
        return f"{key} {str(value)!r} is none of {', '.join(choices)}{did_you_mean(str(value), choices)}"
    near = nearest(field, value)
    return f"{key} is {value!r}, must be {rule(field)}" + (f" (nearest: {near:g})" if near is not None else "")
