"""The volume that a Pareto front dominates, up to a reference point; all objectives are minimised."""

from __future__ import annotations

from collections.abc import Sequence


def hypervolume(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Return the volume that the points dominate, up to the reference point.

    Exact, by slices along the last objective: front sizes of some hundred points in two to four objectives. Points that
    exceed the reference in an objective add nothing.
    """
    inside = [tuple(point) for point in points if all(a < b for a, b in zip(point, reference, strict=True))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return float(reference[0] - min(point[0] for point in inside))
    total = 0.0
    inside.sort(key=lambda point: point[-1])
    for number, point in enumerate(inside):
        top = inside[number + 1][-1] if number + 1 < len(inside) else reference[-1]
        if top > point[-1]:
            below = [other[:-1] for other in inside[: number + 1]]
            total += (top - point[-1]) * hypervolume(below, reference[:-1])
    return total
