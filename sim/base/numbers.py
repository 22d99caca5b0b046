"""Decimal texts as numbers of double precision; one that would silently become 0 is refused."""

from __future__ import annotations

import re

from sim.base.errors import InputError

DECIMAL = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
LEAST = 5e-324
"""Smallest number above 0 of double precision (IEEE 754)."""


def exact(text: str) -> float:
    """Return a number as Python reads it. Raises InputError for one too small for double precision, which reads as 0.

    Raises ValueError for text that is no number, as `float` does.
    """
    value = float(text)
    if not value and any(digit in "123456789" for digit in text.lower().partition("e")[0]):
        raise InputError(
            f"{text.strip()[:60]} is below {LEAST}, the smallest number of double precision, and would be read as 0"
        )
    return value


def decimal(text: str) -> float:
    """Return a number written in ASCII digits. Raises ValueError for other text, InputError as `exact` does."""
    if DECIMAL.fullmatch(text) is None:
        raise ValueError(f"{text[:60]!r} is no decimal number")
    return exact(text)
