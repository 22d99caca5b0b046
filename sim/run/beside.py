"""Engines other than the array: the host CPU, the vector unit, side units of sparsity; the array waits for them."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from sim.cost import energy, host
from sim.run.activity import Activity

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.plan.step import Step
    from sim.side_units.port import Ahead


def activity(step: Step, hw: Hardware, ahead: Ahead) -> Activity:
    """Return the activity of an engine other than the array for a step. ``ahead``: pending work of side units."""
    if step.engine == "host":
        return _on_host(step, hw)
    return _on_vector(step) if step.engine == "vector" else _on_unit(step, hw, ahead)


def _on_host(step: Step, hw: Hardware) -> Activity:
    assert step.host_kind is not None
    cycles = host.cycles(step.host_kind, step.host_elements, hw, row=step.n, macs=step.macs)
    read_bytes, write_bytes = host.traffic_bytes(step.host_kind, step.host_elements, hw)
    counters = _counters(DRAM_READ_BYTES=read_bytes, DRAM_WRITE_BYTES=write_bytes) if read_bytes or write_bytes else {}
    return Activity(cycles=cycles, host_cycles=cycles, causes={"host": cycles}, counters=counters)


def _on_vector(step: Step) -> Activity:
    assert step.vector_work is not None
    work = step.vector_work
    counters = _counters(
        DRAM_READ_BYTES=work.read_bytes,
        DRAM_WRITE_BYTES=work.write_bytes,
        VECTOR_MULTIPLICATIONS=work.multiplications,
        VECTOR_ADDITIONS=work.additions,
        VECTOR_BUFFER_BYTES=work.buffer_bytes,
    )
    return Activity(cycles=work.cycles, causes={"vector": work.cycles}, counters=counters)


def _on_unit(step: Step, hw: Hardware, ahead: Ahead) -> Activity:
    """Activity of a side unit: its cycles and ranked scores count as those of the normalisation units.

    For work by heads the array waits here for the first head only, and for each other head before using it.
    """
    assert step.side_work is not None
    work = step.side_work
    cycles = ahead.begin(work)
    counters = _counters(
        NORMALIZE_ROWS=ceil(work.ranked / hw.dim),
        SCALE_ROWS=ceil(work.scaled / hw.dim),
        DRAM_READ_BYTES=work.read_bytes,
        DRAM_WRITE_BYTES=work.write_bytes,
    )
    waits = {"load_wait": work.load_wait_cycles, "store_wait": work.store_wait_cycles}
    return Activity(cycles=cycles, causes={"normalize": cycles - sum(waits.values()), **waits}, counters=counters)


def _counters(**counted: int) -> dict[str, int]:
    return {**dict.fromkeys(energy.COUNTERS, 0), **counted}
