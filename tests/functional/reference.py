"""Plain numpy references of the array's operators, written from gemmini.h's CPU paths, not from the executor."""

from __future__ import annotations

import numpy as np

LN2 = 0.693147


def wrap(x):
    """int64 -> the int32 with the same low bits."""
    return (np.asarray(x, np.int64) & 0xFFFFFFFF).astype(np.uint32).view(np.int32).astype(np.int64)


def scale_int8(x, scale, relu=False):
    """float32 product, half to even, saturate; then ReLU (scale_and_sat)."""
    y = np.rint(np.asarray(x).astype(np.float32) * np.float32(scale))
    return np.clip(y, 0 if relu else -128, 127).astype(np.int64)


def gelu(x, scale, bert_scale):
    one = np.float32
    s = one(bert_scale)
    qb = int(-1.769 / float(s / one(1.41421356237)))
    qc = int(1.0 / float(one(-0.2888 * float(s * s / one(2)))))
    clipped = np.minimum(np.abs(x), -qb)
    poly = np.where(x < 0, -1, 1) * ((clipped + qb) ** 2 + qc)
    return scale_int8(wrap(x * wrap(poly + qc)), scale)


def softmax(x, bert_scale):
    one = np.float32
    s = one(bert_scale)
    qln2 = int(LN2 / float(s))
    inverse, qb, qc = 65536 // qln2, int(one(1.353) / s), int(one(0.344) / (one(0.3585) * s * s))
    q = wrap(x - x.max(axis=1, keepdims=True))
    z = wrap(-q * inverse) >> 16
    exp = np.where(z > 31, 0, wrap((q + z * qln2 + qb) ** 2 + qc) >> np.minimum(z, 31))
    total = wrap(exp.sum(axis=1, keepdims=True))
    factor = np.float32(127) / total.astype(np.float32)
    return np.clip(np.rint(exp.astype(np.float32) * factor), -128, 127).astype(np.int64)


def truncated(a, n):
    return np.sign(a) * (np.abs(a) // n)


def layernorm(x, scale):
    n = x.shape[1]
    mean = truncated(wrap(x.sum(axis=1, keepdims=True)), n)
    variance = truncated(wrap(wrap((x - mean) ** 2).sum(axis=1, keepdims=True)), n)
    # an int32 overflow can make it negative: C's root has no value there, the executor takes 1
    deviation = np.maximum(np.floor(np.sqrt(np.maximum(variance, 0).astype(np.float64))), 1)
    return scale_int8(np.rint((x - mean) / deviation), scale)


def activate(x, work):
    """A finished int32 result as the stored type of a `Matmul`."""
    if work.full_c:
        return x
    if work.activation == "softmax":
        return softmax(x, work.bert_scale)
    if work.activation == "layernorm":
        return layernorm(x, work.scale)
    if work.activation == "igelu":
        return gelu(x, work.scale, work.bert_scale)
    return scale_int8(x, work.scale, work.activation == "relu")


def float_product(a, b, d, dim):
    """float32 sums in the array's order: fused steps inside blocks of ``dim``, blocks added in the accumulator."""
    total = None if d is None else np.broadcast_to(d.astype(np.float32), (a.shape[0], b.shape[1]))
    for first in range(0, a.shape[1], dim):
        part = np.zeros((a.shape[0], b.shape[1]), np.float32)
        for k in range(first, min(first + dim, a.shape[1])):
            part = (a[:, k : k + 1].astype(np.float64) * b[k].astype(np.float64) + part).astype(np.float32)
        total = part if total is None else total + part
    return total


def bfloat16(x):
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> np.uint64(16) & np.uint64(1))) >> np.uint64(16) << np.uint64(16)
    return rounded.astype(np.uint32).view(np.float32)


def conv(x, weights, bias, work):
    """NHWC convolution (input dilation by holes of zeros), scaled, activated, then max-pooled with zero padding."""
    n, rows, cols, channels = x.shape
    t, e, k = work.input_dilation, work.kernel_dilation, work.kernel
    wide = np.zeros((n, rows * t - t + 1, cols * t - t + 1, channels), np.int64)
    wide[:, ::t, ::t] = x
    p = work.padding
    reach = (work.out_rows - 1) * work.stride + (k - 1) * e + 1
    need = max(0, reach - wide.shape[1] - 2 * p)
    wide = np.pad(wide, ((0, 0), (p, p + need), (p, p + need), (0, 0)))
    out = np.zeros((n, work.out_rows, work.out_cols, work.out_channels), np.int64)
    for i in range(k):
        for j in range(k):
            w = weights[k - 1 - i, k - 1 - j] if work.wrot180 else weights[i, j]
            rows_at = i * e + work.stride * np.arange(work.out_rows)
            cols_at = j * e + work.stride * np.arange(work.out_cols)
            out += wide[:, rows_at][:, :, cols_at] @ w
    if bias is not None:
        out += bias
    done = scale_int8(out, work.scale, work.activation == "relu")
    if not work.pool_stride:
        return done
    size, stride, pad = work.pool
    padded = np.pad(done, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    result = np.empty((n, work.pooled_rows, work.pooled_cols, work.out_channels), np.int64)
    for i in range(work.pooled_rows):
        for j in range(work.pooled_cols):
            window = padded[:, i * stride : i * stride + size, j * stride : j * stride + size]
            result[:, i, j] = window.max(axis=(1, 2))
    return result
