"""Cycles and bytes that no mapping of an operator can undercut, in closed form.

Every part is a property of the machine, so a bound never exceeds the simulated cycles: a weight block occupies the
array for at least DIM cycles and one per row; the bus moves at most one beat per cycle at the memory's rate; at most
``dma.max_in_flight_requests`` requests and `load_commands_in_flight` commands share the latency of the memory; the
first operand arrives one latency after its request and the last result is acknowledged one latency after it left. Bank
sharing, dependences and edges are left to the simulation.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.hardware import Hardware

LOOP_COMMANDS = {"matmul": 6, "conv": 7}
"""Commands that configure and start one hardware loop (gemmini_machine.md 2.2)."""
NORM_PASSES = 3
"""Times that a normalised row is read from the accumulator (gemmini_machine.md 8.1)."""


@dataclass(frozen=True)
class Bound:
    """Least ``cycles``, and least bytes read from and written to DRAM."""

    cycles: int
    read_bytes: int
    write_bytes: int


@dataclass(frozen=True)
class Demand:
    """Least use of the shared resources by a mapping; requests and commands of both directions.

    ``written_rows``: rows of one operand written into the scratchpad, one a cycle.
    """

    array_rows: int
    read_bytes: int
    write_bytes: int
    read_requests: int
    write_requests: int
    load_commands: int
    issued_commands: int
    store_rows: int = 0
    written_rows: int = 0

    def bound(self, hw: Hardware) -> Bound:
        """Return the slowest of all resources."""
        latency, beat = hw.memory_latency_cycles, hw.dma.bus_bytes
        round_trip = 0 if hw.memory.l2_bytes else latency
        read_pace = max(1.0, beat / hw.memory.read_bytes_per_cycle)
        write_pace = max(1.0, beat / hw.memory.write_bytes_per_cycle)
        read_beats, write_beats = self.read_bytes / beat, self.write_bytes / beat
        cycles = max(
            2 * round_trip + self.array_rows - hw.dim,
            2 * round_trip + read_beats * read_pace,
            2 * round_trip + write_beats * write_pace,
            round_trip + read_beats + self.write_requests,  # data and acknowledges share a channel
            round_trip + self.read_requests + write_beats,  # requests and write data share the other one
            round_trip + self.read_requests * round_trip / hw.dma.max_in_flight_requests,
            round_trip + self.load_commands * round_trip / hw.load_commands_in_flight,
            round_trip + self.store_rows,
            round_trip + self.written_rows,
            float(self.issued_commands * hw.cpu.command_cycles),
        )
        return Bound(int(cycles), self.read_bytes, self.write_bytes)
