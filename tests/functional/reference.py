"""Plain numpy references of the array's operators, written from gemmini.h's CPU paths, not from the executor."""

from __future__ import annotations

import numpy as np

LN2 = 0.693147


def wrap(x):
    """int64 -> the int32 with the same low bits."""
    return (np.asarray(x, np.int64) & 0xFFFFFFFF).astype(np.uint32).view(np.int32).astype(np.int64)


def bfloat16(x):
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> np.uint64(16) & np.uint64(1))) >> np.uint64(16) << np.uint64(16)
    return rounded.astype(np.uint32).view(np.float32)


def float16(x):
    with np.errstate(over="ignore"):
        return np.asarray(x, np.float32).astype(np.float16).astype(np.float32)


ROUND = {"fp32": lambda x: np.asarray(x, np.float32), "fp16": float16, "bf16": bfloat16}
"""Floating-point element type -> float32 values rounded to it, half to even."""


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
    a, b = (rescale(x, s, kind=kind) if s != 1 else x for x, s in ((a, work.a_scale), (b, work.b_scale)))
    if d is not None and work.d_scale != 1:
        if work.low_d:
            d = rescale(d, work.d_scale, kind=kind)
        elif hw.dma.mvin_acc_scale != "none":  # sums in accumulator type have a scaler of their own, or none
            d = rescale(d, work.d_scale, kind=hw.array.acc_type)
    if kind not in ROUND:
        return wrap(a @ b + (0 if d is None else d))
    total = None if d is None else np.broadcast_to(d.astype(np.float32), (a.shape[0], b.shape[1]))
    step = hw.dim if work.dataflow == "WS" else chain
    for first in range(0, a.shape[1], step):
        part = np.zeros((a.shape[0], b.shape[1]), np.float32)
        for k in range(first, min(first + step, a.shape[1])):
            part = (a[:, k : k + 1].astype(np.float64) * b[k].astype(np.float64) + part).astype(np.float32)
        total = part if total is None else total + part
    return total


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


def conv_sums(x, weights, bias, work):
    """NHWC convolution (input dilation by holes of zeros) before scaling; for floats exact on small integers only."""
    n, rows, cols, channels = x.shape
    t, e, k = work.input_dilation, work.kernel_dilation, work.kernel
    wide = np.zeros((n, rows * t - t + 1, cols * t - t + 1, channels), x.dtype)
    wide[:, ::t, ::t] = x
    p = work.padding
    reach = (work.out_rows - 1) * work.stride + (k - 1) * e + 1
    need = max(0, reach - wide.shape[1] - 2 * p)
    wide = np.pad(wide, ((0, 0), (p, p + need), (p, p + need), (0, 0)))
    out = np.zeros((n, work.out_rows, work.out_cols, work.out_channels), x.dtype)
    for i in range(k):
        for j in range(k):
            w = weights[k - 1 - i, k - 1 - j] if work.wrot180 else weights[i, j]
            rows_at = i * e + work.stride * np.arange(work.out_rows)
            cols_at = j * e + work.stride * np.arange(work.out_cols)
            out += wide[:, rows_at][:, :, cols_at] @ w
    return out if bias is None else out + bias


def conv(x, weights, bias, work, kind="int8"):
    """Convolution, scaled, activated, then max-pooled with zero padding."""
    sums = conv_sums(x, weights, bias, work)
    done = rescale(sums if kind in ROUND else wrap(sums), work.scale, work.activation == "relu", kind)
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
