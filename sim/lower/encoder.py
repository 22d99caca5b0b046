"""One transformer encoder layer as library calls, in the order of Gemmini's transformer.c
(gemmini_machine.md 9.6).

Attention, then feed-forward: Q, K, V; per head Q x K^T with softmax; per head attention x V; output
projection to accumulator type; LayerNorm; residual add; FF1 with GELU; FF2 to accumulator type; LayerNorm;
residual add. Buffers and scales are those of the recorded programs (PROGRAMS.md): scales keep int8 values in range and
do not affect cycles.
"""

from __future__ import annotations

from math import sqrt

from sim.base.errors import InputError
from sim.hardware import Hardware
from sim.lower.place import matrix_bytes, place
from sim.lower.polynomials import GELU_BERT_SCALE, SOFTMAX_BERT_SCALE, gelu_constants
from sim.lower.work import Matmul, Norm, Operand, ResidualAdd

ATTENTION_SCALE = 1 / 127
"""Softmax results are fractions of 127."""
GELU_OUTPUT_STEPS = 8
"""The GELU polynomial has results in units of 1/qc; eight of its steps are one step of the stored result."""
LAYERNORM_SCALE = 40.0

EncoderWork = Matmul | Norm | ResidualAdd


class _Buffers:
    """Addresses of every tensor of the layer, each 4-KiB aligned, in the recorded order."""

    def __init__(self, seq: int, hidden: int, heads: int, ffn: int, hw: Hardware):
        small, wide = hw.input_bytes, hw.acc_bytes
        shapes = {
            "input": (seq, hidden, small),
            "wq": (hidden, hidden, small),
            "wk": (hidden, hidden, small),
            "wv": (hidden, hidden, small),
            "wo": (hidden, hidden, small),
            "wq_bias": (1, hidden, wide),
            "wk_bias": (1, hidden, wide),
            "wv_bias": (1, hidden, wide),
            "wo_bias": (1, hidden, wide),
            "ff1_w": (hidden, ffn, small),
            "ff2_w": (ffn, hidden, small),
            "ff1_bias": (1, ffn, wide),
            "ff2_bias": (1, hidden, wide),
            "q": (seq, hidden, small),
            "k": (seq, hidden, small),
            "v": (seq, hidden, small),
            "attention": (heads * seq, seq, small),
            "context": (seq, hidden, small),
            "projected": (seq, hidden, wide),
            "norm1": (seq, hidden, small),
            "sum1": (seq, hidden, small),
            "ff1": (seq, ffn, small),
            "ff2": (seq, hidden, wide),
            "norm2": (seq, hidden, small),
            "output": (seq, hidden, small),
        }
        addresses = place(matrix_bytes(*shape) for shape in shapes.values())
        self.address = dict(zip(shapes, addresses, strict=True))
        self.stride = {name: cols for name, (_, cols, _) in shapes.items()}

    def __call__(self, name: str, offset_bytes: int = 0) -> Operand:
        """Return the tensor as an operand; a bias (one row) repeats with stride 0."""
        stride = 0 if name.endswith("bias") else self.stride[name]
        return Operand(self.address[name] + offset_bytes, stride)


def operators(seq: int, hidden: int, heads: int, ffn: int, hw: Hardware) -> list[tuple[str, EncoderWork]]:
    """Return (name, work item) of each operator of one layer, named as in the encoder table.

    Raises InputError if a size is below 1 or ``hidden`` is no multiple of ``heads``.
    """
    sizes = {"seq": seq, "hidden": hidden, "heads": heads, "ffn": ffn}
    problems = [f"encoder: {name} = {size} must be >= 1" for name, size in sizes.items() if size < 1]
    if not problems and hidden % heads:
        nearest = max(divisor for divisor in range(1, heads + 1) if hidden % divisor == 0)
        problems.append(f"encoder: hidden {hidden} is no multiple of heads {heads}; nearest: heads = {nearest}")
    if problems:
        raise InputError(problems)

    at = _Buffers(seq, hidden, heads, ffn, hw)
    head, none = hidden // heads, Operand(0, 0)
    found: list[tuple[str, EncoderWork]] = []
    for name in "qkv":
        product = Matmul(
            seq, hidden, hidden, at("input"), at(f"w{name}"), at(name), at(f"w{name}_bias"), "full",
            scale=1 / sqrt(hidden),
        )  # fmt: skip
        found.append((f"matmul_{name.upper()}", product))
    for h in range(heads):
        columns, square = h * head * hw.input_bytes, h * seq * seq * hw.input_bytes
        product = Matmul(
            seq, seq, head, at("q", columns), at("k", columns), at("attention", square), none,
            transpose_b=True, activation="softmax", scale=1.0, bert_scale=SOFTMAX_BERT_SCALE,
        )  # fmt: skip
        found.append((f"QKT_softmax_h{h}", product))
    for h in range(heads):
        columns, square = h * head * hw.input_bytes, h * seq * seq * hw.input_bytes
        product = Matmul(
            seq, head, seq, at("attention", square), at("v", columns), at("context", columns), none,
            scale=ATTENTION_SCALE,
        )  # fmt: skip
        found.append((f"AV_h{h}", product))
    projection = Matmul(
        seq, hidden, hidden, at("context"), at("wo"), at("projected"), at("wo_bias"), "full",
        full_c=True, scale=1.0,
    )  # fmt: skip
    _, qc = gelu_constants(GELU_BERT_SCALE)
    ff1 = Matmul(
        seq, ffn, hidden, at("sum1"), at("ff1_w"), at("ff1"), at("ff1_bias"), "row",
        activation="igelu", scale=1 / (qc * GELU_OUTPUT_STEPS * sqrt(hidden)), bert_scale=GELU_BERT_SCALE,
    )  # fmt: skip
    ff2 = Matmul(seq, hidden, ffn, at("ff1"), at("ff2_w"), at("ff2"), at("ff2_bias"), "row", full_c=True, scale=1.0)
    return [
        *found,
        ("Wout_fullC", projection),
        ("layernorm1", Norm(seq, hidden, "layernorm", at("projected"), at("norm1"), LAYERNORM_SCALE)),
        ("resadd1", ResidualAdd(seq, hidden, at("input"), at("norm1"), at("sum1"))),
        ("FF1_igelu", ff1),
        ("FF2_fullC", ff2),
        ("layernorm2", Norm(seq, hidden, "layernorm", at("ff2"), at("norm2"), LAYERNORM_SCALE)),
        ("resadd2", ResidualAdd(seq, hidden, at("norm2"), at("sum1"), at("output"))),
    ]
