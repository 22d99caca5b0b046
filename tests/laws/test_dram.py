"""What holds for a DRAM channel on any stream of requests, whatever its device and its controller."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from helpers.dram_devices import load_dram
from hypothesis import given
from hypothesis import strategies as st

from sim.core.units.dram import drive, state
from sim.hardware.dram import devices
from sim.hardware.dram.numbers import channel_numbers

MAPS = ("row bank bank_group rank column channel", "row column bank bank_group rank channel",
        "row rank column:2 bank bank_group column channel")  # fmt: skip

requests = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 1 << 22), st.booleans(), st.sampled_from([16, 32, 64, 128])),
    min_size=1, max_size=150,
)  # fmt: skip
controllers = st.fixed_dictionaries(
    {
        "row_hits_first": st.booleans(),
        "page": st.sampled_from(["open", "closed"]),
        "posted_writes": st.booleans(),
        "read_queue": st.integers(1, 40),
        "write_queue": st.integers(30, 40),
    }
)
queues = st.fixed_dictionaries(
    {"rules": st.just("bank_queues"), "merge_reads": st.booleans(), "posted_writes": st.just(True),
     "bank_queue": st.integers(1, 10)}
)  # fmt: skip


def _run(device: str, changes: dict[str, Any], stream: list[Any], outstanding: int, leap: bool) -> tuple[Any, ...]:
    channels = state.build(channel_numbers(load_dram(device, changes)))
    rows = np.array(stream, np.int64)
    rows[:, 0] = np.cumsum(rows[:, 0])
    rows[:, 1] &= -16
    answers = np.zeros((len(rows), 3), np.int64)
    last, refused = drive.replay(channels, rows, outstanding, answers, leap)
    d = channels[0]
    return last, refused, answers.tolist(), d.issued.tolist(), d.outcome.tolist(), rows, d


@pytest.mark.parametrize("device", devices())
@given(
    stream=requests,
    outstanding=st.integers(0, 9),
    refresh=st.booleans(),
    places=st.sampled_from(MAPS),
    data=st.data(),
)
def test_stepped_when_it_wakes_or_in_every_clock(
    device: str, stream: list[Any], outstanding: int, refresh: bool, places: str, data: st.DataObject
) -> None:
    """The cycle in which a channel says it can act next is right: between two such cycles nothing happens."""
    own = controllers | queues if device.startswith("ddr") else controllers
    changes = {"refresh": refresh, "address_map": places, "controller": data.draw(own)}
    leaping, full = (_run(device, changes, stream, outstanding, leap) for leap in (True, False))
    assert leaping[:5] == full[:5]
    last, _, answers, issued, _, rows, d = leaping
    assert last >= 0
    lines = [(a + size - 1) // (1 << d.line_bits) - a // (1 << d.line_bits) + 1 for a, size in rows[:, [1, 3]].tolist()]
    reads = sum(n for n, write in zip(lines, rows[:, 2], strict=True) if not write)
    for (accepted, completion, burst), arrival, write in zip(answers, rows[:, 0], rows[:, 2], strict=True):
        assert arrival <= accepted <= completion
        if burst >= 0 and not write:
            assert completion >= burst + d.read_latency
    assert issued[3] + d.forwarded == reads
    # clocks of the data bus that a burst takes
    clocks = min(d.distance[1, 3, 3], d.distance[1, 4, 4])
    assert clocks * (issued[3] + issued[4] - d.ranks) <= d.ranks * (d.last_t + 1)


@pytest.mark.parametrize(("switch", "clocks"), [(2, 6), (4, 8)])
def test_two_ranks_on_one_bus_leave_it_free_between_their_bursts(switch: int, clocks: int) -> None:
    """Lines that go round two ranks are at least burst + nCS clocks apart."""
    changes = {"ranks": 2, "address_map": "row bank bank_group column rank channel", "timing": {"nCS": switch}}
    stream = [(0, 64 * i, False, 64) for i in range(64)]
    bursts = sorted((burst, i % 2) for i, (_, _, burst) in enumerate(_run("ddr4_2400", changes, stream, 0, True)[2]))
    apart = [later - t for (t, rank), (later, other) in pairwise(bursts) if rank != other]
    assert apart
    assert min(apart) == clocks
