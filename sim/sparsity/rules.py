"""Several rules at once: SPEC.toml, one table per rule, the last that names an operator wins.

seed = 1

[[weights]]                 # or [[activations]]
operators = "*.FF?"         # glob over operators or weight tensors; default: all
pattern = "2:4"             # block16, N:M, unstructured; or mask = "masks.npz"
density = 0.5               # of block and unstructured patterns
scheme = "select"           # default: the machine's best

Further tables: [[prune]] (`pruning`), [attention], [cascade], [[compress]], [[precision]].
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sim.base.errors import InputError, did_you_mean
from sim.base.reading import read_toml
from sim.graph import Graph, Op
from sim.sparsity import attention, cascade, compress, dynamic, measured, outliers, precision, pruning
from sim.sparsity.dynamic import Chosen, Dynamic
from sim.sparsity.spec import FILES, Sparsity, default_scheme, parse, scheme_problems

RULE_KEYS = ("operators", "pattern", "density", "mask", "scheme")


@dataclass(frozen=True)
class Rules:
    """Rules in the order of the file. Same door as a single `Sparsity`."""

    rules: tuple[Sparsity, ...]
    attention: attention.Pattern | Dynamic | None = None
    compressions: tuple[compress.Compression, ...] = ()
    cascade: cascade.Cascade | None = None
    precisions: tuple[precision.Precision, ...] = ()
    prunings: tuple[pruning.Pruning, ...] = ()

    def __str__(self) -> str:
        """All rules, in order."""
        edits = [repr(edit) for edit in (self.cascade, self.attention, *self.compressions) if edit is not None]
        cuts = [f"prune {cut}" for cut in self.prunings]
        return "; ".join([*cuts, *map(str, self.rules), *edits, *map(str, self.precisions)])

    @property
    def only_prunes(self) -> bool:
        """Whether what is left after pruning is dense and plain."""
        return self == Rules((), prunings=self.prunings)

    def rule_for(self, op: Op, graph: Graph, operand: str = "weights") -> Sparsity | None:
        """Return the last rule for an operand of ``op``, or None."""
        found = [rule for rule in self.rules if rule.rule_for(op, graph, operand) is not None]
        return found[-1] if found else None

    def edit(self, graph: Graph) -> Graph:
        """Return the graph, pruned already, with what else the rules change in it."""
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


SINGLE = ("attention", "cascade")
"""Tables that a file has once; of all others any number."""


def read(path: Path, seed: int = 0) -> Rules:
    """Return the rules of a TOML file. Raises InputError with every problem found in it."""
    tables, folder = read_toml(path), path.parent
    seed, problems = tables.pop("seed", seed), []
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        problems.append(f"{path}: seed is {seed!r}, must be a whole number >= 0")
        seed = 0
    readers: dict[str, Callable[[dict[str, Any]], Any]] = {
        "weights": lambda table: _rule(table, "weights", seed, folder),
        "activations": lambda table: _rule(table, "activations", seed, folder),
        "prune": lambda table: pruning.parse_table(table, folder),
        "attention": lambda table: _attention(table, seed, folder),
        "cascade": cascade.parse,
        "compress": lambda table: compress.parse(table, _beside(table, "weights", folder, measured.read)),
        "precision": lambda table: precision.parse(table, _beside(table, "outlier_file", folder, outliers.load)),
    }
    problems += [
        f"{path}: unknown key {key!r}{did_you_mean(key, ('seed', *readers))}" for key in tables if key not in readers
    ]
    found: dict[str, list[Any]] = {key: [] for key in readers}
    for key, read_table in readers.items():
        given = _tables(tables, key)
        if given is None:
            problems.append(
                f"{path}: {key} must be " + (f"one table, [{key}]" if key in SINGLE else f"a list of tables, [[{key}]]")
            )
        for number, table in enumerate(given or [], 1):
            where = f"{path}: {key}" if key in SINGLE else f"{path}: {key} {number}"
            try:
                found[key].append(read_table(table))
            except InputError as error:
                problems += [f"{where}: {problem}" for problem in error.problems]
    try:
        pruning.together(found["prune"])
    except InputError as error:
        problems += [f"{path}: {problem}" for problem in error.problems]
    if not any(found.values()) and not problems:
        problems.append(f"{path}: holds no rule ({', '.join(readers)})")
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
    """Return the tables of a key, none where it is not there; None where it holds something else."""
    given = tables.get(key, [])
    value = [given] if key in SINGLE and key in tables else given
    return value if isinstance(value, list) and all(isinstance(table, dict) for table in value) else None


def _beside(table: dict[str, Any], key: str, folder: Path, load: Callable[[Path], Any]) -> Any:
    """Return what the file under a key of the table holds, None without one."""
    file = table.get(key)
    return load(folder / file) if isinstance(file, str) else None


def attention_line(line: str, seed: int = 0) -> Rules:
    """Read "topk:0.2/pack", "topk:64", "threshold:0.15", "causal" or "longformer:32,2": a table [attention] in short.

    Sizes come in the order of `attention.PATTERNS`; of topk a whole number counts keys, one with a point is a share.
    Raises InputError listing all problems.
    """
    body, slash, scheme = line.partition("/")
    name, colon, given = body.partition(":")
    texts = [word.strip() for word in given.split(",")] if colon else []
    sizes = {"topk": ("k",), "threshold": ("density",), **attention.PATTERNS}.get(name, ())
    problems = []
    if name not in (*attention.DYNAMIC, *attention.PATTERNS):
        problems.append(f"unknown pattern {name!r}{did_you_mean(name, (*attention.DYNAMIC, *attention.PATTERNS))}")
    elif name == "mask":
        problems.append("a real mask is given as mask = FILE in a table [attention] of a SPEC.toml")
    elif len(texts) > len(sizes):
        problems.append(f"{name} takes {', '.join(sizes) or 'no size'}, not {given!r}")
    table: dict[str, Any] = {"pattern": name} | ({"scheme": scheme} if slash else {})
    for size, text in zip(sizes, texts, strict=False):
        try:
            value = float(text) if name == "threshold" or "." in text else int(text)
            table["share" if size == "k" and isinstance(value, float) else size] = value
        except ValueError:
            problems.append(f"{size} {text!r} must be a number")
    if not problems:
        try:
            return Rules((), _attention(table, seed, Path()))
        except InputError as error:
            problems += error.problems
    raise InputError([f"sparsity 'attention={line}': {problem}" for problem in problems])


def _attention(table: dict[str, Any], seed: int, folder: Path) -> attention.Pattern | Dynamic:
    read_table = dynamic.parse if str(table.get("pattern")) in attention.DYNAMIC else attention.parse
    return dynamic.packed(read_table(table, seed, folder))


def _rule(table: dict[str, Any], operand: str, seed: int, folder: Path) -> Sparsity:
    problems = [f"unknown key {key!r}{did_you_mean(key, RULE_KEYS)}" for key in table if key not in RULE_KEYS]
    problems += [
        f"{key} is {table[key]!r}, must be text in quotes"
        for key in ("operators", "pattern", "mask", "scheme")
        if not isinstance(table.get(key, ""), str)
    ]
    share = table.get("density", 1.0)
    if isinstance(share, bool) or not isinstance(share, int | float):
        problems.append(f"density is {share!r}, must be a number")
    pattern = str(table.get("pattern", ""))
    if ("pattern" in table) == ("mask" in table):
        problems.append('give either pattern (e.g. "2:4") or mask (a file)')
    elif "density" in table and "mask" in table:
        problems.append("a mask has a density of its own, leave out density")
    elif "density" not in table and re.fullmatch(r"block\d*|unstructured", pattern):
        problems.append(f"{pattern} needs density, the share that is not zero, e.g. density = 0.5")
    elif "=" in pattern or "@" in pattern or "/" in pattern:
        problems.append(f"pattern {pattern!r}: only the pattern; its operand, scheme and operators stand beside it")
    elif FILES.fullmatch(pattern) or pattern.endswith(".toml"):
        problems.append(f"pattern {pattern!r} is a file: masks go under mask, further rules into this file")
    elif precision.SHORT.fullmatch(pattern):
        problems.append(f"pattern {pattern!r}: word sizes go in a table [[precision]]")
    if "mask" in table:
        problems += scheme_problems(str(table.get("scheme", "")), "measured")
    if problems:
        raise InputError(problems)
    names = table.get("operators", "*")
    if "mask" in table:
        from sim.sparsity.measured import load

        line = load(folder / table["mask"], scheme=table.get("scheme", default_scheme(operand)), names=names)
        return replace(line, operand=operand)
    density = f":{table['density']!r}" if "density" in table else ""
    scheme = f"/{table['scheme']}" if "scheme" in table else ""
    rule = parse(f"{pattern}{density}{scheme}@{names}", seed)
    assert isinstance(rule, Sparsity)
    return replace(rule, operand=operand)
