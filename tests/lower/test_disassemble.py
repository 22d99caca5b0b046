"""The program in words: every field a reader needs, one line per command."""

from __future__ import annotations

import pytest

from sim import hardware
from sim.isa.commands import Funct, command, local_operand, program
from sim.isa.disassembly import ACTIVATIONS, disassemble
from sim.lower import build, lower, work


def words(*commands):
    return [line.split(None, 1)[1] for line in disassemble(program(list(commands))).splitlines()]


@pytest.mark.parametrize(
    ("one", "line"),
    [
        (
            command(Funct.MVIN2, 0x20011000, local_operand(0x1A10, 64, 16)),
            "mvin2 spad[6672] 16x64 <- dram 0x20011000",
        ),
        (command(Funct.MVIN3, 0, local_operand(1 << 31 | 0x250, 16, 16)), "mvin3 acc[592] 16x16 <- zeros"),
        (
            command(Funct.MVOUT, 0x20012000, local_operand(7 << 29 | 3, 16, 4)),
            "mvout acc[3] accumulate full-width 4x16 -> dram 0x20012000",
        ),
        (
            command(Funct.MVOUT, 0x20012000, local_operand(3 << 30 | 4 << 26 | 1, 64, 1)),
            "mvout acc[1] accumulate inv_stddev 1x64 -> dram 0x20012000",
        ),
        (
            command(Funct.PRELOAD, local_operand(0xFFFFFFFF, 16, 16), local_operand(3 << 30 | 16, 5, 7)),
            "preload nowhere 16x16 -> acc[16] accumulate 7x5",
        ),
        (
            command(Funct.COMPUTE_ACCUMULATED, local_operand(32, 9, 4), local_operand(0xFFFFFFFF, 16, 16)),
            "compute_accumulated spad[32] 4x9, nowhere 16x16",
        ),
        (command(Funct.FENCE), "fence"),
        (command(Funct.FLUSH), "flush"),
        (command(126, 1, 2), "funct 126 0x1 0x2"),
        (
            command(Funct.CONFIG, 0x3F80000000100105, 0x40),
            "config_ld state 0, stride 64 B, block stride 16 rows, narrow into accumulator, scale 1",
        ),
        (command(Funct.CONFIG, 0x6, 0x3D4CCCCD00000080), "config_st stride 128 B, relu, scale 0.05"),
        (command(Funct.CONFIG, 0x20103, 0), "config_norm statistics 1"),
    ],
)
def test_one_command(one, line):
    assert words(one) == [line]


def test_slow_commands_show_their_pace():
    assert words(command(Funct.FENCE), command(Funct.FLUSH, gap=8))[1] == "flush  (after 8 cycles)"


def test_hardware_loop_in_words():
    hw = hardware.load("gemmini_ibert")
    text = disassemble(lower(build.matmul(20, 40, 33, bias="row", activation="softmax"), hw))
    for part in (
        "bounds IxJxK 2x3x3 blocks, pads 12,8,15", "A dram 0x20010000, B dram 0x20011000", "qln2 13",
        "strides A 33 elements, B 40 elements", "run softmax, accumulate, A in half 1, B in half 1",
    ):  # fmt: skip
        assert part in text


def test_convolution_loop_in_words():
    text = disassemble(lower(build.conv(14, 16, 32, 3, padding=1), hardware.load("gemmini_default")))
    assert "krows 3, kcols 3, kchs 16, lpad 1, rpad 1, upad 1, dpad 1" in text
    assert "no_bias 0" in text and "no_pool 1" in text


def test_one_line_per_command():
    stream = lower(build.matmul(100, 100, 100, dataflow="OS"), hardware.load("gemmini_default"))
    lines = disassemble(stream).splitlines()
    assert len(lines) == len(stream)
    assert [int(line.split()[0]) for line in lines] == list(range(len(stream)))
    assert not any("funct" in line for line in lines)


def test_activations_have_the_codes_that_the_disassembly_names() -> None:
    """One order in both rooms: `sim.lower.work` types the names that `sim.isa` prints."""
    assert work.ACTIVATIONS == ACTIVATIONS
