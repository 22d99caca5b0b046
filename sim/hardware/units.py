"""Convert quantities with units ("256KiB", "25.6GB/s", "100ns") to bytes, bytes per cycle and cycles.

KiB, MiB, GiB are powers of 1024; kB, KB, MB, GB powers of 1000 (IEC 80000-13). A plain number is already in
the unit of its key. A wrong unit raises a ValueError that names the legal units.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

_BYTES = {"B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4}
_BYTES |= {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SIZES = _BYTES | {"bit": Fraction(1, 8)}
_SECONDS = {"ns": Fraction(1, 10**9), "us": Fraction(1, 10**6), "s": Fraction(1)}
_MEGAHERTZ = {"MHz": Fraction(1), "GHz": Fraction(1000), "kHz": Fraction(1, 1000)}
_QUANTITY = re.compile(r"\s*([-+]?\d{1,30}(?:\.\d{0,30})?(?:[eE][-+]?\d{1,2})?)\s*([A-Za-z/]{0,12})\s*")
"""At most 30 digits and exponents of two: a huge power of ten would take too long to compute."""


def _split(text: str, units: str) -> tuple[Fraction, str]:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        shown = text if len(text) <= 40 else f"{text[:40]}..."
        raise ValueError(f"{shown!r} is not a number with a unit ({units}), of at most 30 digits")
    return Fraction(match[1]), match[2]


def size_bytes(value: object) -> object:
    """Return a size in bytes from 262144, "256KiB", "0.25 MiB" or "128bit"; other types are returned unchanged.

    Raises ValueError for an unknown unit or a fraction of a byte.
    """
    if not isinstance(value, str):
        return value
    number, unit = _split(value, "B, KiB, MiB, GiB, kB, MB, GB, bit")
    if unit and unit not in _SIZES:
        raise ValueError(f"{value!r}: unit {unit!r} is not a size (B, KiB, MiB, GiB, kB, MB, GB, bit)")
    size = number * (_SIZES[unit] if unit else 1)
    if size.denominator != 1:
        raise ValueError(f"{value!r} is not a whole number of bytes")
    return int(size)


def rate_bytes_per_cycle(value: object, clock_mhz: float) -> object:
    """Return bytes per cycle from 16, "16B/cycle" or "25.6GB/s" (by the clock); other types are returned unchanged."""
    if not isinstance(value, str):
        return value
    number, unit = _split(value, "B/cycle, GB/s, GiB/s")
    size, _, per = unit.partition("/")
    if not unit:
        return float(number)
    if size not in _BYTES or per not in ("cycle", "s"):
        raise ValueError(f"{value!r}: unit {unit!r} is not a rate (B/cycle, MB/s, GB/s, GiB/s)")
    per_cycle = number * _BYTES[size]
    return float(per_cycle if per == "cycle" else per_cycle / (Fraction(clock_mhz) * 10**6))


def duration_cycles(value: object, clock_mhz: float) -> object:
    """Return cycles, rounded up, from 40, "40cycles" or "100ns" (by the clock); other types are returned unchanged."""
    if not isinstance(value, str):
        return value
    number, unit = _split(value, "cycles, ns, us")
    if unit in ("", "cycle", "cycles"):
        if number.denominator != 1:
            raise ValueError(f"{value!r} is not a whole number of cycles")
        return int(number)
    if unit not in _SECONDS:
        raise ValueError(f"{value!r}: unit {unit!r} is not a duration (cycles, ns, us)")
    return math.ceil(number * _SECONDS[unit] * Fraction(clock_mhz) * 10**6)


def frequency_mhz(value: object) -> object:
    """Return megahertz from 1000, "1GHz" or "500 MHz"; other types are returned unchanged."""
    if not isinstance(value, str):
        return value
    number, unit = _split(value, "MHz, GHz")
    if unit and unit not in _MEGAHERTZ:
        raise ValueError(f"{value!r}: unit {unit!r} is not a frequency (MHz, GHz)")
    return float(number * (_MEGAHERTZ[unit] if unit else 1))
