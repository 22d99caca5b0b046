"""Plain numpy references of the array's operators, written from gemmini.h's CPU paths, not from the executor."""

from __future__ import annotations

import numpy as np

LN2 = 0.693147


def wrap(x):
    """int64 -> the int32 with the same low bits."""
    return (np.asarray(x, np.int64) & 0xFFFFFFFF).astype(np.uint32).view(np.int32).astype(np.int64)


def bfloat16(x):
    x = np.asarray(x, np.float64)
    step = np.exp2(np.maximum(np.frexp(x)[1], -125) - 8.0)
    return (np.rint(x / step) * step).astype(np.float32)


def float16(x):
    with np.errstate(over="ignore"):
        return np.asarray(x, np.float64).astype(np.float16).astype(np.float32)


ROUND = {"fp32": lambda x: np.asarray(x, np.float32), "fp16": float16, "bf16": bfloat16}
"""Floating-point element type -> float32 values rounded to it once, half to even."""


def fma(a, b, c, kind):
    """a * b + c with one rounding to ``kind``: an error-free sum in double, its last bit made odd where bits were lost.

    The lost part comes from Dekker's sum of the larger and the smaller term; results with an odd last bit round right
    to any type of fewer bits (Boldo and Melquiond).
    """
    product = np.asarray(a, np.float64) * np.asarray(b, np.float64)
    c = np.broadcast_to(np.asarray(c, np.float64), product.shape)
    large = np.where(np.abs(product) >= np.abs(c), product, c)
    small = np.where(np.abs(product) >= np.abs(c), c, product)
    total = large + small
    lost = small - (total - large)
    toward = np.nextafter(total, np.where(lost > 0, np.inf, -np.inf))
    odd = total.view(np.int64) & 1 == 1
    return ROUND[kind](np.where((lost != 0) & ~odd, toward, total))


def loaded(x, scale, kind, element):
    """The scaler of the load path: rows of ``kind`` on a machine of ``element``, half to even, integers saturate.

    The RTL takes the scale in the type of the row, on fp16 machines in fp16 (mvin_scale_args, ConfigsFP.scala).
    """
    if scale == 1:
        return x
    if kind not in ROUND:
        return rescale(x, scale, kind=kind)
    factor = ROUND["fp16" if element == "fp16" else kind](scale)
    return ROUND[kind](np.asarray(x, np.float64) * np.float64(factor))


def rescale(x, scale, relu=False, kind="int8"):
    """float32 product; integers: half to even, saturate; then ReLU (scale_and_sat, MVIN_SCALE)."""
    y = np.asarray(x).astype(np.float32) * np.float32(scale)
    if kind in ROUND:
        return ROUND[kind](np.maximum(y, 0) if relu else y)
    bounds = np.iinfo(kind)
    return np.clip(np.rint(y), 0 if relu else bounds.min, bounds.max).astype(np.int64)


def gelu(x, scale, bert_scale):
    one = np.float32
    s = one(bert_scale)
    qb = int(-1.769 / float(s / one(1.41421356237)))
    qc = int(1.0 / float(one(-0.2888 * float(s * s / one(2)))))
    clipped = np.minimum(np.abs(x), -qb)
    poly = np.where(x < 0, -1, 1) * ((clipped + qb) ** 2 + qc)
    return rescale(wrap(x * wrap(poly + qc)), scale)


