"""The lower bound is a law: no simulated mapping is faster or moves less, on random work and machines."""

from __future__ import annotations

import random

import pytest

from sim import hardware
from sim.hardware import Hardware
from sim.lower import build, lower
from sim.lower.work import Conv, Matmul
from sim.mapping.kinds import bound, kind_of
from sim.mapping.kinds.conv import conv_space
from sim.mapping.kinds.matmul import matmul_space
from sim.mapping.opmapping import OpMapping
from sim.timing import timer

MACHINES = ("gemmini_default", "gemmini_ibert", "gemmini_8x8", "gemmini_4x4", "gemmini_64k_16k")
SAMPLES = 25


def random_machine(rng: random.Random) -> Hardware:
    rate = rng.choice([4, 8, 16])
    memory = {
        "memory.latency_cycles": rng.choice([1, 5, 40, 100]),
        "memory.read_bytes_per_cycle": rate,
        "memory.write_bytes_per_cycle": rate,
    }
    return hardware.load(rng.choice(MACHINES), memory)


def random_matmul(rng: random.Random, hw: Hardware) -> Matmul:
    m, n, k = (rng.choice([1, rng.randint(1, 40), rng.randint(16, 120)]) for _ in range(3))
    activations = ["none", "relu"]
    if hw.features.normalizations:
        activations += ["igelu", "softmax", "layernorm"]
    activation = rng.choice(activations)
    transposed = rng.choice(["a", "b", "", "", ""])
    plain = activation in ("none", "relu")
    return build.matmul(
        m,
        n,
        k,
        bias=rng.choice(["none", "full", "row"]),
        transpose_a=transposed == "a",
        transpose_b=transposed == "b",
        full_c=plain and rng.random() < 0.3,
        activation=activation,
        input_bytes=hw.input_bytes,
        acc_bytes=hw.acc_bytes,
        dataflow="OS" if plain and not transposed and rng.random() < 0.2 else "WS",
    )


def random_conv(rng: random.Random, hw: Hardware) -> Conv:
    pooled = {"pool_size": 2, "pool_stride": 2} if hw.features.max_pool and rng.random() < 0.3 else {}
    return build.conv(
        rng.randint(8, 12),
        rng.choice([3, 8, 16, 32]),
        rng.choice([8, 16, 32]),
        kernel := rng.choice([1, 3, 5]),
        stride=rng.choice([1, 2, 3]),
        padding=rng.choice([0, kernel // 2]),
        batch=rng.choice([1, 2]),
        activation="relu",
        **pooled,
    )


def random_case(seed: int) -> tuple[Matmul | Conv, OpMapping, Hardware]:
    rng = random.Random(seed)
    hw = random_machine(rng)
    if rng.random() < 0.25:
        conv = random_conv(rng, hw)
        return conv, rng.choice(list(conv_space(conv, hw, even=True))), hw
    work = random_matmul(rng, hw)
    return work, rng.choice(list(matmul_space(work, hw, reach="hardware"))), hw


@pytest.mark.parametrize("block", range(4))
def test_no_bound_above_the_simulation(block: int) -> None:
    for seed in range(block * SAMPLES, (block + 1) * SAMPLES):
        work, mapping, hw = random_case(seed)
        assert kind_of(work).is_legal(work, mapping, hw)
        least = bound(work, mapping, hw)
        timed = timer.run(lower(mapping.apply(work), hw), hw, phase=seed % 2)
        context = (seed, hw.name, mapping, work)
        assert least.cycles <= timed.cycles, context
        assert least.read_bytes <= timed.counters["DRAM_READ_BYTES"], context
        assert least.write_bytes <= timed.counters["DRAM_WRITE_BYTES"], context


@pytest.mark.parametrize("block", range(4))
def test_no_more_reads_of_a_convolution_are_foretold_than_are_made(block: int) -> None:
    """Pixels under overlapping tiles and weights of every pass, each row one request at least."""
    shares = []
    for seed in range(block * 6, block * 6 + 6):
        rng = random.Random(seed)
        hw = random_machine(rng)
        work = random_conv(rng, hw)
        mapping = rng.choice(list(conv_space(work, hw, even=True)))
        timing = timer.run(lower(mapping.apply(work), hw), hw, clock="leap")
        foretold = kind_of(work).demand(work, mapping, hw).read_requests
        assert foretold <= timing.counters["DRAM_READ_REQUESTS"]
        assert bound(work, mapping, hw).cycles <= timing.cycles
        shares.append(foretold / timing.counters["DRAM_READ_REQUESTS"])
    assert max(shares) > 0.9  # and it is no empty bound


@pytest.mark.parametrize(
    "sizes, tile",
    [((128, 128, 256), (4, 2, 4)), ((1, 256, 512), (1, 4, 16))],
    ids=["array-bound", "decode"],
)
def test_bound_is_close_where_the_array_is_busy(sizes: tuple[int, int, int], tile: tuple[int, int, int]) -> None:
    """A bound that were 0 would be a law too: with a good tile it comes within 20 % of the cycles."""
    hw = hardware.load("gemmini_default")
    work, mapping = build.matmul(*sizes), OpMapping("matmul", tile)
    cycles = timer.run(lower(mapping.apply(work), hw), hw).cycles
    assert bound(work, mapping, hw).cycles >= 0.8 * cycles


def test_slow_memory_moves_the_bound() -> None:
    """At 1 byte per cycle the bytes alone take longer than the array: the bound must say so."""
    hw = hardware.load("gemmini_default", {"memory.read_bytes_per_cycle": 1})
    work, mapping = build.matmul(64, 64, 64), OpMapping("matmul", (4, 4, 4))
    assert bound(work, mapping, hw).cycles >= 2 * 64 * 64
