"""All mappings of a product as data: cuts of the loops, part of the array, orders of tiles and blocks; samples.

A mapping is one row of `ROW`. Mappings that one hardware loop per tile can run (whole array, weights that stay during
the loop over I, sums that stay in the accumulator) are lowered to loops, all others to a program by hand
(`sim.lower.by_hand`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.cost import energy
from sim.hardware import Hardware
from sim.isa.commands import Program
from sim.lower import lower, matmul
from sim.lower.by_hand import ORDERS, HandMapping, lower_by_hand, problems
from sim.lower.place import PAGE_BYTES
from sim.lower.tiling import blocks_of, tile_counts
from sim.lower.work import Matmul, Resident

ROW = np.dtype([(name, "i8") for name in ("i", "j", "k", "order", "inner", "rows", "columns")])
"""Tile in blocks, indices of the orders in `ORDERS`, rows and columns of the array that are used."""

LOOP_INNER = "kji"
"""Order of the hardware loop over the blocks of a tile: I innermost (LoopMatmul.scala)."""

MAX_DRAWS = 200
"""Draws per requested mapping after which a space counts as empty."""

Rows = npt.NDArray[np.void]


@dataclass(frozen=True)
class Space:
    """The mappings of ``work`` on ``hw``. ``uneven``: tiles of any number of blocks, not only those that divide it."""

    work: Matmul
    hw: Hardware
    uneven: bool = False

    def __post_init__(self) -> None:
        """Raise InputError for a product that programs by hand do not support."""
        matmul.check(self.work, self.hw)
        one = HandMapping((1, 1, 1), "ijk", LOOP_INNER, self.hw.dim, self.hw.dim)
        if found := problems(self.work, one, self.hw):
            raise InputError([f"{self.hw.name}: {problem}" for problem in found])

    @cached_property
    def parts(self) -> list[int]:
        """Rows or columns of the array that a mapping may use: the divisors of DIM."""
        return [n for n in range(1, self.hw.dim + 1) if self.hw.dim % n == 0]

    def sizes(self, blocks: int) -> list[int]:
        """Return the sizes of tiles along a loop of ``blocks`` blocks."""
        return [n for n in range(1, blocks + 1) if self.uneven or blocks % n == 0]

    def sample(self, count: int, seed: int) -> Rows:
        """Return ``count`` mappings drawn uniformly, with repetition, from the legal ones.

        A draw that does not fit the memories is repeated. Raises InputError if none fits.
        """
        rng = np.random.default_rng(seed)
        found: list[Rows] = []
        left, drawn = count, 0
        while left > 0:
            rows = self._draw(max(1024, 2 * left), rng)
            drawn += len(rows)
            rows = rows[self.legal(rows)][:left]
            found.append(rows)
            left -= len(rows)
            if left > 0 and drawn > MAX_DRAWS * count + 10_000 and left == count:
                raise InputError(f"{self.hw.name}: no mapping fits into the memories")
        return np.concatenate(found)

    def _draw(self, count: int, rng: np.random.Generator) -> Rows:
        """Return mappings drawn uniformly from cuts and orders, whether they fit or not."""
        rows = np.zeros(count, ROW)
        listed = self._cuts
        cut = listed[rng.integers(0, len(listed), count)]
        for n, name in enumerate(("i", "j", "k", "rows", "columns")):
            rows[name] = cut[:, n]
        rows["order"], rows["inner"] = rng.integers(0, len(ORDERS), (2, count))
        return rows

    @cached_property
    def _cuts(self) -> npt.NDArray[np.int64]:
        """Return every tile with every part of the array: columns i, j, k, rows, columns."""
        found = []
        i_sizes = self.sizes(blocks_of(self.work.m, self.hw.dim))
        for rows in self.parts:
            k_sizes = self.sizes(blocks_of(self.work.k, rows))
            for columns in self.parts:
                j_sizes = self.sizes(blocks_of(self.work.n, columns))
                grid = np.array(np.meshgrid(i_sizes, j_sizes, k_sizes, indexing="ij")).reshape(3, -1)
                # Tiles that fit in no order are left out here, which keeps the list small.
                fits = self._fits(grid, rows)
                used = np.full((2, grid.shape[1]), [[rows], [columns]])
                found.append(np.concatenate([grid, used])[:, fits].T)
        return np.concatenate(found)

    def _fits(self, tile: npt.NDArray[np.int64], rows: Any) -> npt.NDArray[np.bool_]:
        i, j, k = tile
        spad = i * k * self.hw.dim + k * j * rows <= self.hw.sp_rows // 2
        return np.asarray(spad & (i * j * self.hw.dim <= self.hw.acc_rows // 2))

    def legal(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Return which mappings are legal, bool[mappings]."""
        if self.hw.accumulator.read_full_width:
            return np.ones(len(rows), bool)
        return ~self.traffic(rows).spills

    def blocks(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Return the product in blocks of each mapping, [3, mappings]."""
        work = self.work
        i = np.full(len(rows), blocks_of(work.m, self.hw.dim))
        return np.array([i, -(-work.n // rows["columns"]), -(-work.k // rows["rows"])])

    def counts(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Return the tiles along I, J, K of each mapping, [3, mappings]."""
        tile = np.array([rows["i"], rows["j"], rows["k"]])
        return np.asarray(-(-self.blocks(rows) // tile))

    def canonical(self, rows: Rows) -> Rows:
        """Return mappings with equal programs as equal rows.

        Loops of one iteration are put outermost, in the order ijk.
        """
        same = rows.copy()
        tile = np.minimum(np.array([rows["i"], rows["j"], rows["k"]]), self.blocks(rows))
        for name, turns in (("order", self.counts(rows)), ("inner", tile)):
            several = (turns > 1).astype(int)
            key = several[0] * 4 + several[1] * 2 + several[2]
            same[name] = _NORMAL[rows[name], key]
        return same

    def traffic(self, rows: Rows) -> Traffic:
        """Return the traffic of each mapping between DRAM and the local memories."""
        counts = self.counts(rows)
        place = _PLACES[rows["order"]].T  # of I, J, K: 0 outermost
        deep = np.where(counts > 1, place, -1)
        again = []
        for over, (one, other) in ((1, (0, 2)), (0, (1, 2)), (2, (0, 1))):  # A over J, B over I, C over K
            last = np.maximum(deep[one], deep[other])
            again.append(np.where(place[over] < last, counts[over], 1))
        return Traffic(again[0], again[1], again[2], counts)

    def by_loop(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Return which mappings one hardware loop per tile can run, bool[mappings]."""
        whole = (rows["rows"] == self.hw.dim) & (rows["columns"] == self.hw.dim)
        canonical = self.canonical(rows)
        loop = rows.copy()
        loop["inner"] = ORDERS.index(LOOP_INNER)
        return np.asarray(whole & (canonical["inner"] == self.canonical(loop)["inner"]) & ~self.traffic(rows).spills)

    def mapping(self, row: Any) -> HandMapping:
        """Return one row as a mapping by hand."""
        tile = (int(row["i"]), int(row["j"]), int(row["k"]))
        return HandMapping(tile, ORDERS[row["order"]], ORDERS[row["inner"]], int(row["rows"]), int(row["columns"]))

    def program(self, row: Rows) -> Program:
        """Return the program of a mapping (an array of one row)."""
        how = self.mapping(row[0])
        if not self.by_loop(row)[0]:
            return lower_by_hand(self.work, how, self.hw, self.sums_address)
        traffic = self.traffic(row)
        again = {"a": int(traffic.a[0]), "b": int(traffic.b[0])}
        counts = tile_counts(how.blocks(self.work, self.hw.dim), how.tile)
        stays = "".join(name for name, over in (("a", 1), ("b", 0)) if again[name] == 1 and counts[over] > 1)
        resident: dict[str, Resident] = {"": "none", "a": "a", "b": "b", "ab": "ab"}
        fields: dict[str, Any] = {"tile": how.tile, "loop_order": how.order, "resident": resident[stays]}
        return lower(replace(self.work, **fields), self.hw)

    @cached_property
    def sums_address(self) -> int:
        """DRAM byte address of the partial sums, after the operands."""
        work = self.work
        strides = [(spot, max(spot.operand.row_stride, spot.cols)) for spot in work.places()]
        ends = [spot.operand.address + spot.rows * stride * 4 for spot, stride in strides]
        return max(ends) + PAGE_BYTES - max(ends) % PAGE_BYTES

    def words(self, row: Any) -> dict[str, Any]:
        """Return one row as plain data with names."""
        how = self.mapping(row)
        i, j, k = how.tile
        return {
            "tile_i": i, "tile_j": j, "tile_k": k, "order": how.order, "inner": how.inner,
            "array_rows": how.array_rows, "array_columns": how.array_columns,
        }  # fmt: skip

    def least(self, rows: Rows) -> Least:
        """Return lower bounds of the cycles and counters of each mapping, in closed form."""
        work, hw = self.work, self.hw
        traffic, (_, j_blocks, k_blocks) = self.traffic(rows), self.blocks(rows)
        a, b, c = (np.int64(n) for n in (work.m * work.k, work.k * work.n, work.m * work.n))
        wide_c = hw.acc_bytes if work.full_c else hw.input_bytes
        sums = np.where(traffic.spills, traffic.counts[2] - 1, 0) * c * hw.acc_bytes
        read = (traffic.a * a + traffic.b * b) * hw.input_bytes + sums
        written = c * wide_c + sums
        a_rows = work.m * j_blocks * k_blocks
        stored = work.m * j_blocks * np.where(traffic.spills, traffic.counts[2], 1)
        counters = {
            "DRAM_READ_BYTES": read,
            "DRAM_WRITE_BYTES": written,
            "SPAD_READ_ROWS": a_rows,
            "SPAD_WRITE_ROWS": traffic.a * work.m * k_blocks + traffic.b * work.k * j_blocks,
            "MESH_INPUT_ROWS": a_rows,
            "ACC_WRITE_ROWS": a_rows,
            "ACC_ACCUMULATE_ROWS": work.m * j_blocks * (k_blocks - np.where(traffic.spills, traffic.counts[2], 1)),
            "ACC_READ_ROWS": stored,
        }
        latency, beat = hw.memory_latency_cycles, hw.dma.bus_bytes
        round_trip = 0 if hw.memory.l2_bytes else latency
        read_pace = max(1.0, beat / hw.memory.read_bytes_per_cycle)
        write_pace = max(1.0, beat / hw.memory.write_bytes_per_cycle)
        parts = [
            2 * round_trip + a_rows - hw.dim,
            2 * round_trip + read / beat * read_pace,
            2 * round_trip + written / beat * write_pace,
        ]
        cycles = np.maximum.reduce([np.asarray(part, float) for part in parts]).astype(np.int64)
        return Least(cycles, counters)


@dataclass(frozen=True)
class Traffic:
    """Number of times that A, B and C are moved, per mapping, and the ``counts`` of tiles, [3, mappings]."""

    a: npt.NDArray[np.int64]
    b: npt.NDArray[np.int64]
    c: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    @property
    def spills(self) -> npt.NDArray[np.bool_]:
        """Whether partial sums leave the accumulator."""
        return np.asarray(self.c > 1)


@dataclass(frozen=True)
class Least:
    """Lower bounds of the cycles and counters of mappings; arrays over mappings."""

    cycles: npt.NDArray[np.int64]
    counters: Mapping[str, npt.NDArray[np.int64]]

    def energy_pj(self, macs: int, hw: Hardware) -> npt.NDArray[np.float64]:
        """Return the least energy of each mapping."""
        zeros = np.zeros(len(self.cycles), np.int64)
        count: dict[str, Any] = dict.fromkeys(energy.COUNTERS, zeros) | dict(self.counters)
        spent: Any = self.cycles  # the prices are linear: arrays are priced element by element
        parts = energy.price(count, macs, spent, hw)
        return np.asarray(sum(parts.values()), float)


def _normal() -> npt.NDArray[np.int64]:
    """Return [order, which of I, J, K have several iterations] -> order with loops of one iteration outermost."""
    found = np.zeros((len(ORDERS), 8), np.int64)
    for number, order in enumerate(ORDERS):
        for key in range(8):
            several = {name for bit, name in zip((4, 2, 1), "ijk", strict=True) if key & bit}
            single = "".join(name for name in "ijk" if name not in several)
            found[number, key] = ORDERS.index(single + "".join(name for name in order if name in several))
    return found


_NORMAL = _normal()
_PLACES = np.array([[order.index(name) for name in "ijk"] for order in ORDERS])
