"""The nearest known name: abbreviations first, then look-alikes, else all that is known."""

from __future__ import annotations

import pytest

from sim.base.errors import did_you_mean

OPERATORS = ["L0.FF1", "L0.FF2", "L0.matmul_Q", "L0.matmul_K", "L1.matmul_Q"]


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("L0.Q", "L0.matmul_Q"), ("l1.q", "L1.matmul_Q"), ("L0.FF3", "L0.FF2"), ("L0.matmulK", "L0.matmul_K")],
)
def test_the_nearest_name(word: str, nearest: str) -> None:
    assert did_you_mean(word, OPERATORS) == f" (did you mean {nearest!r}?)"


def test_all_names_when_none_is_near() -> None:
    assert did_you_mean("zzz", ["b", "a"]) == " (known: a, b)"


def test_a_beginning_and_a_pattern_are_met_by_the_name_that_is_meant() -> None:
    """Hints name what the door takes: whole keys, and patterns of operators."""
    columns = ["memory.read_bytes_per_cycle", "memory.latency_cycles", "cycles"]
    assert did_you_mean("memory.read", columns) == " (did you mean 'memory.read_bytes_per_cycle'?)"
    assert did_you_mean("*.FF9", ["L0.FF2", "L0.scores", "L1.FF2"]) == " (did you mean '*.FF2'?)"
