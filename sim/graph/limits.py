"""Limit of the operators of a graph, and the check that builders make with each operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sim.base.errors import InputError

MAX_OPERATORS = 1 << 15
"""Operators of a workload: bert-large with 128 sequences has 9,456.

This many are built, checked and planned in seconds.
"""

_most: ContextVar[float] = ContextVar("_most", default=MAX_OPERATORS)


class TooManyOperators(InputError):
    """A workload with more operators than the limit."""


@contextmanager
def unlimited() -> Iterator[None]:
    """Lift the limit inside this context; such workloads take hours and much memory."""
    token = _most.set(float("inf"))
    try:
        yield
    finally:
        _most.reset(token)


def check_operators(count: int) -> None:
    """Raise TooManyOperators if ``count`` operators are more than the limit."""
    if count > _most.get():
        raise TooManyOperators(too_many("it has", "smaller sizes"))


def too_many(what: str, nearest: str) -> str:
    """Return the message for more operators than the limit."""
    return (
        f"{what} more than {MAX_OPERATORS:,} operators, the limit; nearest legal: {nearest}, or --allow-large "
        "(allow_large=True)"
    )


def is_limited() -> bool:
    """Return whether the limit applies: not inside `unlimited`."""
    return _most.get() <= MAX_OPERATORS
