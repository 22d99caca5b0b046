"""Which of several answers no other beats: the Pareto front, smaller being better."""

from __future__ import annotations

from collections.abc import Sequence


def pareto(scores: Sequence[Sequence[float] | None]) -> list[bool]:
    """Return which scores no other beats: smaller in one and no larger in all. None is never best."""

    def beats(one: Sequence[float], other: Sequence[float]) -> bool:
        return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)

    there = [score for score in scores if score is not None]
    return [score is not None and not any(beats(other, score) for other in there) for score in scores]
