"""Programs as torch.export.save writes them, made without torch."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path


def call(target: str, out: str, **given: object) -> dict[str, object]:
    """One operator of a torch.export program."""
    forms = {str: "as_tensor", int: "as_int", list: "as_ints"}
    inputs = [
        {"name": name, "arg": {forms[type(value)]: {"name": value} if isinstance(value, str) else value}}
        for name, value in given.items()
    ]
    return {
        "target": f"torch.ops.aten.{target}",
        "inputs": inputs,
        "outputs": [{"as_tensor": {"name": out}}],
        "metadata": {},
    }


def program(path: Path, activation: str = "gelu.default") -> Path:
    """A program of two products and an activation on a dynamic number of rows, as torch.export.save lays it down."""
    rows = {"as_expr": {"expr_str": "Symbol('s0', positive=True, integer=True)"}}
    sizes = {"x": [rows, 64], "w1": [128, 64], "w2": [64, 128], "y": [rows, 128], "z": [rows, 128], "out": [rows, 64]}
    tensors = {
        name: {"dtype": 7, "sizes": [{"as_int": size} if isinstance(size, int) else size for size in axes]}
        for name, axes in sizes.items()
    }
    weights = [{"parameter": {"arg": {"name": name}, "parameter_name": f"up.{name}"}} for name in ("w1", "w2")]
    nodes = [
        call("linear.default", "y", input="x", weight="w1"),
        call(activation, "z", self="y", **({"other": "y"} if activation.startswith("multiply") else {})),
        call("linear.default", "out", input="z", weight="w2"),
    ]
    graph = {"nodes": nodes, "tensor_values": tensors, "sym_int_values": {}}
    signature = {
        "input_specs": [*weights, {"user_input": {"arg": {"as_tensor": {"name": "x"}}}}],
        "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "out"}}}}],
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "mlp/models/model.json", json.dumps({"graph_module": {"graph": graph, "signature": signature}})
        )
        archive.writestr("mlp/data/sample_inputs/model.pt", b"cos\nsystem\n(S'false'\ntR.")  # a pickle, never opened
    return path
