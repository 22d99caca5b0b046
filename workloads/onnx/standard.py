"""Operators of the standard that are replaced by simpler ones: sums of several operands, Einsum, pixels to channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workloads.onnx.expand import Replacement


def _sum(parts: Replacement) -> None:
    """Sum and Mean; the divisor of a mean is folded into the scale."""
    names = [name for name in parts.node.inputs if name]
    if not names:
        raise ValueError("it has no operands")
    if len(names) == 1:
        parts.add("Identity", names[0], out=parts.node.output)
        return
    total = names[0]
    for name in names[1:-1]:
        total = parts.add("Add", total, name)
    if parts.node.op == "Sum":
        parts.add("Add", total, names[-1], out=parts.node.output)
        return
    total = parts.add("Add", total, names[-1])
    parts.add("Mul", total, parts.numbers(np.array(1 / len(names), np.float32)), out=parts.node.output)


def _einsum(parts: Replacement) -> None:
    """Einsum: products of two operands at a time, letters without a place in the result summed.

    Raises ValueError for a letter that one operand has twice.
    """
    terms, result = _terms(parts)
    sizes: dict[str, int] = {}
    for place, term in enumerate(terms):
        shape = parts.shape(place)
        if len(shape) != len(term) or len(set(term)) != len(term):
            raise ValueError(f"equation part {term!r} for an operand with {len(shape)} axes")
        for letter, size in zip(term, shape, strict=True):
            if size != 1 or letter not in sizes:
                sizes[letter] = size
    name, term = parts.given(0), terms[0]
    for place, other in enumerate(terms[1:], 1):
        wanted = set(result).union(*terms[place + 1 :])
        name, term = _pair(parts, (name, term), (parts.given(place), other), wanted, sizes)
    name, term = _summed(parts, name, term, set(result))
    parts.add("Transpose", name, out=parts.node.output, perm=[term.index(letter) for letter in result])


def _terms(parts: Replacement) -> tuple[list[str], str]:
    """Return the letters of each operand and of the result; the axes of "..." get capital letters."""
    equation = parts.node.attrs.get("equation", "")
    text = (equation.decode() if isinstance(equation, bytes) else equation).replace(" ", "")
    left, arrow, result = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(parts.node.inputs):
        raise ValueError(f"equation {text!r} for {len(parts.node.inputs)} operands")
    if not arrow:
        letters = left.replace(",", "").replace(".", "")
        result = ("..." if "..." in left else "") + "".join(sorted(x for x in set(letters) if letters.count(x) == 1))
    free = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in text]
    counts = [len(parts.shape(place)) - len(term.replace("...", "")) for place, term in enumerate(terms)]
    most = max((count for count, term in zip(counts, terms, strict=True) if "..." in term), default=0)
    spread = "".join(free[:most])
    terms = [term.replace("...", spread[most - count :]) for count, term in zip(counts, terms, strict=True)]
    result = result.replace("...", spread)
    wrong = "".join(letter for letter in result if letter not in "".join(terms))
    if wrong:
        raise ValueError(f"equation {text!r}: no operand has {wrong!r}")
    return terms, result


def _summed(parts: Replacement, name: str, term: str, wanted: set[str]) -> tuple[str, str]:
    """Return an operand summed over the letters that nothing else has."""
    axes = [place for place, letter in enumerate(term) if letter not in wanted]
    if not axes:
        return name, term
    total = parts.add("ReduceSum", name, parts.numbers(np.array(axes, np.int64)), keepdims=0)
    return total, "".join(letter for letter in term if letter in wanted)


def _pair(
    parts: Replacement, a: tuple[str, str], b: tuple[str, str], wanted: set[str], sizes: dict[str, int]
) -> tuple[str, str]:
    """Return the product of two operands as a MatMul, or element by element if no letter is summed."""
    first, left = _summed(parts, *a, wanted | set(b[1]))
    second, right = _summed(parts, *b, wanted | set(left))
    both = [letter for letter in left if letter in right and letter in wanted]
    inner = [letter for letter in left if letter in right and letter not in wanted]
    rows = [letter for letter in left if letter not in right]
    cols = [letter for letter in right if letter not in left]
    outer = [sizes[letter] for letter in both]
    if not inner:
        one = _laid(parts, (first, left), (both, rows), [*outer, *_sizes(rows, sizes), *(1 for _ in cols)])
        two = _laid(parts, (second, right), (both, cols), [*outer, *(1 for _ in rows), *_sizes(cols, sizes)])
        return parts.add("Mul", one, two), "".join([*both, *rows, *cols])
    m, k, n = (prod(_sizes(letters, sizes)) for letters in (rows, inner, cols))
    one = _laid(parts, (first, left), (both, rows, inner), [*outer, m, k])
    two = _laid(parts, (second, right), (both, inner, cols), [*outer, k, n])
    made = parts.add("MatMul", one, two)
    made = parts.reshape(made, *outer, *_sizes(rows, sizes), *_sizes(cols, sizes))
    return made, "".join([*both, *rows, *cols])


def _sizes(letters: Sequence[str], sizes: dict[str, int]) -> list[int]:
    return [sizes[letter] for letter in letters]


def _laid(parts: Replacement, operand: tuple[str, str], groups: Sequence[Sequence[str]], shape: Sequence[int]) -> str:
    """Return an operand with its axes in the order of the groups, in a shape."""
    name, term = operand
    order = [term.index(letter) for group in groups for letter in group]
    if order != sorted(order):
        name = parts.add("Transpose", name, perm=order)
    return parts.reshape(name, *shape)


def _blocks(parts: Replacement) -> None:
    """DepthToSpace and SpaceToDepth: the axes of a block stand apart, and are moved."""
    batch, channels, rows, cols = parts.shape(0)
    side = int(parts.node.attrs["blocksize"])
    if parts.node.op == "SpaceToDepth":
        split = parts.reshape(parts.given(0), batch, channels, rows // side, side, cols // side, side)
        turned = parts.add("Transpose", split, perm=[0, 3, 5, 1, 2, 4])
        parts.reshape(turned, batch, channels * side**2, rows // side, cols // side, out=parts.node.output)
        return
    depth, by_column = channels // side**2, parts.node.attrs.get("mode", b"DCR") in (b"CRD", "CRD")
    sizes = (depth, side, side) if by_column else (side, side, depth)
    split = parts.reshape(parts.given(0), batch, *sizes, rows, cols)
    turned = parts.add("Transpose", split, perm=[0, 1, 4, 2, 5, 3] if by_column else [0, 3, 4, 1, 5, 2])
    parts.reshape(turned, batch, depth, rows * side, cols * side, out=parts.node.output)


RULES: dict[str, Callable[[Replacement], None]] = {
    "Sum": _sum,
    "Mean": _sum,
    "Einsum": _einsum,
    "DepthToSpace": _blocks,
    "SpaceToDepth": _blocks,
}
"""Operator -> its simpler form."""
