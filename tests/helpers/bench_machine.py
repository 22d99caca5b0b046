"""One work item through lowering, timing and executor; the machines of this folder's tests."""

from __future__ import annotations

from dataclasses import replace

from helpers import reference
from sim import hardware
from sim.functional import Machine
from sim.lower import ResidualAdd, lower
from sim.timing import timer

DRAM_BYTES = 1 << 22

SMALL = {"scratchpad.capacity": "16KiB", "accumulator.capacity": "8KiB"}
# no preset has 16-bit integers; twice the scratchpad keeps its rows
INT16 = {"array.input_type": "int16", "scratchpad.capacity": "512KiB", "dma.mvin_scale_units": "none"}

MACHINES = {
    **{name: hardware.load(name) for name in hardware.presets()},
    "small": hardware.load("gemmini_default", SMALL),
    "int16": hardware.load("gemmini_default", INT16),
}
"""Every preset, one whose tiles are small, one of int16."""

NORMALISING = [name for name, hw in MACHINES.items() if hw.features.normalizations]


def execute(work, hw, operands, seed=0, layernorm="library", **options):
    """Run ``work``; ``operands``: (address, matrix, row stride, wide). Returns (machine, execution, timing)."""
    times = timer.run(lower(work, hw), hw, timeline=True, **options)
    machine = Machine(hw, DRAM_BYTES, seed=seed, layernorm=layernorm)
    for address, matrix, stride, wide in operands:
        machine.write(address, matrix, stride, wide=wide)
    return machine, machine.run(times), times


def sizes_of(hw):
    """Element sizes as the builders want them."""
    return {"input_bytes": hw.input_bytes, "acc_bytes": hw.acc_bytes}


def draw(rng, kind, shape, low=-128, high=128):
    """Random values of an element type (or of sums), exactly as stored."""
    if kind in reference.ROUND:
        return reference.ROUND[kind](rng.standard_normal(shape))
    return rng.integers(low, high, shape)


def heard(hw, work):
    """``work`` as the machine takes it: the accumulator of gemmini_chip_fp32 scales nothing."""
    if hw.accumulator.scale_units != "none":
        return work
    return replace(work, **{"c_scale" if isinstance(work, ResidualAdd) else "scale": 1.0})


def legal(hw, work):
    """The nearest product this machine takes."""
    if hw.array.dataflow != "BOTH":
        work = replace(work, dataflow=hw.array.dataflow)
    if work.dataflow == "OS":
        work = replace(work, low_d=False, transpose_a=False, transpose_b=False)
        if work.activation in ("softmax", "layernorm"):
            work = replace(work, activation="none")
    if work.activation in ("igelu", "softmax", "layernorm") and not hw.features.normalizations:
        work = replace(work, activation="relu")
    if not hw.accumulator.read_full_width or work.activation != "none":
        work = replace(work, full_c=False)
    if hw.dma.mvin_scale_units == "none":
        work = replace(work, a_scale=1.0, b_scale=1.0, d_scale=1.0)
    return work


def matmul_operands(work, rng, low=-128, high=128, bias=9999, kind="int8"):
    """Random operands of a Matmul: (A, B, D or None, list for `execute`)."""
    a, b = draw(rng, kind, (work.m, work.k), low, high), draw(rng, kind, (work.k, work.n), low, high)
    places = [
        (work.a.address, a.T if work.transpose_a else a, work.a.row_stride, False),
        (work.b.address, b.T if work.transpose_b else b, work.b.row_stride, False),
    ]
    d = None
    if work.bias != "none":
        rows = 1 if work.bias == "row" else work.m
        sums = kind if work.low_d or kind not in reference.ROUND else "fp32"
        d = draw(rng, sums, (rows, work.n), *((low, high) if work.low_d else (-bias, bias)))
        places.append((work.d.address, d, None if work.bias == "row" else work.d.row_stride, not work.low_d))
    return a, b, d, places


def check_traffic(execution, times):
    """The executor's own counts equal the timing core's, and nothing clashed or left the image."""
    assert execution.counters == {name: times.counters[name] for name in execution.counters}
    if "DRAM_READ_REQUESTS" not in execution.counters:
        assert execution.dma_requests == times.counters["L2_HITS"] + times.counters["L2_MISSES"]
    assert (execution.clashes, execution.outside_writes) == (0, 0)
