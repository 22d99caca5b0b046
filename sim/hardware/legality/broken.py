"""A broken rule of a machine, and values as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sim.hardware.machine import Hardware


@dataclass(frozen=True)
class Broken:
    """A broken rule: keys concerned, the value found, the requirement as text, the nearest legal value.

    ``nearest``: a value of the first key, or a mapping of several keys to their values.
    """

    keys: tuple[str, ...]
    value: object
    demand: str
    nearest: object = None

    @property
    def changes(self) -> dict[str, object]:
        """Return the changes of the nearest legal value, by dotted key."""
        if isinstance(self.nearest, Mapping):
            return dict(self.nearest)
        return {} if self.nearest is None else {self.keys[0]: self.nearest}


Rule = Callable[[Hardware], Iterator[Broken]]


def is_power(value: int) -> bool:
    """True for 1, 2, 4, ..."""
    return value > 0 and value & (value - 1) == 0


def nearest_power(value: float, lowest: int = 1) -> int:
    """Return the power of two closest to ``value`` (the smaller one on a tie), at least ``lowest``."""
    below = 1 << max(int(value), 1).bit_length() - 1
    return max(lowest, below if value - below <= 2 * below - value else 2 * below)


def text(size_bytes: int) -> str:
    """Return a size in the largest unit that divides it."""
    for unit, scale in (("MiB", 1024**2), ("KiB", 1024)):
        if size_bytes >= scale and size_bytes % scale == 0:
            return f"{size_bytes // scale}{unit}"
    return f"{size_bytes}B"
