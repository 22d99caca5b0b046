"""Operator kinds, one record each. A new kind is a record in one of these files, or is registered.

A kind that no other room handles runs on the host, at the price named by its record, between the conversions of an
integer machine. The array's operators are planned in `sim.plan.array`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sim.base.errors import InputError, did_you_mean
from sim.graph.kinds import convolutions, elementwise, movement, ordering, products, rows, side_units, sliding
from sim.graph.kinds.kind import Columns, Kind, Values

__all__ = ["KINDS", "Columns", "Kind", "Values", "find", "registered"]

_MODULES = (products, convolutions, sliding, rows, elementwise, movement, ordering, side_units)

KINDS: dict[str, Kind] = {kind.name: kind for module in _MODULES for kind in module.KINDS}
"""Operator kinds by name."""


def find(name: str) -> Kind:
    """Return the record of an operator kind. Raises InputError for an unknown name."""
    if name not in KINDS:
        raise InputError(f"unknown operator kind {name!r}{did_you_mean(str(name), KINDS)}")
    return KINDS[name]


@contextmanager
def registered(*kinds: Kind) -> Iterator[None]:
    """Register further operator kinds inside this context. Raises InputError for a name that is taken."""
    if taken := [kind.name for kind in kinds if kind.name in KINDS]:
        raise InputError(f"operator kinds {', '.join(map(repr, taken))} exist already")
    KINDS.update({kind.name: kind for kind in kinds})
    try:
        yield
    finally:
        for kind in kinds:
            del KINDS[kind.name]
