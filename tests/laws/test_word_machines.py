"""The clocks agree on random programs of random machines at random word sizes, hardware loops of all kinds included."""

from __future__ import annotations

from typing import Any

from helpers.clocks import outcome
from helpers.strategies import SEEDS, machine, programs
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.hardware import Hardware
from sim.hardware.machine import Words
from sim.isa.commands import Program


@st.composite
def narrow_cases(draw: Any) -> tuple[Hardware, Program, int]:
    """A machine whose operands, results and sums have bits of their own, a program for it, the next loop slot."""
    plain = machine(draw(SEEDS))
    widths = [bits for bits in (2, 4, 8, 16) if plain.dim * bits % 8 == 0]
    a, b, c, word = (draw(st.sampled_from(widths)) for _ in range(4))
    sums = draw(st.sampled_from(["int16", "int32"])) if plain.array.acc_type == "int32" else plain.array.acc_type
    kind = plain.array.input_type
    hw = plain.with_words(Words(a, b, c, word, 1, draw(st.integers(1, 4)), kind, kind, sums))
    return hw, draw(programs(hw)), draw(st.integers(0, 1))


@settings(deadline=None)
@given(narrow_cases())
def test_clocks_agree_at_any_word_sizes(case: tuple[Hardware, Program, int]) -> None:
    hw, program, phase = case
    reference, _ = outcome(program, hw, "reference", phase)
    for clock in ("leap", "periodic"):
        message, _ = outcome(program, hw, clock, phase)  # type: ignore[arg-type]
        assert message.keys() == reference.keys()
        for name, value in reference.items():
            assert message[name] == value, (clock, name)
    if "cycles" in reference:
        assert sum(reference["causes"].values()) == reference["cycles"]
