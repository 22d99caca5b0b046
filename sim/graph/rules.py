"""The rules of graphs: names, tensors, windows, operators by their kind, order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from sim.base.errors import did_you_mean
from sim.base.text import name_problem
from sim.graph import kinds
from sim.graph.dtypes import DTYPE_BYTES
from sim.graph.kinds.kind import is_count
from sim.graph.overlap import MAX_RUNS, meet, overlap, within

if TYPE_CHECKING:
    from sim.graph.kinds.kind import Kind
    from sim.graph.op import Op
    from sim.graph.tensors import Tensor, View

TENSOR_KINDS = ("input", "weight", "activation", "state")
"""Kinds of tensors.

Given with each run, constant, computed by operators, or kept from one graph to the next (a KV cache).
"""


PLAIN = frozenset({str, int, float, bool, type(None)})
"""Types of attributes that are compared by value."""

LEAST = {"batch": 1, "rows": 1, "cols": 1, "row_stride": 0, "batch_stride": 0, "offset": 0}
"""Fields of a view with the least value of each."""


def writers(ops: Sequence[Op]) -> dict[str, list[tuple[int, View]]]:
    """Return, by tensor, the operators that write it: index and window."""
    found: dict[str, list[tuple[int, View]]] = {}
    for index, op in enumerate(ops):
        found.setdefault(op.output.tensor, []).append((index, op.output))
    return found


def rule_problems(tensors: Mapping[str, Tensor], ops: Sequence[Op]) -> list[str]:
    """Return every broken rule but those of order; each group of rules assumes the earlier ones."""
    uses = Counter(op.name for op in ops)
    problems = [f"{count} operators are named {name!r}" for name, count in uses.items() if count > 1]
    problems += [] if uses else ["has no operators"]
    named = [("operator", name) for name in uses] + [("tensor", name) for name in tensors]
    problems += [f"{what} {name!r}: its name {bad}" for what, name in named if (bad := name_problem(name))]
    wrong = {key: _tensor_problems(key, tensor) for key, tensor in tensors.items()}
    problems += [problem for found in wrong.values() for problem in found]
    sound: set[Hashable] = set()  # operators without a broken rule, but for their tensors' names: layers repeat
    for op in ops:
        views = (*op.inputs, op.output)
        found = [p for view in views for p in _view_problems(view, tensors, wrong)]
        if not found and not any(wrong[view.tensor] for view in views):
            found = _op_problems(op, tensors, sound)
        problems += [f"{op.name}: {p}" for p in found]
    return problems


def _broken(rules: Mapping[str, bool]) -> list[str]:
    return [rule for rule, holds in rules.items() if not holds]


def _unknown(what: str, word: object, known: Iterable[str]) -> str:
    return f"unknown {what} {word!r}{did_you_mean(str(word), known)}"


def _tensor_problems(key: str, tensor: Tensor) -> list[str]:
    shape = tensor.shape
    rules = {
        f"is filed under the name {key!r}": key == tensor.name,
        f"shape {shape!r} must be whole numbers >= 1": bool(shape) and all(is_count(n, 1) for n in shape),
    }
    words = (("dtype", tensor.dtype, tuple(DTYPE_BYTES)), ("kind", tensor.kind, TENSOR_KINDS))
    problems = _broken(rules) + [_unknown(what, word, known) for what, word, known in words if word not in known]
    return [f"tensor {tensor.name!r}: {problem}" for problem in problems]


def _view_problems(view: View, tensors: Mapping[str, Tensor], wrong: Mapping[str, list[str]]) -> list[str]:
    if view.tensor not in tensors:
        return [_unknown("tensor", view.tensor, tensors)]
    problems = [
        f"{name} is {value!r}, must be >= {least}"
        for name, least in LEAST.items()
        if not is_count(value := getattr(view, name), least)
    ]
    if not problems and not wrong[view.tensor] and view.end > (size := tensors[view.tensor].elements):
        problems = [f"ends at element {view.end}, the tensor has {size} ({view.end - size} too many)"]
    return [f"view of {view.tensor!r}: {problem}" for problem in problems]


def _op_problems(op: Op, tensors: Mapping[str, Tensor], sound: set[Hashable]) -> list[str]:
    if op.kind not in kinds.KINDS:
        return [_unknown("operator kind", op.kind, kinds.KINDS)]
    kind = kinds.find(op.kind)
    same = _judged(op, kind, tensors)
    if same in sound:
        return []
    problems = _broken_rules(op, kind, tensors)
    if same is not None and not problems:
        sound.add(same)
    return problems


def _judged(op: Op, kind: Kind, tensors: Mapping[str, Tensor]) -> Hashable | None:
    """Return all that the rules of an operator look at; None where its attributes name tensors, or are no plain ones.

    Attributes go with their types: True equals 1.
    """
    attrs = op.attrs
    types = tuple(map(type, attrs.values()))
    if kind.weight_attributes or not PLAIN.issuperset(types) or not (op.layer is None or is_count(op.layer, 0)):
        return None
    views = (*op.inputs, op.output)
    places = [(view.batch, view.rows, view.cols, view.row_stride, view.batch_stride, view.offset) for view in views]
    return (op.kind, types, *attrs.items(), *places, *(tensors[view.tensor].dtype for view in views))


def _broken_rules(op: Op, kind: Kind, tensors: Mapping[str, Tensor]) -> list[str]:
    known, legal = kind.attributes, kind.inputs
    problems = [_unknown(f"{op.kind} attribute", name, known) for name in op.attrs if name not in known]
    if op.layer is not None and not is_count(op.layer, 0):
        problems.append(f"layer is {op.layer!r}, must be a whole number >= 0 or none")
    if len(op.inputs) not in legal:
        return [*problems, f"{op.kind} takes {' or '.join(map(str, legal))} inputs, not {len(op.inputs)}"]
    dtypes = [tensors[view.tensor].dtype for view in (*op.inputs, op.output)]
    return problems + kind.problems(op, dtypes, tensors)


def _unwritten(tensor: Tensor, written: Sequence[View], ops: Sequence[Op]) -> list[str]:
    """Return the problems of a partly written tensor: each read must be inside one of the written windows."""
    read = {view: op for op in ops for view in op.inputs if view.tensor == tensor.name}
    if read and all(any(within(view, part) for part in written) for view in read):
        return []
    return [f"{tensor.name!r}: {sum(view.elements for view in written)} of {tensor.elements} elements written"]


def order_problems(ops: Sequence[Op], tensors: Mapping[str, Tensor]) -> list[str]:
    """Return problems of order: activations must be written once, before they are read, inputs and weights never.

    An activation is written fully, except for elements that no operator reads (padding to whole pages).

    Each element of a state is written at most once; the others were written by an earlier graph.
    """
    problems = []
    writes = writers(ops)
    for index, op in enumerate(ops):
        for view in dict.fromkeys(op.inputs):
            written = writes.get(view.tensor, [])
            if late := [ops[at].name for at, out in written if at >= index and meet(view, out)]:
                problems.append(f"{op.name} reads {view.tensor!r} before {late[-1]} writes it (Graph.from_ops sorts)")
            if not written and tensors[view.tensor].kind == "activation":
                problems.append(f"{op.name} reads the activation {view.tensor!r}, which no operator writes")
    for name, by in writes.items():
        views = sorted((out for _, out in by), key=lambda view: view.offset)
        tensor = tensors[name]
        if tensor.kind not in ("activation", "state"):
            problems.append(
                f"{ops[by[0][0]].name} writes {name!r}, which is of kind {tensor.kind!r} (only activations can be "
                f"written, and "
                "states, which outlive the graph)"
            )
        if overlap(views):
            runs = sum(view.batch * view.rows for view in views)
            problems.append(
                f"{name!r}: elements are written more than once"
                if runs <= MAX_RUNS
                else f"{name!r}: its {runs:,} rows are too many to check that none is written twice: at most "
                f"{MAX_RUNS:,} (nearest: smaller sizes)"
            )
        elif tensor.kind != "state" and sum(view.elements for view in views) != tensor.elements:
            problems += _unwritten(tensor, views, ops)
    return problems
