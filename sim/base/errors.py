"""Errors that reach a user: each states the fault, its place, the broken rule and the nearest legal value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

MAX_NAMES = 16
"""Number of known names that a message lists if none is similar: a large model has hundreds of weights."""


SIMILAR = 0.65
"""Ratio of `difflib` from which a name is suggested: at 0.6 "heads" is similar to "phase"."""

MAX_PROBLEMS = 6
"""Number of problems of one kind that a message lists."""


class CaratError(Exception):
    """Base of all errors that Carat raises on purpose.

    The command line prints them without a traceback, exit code 2.
    """


class InputError(CaratError):
    """Refused input. ``problems`` lists every broken rule, not only the first."""

    def __init__(self, problems: str | Sequence[str]):
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[str, ...]]]:
        """Pickle with ``problems``, so that the error can come from a worker process."""
        return (type(self), (self.problems,))


class Hang(CaratError):
    """The program can never end: no unit can make progress. The message shows each unit's state in words."""


def demand(name: str, given: object, kinds: type | tuple[type, ...], example: str) -> None:
    """Raise InputError if an argument of the Python interface is of none of ``kinds``; ``example``: a legal one."""
    if not isinstance(given, kinds):
        raise InputError(f"{name}: {str(given)[:60]!r} must be {example}")


def given_twice(names: Iterable[str], advice: str = "give one of them") -> list[str]:
    """Return a problem for each name that occurs more than once: no value may be dropped silently."""
    listed = list(names)
    return [f"{name} is given twice; {advice}" for name in dict.fromkeys(listed) if listed.count(name) > 1]


def some(problems: Sequence[str]) -> list[str]:
    """Return the first problems and the number of the others: a file of another model has hundreds of wrong tensors."""
    rest = len(problems) - MAX_PROBLEMS
    return list(problems) if rest <= 1 else [*problems[:MAX_PROBLEMS], f"... and {rest} more of this kind"]


EACH = "*."
"""Prefix of a pattern that matches an operator in all layers."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the closest known name, or the list of known names.

    A name that ``word`` abbreviates (L0.Q for L0.matmul_Q) or begins with (seq of sequence) is closer than one that
    only resembles it.
    """
    names = sorted(known)
    close = closest(word, names)
    if close is None and word.startswith(EACH):  # *.FF9: a pattern of names such as L0.FF2
        close = closest(word, sorted({EACH + name.partition(".")[2] for name in names if "." in name}))
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f" (did you mean {close!r}?)" if close else f" (known: {', '.join(names[:MAX_NAMES])}{more})"


def closest(word: str, names: Sequence[str]) -> str | None:
    """Return the known name that is meant, or None where none is close."""
    short = word.lower()
    longer = sorted(
        (name for name in names if _begins(short, name.lower()) or _abbreviates(short, name.lower())), key=len
    )
    shorter = [name for name in names if len(name) > 2 and word.lower().startswith(name.lower())]
    plural = [name for name in names if name.lower()[:-1] == short]
    close = plural or longer or shorter[-1:] or difflib.get_close_matches(word, names, n=1, cutoff=SIMILAR)
    return close[0] if close else None


def _begins(short: str, name: str) -> bool:
    """``short`` (three letters at least) is how ``name`` begins, up to the end of a word of it."""
    rest = name[len(short) :]
    return len(short) > 2 and name.startswith(short) and not rest[:1].isalnum()


def _abbreviates(short: str, name: str) -> bool:
    """All letters of ``short`` (two at least) stand in ``name`` in this order, from the first letter to the last."""
    letters = iter(name)
    inside = len(short) > 1 and all(letter in letters for letter in short)
    return inside and (short[0], short[-1]) == (name[0], name[-1])


def by_reason(refused: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return (operators, reason) for each reason of (operator, reason), naming the first operators: layers repeat."""
    names: dict[str, list[str]] = {}
    for name, reason in refused:
        names.setdefault(reason, []).append(name)
    more = {reason: f" and {len(hit) - 2} more" if len(hit) > 2 else "" for reason, hit in names.items()}
    return [(", ".join(hit[:2]) + more[reason], reason) for reason, hit in names.items()]
