"""What the record of the timing core has room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.base.errors import InputError
from sim.core.params import BANKS, RING, XACTS
from sim.core.units.reservation import SLOTS

if TYPE_CHECKING:
    from sim.hardware import Hardware


def check(hw: Hardware) -> None:
    """Raise InputError, all problems at once, for a machine beyond the record's room or the core's mechanisms."""
    limits = [
        ("dma.max_in_flight_requests", hw.dma.max_in_flight_requests, XACTS),
        ("scratchpad.banks", hw.scratchpad.banks, BANKS),
        ("accumulator.banks", hw.accumulator.banks, BANKS),
        ("reservation_station.ld", hw.reservation_station.ld, SLOTS - 1),
        ("reservation_station.ex", hw.reservation_station.ex, SLOTS - 1),
        ("reservation_station.st", hw.reservation_station.st, SLOTS - 1),
        ("queues.ld", hw.queues.ld, RING),
        ("queues.st", hw.queues.st, RING),
        ("queues.ex", hw.queues.ex, RING),
        ("scratchpad.read_delay_cycles", hw.scratchpad.read_delay_cycles, 14),
        ("scratchpad.read_pipeline_cycles", hw.scratchpad.read_pipeline_cycles, 14),
        ("accumulator.latency_cycles", hw.accumulator.latency_cycles, 7),
        ("accumulator.scale_latency_cycles", hw.accumulator.scale_latency_cycles, 31),
        ("dma.mvin_scale_latency_cycles", hw.dma.mvin_scale_latency_cycles, RING),
        ("array: rows inside the mesh (latency)", hw.mesh_latency_cycles, 1000),
        ("array: cycles of a row", hw.row_cycles, 1024),
        ("array: tags of the mesh", hw.tag_queue_length, 63),
        ("tracked commands (dma.max_in_flight_requests / dim + 1)", hw.load_commands_in_flight, 64),
    ]
    problems = [
        f"{hw.name}: {name} = {value}: the timing core holds at most {most}; nearest legal value {most}"
        for name, value, most in limits
        if value > most
    ]
    if hw.accumulator.scale_units not in ("per_lane", "none"):
        problems.append(
            f"{hw.name}: accumulator.scale_units = {hw.accumulator.scale_units}: the timing core knows one scale unit "
            'per lane; nearest legal value "per_lane"'
        )
    if problems:
        raise InputError(problems)
