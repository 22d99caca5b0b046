"""One work item through lowering, timing and executor; what the tests of this folder share."""

from __future__ import annotations

import numpy as np

from sim import timing
from sim.functional import Machine
from sim.lower import lower

DRAM_BYTES = 1 << 22


def execute(work, hw, operands, seed=0, **options):
    """Run ``work``; ``operands``: (address, matrix, row stride, wide). Returns (machine, execution, timing)."""
    times = timing.run(lower(work, hw), hw, timeline=True, **options)
    machine = Machine(hw, DRAM_BYTES, seed=seed)
    for address, matrix, stride, wide in operands:
        machine.write(address, matrix, stride, wide=wide)
    return machine, machine.run(times), times


def matmul_operands(work, rng, low=-128, high=128, bias=9999, floats=False):
    """Random operands of a Matmul: (A, B, D or None, list for `execute`)."""

    def draw(shape, least, most):
        if floats:
            return rng.standard_normal(shape).astype(np.float32)
        return rng.integers(least, most, shape)

    a, b = draw((work.m, work.k), low, high), draw((work.k, work.n), low, high)
    places = [
        (work.a.address, a.T if work.transpose_a else a, work.a.row_stride, False),
        (work.b.address, b.T if work.transpose_b else b, work.b.row_stride, False),
    ]
    d = None
    if work.bias != "none":
        d = draw((1 if work.bias == "row" else work.m, work.n), *((low, high) if work.low_d else (-bias, bias)))
        places.append((work.d.address, d, None if work.bias == "row" else work.d.row_stride, not work.low_d))
    return a, b, d, places


def check_traffic(execution, times):
    """The executor's own counts equal the timing core's, and nothing clashed or left the image."""
    assert execution.counters == {name: times.counters[name] for name in execution.counters}
    assert (execution.clashes, execution.outside_writes) == (0, 0)
