"""Outlier features in higher precision (Dettmers et al., LLM.int8(), 2208.07339): one product becomes two.

C = A x B is split along K. ``X.gather`` copies the outlier columns of A side by side, a program for each run of
adjacent ones; ``X`` multiplies the narrow rest and stores its sums in memory at full width; ``X.outliers`` multiplies
the gathered columns by the same rows of B, stored a second time in the wide type, and adds those sums. As in the
published kernel the narrow part runs over all of K, with zeros in the rows of B that the wide part multiplies: they
cost time without useful work.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from sim.base.errors import InputError, did_you_mean
from sim.graph import Graph, Op, Tensor, View
from sim.sparsity.masks import files
from sim.sparsity.precision import SUFFIX, Precision, last_for


def load(path: Path) -> dict[str, tuple[int, ...]]:
    """Return operator -> outlier features from a file of whole numbers. Raises InputError for anything else."""
    arrays = files.read(path)
    problems = [
        f"{path}: {name}: feature numbers must be whole numbers in one row, not {array.dtype} of shape {array.shape}"
        for name, array in arrays.items()
        if array.ndim != 1 or array.dtype.kind not in "iu"
    ]
    if problems or not arrays:
        raise InputError(problems or f"{path}: holds no array")
    return {name: tuple(sorted({int(number) for number in array})) for name, array in arrays.items()}


def features(rule: Precision, op: Op) -> tuple[int, ...]:
    """Return the features of K that are outliers of ``op`` under a rule; a share is spread evenly, at least one."""
    k = op.mnk[2]
    if rule.columns:
        return dict(rule.columns).get(op.name, ())
    count = max(1, round(rule.outliers * k)) if rule.outliers else 0
    return tuple((2 * number + 1) * k // (2 * count) for number in range(count))


def edit(graph: Graph, rules: Sequence[Precision], stored: Collection[str]) -> Graph:
    """Return the graph with the named products split. ``stored``: operators whose weights have zeros or are compressed.

    Raises InputError listing all problems.
    """
    tensors, ops, problems = dict(graph.tensors), [], []
    known = {op.name for op in graph.ops}
    for rule in rules:
        problems += [
            f"outlier_file: no operator of {graph.name} is named {name!r}{did_you_mean(name, known)}"
            for name, _ in rule.columns
            if name not in known
        ]
    named_convs = [(op, last_for(rules, op)) for op in graph.ops if op.record.multiplies == "windows"]
    if split := [op.name for op, found in named_convs if found is not None and found.splits]:
        more = f" and {len(split) - 1} more convolutions" if split[1:] else ""
        why = "outliers are columns of a matmul's A; a convolution cannot be split"
        problems.append(f"{split[0]}{more}: {why} (nearest: name matmuls in operators)")
    for op in graph.ops:
        named = last_for(rules, op)
        chosen = features(named, op) if named is not None and graph.multiplies_weights(op) else ()
        if not chosen:
            ops.append(op)
            continue
        found = _problems(op, chosen)
        if op.name in stored:
            found.append(
                f"{op.name}: outliers, and zeros or compression: only one of them is possible for one operator"
            )
        problems += found
        ops += [op] if found else _split(tensors, op, chosen)
    if problems:
        raise InputError(problems)
    return Graph(graph.name, tensors, tuple(ops), graph.sizes)


def _problems(op: Op, chosen: tuple[int, ...]) -> list[str]:
    k = op.mnk[2]
    found = []
    wrong = [number for number in chosen if not 0 <= number < k]
    if wrong:
        found.append(f"{op.name}: outlier feature {wrong[0]}: K is {k} (nearest: {min(max(wrong[0], 0), k - 1)})")
    elif len(chosen) >= k:
        found.append(f"{op.name}: all {k} features are outliers; give the operator the wide type instead")
    if op.attrs["transpose_a"] or op.attrs["transpose_b"] or op.batch > 1:
        found.append(f"{op.name}: outliers are columns of a plain A and rows of a plain B, once per operator")
    return found


def _split(tensors: dict[str, Tensor], op: Op, chosen: tuple[int, ...]) -> list[Op]:
    m, n, _ = op.mnk
    a, b = op.inputs[:2]

    def add(name: str, shape: tuple[int, int], dtype: str, kind: str) -> View:
        tensors[name] = Tensor(name, shape, dtype, kind)
        return View.whole(tensors[name])

    wide = add(f"{op.name}.outlier_columns", (m, len(chosen)), tensors[a.tensor].dtype, "activation")
    rows = add(f"{b.tensor}{SUFFIX}.{op.name}", (len(chosen), n), tensors[b.tensor].dtype, "weight")
    sums = add(f"{op.name}.narrow_sums", (m, n), "int32", "activation")
    gather = Op(f"{op.name}.gather", "gather", (a,), wide, {"columns": chosen}, op.layer)
    narrow = replace(op, output=sums, attrs={**op.attrs, "activation": "none"})
    attrs = {**op.attrs, "repeating_bias": False}
    return [gather, narrow, Op(f"{op.name}{SUFFIX}", "matmul", (wide, rows, sums), op.output, attrs, op.layer)]
