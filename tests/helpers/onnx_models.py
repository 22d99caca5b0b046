"""Small ONNX files written operator by operator, in the forms in which exporters write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import sim
from sim.graph import Graph

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class Writer:
    """A model in the making; each method returns the name of its result."""

    def __init__(self, opset: int = 17, domains: tuple[str, ...] = ()):
        self.opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.weights: list[Any] = []
        self.random = np.random.default_rng(0)

    def input(self, name: str, *shape: int | str, dtype: int = FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def const(self, values: Any, name: str = "") -> str:
        name = name or f"const{len(self.weights)}"
        array = np.asarray(values)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, *shape: int, name: str = "") -> str:
        return self.const(self.random.uniform(0.5, 1.0, shape), name or f"weight{len(self.weights)}")

    def add(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", name: str = "", **attrs: Any) -> Any:
        made = [f"v{len(self.nodes)}_{index}" for index in range(outputs)]
        name = name or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), made, name=name, domain=domain, **attrs))
        return made[0] if outputs == 1 else made

    def model(self, *outputs: str) -> onnx.ModelProto:
        out = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "written", self.inputs, out, self.weights)
        return helper.make_model(graph, opset_imports=self.opsets, ir_version=10)

    def save(self, path: Path, *outputs: str) -> Path:
        onnx.save(self.model(*outputs), path)
        return path

    # Parts of networks, by the version that an exporter aims at

    def linear(self, x: str, rows: int, cols: int, name: str = "linear") -> str:
        """A product by a matrix and a bias, with the bias first, as torch's tracing exporter writes it."""
        product = self.add("MatMul", x, self.weight(rows, cols), name=f"{name}/MatMul")
        return self.add("Add", self.weight(cols), product, name=f"{name}/Add")

    def layernorm(self, x: str, cols: int, form: str) -> str:
        gamma, beta = self.weight(cols), self.weight(cols)
        if form != "chain":
            return self.add("LayerNormalization", x, gamma, beta, axis=-1, epsilon=1e-12)
        off = self.add("Sub", x, self.add("ReduceMean", x, axes=[-1]))
        square = self.add("Pow", off, self.const(np.float32(2)))
        spread = self.add("Add", self.add("ReduceMean", square, axes=[-1]), self.const(np.float32(1e-12)))
        normed = self.add("Div", off, self.add("Sqrt", spread))
        return self.add("Add", self.add("Mul", normed, gamma), beta)

    def gelu(self, x: str, form: str) -> str:
        if form == "single":
            return self.add("Gelu", x)
        turned = self.add("Erf", self.add("Div", x, self.const(np.float32(2**0.5))))
        half = self.add("Mul", x, self.add("Add", turned, self.const(np.float32(1))))
        return self.add("Mul", half, self.const(np.float32(0.5)))

    def heads(self, x: str, heads: int, size: int) -> str:
        split = self.add("Reshape", x, self.const(np.array([0, 0, heads, size])))
        return self.add("Transpose", split, perm=[0, 2, 1, 3])

    def attention(self, q: str, k: str, v: str, heads: int, size: int, form: str, mask: str = "") -> str:
        """Of [batch, rows, heads * size] each."""
        if form == "single":
            extra = [mask] if mask else []
            return self.add("Attention", q, k, v, *extra, q_num_heads=heads, kv_num_heads=heads)
        q, k, v = (self.heads(x, heads, size) for x in (q, k, v))
        scores = self.add("MatMul", q, self.add("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self.add("Div", scores, self.const(np.float32(size**0.5)))
        if mask:
            scores = self.add("Add", scores, mask)
        context = self.add("MatMul", self.add("Softmax", scores, axis=-1), v)
        turned = self.add("Transpose", context, perm=[0, 2, 1, 3])
        return self.add("Reshape", turned, self.const(np.array([0, 0, heads * size])))


FORMS = {"chain": 11, "node": 17, "single": 23}
"""How norms, GELU and attention are written -> version of the standard."""


def encoder(path: Path, form: str, layers: int = 2, hidden: int = 64, heads: int = 4, ffn: int = 128) -> Path:
    """Write a post-norm encoder on embedded tokens [batch, seq, hidden]."""
    writer = Writer(FORMS[form])
    x = writer.input("x", "batch", "seq", hidden)
    for layer in range(layers):
        at = f"/encoder/layer.{layer}/"
        q, k, v = (writer.linear(x, hidden, hidden, f"{at}{part}") for part in "qkv")
        context = writer.attention(q, k, v, heads, hidden // heads, form)
        x = writer.layernorm(writer.add("Add", writer.linear(context, hidden, hidden, f"{at}out"), x), hidden, form)
        active = writer.gelu(writer.linear(x, hidden, ffn, f"{at}up"), form)
        x = writer.layernorm(writer.add("Add", writer.linear(active, ffn, hidden, f"{at}down"), x), hidden, form)
    return writer.save(path, x)


def costs(graph: Graph) -> list[tuple[str, int]]:
    """Kind and cycles of each operator as it runs, in any order."""
    table = sim.simulate(graph, "gemmini_ibert").ops
    return sorted(zip(table["op_kind"], table["cycles"], strict=True))
