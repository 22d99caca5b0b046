"""SPEC.toml: several rules, one table each; the last match of an operator wins.

    seed = 1

    [[weights]]                 # or [[activations]]
    operators = "*.FF?"         # glob over operators or weight tensors; default: all
    pattern = "2:4"             # block16, N:M, unstructured; or mask = "masks.npz"
    density = 0.5               # of block and unstructured patterns
    scheme = "select"           # default: the machine's best

Further tables: [[prune]], [attention], [cascade], [[compress]] (`sim.sparsity.edits`), [[precision]].
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from sim.base.errors import InputError, did_you_mean
from sim.base.reading import read_toml
from sim.sparsity import precision
from sim.sparsity.edits import attention, cascade, compress, dynamic, outliers, pruning
from sim.sparsity.grammar import FILES, default_scheme, scheme_problems, zero_rule
from sim.sparsity.masks import measured
from sim.sparsity.masks.zeros import Operand, ZeroRule
from sim.sparsity.rules import Rules
from sim.sparsity.table import Density, SchemeTable
from sim.sparsity.table import read as read_table

SINGLE = ("attention", "cascade")
"""Tables that a file can have once; all others can be repeated."""


class ZerosTable(SchemeTable):
    """[[weights]] or [[activations]] of a SPEC.toml."""

    operators: str = "*"
    pattern: str | None = None
    density: Density | None = None
    mask: str | None = None
    scheme: Literal[
        "skip", "scheduler", "select", "pack", "gate", "compress", "bitmap", "rle", "csr", "csc"
    ] | None = None  # fmt: skip

    def problems(self, given: frozenset[str]) -> list[str]:
        """Return the problems: a pattern or a mask is needed, and a density unless the pattern fixes it."""
        pattern, found = self.pattern or "", list[str]()
        if ("pattern" in given) == ("mask" in given):
            found.append('give either pattern (e.g. "2:4") or mask (a file)')
        elif {"density", "mask"} <= given:
            found.append("a mask fixes the density; leave out density")
        elif "density" not in given and re.fullmatch(r"block\d*|unstructured", pattern):
            found.append(f"{pattern} needs density (share of non-zero values), e.g. density = 0.5")
        elif "=" in pattern or "@" in pattern or "/" in pattern:
            found.append(f"pattern {pattern!r}: give the pattern only; operand, scheme and operators are separate keys")
        elif FILES.fullmatch(pattern) or pattern.endswith(".toml"):
            found.append(
                f"pattern {pattern!r} is a file: use the key mask for masks, and write further rules into this file"
            )
        elif precision.SHORT.fullmatch(pattern):
            found.append(f"pattern {pattern!r}: use a table [[precision]] for word sizes")
        return found + (scheme_problems(self.scheme or "", "measured") if "mask" in given else [])


TABLES: dict[str, type[SchemeTable]] = {
    "weights": ZerosTable,
    "activations": ZerosTable,
    "prune": pruning.PruneTable,
    "attention": attention.AttentionTable,
    "cascade": cascade.CascadeTable,
    "compress": compress.CompressTable,
    "precision": precision.PrecisionTable,
}
"""Name of a table -> its keys."""


def read(path: Path, seed: int = 0) -> Rules:
    """Return the rules of a TOML file. Raises InputError with every problem found in it."""
    tables, folder = read_toml(path), path.parent
    seed, problems = tables.pop("seed", seed), []
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        problems.append(f"{path}: seed is {seed!r}, must be a whole number >= 0 (nearest: 0)")
        seed = 0
    makers: dict[str, Callable[[dict[str, Any]], Any]] = {
        "weights": lambda table: _zeros(table, "weights", seed, folder),
        "activations": lambda table: _zeros(table, "activations", seed, folder),
        "prune": lambda table: pruning.from_table(table, folder),
        "attention": lambda table: dynamic.rule(table, seed, folder),
        "cascade": lambda table: cascade.from_table(read_table(cascade.CascadeTable, table)),
        "compress": lambda table: compress.from_table(read_table(compress.CompressTable, table), folder),
        "precision": lambda table: _precision(table, folder),
    }
    known = ("seed", *makers)
    problems += [f"{path}: unknown key {key!r}{did_you_mean(key, known)}" for key in tables if key not in makers]
    found: dict[str, list[Any]] = {key: [] for key in makers}
    for key, make in makers.items():
        given = _tables(tables, key)
        if given is None:
            many = f"one table, [{key}]" if key in SINGLE else f"a list of tables, [[{key}]]"
            problems.append(f"{path}: {key} must be {many}")
        for number, table in enumerate(given or [], 1):
            where = f"{path}: {key}" if key in SINGLE else f"{path}: {key} {number}"
            try:
                found[key].append(make(table))
            except InputError as error:
                problems += [f"{where}: {problem}" for problem in error.problems]
    try:
        pruning.together(found["prune"])
    except InputError as error:
        problems += [f"{path}: {problem}" for problem in error.problems]
    if not any(found.values()) and not problems:
        problems.append(f"{path}: holds no rule ({', '.join(makers)})")
    if problems:
        raise InputError(problems)
    return Rules(
        (*found["weights"], *found["activations"]),
        attention=next(iter(found["attention"]), None),
        compressions=tuple(found["compress"]),
        cascade=next(iter(found["cascade"]), None),
        precisions=tuple(found["precision"]),
        prunings=tuple(found["prune"]),
    )


def _tables(tables: dict[str, Any], key: str) -> list[dict[str, Any]] | None:
    """Return the tables of a key, empty if missing; None if its value is something else."""
    given = tables.get(key, [])
    value = [given] if key in SINGLE and key in tables else given
    return value if isinstance(value, list) and all(isinstance(table, dict) for table in value) else None


def _precision(table: dict[str, Any], folder: Path) -> precision.Precision:
    found = read_table(precision.PrecisionTable, table)
    columns = outliers.load(folder / found.outlier_file) if found.outlier_file is not None else {}
    return precision.from_table(found, columns)


def _zeros(table: dict[str, Any], operand: Operand, seed: int, folder: Path) -> ZeroRule:
    found = read_table(ZerosTable, table)
    if found.mask is not None:
        scheme = found.scheme or default_scheme(operand)
        return replace(measured.load(folder / found.mask, scheme=scheme, names=found.operators), operand=operand)
    density = f":{found.density!r}" if found.density is not None else ""
    return replace(zero_rule(f"{found.pattern}{density}", found.scheme or "", found.operators, seed), operand=operand)
