"""What structured pruning keeps, from a line "heads=8,layers=6" or a table [[prune]] of a SPEC.toml: one grammar.

    [[prune]]
    heads = 8                   # layers, heads, ffn, head_dim, hidden
    "L*.FF1.columns" = 1536     # rows or columns of the weights that a glob over operators or tensors names
    scores = "scores.npz"       # which of them: a file of scores, or weights = a checkpoint's folder or a file

Numbers say what is *kept*. What an edit of the graph makes of it: `sim.sparsity.prune`; which ones stay:
`sim.sparsity.saliency`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy.typing as npt

from sim.base.errors import InputError, did_you_mean
from sim.base.toml import flat
from sim.graph import Graph, Op

PARTS = ("heads", "layers", "ffn", "head_dim", "hidden")

WHAT = {
    "heads": "so many heads of every attention",
    "layers": "the first so many layers",
    "ffn": "so many neurons of every feed-forward part",
    "head_dim": "so many columns of each head of Q, K and V",
    "hidden": "so many features of what the layers hand on",
    "NAME.rows": "so many rows [K] of the weights named, e.g. L*.FF2.rows",
    "NAME.columns": "so many columns [N] of the weights named",
}
"""What `carat list` says of each part."""

SIDES = ("rows", "columns")
"""Sides of a weight [K, N]: rows meet columns of its input, columns make those of its output."""

FILES = ("scores", "weights")
"""Keys of a table that say which ones stay; without them the numbers alone count."""

TABLES = ("word", "position", "token_type")
"""Names of a checkpoint's embedding tables; the graph's tensors end in _table (`workloads.bert`)."""

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Named:
    """Rows or columns of the weights that a glob over operators or weight tensors names."""

    operators: str
    side: str
    kept: int

    def matmuls(self, graph: Graph) -> list[Op]:
        """Return the matmuls by weights that are named."""
        return [
            op for op in weighted(graph) if any(fnmatchcase(n, self.operators) for n in (op.name, op.inputs[1].tensor))
        ]


def weighted(graph: Graph) -> list[Op]:
    """Return the matmuls whose second operand is a weight."""
    return [op for op in graph.ops if op.kind == "matmul" and graph.tensors[op.inputs[1].tensor].kind == "weight"]


@dataclass(frozen=True)
class Pruning:
    """What to keep; None keeps all. ``scores`` or ``weights``, by name, say which ones where they are given."""

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
        """What is kept of each part or side that is cut, under the names that `parse` reads."""
        parts = {name: kept for name in PARTS if (kept := getattr(self, name)) is not None}
        return parts | {f"{one.operators}.{one.side}": one.kept for one in self.named}


def parse(text: str, scores: str | Path | None = None, weights: str | Path | None = None) -> Pruning:
    """Read "heads=8,layers=6,ffn=1536" (any of them, any order), and the file that says which ones.

    ``scores``: an .npz or .safetensors file; ``weights``: a checkpoint's folder or a file of matrices [K, N] by tensor
    name. Raises InputError listing all problems.
    """
    given = [part.partition("=") for part in text.split(",")]
    pairs = [(name.strip(), value.strip()) for name, _, value in given]
    kept, problems = _numbers((name, int(v) if v.isascii() and v.isdigit() else v) for name, v in pairs)
    files, more = _files(scores, weights)
    if problems or more:
        raise InputError([f"prune {text!r}: {problem}" for problem in problems] + more)
    return _pruning(kept, files)


def parse_table(table: Mapping[str, Any], folder: Path) -> Pruning:
    """Read one table [[prune]], its files relative to ``folder``. Raises InputError listing all problems."""
    keys = flat(table)  # TOML reads L0.FF2.rows, without quotes, as tables in tables
    paths = {key: keys.pop(key) for key in FILES if key in keys}
    kept, problems = _numbers(keys.items(), FILES)
    wrong = {key for key, path in paths.items() if not isinstance(path, str)}
    problems += [f"{key} is {paths[key]!r}, must be text in quotes" for key in paths if key in wrong]
    found = {key: folder / path for key, path in paths.items() if key not in wrong}
    files, more = _files(found.get("scores"), found.get("weights"))
    if not keys:
        problems.append(f"keeps nothing in particular: give {', '.join(PARTS)} or NAME.rows, NAME.columns")
    if problems or more:
        raise InputError(problems + more)
    return _pruning(kept, files)


def together(prunings: Sequence[Pruning]) -> Pruning:
    """Return all as one, without their files. Raises InputError for a part that two of them cut."""
    names = [name for pruning in prunings for name in pruning.numbers]
    twice = dict.fromkeys(name for name in names if names.count(name) > 1)
    if twice:
        raise InputError(
            [f"prune: {name} is given twice; --prune and all [[prune]] tables count together" for name in twice]
        )
    return _pruning({name: kept for pruning in prunings for name, kept in pruning.numbers.items()})


def _numbers(pairs: Iterable[tuple[str, object]], also: Sequence[str] = ()) -> tuple[dict[str, int], list[str]]:
    """Return the numbers to keep by name, and what is wrong with them. ``also``: names known besides."""
    kept: dict[str, int] = {}
    problems = []
    for name, value in pairs:
        if name not in PARTS and not name.endswith(tuple(f".{side}" for side in SIDES)):
            stem, dot, _ = name.rpartition(".")
            hint = did_you_mean(name, [f"{stem}.{side}" for side in SIDES] if dot else (*PARTS, *also))
            problems.append(f"unknown part {name!r}{hint}; or NAME.rows, NAME.columns of a weight")
        elif name in kept:
            problems.append(f"{name} is given twice")
        elif isinstance(value, bool) or not isinstance(value, int) or value < 1:
            shown = str(value) if isinstance(value, int) else value
            problems.append(f"{name} is {shown!r}, must be a whole number >= 1 (how many to keep)")
        else:
            kept[name] = value
    return kept, problems


def _pruning(kept: Mapping[str, int], files: Mapping[str, Arrays] | None = None) -> Pruning:
    files = files or {}
    split = [(*name.rpartition(".")[::2], number) for name, number in kept.items() if name not in PARTS]
    parts: dict[str, Any] = {name: number for name, number in kept.items() if name in PARTS}
    named = tuple(Named(*one) for one in split)
    return Pruning(**parts, named=named, scores=files.get("scores"), weights=files.get("weights"))


def _files(scores: str | Path | None, weights: str | Path | None) -> tuple[dict[str, Arrays], list[str]]:
    """Return the arrays of the file that says which ones stay, and what is wrong with it."""
    from sim.sparsity import measured
    from workloads import checkpoint

    if scores is not None and weights is not None:
        return {}, ["give either a file of scores (--saliency) or weights (--weights), not both"]
    try:
        if scores is not None:
            return {"scores": measured.read(Path(scores))}, []
        if weights is None:
            return {}, []
        path = Path(weights)
        if path.name == "model.safetensors" and path.with_name("config.json").is_file():
            path = path.parent  # a checkpoint's own file, whose names and shapes its config.json explains
        if not path.is_dir():
            return {"weights": measured.read(path)}, []
        found = checkpoint.load(path).weights
        return {"weights": {**found, **{f"{name}_table": found[name] for name in TABLES if name in found}}}, []
    except InputError as error:
        return {}, list(error.problems)
