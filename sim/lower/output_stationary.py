"""Output-stationary tiles: the CPU issues every command, no hardware loop does (sp_tiled_matmul_os)."""

from __future__ import annotations

from sim.hardware import Hardware
from sim.isa.commands import ACCUMULATE_BIT, ACCUMULATOR_BIT, FULL_WIDTH_BIT, GARBAGE_ADDRESS
from sim.lower.encode import Stream
from sim.lower.tiling import Tile
from sim.lower.work import Matmul


def emit_os_tile(
    stream: Stream,
    work: Matmul,
    hw: Hardware,
    blocks: Tile,
    pads: tuple[int, int, int],
    addresses: tuple[int, int, int, int],
    accumulate: bool,
) -> None:
    """One tile: load D, B, A; per output block a chain over k that stays in the array; store C.

    ``addresses``: DRAM bytes of A, B, D (0: none), C (0: not yet stored). ``accumulate``: add to what the
    accumulator holds (bias or earlier k-tiles).
    """
    dim = hw.dim
    count_i, count_j, count_k = blocks
    a, b, d, c = addresses
    wide = min(count_j, hw.max_block_len)
    deep = min(count_k, hw.max_block_len)
    wide_d = min(count_j, hw.max_block_len_acc)
    b_start = hw.sp_rows - count_k * count_j * dim
    c_start = ACCUMULATOR_BIT | ACCUMULATE_BIT | (FULL_WIDTH_BIT if work.full_c else 0)

    def extent(position: int, length: int, axis: int) -> int:
        """Elements of ``length`` blocks from ``position`` on, without the pad of the last block."""
        edge = position + length >= blocks[axis]
        return length * dim - (pads[axis] if edge else 0)

    if d and work.d is not None:
        repeated = work.bias == "row"
        stride = 0 if repeated else work.d.row_stride
        stream.mark("os_config_d")
        stream.config_ld(stride * hw.acc_bytes, scale=work.d_scale)
        for i in range(count_i):
            for j in range(0, count_j, wide_d):
                stream.mark(_piece("os_load", i, j))
                row = 0 if repeated else i * work.d.row_stride
                length = min(wide_d, count_j - j)
                source = d + (row + j) * dim * hw.acc_bytes
                local = ACCUMULATOR_BIT + (i * count_j + j) * dim
                stream.mvin(source, local, extent(j, length, 1), extent(i, 1, 0))

    stream.mark("os_config_b")
    stream.config_ld(work.b.row_stride * hw.input_bytes, scale=work.b_scale)
    for j in range(0, count_j, wide):
        for k in range(count_k):
            stream.mark(_piece("os_load", j, k))
            length = min(wide, count_j - j)
            source = b + (k * work.b.row_stride + j) * dim * hw.input_bytes
            stream.mvin(source, b_start + (k * count_j + j) * dim, extent(j, length, 1), extent(k, 1, 2))

    stream.mark("os_config_a")
    stream.config_ld(work.a.row_stride * hw.input_bytes, scale=work.a_scale)
    for i in range(count_i):
        for k in range(0, count_k, deep):
            stream.mark(_piece("os_load", i, k))
            length = min(deep, count_k - k)
            source = a + (i * work.a.row_stride + k) * dim * hw.input_bytes
            stream.mvin(source, (i * count_k + k) * dim, extent(k, length, 2), extent(i, 1, 0))

    for i in range(count_i):
        rows = extent(i, 1, 0)
        for j in range(count_j):
            cols = extent(j, 1, 1)
            target = c_start + (i * count_j + j) * dim
            target = target if accumulate else target & ~ACCUMULATE_BIT
            for k in range(count_k):
                depth = extent(k, 1, 2)
                result = target if k == count_k - 1 else GARBAGE_ADDRESS
                a_local, b_local = (i * count_k + k) * dim, b_start + (k * count_j + j) * dim
                kind = _piece("os_preload", i, j, "i", "j") if k == 0 else "os_preload"
                stream.mark("os_preload_last" if 0 < k == count_k - 1 else kind)
                stream.preload(GARBAGE_ADDRESS, result, (dim, dim), (cols, rows))
                stream.mark("os_compute" if k else "os_compute_first", max(0, k - 1))
                stream.compute(a_local, b_local, (depth, rows), (cols, depth), preloaded=k == 0)

    if c:
        c_bytes = hw.acc_bytes if work.full_c else hw.input_bytes
        for i in range(count_i):
            for j in range(count_j):
                stream.mark(_piece("os_store", i, j))
                sink = c + (i * work.c.row_stride + j) * dim * c_bytes
                stream.mvout(sink, c_start + (i * count_j + j) * dim, extent(j, 1, 1), extent(i, 1, 0))


def _piece(kind: str, outer: int, inner: int, row: str = "row", next_one: str = "") -> str:
    """Return the kind of stream of a command in two nested loops: the first of all, of a row, or a further one."""
    name = next_one if inner else row if outer else "first"
    return f"{kind}_{name}" if name else kind
