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

NESTED = st.tuples(st.integers(1, 6), st.integers(0, 30)).flatmap(
    lambda grid: st.lists(
        st.builds(
            View,
            st.just("x"),
            SMALL,
            st.integers(1, 3),
            st.integers(1, grid[0]),
            st.just(grid[0]),
            st.just(3 * grid[0] + grid[1]),
            st.integers(0, 60),
        ),
        min_size=2,
        max_size=4,
    )
)
"""Windows of one grid: rows within their stride, repetitions within theirs."""


@given(st.one_of(ALIKE, NESTED, st.lists(WINDOWS, min_size=1, max_size=4)))
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


def test_patches_of_a_large_image_take_turns_in_both_directions() -> None:
    """MobileViT: pixels of 2 x 2 patches, four windows of 10^8 rows each; moved by one element they meet."""
    side, width = 10_000, 8
    grid = {"batch": side, "rows": side, "cols": width, "row_stride": 2 * width, "batch_stride": 4 * side * width}
    patches = [View("x", **grid, offset=(2 * side * down + along) * width) for down in (0, 1) for along in (0, 1)]
    assert not overlap(patches)
    assert overlap([*patches[:3], View("x", **grid, offset=patches[3].offset + 1)])
