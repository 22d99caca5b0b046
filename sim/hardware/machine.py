"""`Hardware`: one machine, frozen, with the sizes that follow from its parameters."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, PrivateAttr

from sim.base.errors import InputError
from sim.base.table import Table
from sim.hardware import units
from sim.hardware.cpu import Cpu
from sim.hardware.host import Host
from sim.hardware.schema import (
    ELEMENT_BITS,
    ELEMENT_BYTES,
    Accumulator,
    Array,
    Cores,
    Dma,
    Features,
    Memory,
    Queues,
    ReservationStation,
    Scratchpad,
    SparsitySupport,
    Tlb,
)
from sim.hardware.vector import Vector

if TYPE_CHECKING:
    import numpy.typing as npt

Elements = TypeVar("Elements", int, "npt.NDArray[Any]")

LINE_FROM_L2_CYCLES = 15
"""A miss of Rocket's data cache that hits the L2; from memory it is 1.2 x latency + 11 (59 at 40, 131 at 100; measured,
docs/CPU.md)."""

BLOCK_ROW_BYTES = 64
"""Longest row of one mvin or mvout in Gemmini's generated header (its MAX_BYTES).

The header states it even where a DMA request is shorter (GemminiConfigs.scala); the columns field of a command is as
wide as a request, so that 64 columns of 32-byte requests read as 0 and nothing is moved (docs/NUMBERS.md). Software
that works keeps to the shorter of the two.
"""

NEW_RTL = "gemmini-8c3f992"

ARRAY_ALWAYS = frozenset({"matmul", "residual_add", "conv", "depthwise_conv"})
NORMALIZER_OPERATORS = frozenset({"softmax", "layernorm", "gelu"})

MIN_MHZ, MAX_MHZ = 1e-3, 1e6
"""Clocks that are accepted: 1 kHz to 1 THz."""


class Words(NamedTuple):
    """Bits of an element of A, B and C in memory and of a scratchpad word, and the mode that they put the array in.

    ``parts``: multipliers that a PE splits into along each side; ``row_cycles``: cycles that a row of operands takes;
    ``a_type``, ``b_type``: of the factors; ``sum_type``: of sums, in the accumulator and in memory.
    """

    a: int
    b: int
    c: int
    word: int
    parts: int
    row_cycles: int
    a_type: str
    b_type: str
    sum_type: str

    @property
    def a_bits(self) -> int:
        """Bits of a factor: activations."""
        return ELEMENT_BITS[self.a_type]

    @property
    def b_bits(self) -> int:
        """Bits of a factor: weights."""
        return ELEMENT_BITS[self.b_type]


def serial_cycles(array: Array, a_bits: int, b_bits: int) -> int:
    """Return the cycles that a row of ``a_bits`` activations takes through weights of ``b_bits``; 1 unless serial."""
    if array.pe != "bit_serial":
        return 1
    weights = math.ceil(b_bits / (array.serial_weight_bits or 8 * ELEMENT_BYTES[array.input_type]))
    return math.ceil(a_bits / array.serial_activation_bits) * weights


class _OnlyLoaded(type(BaseModel)):  # type: ignore[misc]  # pydantic's class of classes has no public name
    """Refuse to call the class of a machine: what is called so has passed no rule of `sim.hardware.legality`."""

    def __call__(cls, *_: object, **__: object) -> Any:
        raise InputError(
            'Hardware: a machine is made by sim.hardware.load, which checks it, e.g. load("gemmini_default", '
            '{"memory.latency_cycles": 100}), and changed by its method with_'
        )


class Hardware(Table, metaclass=_OnlyLoaded):
    """A whole machine, built by `sim.hardware.load`, changed by `with_`, never in place."""

    @classmethod
    def model_validate(cls, obj: Any, *, context: Any | None = None, **options: Any) -> Hardware:
        """Read the tables of a machine. Raises InputError unless the loader asks, whose context has the clock."""
        if not isinstance(context, dict) or "clock_mhz" not in context:
            cls()
        return super().model_validate(obj, context=context, **options)

    @classmethod
    def model_validate_json(cls, *_: Any, **__: Any) -> Hardware:
        """Raise InputError: as for calling the class."""
        return cls()

    @classmethod
    def model_validate_strings(cls, *_: Any, **__: Any) -> Hardware:
        """Raise InputError: as for calling the class."""
        return cls()

    @classmethod
    def model_construct(cls, *_: Any, **__: Any) -> Hardware:
        """Raise InputError: as for calling the class."""
        return cls()

    name: str
    description: str
    rtl: Literal["gemmini-25809f78", "gemmini-8c3f992"]
    clock_mhz: Annotated[
        float, BeforeValidator(units.frequency_mhz), Field(ge=MIN_MHZ, le=MAX_MHZ, allow_inf_nan=False)
    ]
    energy_table: str
    waived_rules: Annotated[tuple[str, ...], Field(strict=False)]
    unsaid: Annotated[tuple[str, ...], Field(strict=False)] = ()
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
    tlb: Tlb = Tlb()
    cores: Cores = Cores()
    vector: Vector = Vector()

    _description: dict[str, Any] = PrivateAttr(default_factory=dict)
    _build: Callable[..., Hardware] = PrivateAttr()
    """Function that makes a machine of a description (`sim.hardware.loading`, which knows this file)."""

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything that can change a result (all but name, description, waived rules and unsaid)."""
        content = self.model_dump(exclude={"name", "description", "waived_rules", "unsaid"})
        if self.cpu.prices == "none":  # how a program was compiled then changes nothing
            for unused in ("prices", "sizes", "code"):
                del content["cpu"][unused]
        if self.cores.count == 1:
            del content["cores"]
        if not self.vector.lanes:
            del content["vector"]
        if self.words is not None:
            content["words"] = self.words
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Hardware:
        """Return a copy, as pydantic does, whose key and sizes are its own: caches of lowering and timing go by it."""
        other = super().model_copy(update=update, deep=deep)
        for name in set(other.__dict__) - set(type(self).model_fields) - {"words"}:
            del other.__dict__[name]
        return other

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hardware) and self.key == other.key

    def with_(self, overrides: Mapping[str, object]) -> Hardware:
        """Return this machine with dotted keys changed, e.g. ``{"scratchpad.capacity": "512KiB"}``.

        Works on the description as written, so "25.6GB/s" follows a new clock. Raises InputError.
        """
        return self._build(self._description, overrides, where=self.name)

    @cached_property
    def unpaced(self) -> Hardware:
        """This machine with a memory of no particular speed: all that plan and program of dense operators depend on."""
        memory = {"read_bytes_per_cycle": 1.0, "write_bytes_per_cycle": 1.0, "latency_cycles": 0}
        return self.model_copy(update={"memory": self.memory.model_copy(update=memory)})

    @property
    def remembers(self) -> bool:
        """True when a program's time depends on those before it: lines of an L2, rows of a DRAM, pages of a TLB."""
        return self.memory.l2_bytes > 0 or self.memory.dram != "none" or self.tlb.pages != "none"

    @property
    def page_table_line_cycles(self) -> int:
        """Cycles that a walk takes longer when the line of its page-table entry is not in the CPU's data cache.

        Measured (docs/MEMORY.md): 12 from the L2; from memory latency + 8 without an L2, with one latency + 15 to 27.
        """
        if self.tlb.page_tables == "data_cache":
            return 0
        if self.tlb.page_tables == "l2":
            return 12
        return self.memory.latency_cycles + (21 if self.memory.l2_bytes else 8)

    # Sizes (gemmini_machine.md 1.3)

    @cached_property
    def side(self) -> int:
        """PEs along one side of the array."""
        return self.array.mesh_rows * self.array.tile_rows

    @cached_property
    def dim(self) -> int:
        """Multipliers along one side of the array: its PEs, or their parts for narrow words."""
        return self.side if self.words is None else self.side * self.words.parts

    @cached_property
    def input_bytes(self) -> int:
        """Bytes of one scratchpad element."""
        return ELEMENT_BYTES[self.array.input_type]

    @cached_property
    def acc_bytes(self) -> int:
        """Bytes of one accumulator element."""
        return ELEMENT_BYTES[self.sum_type]

    @property
    def sum_type(self) -> str:
        """Type of sums: the accumulator's, or the operator's where it asks for another."""
        return self.array.acc_type if self.words is None else self.words.sum_type

    @property
    def sp_rows(self) -> int:
        """Rows of dim inputs in the whole scratchpad."""
        return self.sp_bank_rows * self.scratchpad.banks

    @property
    def sp_bank_rows(self) -> int:
        """Rows of dim inputs in one scratchpad bank."""
        return self.scratchpad.capacity_bytes // (self.scratchpad.banks * self.sp_row_bytes)

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
        return max(1, 8 * min(BLOCK_ROW_BYTES, self.dma.max_request_bytes) // (self.dim * self.widest_bits))

    @property
    def max_block_len_acc(self) -> int:
        """Blocks of sums per mvin/mvout that software uses (MAX_BLOCK_LEN_ACC, where a request is that long)."""
        return max(1, min(BLOCK_ROW_BYTES, self.dma.max_request_bytes) // (self.dim * self.acc_bytes))

    @property
    def loop_max_block_len(self) -> int:
        """Blocks of inputs per mvin/mvout that the hardware loops use (LoopMatmul.scala)."""
        return max(1, 8 * self.dma.max_request_bytes // (self.dim * self.widest_bits))

    @property
    def loop_max_block_len_acc(self) -> int:
        """Blocks of sums per mvin/mvout that the hardware loops use (LoopMatmul.scala)."""
        return max(1, self.dma.max_request_bytes // (self.dim * self.acc_bytes))

    # Words narrower or wider than the input type (sim/hardware/precision.py)

    @cached_property
    def words(self) -> Words | None:
        """Word sizes and array mode of the operator to run; None: all operands are of the input type."""
        return None

    def with_words(self, words: Words) -> Hardware:
        """Return the machine for an operator of these word sizes."""
        other = self.model_copy()
        other.__dict__["words"] = words
        return other

    def bits(self, operand: str) -> int:
        """Return the bits of an element in memory: of operand "a", "b" or "c", or of a scratchpad "word"."""
        return 8 * self.input_bytes if self.words is None else int(getattr(self.words, operand))

    def packed_bytes(self, elements: Elements, operand: str) -> Elements:
        """Return the bytes of adjacent elements of an operand (`bits`), whole ones; of each number in an array."""
        return -(-elements * self.bits(operand) // 8)

    @cached_property
    def widest_bits(self) -> int:
        """Bits of the widest element that a load or store of input type moves."""
        return max(self.bits(operand) for operand in Words._fields[:4])

    @property
    def sp_row_bytes(self) -> int:
        """Bytes of a scratchpad row."""
        return self.packed_bytes(self.dim, "word")

    @property
    def row_cycles(self) -> int:
        """Cycles from one row of operands into the array to the next."""
        if self.words is not None:
            return self.words.row_cycles
        return serial_cycles(self.array, 8 * self.input_bytes, 8 * self.input_bytes)

    @property
    def sum_cycles(self) -> int:
        """Cycles that a row of sums takes into or out of the accumulator."""
        return math.ceil(self.dim / (self.array.sums_per_cycle or self.side))

    @property
    def peak_macs_per_cycle(self) -> float:
        """Multiply-accumulates of one cycle with every multiplier at work."""
        return self.dim**2 / self.row_cycles

    # Depths and latencies

    @property
    def mesh_latency_cycles(self) -> int:
        """Cycles from a row's entry into the array to its result at the bottom."""
        hops = self.array.mesh_rows + self.array.mesh_columns - 1
        return hops * (self.array.tile_latency_cycles + 1) + self.array.mesh_output_delay_cycles + self.row_cycles - 1

    @property
    def load_commands_in_flight(self) -> int:
        """Commands that the load controller, and separately the store controller, tracks at once (nCmds)."""
        return self.dma.max_in_flight_requests // self.side + 1

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

    @property
    def memory_latency_cycles(self) -> int:
        """Latency of the memory as the accelerator's port sees it: with the SoC's path, where no L2 lies between."""
        path = 0 if self.cpu.prices == "none" or self.memory.l2_bytes else self.cpu.prices.path_cycles
        return self.memory.latency_cycles + path

    @property
    def barrier_cycles(self) -> int:
        """Cycles from the last core's arrival at a barrier to the first command behind it; 0 with one core."""
        if self.cores.count == 1:
            return 0
        if self.cores.barrier_cycles != "lines":
            return self.cores.barrier_cycles
        line = LINE_FROM_L2_CYCLES if self.memory.l2_bytes else 6 * self.memory.latency_cycles // 5 + 11
        return 2 * line

    @property
    def longest_gap_cycles(self) -> int:
        """A bound of the cycles that the CPU takes before one command."""
        least = self.cpu.command_cycles + self.cpu.loop_cycles
        if self.cpu.prices == "none":
            return least
        return least + max(max(gaps) for way in self.cpu.prices.streams.values() for gaps in way.values())

    # Engine of each operator kind

    @property
    def array_operators(self) -> frozenset[str]:
        """Graph operator kinds that run on the array; all others go to the host.

        Softmax, LayerNorm and GELU need the I-BERT units: normaliser and activation units (papers.md 1.4).
        """
        able = ARRAY_ALWAYS
        if self.features.normalizations and self.features.nonlinear_activations:
            able |= NORMALIZER_OPERATORS
        return able - set(() if self.host == "none" else self.host.takes)
