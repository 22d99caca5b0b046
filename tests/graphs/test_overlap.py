"""Whether windows overlap: the quick checks against a look at every element."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sim.graph import View
from sim.graph.overlap import overlap

SMALL, STRIDE = st.integers(1, 4), st.integers(0, 16)
WINDOWS = st.builds(View, st.just("x"), SMALL, SMALL, SMALL, STRIDE, st.integers(0, 40), st.integers(0, 40))
ALIKE = st.tuples(st.integers(1, 12), st.integers(1, 40)).flatmap(
    lambda strides: st.lists(
        st.builds(View, st.just("x"), SMALL, SMALL, SMALL, *map(st.just, strides), st.integers(0, 60)),
        min_size=1,
        max_size=5,
    )
)
"""Windows of equal strides, for which there are rules of their own."""


@given(st.one_of(ALIKE, st.lists(WINDOWS, min_size=1, max_size=4)))
def test_overlap_is_that_of_the_elements(views: list[View]) -> None:
    views = sorted(views, key=lambda view: view.offset)
    elements = [
        view.offset + item * view.batch_stride + row * view.row_stride + col
        for view in views
        for item in range(view.batch)
        for row in range(view.rows)
        for col in range(view.cols)
    ]
    assert overlap(views) == (len(set(elements)) < len(elements))
