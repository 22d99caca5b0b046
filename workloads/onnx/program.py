"""torch.export program files (.pt2): the JSON of operators is read as data; nothing is unpickled, no weight is read.

Operators of aten become those of the standard (`aten`), which are then processed as those of an ONNX file. Shapes are
those of the program, with the user's numbers for symbols.
"""

from __future__ import annotations

import ast
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.base.errors import InputError, did_you_mean
from sim.base.reading import TEXT_BYTES, limit_bytes, parse_json, regular, too_large, unreadable
from workloads.onnx import aten, dims, levels
from workloads.onnx.net import Level, Net, Value
from workloads.onnx.reading import needed
from workloads.onnx.resolve import FLOAT, MISFITS, ShapeResolver

OPSET = 20
"""Version of the standard into which aten operators are translated: the first with Gelu."""
WHOLE = {1: 2, 2: 3, 3: 5, 4: 6, 5: 7, 12: 9}
"""torch.export's numbers of element types other than floats -> those of ONNX; all floats become float32."""


def read(path: Path) -> dict[str, Any]:
    """Return a program as plain data. Raises InputError for another kind of file."""
    regular(path, "torch.export program (.pt2)")
    try:
        with zipfile.ZipFile(path) as archive:
            found = [info for info in archive.infolist() if info.filename.endswith("models/model.json")]
            if len(found) != 1:
                raise InputError(f"{path}: {len(found)} programs in the archive (models/model.json), one is needed")
            if found[0].file_size > (most := limit_bytes(TEXT_BYTES)):
                raise too_large(path, found[0].file_size, most)
            text = archive.read(found[0])[: most + 1].decode("utf-8")
    except unreadable() as error:
        raise InputError(f"{path}: not a torch.export program: {str(error)[:120]}") from error
    data = parse_json(text, str(path))
    try:
        data["graph_module"]["graph"]["nodes"], data["graph_module"]["signature"]["input_specs"]
    except (KeyError, TypeError):
        raise InputError(
            f"{path}: not a torch.export program: it has no graph_module with graph and signature"
        ) from None
    program: dict[str, Any] = data
    return program


def resolve(path: Path, given: Mapping[str, object], unknown: str) -> Net:
    """Return the network of a program for given dimensions. Raises InputError."""
    program = read(path)
    helper = needed().helper
    empty = helper.make_model(helper.make_graph([], "program", [], []), opset_imports=[helper.make_opsetid("", OPSET)])
    resolver = ShapeResolver(empty, path, unknown)
    try:
        reader = Program(program, path, resolver)
        reader.name_symbols(given)
        reader.run()
    except MISFITS as error:
        raise InputError(
            f"{path}: not a torch.export program of a known form: {type(error).__name__} {error}"
        ) from error
    resolver.refuse_unknown()
    return resolver.net


