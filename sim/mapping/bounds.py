"""Cycles and bytes that no mapping of an operator can undercut, in closed form.

Every part is a law of the machine, so a bound never exceeds the simulated cycles: a weight block occupies
the array for DIM cycles or its rows, whichever is more; the bus moves one beat per cycle at the memory's
pace; at most ``dma.max_in_flight_requests`` requests and `load_commands_in_flight` commands share the
latency of the memory; the first operand arrives one latency after its request and the last result is
acknowledged one latency after it left. What it leaves out (bank sharing, dependences, edges) is what the
simulation is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from sim.hardware import Hardware
from sim.lower.conv import REUSE_TILES
from sim.lower.conv_tiling import conv_limits
from sim.lower.residency import kept
from sim.lower.tiling import blocks_of, matmul_blocks, tile_counts
from sim.lower.work import Conv, Matmul, Norm, ResidualAdd
from sim.mapping.opmapping import OpMapping, Tiled

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
    """What a mapping asks of the shared resources at least; requests and commands of both directions."""

    array_rows: int
    read_bytes: int
    write_bytes: int
    read_requests: int
    write_requests: int
    load_commands: int
    issued_commands: int
    store_rows: int = 0

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
            float(self.issued_commands * hw.cpu.command_cycles),
        )
        return Bound(int(cycles), self.read_bytes, self.write_bytes)


def bound(work: Tiled, mapping: OpMapping, hw: Hardware) -> Bound:
    """Return the bound of ``work`` under ``mapping`` (a legal one)."""
    if isinstance(work, Conv):
        return conv_demand(work, mapping, hw).bound(hw)
    if isinstance(work, ResidualAdd | Norm):
        return rows_demand(work, mapping, hw).bound(hw)
    return matmul_demand(work, mapping, hw).bound(hw)


def matmul_demand(work: Matmul, mapping: OpMapping, hw: Hardware) -> Demand:
    """Return the demand of a product; edge blocks count what lies inside the operand only."""
    blocks, dim = matmul_blocks(work, hw.dim), hw.dim
    tile = (mapping.tile[0], mapping.tile[1], mapping.tile[2])
    count_i, count_j, count_k = tile_counts(blocks, tile)
    stationary = mapping.dataflow == "WS"
    stay = kept(mapping.resident, mapping.dataflow, (count_i, count_j, count_k))
    a_loads = 1 if "a" in stay else count_j
    b_loads = 1 if "b" in stay else count_i
    last_rows = work.m - (count_i - 1) * tile[0] * dim
    row_sum = (count_i - 1) * tile[0] * dim + max(dim, last_rows) if stationary else blocks[0] * dim
    wide = hw.loop_max_block_len
    d_rows = {"none": 0, "full": work.m, "row": count_i}[work.bias]
    d_bytes = d_rows * work.n * (hw.input_bytes if work.low_d else hw.acc_bytes)
    c_bytes = work.m * work.n * (hw.acc_bytes if work.full_c else hw.input_bytes)
    a_wide = count_i * blocks_of(tile[0], wide) if work.transpose_a else count_k * blocks_of(tile[2], wide)
    a_deep, a_rows = (work.k, blocks[2]) if work.transpose_a else (work.m, blocks[0])
    b_wide = blocks[2] if work.transpose_b else blocks[1]
    b_rows = work.n if work.transpose_b else work.k
    # An edge tile may need fewer commands than a full one, so only whole groups of blocks are counted.
    a_groups = max(1, min(a_wide, blocks_of((work.m if work.transpose_a else work.k), dim * wide)))
    requests = a_loads * a_deep * a_groups + b_loads * b_rows * blocks_of(b_wide, wide)
    commands = a_loads * a_rows * a_groups + b_loads * blocks_of(b_rows, dim) * blocks_of(b_wide, wide)
    normalised = work.activation in ("layernorm", "softmax")
    return Demand(
        array_rows=row_sum * blocks[1] * blocks[2],
        read_bytes=(a_loads * work.m * work.k + b_loads * work.k * work.n) * hw.input_bytes + d_bytes,
        write_bytes=c_bytes,
        read_requests=requests if stationary else 0,
        write_requests=ceil(c_bytes / hw.dma.max_request_bytes),
        load_commands=commands if stationary else 0,
        issued_commands=LOOP_COMMANDS["matmul"] * count_i * count_j * count_k if stationary else 0,
        store_rows=NORM_PASSES * work.m * blocks[1] if normalised else 0,
    )


def conv_demand(work: Conv, mapping: OpMapping, hw: Hardware) -> Demand:
    """Return the demand of a convolution; only what every tiling needs, its passes and its number of loops."""
    dim = hw.dim
    counts = [blocks_of(n, size) for n, size in zip(conv_limits(work), mapping.tile, strict=True)]
    _, _, _, och, _, kcols, ich = mapping.tile
    size, stride, padding = work.pool
    side = min(size, stride)
    pixels = work.batch * max(0, work.pooled_rows * side - 2 * padding)
    pixels *= max(0, work.pooled_cols * side - 2 * padding)
    shared = min(max(1, dim // ich), kcols) if hw.features.first_layer_optimizations else 1
    out_blocks = _blocks_over(work.out_channels, och, dim)
    in_blocks = _blocks_over(work.in_channels, ich, dim)
    taps = work.rows_of_kernel * ceil(work.kernel / shared)
    loops = prod(counts)
    if work.depthwise:  # a loop, and one column of the array, for each channel
        out_blocks, in_blocks, loops = work.out_channels, 1, loops * work.out_channels
    c_bytes = work.batch * work.pooled_rows * work.pooled_cols * work.out_channels * hw.input_bytes
    keep_weights = not work.depthwise and counts[3] * counts[4] * counts[5] * counts[6] <= REUSE_TILES
    passes = 1 if keep_weights else counts[0] * counts[1] * counts[2]
    weights = work.taps * work.out_channels * (1 if work.depthwise else work.in_channels)
    keep_input = prod(counts) // counts[3] <= REUSE_TILES
    image_passes = 1 if keep_input else counts[3]
    return Demand(
        array_rows=pixels * out_blocks * in_blocks * taps,
        read_bytes=(passes * weights + image_passes * _image(work)) * hw.input_bytes,
        write_bytes=c_bytes,
        read_requests=0,
        write_requests=ceil(c_bytes / hw.dma.max_request_bytes),
        load_commands=0,
        issued_commands=LOOP_COMMANDS["conv"] * loops,
    )


def rows_demand(work: ResidualAdd | Norm, mapping: OpMapping, hw: Hardware) -> Demand:
    """Return the demand of a pass over rows: every element in and out once, whatever the tile.

    A normalised row leaves the accumulator three times.
    """
    elements = work.rows * work.cols
    added = isinstance(work, ResidualAdd)
    read_bytes = elements * (2 * hw.input_bytes if added else hw.acc_bytes)
    c_bytes = elements * hw.input_bytes
    loops = blocks_of(work.rows, mapping.tile[0]) * (blocks_of(work.cols, mapping.tile[1]) if added else 0)
    return Demand(
        array_rows=0,
        read_bytes=read_bytes,
        write_bytes=c_bytes,
        read_requests=ceil(read_bytes / hw.dma.max_request_bytes),
        write_requests=ceil(c_bytes / hw.dma.max_request_bytes),
        load_commands=0,
        issued_commands=LOOP_COMMANDS["matmul"] * loops,
        store_rows=0 if added else NORM_PASSES * work.rows * blocks_of(work.cols, hw.dim),
    )


def _image(work: Conv) -> int:
    """Return the least input elements that all results together need: each brings fresh pixels along a side."""
    size, stride, padding = work.pool
    pixels = 1
    sides = (work.rows_of_kernel, work.padding_above), (work.kernel, work.padding)
    for pooled, (kernel, zeros) in zip((work.pooled_rows, work.pooled_cols), sides, strict=True):
        results = max(0, pooled * min(size, stride) - 2 * padding)
        pixels *= max(0, results * min(work.stride, kernel) - 2 * zeros)
    return work.batch * pixels * work.in_channels // work.input_dilation**2


def _blocks_over(total: int, tile: int, dim: int) -> int:
    """Return the blocks of ``dim`` that tiles of ``tile`` need for ``total``, each tile on its own."""
    whole, rest = divmod(total, tile)
    return whole * blocks_of(tile, dim) + blocks_of(rest, dim)
