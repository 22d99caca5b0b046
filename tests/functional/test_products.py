"""Whole products leave the same bytes in DRAM as the executor, which goes through every command."""

from __future__ import annotations

import numpy as np
import pytest

from sim import hardware
from sim.functional import products
from sim.functional.machine import BASE_ADDRESS, Machine
from sim.lower import lower
from sim.lower.work import BlockSparseMatmul, Matmul, Norm, Operand, ResidualAdd
from sim.timing import timer

A, B, D, C = (BASE_ADDRESS + 0x10000 * n for n in range(4))
HARDWARE = hardware.load("gemmini_ibert")


def product(m, n, k, **changes):
    shape = {"a": Operand(A, k), "b": Operand(B, k if changes.get("transpose_b") else n), "c": Operand(C, n)}
    return Matmul(m=m, n=n, k=k, d=Operand(D, 0 if changes.get("bias") == "row" else n), **shape, **changes)


DIAGONAL = ((True, False), (False, True))
WORKS = {
    "scaled": product(20, 33, 40, bias="row", scale=0.003),
    "relu": product(7, 16, 16, bias="full", scale=0.01, activation="relu"),
    "full": product(33, 20, 50, bias="full", full_c=True),
    "scores": product(24, 24, 32, transpose_b=True, activation="softmax", bert_scale=0.002),
    "gelu": product(16, 48, 20, bias="row", activation="igelu", bert_scale=0.005, scale=1e-6),
    "blocks": BlockSparseMatmul(product(18, 32, 32, full_c=True), DIAGONAL, C + 0x8000),
    "add": ResidualAdd(20, 48, Operand(A, 48), Operand(B, 48), Operand(C, 48), a_scale=0.7, b_scale=1.0, relu=True),
    "layernorm": Norm(19, 64, "layernorm", Operand(D, 64), Operand(C, 64), scale=22.5),
    "softmax": Norm(9, 40, "softmax", Operand(D, 40), Operand(C, 40), bert_scale=0.001),
}


def filled(seed):
    """A machine whose DRAM holds random operands: int8 at A and B, int32 of sums at D."""
    machine = Machine(HARDWARE, 0x40000, layernorm="hardware")
    rng = np.random.default_rng(seed)
    for address in (A, B):
        machine.write(address, rng.integers(-128, 128, (1, 0x8000)))
    machine.write(D, rng.integers(-3000, 3000, (1, 0x2000)), wide=True)
    return machine


@pytest.mark.parametrize("name", WORKS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_product_at_once_is_the_product_of_its_commands(name, seed):
    work, commanded, whole = WORKS[name], filled(seed), filled(seed)
    if name == "blocks":  # only blocks that are zero may be left out
        for machine in (commanded, whole):
            machine.write(B, np.kron(np.eye(2), np.ones((16, 16))) * np.arange(-16, 16)[:, None])
    done = commanded.run(timer.run(lower(work, HARDWARE), HARDWARE, timeline=True))
    assert products.able(work, HARDWARE)
    assert products.compute(work, whole) == done.overflows
    end = C - BASE_ADDRESS + 0x8000
    assert np.array_equal(whole.image[:end], commanded.image[:end])
    assert whole.image[C - BASE_ADDRESS : end].any()


def test_what_the_short_way_does_not_know_goes_through_the_executor():
    assert not products.able(product(8, 8, 8, a_scale=0.5), HARDWARE)
    assert not products.able(product(8, 8, 8, low_d=True), HARDWARE)
    assert not products.able(WORKS["scaled"], hardware.load("gemmini_fp32_4x4"))