class Program:
    """A program during its conversion to a network. ``symbols``: numbers of symbolic dimensions."""

    def __init__(self, data: Mapping[str, Any], path: Path, resolver: ShapeResolver):
        self.path, self.resolver = path, resolver
        self.graph = data["graph_module"]["graph"]
        self.signature = data["graph_module"]["signature"]
        self.symbols: dict[str, int] = {}
        self.renamed: dict[str, str] = {}

    def user_inputs(self) -> list[str]:
        """Return the names of the tensors that are inputs of each call."""
        specs = [spec["user_input"]["arg"] for spec in self.signature["input_specs"] if "user_input" in spec]
        return [spec["as_tensor"]["name"] for spec in specs if "as_tensor" in spec]

    def name_symbols(self, given: Mapping[str, object]) -> None:
        """Assign a number to each symbolic dimension, by INPUT.AXIS or by symbol.

        Raises InputError listing those without.
        """
        places: dict[str, str] = {}
        for name in self.user_inputs():
            for axis, size in enumerate(self.graph["tensor_values"][name]["sizes"]):
                for symbol in _symbols(size):
                    places.setdefault(symbol, f"{name}.{axis}")
        known = {**{place: symbol for symbol, place in places.items()}, **{symbol: symbol for symbol in places}}
        problems = [
            f"{self.path}: no dimension {name!r}{did_you_mean(name, known)}" for name in given if name not in known
        ]
        problems += [
            f"{self.path}: dimension {name} is {value!r}, must be a whole number from 1 to {dims.MAX_SIZE:,}"
            for name, value in given.items()
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= dims.MAX_SIZE
        ]
        if problems:
            raise InputError(problems)
        self.symbols = {known[name]: int(str(value)) for name, value in given.items()}
        if missing := [place for symbol, place in places.items() if symbol not in self.symbols]:
            example = ",".join(f"{place}={1 if place.endswith('.0') else 128}" for place in missing)
            raise InputError(
                f"{self.path}: dimensions without a number: {', '.join(missing)}; give them, e.g. --dim {example}"
            )

    def number(self, entry: Mapping[str, Any]) -> int:
        """Return a size or an argument: a number, a symbol's expression, or the name of one."""
        if "as_int" in entry:
            return int(entry["as_int"])
        if "as_expr" in entry:
            return _evaluated(ast.parse(entry["as_expr"]["expr_str"], mode="eval").body, self.symbols)
        return self.number(self.graph["sym_int_values"][entry["as_name"]])

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape in the program."""
        return tuple(self.number(size) for size in self.graph["tensor_values"][name]["sizes"])

    def dtype(self, name: str) -> int:
        """Return ONNX's number of a tensor's element type."""
        return WHOLE.get(int(self.graph["tensor_values"][name]["dtype"]), FLOAT)

    def run(self) -> None:
        """Enter weights and inputs, then each operator."""
        net = self.resolver.net
        onnx = needed()
        for spec in self.signature["input_specs"]:
            ((kind, content),) = spec.items()
            if kind == "user_input":
                continue
            stored = str(next(value for key, value in content.items() if key.endswith("_name")))
            self.renamed[content["arg"]["name"]] = stored
            self.resolver.enter(
                Value(stored, self.shape(content["arg"]["name"]), self.dtype(content["arg"]["name"]), Level.CONSTANT)
            )
            net.weights.add(stored)
        for name in self.user_inputs():
            dtype = self.dtype(name)
            self.resolver.enter(Value(name, self.shape(name), dtype, levels.of_input(name, dtype, onnx)))
            net.inputs.append(name)
        for number, node in enumerate(self.graph["nodes"]):
            aten.take(self, node, number)
        outputs = [spec["user_output"]["arg"] for spec in self.signature["output_specs"] if "user_output" in spec]
        net.outputs = list(dict.fromkeys(spec["as_tensor"]["name"] for spec in outputs if "as_tensor" in spec))


FUNCTIONS = {"Mul", "Add", "Max", "Min", "FloorDiv", "Mod", "Pow", "Integer", "Symbol"}


def _symbols(size: Mapping[str, Any]) -> list[str]:
    if "as_expr" not in size:
        return []
    tree = ast.walk(ast.parse(size["as_expr"]["expr_str"], mode="eval"))
    calls = [node for node in tree if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return [str(ast.literal_eval(call.args[0])) for call in calls if getattr(call.func, "id", "") == "Symbol"]


def _evaluated(node: ast.expr, symbols: Mapping[str, int]) -> int:
    """Return the value of a size's expression. Raises ValueError for an unsupported form."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluated(node.operand, symbols)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
        raise ValueError(f"a size of the form {ast.unparse(node)[:80]!r}")
    if node.func.id == "Symbol":
        name = str(ast.literal_eval(node.args[0]))
        if name not in symbols:
            raise ValueError(f"a size that depends on the values of its inputs ({name})")
        return symbols[name]
    parts = [_evaluated(part, symbols) for part in node.args]
    match node.func.id:
        case "Mul":
            total = 1
            for part in parts:
                total *= part
            return total
        case "Add":
            return sum(parts)
        case "Max":
            return max(parts)
        case "Min":
            return min(parts)
        case "FloorDiv":
            return parts[0] // parts[1]
        case "Mod":
            return parts[0] % parts[1]
        case "Pow" if 0 <= parts[1] <= 8:
            return int(parts[0] ** parts[1])
        case "Integer":
            return parts[0]
    raise ValueError(f"a size of the form {ast.unparse(node)[:80]!r}")
