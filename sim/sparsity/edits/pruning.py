"""Numbers that structured pruning keeps, from a line "heads=8,layers=6" or a [[prune]] of a SPEC.toml: one grammar.

    [[prune]]
    heads = 8                   # layers, heads, ffn, head_dim, hidden
    "L*.FF1.columns" = 1536     # rows or columns of the weights that a glob over operators or tensors names
    scores = "scores.npz"       # selection: a file of scores, or weights = a checkpoint's folder or a file

Numbers count the parts *kept*. The edit of the graph: `sim.sparsity.edits.prune`; the selection:
`sim.sparsity.edits.saliency`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy.typing as npt
from pydantic import ConfigDict

from sim.base.errors import InputError, did_you_mean, given_twice
from sim.base.toml import flat
from sim.graph import Graph, Op
from sim.sparsity.masks import files
from sim.sparsity.structure import weighted
from sim.sparsity.table import Count, SchemeTable, read

PARTS = ("heads", "layers", "ffn", "head_dim", "hidden")

WHAT = {
    "heads": "heads kept in every attention",
    "layers": "layers kept, the first ones",
    "ffn": "neurons kept in every feed-forward part",
    "head_dim": "columns kept in each head of Q, K and V",
    "hidden": "features kept in the activations between layers",
    "NAME.rows": "rows [K] kept in the weights named, e.g. L*.FF2.rows",
    "NAME.columns": "columns [N] kept in the weights named",
}
"""Meaning of each part, for `carat list`."""

SIDES = ("rows", "columns")
"""Sides of a weight [K, N]: rows belong to columns of its input, columns to those of its output."""

FILES = ("scores", "weights")
"""Keys of a table with the data for the selection; without them only the numbers matter."""

MAX_DIGITS = 19
"""Digits of a number in a line; a longer one is reported as text."""

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Named:
    """Rows or columns of the weights that a glob over operators or weight tensors names."""

    operators: str
    side: str
    kept: int

    def matmuls(self, graph: Graph) -> list[Op]:
        """Return the matmuls whose operator or weight matches."""
        return [
            op for op in weighted(graph) if any(fnmatchcase(n, self.operators) for n in (op.name, op.inputs[1].tensor))
        ]


@dataclass(frozen=True)
class Pruning:
    """Numbers to keep; None keeps all. ``scores`` or ``weights``, by name: data for the selection, if given."""

    heads: int | None = None
    layers: int | None = None
    ffn: int | None = None
    head_dim: int | None = None
    hidden: int | None = None
    named: tuple[Named, ...] = ()
    scores: Arrays | None = field(default=None, compare=False, repr=False)
    weights: Arrays | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        """Return the line that `parse` reads."""
        return ",".join(f"{name}={kept}" for name, kept in self.numbers.items())

    @property
    def numbers(self) -> dict[str, int]:
        """Numbers kept of each part or side, under the names that `parse` reads."""
        parts = {name: kept for name in PARTS if (kept := getattr(self, name)) is not None}
        return parts | {f"{one.operators}.{one.side}": one.kept for one in self.named}


class PruneTable(SchemeTable):
    """[[prune]] of a SPEC.toml; further keys are NAME.rows and NAME.columns, each a whole number >= 1."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    __pydantic_extra__: dict[str, Count]

    heads: Count | None = None
    layers: Count | None = None
    ffn: Count | None = None
    head_dim: Count | None = None
    hidden: Count | None = None
    scores: str | None = None
    weights: str | None = None

    @property
    def numbers(self) -> dict[str, int]:
        """Numbers kept, by part or side."""
        parts = {part: kept for part in PARTS if (kept := getattr(self, part)) is not None}
        return parts | (self.model_extra or {})

    def problems(self, given: frozenset[str]) -> list[str]:
        """Return the problems: unknown sides, more than one file, an empty table."""
        found = []
        for name in sorted(given - PruneTable.model_fields.keys()):
            stem, dot, side = name.rpartition(".")
            if side not in SIDES or not dot:
                hint = did_you_mean(name, [f"{stem}.{one}" for one in SIDES] if dot else (*PARTS, *FILES))
                found.append(f"unknown part {name!r}{hint}; or NAME.rows, NAME.columns of a weight")
        if {"scores", "weights"} <= given:
            found.append("give either a file of scores (--saliency) or weights (--weights), not both")
        if not given - set(FILES):
            found.append(f"is empty: give {', '.join(PARTS)} or NAME.rows, NAME.columns")
        return found


