"""Oracle: what no library call uses but the command set has: shifted results, ReLU on the way into the scratchpad."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.bench_machine import MACHINES

from sim import hardware
from sim.base.errors import Hang
from sim.functional import Machine
from sim.isa.commands import ACCUMULATOR_BIT, FULL_WIDTH_BIT, GARBAGE_ADDRESS, Funct
from sim.lower import build, lower
from sim.lower.encode import Stream
from sim.timing import timer

A, B, C = 0x2001_0000, 0x2001_1000, 0x2001_2000
HW = MACHINES["gemmini_default"]


def product(a, b, target, dataflow, shift=0, activation=0):
    """C = A x B [16, 16] at local address ``target`` through hand-issued commands, as stored."""
    stream = Stream(HW)
    stream.emit(Funct.CONFIG, 0x3F800000 << 32 | 1 << 16 | activation << 3 | dataflow << 2, 1 << 48 | shift)
    wide = bool(target & ACCUMULATOR_BIT)
    stream.config_st(64 if wide else 16)
    stream.config_ld(16)
    stream.mvin(A, 0, 16, 16)
    stream.mvin(B, HW.sp_bank_rows, 16, 16)
    first, second = (HW.sp_bank_rows, GARBAGE_ADDRESS) if dataflow else (GARBAGE_ADDRESS, HW.sp_bank_rows)
    stream.preload(first, target, (16, 16), (16, 16))
    stream.compute(0, second, (16, 16), (16, 16), preloaded=True)
    stream.mvout(C, target | (FULL_WIDTH_BIT if wide else 0), 16, 16)
    stream.fence()
    machine = Machine(HW, 1 << 16)
    machine.write(A, a)
    machine.write(B, b)
    done = machine.run(timer.run(stream.program(), HW, timeline=True))
    assert done.clashes == 0
    return machine.read(C, (16, 16), wide=wide)


def operands(high):
    return np.random.default_rng(7).integers(-high, high, (2, 16, 16))


@pytest.mark.parametrize("shift", [0, 1, 5, 31])
def test_output_stationary_results_are_shifted_half_to_even(shift):
    a, b = operands(128)
    a[0], b[:, 0] = 0, 0
    a[0, 0], b[0, 0], b[0, 1] = 1, 16, 48  # halves at a shift of 5: to 0 and to 2
    found = product(a, b, ACCUMULATOR_BIT, dataflow=0, shift=shift)
    np.testing.assert_array_equal(found, np.rint((a @ b) / 2**shift))
    if shift == 5:
        assert (found[0, 0], found[0, 1]) == (0, 2)


def test_weight_stationary_results_are_not_shifted():
    a, b = operands(128)
    np.testing.assert_array_equal(product(a, b, ACCUMULATOR_BIT, dataflow=1, shift=5), a @ b)


@pytest.mark.parametrize("activation", [0, 1])
def test_results_in_the_scratchpad_are_clipped_then_activated(activation):
    a, b = operands(6)
    sums = a @ b
    assert sums.max() > 127 or sums.min() < -128
    found = product(a, b, 2 * HW.sp_bank_rows, dataflow=1, activation=activation)
    np.testing.assert_array_equal(found, np.clip(sums, 0 if activation else -128, 127))


def test_a_sub_bank_that_cannot_keep_up_is_named():
    # one sub-bank reads for every accumulating row, so that no queued write gets its turn: the RTL's assertion fails
    single = {"accumulator.single_ported": True, "accumulator.sub_banks": 1}
    work = build.matmul(64, 16, 64, bias="full")
    with pytest.raises(Hang, match="write queue of their accumulator sub-bank"):
        timer.run(lower(work, hardware.load("gemmini_default", single)), hardware.load("gemmini_default", single))
    # results two rows apart, as of a dilated input, make one of two sub-banks the only one
    chip = MACHINES["gemmini_chip"]
    with pytest.raises(Hang, match="nearest: twice the accumulator"):
        timer.run(lower(build.conv(8, 16, 16, 3, padding=1, input_dilation=2), chip), chip)


def test_a_machine_without_a_scaler_scales_nothing():
    # chipFP32Config: the function of its accumulator's scaler returns the sum as it is, whatever the scale
    hw = MACHINES["gemmini_chip_fp32"]
    assert hw.accumulator.scale_units == "none"
    work = build.matmul(4, 4, 4, scale=0.05, input_bytes=4, acc_bytes=4)
    machine = Machine(hw, 1 << 16)
    machine.write(work.a.address, 3 * np.eye(4))
    machine.write(work.b.address, np.arange(16).reshape(4, 4))
    machine.run(timer.run(lower(work, hw), hw, timeline=True))
    np.testing.assert_array_equal(machine.read(work.c.address, (4, 4)), 3 * np.arange(16).reshape(4, 4))


def test_a_fused_step_rounds_once():
    """1 + 2**-12 squared is 1 + 2**-11 + 2**-24: a tie that a tiny third term decides, in float32 and in bfloat16."""
    for name, step in (("gemmini_fp32_4x4", 2.0**-12), ("gemmini_bf16_4x4_ws", 2.0**-4)):
        hw = MACHINES[name]
        work = build.matmul(1, 1, 2, scale=1.0, full_c=True, input_bytes=hw.input_bytes, acc_bytes=4)
        tie = (1 + step) ** 2
        rounded = {}
        for tiny in (0.0, 2.0**-60, -(2.0**-60)):
            machine = Machine(hw, 1 << 16)
            machine.write(work.a.address, [[tiny, 1 + step]])
            machine.write(work.b.address, [[1.0], [1 + step]])
            machine.run(timer.run(lower(work, hw), hw, timeline=True))
            rounded[tiny] = float(machine.read(work.c.address, (1, 1), wide=True)[0, 0])
        ulp = {"fp32": 2.0**-23, "bf16": 2.0**-7}[hw.array.input_type]
        assert rounded[2.0**-60] - rounded[-(2.0**-60)] == ulp
        assert rounded[0.0] in (rounded[2.0**-60], rounded[-(2.0**-60)])
        assert abs(rounded[0.0] - tie) == ulp / 2
