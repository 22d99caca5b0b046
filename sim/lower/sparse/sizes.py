"""Common sizes of block-sparse and sampled products: the product's layout in memory."""

from __future__ import annotations

from sim.hardware import Hardware
from sim.lower.encode import float_bits
from sim.lower.matmul import d_bytes
from sim.lower.sparse.cost import LoadCost
from sim.lower.work import Matmul, Operand


def product_sizes(product: Matmul, hw: Hardware) -> dict[str, int]:
    """Return fields of a walk's sizes: addresses and strides, bits of elements, modes of the product.

    Addresses in bytes, strides in elements.
    """
    d = product.d or Operand(0, 0)
    cost = LoadCost(hw)
    return {
        "dim": hw.dim, "m": product.m, "acc_half": hw.acc_rows // 2,
        "a_address": product.a.address, "a_stride": product.a.row_stride,
        "b_address": product.b.address, "b_stride": product.b.row_stride,
        "c_address": product.c.address, "c_stride": product.c.row_stride,
        "d_address": d.address, "d_stride": 0 if product.bias == "row" else d.row_stride,
        "a_bits": hw.bits("a"), "b_bits": hw.bits("b"), "word_bits": hw.bits("word"),
        "d_bits": d_bytes(8, product, hw), "group": cost.group, "group_acc": hw.loop_max_block_len_acc,
        "biased": product.bias != "none", "row_bias": product.bias == "row",
        "full_c": product.full_c, "low_d": product.low_d,
        "scale_bits": float_bits(product.d_scale) if hw.dma.mvin_scale_units != "none" else 0,
    }  # fmt: skip


def bias_stride_bytes(product: Matmul, hw: Hardware) -> int:
    """Return the bytes from one row of D to the next, 0 where one row is added to all."""
    d = product.d or Operand(0, 0)
    return d_bytes(0 if product.bias == "row" else d.row_stride, product, hw)
