"""Torch: programs of torch.export read as data, and modules exported by torch itself where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx")

from helpers.onnx_models import costs
from helpers.torch_programs import program

import sim
import workloads
from sim.base.errors import InputError
from sim.graph import Tensor, View
from workloads.networks.builder import Network


def test_a_torch_program_is_read_as_data(tmp_path: Path) -> None:
    """No torch, no unpickling: the JSON of operators alone, its dynamic dimension by input and axis."""
    file = str(program(tmp_path / "mlp.pt2"))
    net = Network("mlp")
    x = net.each("gelu", net.linear(net.input("x", 32, 64), 128, bias=False))
    net.linear(x, 64, bias=False, wide=True)
    assert costs(workloads.build(file, dim="x.0=32")) == costs(net.graph())
    with pytest.raises(InputError, match=r"without a number: x.0; .*--dim x.0=1"):
        workloads.build(file)
    odd = str(program(tmp_path / "odd.pt2", "frobnicate.default"))
    with pytest.raises(InputError, match=r"1 operators of 1 kinds .*frobnicate"):
        workloads.build(odd, dim="x.0=32")
    assert [op.kind for op in workloads.build(odd, dim="x.0=32", unknown="host").ops] == ["matmul", "foreign", "matmul"]
    (tmp_path / "bad.pt2").write_bytes(Path(file).read_bytes()[:100])
    with pytest.raises(InputError, match=r"not a torch.export program"):
        workloads.build(str(tmp_path / "bad.pt2"))


@pytest.mark.parametrize(
    ("operator", "kinds"),
    [
        ("hardswish.default", ["foreign"]),
        ("relu6.default", []),  # a ReLU of the product before it, as that of an ONNX file
        ("softplus.default", ["foreign"]),
        ("reshape_as.default", []),
        ("multiply.Tensor", ["multiply"]),
        ("zeros_like.default", None),
    ],
)
def test_further_operators_of_torch_have_a_place(tmp_path: Path, operator: str, kinds: list[str] | None) -> None:
    """The price of `foreign`, a view, or the operator itself; what depends on no value is prepared by the caller."""
    graph = workloads.build(str(program(tmp_path / "mlp.pt2", operator)), dim="x.0=32")
    named = [op.kind for op in graph.ops]
    if kinds is None:
        assert named == ["matmul"]  # the first product has no reader left
        assert graph.tensors[graph.ops[0].inputs[0].tensor].kind == "input"
    else:
        assert named == ["matmul", *kinds, "matmul"]


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_torch_layer_costs_what_our_builder_makes(norm_first: bool) -> None:
    """torch's own encoder layer, exported by torch: Q, K and V are one product there."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(64, 4, 128, activation="gelu", batch_first=True, norm_first=norm_first)
    for weight in layer.parameters():
        torch.nn.init.uniform_(weight, 0.5, 1.0)
    read = sim.from_torch(layer, torch.randn(1, 32, 64))
    net = Network("layer")
    x = net.input("x", 32, 64)

    def attended(source: Tensor) -> Tensor:
        packed = net.linear(source, 192)
        views = [View(packed.name, 4, 32, 16, 192, 16, 64 * part) for part in range(3)]
        scores, context = net.tensor("scores", (4, 32, 32)), net.tensor("context", (32, 64))
        net.apply("matmul", "scores", views[:2], View.whole(scores), transpose_b=True)
        shares = View.whole(net.each("softmax", scores))
        net.apply("matmul", "context", [shares, views[2]], View(context.name, 4, 32, 16, 64, 16))
        return net.linear(context, 64)

    def fed(source: Tensor) -> Tensor:
        return net.linear(net.each("gelu", net.linear(source, 128)), 64)

    if norm_first:
        x = net.add(x, attended(net.norm(x)))
        net.add(x, fed(net.norm(x)))
    else:
        x = net.norm(net.add(x, attended(x)))
        net.norm(net.add(x, fed(x)))
    assert costs(read) == costs(net.graph())
