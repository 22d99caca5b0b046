"""Matrix products (tiled_matmul_auto, tiled_matmul of gemmini.h): one hardware loop per tile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError, did_you_mean
from sim.hardware import Hardware
from sim.hardware.machine import Elements
from sim.isa.commands import Program
from sim.lower import residency
from sim.lower.call import Call
from sim.lower.encode import MatmulLoop, Stream
from sim.lower.output_stationary import OsTile, emit_os_tile
from sim.lower.polynomials import gelu_constants, polynomial_constants, scale_problems
from sim.lower.residency import halves_and_loads
from sim.lower.tiling import Tile, folded, matmul_blocks, matmul_tile, search_matmul_tile, tile_counts
from sim.lower.work import ACTIVATIONS, DATAFLOWS, Matmul, Operand, SparseItem

TILE = np.dtype(
    [
        ("index", "i8", 3), ("blocks", "i8", 3), ("pads", "i8", 3), ("a", "i8"), ("b", "i8"), ("d", "i8"), ("c", "i8"),
        ("a_half", "i8"), ("b_half", "i8"), ("accumulate", "?"),
    ]
)  # fmt: skip
"""One tile of a product: position and size in blocks, pads in elements along I, J, K, DRAM addresses in bytes.

``d`` is 0 if no bias is loaded, ``c`` if no result is stored yet; ``a_half``/``b_half`` as in `MatmulLoop`.
"""


def check(work: Matmul, hw: Hardware) -> None:
    """Raise InputError if the library or the machine refuses the item (all problems in one error)."""
    problems: list[str] = []
    problems += [f"{name} = {getattr(work, name)} must be >= 1" for name in "mnk" if getattr(work, name) < 1]
    if work.dataflow not in DATAFLOWS:
        problems.append(f"dataflow {work.dataflow!r} is unknown{did_you_mean(str(work.dataflow), DATAFLOWS)}")
    elif hw.array.dataflow not in ("BOTH", work.dataflow):
        problems.append(f"dataflow {work.dataflow}: this array is built for {hw.array.dataflow} only")
    if work.bias != "none" and work.d is None:
        problems.append(f"bias {work.bias!r} without a bias operand d")
    if work.dataflow == "WS" and work.transpose_a and work.transpose_b:
        problems.append("transpose_a and transpose_b together: the array has one transposer; transpose one operand")
    if work.dataflow == "OS":
        refused = {
            "transpose_a": work.transpose_a,
            "transpose_b": work.transpose_b,
            "low_d": work.low_d,
            f"activation {work.activation!r}": work.activation in ("layernorm", "softmax"),
        }
        problems += [f"{name} needs dataflow WS" for name, wanted in refused.items() if wanted]
    if work.activation in ("layernorm", "igelu", "softmax") and not hw.features.normalizations:
        problems.append(f"activation {work.activation!r}: this machine has no normalisation units")
    if work.full_c and not hw.accumulator.read_full_width:
        problems.append("full_c: this accumulator cannot be read at full width (accumulator.read_full_width)")
    if not work.full_c and not hw.accumulator.read_small_width:
        problems.append("full_c is off, but this accumulator reads at full width only (read_small_width)")
    problems += scale_problems(work.activation, work.bert_scale)
    if sorted(work.loop_order) != ["i", "j", "k"]:
        problems.append(f"loop_order {work.loop_order!r} must be a permutation of 'ijk'")
    if problems:
        raise InputError([f"matmul {work.m}x{work.n}x{work.k}: {problem}" for problem in problems])


def check_tiles(work: Matmul, counts: Tile) -> None:
    """Raise InputError if order or residency do not go with the number of tiles along I, J, K.

    Partial sums of several output tiles must not share an accumulator half; operands that stay must fit.
    """
    several = {name for name, count in zip("ijk", counts, strict=True) if count > 1}
    inside_k = several & set(work.loop_order[work.loop_order.index("k") :]) - {"k"}
    if "k" in several and inside_k and not work.any_order:
        legal = work.loop_order.replace("k", "") + "k"
        raise InputError(
            f"matmul {work.m}x{work.n}x{work.k}: loop_order {work.loop_order!r}: k has {counts[2]} tiles and "
            f"must be innermost, since an accumulator half holds one output tile; nearest: {legal!r}"
        )
    found = residency.problems(work, counts)
    if found:
        raise InputError([f"matmul {work.m}x{work.n}x{work.k}: {problem}" for problem in found])


def tiles_of(work: Matmul, hw: Hardware, tile: Tile) -> npt.NDArray[np.void]:
    """Return the tiles (`TILE`) in the order of ``work.loop_order``.

    An operand that stays (`sim.lower.residency`) is loaded for the first tile that uses it, any other for every
    tile. The bias is loaded with the first k-tile, C is stored with the last.
    """
    dim = hw.dim
    total = matmul_blocks(work, dim)
    counts = tile_counts(total, tile)
    check_tiles(work, counts)
    last = [t - (n - 1) * size for t, n, size in zip(total, counts, tile, strict=True)]
    padding = [t * dim - size for t, size in zip(total, (work.m, work.n, work.k), strict=True)]
    d = work.d or Operand(0, 0)

    places = np.indices([counts["ijk".index(name)] for name in work.loop_order]).reshape(3, -1)
    i, j, k = (places[work.loop_order.index(name)] for name in "ijk")
    row, col, depth = i * tile[0] * dim, j * tile[1] * dim, k * tile[2] * dim
    a_offset = depth * work.a.row_stride + row if work.transpose_a else row * work.a.row_stride + depth
    b_offset = col * work.b.row_stride + depth if work.transpose_b else depth * work.b.row_stride + col
    d_offset = (0 if work.bias == "row" else row) * d.row_stride + col
    c_offset = row * work.c.row_stride + col

    found = np.zeros(len(i), TILE)
    found["index"] = np.stack((i, j, k), axis=1)
    edge = found["index"] == np.array(counts) - 1
    found["blocks"], found["pads"] = np.where(edge, last, tile), np.where(edge, padding, 0)
    found["a_half"], load_a = halves_and_loads("a", work, counts, i * counts[2] + k)
    found["b_half"], load_b = halves_and_loads("b", work, counts, j * counts[2] + k)
    found["a"] = np.where(load_a, work.a.address + hw.packed_bytes(a_offset, "a"), 0)
    found["b"] = np.where(load_b, work.b.address + hw.packed_bytes(b_offset, "b"), 0)
    if work.bias != "none":
        found["d"] = np.where(k == 0, d.address + d_bytes(d_offset, work, hw), 0)
    found["c"] = np.where(edge[:, 2], work.c.address + c_bytes(c_offset, work, hw), 0)
    found["accumulate"] = (k > 0) | (work.bias != "none")
    return found


def c_bytes(elements: Elements, work: Matmul, hw: Hardware) -> Elements:
    """Return the bytes of adjacent elements of C in memory; of several numbers of elements where it is an array."""
    return elements * hw.acc_bytes if work.full_c else hw.packed_bytes(elements, "c")


def d_bytes(elements: Elements, work: Matmul, hw: Hardware) -> Elements:
    """Return the bytes of adjacent elements of D in memory; of several numbers of elements where it is an array."""
    return hw.packed_bytes(elements, "word") if work.low_d else elements * hw.acc_bytes


def d_row_stride(work: Matmul) -> int:
    """Return the elements from one row of D to the next, 0 where all rows are the same."""
    return 0 if work.d is None or work.bias == "row" else work.d.row_stride


def emit_softmax_constants(stream: Stream, bert_scale: float) -> None:
    """Load the two constants and the polynomial of the integer exponential into the normaliser."""
    qln2, qln2_inv, qb, qc = polynomial_constants(bert_scale)
    stream.config_norm(constant=qln2, softmax=True, qb=qb, qc=qc)
    stream.config_norm(constant=qln2_inv, second_constant=True, softmax=True, qb=qb, qc=qc)


def emit_config(stream: Stream, work: Matmul, hw: Hardware) -> None:
    """Emit the commands before all tiles: execute, store and three load states, normaliser constants."""
    code = ACTIVATIONS.index(work.activation)
    stream.mark("matmul_config")
    stream.config_ex(
        activation=code & 3,
        transpose_a=work.transpose_a,
        transpose_b=work.transpose_b,
        dataflow=int(work.dataflow == "WS"),
    )
    stream.config_st(c_bytes(work.c.row_stride, work, hw), activation=code & 3, scale=work.scale)
    stream.config_ld(hw.packed_bytes(work.a.row_stride, "a"), 0, scale=work.a_scale)
    stream.config_ld(hw.packed_bytes(work.b.row_stride, "b"), 1, scale=work.b_scale)
    stream.config_ld(d_bytes(d_row_stride(work), work, hw), 2, scale=work.d_scale, shrink=work.low_d)
    if work.activation == "igelu":
        qb, qc = gelu_constants(work.bert_scale)
        stream.mark("matmul_igelu")
        stream.config_norm(qb=qb, qc=qc)
    if work.activation == "softmax":
        stream.mark("matmul_softmax")
        emit_softmax_constants(stream, work.bert_scale)


def check_matmul(work: Matmul, hw: Hardware) -> Tile:
    """Return the tile of a product. Raises InputError if the machine or the library refuses the item."""
    check(work, hw)
    tile = matmul_tile(work, hw)
    check_tiles(work, tile_counts(matmul_blocks(work, hw.dim), tile))
    return tile


def lower_matmul(work: Matmul, hw: Hardware) -> Program:
    """Return the program of one product. Raises InputError if the machine or the library refuses the item."""
    tile = check_matmul(work, hw)
    stream = Stream(hw, folded=folded(work, hw))
    emit_config(stream, work, hw)
    tiles = tiles_of(work, hw, tile)
    if work.dataflow == "OS":
        for blocks, pads, addresses, accumulate in zip(
            *(tiles[part].tolist() for part in ("blocks", "pads", ["a", "b", "d", "c"], "accumulate")), strict=True
        ):
            emit_os_tile(stream, work, hw, OsTile(tuple(blocks), tuple(pads), addresses, accumulate))
    else:
        _emit_loops(stream, work, tiles)
    stream.fence()
    return stream.program()


def _emit_loops(stream: Stream, work: Matmul, tiles: npt.NDArray[np.void]) -> None:
    """Emit one hardware loop a tile.

    Its kind of stream is the size along which the tile follows the previous one, the outermost of several.
    """
    moved = (tiles["index"][1:] != tiles["index"][:-1]).argmax(axis=1)
    stream.loops_ws(
        MatmulLoop(
            tuple(tiles["blocks"].T),
            tuple(tiles["pads"].T),
            (tiles["a"], tiles["b"], tiles["d"], tiles["c"]),
            (work.a.row_stride, work.b.row_stride, d_row_stride(work), work.c.row_stride),
            transpose_a=work.transpose_a,
            transpose_b=work.transpose_b,
            full_c=work.full_c,
            low_d=work.low_d,
            accumulate=tiles["accumulate"].astype(np.int64),
            activation=ACTIVATIONS.index(work.activation),
            a_half=tiles["a_half"],
            b_half=tiles["b_half"],
        ),
        [f"matmul_loop_{kind}" for kind in ("i", "j", "k", "first")],
        np.concatenate(([3], moved)),
    )


def call_matmul(work: Matmul, hw: Hardware) -> Call:
    """Return the library call of a product."""
    passes = 0 if work.tile is not None else search_matmul_tile(work, hw).passes
    several = tile_counts(matmul_blocks(work, hw.dim), matmul_tile(work, hw)) != (1, 1, 1)
    paths: list[str] = [work.activation] if work.activation in ("softmax", "igelu") else []
    paths += ["full_c"] if work.full_c else []
    paths += ["os"] if work.dataflow == "OS" else []
    return Call("matmul", passes, several, folded(work, hw), False, tuple(paths))


def call_sparse(work: SparseItem, hw: Hardware) -> Call:
    """Return the call whose price a product with an index has: the dense one, without a search for a tile."""
    return replace(call_matmul(work.matmul, hw), passes=0)
