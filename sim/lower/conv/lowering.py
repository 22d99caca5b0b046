"""Convolutions with optional pooling: one loop_conv_ws per tile (tiled_conv_auto of gemmini.h)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.isa.commands import Funct, Program
from sim.isa.layouts import (
    CONV_1_FIRST,
    CONV_1_SECOND,
    CONV_2_FIRST,
    CONV_2_SECOND,
    CONV_3_FIRST,
    CONV_3_SECOND,
    CONV_4_FIRST,
    CONV_4_SECOND,
    CONV_FIRST,
    CONV_SECOND,
    pack,
)  # fmt: skip
from sim.lower.call import Call
from sim.lower.conv.tiling import OUT_CHANNELS, ConvTile, conv_limits, conv_tile, per_byte, search_conv_tile
from sim.lower.encode import Stream
from sim.lower.tiling import blocks_of
from sim.lower.work import ACTIVATIONS, CONV_ORDER, Conv

REUSE_TILES = 2
"""Weights or input stay in the scratchpad if they have at most this many tiles: one per half."""

TRAINING = ("wrot180", "trans_output_1203", "trans_input_3120", "trans_weight_1203", "trans_weight_0132")
"""Flags of backward passes, which only hardware built for them reads."""


@dataclass(frozen=True)
class ConvStep:
    """One tile: its start and size (as a `ConvTile`), and the operands that stay."""

    at: ConvTile
    size: ConvTile
    keep_input: bool
    keep_weights: bool


def check(work: Conv, hw: Hardware) -> None:
    """Raise InputError if the library or the machine refuses the item (all problems in one error)."""
    problems: list[str] = []
    sizes = ("batch", "in_rows", "in_cols", "in_channels", "out_channels", "kernel", "stride")
    problems += [f"{name} = {getattr(work, name)} must be >= 1" for name in sizes if getattr(work, name) < 1]
    if hw.array.dataflow == "OS":
        problems.append("convolutions need dataflow WS; this array is built for OS only")
    if sorted(work.loop_order) != sorted(CONV_ORDER):
        problems.append(f"loop_order {work.loop_order!r} must be a permutation of {CONV_ORDER!r}")
    kernels = (work.rows_of_kernel,) * 2 + (work.kernel,) * 2
    for padding, kernel in dict.fromkeys(zip(work.paddings, kernels, strict=True)):
        if kernel <= padding:
            problems.append(f"padding {padding} must be smaller than kernel {kernel}")
    problems += special_problems(work)
    if work.input_dilation not in (1, 2):
        problems.append(f"input_dilation {work.input_dilation} must be 1 or 2")
    if work.input_dilation > 1 and work.stride > 1:
        problems.append(f"input_dilation {work.input_dilation} needs stride 1, got {work.stride}")
    if not hw.features.training_convs:  # otherwise the hardware loop ignores them (LoopConv.scala)
        wanted = [name for name in TRAINING if getattr(work, name)] + ["input_dilation"] * (work.input_dilation > 1)
        problems += [f"{name}: this machine has no training convolutions (features.training_convs)" for name in wanted]
    if work.pool_stride and not hw.features.max_pool:
        problems.append("pooling: this machine has no max-pool unit (features.max_pool)")
    if work.pool_stride and work.pool_size < 1:
        problems.append(f"pool_size {work.pool_size} must be >= 1 with pool_stride {work.pool_stride}")
    if work.trans_output_1203 and work.pool_stride:
        problems.append("trans_output_1203 excludes pooling")
    if work.trans_weight_1203 and work.trans_weight_0132:
        problems.append("trans_weight_1203 and trans_weight_0132 exclude each other")
    if work.trans_input_3120 and work.trans_weight_0132:
        problems.append("trans_input_3120 and trans_weight_0132 exclude each other")
    if not problems and min(work.out_rows, work.out_cols) < 1:
        problems.append(f"the result has {work.out_rows}x{work.out_cols} pixels: the dilated kernel exceeds the image")
    elif not problems and min(work.pooled_rows, work.pooled_cols) < 1:
        problems.append(f"the pooled result has {work.pooled_rows}x{work.pooled_cols} pixels: the pool exceeds it")
    problems += [
        f"{what} begin every {elements} elements of {hw.bits(operand)} bits, not on whole bytes (nearest: "
        f"{blocks_of(elements, per_byte(hw, operand)) * per_byte(hw, operand)})"
        for what, elements, operand in row_distances(work)
        if elements % per_byte(hw, operand)
    ]
    if problems:
        where = f"conv {work.in_rows}x{work.in_cols}x{work.in_channels}->{work.out_channels} k={work.kernel}: "
        raise InputError([where + problem for problem in problems])


def special_problems(work: Conv) -> list[str]:
    """Return the problems of a kernel that is not square, or of a depth-wise convolution."""
    special = [name for name in (*TRAINING, "input_dilation") if getattr(work, name) not in (False, 1)]
    problems = []
    square = work.rows_of_kernel == work.kernel and len({*work.paddings}) == 1
    if special and (work.depthwise or not square):
        what = "a depth-wise convolution" if work.depthwise else "a kernel or a padding that is not square"
        problems.append(f"{', '.join(special)}: {what} has none of them (nearest: leave them out)")
    if work.rows_of_kernel < 1:
        problems.append(f"kernel_rows = {work.kernel_rows} must be >= 1")
    if work.depthwise and work.in_channels != work.out_channels:
        problems.append(
            f"a depth-wise convolution of {work.in_channels} channels has as many results, not {work.out_channels}"
        )
    return problems


def row_distances(work: Conv) -> tuple[tuple[str, int, str], ...]:
    """Return (name, elements from one to the next, operand) of the rows that loads and stores move."""
    weights = work.weights.row_stride
    if work.trans_weight_0132 or work.trans_weight_1203:
        weights = work.in_channels if work.trans_weight_0132 else work.out_channels
    return (
        ("pixels", work.batch if work.trans_input_3120 else work.x.row_stride, "a"),
        ("rows of weights", weights, "b"),
        ("results", work.out_channels if work.trans_output_1203 else work.c.row_stride, "c"),
    )


def conv_steps(work: Conv, tile: ConvTile) -> Iterator[ConvStep]:
    """Yield the tiles in the order of ``work.loop_order``."""
    limits = list(conv_limits(work))
    if work.depthwise:  # a loop computes one channel, whose number replaces the out channel
        limits[OUT_CHANNELS] = work.out_channels
    b, prow, pcol, poch, krow, kcol, kch = (blocks_of(n, size) for n, size in zip(limits, tile, strict=True))
    keep = work.resident == "library" and not work.depthwise
    keep_weights = keep and kch * poch * krow * kcol <= REUSE_TILES
    keep_input = keep and kch * krow * kcol * b * prow * pcol <= REUSE_TILES
    axes = [CONV_ORDER.index(letter) for letter in work.loop_order]
    for starts in product(*(range(0, limits[axis], tile[axis]) for axis in axes)):
        at = [0] * len(axes)
        for axis, start in zip(axes, starts, strict=True):
            at[axis] = start
        b0, pr, pc, oc, kr, kc, ic = at
        bs, prs, pcs, ocs, krs, kcs, ics = (min(t, n - a) for t, n, a in zip(tile, limits, at, strict=True))
        yield ConvStep((b0, pr, pc, oc, kr, kc, ic), (bs, prs, pcs, ocs, krs, kcs, ics), keep_input, keep_weights)


def check_conv(work: Conv, hw: Hardware) -> ConvTile:
    """Return the tile of a convolution. Raises InputError if the machine or the library refuses the item."""
    check(work, hw)
    tile = conv_tile(work, hw)
    if work.trans_input_3120 and tile[0] < work.batch:
        raise InputError(
            f"conv {work.in_rows}x{work.in_cols}x{work.in_channels}->{work.out_channels} k={work.kernel}: "
            f"trans_input_3120 with {tile[0]} of {work.batch} images in a tile: the hardware loop computes pixel "
            f"addresses from the "
            "tile's batch, but they are stored by the whole batch (LoopConv.scala); "
            f"nearest: batch {tile[0]}, or a tile that begins with {work.batch}"
        )
    return tile


def lower_conv(work: Conv, hw: Hardware) -> Program:
    """Return the program of one convolution, without a fence at the end, as in the library.

    Raises InputError for what the machine or the library refuses.
    """
    tile = check_conv(work, hw)
    stream = Stream(hw, inlined=True)
    stream.mark("conv_config")
    pixel = work.batch * work.out_channels if work.trans_output_1203 else work.c.row_stride
    stream.config_st(hw.packed_bytes(pixel, "c"), activation=ACTIVATIONS.index(work.activation), scale=work.scale)
    stream.config_ex(
        transpose_a=work.trans_input_3120,
        transpose_b=work.trans_weight_0132,
        scale_bits=0,
        a_stride=work.stride >> work.downsample,
        c_stride=work.input_dilation,
    )
    kind = "conv_loop_first"
    before: tuple[int, ...] = (0,) * len(tile)
    for step in conv_steps(work, tile):
        outer = any(now < then for now, then in zip(step.at, before, strict=True))
        stream.mark(kind if kind == "conv_loop_first" else "conv_loop_outer" if outer else "conv_loop")
        _emit_tile(stream, work, hw, step)
        kind, before = "conv_loop", step.at
    return stream.program()


def _overhang(start: int, length: int, limit: int) -> tuple[int, int]:
    """Return the elements of [start, start + length) below 0 and above ``limit``."""
    return max(0, -start), max(0, start + length - limit)


def window(work: Conv, start: int, size: int, kstart: int, ksize: int, sizes: tuple[int, int, int]) -> tuple[int, ...]:
    """Return one dimension of a tile: (input start, low pad, high pad, pool low pad, pool high pad, output size).

    ``sizes``: results, elements of the image and padding along it.
    """
    out, image, padding = sizes
    pool_size, pool_stride, pool_padding = work.pool
    first = start * pool_stride - pool_padding
    covered = size * pool_stride + pool_size - 1
    pool_low, pool_high = _overhang(first, covered, out)
    outputs = covered - pool_low - pool_high
    at = max(0, first) * work.stride + kstart * work.kernel_dilation - padding
    dilated = ksize + (work.kernel_dilation - 1) * (ksize - 1)
    inputs = outputs * work.stride + dilated - 1
    low, high = _overhang(at, inputs, image + (work.input_dilation - 1) * (image - 1))
    if work.input_dilation == 2:
        # The image has data at even positions only: a tile that starts or ends at an odd one is padded there.
        low += low == 0 and at % 2 != 0
        high += high == 0 and (at + inputs) % 2 != 1
    return at, low, high, pool_low, pool_high, outputs


def pixels_per_row(work: Conv, hw: Hardware, kcols: int, kchs: int) -> int:
    """Return the number of kernel columns that share a scratchpad row (with few channels)."""
    transposed = work.trans_output_1203 or work.trans_input_3120 or work.trans_weight_1203 or work.trans_weight_0132
    spread = work.wrot180 or work.downsample or work.input_dilation > 1 or work.kernel_dilation > 1
    if not hw.features.first_layer_optimizations or transposed or spread or kchs > hw.dim:
        return 1
    return min(hw.dim // kchs, kcols)


def _addresses(work: Conv, hw: Hardware, step: ConvStep, corner: tuple[int, int]) -> tuple[int, int, int, int]:
    """DRAM bytes of input, weights, output, bias of a tile; 0 = not moved. ``corner``: input pixel."""
    b, prow, pcol, poch, krow, kcol, kch = step.at
    _, _, _, _, krows, kcols, kchs = step.size
    kch = poch if work.depthwise else kch
    if work.trans_input_3120:
        pixel = (kch * work.in_rows + corner[0]) * work.in_cols + corner[1]
        x = pixel * work.batch + b
    else:
        pixel = (b * work.in_rows + corner[0]) * work.in_cols + corner[1]
        x = pixel * work.x.row_stride + kch
    if work.wrot180:
        krow, kcol = work.kernel - krow - krows, work.kernel - kcol - kcols
    if work.trans_weight_1203:
        w = (kch * work.kernel**2 + krow * work.kernel + kcol) * work.out_channels + poch
    elif work.depthwise:
        w = (poch * work.rows_of_kernel + krow) * work.kernel + kcol
    elif work.trans_weight_0132:
        w = ((krow * work.kernel + kcol) * work.out_channels + poch) * work.in_channels + kch
    else:
        w = ((krow * work.kernel + kcol) * work.in_channels + kch) * work.weights.row_stride + poch
    if work.trans_output_1203:
        c = ((prow * work.pooled_cols + pcol) * work.batch + b) * work.out_channels + poch
    else:
        c = ((b * work.pooled_rows + prow) * work.pooled_cols + pcol) * work.c.row_stride + poch
    first = not any(step.at[4:])
    last = step.at[4] + krows >= work.rows_of_kernel and step.at[5] + kcols >= work.kernel
    last = last and (work.depthwise or kch + kchs >= work.in_channels)
    # Without a bias the library passes a dummy that must not be zero: zero means "add to the accumulator's rows".
    bias = (1 if work.bias is None else work.bias.address) + poch * hw.acc_bytes
    return (
        0 if step.keep_input and poch else work.x.address + hw.packed_bytes(x, "a"),
        0 if step.keep_weights and b + prow + pcol else work.weights.address + hw.packed_bytes(w, "b"),
        work.c.address + hw.packed_bytes(c, "c") if last else 0,
        bias if first else 0,
    )


def _emit_tile(stream: Stream, work: Conv, hw: Hardware, step: ConvStep) -> None:
    """One loop_conv_ws: its seven commands (field positions in gemmini_machine.md 2.2)."""
    batches, prows, pcols, pochs, krows, kcols, kchs = step.size
    pool_size, pool_stride, pool_padding = work.pool
    irow, upad, dpad, pupad, pdpad, orows = window(
        work, step.at[1], prows, step.at[4], krows, (work.out_rows, work.in_rows, work.padding_above)
    )
    icol, lpad, rpad, plpad, prpad, ocols = window(
        work, step.at[2], pcols, step.at[5], kcols, (work.out_cols, work.in_cols, work.padding)
    )
    weight_stride = 1 if work.depthwise else work.weights.row_stride
    dilated = work.input_dilation == 2
    corner = ((irow + upad) >> dilated, (icol + lpad) >> dilated)
    x, weights, c, bias = _addresses(work, hw, step, corner)
    stream.emit_loop(
        (
            (
                Funct.LOOP_CONV_WS_CONFIG_1,
                pack(
                    CONV_1_FIRST, out_channels=work.out_channels, in_channels=work.in_channels, in_rows=work.in_rows,
                    batch=work.batch,
                ),
                pack(
                    CONV_1_SECOND, padding=work.padding, stride=work.stride, out_cols=work.out_cols,
                    pooled_rows=work.pooled_rows, out_rows=work.out_rows,
                ),
            ),
            (
                Funct.LOOP_CONV_WS_CONFIG_2,
                pack(
                    CONV_2_FIRST, kernel=work.kernel, pooled_cols=work.pooled_cols, pool_size=pool_size,
                    pool_stride=pool_stride, pool_padding=pool_padding,
                ),
                pack(CONV_2_SECOND, batches=batches, porows=prows, pocols=pcols, pochs=pochs),
            ),
            (
                Funct.LOOP_CONV_WS_CONFIG_3,
                pack(CONV_3_FIRST, krows=krows, kcols=kcols, kchs=kchs, lpad=lpad),
                pack(CONV_3_SECOND, rpad=rpad, upad=upad, dpad=dpad, plpad=plpad, in_cols=work.in_cols),
            ),
            (
                Funct.LOOP_CONV_WS_CONFIG_4,
                pack(
                    CONV_4_FIRST, orows=orows, prpad=prpad, pupad=pupad, pdpad=pdpad,
                    kernel_dilation=work.kernel_dilation,
                ),
                pack(
                    CONV_4_SECOND, in_stride=work.x.row_stride, weight_stride=weight_stride,
                    out_stride=work.c.row_stride, ocols=ocols,
                ),
            ),
            (Funct.LOOP_CONV_WS_CONFIG_5, weights, c),
            (Funct.LOOP_CONV_WS_CONFIG_6, bias, x),
            (Funct.LOOP_CONV_WS, *_run(work, hw, step)),
        )
    )  # fmt: skip


def _run(work: Conv, hw: Hardware, step: ConvStep) -> tuple[int, int]:
    """Return the operands of the last command: halves of the scratchpad, orders of the tensors, modes."""
    b, prow, pcol, poch, krow, kcol, kch = step.at
    input_half = (1 if kch + krow + kcol + b + prow + pcol == 0 else 2) if step.keep_input else 0
    weight_half = (1 if kch + poch + krow + kcol == 0 else 2) if step.keep_weights else 0
    first = pack(
        CONV_FIRST, input_half=input_half, weight_half=weight_half,
        pixels_per_row=pixels_per_row(work, hw, *step.size[5:]), depthwise=work.depthwise,
        **{name: getattr(work, name) for name in TRAINING}, no_bias=work.bias is None,
    )  # fmt: skip
    second = pack(
        CONV_SECOND, activation=ACTIVATIONS.index(work.activation), input_dilated=work.input_dilation == 2,
        downsample=work.downsample, no_pool=not work.pool_stride,
    )  # fmt: skip
    return first, second


def call_conv(work: Conv, hw: Hardware) -> Call:
    """Return the library call of a convolution."""
    found = None if work.tile is not None else search_conv_tile(work, hw)
    search = (("conv_shrink", found.shrunk), ("conv_pass", found.grown), ("conv_try", found.tried)) if found else ()
    paths = {"conv_search": found is not None and found.tried + found.shrunk > 0, "conv_pool": bool(work.pool_stride)}
    return Call("conv", search=search, paths=tuple(path for path, runs in paths.items() if runs))
