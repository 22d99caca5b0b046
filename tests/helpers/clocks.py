"""What the laws of the clocks share: small operators of every kind, and all that a run tells."""

from __future__ import annotations

from typing import Any

import pytest

from sim.base.errors import Hang, InputError
from sim.hardware import Hardware, load
from sim.isa.commands import Program
from sim.lower import Conv, Matmul, Norm, Operand, ResidualAdd, Work, lower
from sim.timing.parameters import parameters
from sim.timing.timer import run
from sim.timing.timing import Clock

X, W, D, C = (Operand(0x2001_0000 + 0x10_0000 * place, 96) for place in range(4))
MATMUL = Matmul(70, 96, 90, X, W, C, d=D, bias="full")
CONV = Conv(1, 9, 9, 20, 20, 3, Operand(X.address, 20), Operand(W.address, 20), Operand(C.address, 20), D, 2, 1)
WORKS: dict[str, Work] = {
    "matmul": MATMUL,
    "row_bias_full_c": Matmul(33, 96, 40, X, W, C, d=D, bias="row", full_c=True, activation="relu"),
    "one_row": Matmul(1, 96, 96, X, W, C, tile=(1, 2, 3)),
    "transposed_b": Matmul(40, 40, 64, X, W, C, transpose_b=True),
    "transposed_a": Matmul(40, 96, 64, X, W, C, transpose_a=True),
    "scaled": Matmul(24, 96, 24, X, W, C, a_scale=0.5),
    "output_stationary": Matmul(40, 96, 40, X, W, C, dataflow="OS"),
    "softmax_fused": Matmul(20, 96, 32, X, W, C, activation="softmax"),
    "resadd": ResidualAdd(70, 96, X, W, C),
    "layernorm": Norm(20, 96, "layernorm", X, C),
    "softmax": Norm(20, 96, "softmax", X, C),
    "conv": CONV,
    "pooled_conv": Conv(1, 8, 8, 3, 20, 3, Operand(X.address, 3), W, Operand(C.address, 20), D, 1, 1,
                        pool_size=2, pool_stride=2),
    "depthwise_conv": Conv(1, 9, 9, 5, 5, 3, Operand(X.address, 5), Operand(W.address, 9), Operand(C.address, 5), D, 2,
                           1, depthwise=True),
    "oblong_conv": Conv(1, 7, 9, 18, 20, 3, Operand(X.address, 18), Operand(W.address, 20), Operand(C.address, 20), D,
                        kernel_rows=1, padding=1, padding_rows=0, kernel_dilation=2),
}  # fmt: skip
"""Small operators of every kind, with edges in every dimension."""


def lowered(preset: str, work: str) -> tuple[Program, Hardware]:
    """A small operator on a preset; one that the machine or the core refuses is skipped with the reason."""
    hw = load(preset)
    try:
        parameters(hw)
        return lower(WORKS[work], hw), hw
    except InputError as refused:
        pytest.skip(str(refused))


def outcome(program: Program, hw: Hardware, clock: Clock, phase: int = 0) -> tuple[dict[str, Any], int]:
    """All that a run tells (a hang: its results) except the visited cycles, and these."""
    try:
        timing = run(program, hw, clock=clock, timeline=True, phase=phase)
    except Hang as hang:
        return {"hang": str(hang)}, 0
    assert timing.timeline is not None
    counters = {name: n for name, n in timing.counters.items() if name != "VISITED_CYCLES"}
    results = {
        "cycles": timing.cycles, "sections": timing.sections, "phase": timing.phase,
        "causes": timing.causes, "counters": counters, "timeline": timing.timeline.tolist(),
    }  # fmt: skip
    return results, timing.visited_cycles
