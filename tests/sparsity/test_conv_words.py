"""Word sizes of convolutions: the same laws as for products, and the programs leave numpy's convolution in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import reference
from helpers.bench_machine import check_traffic
from helpers.words import line, modes
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import sim
from sim.base.errors import InputError
from sim.functional import Machine
from sim.functional.machine import BASE_ADDRESS
from sim.graph import Graph, Op, Tensor, View
from sim.graph.windows import positions
from sim.hardware import load, precision
from sim.hardware.schema import ELEMENT_BITS
from sim.lower import Conv, Operand, build, lower
from sim.lower.conv.tiling import auto_conv_tile, conv_limits, conv_rows, conv_tile, granules
from sim.plan.planner import plan
from sim.sparsity.precision import Precision
from sim.sparsity.rules import Rules
from sim.sparsity.spec import parse
from sim.timing import timer
from workloads import resnet50

POOLS = {"features.max_pool": True}
MACHINES = {name: load(f"gemmini_{name}", POOLS) for name in ("widening", "decomposable", "bitserial")}
MODES = modes(MACHINES)
NETWORK = resnet50(image=32)


def convolution(side: int, ichs: int, ochs: int, kernel: int, stride: int = 1, images: int = 1) -> Graph:
    out = positions(side, kernel, stride, kernel // 2)
    tensors = [
        Tensor("x", (images * side**2, ichs), "int8", "input"),
        Tensor("w", (kernel**2 * ichs, ochs), "int8", "weight"),
        Tensor("d", (ochs,), "int32", "weight"),
        Tensor("y", (images * out**2, ochs), "int8", "activation"),
    ]
    x, w, d, y = (View.whole(tensor) for tensor in tensors)
    attrs = {"in_rows": side, "in_cols": side, "kernel": kernel, "stride": stride, "padding": kernel // 2}
    return Graph("convolution", {t.name: t for t in tensors}, (Op("conv", "conv", (x, w, d), y, attrs),))


def moved(result: sim.Result) -> int:
    return int(result.totals["dram_read_bytes"] + result.totals["dram_write_bytes"])


def wide(one: str, other: str) -> bool:
    return ELEMENT_BITS[one] >= ELEMENT_BITS[other]


SHAPES = st.tuples(
    st.integers(3, 14), st.integers(1, 24), st.integers(1, 24), st.sampled_from([1, 3, 5]), st.sampled_from([1, 2])
)


@settings(max_examples=10, deadline=None)
@given(shape=SHAPES, name=st.sampled_from(["widening", "decomposable"]))
def test_the_input_type_is_the_plain_machine_cycle_for_cycle(shape: tuple[int, ...], name: str) -> None:
    graph = convolution(*shape)
    plain, same = sim.simulate(graph, "gemmini_ibert"), sim.simulate(graph, MACHINES[name], sparsity="w8a8")
    columns = [column for column in plain.ops.columns if column != "hardware"]
    assert same.ops[columns].equals(plain.ops[columns])


@settings(max_examples=40, deadline=None)
@given(shape=SHAPES, mode=st.sampled_from(MODES), data=st.data())
def test_narrower_moves_no_more_bytes(shape: tuple[int, ...], mode: tuple[str, str, str], data: Any) -> None:
    # At equal tiles on an array cut equivalent: one whose PEs split into more parts is another array, with longer rows.
    name, a, w = mode
    wider = [one for one in MODES if one[0] == name and all(map(wide, one[1:], (a, w)))]
    _, wide_a, wide_w = data.draw(st.sampled_from(wider))
    side, ichs, ochs, kernel, stride = shape
    graph = convolution(side, 4 * ichs, 4 * ochs, kernel, stride)
    narrow, broad = (sim.simulate(graph, MACHINES[name], sparsity=line(*types)) for types in ((a, w), (wide_a, wide_w)))
    assert narrow.totals["macs"] == broad.totals["macs"] == graph.macs
    cut, whole = (result.steps[0].machine or result.hardware for result in (narrow, broad))
    if cut.dim == whole.dim:
        (work,) = broad.steps[0].works
        assert isinstance(work, Conv)
        tile = [  # begins on whole bytes of the narrower, too
            n if n == most else n // whole_bytes * whole_bytes
            for n, most, whole_bytes in zip(conv_tile(work, whole), conv_limits(work), granules(work, cut), strict=True)
        ]
        assume(all(tile))
        by_hand = {"conv": {"tile": tile}}
        narrow, broad = (
            sim.simulate(graph, MACHINES[name], sparsity=line(*types), mapping=by_hand)
            for types in ((a, w), (wide_a, wide_w))
        )
        assert moved(narrow) <= moved(broad)


@pytest.mark.parametrize(("name", "words"), [(n, one) for n in MACHINES for one in ("w8a8", "w4a8", "w4a4", "w2a4")])
def test_a_network_keeps_its_products_peaks_and_causes(name: str, words: str) -> None:
    result = sim.simulate(NETWORK, MACHINES[name], sparsity=words)
    for row in result.rows:
        assert sum(row[f"{cause}_cycles"] for cause in sim.run.columns.CAUSES) == row["cycles"]
        assert 0 <= row["utilization"] <= 1 and 0 <= (row["util_compute"] or 0) <= 1
        assert row["macs"] <= row["mac_slots"] or not row["macs"]
    assert result.totals["macs"] == NETWORK.macs
    words_of = result.ops.set_index("op")["words"]
    if words == "w4a4":
        assert words_of["S1.B0.conv2"] == "int4 x int4, stored in 4/4/4 bit"
        assert words_of["S1.B0.conv3"] == "int4 x int4, stored in 4/4/8 bit"  # an addition reads it
        assert words_of["stem"].startswith("int4 x int4, stored in 8/4/4")  # 3 channels fill no bytes in 4 bits


def test_narrow_weights_are_half_the_bytes_and_nothing_else() -> None:
    # Law: at equal tiles int4 weights save half of what their loads read.
    graph = convolution(12, 32, 64, 3)
    broad, narrow = (sim.simulate(graph, MACHINES["widening"], sparsity=one).rows[0] for one in ("w8a8", "w4a8"))
    assert broad["dram_read_bytes"] - narrow["dram_read_bytes"] == 9 * 32 * 64 // 2
    assert broad["dram_write_bytes"] == narrow["dram_write_bytes"]
    assert broad["spad_write_bytes"] == narrow["spad_write_bytes"] and broad["macs"] == narrow["macs"]


def test_energy_goes_with_the_widths_only_where_the_multiplier_does() -> None:
    graph = convolution(12, 32, 64, 3)
    of = {n: sim.simulate(graph, hw, sparsity="w4a4").totals["energy_mac_pj"] for n, hw in MACHINES.items()}
    whole = sim.simulate(graph, "gemmini_ibert").totals["energy_mac_pj"]
    assert of["widening"] == pytest.approx(whole)
    assert of["decomposable"] == of["bitserial"] == pytest.approx(whole / 4)


@pytest.mark.parametrize(("name", "words"), [(n, one) for n in MACHINES for one in ("w4a4", "w4a8", "w2a4")])
@pytest.mark.parametrize("shape", [(9, 3, 24, 7, 2), (8, 20, 36, 3, 1), (8, 40, 12, 1, 2)])
def test_all_clocks_agree(name: str, words: str, shape: tuple[int, ...]) -> None:
    graph = convolution(*shape)
    hw = MACHINES[name]
    runs = [sim.simulate(graph, hw, sparsity=words, clock=c, cache=False) for c in ("reference", "leap", "periodic")]
    columns = [column for column in runs[0].ops.columns if column != "visited_cycles"]
    assert runs[1].ops[columns].equals(runs[0].ops[columns]) and runs[2].ops[columns].equals(runs[0].ops[columns])


def numpy_conv(x: np.ndarray, w: np.ndarray, work: Conv, bias: np.ndarray) -> np.ndarray:
    """Sums [batch, rows, columns, out channels] before pooling."""
    padded = np.pad(x, ((0, 0), (work.padding,) * 2, (work.padding,) * 2, (0, 0)))
    out = np.zeros((work.batch, work.out_rows, work.out_cols, work.out_channels), np.int64)
    for i in range(work.kernel):
        for j in range(work.kernel):
            rows = padded[:, i : i + work.stride * work.out_rows : work.stride]
            part = rows[:, : work.out_rows, j : j + work.stride * work.out_cols : work.stride][:, :, : work.out_cols]
            out += part @ w[i, j]
    return reference.wrap(out + bias)


def pooled_of(out: np.ndarray, work: Conv) -> np.ndarray:
    """[batch, pooled rows, pooled columns, out channels] of what has been scaled; taps beyond the image are zeros."""
    size, stride, padding = work.pool
    if not work.pool_stride:
        return out
    out = np.pad(out, ((0, 0), (padding, size), (padding, size), (0, 0)))
    taps = [
        out[:, i : i + stride * work.pooled_rows : stride, j : j + stride * work.pooled_cols : stride]
        for i in range(size)
        for j in range(size)
    ]
    return np.max([tap[:, : work.pooled_rows, : work.pooled_cols] for tap in taps], axis=0)


@settings(max_examples=60, deadline=None)
@given(
    shape=SHAPES,
    batch=st.integers(1, 2),
    padded=st.booleans(),
    pooled=st.booleans(),
    mode=st.sampled_from(MODES),
    stored=st.tuples(*[st.sampled_from([0, 1, 2])] * 2),
    c_bits=st.sampled_from([2, 4, 8]),
    small=st.booleans(),
)
def test_programs_of_all_modes_leave_the_convolution(
    shape: tuple[int, ...], batch: int, padded: bool, pooled: bool, mode: tuple[str, str, str],
    stored: tuple[int, int], c_bits: int, small: bool,
) -> None:  # fmt: skip
    # Oracle: numpy. The executor runs what the timing core's loop emits; operands as wide as multiplied, or wider.
    name, a_type, w_type = mode
    hw = MACHINES[name]
    if small and name != "decomposable":
        # without pixel copies, whose rows the reservation station looks for p - 1 rows too early: tiles that come back
        # to a half soon really race there
        few = {"scratchpad.capacity": "32KiB", "accumulator.capacity": "16KiB"}
        hw = hw.with_({**few, "features.first_layer_optimizations": False})
    bits = [min(16, ELEMENT_BITS[one] << more) for one, more in zip((a_type, w_type), stored, strict=True)]
    machine = precision.machine(hw, a_type, w_type, (*bits, c_bits))
    side, ichs, ochs, kernel, stride = shape
    ichs, ochs = (-(-n // 4) * 4 for n in (ichs, ochs))
    pool = {"pool_size": 3, "pool_stride": 2, "pool_padding": 1} if pooled and side // stride >= 3 else {}
    work = build.conv(
        side, ichs, ochs, kernel, batch=batch, stride=stride, padding=kernel // 2 if padded or side < kernel else 0,
        **pool,
    )  # fmt: skip
    places = [BASE_ADDRESS + place * (1 << 15) for place in range(4)]
    work = replace(
        work, x=Operand(places[0], ichs), weights=Operand(places[1], ochs), c=Operand(places[2], ochs),
        bias=Operand(places[3], 0),
    )  # fmt: skip
    rng = np.random.default_rng(side * ichs + ochs)
    x, w, d = (
        rng.integers(-low, low, size)
        for low, size in (
            (2 ** (ELEMENT_BITS[a_type] - 1), (batch, side, side, ichs)),
            (2 ** (ELEMENT_BITS[w_type] - 1), (kernel, kernel, ichs, ochs)),
            (99, (1, ochs)),
        )
    )
    ran = Machine(machine, 1 << 17)
    ran.write(places[0], x.reshape(-1, ichs), kind=ran.types["a"])
    ran.write(places[1], w.reshape(-1, ochs), kind=ran.types["b"])
    ran.write(places[3], d, wide=True)
    timed = timer.run(lower(work, machine), machine, timeline=True)
    done = ran.run(timed)
    check_traffic(done, timed)
    top = 1 << c_bits - 1
    scaled = reference.rescale(numpy_conv(x, w, work, d), work.scale, kind="int16").clip(-top, top - 1)
    left = ran.read(places[2], (batch * work.pooled_rows * work.pooled_cols, ochs), kind=ran.types["c"])
    np.testing.assert_array_equal(left, pooled_of(scaled, work).reshape(-1, ochs))
    assert done.narrowed == 0


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, mode=st.sampled_from(MODES), c_bits=st.sampled_from([2, 4, 8]), tight=st.booleans())
def test_tiles_begin_on_whole_bytes_and_fit(
    shape: tuple[int, ...], mode: tuple[str, str, str], c_bits: int, tight: bool
) -> None:
    # Bound: what a tile takes is there; law: no tile begins within a byte of any operand.
    name, a_type, w_type = mode
    hw = MACHINES[name]
    if tight and name != "decomposable":
        hw = hw.with_({"scratchpad.capacity": "16KiB", "accumulator.capacity": "8KiB"})
    machine = precision.machine(hw, a_type, w_type, (ELEMENT_BITS[a_type], ELEMENT_BITS[w_type], c_bits))
    side, ichs, ochs, kernel, stride = shape
    work = build.conv(side, 12 * ichs, 12 * ochs, kernel, stride=stride, padding=kernel // 2)
    tile, limits = auto_conv_tile(work, machine), conv_limits(work)
    spad, acc = conv_rows(work, tile, machine)
    assert spad <= machine.sp_rows // 2 and acc <= machine.acc_rows // 2
    for size, limit, granule in zip(tile, limits, granules(work, machine), strict=True):
        assert size == limit or (1 <= size < limit and size % granule == 0)
    for position, operands in ((3, "bc"), (6, "a")):
        for operand in operands:
            assert tile[position] == limits[position] or tile[position] * machine.bits(operand) % 8 == 0


def test_a_tile_within_a_byte_is_reported() -> None:
    machine = precision.machine(MACHINES["widening"], "int4", "int4", (4, 4, 8))
    work = build.conv(8, 32, 32, 3, padding=1)
    with pytest.raises(
        InputError, match=r"out channels = 15: a tile begins on whole bytes, so all 32 or a multiple of 2"
    ):
        lower(replace(work, tile=(1, 4, 8, 15, 3, 3, 32)), machine)


def test_rows_within_a_byte_are_reported() -> None:
    machine = precision.machine(MACHINES["widening"], "int4", "int4", (4, 4, 4))
    with pytest.raises(InputError) as refused:
        lower(build.conv(8, 5, 7, 3), machine)
    assert "pixels begin every 5 elements of 4 bits, not on whole bytes (nearest: 6)" in refused.value.problems[0]
    assert len(refused.value.problems) == 3
    training = MACHINES["widening"].with_({"features.training_convs": True})
    machine = precision.machine(training, "int4", "int4", (4, 4, 4))
    with pytest.raises(InputError, match="pixels begin every 3 elements"):
        lower(build.conv(8, 4, 6, 3, batch=3, trans_input_3120=True), machine)


def test_odd_channels_of_a_network_are_reported() -> None:
    with pytest.raises(InputError, match=r"33 elements do not fill one \(nearest: 34\)"):
        sim.simulate(convolution(8, 16, 33, 3), MACHINES["widening"], sparsity="w4a4")


def test_outliers_of_a_convolution_are_refused_and_a_wrong_name_is_reported() -> None:
    rules = Rules((), precisions=(Precision(activations="int4", weights="int4", outliers=0.01),))
    with pytest.raises(InputError, match=r"stem and 52 more convolutions: outliers are columns of a matmul's A"):
        sim.simulate(NETWORK, MACHINES["decomposable"], sparsity=rules)
    with pytest.raises(InputError, match=r"no matmul or convolution of resnet50 is named '\*conv9'"):
        sim.simulate(NETWORK, MACHINES["widening"], sparsity="w4a8@*conv9")


def test_the_last_rule_holds_and_the_rest_stays() -> None:
    rules = Rules((), precisions=(Precision("*.conv?", "int4"), Precision("S3.*", "int2", "int8")))
    steps = {step.name: step for step in plan(NETWORK, MACHINES["widening"], sparsity=rules)}
    types = {name: step.machine.words[6:8] for name, step in steps.items() if step.machine is not None}
    assert types["S0.B0.conv1"] == ("int8", "int4") and types["S3.B0.conv1"] == ("int8", "int2")
    assert "stem" not in types and types["S3.B0.fit"] == ("int8", "int2")
    assert parse("w4a8@stem.weight").precision_for(NETWORK.op("stem")) is not None


@pytest.mark.parametrize(("name", "share"), [("decomposable", 2), ("widening", 1)])
def test_pooling_at_the_store_writes_narrow_words(name: str, share: int) -> None:
    # Law: what only narrow products read leaves the pooling in their width, DIM channels at a time. Of 16 columns those
    # are half a beat, and a beat is the least that is written.
    found = {one: sim.simulate(NETWORK, MACHINES[name], sparsity=one).ops.set_index("op") for one in ("w8a8", "w8a4")}
    assert found["w8a4"].loc["stem", "op_kind"] == "conv+maxpool"
    written = {one: ops.loc["stem", "dram_write_bytes"] for one, ops in found.items()}
    assert written["w8a8"] == share * written["w8a4"] == 8 * 8 * 64
