"""Messages of schema errors: place, value given, rule, and the closest key or value."""

from __future__ import annotations

import json
import re
import reprlib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from sim.base.errors import closest, did_you_mean

_EXPECTED = {
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "string_type": "must be a text",
    "model_type": "must be a table",
    "finite_number": "must be finite",
    "string_too_short": "must not be empty",
    "tuple_type": "must be a list",
}
_ALIASES = {"capacity_bytes": "capacity"}
MAX_SUGGESTIONS = 3
"""Number of keys that the error of an unknown one suggests."""
_MISSING = 'state it, or inherit it with base = "NAME"'
_WITHOUT_VALUE = ("extra_forbidden", "missing", "value_error")


def schema_bounds(error: ValidationError, model: type[BaseModel]) -> dict[str, object]:
    """Return the nearest legal value of each key out of range, and the closest word for an unknown one."""
    found: dict[str, object] = {}
    for item in error.errors():
        word = closest(item["input"], _choices(item)) if isinstance(item["input"], str) else None
        if word is not None:  # for a list, the list of that word
            in_list = isinstance(item["loc"][-1], int)
            found[".".join(_locate(model, item["loc"])[0])] = [word] if in_list else word
        bound = next((item.get("ctx", {}).get(name) for name in ("ge", "le") if name in item.get("ctx", {})), None)
        if bound is not None:
            found[".".join(_locate(model, item["loc"])[0])] = int(bound) if float(bound).is_integer() else bound
    return found


def schema_problems(
    error: ValidationError, model: type[BaseModel], where: str, nearest: Mapping[str, object] | None = None
) -> tuple[list[str], set[str]]:
    """Return one sentence per faulty key, and the dotted keys concerned.

    ``nearest``: dotted key -> value of a legal machine near the given one, if known; else the bound that was exceeded.
    """
    bounds = schema_bounds(error, model) if nearest is None else nearest
    demands: dict[str, list[str]] = {}
    values: dict[str, str] = {}
    for item in error.errors():
        path, table = _locate(model, item["loc"])
        key = ".".join(path)
        demands.setdefault(key, []).append(_demand(item, path, table, bounds.get(key)))
        if item["type"] not in _WITHOUT_VALUE:
            values[key] = f" = {reprlib.repr(item['input'])}"
    # A faulty table of a union ("host") is also reported as not matching the other branch; the errors of its keys are
    # more specific.
    keys = [key for key in demands if not any(other.startswith(f"{key}.") for other in demands)]
    missing = [key for key in keys if demands[key] == [_MISSING]]
    sentences = []
    for key in keys:
        if key not in missing:
            requested = ", or ".join(demands[key])
            near = hint(key, {key: bounds[key]}) if key in bounds and "did you mean" not in requested else ""
            sentences.append(f"{where}: {key}{values.get(key, '')}: {requested}{near}")
    if missing:
        sentences.append(f"{where}: missing: {', '.join(missing)} ({_MISSING})")
    return sentences, set(keys)


def removed(tables: Mapping[str, Any], dotted_keys: set[str], prefix: str = "") -> dict[str, Any]:
    """Return nested tables without the given dotted keys."""
    return {
        key: removed(value, dotted_keys, f"{prefix}{key}.") if isinstance(value, Mapping) else value
        for key, value in tables.items()
        if f"{prefix}{key}" not in dotted_keys
    }


def _choices(item: Mapping[str, Any]) -> list[str]:
    """Return the legal words of a key, for the error of a wrong one."""
    if item["type"] != "literal_error":
        return []
    return sorted(choice.strip(" '") for choice in item["ctx"]["expected"].replace(" or ", ",").split(","))


def _unknown(path: Sequence[str], table: type[BaseModel] | None) -> str:
    """Return what is said of a key that a table has not, with the whole key that is meant: --set takes no other."""
    *above, key = path
    known = [_ALIASES.get(name, name) for name in table.model_fields] if table else []
    meant = closest(key, known)
    if meant is not None:
        return f"unknown key (did you mean {'.'.join([*above, meant])!r}?)"
    if inside := list(_inside(table, key)) if table else []:
        return f"unknown key (did you mean {' or '.join(map(repr, inside[:MAX_SUGGESTIONS]))}?)"
    return "unknown key" + (did_you_mean(key, known) if known else "")


def _demand(item: Mapping[str, Any], path: Sequence[str], table: type[BaseModel] | None, meant: object = None) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(path, table)
    if kind == "missing":
        return _MISSING
    if kind == "literal_error":
        known, given = _choices(item), item["input"]
        if near := [word for word in (meant if isinstance(meant, list) else [meant]) if word in known]:
            return f"not a known value (did you mean {near[0]!r}?)"
        if meant is not None:
            return "not a known value"
        return "not a known value" + did_you_mean(given if isinstance(given, str) else "", known)
    if kind == "greater_than":
        return f"must be greater than {context['gt']:g}"
    if kind == "greater_than_equal":
        return f"must be at least {_plain(context['ge'])}"
    if kind == "less_than_equal":
        return f"must be at most {_plain(context['le'])}"
    if kind == "value_error":
        return str(context["error"])
    return _EXPECTED.get(kind) or str(item["msg"])


def _plain(number: float) -> str:
    """Return a limit in the form of a file: integers with all digits."""
    return str(int(number)) if float(number).is_integer() else f"{number:g}"


def _inside(table: type[BaseModel], key: str) -> Iterator[str]:
    """Yield the keys of subtables with this name or prefix: array.mesh_rows for mesh_rows, mesh."""
    for name, field in table.model_fields.items():
        for known in below.model_fields if (below := _table_of(field.annotation)) else ():
            shown = _ALIASES.get(known, known)
            if key in (known, shown) or shown.startswith(f"{key}_"):
                yield f"{name}.{shown}"


def _locate(model: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[list[str], type[BaseModel] | None]:
    """Return an error's keys without union tags, and the table of the last key if its keys are fixed."""
    path: list[str] = []
    table = model
    below: type[BaseModel] | None = model
    free = False  # inside a table with free keys
    for part in loc:
        if below is None:
            if free and re.fullmatch(r"[a-z0-9_]+", str(part)):  # not the tag of a branch, e.g. "Linear"
                path.append(str(part))
            continue
        if path and part == below.__name__:
            continue
        if path and str(part).startswith("literal["):
            continue
        table = below
        path.append(_ALIASES.get(str(part), str(part)))
        field = table.model_fields.get("capacity_bytes" if part == "capacity" else str(part))
        below = _table_of(field.annotation) if field else None
        free = field is not None and typing.get_origin(field.annotation) is dict
    return path, None if free else table


def _table_of(annotation: object) -> type[BaseModel] | None:
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    members = typing.get_args(annotation) if union else (annotation,)
    return next((one for one in members if isinstance(one, type) and issubclass(one, BaseModel)), None)


def literal(value: object) -> str:
    """Return a value in the form of a machine file and --set; text without quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def hint(key: str, changes: Mapping[str, object]) -> str:
    """Return "; nearest legal value: V" of a key, with other keys that must change; "" without one."""
    if key not in changes:
        return ""
    others = ", ".join(f"{other} = {literal(value)}" for other, value in changes.items() if other != key)
    return f"; nearest legal value: {literal(changes[key])}{f' with {others}' if others else ''}"
