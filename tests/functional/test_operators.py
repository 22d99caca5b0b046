"""Oracle: residual adds, normalisations and convolutions equal plain numpy, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from helpers import reference
from helpers.bench_machine import (
    MACHINES,
    NORMALISING,
    check_traffic,
    draw,
    execute,
    heard,
    sizes_of,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sim import hardware
from sim.base.errors import InputError
from sim.lower import build, lower
from sim.lower.build import resadd
from sim.lower.conv.lowering import pixels_per_row
from sim.lower.conv.tiling import conv_tile
from sim.lower.norm import layout
from sim.lower.work import Operand, ResidualAdd
from sim.timing import timer

SMALL_ACCUMULATOR = hardware.load("gemmini_ibert", {"accumulator.capacity": "4KiB"})


@settings(max_examples=100, deadline=None)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    name=st.sampled_from(sorted(MACHINES)),
    scales=st.tuples(*[st.sampled_from([1.0, 0.5, 1.9, 0.07])] * 3),
    relu=st.booleans(),
    seed=st.integers(0, 999),
)
def test_residual_adds_are_exact(size, name, scales, relu, seed):
    hw = MACHINES[name]
    kind, rng = hw.array.input_type, np.random.default_rng(seed)
    a_scale, b_scale = (1.0, 1.0) if hw.dma.mvin_scale_units == "none" else scales[:2]
    plain = resadd(*size, relu=relu, input_bytes=hw.input_bytes)
    work = replace(plain, a_scale=a_scale, b_scale=b_scale, c_scale=scales[2])
    a, b = draw(rng, kind, size), draw(rng, kind, size)
    machine, done, times = execute(work, hw, [(work.a.address, a, None, False), (work.b.address, b, None, False)])
    total = reference.loaded(a, work.a_scale, kind, kind) + reference.loaded(b, work.b_scale, kind, kind)
    expected = reference.rescale(total, heard(hw, work).c_scale, relu, kind)
    np.testing.assert_array_equal(machine.read(work.c.address, size), expected)
    check_traffic(done, times)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(NORMALISING),
    size=st.tuples(st.integers(1, 40), st.integers(1, 200)),
    kind=st.sampled_from(["layernorm", "softmax"]),
    rule=st.sampled_from(["library", "hardware"]),
    spread=st.sampled_from([3, 500, 4000, 60000]),
    bert_scale=st.sampled_from([0.002, 0.05, 0.5]),
    scale=st.sampled_from([1.0, 20.0, 31.7]),
    seed=st.integers(0, 999),
)
def test_normalisations_are_exact(name, size, kind, rule, spread, bert_scale, scale, seed):
    hw = MACHINES[name]
    work = build.norm(*size, kind, scale=scale, bert_scale=bert_scale)
    x = np.random.default_rng(seed).integers(-spread, spread, size)
    machine, done, times = execute(work, hw, [(work.x.address, x, None, True)], layernorm=rule)
    expected = reference.softmax(x, bert_scale) if kind == "softmax" else reference.layernorm(x, scale, rule)
    np.testing.assert_array_equal(machine.read(work.c.address, size), expected)
    check_traffic(done, times)


def test_the_library_s_layernorm_knows_whole_deviations_only():
    # gemmini.h rounds (x - mean) / deviation to an integer before it scales, the RTL scales 1/deviation and rounds
    # once (Normalizer.scala): equal at scale 1, where the RTL's own tests compare them, far apart at 30
    hw = MACHINES["gemmini_ibert"]
    x = np.random.default_rng(0).normal(0, 1000, (16, 64)).round().astype(int)
    found = {}
    for rule in ("library", "hardware"):
        for scale in (1.0, 30.0):
            work = build.norm(16, 64, "layernorm", scale=scale)
            machine, _, _ = execute(work, hw, [(work.x.address, x, None, True)], layernorm=rule)
            found[rule, scale] = machine.read(work.c.address, (16, 64)).astype(int)
    np.testing.assert_array_equal(found["library", 1.0], found["hardware", 1.0])
    assert set(np.unique(found["library", 30.0])) <= {30 * n for n in range(-4, 5)}
    assert len(np.unique(found["hardware", 30.0])) > 100
    assert np.abs(found["library", 30.0] - found["hardware", 30.0]).max() <= 15


TURNS = ["", "", "", "wrot180", "trans_output_1203", "trans_weight_1203", "trans_weight_0132", "trans_input_3120"]


def conv_case(hw, work, rng):
    """Random operands of a Conv as stored, and the expected result [pixels, out channels]."""
    kind = hw.array.input_type
    shape = (work.batch, work.in_rows, work.in_cols, work.in_channels)
    x = draw(rng, kind, shape)
    channels = (work.in_channels,) if work.depthwise else (work.in_channels, work.out_channels)
    weights = draw(rng, kind, (work.rows_of_kernel, work.kernel, *channels))
    order = None
    if kind in reference.ROUND:  # sums of floats depend on their order
        pixels = partial(pixels_per_row, work, hw)
        order = kind, reference.conv_chunks(work, conv_tile(work, hw), hw.dim, pixels)
    sums = "fp32" if order else kind
    d = draw(rng, sums, (work.out_channels,), -999, 999) if work.bias else None
    stored_x, stored_w = x, weights
    if work.trans_input_3120:
        stored_x = x.transpose(3, 1, 2, 0)
    if work.trans_weight_1203:
        stored_w = weights.transpose(2, 0, 1, 3)
    elif work.trans_weight_0132:
        stored_w = weights.transpose(0, 1, 3, 2)
    elif work.depthwise:
        stored_w = weights.transpose(2, 0, 1)
    places = [
        (work.x.address, stored_x.reshape(-1, stored_x.shape[-1]), None, False),
        (work.weights.address, stored_w.reshape(-1, stored_w.shape[-1]), None, False),
    ]
    if work.bias:
        places.append((work.bias.address, d, None, True))
    expected = reference.conv(x, weights, d, heard(hw, work), kind, order)
    if work.trans_output_1203:
        expected = expected.transpose(1, 2, 0, 3)
    return places, expected.reshape(-1, work.out_channels)


def assert_conv(hw, work, rng):
    places, expected = conv_case(hw, work, rng)
    machine, done, times = execute(work, hw, places)
    found = machine.read(work.c.address, expected.shape)
    np.testing.assert_array_equal(found, expected)
    check_traffic(done, times)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(MACHINES)),
    shape=st.tuples(st.integers(3, 12), st.integers(1, 40), st.integers(1, 40), st.integers(1, 4)),
    fields=st.fixed_dictionaries(
        {
            "stride": st.integers(1, 2),
            "padding": st.integers(0, 2),
            "batch": st.integers(1, 2),
            "bias": st.booleans(),
            "activation": st.sampled_from(["none", "relu"]),
        }
    ),
    dilation=st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2)]),
    pool=st.sampled_from([(0, 0, 0), (0, 0, 0), (2, 2, 0), (3, 2, 1), (2, 1, 1)]),
    turned=st.sampled_from(TURNS),
    seed=st.integers(0, 999),
)
def test_convolutions_are_exact(name, shape, fields, dilation, pool, turned, seed):
    hw = MACHINES[name]
    fields = {**fields, turned: True} if turned and hw.features.training_convs else fields
    # every other row of a dilated result goes to one of two sub-banks, which cannot keep up: see test_by_hand.py
    holes = hw.features.training_convs and not hw.accumulator.single_ported
    dilation = dilation if holes else (1, dilation[1])
    pool = pool if hw.features.max_pool else (0, 0, 0)
    work = build.conv(
        *shape, scale=0.003, input_dilation=dilation[0], kernel_dilation=dilation[1], pool_size=pool[0],
        pool_stride=pool[1], pool_padding=pool[2], **sizes_of(hw), **fields,
    )  # fmt: skip
    assume(work.out_rows >= 1 and work.out_cols >= 1)
    try:
        lower(work, hw)
    except InputError:
        assume(False)
    assert_conv(hw, work, np.random.default_rng(seed))


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(MACHINES)),
    size=st.integers(3, 12),
    channels=st.integers(1, 20),
    kernel=st.integers(1, 4),
    fields=st.fixed_dictionaries(
        {
            "kernel_rows": st.integers(1, 4),
            "padding": st.integers(0, 2),
            "padding_rows": st.integers(0, 2),
            "padding_end": st.sampled_from([None, None, 0, 1, 2]),
            "padding_rows_end": st.sampled_from([None, None, 0, 1, 2]),
            "stride": st.integers(1, 2),
            "kernel_dilation": st.integers(1, 2),
            "depthwise": st.booleans(),
            "batch": st.integers(1, 2),
            "bias": st.booleans(),
        }
    ),
    pooled=st.booleans(),
    seed=st.integers(0, 999),
)
def test_depthwise_and_oblong_convolutions_are_exact(name, size, channels, kernel, fields, pooled, seed):
    """A kernel of each channel goes through one column of the array; only the loop command has the kernel rows."""
    hw = MACHINES[name]
    pool = (2, 2, 0) if pooled and hw.features.max_pool else (0, 0, 0)
    work = build.conv(
        size, channels, channels if fields["depthwise"] else 7, kernel, scale=0.003, **fields, pool_size=pool[0],
        pool_stride=pool[1], pool_padding=pool[2], **sizes_of(hw),
    )  # fmt: skip
    assume(work.out_rows >= 1 and work.out_cols >= 1)
    try:
        lower(work, hw)
    except InputError:
        assume(False)
    assert_conv(hw, work, np.random.default_rng(seed))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_pixels_that_share_a_row_are_placed_right(channels):
    # the first-layer trick writes shifted copies: kernel columns x channels within one row of the array
    hw = MACHINES["gemmini_default"]
    assert_conv(hw, build.conv(11, channels, 20, 3, padding=1, scale=0.01), np.random.default_rng(0))


def test_a_machine_without_training_convolutions_refuses_them():
    # its hardware loop ignores the flags: the program would end, with wrong numbers
    hw = MACHINES["gemmini_ibert"]
    for fields in ({"wrot180": True}, {"trans_weight_0132": True}, {"input_dilation": 2}):
        with pytest.raises(InputError, match=r"features\.training_convs"):
            lower(build.conv(6, 3, 5, 3, **fields), hw)


def test_a_transposed_input_needs_its_whole_batch_in_one_tile():
    # LoopConv.scala multiplies pixel numbers by the batch of the tile, not of the image: the RTL reads elsewhere
    hw = MACHINES["gemmini_acc16k"]
    work = build.conv(9, 1, 1, 1, batch=2, trans_input_3120=True, pool_size=3, pool_stride=2, pool_padding=1)
    with pytest.raises(InputError, match="a tile that begins with 2"):
        lower(work, hw)
    assert_conv(hw, replace(work, tile=(2, 2, 2, 1, 1, 1, 1)), np.random.default_rng(0))


def test_a_dilated_image_does_not_run_into_the_weights():
    # 4 x 4 x 29 rows of weights and, by gemmini.h's count, 4 x 4 x 2 of the image fit into half of 1,024 rows; the
    # hardware loop fills 5 x 5 x 2
    assert_conv(
        MACHINES["small"], build.conv(3, 29, 1, 4, bias=False, padding=1, scale=0.003, input_dilation=2),
        np.random.default_rng(0),
    )  # fmt: skip


@pytest.mark.parametrize("slow", [{}, {"memory.latency_cycles": 300, "memory.write_bytes_per_cycle": 4}])
def test_every_row_leaves_however_long_memory_takes(slow):
    """While a row waits for the writer, any number of rows pass the normaliser alone: none may take its place."""
    hw = hardware.load("gemmini_ibert", slow)
    work = build.norm(60, 268, "softmax")
    x = np.random.default_rng(0).integers(-9999, 9999, (60, 268))
    machine, done, times = execute(work, hw, [(work.x.address, x, None, True)])
    check_traffic(done, times)
    np.testing.assert_array_equal(machine.read(work.c.address, (60, 268)), reference.softmax(x, work.bert_scale))
    for clock in ("reference", "leap"):
        again = timer.run(lower(work, hw), hw, clock=clock)
        assert (again.cycles, again.counters["DRAM_WRITE_BYTES_UNMASKED"]) == (times.cycles, 60 * 268)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 7),
    cols=st.integers(1, 1400),
    kind=st.sampled_from(["layernorm", "softmax"]),
    low_x=st.booleans(),
    extra=st.sampled_from([0, 16, 48]),
    seed=st.integers(0, 999),
)
def test_rows_of_any_width_and_of_int8_are_normalised_bit_for_bit(rows, cols, kind, low_x, extra, seed):
    """The accumulator holds 64 rows: to 64 columns blocks of DIM rows, to 512 two rows at a time, then pieces."""
    hw = SMALL_ACCUMULATOR
    plain = build.norm(rows, cols, kind, scale=20.0, bert_scale=0.05)
    strides = {"x": replace(plain.x, row_stride=cols + extra), "c": replace(plain.c, row_stride=cols + 2 * extra)}
    strides["c"] = replace(strides["c"], address=plain.x.address + (1 << 18))
    work = replace(plain, low_x=low_x, **strides)
    spread = 128 if low_x else 4000
    x = np.random.default_rng(seed).integers(-spread, spread, (rows, cols))
    machine, done, times = execute(work, hw, [(work.x.address, x, work.x.row_stride, not low_x)], layernorm="hardware")
    expected = reference.softmax(x, 0.05) if kind == "softmax" else reference.layernorm(x, 20.0, "hardware")
    found = machine.read(work.c.address, (rows, cols), work.c.row_stride)
    np.testing.assert_array_equal(found, expected)
    check_traffic(done, times)


def test_wide_rows_pass_the_array_in_three_layouts():
    lies = {cols: layout(build.norm(4, cols, "softmax"), SMALL_ACCUMULATOR) for cols in (64, 65, 512, 513)}
    assert lies == {64: "WHOLE", 65: "COMPACT", 512: "COMPACT", 513: "PIECES"}


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    gaps=st.tuples(*[st.sampled_from([0, 3, 20])] * 3),
    broadcast=st.booleans(),
    seed=st.integers(0, 999),
)
def test_sums_of_operands_with_strides_of_their_own_are_exact(size, gaps, broadcast, seed):
    """Also one row (stride 0) added to all: load states and hardware loop keep a stride for each operand."""
    hw, rng = MACHINES["gemmini_default"], np.random.default_rng(seed)
    a, c = (Operand(0x20010000 + (place << 18), size[1] + gaps[place]) for place in (0, 2))
    b = Operand(0x20010000 + (1 << 18), 0 if broadcast else size[1] + gaps[1])
    work = ResidualAdd(*size, a, b, c)
    x, y = draw(rng, "int8", size), draw(rng, "int8", (1 if broadcast else size[0], size[1]))
    operands = [(a.address, x, a.row_stride, False), (b.address, y, b.row_stride or size[1], False)]
    machine, done, times = execute(work, hw, operands)
    expected = np.clip(x.astype(int) + y, -128, 127)
    np.testing.assert_array_equal(machine.read(c.address, size, c.row_stride), expected)
    check_traffic(done, times)
