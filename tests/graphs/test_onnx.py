"""ONNX files: a network written in any of the forms that exporters use is the graph that our own builder makes.

What is compared are cycles, operator by operator; what is wrong in a file is one clear error.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from helpers.onnx_models import FORMS, INT64, Writer, costs, encoder

import sim
import workloads
from sim.base.errors import InputError
from sim.graph import Graph
from workloads.networks.builder import Network


def ours(seq: int, batch: int, layers: int = 2, hidden: int = 64, heads: int = 4, ffn: int = 128) -> Graph:
    """The encoder of `helpers.onnx_models.encoder` by our builder."""
    net = Network("encoder")
    x = net.input("x", batch * seq, hidden)
    for layer in range(layers):
        with net.layer_of(layer):
            q, k, v = (net.linear(x, hidden) for _ in "qkv")
            context = net.attention(q, k, v, heads=heads, batch=batch)
            x = net.norm(net.add(net.linear(context, hidden), x))
            x = net.norm(net.add(net.linear(net.each("gelu", net.linear(x, ffn)), hidden), x))
    return net.graph()


@pytest.mark.parametrize("form", FORMS)
def test_an_encoder_costs_what_our_builder_makes(tmp_path: Path, form: str) -> None:
    """Chains of an early version, single norms, and the Attention of version 23 are the same operators."""
    file = encoder(tmp_path / "encoder.onnx", form)
    for batch, seq in ((1, 32), (2, 24)):
        read = workloads.build(str(file), dim=f"batch={batch},seq={seq}")
        assert costs(read) == costs(ours(seq, batch))
    assert {op.layer for op in read.ops if op.kind == "matmul" and len(op.inputs) == 3} == {0, 1}


def one(tmp_path: Path, make: Callable[[Writer, str], str], opset: int = 17, cols: int = 48) -> Graph:
    """The graph of what ``make`` does to a product, so that it is a computed value."""
    writer = Writer(opset)
    x = writer.add("MatMul", writer.input("x", 1, 16, 32), writer.weight(32, cols))
    return workloads.build(str(writer.save(tmp_path / "one.onnx", make(writer, x))))


def number(writer: Writer, value: float) -> str:
    return writer.const(np.float32(value))


def gelu_tanh(w: Writer, x: str) -> str:
    cube = w.add("Mul", w.add("Mul", x, x), x)
    inner = w.add("Add", x, w.add("Mul", cube, number(w, 0.044715)))
    turned = w.add("Tanh", w.add("Mul", inner, number(w, 0.7978845608)))
    return w.add("Mul", w.add("Mul", x, number(w, 0.5)), w.add("Add", turned, number(w, 1.0)))


def rmsnorm(w: Writer, x: str, root: str = "Sqrt") -> str:
    mean = w.add("ReduceMean", w.add("Pow", x, number(w, 2.0)), axes=[-1])
    near = w.add("Add", mean, number(w, 1e-6))
    if root == "Pow":
        scaled = w.add("Mul", x, w.add("Pow", near, number(w, -0.5)))
    else:
        scaled = w.add("Mul", x, w.add("Reciprocal", w.add("Sqrt", near)))
    return w.add("Mul", w.weight(48), scaled)


CHAINS: dict[str, tuple[str, Callable[[Writer, str], str]]] = {
    "GELU by erf": ("gelu", lambda w, x: w.gelu(x, "chain")),
    "GELU by tanh": ("gelu", gelu_tanh),
    "SiLU": ("silu", lambda w, x: w.add("Mul", w.add("Sigmoid", x), x)),
    "quick GELU": ("silu", lambda w, x: w.add("Mul", x, w.add("Sigmoid", w.add("Mul", x, number(w, 1.702))))),
    "LayerNorm": ("layernorm", lambda w, x: w.layernorm(x, 48, "chain")),
    "RMSNorm": ("rmsnorm", rmsnorm),
    "RMSNorm by a power": ("rmsnorm", lambda w, x: rmsnorm(w, x, "Pow")),
    "softmax by parts": (
        "softmax",
        lambda w, x: w.add("Div", (e := w.add("Exp", w.add("Sub", x, w.add("ReduceMax", x, axes=[-1])))),
                           w.add("ReduceSum", e, w.const(np.array([-1])))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_chains_are_recognised_by_their_values(tmp_path: Path, name: str) -> None:
    kind, make = CHAINS[name]
    assert [op.kind for op in one(tmp_path, make).ops] == ["matmul", kind]


def test_a_chain_that_is_none_of_them_stays_what_it_is(tmp_path: Path) -> None:
    """A wrong constant makes another function, which must not be taken for GELU."""
    wrong = one(tmp_path, lambda w, x: w.add("Mul", x, w.add("Add", w.add("Erf", x), number(w, 1.0))))
    assert "gelu" not in {op.kind for op in wrong.ops}


def test_missing_dimensions_are_named(tmp_path: Path) -> None:
    file = str(encoder(tmp_path / "encoder.onnx", "node", layers=1))
    with pytest.raises(InputError, match=r"without a number: batch \(of x\), seq \(of x\); .*--dim batch=1,seq=128"):
        workloads.build(file)
    with pytest.raises(InputError, match=r"no dimension 'sequence'"):
        workloads.build(file, dim="batch=1,seq=8,sequence=2")
    with pytest.raises(InputError, match=r"must be a whole number from 1 to"):
        workloads.build(file, batch=1, seq=0)


def test_unknown_operators_are_listed_once_or_priced(tmp_path: Path) -> None:
    writer = Writer(17, ("my.ops",))
    x = writer.input("x", 16, 32)
    for _ in range(2):
        x = writer.add("MatMul", writer.add("Magic", x, domain="my.ops"), writer.weight(32, 32))
    x = writer.add("Other", x, domain="my.ops")
    file = str(writer.save(tmp_path / "unknown.onnx", x))
    with pytest.raises(InputError, match=r"3 operators of 2 kinds .*Magic: 2 \(Magic_0, Magic_2\); my.ops.Other: 1"):
        workloads.build(file)
    graph = workloads.build(file, unknown="host")
    assert [op.kind for op in graph.ops] == ["foreign", "matmul", "foreign", "matmul", "foreign"]


def test_shapes_are_folded_away(tmp_path: Path) -> None:
    """Shape, Gather, Concat, Where and Expand over known sizes leave no operator behind."""
    w = Writer(17)
    ids = w.input("ids", "batch", "seq", dtype=INT64)
    found = w.add("Gather", w.weight(100, 32, name="table"), ids)
    rows = w.add("Gather", w.add("Shape", found), w.const(np.array(1)))
    shape = w.add("Concat", w.const(np.array([-1])), w.add("Unsqueeze", rows, w.const(np.array([0]))),
                  w.const(np.array([4, 8])), axis=0)  # fmt: skip
    split = w.add("Reshape", found, shape)
    joined = w.add("Reshape", w.add("Transpose", split, perm=[0, 2, 1, 3]), w.const(np.array([0, 4, -1, 8])))
    back = w.add("Reshape", w.add("Transpose", joined, perm=[0, 2, 1, 3]), w.const(np.array([0, -1, 32])))
    file = str(w.save(tmp_path / "shapes.onnx", w.add("MatMul", back, w.weight(32, 16))))
    graph = workloads.build(file, batch=2, seq=6)
    assert [(op.kind, str(op.output)) for op in graph.ops] == [("embedding", "12x32"), ("matmul", "12x16")]


def test_hostile_files_are_refused(tmp_path: Path) -> None:
    file = encoder(tmp_path / "encoder.onnx", "node", layers=1)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="not an ONNX file"):
        workloads.build(str(file), batch=1, seq=8)
    for location, reason in (("../secret", "relative name"), ("/etc/passwd", "relative name"), ("link", "link out")):
        model = onnx.ModelProto.FromString(content)
        tensor = model.graph.initializer[1]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to("/etc/passwd")
        onnx.save(model, file)
        with pytest.raises(InputError, match=reason):
            workloads.build(str(file), batch=1, seq=8)
    model = onnx.ModelProto.FromString(content)
    model.graph.node[0].input[0] = model.graph.node[-1].output[0]
    file.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="cycle"):
        workloads.build(str(file), batch=1, seq=8)


@pytest.mark.parametrize("style", ["half", "interleaved"])
def test_rotary_embeddings_are_recognised_by_their_values(tmp_path: Path, style: str) -> None:
    """Halves joined behind a negated one, or neighbours stacked; the tables come from positions that are given."""
    w = Writer(17)
    x = w.add("MatMul", w.input("x", "batch", "seq", 64), w.weight(64, 64))
    x = w.heads(x, 4, 16)
    places = w.add("Cast", w.add("Unsqueeze", w.input("ids", "seq", dtype=INT64), w.const(np.array([1]))), to=1)
    angles = w.add("Mul", places, w.weight(1, 16))
    cos, sin = w.add("Cos", angles), w.add("Sin", angles)
    if style == "half":
        first, second = w.add("Split", x, w.const(np.array([8, 8])), outputs=2, axis=-1)
        turned = w.add("Concat", w.add("Neg", second), first, axis=-1)
    else:
        bounds = [w.const(np.array([n])) for n in (0, 1, 16, -1, 2)]
        even, odd = (w.add("Slice", x, start, bounds[2], bounds[3], bounds[4]) for start in bounds[:2])
        pairs = [w.add("Unsqueeze", part, bounds[3]) for part in (w.add("Neg", odd), even)]
        turned = w.add("Reshape", w.add("Concat", *pairs, axis=-1), w.const(np.array([0, 0, -1, 16])))
    y = w.add("Add", w.add("Mul", x, cos), w.add("Mul", turned, sin))
    back = w.add("Reshape", w.add("Transpose", y, perm=[0, 2, 1, 3]), w.const(np.array([0, 0, 64])))
    file = str(w.save(tmp_path / "rope.onnx", w.add("MatMul", back, w.weight(64, 32))))
    graph = workloads.build(file, batch=1, seq=8)
    assert [op.kind for op in graph.ops] == ["matmul", "rope", "matmul"]
    attrs = graph.ops[1].attrs
    assert (attrs["style"], attrs["head_dim"], attrs["rotated"]) == (style, 16, 16)


def quantised(tmp_path: Path, form: str) -> Path:
    """A product by weights of half zeros, coded as integers in one of the forms."""
    w = Writer(17, ("com.microsoft",))
    x, scale = w.input("x", 16, 64), w.const(np.float32(0.5))
    weights = np.arange(64 * 32).reshape(64, 32).astype(np.int8) % 5 + 1
    weights[:32] = 0
    stored, zero = w.const(weights, name="stored"), w.const(np.int8(0))
    if form == "cast and scale":
        y = w.add("MatMul", x, w.add("Mul", w.add("Cast", stored, to=1), scale))
    elif form == "pairs":
        coded = w.add("DequantizeLinear", w.add("QuantizeLinear", x, scale, zero), scale, zero)
        y = w.add("MatMul", coded, w.add("DequantizeLinear", stored, scale, zero))
    else:
        coded, own, point = w.add("DynamicQuantizeLinear", x, outputs=3)
        if form == "MatMulIntegerToFloat":
            y = w.add(form, coded, stored, own, scale, point, zero, domain="com.microsoft")
        else:
            sums = w.add("Cast", w.add("MatMulInteger", coded, stored, point, zero), to=1)
            y = w.add("Mul", sums, w.add("Mul", own, scale))
    return w.save(tmp_path / "coded.onnx", w.add("Add", y, w.weight(32)))


@pytest.mark.parametrize("form", ["cast and scale", "pairs", "MatMulInteger", "MatMulIntegerToFloat"])
def test_coded_weights_are_one_product_with_the_zeros_of_the_file(tmp_path: Path, form: str) -> None:
    """Scales cost nothing; zeros are those that the file's own numbers have, half of the blocks."""
    file = str(quantised(tmp_path, form))
    graph = workloads.build(file)
    assert [(op.kind, len(op.inputs)) for op in graph.ops] == [("matmul", 3)]
    sparse = sim.simulate(file, "gemmini_ibert", sparsity=file)
    assert sparse.totals["macs"] * 2 == sim.simulate(file, "gemmini_ibert").totals["macs"]


