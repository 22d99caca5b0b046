"""Faults found by using the product, each as the rule that was broken: nothing is lost or endless in silence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.clocks import outcome

from sim import hardware
from sim.base.errors import Hang, InputError
from sim.hardware import Hardware, load
from sim.isa.commands import ConfigKind, Funct, command, program
from sim.lower import build, lower
from sim.lower.work import PackedMatmul
from sim.timing import timer
from sim.timing.timing import Clock

ROOT = Path(__file__).parents[2]


def array(dim: int, **more: object) -> Hardware:
    """The default machine with a larger array and memories to match."""
    sizes = {"array.mesh_rows": dim, "array.mesh_columns": dim, "scratchpad.capacity": 4 << 20}
    return load("gemmini_default", {**sizes, "accumulator.capacity": 4 << 20, **more})


# Arrays of 256 and more: the rows of a block need nine bits and more of the operand, up to the highest


@pytest.mark.parametrize("dim", (128, 256))
@pytest.mark.parametrize("clock", ("leap", "reference"))
def test_large_arrays_load_all_their_operands(dim: int, clock: Clock) -> None:
    """256x256x256 gave 5,825 cycles and 512 bytes read, where 131,072 bytes must come through a 16-byte port."""
    hw = array(dim)
    timed = timer.run(lower(build.matmul(dim, dim, dim), hw), hw, clock=clock)
    assert timed.counters["DRAM_READ_BYTES"] >= 2 * dim * dim
    assert timed.cycles >= timed.counters["DRAM_READ_BYTES"] / hw.dma.bus_bytes


def test_a_decoder_leaves_no_room_for_the_rows_of_a_large_array() -> None:
    decoder = {"sparsity.decoder": ["bitmap"], "sparsity.decoder_elements_per_cycle": 16}
    assert array(128, **decoder).dim == 128
    with pytest.raises(InputError, match=r"sparsity.decoder = \[.bitmap.\].*nearest legal value: \[\]"):
        array(256, **decoder)


def test_a_stored_row_longer_than_its_field_is_refused() -> None:
    """Bit 7 of the bytes is the sign of the operand: 128 bytes a row would be read as a negative number."""
    hw = array(128, **{"sparsity.decoder": ["bitmap"], "sparsity.decoder_elements_per_cycle": 16})
    product = build.matmul(128, 128, 128)
    packed = PackedMatmul(product, ((128,),), 128, 1, 0, 1 << 30, 128 * 128, stored_bits=((8 * 128 * 144,),))
    with pytest.raises(InputError, match="144 stored bytes: its field holds at most 127"):
        lower(packed, hw)


# Memories at the ends of their range


@pytest.mark.parametrize("rate, beat_cycles", [(0.0006, 16 / 0.0006), (0.0005, 32000), (0.0004, 40000), (1e-6, 16e6)])
def test_a_slow_memory_keeps_its_pace(rate: float, beat_cycles: float) -> None:
    """0.0006 and 0.0005 used to give the cycles of 0.001, and 0.0004 a division by zero."""
    hw = load("gemmini_default", {"memory.read_bytes_per_cycle": rate})
    timed = timer.run(lower(build.matmul(16, 16, 16), hw), hw)
    beats = timed.counters["BUS_READ_BEATS"]
    assert (beats - 1) * beat_cycles <= timed.cycles <= beats * beat_cycles + 1000


def test_an_l2_with_a_wide_port_loses_no_request() -> None:
    """42 requests wait behind one MSHR where its ring had 40 places."""
    for requests in (47, 64, 256):
        hw = load("gemmini_l2", {"dma.bus_bytes": 64, "dma.max_in_flight_requests": requests})
        message, _ = outcome(lower(build.matmul(1, 1, 33), hw), hw, "leap")
        reference, _ = outcome(lower(build.matmul(1, 1, 33), hw), hw, "reference")
        assert message == reference and message["cycles"] < 1000


# Progress


@pytest.mark.parametrize("gap", (2_100, 50_000))
@pytest.mark.parametrize("clock", ("periodic", "leap", "reference"))
def test_a_slow_cpu_is_no_hang(gap: int, clock: Clock) -> None:
    """Accepted commands are progress, and so is the wait for the next one, however long."""
    hw = load("gemmini_default")
    slow = lower(build.matmul(16, 16, 16), hw)
    slow["gap"] = gap
    timed = timer.run(slow, hw, clock=clock)
    assert timed.cycles > gap * (len(slow) - 1)


def test_one_request_in_flight_is_named_where_it_never_ends() -> None:
    hw = load("gemmini_default", {"dma.max_in_flight_requests": 1})
    with pytest.raises(Hang, match=r"dma.max_in_flight_requests = 1.*nearest value that ends: 2"):
        timer.run(lower(build.matmul(16, 64, 16), hw), hw)
    hw = load("gemmini_default", {"dma.max_in_flight_requests": 2})
    assert timer.run(lower(build.matmul(16, 64, 16), hw), hw).cycles > 0


# Programs that no machine ends

ENDLESS = [
    ("no bounds", [command(Funct.LOOP_WS)], "the loop has no bounds"),
    ("no rows", [command(Funct.LOOP_WS_CONFIG_BOUNDS, 0, 1 << 16 | 1 << 32), command(Funct.LOOP_WS)], "I = 0 blocks"),
    (
        "no block",
        [command(Funct.LOOP_WS_CONFIG_BOUNDS, 16, 1 | 1 << 16 | 1 << 32), command(Funct.LOOP_WS)],
        "padding of I = 16 leaves nothing.*nearest legal value: 15",
    ),
    ("convolution", [command(Funct.LOOP_CONV_WS)], "the loop has no bounds"),
    (
        "too long",
        [command(Funct.LOOP_WS_CONFIG_BOUNDS, 0, (1 << 48) - 1), command(Funct.LOOP_WS)],
        "I x J x K = 65535 x 65535 x 65535 blocks; at most 16,777,216",
    ),
    (
        "long convolution",
        [
            command(Funct.LOOP_CONV_WS_CONFIG_2, 0, 0xFFFF << 48 | 0xFFFF << 32 | 16 << 16 | 16),
            command(Funct.LOOP_CONV_WS_CONFIG_3, 3 << 48 | 3 << 32 | 16 << 16),
            command(Funct.LOOP_CONV_WS),
        ],
        "LOOP_CONV_WS: 38,653,526,025 blocks of batches 65,535",
    ),
    ("norm", [command(Funct.CONFIG, ConfigKind.NORM)], "normalisation units, which gemmini_default does not have"),
]


@pytest.mark.parametrize("what, commands, reason", ENDLESS, ids=[case[0] for case in ENDLESS])
def test_endless_programs_are_refused_at_the_door(what: str, commands: list[tuple[int, ...]], reason: str) -> None:
    with pytest.raises(InputError, match=f"program: command .*{reason}"):
        timer.run(program([*commands, command(Funct.FENCE)]), load("gemmini_default"))


def test_a_loop_takes_the_bounds_of_the_loop_two_before_it() -> None:
    """The third loop and all behind it need none of their own (LoopMatmul.scala keeps the slots' registers)."""
    hw = load("gemmini_default")
    whole = lower(build.matmul(16, 16, 16), hw)
    bounds, run = (whole[whole["funct"] == code] for code in (Funct.LOOP_WS_CONFIG_BOUNDS, Funct.LOOP_WS))
    fence = program([command(Funct.FENCE)])
    timer.run(np.concatenate([bounds[:1], run[:1], bounds[:1], run[:1], run[:1], fence]), hw)
    with pytest.raises(InputError, match="command 2: LOOP_WS: the loop has no bounds"):
        timer.run(np.concatenate([bounds[:1], run[:1], run[:1], fence]), hw)


def test_output_stationary_on_a_2x2_array_is_refused() -> None:
    small = {"array.mesh_rows": 2, "array.mesh_columns": 2}
    hw = load("gemmini_default", small)
    assert timer.run(lower(build.matmul(8, 8, 8), hw), hw).cycles > 0
    hw = load("gemmini_default", {**small, "array.dataflow": "OS"})
    with pytest.raises(InputError, match=r"output-stationary dataflow on a 2x2 array.*nearest: a 4x4 array"):
        timer.run(lower(build.matmul(8, 8, 8, dataflow="OS"), hw), hw)


LONG = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # where the caller was started in the background it is ignored
from sim.hardware import load
from sim.lower import build, lower
from sim.timing import timer
hw = load("gemmini_default", {"memory.read_bytes_per_cycle": 0.01})
timer.run(lower(build.matmul(16, 16, 16), hw), hw, clock="reference")
print("ready", flush=True)
try:
    timer.run(lower(build.matmul(4096, 4096, 4096), hw), hw, clock=sys.argv[1])
except KeyboardInterrupt:
    print("heard", flush=True)
"""


@pytest.mark.parametrize("clock", ("leap", "reference"))
def test_a_long_run_hears_an_interrupt(clock: str) -> None:
    """The core pauses every half second or so; without that Ctrl-C waited for its end."""
    with subprocess.Popen([sys.executable, "-c", LONG, clock], stdout=subprocess.PIPE, text=True, cwd=ROOT) as run:
        assert run.stdout is not None
        assert run.stdout.readline().strip() == "ready"
        time.sleep(2)  # it is inside the core now
        run.send_signal(signal.SIGINT)
        assert run.stdout.readline().strip() == "heard"


PAUSES = """
import json, sys
from sim.core import engine
engine.PAUSE_VISITS = int(sys.argv[1])
from sim.hardware import load
from sim.lower import build, lower
from sim.timing import timer
hw = load("gemmini_4x4", {"memory.latency_cycles": 8})
runs = {}
for clock in ("reference", "leap", "periodic"):
    timed = timer.run(lower(build.matmul(8, 12, 16), hw), hw, clock=clock, timeline=True)
    counters = {name: n for name, n in timed.counters.items() if name != "VISITED_CYCLES"}
    runs[clock] = [timed.cycles, counters, timed.causes, timed.timeline.tolist()]
print(json.dumps(runs))
"""


def test_pauses_change_nothing() -> None:
    """In plain Python, where the number of visits to a pause can be set: after every fifth, and never."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    often, never = (
        json.loads(subprocess.check_output([sys.executable, "-c", PAUSES, visits], cwd=ROOT, env=environment))
        for visits in ("5", "1000000")
    )
    assert often == never


def test_latency_begins_at_one_cycle() -> None:
    with pytest.raises(InputError, match=r"memory.latency_cycles = 0: .*nearest legal value: 1"):
        hardware.load("gemmini_default", {"memory.latency_cycles": 0})
