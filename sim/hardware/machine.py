"""`Hardware`: one machine, frozen, with the sizes that follow from its parameters."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from sim.hardware import units
from sim.hardware.schema import (
    ELEMENT_BYTES,
    Accumulator,
    Array,
    Cpu,
    Dma,
    Features,
    Host,
    Memory,
    Queues,
    ReservationStation,
    Scratchpad,
    SparsitySupport,
    Table,
)

BLOCK_ROW_BYTES = 64
"""Longest row of one mvin or mvout in Gemmini's generated header (its MAX_BYTES).

The header says so even where a DMA request is shorter (GemminiConfigs.scala); the columns field of a command is only as
wide as a request, so that 64 columns of 32-byte requests read as 0 and nothing is moved (docs/NUMBERS.md). Software
that works keeps to the shorter of the two.
"""

NEW_RTL = "gemmini-8c3f992"

ARRAY_ALWAYS = frozenset({"matmul", "residual_add", "conv"})
NORMALIZER_OPERATORS = frozenset({"softmax", "layernorm", "gelu"})


class Hardware(Table):
    """A whole machine, built by `sim.hardware.load`, changed by `with_`, never in place."""

    name: str
    description: str
    rtl: Literal["gemmini-25809f78", "gemmini-8c3f992"]
    clock_mhz: Annotated[float, BeforeValidator(units.frequency_mhz), Field(gt=0, allow_inf_nan=False)]
    energy_table: str
    waived_rules: Annotated[tuple[str, ...], Field(strict=False)]
    array: Array
    scratchpad: Scratchpad
    accumulator: Accumulator
    dma: Dma
    reservation_station: ReservationStation
    queues: Queues
    features: Features
    memory: Memory
    cpu: Cpu
    host: Host | Literal["none"]
    sparsity: SparsitySupport = SparsitySupport()

    _description: dict[str, Any] = PrivateAttr(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything that can change a result (all but name, description and waived rules)."""
        content = self.model_dump(exclude={"name", "description", "waived_rules"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hardware) and self.key == other.key

    def with_(self, overrides: Mapping[str, object]) -> Hardware:
        """Return this machine with dotted keys changed, e.g. ``{"scratchpad.capacity": "512KiB"}``.

        Works on the description as written, so "25.6GB/s" follows a new clock. Raises InputError.
        """
        from sim.hardware.loading import build

        return build(self._description, overrides, where=self.name)

    # Sizes (gemmini_machine.md 1.3)

    @property
    def dim(self) -> int:
        """PEs along one side of the array."""
        return self.array.mesh_rows * self.array.tile_rows

    @property
    def input_bytes(self) -> int:
        """Bytes of one scratchpad element."""
        return ELEMENT_BYTES[self.array.input_type]

    @property
    def acc_bytes(self) -> int:
        """Bytes of one accumulator element."""
        return ELEMENT_BYTES[self.array.acc_type]

    @property
    def sp_rows(self) -> int:
        """Rows of dim inputs in the whole scratchpad."""
        return self.sp_bank_rows * self.scratchpad.banks

    @property
    def sp_bank_rows(self) -> int:
        """Rows of dim inputs in one scratchpad bank."""
        return self.scratchpad.capacity_bytes // (self.scratchpad.banks * self.dim * self.input_bytes)

    @property
    def acc_rows(self) -> int:
        """Rows of dim sums in the whole accumulator."""
        return self.acc_bank_rows * self.accumulator.banks

    @property
    def acc_bank_rows(self) -> int:
        """Rows of dim sums in one accumulator bank."""
        return self.accumulator.capacity_bytes // (self.accumulator.banks * self.dim * self.acc_bytes)

    @property
    def max_block_len(self) -> int:
        """Blocks of inputs per mvin/mvout that software uses (MAX_BLOCK_LEN, where a request is that long)."""
        return max(1, min(BLOCK_ROW_BYTES, self.dma.max_request_bytes) // (self.dim * self.input_bytes))

    @property
    def max_block_len_acc(self) -> int:
        """Blocks of sums per mvin/mvout that software uses (MAX_BLOCK_LEN_ACC, where a request is that long)."""
        return max(1, min(BLOCK_ROW_BYTES, self.dma.max_request_bytes) // (self.dim * self.acc_bytes))

    @property
    def loop_max_block_len(self) -> int:
        """Blocks of inputs per mvin/mvout that the hardware loops use (LoopMatmul.scala)."""
        return max(1, self.dma.max_request_bytes // (self.dim * self.input_bytes))

    @property
    def loop_max_block_len_acc(self) -> int:
        """Blocks of sums per mvin/mvout that the hardware loops use (LoopMatmul.scala)."""
        return max(1, self.dma.max_request_bytes // (self.dim * self.acc_bytes))

    # Depths and latencies

    @property
    def mesh_latency_cycles(self) -> int:
        """Cycles from a row's entry into the array to its result at the bottom."""
        hops = self.array.mesh_rows + self.array.mesh_columns - 1
        return hops * (self.array.tile_latency_cycles + 1) + self.array.mesh_output_delay_cycles

    @property
    def load_commands_in_flight(self) -> int:
        """Commands that the load controller, and separately the store controller, tracks at once (nCmds)."""
        return self.dma.max_in_flight_requests // self.dim + 1

    @property
    def tag_queue_length(self) -> int:
        """Results that may be outstanding in the array."""
        tile = min(self.array.tile_rows, self.array.tile_columns)
        latency_per_pe = max(Fraction(1), Fraction(self.array.tile_latency_cycles + 1, tile))
        return math.ceil(5 * latency_per_pe) + 1

    @property
    def decode_cycles(self) -> int:
        """Cycles that the decoder of the load path takes for one scratchpad row."""
        return math.ceil(self.dim / self.sparsity.decoder_elements_per_cycle) if self.sparsity.decoder else 1

    @property
    def raw_hazards_impossible(self) -> bool:
        """Whether no compute can read what an earlier one wrote, which shortens the command look-ahead."""
        return not (self.array.ex_read_from_acc or self.array.ex_write_to_spad)

    # Who runs what

    @property
    def array_operators(self) -> frozenset[str]:
        """Graph operator kinds that run on the array; all others go to the host.

        Softmax, LayerNorm and GELU need the I-BERT units: normaliser and activation units (papers.md 1.4).
        """
        able = ARRAY_ALWAYS
        if self.features.normalizations and self.features.nonlinear_activations:
            able |= NORMALIZER_OPERATORS
        return able - set(() if self.host == "none" else self.host.takes)
