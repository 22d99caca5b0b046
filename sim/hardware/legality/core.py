"""Rules of the timing core: limits of its record, which cannot be waived (`sim.timing.limits`)."""

from __future__ import annotations

from collections.abc import Iterator

from sim.hardware.legality.broken import Broken
from sim.hardware.machine import Hardware

MAX_REQUESTS, MAX_BANKS, MAX_QUEUED, MAX_ENTRIES = 256, 16, 64, 32
"""Sizes of the record's arrays (`XACTS`, `BANKS`, `RING` of sim.core.params; the power of two below `SLOTS` of
sim.core.units.reservation); a test compares them."""

MAX_TRACKED = 64
"""Commands that a load or store controller tracks: their numbers are entries of a ring buffer."""
MAX_TAGS = 63
MAX_MESH_CYCLES, MAX_ROW_CYCLES = 1000, 1024
"""Largest mesh latency and cycles of a row: the record has room for the results in flight."""


def core_counts(hw: Hardware) -> Iterator[Broken]:
    """Entries, banks, requests and pipelines fit the record's arrays."""
    most_requests = min(MAX_REQUESTS, MAX_TRACKED * hw.side - 1)
    limits = (
        ("dma.max_in_flight_requests", hw.dma.max_in_flight_requests, most_requests),
        ("scratchpad.banks", hw.scratchpad.banks, MAX_BANKS),
        ("accumulator.banks", hw.accumulator.banks, MAX_BANKS),
        ("reservation_station.ld", hw.reservation_station.ld, MAX_ENTRIES),
        ("reservation_station.st", hw.reservation_station.st, MAX_ENTRIES),
        ("reservation_station.ex", hw.reservation_station.ex, MAX_ENTRIES),
        ("queues.ld", hw.queues.ld, MAX_QUEUED),
        ("queues.st", hw.queues.st, MAX_QUEUED),
        ("queues.ex", hw.queues.ex, MAX_QUEUED),
        ("scratchpad.read_delay_cycles", hw.scratchpad.read_delay_cycles, 14),
        ("scratchpad.read_pipeline_cycles", hw.scratchpad.read_pipeline_cycles, 14),
        ("accumulator.latency_cycles", hw.accumulator.latency_cycles, 7),
        ("accumulator.scale_latency_cycles", hw.accumulator.scale_latency_cycles, 31),
        ("dma.mvin_scale_latency_cycles", hw.dma.mvin_scale_latency_cycles, MAX_QUEUED),
    )
    for key, value, most in limits:
        if value > most:
            yield Broken((key, "array"), value, f"the timing core holds at most {most}", most)


def core_mesh(hw: Hardware) -> Iterator[Broken]:
    """Results in flight through the mesh fit the record."""
    array = hw.array
    if array.pe == "bit_serial" and array.serial_activation_bits < 1:
        return  # a row never ends; reported by serial_bits
    hops = array.mesh_rows + array.mesh_columns - 1
    if hw.tag_queue_length > MAX_TAGS:
        most = (MAX_TAGS - 1) // 5 * min(array.tile_rows, array.tile_columns) - 1
        demand = f"results in flight take {hw.tag_queue_length} tags, the timing core holds at most {MAX_TAGS}"
        yield Broken(("array.tile_latency_cycles", "array"), array.tile_latency_cycles, demand, most)
    elif hw.mesh_latency_cycles > MAX_MESH_CYCLES:
        demand = (
            f"a row takes {hw.mesh_latency_cycles} cycles through the mesh, the timing core holds at most "
            f"{MAX_MESH_CYCLES}"
        )
        room = MAX_MESH_CYCLES - hw.row_cycles + 1
        if hops * (array.tile_latency_cycles + 1) <= room:
            most = room - hops * (array.tile_latency_cycles + 1)
            delay = array.mesh_output_delay_cycles
            yield Broken(("array.mesh_output_delay_cycles", "array"), delay, demand, most)
        elif hops <= room:
            most = room // hops - 1
            yield Broken(("array.tile_latency_cycles", "array"), array.tile_latency_cycles, demand, most)
        else:
            side = 1 << ((room + 1) // 2).bit_length() - 1
            both = {"array.mesh_rows": side, "array.mesh_columns": side}
            yield Broken(("array.mesh_rows", "array"), array.mesh_rows, demand, both)
    if hw.row_cycles > MAX_ROW_CYCLES:
        demand = f"a row takes {hw.row_cycles} cycles, the timing core holds at most {MAX_ROW_CYCLES}"
        yield Broken(("array.serial_activation_bits", "array"), array.serial_activation_bits, demand, 8)


def core_scale_units(hw: Hardware) -> Iterator[Broken]:
    """One scale unit per lane behind the accumulator, or none."""
    if hw.accumulator.scale_units not in ("per_lane", "none"):
        demand = "the timing core supports only one scale unit per lane"
        yield Broken(("accumulator.scale_units",), hw.accumulator.scale_units, demand, "per_lane")


CORE_RULES = (core_counts, core_mesh, core_scale_units)
