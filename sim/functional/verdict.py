"""What a head's logits say, and whether the integer ones say the same as those in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MOST_TOLD = 8
"""Decisions that are spelt out; all are counted."""


@dataclass(frozen=True)
class Verdict:
    """``decisions``, ``float_decisions``: what is decided by each (labels; numbers of tokens for a span).

    ``same``: how many of the ``out_of`` decisions agree; ``out_of`` is 0 where nothing is decided (pooler, regression).
    """

    decisions: tuple[str, ...]
    float_decisions: tuple[str, ...]

    @property
    def out_of(self) -> int:
        """Number of decisions."""
        return len(self.decisions)

    @property
    def same(self) -> int:
        """Decisions that are equal."""
        return sum(a == b for a, b in zip(self.decisions, self.float_decisions, strict=True))

    def __str__(self) -> str:
        """Return e.g. ``positive (float: positive)``, or how many of many agree."""
        if not self.out_of:
            return "nothing to decide"
        if self.out_of > MOST_TOLD:
            return f"{self.same} of {self.out_of} as in float"
        return f"{', '.join(self.decisions)} (float: {', '.join(self.float_decisions)})"


def judge(logits: Array, reference: Array, kind: str, labels: Sequence[str], problem: str) -> Verdict:
    """Return what logits [rows, labels] and those in float decide.

    ``kind``: "sequence", "tokens" (the largest logit of each row names its label, or with ``problem``
    "multi_label_classification" each positive one), "span" (the rows with the largest logits are start and end of the
    answer), "pooler". Nothing is decided by a pooler or a regression.
    """
    if kind == "pooler" or problem == "regression":
        return Verdict((), ())
    found = [_decisions(values, kind, labels, problem) for values in (logits, reference)]
    return Verdict(*found)


def _decisions(logits: Array, kind: str, labels: Sequence[str], problem: str) -> tuple[str, ...]:
    if kind == "span":
        return tuple(f"{label} {place}" for label, place in zip(labels, logits.argmax(axis=0), strict=True))
    if problem == "multi_label_classification":
        signs = np.asarray(logits > 0).reshape(-1, len(labels))
        return tuple(f"{'' if on else 'not '}{label}" for row in signs for label, on in zip(labels, row, strict=True))
    return tuple(labels[place] for place in logits.argmax(axis=1))
