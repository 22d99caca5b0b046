"""Element types of tensors: bytes of each, and the type of sums of their products."""

from __future__ import annotations

DTYPE_BYTES = {"int8": 1, "int16": 2, "int32": 4, "fp16": 2, "bf16": 2, "fp32": 4}

ACCUMULATOR = {"int8": "int32", "int16": "int32", "fp16": "fp32", "bf16": "fp32", "fp32": "fp32"}
"""Element type of a matmul's operands -> type of its sums and of its bias."""
