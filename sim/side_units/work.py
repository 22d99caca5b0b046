"""The work of a side unit for one operator."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SideWork:
    """Work of a side unit for one operator. ``ranked``: reads of scores, priced as elements of the normaliser.
    ``scaled``: elements through the scale units. ``multiplications``: equivalent multiplications of the array's width,
    by energy. ``heads``: parts of the work after each of which the array can begin. ``load_wait_cycles``,
    ``store_wait_cycles``: its ``cycles`` of waiting for memory.
    """

    cycles: int
    ranked: int = 0
    multiplications: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    heads: int = 1
    scaled: int = 0
    load_wait_cycles: int = 0
    store_wait_cycles: int = 0
