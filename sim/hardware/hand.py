"""Entries of ``cores.hand``: the cores of operators, and how operators are divided among them.

An entry is a text of two or three words: an operator's name or a pattern of names; "tensor" (columns, heads) or "rows";
cores, as "2", "0-3" or "0,2". Defaults: "tensor", all cores.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WAYS = ("tensor", "rows")
"""How an operator is divided among its cores: `sim.lower.split.shares`."""

CORES = re.compile(r"\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*")


@dataclass(frozen=True)
class Placing:
    """Operators named by ``pattern`` run on ``cores``, in ascending order; ``rows``: divided by rows."""

    pattern: str
    cores: tuple[int, ...]
    rows: bool = False


def read(entry: str, count: int) -> Placing:
    """Parse an entry for a machine of ``count`` cores. Raises ValueError with the rule if it is wrong."""
    pattern, *words = entry.split() or [""]
    ways = [word for word in words if word in WAYS]
    places = [word for word in words if CORES.fullmatch(word)]
    if not words or len(ways) > 1 or len(places) > 1 or len(words) != len(ways) + len(places):
        raise ValueError('has to be a name or pattern, "tensor" or "rows", and cores, e.g. "*.FF1 rows 0-1"')
    cores = _numbers(places[0], count) if places else tuple(range(count))
    if not cores or cores[-1] >= count:
        raise ValueError(f"names cores that do not exist: {count} cores have numbers 0 to {count - 1}")
    return Placing(pattern, cores, "rows" in ways)


def nearest(entry: str, count: int) -> str:
    """Return a legal entry: the same if legal, else the same operators on all cores."""
    try:
        read(entry, count)
    except ValueError:
        return f"{(entry.split() or ['*'])[0]} tensor"
    return entry


def _numbers(text: str, count: int) -> tuple[int, ...]:
    """Return the cores of a text like "0-3,5"; a range beyond the last core is cut after one illegal number."""
    found: set[int] = set()
    for piece in text.split(","):
        first, _, last = piece.partition("-")
        found |= set(range(int(first), min(int(last or first), max(int(first), count)) + 1))
    return tuple(sorted(found))
