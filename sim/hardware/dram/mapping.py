"""Address maps as data: the address bits of column, rank, bank group, bank, row and channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sim.base.errors import did_you_mean

FIELDS = ("column", "rank", "bank_group", "bank", "row", "channel")
"""Parts of an address, in the order of `sim.core.units.dram.state`."""


class Piece(NamedTuple):
    """A run of address bits: ``bits`` bits of a field, beginning at its bit ``at``."""

    field: str
    bits: int
    at: int


def pieces(text: str, bits: Mapping[str, int]) -> tuple[list[Piece], list[str]]:
    """Return the pieces of an address map from the lowest bit up, and its problems.

    ``text``: fields from the highest bit to the lowest, e.g. "row bank bank_group rank column channel"; a field in
    pieces gives the bits of all but one of them ("column:4"). ``bits``: bits of each field.
    """
    problems: list[str] = []
    wanted: list[tuple[str, int | None]] = []
    for word in reversed(text.split()):
        name, colon, number = word.partition(":")
        if name not in FIELDS:
            problems.append(f"{word!r} is no field of an address{did_you_mean(name, FIELDS)}")
        elif colon and not number.isdecimal():
            problems.append(f"{word!r}: a piece of a field is written {name}:2, with the number of its bits")
        else:
            wanted.append((name, int(number) if colon else None))
    if problems:
        return [], problems
    for name in FIELDS:
        given = [number for field, number in wanted if field == name]
        open_ended = given.count(None)
        total = sum(number for number in given if number is not None)
        fits = total <= bits[name] if open_ended else total == bits[name]
        if not given and bits[name]:
            problems.append(f"{name} is missing: its {bits[name]} bits are unused; nearest: add {name!r}")
        elif open_ended > 1:
            problems.append(f"{name} appears twice without a number of bits; nearest: {name}:{bits[name] // 2} {name}")
        elif not fits:
            problems.append(f"{name} has {bits[name]} bits, the map places {total}; nearest: {name} without a number")
    if problems:
        return [], problems
    at = dict.fromkeys(FIELDS, 0)
    placed = []
    for field, given_bits in wanted:
        named = sum(n or 0 for other, n in wanted if other == field)
        size = bits[field] - named if given_bits is None else given_bits
        placed.append(Piece(field, size, at[field]))
        at[field] += size
    return [piece for piece in placed if piece.bits], []
