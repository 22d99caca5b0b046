"""Recurrent networks, branches by the value of an input, and other operators that real files have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import sim
import workloads
from sim.base.errors import InputError
from sim.graph import Graph
from tests.helpers.onnx_models import FLOAT, INT64, Writer

STEPS, BATCH, WIDTH, SIZE = 5, 2, 12, 16
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(path: Path, op: str, directions: int = 1, **attrs: object) -> Graph:
    writer = Writer(17)
    x = writer.input("x", STEPS, BATCH, WIDTH)
    cols = GATES[op] * SIZE
    w, r, b = (writer.weight(directions, *shape) for shape in ((cols, WIDTH), (cols, SIZE), (2 * cols,)))
    direction = "bidirectional" if directions == 2 else "forward"
    made = writer.add(op, x, w, r, b, outputs=2, hidden_size=SIZE, direction=direction, name=op, **attrs)
    return workloads.build(str(writer.save(path / "recurrent.onnx", *made)))


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("op", GATES)
def test_a_step_multiplies_its_inputs_and_its_state_by_every_gate(tmp_path, op, directions):
    graph = recurrent(tmp_path, op, directions)
    products = [made for made in graph.ops if made.kind == "matmul"]
    assert graph.macs == STEPS * BATCH * directions * GATES[op] * SIZE * (WIDTH + SIZE)
    assert graph.parameters == directions * GATES[op] * SIZE * (WIDTH + SIZE + 1)
    assert sum(made.inputs[0].tensor == "x" for made in products) == directions  # inputs of all steps at once
    assert sim.simulate(graph, "gemmini_default").totals["macs"] == graph.macs


def test_a_reset_behind_the_product_adds_a_bias_of_its_own(tmp_path):
    graph = recurrent(tmp_path, "GRU", linear_before_reset=1)
    assert graph.macs == STEPS * BATCH * 3 * SIZE * (WIDTH + SIZE)
    assert graph.parameters == 3 * SIZE * (WIDTH + SIZE + 1) + SIZE


def test_a_step_depends_on_the_step_before_it(tmp_path):
    """The state behind a step is written where the result of the layer is, and read there by the next: no copies."""
    graph = recurrent(tmp_path, "RNN")
    states = [made for made in graph.ops if made.kind == "tanh"]
    reads = [made.inputs[0] for made in graph.ops if made.kind == "matmul" and made.inputs[0].tensor != "x"]
    assert [state.output.offset for state in states] == [step * BATCH * SIZE for step in range(STEPS)]
    assert [read.offset for read in reads[1:]] == [state.output.offset for state in states[:-1]]
    assert not any(made.kind == "copy" for made in graph.ops)


def test_gates_that_are_not_modelled_are_named(tmp_path):
    with pytest.raises(InputError, match="activations Relu, Tanh, Tanh not supported"):
        recurrent(tmp_path, "LSTM", activations=["Relu", "Tanh", "Tanh"])


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        (((1, 64, 12), (1, 64, 16), (1, 128)), r"weights .* are \[1, 64, 12\], must be \[2, 64, 12\]"),
        (((2, 64, 13), (2, 64, 16), (2, 128)), r"must be \[2, 64, 12\]"),
        (((2, 64, 12), (2, 64, 16), (2, 7)), r"bias .* is \[2, 7\], must be \[2, 128\]"),
    ],
)
def test_weights_of_another_shape_are_refused(tmp_path, weights, told):
    """A layer of both directions with the weights of one read them twice."""
    writer = Writer(17)
    x = writer.input("x", STEPS, BATCH, WIDTH)
    names = [writer.weight(*shape) for shape in weights]
    made = writer.add("LSTM", x, *names, hidden_size=SIZE, direction="bidirectional")
    with pytest.raises(InputError, match=told):
        workloads.build(str(writer.save(tmp_path / "wrong.onnx", made)))


@pytest.mark.parametrize("equation", ["ij,jk->iq", "ii,ij->i", "ij->", "ij,jk->ik->"])
def test_an_equation_that_does_not_fit_is_named(tmp_path, equation):
    writer = Writer(17)
    names = [writer.input(name, 8, 8) for name in "ab"]
    path = writer.save(tmp_path / "einsum.onnx", writer.add("Einsum", *names, equation=equation, name="made"))
    with pytest.raises(InputError, match=r"'made' \(Einsum\).*equation"):
        workloads.build(str(path))


def branches(path: Path) -> Path:
    """A network that chooses its weights by a sampling rate."""
    writer = Writer(17)
    x = writer.input("x", 4, WIDTH)
    writer.inputs.append(helper.make_tensor_value_info("rate", TensorProto.INT64, []))
    inner = []
    for cols in (SIZE, 2 * SIZE):
        weight = helper.make_tensor(f"w{cols}", FLOAT, [WIDTH, cols], np.ones(WIDTH * cols))
        out = helper.make_tensor_value_info(f"y{cols}", FLOAT, None)
        node = helper.make_node("MatMul", [x, f"w{cols}"], [f"y{cols}"], name=f"product{cols}")
        inner.append(helper.make_graph([node], f"g{cols}", [], [out], [weight]))
    condition = writer.add("Equal", "rate", writer.const(np.int64(16000)))
    made = writer.add("If", condition, then_branch=inner[0], else_branch=inner[1], name="by_rate")
    return writer.save(path / "branches.onnx", writer.add("Relu", made))


@pytest.mark.parametrize(("rate", "cols"), [(16000, SIZE), (8000, 2 * SIZE)])
def test_a_branch_is_chosen_by_the_value_of_an_input(tmp_path, rate, cols):
    assert workloads.build(str(branches(tmp_path)), dim=f"rate={rate}").macs == 4 * WIDTH * cols


def test_a_branch_without_its_value_says_what_to_give(tmp_path):
    with pytest.raises(InputError, match=r"If: 1 \(by_rate\).*--dim rate=NUMBER"):
        workloads.build(str(branches(tmp_path)))


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("bhid,bhjd->bhij", [(2, 3, 5, 8), (2, 3, 7, 8)], 2 * 3 * 5 * 7 * 8),
        ("ibnd,jbnd->bnij", [(5, 2, 3, 8), (7, 2, 3, 8)], 2 * 3 * 5 * 7 * 8),
        ("...d,dhe->...he", [(2, 5, 8), (8, 3, 4)], 2 * 5 * 8 * 12),
        ("bcxd,bcyd->bcxy", [(2, 3, 5, 8), (2, 3, 7, 8)], 2 * 3 * 5 * 7 * 8),
    ],
)
def test_an_einsum_is_the_product_of_its_letters(tmp_path, equation, shapes, macs):
    writer = Writer(17)
    names = [writer.input(f"x{place}", *shape) for place, shape in enumerate(shapes)]
    path = writer.save(tmp_path / "einsum.onnx", writer.add("Einsum", *names, equation=equation))
    assert workloads.build(str(path)).macs == macs


def test_what_stands_behind_a_convolution_is_folded_into_it(tmp_path):
    """A batch norm, then the gain and the shift of old files; one without a product before it runs on the array."""
    writer = Writer(17)
    x = writer.input("x", 1, 8, 6, 6)
    rows = [writer.weight(8) for _ in range(4)]
    x = writer.add("BatchNormalization", x, *rows)
    x = writer.add("Conv", x, writer.weight(8, 8, 3, 3), pads=[1] * 4)
    x = writer.add("BatchNormalization", x, *rows)
    x = writer.add("Mul", x, writer.weight(8, 1, 1))
    x = writer.add("Relu", writer.add("Add", x, writer.weight(8, 1, 1)))
    y = writer.add("Conv", x, writer.weight(8, 8, 1, 1))
    graph = workloads.build(str(writer.save(tmp_path / "folded.onnx", writer.add("Sum", x, y))))
    assert [made.kind for made in graph.ops] == ["depthwise_conv", "conv", "conv", "residual_add"]
    assert graph.ops[1].attrs["activation"] == "relu"
    assert len(graph.ops[1].inputs) == 3  # the shift of the norm is the bias


def test_tables_side_by_side_are_looked_up_into_one_row(tmp_path):
    """CANINE joins eight hashed tables: each is looked up into its part, without a copy."""
    writer = Writer(17)
    ids = writer.input("ids", 1, 10, dtype=INT64)
    parts = [writer.add("Gather", writer.weight(50, 8), ids) for _ in range(4)]
    joined = writer.add("Concat", *parts, axis=-1)
    path = writer.save(tmp_path / "tables.onnx", writer.linear(joined, 32, 16))
    assert [made.kind for made in workloads.build(str(path)).ops] == ["embedding"] * 4 + ["matmul"]


@pytest.mark.parametrize(("groups", "kind"), [(1, "conv"), (16, "depthwise_conv")])
def test_a_dilated_series_is_an_image_of_one_row(tmp_path, groups, kind):
    writer = Writer(17)
    x = writer.input("x", 1, 16, 40)
    w = writer.weight(16, 16 // groups, 3)
    path = writer.save(tmp_path / "tcn.onnx", writer.add("Conv", x, w, dilations=[4], pads=[4, 4], group=groups))
    (made,) = workloads.build(str(path)).ops
    assert (made.kind, made.attrs["dilation"]) == (kind, 4)
    assert made.macs == 40 * 3 * 16 * 16 // groups


def test_a_series_takes_the_relu_behind_it(tmp_path):
    writer = Writer(17)
    x = writer.input("x", 1, 16, 40)
    made = writer.add("Conv", x, writer.weight(16, 16, 3), writer.weight(16), pads=[1, 1])
    graph = workloads.build(str(writer.save(tmp_path / "series.onnx", writer.add("Relu", made))))
    assert [(op.kind, op.attrs["activation"]) for op in graph.ops] == [("matmul", "relu")]


@pytest.mark.parametrize("groups", [1, 4])
def test_a_transposed_series_multiplies_each_group(tmp_path, groups):
    """Vocoders widen a series by transposed convolutions with windows that overlap; the host adds the patches up."""
    writer = Writer(17)
    x = writer.input("x", 1, 16, 10)
    w = writer.weight(16, 8 // groups, 4)
    made = writer.add("ConvTranspose", x, w, strides=[2], pads=[1, 1], group=groups)
    graph = workloads.build(str(writer.save(tmp_path / "wide.onnx", made)))
    assert graph.macs == 10 * 16 * 8 // groups * 4
    assert [op.attrs["what"] for op in graph.ops if op.kind == "foreign"] == ["sum of patches"]


def test_a_result_of_a_negative_size_is_named(tmp_path):
    writer = Writer(17)
    x = writer.input("x", 1, 3, "rows", 8)
    path = writer.save(tmp_path / "small.onnx", writer.add("Conv", x, writer.weight(4, 3, 9, 3), name="wide"))
    with pytest.raises(InputError, match=r"'wide' \(Conv\).*too small"):
        workloads.build(str(path), dim="rows=4")
