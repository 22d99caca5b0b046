"""The limit on a workload's operators, checked during and, if possible, before its construction."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import product
from typing import Any

from sim.base.errors import InputError
from sim.graph import Graph
from sim.graph.limits import MAX_OPERATORS as MAX_OPERATORS
from sim.graph.limits import TooManyOperators, is_limited, too_many
from sim.graph.limits import unlimited as unlimited

REPEATING = ("layers", "batch", "hashes")
"""Sizes in each of which the number of operators is linear, with the others unchanged."""

FEW = 64
"""Values of a repeating size up to which no workload exceeds the limit by it alone."""


def build_within(name: str, builder: Callable[..., Graph], sizes: Mapping[str, object]) -> Graph:
    """Return a builder's graph for ``sizes``. Raises TooManyOperators with legal sizes."""
    check_repeats(name, builder, sizes, least=FEW)
    try:
        return builder(**sizes)
    except TooManyOperators:
        check_repeats(name, builder, sizes, least=1)
        legal = next(smaller(builder, sizes, builder), "smaller sizes")
        raise TooManyOperators(f"{name}: {too_many('it has', legal)}") from None


def smaller(builder: Callable[..., Graph], sizes: Mapping[str, object], made: Callable[..., object]) -> Iterator[str]:
    """Yield the largest legal smaller multiple of each size's default, the others unchanged.

    If no single size suffices, all defaults are returned; a default may be larger than the given value (blocks,
    chunks). ``made``: a function of the sizes by name; sizes are legal if it raises no InputError.
    """
    known = inspect.signature(builder).parameters
    for size, value in sizes.items():
        if isinstance(value, int) and size in known:
            default = known[size].default
            found = _largest(value, default if isinstance(default, int) and default > 0 else 128, size, sizes, made)
            if found:
                yield f"{size} = {found}"
    defaults = {size: known[size].default for size in sizes if size in known and isinstance(known[size].default, int)}
    with suppress(InputError):
        made(**(dict(sizes) | defaults))
        yield ", ".join(f"{size} = {value}" for size, value in defaults.items())


def _largest(value: int, unit: int, size: str, sizes: Mapping[str, object], made: Callable[..., object]) -> int:
    """Return the largest legal multiple of ``unit`` below ``value``, 0 where there is none.

    Found by doubling, then by halving the interval; not so where operators are too many, of which each try builds
    thousands: there the power of two is enough.
    """
    many = False

    def legal(units: int) -> bool:
        nonlocal many
        try:
            made(**{**sizes, size: units * unit})
        except InputError as refused:
            many = isinstance(refused, TooManyOperators)
            return False
        return True

    tried, found = 1, 0
    while (tried * unit < value or (tried * unit != value and not found)) and legal(tried):
        found, tried = tried, 2 * tried
    wrong = min(tried, -(-value // unit))
    while found and wrong - found > 1 and not many:
        middle = (found + wrong) // 2
        found, wrong = (middle, wrong) if legal(middle) else (found, middle)
    return found * unit


def few_repeats(sizes: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """Return sizes of no more than `FEW` layers and sequences, and how many times as many sequences were requested."""
    repeating = {size: n for size, n in sizes.items() if size in REPEATING and isinstance(n, int) and n > FEW}
    batch = repeating.get("batch", FEW)
    return {**sizes, **dict.fromkeys(repeating, FEW)}, batch / FEW


def check_repeats(name: str, builder: Callable[..., Graph], sizes: Mapping[str, object], least: int) -> None:
    """Raise TooManyOperators if more than ``least`` layers or sequences give too many operators.

    At most two layers of two sequences are built for the check.
    """
    known = inspect.signature(builder).parameters
    repeating = {size: n for size, n in sizes.items() if size in REPEATING and size in known}
    requested = {size: n for size, n in repeating.items() if isinstance(n, int) and n > 0}
    if max(requested.values(), default=0) <= least or not is_limited():
        return
    counts: dict[tuple[int, ...], int] = {}
    for few in product((1, 2), repeat=len(requested)):
        small = dict(zip(requested, few, strict=True))
        try:
            counts[few] = len(builder(**(dict(sizes) | small)).ops)
        except InputError:  # a fixed number of layers, or a size that is refused elsewhere
            return
    if _linear(counts, tuple(requested.values())) <= MAX_OPERATORS:
        return
    said = " x ".join(f"{size} {n:,}" for size, n in requested.items())
    raise TooManyOperators(f"{name}: {too_many(f'{said} makes', _legal(counts, requested))}")


def _linear(counts: Mapping[tuple[int, ...], int], at: tuple[int, ...]) -> int:
    """Return the count at ``at``, linear in each size, from the counts at all combinations of 1 and 2."""
    total = 0
    for corner, count in counts.items():
        weight = 1
        for place, n in zip(corner, at, strict=True):
            weight *= n - 1 if place == 2 else 2 - n
        total += weight * count
    return total


def _legal(counts: Mapping[tuple[int, ...], int], requested: Mapping[str, int]) -> str:
    """Return the largest legal value of one size, with the others unchanged or else 1."""
    for others in (dict(requested), dict.fromkeys(requested, 1)):
        for size in requested:
            one, two = (_linear(counts, tuple({**others, size: n}.values())) for n in (1, 2))
            if one <= MAX_OPERATORS:
                most = 1 + (MAX_OPERATORS - one) // (two - one) if two > one else requested[size]
                rest = [f"{other} = 1" for other in requested if other != size and others[other] != requested[other]]
                return f"{size} = {min(most, requested[size])}" + (f" with {', '.join(rest)}" if rest else "")
    return "other sizes"
