"""Lines of a density sweep: every pattern at every density, and the dense run for comparison."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from sim.base.errors import InputError
from sim.sparsity.spec import parse

EXAMPLE = "--density 0.1:1.0:0.1 --pattern block16,2:4,unstructured"
MAX_STEPS = 1000
"""Largest number of densities of one sweep."""


def lines(pattern: str | None, density: str | None) -> list[str]:
    """Return sparsity lines for "block16,2:4,attention=topk/pack" and "0.1:1.0:0.1" (or "0.1,0.5"), dense first.

    An N:M pattern, which fixes its density, and word sizes such as w4a8 give one line. Raises InputError for text that
    cannot be read.
    """
    if pattern is None:
        raise InputError(f"--density {density}: needs --pattern too, as in {EXAMPLE}")
    fixed = re.compile(r"(activations=)?\d+:\d+(/.*)?|w\d+a\d+")
    names = [name.strip() for name in pattern.split(",")]
    free = [name for name in names if not fixed.fullmatch(name)]
    if free and density is None:
        raise InputError(f"--pattern {pattern}: {', '.join(free)} needs --density too, as in {EXAMPLE}")
    values = _densities(density) if density is not None else []
    found = ["dense"]
    for name in names:
        body, slash, scheme = name.partition("/")
        is_share = name.startswith("attention=")  # a whole number would be a number of keys
        shares = [value if "." in value or not is_share else f"{value}.0" for value in values]
        found += [name] if name not in free else [f"{body}:{share}{slash}{scheme}" for share in shares]
    problems: list[str] = []
    for line in found:
        try:
            parse(line)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return found


def _densities(text: str) -> list[str]:
    parts = text.split(":") if ":" in text else text.split(",")
    try:
        numbers = [Decimal(part.strip()) for part in parts]
    except InvalidOperation:
        numbers = []
    if not numbers or not all(number.is_finite() for number in numbers) or (":" in text and len(numbers) != 3):
        raise InputError(f"--density {text}: must be FIRST:LAST:STEP or a list of numbers, as in {EXAMPLE}")
    if ":" not in text:
        return [str(number) for number in numbers]
    first, last, step = numbers
    if step <= 0 or last < first or (last - first) / step >= MAX_STEPS:
        raise InputError(
            f"--density {text}: must rise from FIRST to LAST by a positive STEP, in at most {MAX_STEPS} steps "
            "(nearest: 0.1:1.0:0.1)"
        )
    return [str(first + step * number) for number in range(int((last - first) / step) + 1)]
