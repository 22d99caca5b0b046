"""Several rules at once: SPEC.toml, one table per rule, the last that names an operator wins.

seed = 1

[[weights]]                 # or [[activations]]
operators = "*.FF?"         # glob over operators or weight tensors; default: all
pattern = "2:4"             # block16, N:M, unstructured; or mask = "masks.npz"
density = 0.5               # of block and unstructured patterns
scheme = "select"           # default: the machine's best
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sim.errors import InputError, did_you_mean
from sim.graph import Graph, Op
from sim.sparsity import attention, cascade, compress, dynamic, measured, outliers, precision
from sim.sparsity.dynamic import Chosen, Dynamic
from sim.sparsity.spec import Sparsity, parse

RULE_KEYS = ("operators", "pattern", "density", "mask", "scheme")
OPERANDS = ("weights", "activations")


@dataclass(frozen=True)
class Rules:
    """Rules in the order of the file. Same door as a single `Sparsity`."""

    rules: tuple[Sparsity, ...]
    attention: attention.Pattern | Dynamic | None = None
    compressions: tuple[compress.Compression, ...] = ()
    cascade: cascade.Cascade | None = None
    precisions: tuple[precision.Precision, ...] = ()

    def __str__(self) -> str:
        """All rules, in order."""
        edits = [repr(edit) for edit in (self.cascade, self.attention, *self.compressions) if edit is not None]
        return "; ".join([*(f"{rule.operand} {rule}" for rule in self.rules), *edits, *map(str, self.precisions)])

    def rule_for(self, op: Op, graph: Graph, operand: str = "weights") -> Sparsity | None:
        """Return the last rule for an operand of ``op``, or None."""
        found = [rule for rule in self.rules if rule.rule_for(op, graph, operand) is not None]
        return found[-1] if found else None

    def edit(self, graph: Graph) -> Graph:
        """Return the graph with what the rules change in it."""
        if self.cascade is not None:
            graph = cascade.edit(graph, self.cascade)
        for compression in self.compressions:
            if problems := compression.problems(graph):
                raise InputError(problems)
            graph = compress.edit(graph, compression)
        if isinstance(self.attention, Dynamic):
            graph = dynamic.edit(graph, self.attention)
        elif self.attention is not None:
            graph = attention.edit(graph, self.attention)
        return outliers.edit(graph, self) if any(rule.splits for rule in self.precisions) else graph

    def chosen(self, op: Op, graph: Graph) -> Chosen | None:
        """Return which scores of an attention are computed, where ``op`` makes or reads them; else None."""
        return dynamic.chosen(graph, op, self.attention) if isinstance(self.attention, Dynamic) else None

    def compression_for(self, op: Op, graph: Graph) -> compress.Compression | None:
        """Return the last compression of what ``op``'s weights are stored as, or None."""
        found = [one for one in self.compressions if not one.edits and one.applies_to(op, graph)]
        return found[-1] if found else None

    def precision_for(self, op: Op) -> precision.Precision | None:
        """Return the last rule for the word sizes of ``op``, or None."""
        found = [one for one in self.precisions if one.applies_to(op)]
        return found[-1] if found else None

    def check(self, graph: Graph, dim: int) -> None:
        """Raise InputError with all problems of all rules."""
        problems = [problem for rule in self.rules for problem in rule.problems(graph, dim)]
        problems += [problem for rule in self.precisions for problem in rule.problems(graph)]
        if problems:
            raise InputError(problems)


AnySparsity = Sparsity | Rules
"""What `sim.simulate` takes as sparsity: one rule or several."""


def read(path: Path, seed: int = 0) -> Rules:
    """Return the rules of a TOML file. Raises InputError with every problem found in it."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML: {error}") from error
    known = ("seed", *OPERANDS, "attention", "cascade", "compress", "precision")
    problems = [f"{path}: unknown key {key!r}{did_you_mean(key, known)}" for key in tables if key not in known]
    problems += [f"{path}: {problem}" for problem in _misplaced(tables)]
    rules: list[Sparsity] = []
    for operand in OPERANDS:
        for number, table in enumerate(tables.get(operand, []), 1):
            where = f"{path}: {operand} rule {number}"
            try:
                rules.append(_rule(table, operand, tables.get("seed", seed), path.parent))
            except InputError as error:
                problems += [f"{where}: {problem}" for problem in error.problems]
    pattern = falling = None
    try:
        if "attention" in tables:
            table = tables["attention"]
            read_table = dynamic.parse if str(table.get("pattern")) in attention.DYNAMIC else attention.parse
            pattern = dynamic.packed(read_table(table, tables.get("seed", seed), path.parent))
    except InputError as error:
        problems += [f"{path}: attention: {problem}" for problem in error.problems]
    try:
        falling = cascade.parse(tables["cascade"]) if "cascade" in tables else None
    except InputError as error:
        problems += [f"{path}: cascade: {problem}" for problem in error.problems]
    compressions = []
    for number, table in enumerate(tables.get("compress", []), 1):
        try:
            file = table.get("weights")
            weights = measured.read(path.parent / file) if isinstance(file, str) else None
            compressions.append(compress.parse(table, weights))
        except InputError as error:
            problems += [f"{path}: compress {number}: {problem}" for problem in error.problems]
    precisions = []
    for number, table in enumerate(tables.get("precision", []), 1):
        try:
            file = table.get("outlier_file")
            columns = outliers.load(path.parent / file) if isinstance(file, str) else None
            precisions.append(precision.parse(table, columns))
        except InputError as error:
            problems += [f"{path}: precision {number}: {problem}" for problem in error.problems]
    if not (rules or pattern or falling or compressions or precisions or problems):
        problems.append(f"{path}: holds no rule ({', '.join(known[1:])})")
    if problems:
        raise InputError(problems)
    return Rules(tuple(rules), pattern, tuple(compressions), falling, tuple(precisions))


def _misplaced(tables: dict[str, Any]) -> list[str]:
    """Take out what is no table where one belongs, or no list of tables; return what was wrong."""
    single = ("attention", "cascade")
    wrong = [key for key in single if not isinstance(tables.get(key, {}), dict)]
    found = [f"{key} must be one table, [{key}]" for key in wrong]
    for key in (*OPERANDS, "compress", "precision"):
        value = tables.get(key, [])
        if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
            wrong.append(key)
            found.append(f"{key} must be a list of tables, [[{key}]]")
    for key in wrong:
        del tables[key]
    return found


def _rule(table: dict[str, Any], operand: str, seed: int, folder: Path) -> Sparsity:
    problems = [f"unknown key {key!r}{did_you_mean(key, RULE_KEYS)}" for key in table if key not in RULE_KEYS]
    problems += [
        f"{key} is {table[key]!r}, must be text in quotes"
        for key in ("operators", "pattern", "mask", "scheme")
        if not isinstance(table.get(key, ""), str)
    ]
    if ("pattern" in table) == ("mask" in table):
        problems.append('give either pattern (e.g. "2:4") or mask (a file)')
    if problems:
        raise InputError(problems)
    names = table.get("operators", "*")
    if "mask" in table:
        from sim.sparsity.measured import load

        line = load(folder / table["mask"], scheme=table.get("scheme", "skip"), names=names)
        return replace(line, operand=operand)
    density = f":{table['density']!r}" if "density" in table else ""
    scheme = f"/{table['scheme']}" if "scheme" in table else ""
    rule = parse(f"{table['pattern']}{density}{scheme}@{names}", seed)
    if not isinstance(rule, Sparsity):
        raise InputError(f"pattern {table['pattern']!r}: a rule takes no further file of rules")
    return replace(rule, operand=operand)
