"""Work items from sizes alone: dense operands, laid out by `place` as in the recorded programs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sim.lower.place import BASE_ADDRESS, matrix_bytes, place
from sim.lower.work import BiasKind, Conv, Matmul, Norm, NormKind, Operand, ResidualAdd

INT8_BYTES, INT32_BYTES = 1, 4
"""Element sizes of the default machine (input type, accumulator type)."""


def matmul(
    m: int,
    n: int,
    k: int,
    *,
    bias: BiasKind = "none",
    input_bytes: int = INT8_BYTES,
    acc_bytes: int = INT32_BYTES,
    base: int = BASE_ADDRESS,
    **fields: Any,
) -> Matmul:
    """Return C = A x B (+ D), dense operands placed A, B, D, C; ``fields`` as in `Matmul`."""
    nowhere = Operand(0, 0)
    shape = Matmul(m, n, k, nowhere, nowhere, nowhere, nowhere, bias, **fields)
    a_rows, a_stride = (k, m) if shape.transpose_a else (m, k)
    b_rows, b_stride = (n, k) if shape.transpose_b else (k, n)
    sizes = [matrix_bytes(a_rows, a_stride, input_bytes), matrix_bytes(b_rows, b_stride, input_bytes)]
    if bias != "none":
        sizes.append(matrix_bytes(1 if bias == "row" else m, n, acc_bytes))
    sizes.append(matrix_bytes(m, n, acc_bytes if shape.full_c else input_bytes))
    addresses = place(sizes, base)
    return replace(
        shape,
        a=Operand(addresses[0], a_stride),
        b=Operand(addresses[1], b_stride),
        c=Operand(addresses[-1], n),
        d=Operand(addresses[2] if bias != "none" else 0, 0 if bias == "row" else n),
    )


def resadd(rows: int, cols: int, *, relu: bool = False, input_bytes: int = INT8_BYTES) -> ResidualAdd:
    """Return C = A + B with dense operands placed A, B, C."""
    a, b, c = place([matrix_bytes(rows, cols, input_bytes)] * 3)
    return ResidualAdd(rows, cols, Operand(a, cols), Operand(b, cols), Operand(c, cols), relu)


def norm(
    rows: int,
    cols: int,
    kind: NormKind,
    *,
    input_bytes: int = INT8_BYTES,
    acc_bytes: int = INT32_BYTES,
    **fields: Any,
) -> Norm:
    """Return kind(X) with dense operands placed X, C."""
    x, c = place([matrix_bytes(rows, cols, acc_bytes), matrix_bytes(rows, cols, input_bytes)])
    return Norm(rows, cols, kind, Operand(x, cols), Operand(c, cols), **fields)


def conv(
    in_size: int,
    in_channels: int,
    out_channels: int,
    kernel: int,
    *,
    batch: int = 1,
    bias: bool = True,
    input_bytes: int = INT8_BYTES,
    acc_bytes: int = INT32_BYTES,
    **fields: Any,
) -> Conv:
    """Return a convolution of square images with dense operands placed input, weights, output, bias."""
    nowhere = Operand(0, 0)
    shape = Conv(batch, in_size, in_size, in_channels, out_channels, kernel, nowhere, nowhere, nowhere, **fields)
    x, weights, c, d = place(
        [
            matrix_bytes(batch * in_size**2, in_channels, input_bytes),
            matrix_bytes(kernel**2 * in_channels, out_channels, input_bytes),
            matrix_bytes(batch * shape.pooled_rows * shape.pooled_cols, out_channels, input_bytes),
            matrix_bytes(1, out_channels, acc_bytes),
        ]
    )
    return replace(
        shape,
        x=Operand(x, in_channels),
        weights=Operand(weights, out_channels),
        c=Operand(c, out_channels),
        bias=Operand(d, 0) if bias else None,
    )
