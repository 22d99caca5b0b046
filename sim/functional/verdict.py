"""Decisions of a head's logits, and whether integer and float logits agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError, did_you_mean

Array = npt.NDArray[Any]

MAX_NAMED = 8
"""Number of decisions that are listed; all are counted."""


@dataclass(frozen=True)
class Verdict:
    """``decisions``, ``float_decisions``: decisions of both (labels; positions of tokens for a span).

    ``same``: number of the ``out_of`` decisions that agree; ``out_of`` is 0 without decisions (pooler, regression).
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
        """Return e.g. ``positive (float: positive)``, or the number that agree."""
        if not self.out_of:
            return "nothing to decide"
        if self.out_of > MAX_NAMED:
            return f"{self.same} of {self.out_of} as in float"
        return f"{', '.join(self.decisions)} (float: {', '.join(self.float_decisions)})"


def judge(logits: Array, reference: Array, kind: str, labels: Sequence[str], problem: str) -> Verdict:
    """Return the decisions of logits [rows, labels] and of those in float.

    ``kind``: "sequence", "tokens", "language" (the largest logit of each row names its label, or with ``problem``
    "multi_label_classification" each positive one), "span" (the rows with the largest logits are start and end of the
    answer), "pooler". A pooler or a regression has no decisions.
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


def perplexity(logits: Array, ids: Sequence[int]) -> float | None:
    """Return e to the mean of -log p(next token) over logits [tokens, vocabulary]; None for a single token."""
    if len(ids) < 2:
        return None
    rows = logits[: len(ids) - 1].astype(np.float64)
    rows = rows - rows.max(axis=1, keepdims=True)
    right = rows[np.arange(len(rows)), list(ids[1:])]
    return float(np.exp((np.log(np.exp(rows).sum(axis=1)) - right).mean()))


@dataclass(frozen=True)
class Evaluation:
    """Verdicts over many sequences. ``accuracy``, ``float_accuracy``: share decided as labelled; None: no labels."""

    sequences: int
    decisions: int
    same: int
    accuracy: float | None
    float_accuracy: float | None

    def __str__(self) -> str:
        """Return one line."""
        agreement = f"{self.sequences} sequences: {self.same} of {self.decisions} decisions as in float"
        if self.accuracy is None:
            return agreement
        return f"{agreement}; accuracy {self.accuracy:.1%}, in float {self.float_accuracy:.1%}"


def evaluate(verdicts: Sequence[Verdict], labels: Sequence[str | None]) -> Evaluation:
    """Return how often decisions agree with those in float, and with the labels if every sequence has one."""
    right = None
    if verdicts and all(label is not None for label in labels):
        right = [
            float(np.mean([found == (label,) for found, label in zip(which, labels, strict=True)]))
            for which in ([v.decisions for v in verdicts], [v.float_decisions for v in verdicts])
        ]
    return Evaluation(
        sequences=len(verdicts),
        decisions=sum(verdict.out_of for verdict in verdicts),
        same=sum(verdict.same for verdict in verdicts),
        accuracy=right[0] if right else None,
        float_accuracy=right[1] if right else None,
    )


def named(labels: Sequence[str | None], known: Sequence[str]) -> list[str | None]:
    """Return labels by name where they are given by name or number. Raises InputError for one that is neither."""
    wrong = [label for label in labels if label is not None and label not in known and not _number(label, known)]
    if wrong:
        raise InputError(
            f"label {wrong[0]!r} is none of {', '.join(known[:MAX_NAMED])}{did_you_mean(wrong[0], known)}, "
            f"nor a number of 0 to {len(known) - 1}"
        )
    return [label if label is None or label in known else known[int(label)] for label in labels]


def _number(label: str, known: Sequence[str]) -> bool:
    return label.isdecimal() and int(label) < len(known)
