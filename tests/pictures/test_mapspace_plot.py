"""The picture of a random sample of mappings: every draw is in a bar, other files are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.mapspace_sample import SAMPLE
from matplotlib.figure import Figure

from reports import mapspace
from sim.base.errors import InputError


def test_bars_hold_the_whole_sample(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps([SAMPLE, SAMPLE]))
    figure = Figure()
    mapspace.page(figure, mapspace.read(path))
    assert len(figure.axes) == 2
    for axes in figure.axes:
        assert sum(bar.get_height() for bar in axes.patches) == pytest.approx(100)  # type: ignore[attr-defined]
        legend = axes.get_legend()
        assert legend is not None
        words = [text.get_text() for text in legend.get_texts()]
        assert "below 3: 4.0%" in words
        assert "10th percentile 9" in words


@pytest.mark.parametrize("content", ["{}", "[]", '[{"shape": "x"}]'])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"is no file of `carat map --sample N -o FILE\.json`"):
        mapspace.read(path)
