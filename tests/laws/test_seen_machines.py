"""The law of machines that look the same to a program: every time and counter is the same.

Held by running the program on both. A shared timing would otherwise be wrong without anyone noticing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from helpers.clocks import WORKS, outcome
from hypothesis import given
from hypothesis import strategies as st

from sim.base.errors import InputError
from sim.hardware import Hardware, load
from sim.isa.commands import Program
from sim.lower import Matmul, Operand, lower
from sim.timing.machines import seen
from sim.timing.parameters import parameters

A, B, D, C = (Operand(0x2001_0000 + 0x20_0000 * place, 320) for place in range(4))


def machine(preset: str, scratchpad_kib: int, accumulator_kib: int, **more: Any) -> Hardware:
    sizes = {"scratchpad.capacity": f"{scratchpad_kib}KiB", "accumulator.capacity": f"{accumulator_kib}KiB"}
    return load(preset, {**sizes, **more})


def message(program: Program, hw: Hardware, phase: int) -> dict[str, Any]:
    """All that a run tells, but for the local addresses of its timeline."""
    everything, _ = outcome(program, hw, "leap", phase)
    if "timeline" in everything:
        everything["timeline"] = [row[:2] + row[4:] for row in everything["timeline"]]
    return everything


def assert_law(program: Program, small: Hardware, large: Hardware, phase: int = 0) -> bool:
    """Equal if they look the same; returns whether they do."""
    same = seen(program, parameters(small)) == seen(program, parameters(large))
    if same:
        assert message(program, small, phase) == message(program, large, phase)
    return same


@given(
    st.tuples(*(st.integers(1, 150) for _ in range(3))),
    st.sampled_from(["none", "row", "full"]),
    st.sampled_from(["none", "relu", "softmax", "layernorm"]),
    st.booleans(),
    st.sampled_from([32, 64]),
    st.sampled_from([8, 16]),
    st.sampled_from([(2, 1), (1, 2), (4, 4), (1, 4)]),
    st.integers(0, 1),
)
def test_products_on_wider_memories(
    sizes: tuple[int, int, int],
    bias: Any,
    activation: Any,
    transpose_b: bool,
    scratchpad_kib: int,
    accumulator_kib: int,
    wider: tuple[int, int],
    phase: int,
) -> None:
    small = machine("gemmini_ibert", scratchpad_kib, accumulator_kib)
    large = machine("gemmini_ibert", scratchpad_kib * wider[0], accumulator_kib * wider[1])
    work = Matmul(*sizes, A, B, C, d=None if bias == "none" else D, bias=bias, activation=activation)
    try:
        program = lower(replace(work, transpose_b=transpose_b), small)
    except InputError:
        return
    assert_law(program, small, large, phase)


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("preset", ("gemmini_ibert", "gemmini_chip", "gemmini_8x8"))
def test_whole_operators_on_wider_memories(preset: str, work: str) -> None:
    small = load(preset)
    try:
        program = lower(WORKS[work], small)
    except InputError as refused:
        pytest.skip(str(refused))
    sizes = (small.scratchpad.capacity_bytes // 1024, small.accumulator.capacity_bytes // 1024)
    for wider in ((2, 1), (1, 2), (4, 4)):
        assert_law(program, small, machine(preset, sizes[0] * wider[0], sizes[1] * wider[1]))


def test_a_tile_that_fits_is_timed_once() -> None:
    """The sharing that a sweep lives on: one tile in memories of many sizes, and a program that loads no scratchpad."""
    sizes = [(256, 64), (512, 64), (4096, 64), (256, 512), (4096, 512)]
    machines = [machine("gemmini_ibert", *size) for size in sizes]
    product = lower(Matmul(64, 64, 64, A, B, C), machines[0])
    assert len({tuple(seen(product, parameters(hw)).items()) for hw in machines}) == 1
    norm = lower(WORKS["layernorm"], machines[0])
    assert len({tuple(seen(norm, parameters(hw)).items()) for hw in machines[:3]}) == 1


def test_a_region_over_two_banks_is_not_shared() -> None:
    """64 x 400 of A take 1,600 rows: two banks of a 64 KiB scratchpad, one of a larger; bank conflicts can differ."""
    small, large = machine("gemmini_ibert", 64, 64), machine("gemmini_ibert", 256, 64)
    program = lower(Matmul(64, 16, 400, A, B, C, tile=(4, 1, 25)), small)
    assert not assert_law(program, small, large)