def test_fused_operators_of_microsoft_are_the_parts_that_they_fuse(tmp_path: Path) -> None:
    w = Writer(17, (domain := "com.microsoft",))
    x = w.input("x", "batch", "seq", 64)
    y = w.add("Attention", x, w.weight(64, 192), w.weight(192), domain=domain, num_heads=4)
    y = w.add("SkipLayerNormalization", y, x, w.weight(64), w.weight(64), domain=domain)
    y = w.add("FastGelu", w.add("MatMul", y, w.weight(64, 128)), w.weight(128), domain=domain)
    graph = workloads.build(str(w.save(tmp_path / "fused.onnx", y)), batch=1, seq=16)
    kinds = ["matmul", "matmul", "softmax", "matmul", "residual_add", "layernorm", "matmul", "gelu"]
    assert [op.kind for op in graph.ops] == kinds
    assert len(graph.ops[6].inputs) == 3  # the bias of GELU's is the product's


def test_a_cache_is_appended_in_place(tmp_path: Path) -> None:
    """Past keys are a state of the graph: new ones are written behind them, nothing is copied."""
    w = Writer(17)
    x = w.input("x", "batch", "new", 64)
    q, k, v = (w.heads(w.add("MatMul", x, w.weight(64, 64)), 4, 16) for _ in "qkv")
    past = [w.input(name, "batch", 4, "past", 16) for name in ("past_k", "past_v")]
    k, v = (w.add("Concat", before, here, axis=2) for before, here in zip(past, (k, v), strict=True))
    scores = w.add("Softmax", w.add("MatMul", q, w.add("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
    file = str(w.save(tmp_path / "step.onnx", w.add("MatMul", scores, v), k, v))
    graph = workloads.build(file, batch=1, new=1, past=31)
    assert {tensor.kind for tensor in graph.tensors.values()} == {"input", "weight", "activation", "state"}
    assert [op.kind for op in graph.ops] == ["matmul"] * 4 + ["softmax", "matmul"]


def test_sizes_that_no_machine_holds_are_refused(tmp_path: Path) -> None:
    file = str(encoder(tmp_path / "encoder.onnx", "node", layers=1))
    for sizes in ({"batch": 1, "seq": 1 << 24}, {"batch": 1 << 20, "seq": 1}, {"batch": 1 << 25, "seq": 1}):
        with pytest.raises(InputError, match=r"at most|must be"):
            workloads.build(file, **sizes)


def test_a_sweep_takes_an_onnx_file(tmp_path: Path) -> None:
    file = str(encoder(tmp_path / "encoder.onnx", "node", layers=1))
    grid = {"memory.latency_cycles": [20, 40]}
    table = sim.sweep(hardware="gemmini_ibert", grid=grid, workloads=[file], sizes={"batch": 1, "seq": 16}, jobs=1)
    assert len(table) == 2 and table["cycles"].min() > 0


def test_convolutions_of_any_window_are_those_of_the_graph(tmp_path: Path) -> None:
    """Batch norms fold, ReLU6 goes into its convolution, depth-wise, grouped and flat kernels keep their kinds."""
    w = Writer(13)
    x = w.add("Conv", w.input("image", 1, 3, 32, 32), w.weight(16, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1])
    x = w.add("BatchNormalization", x, *(w.weight(16) for _ in range(4)))
    x = w.add("Clip", x, number(w, 0.0), number(w, 6.0))
    x = w.add("Conv", x, w.weight(16, 1, 3, 3), w.weight(16), pads=[1, 1, 1, 1], group=16)
    x = w.add("Conv", x, w.weight(32, 16, 1, 3), pads=[0, 1, 0, 1])
    x = w.add("Conv", x, w.weight(32, 8, 3, 3), pads=[2, 2, 2, 2], dilations=[2, 2], group=4)
    x = w.add("GlobalAveragePool", w.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]))
    file = str(w.save(tmp_path / "images.onnx", w.add("Gemm", w.add("Flatten", x), w.weight(10, 32), transB=1)))
    graph = workloads.build(file)
    kinds = ["conv", "depthwise_conv", "conv", "conv", "avgpool", "matmul", "matmul"]
    assert [op.kind for op in graph.ops] == kinds
    assert graph.ops[0].attrs["activation"] == "relu"
    macs = [256 * 16 * 27, 256 * 16 * 9, 256 * 32 * 48, 256 * 32 * 72, 0, 32 * 64, 320]
    assert [op.macs for op in graph.ops] == macs
    odd = Writer(13)
    x = odd.add("Conv", odd.add("Relu", odd.input("image", 1, 3, 8, 8)), odd.weight(4, 3, 2, 2), dilations=[1, 2])
    with pytest.raises(InputError, match="dilation along rows and columns must be equal"):
        workloads.build(str(odd.save(tmp_path / "odd.onnx", x)))


WINDOWS: list[tuple[dict[str, Any], tuple[int, int], dict[str, Any]]] = [
    ({"pads": [0, 0, 1, 1], "strides": [2, 2]}, (4, 4), {"padding": 0, "padding_end": 1, "padding_rows_end": 1}),
    ({"auto_pad": "SAME_UPPER", "strides": [2, 2]}, (4, 4), {"padding": 0, "padding_end": 1, "padding_rows_end": 1}),
    ({"auto_pad": "SAME_LOWER", "strides": [2, 2]}, (4, 4), {"padding": 1, "padding_end": None}),
    ({"auto_pad": "SAME_UPPER", "strides": [1, 1]}, (8, 8), {"padding": 1, "padding_end": None}),
    ({"auto_pad": "VALID", "strides": [1, 1]}, (6, 6), {"padding": 0, "padding_end": None}),
    ({"pads": [1, 1, 1, 1], "strides": [2, 1]}, (4, 8), {"padding": 1, "stride": 1, "stride_rows": 2}),
    ({"pads": [0, 1, 2, 1], "strides": [1, 2]}, (8, 4), {"padding_rows": 0, "stride": 2, "stride_rows": 1}),
]


@pytest.mark.parametrize(("given", "results", "wanted"), WINDOWS)
def test_windows_move_and_end_as_the_file_says(
    tmp_path: Path, given: dict[str, Any], results: tuple[int, int], wanted: dict[str, Any]
) -> None:
    w = Writer(17)
    x = w.add("Conv", w.add("Relu", w.input("image", 1, 4, 8, 8)), w.weight(6, 4, 3, 3), **given)
    graph = workloads.build(str(w.save(tmp_path / "window.onnx", x)))
    op = graph.ops[-1]
    assert op.output.rows == results[0] * results[1]
    assert {key: op.attrs[key] for key in wanted} == wanted
    assert sim.simulate(graph, "gemmini_default").totals["macs"] == results[0] * results[1] * 36 * 6


def test_a_pool_may_end_beyond_its_image(tmp_path: Path) -> None:
    """ceil_mode: 7 pixels in windows of 2 are 4 results, the last window's second pixel lies outside."""
    w = Writer(17)
    x = w.add("MaxPool", w.add("Conv", w.input("image", 1, 4, 7, 7), w.weight(6, 4, 1, 1)), kernel_shape=[2, 2],
              strides=[2, 2], ceil_mode=1)  # fmt: skip
    pool = workloads.build(str(w.save(tmp_path / "pool.onnx", x))).ops[-1]
    assert pool.kind == "maxpool" and pool.output.rows == 16 and pool.attrs["padding_end"] == 1


def test_branches_of_an_image_join_pixel_by_pixel(tmp_path: Path) -> None:
    """Channels split, summed and joined again, as detectors have them: copies of rows at most, nothing turned."""
    w = Writer(17)
    x = w.add("Conv", w.input("image", 1, 3, 16, 16), w.weight(32, 3, 3, 3), pads=[1, 1, 1, 1])
    x = w.add("Mul", x, w.add("Sigmoid", x))
    first, second = w.add("Split", x, w.const(np.array([16, 16])), outputs=2, axis=1)
    inner = w.add("Relu", w.add("Conv", second, w.weight(16, 16, 3, 3), w.weight(16), pads=[1, 1, 1, 1]))
    joined = w.add("Concat", first, second, w.add("Add", second, inner), axis=1)
    file = str(w.save(tmp_path / "detector.onnx", w.add("Conv", joined, w.weight(8, 48, 1, 1))))
    kinds = [op.kind for op in workloads.build(file).ops]
    assert kinds == ["conv", "silu", "conv", "residual_add", "copy", "copy", "conv"]


def test_one_number_a_row_needs_no_copy(tmp_path: Path) -> None:
    """Rows over their own sums: a product with ones, and a quotient whose second operand is one column."""
    graph = one(tmp_path, lambda w, x: w.add("Div", w.add("Relu", x), w.add("ReduceSum", x, w.const(np.array([-1])))))
    assert [op.kind for op in graph.ops] == ["matmul", "relu", "matmul", "divide"]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda w, x: w.add("Gather", x, w.const(np.array([999])), axis=0), "place 999 of 1 along axis 0"),
        (lambda w, x: w.add("Attention", x, x, x, q_num_heads=0, kv_num_heads=0), "kv_num_heads of at least 1"),
        (lambda w, x: w.add("Attention", x, x, x, q_num_heads=4, kv_num_heads=3), "do not divide those of Q"),
        (
            lambda w, x: w.add("RotaryEmbedding", x, w.weight(16, 32), w.weight(16, 32), num_heads=3,
                               rotary_embedding_dim=64),
            "rotated 64 exceeds head_dim 16",
        ),
    ],
)  # fmt: skip
def test_attributes_that_cannot_be_meant_are_refused(
    tmp_path: Path, make: Callable[[Writer, str], str], told: str
) -> None:
    with pytest.raises(InputError) as caught:
        one(tmp_path, make, opset=23)
    assert told in str(caught.value)


