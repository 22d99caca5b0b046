"""Constants of the integer polynomials of the I-BERT units, as the C library computes them."""

from __future__ import annotations

from math import inf

import numpy as np

LN2 = 0.693147
"""Value of ln 2 in the C library."""

SOFTMAX_BERT_SCALE = 0.0005
GELU_BERT_SCALE = 0.05
"""Scales of the polynomials in transformer.c, used because graphs have none; they affect values, not cycles."""


ERF_A = -0.2888
"""Leading coefficient of I-BERT's error function (papers.md 6)."""


def scale_problems(activation: str, bert_scale: float) -> list[str]:
    """Return the problems of the scale of the integer polynomials; the softmax divides by ln 2 / scale."""
    limit = {"softmax": LN2, "igelu": inf}.get(activation)
    if limit is None or 0 < bert_scale <= limit:
        return []
    rule = f"in (0, {limit}]" if limit < inf else "> 0"
    return [f"bert_scale = {bert_scale} must be {rule} for {activation!r}"]


def polynomial_constants(work_scale: float) -> tuple[int, int, int, int]:
    """Return (qln2, qln2_inv, qb, qc) of the integer softmax, in single precision as in C."""
    one = np.float32
    scale = one(work_scale)
    qln2 = int(LN2 / float(scale))
    qb = int(one(1.353) / scale)
    qc = int(one(0.344) / (one(0.3585) * scale * scale))
    return qln2, 65536 // qln2, qb, qc


def gelu_constants(work_scale: float) -> tuple[int, int]:
    """Return (qb, qc) of the integer GELU at ``work_scale``, in single precision as in C."""
    scale = np.float32(work_scale)
    erf_scale = np.float32(ERF_A * float(scale * scale / np.float32(2)))
    qb = int(-1.769 / float(scale / np.float32(1.41421356237)))
    return qb, int(1.0 / float(erf_scale))