def parse(text: str, scores: str | Path | None = None, weights: str | Path | None = None) -> Pruning:
    """Read "heads=8,layers=6,ffn=1536" (any of them, any order), and the file for the selection.

    ``scores``: an .npz or .safetensors file; ``weights``: a checkpoint's folder or a file of matrices [K, N] by tensor
    name. Raises InputError listing all problems.
    """
    given = [part.partition("=") for part in text.split(",")]
    pairs = [(name.strip(), value.strip()) for name, _, value in given]
    names = [name for name, _ in pairs]
    problems = given_twice(names)
    problems += [f"unknown part {name!r}{did_you_mean(name, PARTS)}" for name in names if name in FILES]
    table: dict[str, Any] = {
        name: int(value) if value.isascii() and value.isdigit() and len(value) < MAX_DIGITS else value
        for name, value in pairs
        if name not in FILES
    }
    given_files = {"scores": scores, "weights": weights}
    paths = {key: Path(file) for key, file in given_files.items() if file is not None}
    return _made(table, paths, f"prune {text!r}: ", problems)


def from_table(keys: Mapping[str, Any], folder: Path) -> Pruning:
    """Return the rules of a table [[prune]], its files relative to ``folder``.

    Raises InputError listing all problems.
    """
    table = flat(keys)  # TOML reads L0.FF2.rows, without quotes, as tables in tables
    return _made(table, {key: folder / table[key] for key in FILES if isinstance(table.get(key), str)}, "", [])


def _made(table: dict[str, Any], paths: Mapping[str, Path], where: str, problems: list[str]) -> Pruning:
    """Return the rules of a table, with the arrays of its files. ``where``: begins each problem of the table."""
    found = None
    try:
        found = read(PruneTable, {**table, **{key: str(path) for key, path in paths.items()}})
    except InputError as error:
        problems = [*problems, *error.problems]
    problems = [where + problem for problem in problems]
    arrays: dict[str, Arrays] = {}
    if len(paths) == 1:
        try:
            arrays = {key: _arrays(key, path) for key, path in paths.items()}
        except InputError as error:
            problems += error.problems
    if problems or found is None:
        raise InputError(problems)
    return _pruning(found.numbers, arrays)


def together(prunings: Sequence[Pruning]) -> Pruning:
    """Return all rules as one, without their files. Raises InputError for a part that two of them cut."""
    names = [name for pruning in prunings for name in pruning.numbers]
    if twice := given_twice(names, "--prune and all [[prune]] tables count together"):
        raise InputError([f"prune: {problem}" for problem in twice])
    return _pruning({name: kept for pruning in prunings for name, kept in pruning.numbers.items()})


def _pruning(kept: Mapping[str, int], arrays: Mapping[str, Arrays] | None = None) -> Pruning:
    arrays = arrays or {}
    split = [(*name.rpartition(".")[::2], number) for name, number in kept.items() if name not in PARTS]
    parts: dict[str, Any] = {name: number for name, number in kept.items() if name in PARTS}
    named = tuple(Named(*one) for one in split)
    return Pruning(**parts, named=named, scores=arrays.get("scores"), weights=arrays.get("weights"))


def _arrays(key: str, path: Path) -> Arrays:
    """Return the arrays of the file for the selection: scores, or weights by tensor. Raises InputError."""
    if key == "scores":
        return files.read(path)
    if path.name == "model.safetensors" and path.with_name("config.json").is_file():
        path = path.parent  # a checkpoint's own file, whose names and shapes config.json defines
    return files.read(path)
