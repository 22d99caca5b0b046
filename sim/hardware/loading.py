"""From a preset's name, a TOML file or a mapping to a `Hardware`: bases, overrides, all problems together."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sim.base.errors import InputError, demand, did_you_mean, given_twice
from sim.base.numbers import exact
from sim.base.text import name_problem
from sim.base.toml import flat
from sim.hardware import legality, units
from sim.hardware.dram.legality import dram_problems
from sim.hardware.explain import literal, removed, schema_bounds, schema_problems
from sim.hardware.files import config_files, read_tables
from sim.hardware.machine import NEW_RTL, Hardware
from sim.hardware.tables import NAMED, SYNONYMS, merge

Source = str | Path | Mapping[str, object] | Hardware

DEFAULT = "gemmini_default"


def presets() -> list[str]:
    """Return the names of the Gemmini machines that ship with Carat, sorted."""
    return list(config_files())


def published() -> list[str]:
    """Return the names of the published sparse machines that ship with Carat (approximations), sorted."""
    return list(config_files("published"))


def load(source: Source, overrides: Mapping[str, object] | None = None) -> Hardware:
    """Return the machine of a name, written in a TOML file, a saved run's hardware.json or a SCALE-Sim cfg,
    or given as tables.

    ``overrides``: dotted keys, e.g. ``{"scratchpad.capacity": "512KiB", "memory.latency_cycles": 100}``.
    Raises InputError with every problem found: unknown preset or key, wrong unit, broken rule, bad TOML.
    """
    demand(
        "machine", source, (Hardware, str, Path, Mapping), 'a name, a file, tables or a Hardware, e.g. "gemmini_ibert"'
    )
    if isinstance(source, Hardware):
        return source.with_(overrides) if overrides else source
    where = "hardware" if isinstance(source, Mapping) else str(source)
    description = _resolve(source, chain=())
    if not isinstance(source, Mapping):
        description.setdefault("name", where.rsplit("/", 1)[-1].removesuffix(".toml").removesuffix(".cfg"))
    return build(description, overrides or {}, where=where)


def build(description: Mapping[str, Any], overrides: Mapping[str, object], where: str) -> Hardware:
    """Return the machine of a complete description with dotted overrides applied; see `load`."""
    demand("overrides", overrides, Mapping, 'a mapping, e.g. {"memory.latency_cycles": 100}')
    tables: dict[str, dict[str, None]] = {}
    for dotted in overrides:
        demand("overrides", dotted, str, 'the text of a key, e.g. "memory.latency_cycles"')
        table, _, key = dotted.rpartition(".")
        tables.setdefault(f"{table}." if table else "", {})[key] = None
    if twice := [problem for table, keys in tables.items() for problem in _named_twice(keys, table)]:
        raise InputError([f"{where}: {problem}" for problem in twice])
    merged = merge({}, description)
    for dotted in sorted(overrides, key=lambda dotted: dotted.count(".")):  # whole tables before their keys
        _place(merged, dotted, overrides[dotted])
    merged = merge({}, merged)  # names inside a whole table become tables, too
    if unsafe := [f"{where}: {problem}" for problem in _unprintable(merged)]:
        raise InputError(unsafe)
    hardware, errors = _validate(merged)
    if hardware is None or _legality(hardware):
        nearest = _way_out(merged)
        problems: list[str] = []
        bad: set[str] = set()
        if errors is not None:
            problems, bad = schema_problems(errors, Hardware, where, nearest)
            # Check the rest, so that every broken rule is reported: doubtful values are taken from the default machine,
            # and rules that involve them are not reported.
            hardware, _ = _validate(merge(_resolve(DEFAULT, chain=()), removed(merged, bad)))
        problems += [] if hardware is None else [f"{where}: {one}" for one in _legality(hardware, bad, nearest)]
        problems += [f"{where}: {one}" for one in _further_changes(problems, nearest)]
        raise InputError(problems)
    hardware._description, hardware._build = merged, build
    return hardware


def _legality(hw: Hardware, bad: Collection[str] = (), nearest: Mapping[str, object] | None = None) -> list[str]:
    """Return a sentence per broken rule that involves no key of ``bad``."""
    problems = legality.problems(hw, bad, nearest)
    if hw.memory.dram != "none" and not any(key.startswith("memory") for key in bad):
        problems += [f"memory.dram.{problem}" for problem in dram_problems(hw.memory.dram)]
    return problems


MAX_ROUNDS = 8
"""Rounds of changes after which no legal machine is assumed nearby; at most three were needed."""


def _way_out(description: Mapping[str, Any]) -> dict[str, object]:
    """Return changes to a legal machine, by dotted key: those suggested by broken rules, until none is broken.

    Empty if that does not converge. Keys without a nearest value are taken from the default machine.
    """
    changed: dict[str, object] = {}
    for _ in range(MAX_ROUNDS):
        tables = merge({}, description)
        for dotted, value in changed.items():
            _place(tables, dotted, value)
        hardware, errors = _validate(tables)
        more: dict[str, object] = {}
        if errors is not None:
            more = schema_bounds(errors, Hardware)
            bad = schema_problems(errors, Hardware, "")[1]
            hardware, _ = _validate(merge(_resolve(DEFAULT, chain=()), removed(tables, bad)))
        else:
            bad = set()
        for _, found in legality.broken(hardware, bad - set(more)) if hardware is not None else ():
            more |= {key: value for key, value in found.changes.items() if key not in more}
        if not more:
            return changed
        if more.items() <= changed.items():
            return {}
        changed |= more
    return {}


def _further_changes(problems: Iterable[str], nearest: Mapping[str, object]) -> list[str]:
    """Return a sentence on further keys that the suggestion changes, so that it can be followed completely."""
    named = {key for key in nearest if any(f": {key} = " in problem for problem in problems)}
    others = [f"{key} = {literal(value)}" for key, value in nearest.items() if key not in named]
    return [f"with the values named above: {', '.join(others)}"] if others else []


def parse_settings(settings: Iterable[str]) -> dict[str, object]:
    """Return overrides from strings ``key=value``; values are read as TOML, else as plain text."""
    settings = list(dict.fromkeys(settings))  # the same twice contradicts nothing
    overrides: dict[str, object] = {}
    problems = given_twice(f"--set {key.strip()}" for key, _, _ in (text.partition("=") for text in settings))
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals or not key.strip() or not value.strip():
            problems.append(f"--set {text!r}: expected key=value, e.g. scratchpad.capacity=512KiB")
            continue
        try:
            overrides[key.strip()] = tomllib.loads(f"value = {value}", parse_float=exact)["value"]
        except InputError as error:
            problems.append(f"--set {key.strip()}: {error}")
        except tomllib.TOMLDecodeError:
            overrides[key.strip()] = value.strip()
    if problems:
        raise InputError(problems)
    return overrides


@cache
def _shipped(name: str) -> Mapping[str, Any]:
    """Return the description of a machine that ships with Carat (read-only; its files are read once)."""
    return _described(name, ())


def _resolve(source: str | Path | Mapping[str, object], chain: tuple[str, ...]) -> dict[str, Any]:
    """Return the description merged over its bases; ``chain``: the files so far, to detect cycles."""
    if isinstance(source, str) and not _is_path(source) and source in _files():
        return merge({}, _shipped(source))
    return _described(source, chain)


def _described(source: str | Path | Mapping[str, object], chain: tuple[str, ...]) -> dict[str, Any]:
    folder = Path()
    if isinstance(source, Mapping):
        own, label = dict(source), "hardware"
    else:
        file, label = _find(source)
        if label in chain:
            raise InputError(f"base: cyclic inheritance: {' -> '.join((*chain, label))}")
        own = read_tables(file, label)
        folder = Path(label).parent
    if problems := [f"{label}: {twice}" for twice in _named_twice(own)]:
        raise InputError(problems)
    table = own.get("energy_table")
    if isinstance(table, str) and table.endswith(".toml") and (folder / table).is_file():
        own["energy_table"] = str((folder / table).resolve())  # relative to the file that names it, like a base
    base = own.pop("base", None)
    if base is None:
        return merge({}, own)
    if not isinstance(base, str | Path):
        raise InputError(f"{label}: base = {base!r}: expected the name of a preset or a TOML file")
    beside = folder / base
    parent = _resolve(beside if _is_path(base) and beside.exists() else base, (*chain, label))
    return merge(parent, own)


def _unprintable(tables: Mapping[str, Any]) -> Iterator[str]:
    """Yield a problem for each key or text that cannot be printed as it is, and for a name that is none."""
    for key, value in flat(tables).items():
        texts = [key, *(value if isinstance(value, list) else [value])]
        if any(isinstance(text, str) and not text.isprintable() for text in texts):
            yield f"{key} = {value!r:.60}: must consist of printable characters"
    if "name" in tables and isinstance(tables["name"], str) and (wrong := name_problem(tables["name"])):
        yield f"name {wrong}"


def _named_twice(tables: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """Yield a sentence for each value given under both of its names, of which the last would silently win."""
    for other, name in SYNONYMS.items():
        if other in tables and name in tables:
            yield f"{prefix}{name} and {prefix}{other} are two names of one value; give one of them"
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from _named_twice(value, f"{prefix}{key}.")


def _is_path(source: str | Path) -> bool:
    return isinstance(source, Path) or source.endswith((".toml", ".json", ".cfg")) or "/" in source


@cache
def _files() -> Mapping[str, Path]:
    """Return name -> file of every machine that ships with Carat."""
    return {**config_files("published"), **config_files()}


def _find(source: str | Path) -> tuple[Path, str]:
    files = _files()
    if _is_path(source):
        path = Path(source).resolve()  # one spelling per file, to detect cycles of bases
        if not path.is_file():
            known = f"; the shipped machine is named {path.stem}" if path.stem in files else ""
            raise InputError(f"{source}: no such machine file{known}")
        return path, str(path)
    if str(source) not in files:
        raise InputError(f"unknown hardware preset {str(source)!r}{did_you_mean(str(source), files)}")
    return files[str(source)], str(source)


def _place(tables: dict[str, Any], dotted: str, value: object) -> None:
    *path, last = dotted.split(".")
    for part in path:
        below = tables.get(part)
        if not isinstance(below, dict):
            below = tables[part] = {}
        tables = below
    last = SYNONYMS.get(last, last)
    if last in NAMED and isinstance(value, str) and value != "none":
        tables[last] = NAMED[last](value)
        return
    below = tables.get(last)
    tables[last] = merge(below, value) if isinstance(value, Mapping) and isinstance(below, dict) else value


def _validate(description: Mapping[str, Any]) -> tuple[Hardware | None, ValidationError | None]:
    tables = merge({"name": "unnamed", "description": "", "waived_rules": []}, description)
    new = tables.get("rtl") == NEW_RTL
    scratchpad, station = tables.get("scratchpad"), tables.get("reservation_station")
    if isinstance(scratchpad, dict) and "read_delay_cycles" in scratchpad:
        # Addendum D1: the read delay is a pipeline at 25809f78 and only sizes queues at 8c3f992.
        scratchpad.setdefault("read_pipeline_cycles", 1 if new else scratchpad["read_delay_cycles"])
    if isinstance(station, dict):
        station.setdefault("serialise_stores", new)  # Addendum D3
    try:
        clock_mhz = units.frequency_mhz(tables.get("clock_mhz", 1000.0))
        context = {"clock_mhz": clock_mhz if isinstance(clock_mhz, int | float) and clock_mhz > 0 else 1000.0}
    except ValueError:
        context = {"clock_mhz": 1000.0}  # the clock itself is reported by its own field
    try:
        return Hardware.model_validate(tables, context=context), None
    except ValidationError as error:
        return None, error
