"""Sizes that a refusal names as legal, followed through every rule: what a message says is accepted as it stands.

A rule of a network knows neither the others nor the limits of a run: 10^8 tokens of GPT-2 are beyond the keys that
addresses reach, and the largest number that is not has scores that no run ends with. So a refused size is put right
as the message says, refused again, and put right again; the message then names what came of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sim.base.errors import InputError
from sim.graph.limits import TooManyOperators

MAX_FOLLOWED = 8
"""Refusals in a row; of a network's rules no more than three were seen."""

HINT = re.compile(r"nearest(?: legal)?: (?P<said>[^()]*?)(?=\)|, or --allow-large|; or |$)")
NAMED = re.compile(r"(?P<size>[a-z_]\w*) ?= ?(?P<value>\d+)\b")
BARE = re.compile(r"-?\d+")


def legal_at_once(
    refused: InputError, sizes: Mapping[str, object], accept: Callable[[dict[str, Any], bool], object]
) -> InputError:
    """Return ``refused`` with hints that ``accept`` takes at once, or as it is where following them leads nowhere.

    ``accept``: raises InputError for sizes that are not legal; the other argument says that their layers and sequences
    are known to be few enough, so that not all have to be built.
    """
    tried: dict[str, Any] = dict(sizes)
    error = refused
    for _ in range(MAX_FOLLOWED):
        changed = {size: value for problem in error.problems for size, value in _named(problem, tried).items()}
        if all(tried.get(size) == value for size, value in changed.items()):
            return refused
        tried |= changed
        try:
            accept(tried, isinstance(error, TooManyOperators))
        except InputError as again:
            error = again
        else:
            break
    else:
        return refused
    if error is refused:
        return refused
    legal = ", ".join(f"{size} = {value}" for size, value in tried.items() if value != sizes.get(size))
    return type(refused)([_said(problem, sizes, legal) for problem in refused.problems])


def _named(problem: str, sizes: Mapping[str, object]) -> dict[str, int]:
    """Return what a problem says to change: a size -> its legal value."""
    found = HINT.search(problem)
    if found is None:
        return {}
    if BARE.fullmatch(found["said"]):  # of the size that the problem is about
        about = [size for size in sizes if re.search(rf"\b{size}\b", problem)]
        return {about[0]: int(found["said"])} if about else {}
    return {match["size"]: int(match["value"]) for match in NAMED.finditer(found["said"])}


def _said(problem: str, sizes: Mapping[str, object], legal: str) -> str:
    return HINT.sub(f"nearest: {legal}", problem, count=1) if _named(problem, sizes) else problem