def softmax(x, bert_scale):
    one = np.float32
    s = one(bert_scale)
    qln2 = int(LN2 / float(s))
    inverse, qb, qc = 65536 // qln2, int(one(1.353) / s), int(one(0.344) / (one(0.3585) * s * s))
    q = wrap(x - x.max(axis=1, keepdims=True))
    z = wrap(-q * inverse) >> 16
    # beyond 0..31, where an int32 wrapped, C shifts by an undefined amount; the hardware shifts everything out
    exp = np.where((z < 0) | (z > 31), 0, wrap((q + z * qln2 + qb) ** 2 + qc) >> np.clip(z, 0, 31))
    total = wrap(exp.sum(axis=1, keepdims=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = exp.astype(np.float32) * (np.float32(127) / total.astype(np.float32))
    shares = np.where(np.isnan(shares), 0, shares)  # 0 of 0
    return np.clip(np.rint(shares), -128, 127).astype(np.int64)


def truncated(a, n):
    return np.sign(a) * (np.abs(a) // n)


def layernorm(x, scale, rule="library"):
    """``rule``: gemmini.h rounds to whole deviations and then scales; the RTL scales 1/deviation first."""
    n = x.shape[1]
    mean = truncated(wrap(x.sum(axis=1, keepdims=True)), n)
    variance = truncated(wrap(wrap((x - mean) ** 2).sum(axis=1, keepdims=True)), n)
    # an int32 overflow can make it negative: C's root has no value there, the executor takes 1
    deviation = np.maximum(np.floor(np.sqrt(np.maximum(variance, 0).astype(np.float64))), 1)
    if rule == "hardware":
        factor = np.float32(1) / deviation.astype(np.float32) * np.float32(scale)
        return np.clip(np.rint(wrap(x - mean).astype(np.float32) * factor), -128, 127).astype(np.int64)
    return rescale(np.rint((x - mean) / deviation), scale)


def product(a, b, d, work, hw, chain):
    """A x B + D before activation. ``chain``: elements of k that stay inside the array (output stationary).

    Integers wrap at 32 bits. Floats: fused steps in the order of the array's rows; a block (weight
    stationary) or a chain (output stationary) is added up in the array, the rest in the accumulator.
    """
    kind = hw.array.input_type
    a, b = loaded(a, work.a_scale, kind, kind), loaded(b, work.b_scale, kind, kind)
    if d is not None:
        if work.low_d:
            d = loaded(d, work.d_scale, kind, kind)
        elif hw.dma.mvin_acc_scale != "none":  # sums in accumulator type have a scaler of their own, or none
            d = loaded(d, work.d_scale, hw.array.acc_type, kind)
    if kind not in ROUND:
        return wrap(a @ b + (0 if d is None else d))
    total = None if d is None else np.broadcast_to(d.astype(np.float32), (a.shape[0], b.shape[1]))
    step = hw.dim if work.dataflow == "WS" else chain
    for first in range(0, a.shape[1], step):
        part = float_chain(a[:, first : first + step], b[first : first + step], kind, work.dataflow)
        total = part if total is None else total + part
    return total


def float_chain(a, b, kind, dataflow="WS"):
    """a x b inside the array: from element to element sums have the type of the inputs (PE.scala).

    Output stationary they stay where they are, in float32, and get that type when they leave.
    """
    inside = kind if dataflow == "WS" else "fp32"
    part = np.zeros((*a.shape[:-1], b.shape[1]), np.float32)
    for k in range(a.shape[-1]):
        part = fma(a[..., k : k + 1], b[k], part, inside)
    return ROUND[kind](part)


def activate(x, work, kind="int8"):
    """A finished sum as the stored type of a `Matmul`."""
    if work.full_c:
        return x
    if work.activation == "softmax":
        return softmax(x, work.bert_scale)
    if work.activation == "layernorm":
        return layernorm(x, work.scale)
    if work.activation == "igelu":
        return gelu(x, work.scale, work.bert_scale)
    return rescale(x, work.scale, work.activation == "relu", kind)


def conv_windows(x, work):
    """x as [batch, out row, out col, kernel row, kernel col, channel]: what each tap sees (holes and padding: 0)."""
    n, rows, cols, channels = x.shape
    t, e, kr, k = work.input_dilation, work.kernel_dilation, work.rows_of_kernel, work.kernel
    wide = np.zeros((n, rows * t - t + 1, cols * t - t + 1, channels), x.dtype)
    wide[:, ::t, ::t] = x
    above, left = work.padding_above, work.padding
    below = above if work.padding_rows_end is None else work.padding_rows_end
    right = left if work.padding_end is None else work.padding_end
    reach = (work.out_rows - 1) * work.stride + (kr - 1) * e + 1
    need = max(0, reach - wide.shape[1] - above - below)
    wide = np.pad(wide, ((0, 0), (above, below + need), (left, right + need), (0, 0)))
    taps = np.zeros((n, work.out_rows, work.out_cols, kr, k, channels), x.dtype)
    for i in range(kr):
        for j in range(k):
            rows_at = i * e + work.stride * np.arange(work.out_rows)
            cols_at = j * e + work.stride * np.arange(work.out_cols)
            taps[:, :, :, i, j] = wide[:, rows_at][:, :, cols_at]
    return taps


def conv_sums(x, weights, bias, work, order):
    """NHWC convolution before scaling. ``order``: None, or of floats (type, chunks): see `conv_chunks`."""
    taps = conv_windows(x, work)
    used = weights[::-1, ::-1] if work.wrot180 else weights
    if order is None:
        sums = np.einsum("nrcijk,ijk->nrck" if work.depthwise else "nrcijk,ijko->nrco", taps, used)
        return wrap(sums + (0 if bias is None else bias))
    kind, chunks = order
    total = np.zeros((*taps.shape[:3], weights.shape[-1]), np.float32)
    total += 0 if bias is None else bias.astype(np.float32)
    for row, cols, channels in chunks:
        if work.depthwise:  # a channel at a time, in the first column of the array
            each = [
                float_chain(taps[:, :, :, row, cols, ch], used[row, cols, ch][:, None], kind)
                for ch in range(work.in_channels)
            ]
            total = total + np.concatenate(each, axis=-1)
            continue
        a = taps[:, :, :, row, cols, channels]
        b = used[row, cols, channels]
        total = total + float_chain(a.reshape(*a.shape[:3], -1), b.reshape(-1, b.shape[-1]), kind)
    return total


def conv_chunks(work, tile, dim, pixels):
    """What the array adds up inside, chunk by chunk: kernel row, columns, channels (LoopConv.scala).

    Tiles of the kernel outside, in them rows, then columns ``pixels(columns, channels)`` at a time, then channels.
    """
    krows, kcols, kchs = tile[4:]
    for top in range(0, work.rows_of_kernel, krows):
        for left in range(0, work.kernel, kcols):
            depths = 1 if work.depthwise else work.in_channels
            for first in range(0, depths, kchs):
                columns = min(kcols, work.kernel - left)
                depth = min(kchs, depths - first)
                step = pixels(columns, depth)
                for row in range(top, min(top + krows, work.rows_of_kernel)):
                    for col in range(left, left + columns, step):
                        for ch in range(first, first + depth, dim):
                            end = min(ch + dim, first + depth)
                            yield row, slice(col, min(col + step, left + columns)), slice(ch, end)


def conv(x, weights, bias, work, kind="int8", order=None):
    """Convolution, scaled, activated, then max-pooled with zero padding."""
    done = rescale(conv_sums(x, weights, bias, work, order), work.scale, work.activation == "relu", kind)
    if not work.pool_stride:
        return done
    size, stride, pad = work.pool
    padded = np.pad(done, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    result = np.empty((len(x), work.pooled_rows, work.pooled_cols, work.out_channels), done.dtype)
    for i in range(work.pooled_rows):
        for j in range(work.pooled_cols):
            window = padded[:, i * stride : i * stride + size, j * stride : j * stride + size]
            result[:, i, j] = window.max(axis=(1, 2))
    return result
