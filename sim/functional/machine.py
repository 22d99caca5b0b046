"""`Machine`: DRAM, scratchpad and accumulator images of one machine, on which timed programs compute numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.functional import state, words
from sim.functional.kernels.counts import NAMES
from sim.functional.kernels.fields import LOAD, STORE
from sim.functional.kernels.loop import execute
from sim.functional.unit import Decoder, Sampler, Unit
from sim.hardware.schema import ELEMENT_BITS
from sim.isa.commands import Funct
from sim.isa.fields import stored_bytes
from sim.lower.place import BASE_ADDRESS as BASE_ADDRESS

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.timing.timing import Timing

SPARE_BYTES = 1 << 16
"""Bytes after the tensors: the rows that pad the last block of B are loaded too, with arbitrary contents."""

SLOTS = 512
"""Commands that may be between issue and completion; the reservation stations hold fewer than 64 per class."""

BYTE = 8
SUMS = ("int8", "int16", "int32", "fp32")


@dataclass(frozen=True)
class Execution:
    """Result of one program. ``counters``: names of `sim.core.events.Event` that follow from the commands.

    DRAM counters are missing on a machine with an L2: there each of the ``dma_requests`` is one hit or one miss.

    ``clashes``: commands whose data another queue had in motion (0 for every correct schedule); ``clashed``: rows of
    the timeline, the first few of them. ``overflows``: int32 results that wrapped inside the integer polynomials, and
    LayerNorm rows whose statistic no pass had computed.
    ``outside_reads``/``outside_writes``: elements beyond the DRAM image (read as zero, dropped). ``beyond_array``:
    results that the RTL's int8 array would cut to its 20 bits and that are kept whole here (docs/NUMBERS.md).
    ``narrowed``: elements that a load changed because the type that is multiplied does not hold them.
    """

    counters: dict[str, int]
    dma_requests: int
    clashes: int
    clashed: tuple[int, ...]
    overflows: int
    outside_reads: int
    outside_writes: int
    beyond_array: int
    narrowed: int


class Machine:
    """Memories of ``hw`` with ``dram_bytes`` of DRAM beginning at byte address ``base``; local memories start as noise.

    ``image``: existing DRAM image to use. ``stored``, ``types``: element types in DRAM (`sim.functional.words`).

    ``layernorm``: normalised rows are rounded as by the C "library" (to whole deviations, then scaled) or as by the
    "hardware" (one scaled product); see docs/NUMBERS.md.
    """

    def __init__(
        self,
        hw: Hardware,
        dram_bytes: int,
        base: int = BASE_ADDRESS,
        seed: int = 0,
        layernorm: state.LayerNormRule = "library",
        stored: Mapping[str, str] | None = None,
        image: npt.NDArray[np.uint8] | None = None,
    ):
        if hw.sum_type not in SUMS:
            raise InputError(
                f"{hw.name}: array.acc_type {hw.sum_type}: the executor sums in {', '.join(SUMS)}; nearest: fp32"
            )
        self.hw, self.base = hw, base
        size = -(-(dram_bytes + SPARE_BYTES) // 8) * 8
        self.image = np.zeros(size, np.uint8) if image is None else image
        self.types = words.types_of(hw, stored)
        self.layernorm: state.LayerNormRule = layernorm
        self.state = state.build(hw, self.image, base, SLOTS, seed, layernorm, self.types)

    def for_operator(self, hw: Hardware, seed: int = 0, stored: Mapping[str, str] | None = None) -> Machine:
        """Return a machine with the same DRAM for another operator (`sim.plan.step.Step.machine`).

        Its local memories hold noise again, as rows of other words are not preserved. Raises InputError as the
        constructor does.
        """
        return Machine(hw, 0, self.base, seed, self.layernorm, stored, self.image)

    def write(
        self,
        address: int,
        matrix: npt.ArrayLike,
        row_stride: int | None = None,
        *,
        wide: bool = False,
        kind: str | None = None,
    ) -> None:
        """Put a matrix [rows, cols] into DRAM; ``row_stride`` in elements (default: dense).

        ``wide``: accumulator type rather than input type; ``kind``: another element type, e.g. ``types["b"]``. Raises
        InputError outside the image.
        """
        values = np.atleast_2d(np.asarray(matrix))
        kind = self._kind(wide, kind)
        view, at, bits = self._window(address, values.shape, row_stride, kind)
        stored = words.encode(values, kind)
        view[at] = words.pack(stored, bits) if bits < BYTE else stored
        if bits < BYTE:
            first = address - self.base
            self.image[first : first + view.size // BYTE] = np.packbits(view, bitorder="little")

    def read(
        self,
        address: int,
        shape: tuple[int, int],
        row_stride: int | None = None,
        *,
        wide: bool = False,
        kind: str | None = None,
    ) -> npt.NDArray[Any]:
        """Return a matrix of ``shape`` from DRAM: integers as stored, floats as float32; ``kind`` as in `write`."""
        kind = self._kind(wide, kind)
        view, at, bits = self._window(address, shape, row_stride, kind)
        return words.unpack(view[at]) if bits < BYTE else words.decode(view[at].copy(), kind)

    def _kind(self, wide: bool, kind: str | None) -> str:
        return kind or (self.hw.sum_type if wide else self.hw.array.input_type)

    def write_bytes(self, address: int, content: npt.NDArray[np.uint8]) -> None:
        """Put bytes into DRAM. Raises InputError outside the image."""
        first = address - self.base
        if first < 0 or first + content.size > self.image.size:
            raise InputError(
                f"DRAM: {content.size} bytes at 0x{address:x} are not in the image 0x{self.base:x}.."
                f"0x{self.base + self.image.size:x}"
            )
        self.image[first : first + content.size] = content

    def patterns(self, matrix: npt.ArrayLike, operand: str) -> npt.NDArray[np.int64]:
        """Return the bit patterns of a matrix of elements of an operand ("a", "b", "c"), as stored in DRAM."""
        kind = self.types[operand]
        stored = words.encode(np.asarray(matrix), kind)
        return stored.view(f"u{stored.itemsize}").astype(np.int64) & ((1 << ELEMENT_BITS[kind]) - 1)

    def run(self, timing: Timing | npt.NDArray[np.void], unit: Unit | None = None) -> Execution:
        """Execute the commands of a timeline (`sim.timing.timer.run(..., timeline=True)`) in the order of their times.

        ``unit``: the unit for stored or packed weights (returned by `sim.functional.weights`, which writes them into
        DRAM). Raises InputError for a result without a timeline, or a command that never completed.
        """
        times = timing if isinstance(timing, np.ndarray) else timing.timeline
        if times is None:
            raise InputError("timing: it holds no timeline; run the timing core with timeline=True")
        _check(times)
        if isinstance(unit, Sampler):
            sampler = self.state.sampler._replace(chunks=unit.chunks, subs=unit.subs)
            self.state = self.state._replace(sampler=sampler)
        elif isinstance(unit, Decoder) and unit.strips is not None:
            self.state = self.state._replace(decoder=self.state.decoder._replace(strips=unit.strips))
        elif self.hw.sparsity.decoder and not isinstance(unit, Decoder) and _expands(times):
            raise InputError("timing: its loads expand stored weights; pass the decoder that write_stored returned")
        s = self.state
        state.restart(s, unit)
        columns = [np.ascontiguousarray(times[name]) for name in ("queue", "funct", "rs1", "rs2")]
        computes = np.isin(columns[1], (Funct.COMPUTE_PRELOADED, Funct.COMPUTE_ACCUMULATED)).sum()
        if isinstance(unit, Sampler) and computes != len(unit.chunks) - 1:
            raise InputError(f"sampled product: {computes} computes, its unit was made for {len(unit.chunks) - 1}")
        execute(order(times), *columns, s)
        tally = {name: int(s.tally[name]) for name in state.names(s.tally)}
        counters = {name: int(s.counts[name.lower()]) for name in NAMES}
        requests = counters["DRAM_READ_REQUESTS"] + counters["DRAM_WRITE_REQUESTS"]
        if self.hw.memory.l2_bytes:
            counters = {name: n for name, n in counters.items() if not name.startswith("DRAM_")}
        return Execution(
            counters=counters,
            dma_requests=requests,
            clashed=tuple(int(n) for n in s.clashes[: min(tally["clashes"], len(s.clashes))]),
            **tally,
        )

    def _window(
        self, address: int, shape: tuple[int, ...], row_stride: int | None, kind: str
    ) -> tuple[npt.NDArray[Any], Any, int]:
        """Return (elements, indices of a matrix among them, bits of each); narrow elements as a copy of single bits."""
        bits = ELEMENT_BITS[kind]
        rows, cols = shape
        first = address - self.base
        stride = cols if row_stride is None else row_stride
        end = first + -(-((rows - 1) * stride + cols) * bits // BYTE)
        if first < 0 or end > self.image.size or first * BYTE % bits or (bits > BYTE and first % (bits // BYTE)):
            raise InputError(
                f"DRAM: a {rows}x{cols} matrix of {kind} at 0x{address:x} is not in the image 0x{self.base:x}.."
                f"0x{self.base + self.image.size:x}, or not aligned to its elements of {bits} bits"
            )
        if bits < BYTE:
            place = np.arange(rows)[:, None] * stride + np.arange(cols)
            single = np.unpackbits(self.image[first:end], bitorder="little")
            return single, place[..., None] * bits + np.arange(bits), bits
        names = {"fp32": "float32", "fp16": "uint16", "bf16": "uint16"}
        behind = getattr(self.state.dram, names.get(kind, kind))[first * BYTE // bits :]
        strides = (stride * behind.itemsize, behind.itemsize)
        return np.lib.stride_tricks.as_strided(behind, shape, strides), ..., bits


def order(times: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """Return the events of a timeline in order: command * 2 for its issue, command * 2 + 1 for its completion.

    Sorted by cycle; in one cycle issues come before completions (a dependant may issue only in the cycle after a
    completion), then in program order. A command that completes on issue ends there. Stores, and loads from DRAM, move
    their data in program order; only their completions may overtake each other at the single completion port. So when a
    later command has completed, the data of an earlier one were moved, too.
    """
    issue, complete = times["t_issue"], times["t_complete"]
    number = np.arange(len(times), dtype=np.int64)
    ends = np.where(complete < 0, issue, complete)
    moves = times["funct"] != 0
    for path in (times["queue"] == STORE, (times["queue"] == LOAD) & (times["rs1"] != 0)):
        inside = np.flatnonzero(path & moves)
        ends[inside] = np.minimum.accumulate(ends[inside][::-1])[::-1]
    cycle = np.concatenate([issue, ends])
    event = np.concatenate([2 * number, 2 * number + 1])
    return np.asarray(event[np.lexsort((event >> 1, event & 1, cycle))], dtype=np.int64)


def _expands(times: npt.NDArray[np.void]) -> bool:
    """Whether any load of a timeline expands stored weights."""
    loads = (times["queue"] == LOAD) & (times["funct"] != 0)
    return bool(stored_bytes(times["rs2"][loads]).any())


def _check(times: npt.NDArray[np.void]) -> None:
    problems = []
    config = times["funct"] == 0
    unended = ~config & (times["t_complete"] < 0) | (times["t_issue"] < 0)
    if unended.any():
        where = int(np.flatnonzero(unended)[0])
        problems.append(f"timeline: {int(unended.sum())} commands never completed, the first is number {where}")
    if problems:
        raise InputError(problems)
