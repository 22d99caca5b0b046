"""Oracle: residual adds, normalisations and convolutions equal plain numpy, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from functional import reference
from functional.bench_machine import check_traffic, execute
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sim import hardware
from sim.errors import InputError
from sim.lower import ResidualAdd, build
from sim.lower.build import resadd


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    name=st.sampled_from(["gemmini_default", "gemmini_chip", "gemmini_32x32", "gemmini_4x4", "gemmini_ibert"]),
    scales=st.tuples(*[st.sampled_from([1.0, 0.5, 1.9, 0.07])] * 3),
    relu=st.booleans(),
    seed=st.integers(0, 999),
)
def test_residual_adds_are_exact(size, name, scales, relu, seed):
    hw = hardware.load(name)
    plain = resadd(*size, relu=relu)
    work = ResidualAdd(*size, plain.a, plain.b, plain.c, relu, *scales)
    if hw.dma.mvin_scale_units == "none":
        work = ResidualAdd(*size, plain.a, plain.b, plain.c, relu, 1.0, 1.0, scales[2])
    a, b = np.random.default_rng(seed).integers(-128, 128, (2, *size))
    machine, done, times = execute(work, hw, [(work.a.address, a, None, False), (work.b.address, b, None, False)])
    total = reference.scale_int8(a, work.a_scale) + reference.scale_int8(b, work.b_scale)
    expected = reference.scale_int8(total, work.c_scale, relu)
    np.testing.assert_array_equal(machine.read(work.c.address, size), expected)
    check_traffic(done, times)


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 200)),
    kind=st.sampled_from(["layernorm", "softmax"]),
    spread=st.sampled_from([3, 500, 4000]),
    bert_scale=st.sampled_from([0.002, 0.05, 0.5]),
    seed=st.integers(0, 999),
)
def test_normalisations_are_exact(size, kind, spread, bert_scale, seed):
    hw = hardware.load("gemmini_ibert")
    work = build.norm(*size, kind, scale=20.0, bert_scale=bert_scale)
    x = np.random.default_rng(seed).integers(-spread, spread, size)
    machine, done, times = execute(work, hw, [(work.x.address, x, None, True)])
    expected = reference.softmax(x, bert_scale) if kind == "softmax" else reference.layernorm(x, 20.0)
    np.testing.assert_array_equal(machine.read(work.c.address, size), expected)
    check_traffic(done, times)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["gemmini_default", "gemmini_lean", "gemmini_8x8", "gemmini_chip"]),
    size=st.integers(3, 12),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    dilation=st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2)]),
    pool=st.sampled_from([(0, 0, 0), (0, 0, 0), (2, 2, 0), (3, 2, 1), (2, 1, 1)]),
    turned=st.sampled_from(["", "", "", "wrot180", "trans_output_1203", "trans_weight_1203", "trans_weight_0132"]),
    batch=st.integers(1, 2),
    bias=st.booleans(),
    relu=st.booleans(),
    seed=st.integers(0, 999),
)
def test_convolutions_are_exact(
    name, size, channels, kernel, stride, padding, dilation, pool, turned, batch, bias, relu, seed
):
    hw = hardware.load(name)
    fields = {turned: True} if turned else {}
    work = build.conv(
        size, *channels, kernel, batch=batch, bias=bias, stride=stride, padding=padding, scale=0.003,
        input_dilation=dilation[0], kernel_dilation=dilation[1], pool_size=pool[0], pool_stride=pool[1],
        pool_padding=pool[2], activation="relu" if relu else "none", **fields,
    )  # fmt: skip
    assume(work.out_rows >= 1 and work.out_cols >= 1)
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (batch, size, size, channels[0]))
    weights = rng.integers(-128, 128, (kernel, kernel, *channels))
    d = rng.integers(-999, 999, channels[1]) if bias else None
    stored = weights
    if turned == "trans_weight_1203":
        stored = weights.transpose(2, 0, 1, 3)
    elif turned == "trans_weight_0132":
        stored = weights.transpose(0, 1, 3, 2)
    places = [
        (work.x.address, x.reshape(-1, channels[0]), None, False),
        (work.weights.address, stored.reshape(-1, stored.shape[-1]), None, False),
    ]
    if bias:
        places.append((work.bias.address, d, None, True))
    try:
        machine, done, times = execute(work, hw, places)
    except InputError:
        assume(False)
    expected = reference.conv(x, weights, d, work)
    if turned == "trans_output_1203":
        expected = expected.transpose(1, 2, 0, 3)
    found = machine.read(work.c.address, (expected.size // channels[1], channels[1]))
    np.testing.assert_array_equal(found, expected.reshape(-1, channels[1]))
    check_traffic(done, times)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_pixels_that_share_a_row_are_placed_right(channels):
    # the first-layer trick writes shifted copies: kernel columns x channels within one row of the array
    hw = hardware.load("gemmini_default")
    work = build.conv(11, channels, 20, 3, padding=1, scale=0.01)
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (1, 11, 11, channels))
    weights, d = rng.integers(-128, 128, (3, 3, channels, 20)), rng.integers(-999, 999, 20)
    places = [
        (work.x.address, x.reshape(-1, channels), None, False),
        (work.weights.address, weights.reshape(-1, 20), None, False),
        (work.bias.address, d, None, True),
    ]
    machine, done, times = execute(work, hw, places)
    found = machine.read(work.c.address, (121, 20))
    np.testing.assert_array_equal(found, reference.conv(x, weights, d, work).reshape(-1, 20))
    check_traffic(done, times)
