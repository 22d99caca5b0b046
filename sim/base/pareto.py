"""The Pareto front: points that no other point dominates, smaller being better."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def pareto(scores: Sequence[Sequence[float] | None], groups: Sequence[Hashable] | None = None) -> list[bool]:
    """Return whether each score is on the Pareto front of its group. A score of None is on no front.

    A score dominates another when it is smaller in one objective and larger in none. ``groups``: one per score; only
    scores of equal groups are compared (a front per workload and size); None = all are compared.
    """

    def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
        return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)

    of = list(groups) if groups is not None else [None] * len(scores)
    members: dict[Hashable, list[Sequence[float]]] = {}
    for group, score in zip(of, scores, strict=True):
        members.setdefault(group, []).extend([] if score is None else [score])
    return [
        score is not None and not any(dominates(other, score) for other in members[group])
        for group, score in zip(of, scores, strict=True)
    ]
