"""Tight gates of the L2 cache: the cycle in which a block comes, and what it costs the memory.

Rules from the inclusive cache's sources (rocket-chip-inclusive-cache 8e157c80); l2.csv holds the whole to account.
A Get that enters in cycle t reads the directory; t+1 makes the plan, t+2 starts it. A hit then takes the data
pipeline (SourceD: three stages). A miss leaves by a queue (t+3), comes back by another, is written to the banks and
is answered a cycle after the first beat if it asks for the first bytes of the block, else after the last.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers.gates import ACC, DRAM, OUT, Gate, work
from hypothesis import given
from hypothesis import strategies as st

from sim.hardware import load
from sim.lower import build, lower
from sim.timing.contents import L2Contents
from sim.timing.timer import run

HIT = 4  # t+2 start, s1; t+3 s2; t+4 s3 = answer
MISS = 7  # t+2 start, t+3 request, +L answer, +1 queue and banks, +1 start and s1, +1 s2, +1 s3
LINE, BEAT, BEATS, WAYS = 64, 16, 4, 8
MSHRS = 10  # memCycles 40 / 4 beats
L2 = {"memory__l2_bytes": "512KiB"}


def reads(addresses: list[int], fence: bool = True, **overrides: object) -> Gate:
    """One-row mvins of 16 B, each behind a fence or all at once."""
    gate = Gate(**overrides).configure()
    for address in addresses:
        gate.mvin(address, 0, 16, 1)
        if fence:
            gate.fence()
    return gate


def completions(gate: Gate) -> list[int]:
    """Cycles from issue to completion of each mvin."""
    return [times.complete - times.issue for times in work(gate.run())]


@pytest.mark.parametrize("latency", [1, 40, 100])
@pytest.mark.parametrize("offset", [0, 16, 48])
def test_a_miss_waits_for_its_first_beat_or_for_the_whole_block(latency: int, offset: int) -> None:
    (without,) = completions(reads([DRAM + offset], memory__latency_cycles=latency))
    (behind,) = completions(reads([DRAM + offset], memory__latency_cycles=latency, **L2))
    assert behind - without == MISS + (0 if offset == 0 else BEATS - 1)


@pytest.mark.parametrize("latency", [1, 40, 100])
def test_a_hit_does_not_know_the_memory(latency: int) -> None:
    (without,) = completions(reads([DRAM], memory__latency_cycles=latency))
    gate = reads([DRAM, DRAM, DRAM + 32], memory__latency_cycles=latency, **L2)
    _, same, other = completions(gate)
    assert same == other == without - latency + HIT
    counters = gate.run().counters
    assert (counters["L2_HITS"], counters["L2_MISSES"], counters["DRAM_READ_BYTES"]) == (2, 1, LINE)


def test_no_more_misses_under_way_than_mshrs() -> None:
    blocks = [DRAM + LINE * i for i in range(40)]
    gate = Gate(memory__latency_cycles=400, dma__max_in_flight_requests=64, **L2).configure(stride=LINE)
    for i in range(0, len(blocks), 10):
        gate.mvin(blocks[i], 0, 16, 10)
    assert gate.run().counters["MAX_OUTSTANDING_READS"] == MSHRS


def store(columns: int, rows: int = 1, address: int = OUT, **overrides: object) -> Gate:
    gate = Gate(**overrides).configure(stride=64)
    gate.mvout(address, ACC, columns, rows)
    return gate


def test_a_put_of_a_whole_block_never_reads_it() -> None:
    """AcquirePerm: the cork grants it without asking the memory."""
    counters = store(64, rows=4, **L2).run().counters
    assert (counters["L2_MISSES"], counters["DRAM_READ_BYTES"], counters["DRAM_WRITE_BYTES"]) == (4, 0, 0)


def test_a_put_of_a_part_fetches_the_block_first() -> None:
    counters = store(16, rows=4, **L2).run().counters
    assert (counters["L2_MISSES"], counters["DRAM_READ_BYTES"], counters["DRAM_WRITE_BYTES"]) == (4, 4 * LINE, 0)


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=40), st.integers(1, 3))
def test_blocks_are_conserved(accesses: list[tuple[int, bool]], log_sets: int) -> None:
    """Every request hits or misses; what leaves the memory was missed; what comes back was dirty before."""
    sets = 1 << log_sets
    gate = Gate(memory__l2_bytes=sets * WAYS * LINE).configure(stride=LINE)
    for block, write in accesses:
        if write:
            gate.mvout(DRAM + LINE * block, ACC, 16, 1)
        else:
            gate.mvin(DRAM + LINE * block, 0, 16, 1)
        gate.fence()
    gate.mvin(DRAM, 0, 16, 1)  # the last write-back is through before the end
    gate.wait(200)
    gate.mvin(DRAM, 0, 16, 1)
    counters = gate.run().counters
    assert counters["L2_HITS"] + counters["L2_MISSES"] == len(accesses) + 2
    assert counters["DRAM_READ_BYTES"] == LINE * counters["L2_MISSES"]
    assert counters["DRAM_WRITE_BYTES"] == LINE * counters["L2_WRITEBACKS"]
    distinct = {block for block, _ in accesses} | {0}
    assert counters["L2_MISSES"] >= len(distinct)
    assert counters["L2_WRITEBACKS"] <= sum(write for _, write in accesses)
    per_set = [sum(block % sets == place for block in distinct) for place in range(sets)]
    if max(per_set) == 1:  # a victim is drawn among the ways, so two blocks of a set may push each other out
        assert counters["L2_MISSES"] == len(distinct) and counters["L2_WRITEBACKS"] == 0


def test_what_a_program_left_is_found_by_the_next() -> None:
    """Parts of one program between fences, or programs one after the other: the same, but for the fence's own cycle."""
    hw = load("gemmini_l2", {"memory.l2_bytes": "16KiB"})
    program = lower(build.matmul(64, 64, 96), hw)
    whole = run(np.concatenate([program, program, program]), hw)
    contents, phase, cycles = L2Contents.empty(hw), 0, []
    for _ in range(3):
        timing = run(program, hw, phase=phase, l2=contents)
        assert timing.l2 is not None
        contents, phase = timing.l2, timing.phase
        cycles.append(timing.cycles)
    assert whole.sections == (cycles[0], cycles[1] + 1, cycles[2] + 1)