def test_a_dimension_is_given_once_and_inputs_are_real_numbers(tmp_path: Path) -> None:
    file = str(encoder(tmp_path / "encoder.onnx", "node", layers=1))
    with pytest.raises(InputError, match="--dim seq: given as 8 and 9; give it once"):
        workloads.build(file, dim="batch=1,seq=8,seq=9")
    w = Writer(17)
    x = w.input("x", 16, 32, dtype=onnx.TensorProto.COMPLEX64)
    with pytest.raises(InputError, match="'x' is of complex64 numbers"):
        workloads.build(str(w.save(tmp_path / "complex.onnx", w.add("MatMul", x, w.weight(32, 32)))))


def test_a_pad_of_nothing_is_nothing_and_integer_sums_take_their_bias(tmp_path: Path) -> None:
    graph = one(tmp_path, lambda w, x: w.add("Relu", w.add("Pad", x, w.const(np.zeros(6, np.int64)))))
    assert [op.kind for op in graph.ops] == ["matmul"]  # the ReLU is the product's
    w = Writer(17)
    image = w.add("Relu", w.input("image", 1, 3, 8, 8))
    coded, scale, zero = w.add("DynamicQuantizeLinear", image, outputs=3)
    sums = w.add("ConvInteger", coded, w.const(np.ones((4, 3, 3, 3), np.uint8)), zero)
    biased = w.add("Add", sums, w.const(np.ones((1, 4, 1, 1), np.int32), name="bias"))
    y = w.add("Mul", w.add("Cast", biased, to=1), scale)
    graph = workloads.build(str(w.save(tmp_path / "integers.onnx", y)))
    assert graph.ops[-1].kind == "conv" and len(graph.ops[-1].inputs) == 3  # no sum, no product with the scale


def test_zeros_put_around_an_image_are_the_convolution_s(tmp_path: Path) -> None:
    """As exporters of networks with TensorFlow's padding write it; zeros that others read too stay what they are."""
    w = Writer(17)
    x = w.add("Conv", w.input("image", 1, 3, 8, 8), w.weight(8, 3, 1, 1))
    padded = w.add("Pad", x, w.const(np.array([0, 0, 0, 0, 0, 0, 1, 1])))
    file = str(w.save(tmp_path / "pad.onnx", w.add("Conv", padded, w.weight(4, 8, 3, 3), strides=[2, 2])))
    first, second = workloads.build(file).ops
    assert first.kind == "matmul"  # windows of one pixel that do not overlap
    assert (second.kind, second.attrs["padding_end"], second.output.rows) == ("conv", 1, 16)
