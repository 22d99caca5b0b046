"""Arrays of any rank as windows of dense tensors, so that reshapes, transposes and slices move no element.

An axis is a product of factors (size, stride), outermost first: two axes joined by a reshape stay two factors, so that
joining never needs a copy. Strides and offsets count elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

Factor = tuple[int, int]
Axis = tuple[Factor, ...]


@dataclass(frozen=True)
class Strided:
    """A window of ``tensor``; ``axes``: the factors of each."""

    tensor: str
    axes: tuple[Axis, ...]
    offset: int = 0

    @classmethod
    def dense(cls, tensor: str, shape: Sequence[int], order: Sequence[int] | None = None) -> Strided:
        """Return all of a tensor whose axes are stored in ``order``, outermost first."""
        strides, step = [0] * len(shape), 1
        for axis in reversed(order if order is not None else range(len(shape))):
            strides[axis] = step
            step *= shape[axis]
        return cls(tensor, tuple(_axis([(size, stride)]) for size, stride in zip(shape, strides, strict=True)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return tuple(prod(size for size, _ in axis) for axis in self.axes)

    def transposed(self, order: Sequence[int]) -> Strided:
        """Return the array with its axes in another order."""
        return replace(self, axes=tuple(self.axes[axis] for axis in order))

    def restored(self, order: Sequence[int]) -> Strided:
        """Return the array of which this is `transposed` by ``order``."""
        axes: list[Axis] = [()] * len(order)
        for place, axis in enumerate(order):
            axes[axis] = self.axes[place]
        return replace(self, axes=tuple(axes))

    def reshaped(self, shape: Sequence[int]) -> Strided | None:
        """Return the array in another shape; None if that needs a copy."""
        factors = list(_axis([factor for axis in self.axes for factor in axis]))
        axes: list[Axis] = []
        for wanted in shape:
            taken: list[Factor] = []
            while wanted > 1:
                if not factors:
                    return None
                size, stride = factors.pop(0)
                if size > wanted:
                    if size % wanted:
                        return None
                    factors.insert(0, (size // wanted, stride))
                    size, stride = wanted, stride * (size // wanted)
                elif wanted % size:
                    return None
                taken.append((size, stride))
                wanted //= size
            axes.append(_axis(taken))
        return None if factors else replace(self, axes=tuple(axes))

    def sliced(self, axis: int, start: int, count: int, step: int = 1) -> Strided | None:
        """Return ``count`` elements of an axis from ``start`` on; None if they are not a window."""
        if count == 1:
            steps, at = 0, start
            for size, stride in reversed(self.axes[axis]):
                steps, at = steps + at % size * stride, at // size
            return self._with(axis, (), self.offset + steps)
        if step < 1:
            return None
        factors = self.axes[axis]
        if len(factors) > 1:  # whole steps of the outermost factor
            inner = prod(size for size, _ in factors[1:])
            if start % inner or count % inner or step != 1:
                return None
            outer = (count // inner, factors[0][1])
            return self._with(axis, (outer, *factors[1:]), self.offset + start // inner * factors[0][1])
        ((_, stride),) = factors
        return self._with(axis, ((count, stride * step),), self.offset + start * stride)

    def _with(self, axis: int, factors: Sequence[Factor], offset: int) -> Strided:
        return Strided(self.tensor, (*self.axes[:axis], _axis(factors), *self.axes[axis + 1 :]), offset)

    def spread(self, shape: Sequence[int]) -> Strided:
        """Return the array as an operand of that shape: missing axes and those of one element repeat (stride 0)."""
        axes = ((),) * (len(shape) - len(self.axes)) + self.axes[max(0, len(self.axes) - len(shape)) :]
        return replace(
            self,
            axes=tuple(
                axis if prod(size for size, _ in axis) == wanted else _axis([(wanted, 0)])
                for axis, wanted in zip(axes, shape, strict=True)
            ),
        )

    def row_stride_one(self) -> bool:
        """Return whether the last axis has stride 1."""
        return not self.axes or len(self.axes[-1]) == 0 or (len(self.axes[-1]) == 1 and self.axes[-1][0][1] == 1)


def _axis(factors: Sequence[Factor]) -> Axis:
    """Return factors without those of one element; adjacent factors that form one run are joined."""
    merged: list[Factor] = []
    for size, stride in factors:
        if size == 1:
            continue
        if merged and merged[-1][1] == size * stride:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    return tuple(merged)


Common = tuple[int, tuple[int, ...]]
"""A loop over several arrays: its count, and the stride of each array."""


def loops(axes: Sequence[Axis]) -> list[Common] | None:
    """Return the loops, outermost first, over the same axis of several arrays; None if factors do not fit."""
    left = [list(axis) for axis in axes]
    found: list[Common] = []
    while any(left):
        if not all(left):
            return None
        size = min(factors[-1][0] for factors in left)
        strides = []
        for factors in left:
            whole, stride = factors.pop()
            if whole % size:
                return None
            if whole > size:
                factors.append((whole // size, stride * size))
            strides.append(stride)
        found.append((size, tuple(strides)))
    return found[::-1]


def joined(parts: Sequence[Common]) -> list[Common]:
    """Return loops, with adjacent ones joined if they form one run in every array."""
    result: list[Common] = []
    for size, strides in parts:
        if result and all(outer == size * inner for outer, inner in zip(result[-1][1], strides, strict=True)):
            result[-1] = (result[-1][0] * size, strides)
        else:
            result.append((size, strides))
    return result
