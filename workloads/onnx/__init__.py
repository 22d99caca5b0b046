"""Graphs from ONNX files: read, shapes resolved, chains re-fused, lowered (docs/ONNX.md)."""

from __future__ import annotations

from pathlib import Path

from sim.base.errors import InputError
from sim.graph import ACCUMULATOR, Graph
from workloads.onnx import dims, program
from workloads.onnx.lower import lower
from workloads.onnx.reading import read
from workloads.onnx.recognise import recognise
from workloads.onnx.resolve import MISFITS, ShapeResolver

UNKNOWN = ("refuse", "host")


def load(path: Path, dim: str = "", unknown: str = "refuse", dtype: str = "int8", **sizes: int) -> Graph:
    """Return the network of an ONNX file, or of a torch.export program (.pt2), as a graph.

    ``dim``: numbers of named dimensions ("batch=1,seq=128"), which may also be given by name as ``sizes``; the value of
    an input that is one whole number is given in the same way. ``unknown``:
    "refuse" unknown operators, or price them on the "host". ``dtype``: element type on the machine, independent of the
    file's types. Raises InputError.
    """
    if unknown not in UNKNOWN:
        raise InputError(f"{path}: unknown is {unknown!r}, can be {', '.join(UNKNOWN)}")
    if dtype not in ACCUMULATOR:
        raise InputError(f"{path}: dtype is {dtype!r}, can be {', '.join(ACCUMULATOR)}")
    given = {**dims.parse(dim), **sizes}
    if path.suffix == ".pt2":
        net = program.resolve(path, given, unknown)
    else:
        model = read(path)
        resolver = ShapeResolver(model, path, unknown)
        numbers = {name: given[name] for name in dims.numbers(model.graph) if name in given}
        net = resolver.run(dims.shapes(str(path), model.graph, given), numbers)
        resolver.refuse_unknown()
    try:
        recognise(net)
        graph = lower(net, path.stem, str(path), dtype, unknown)
    except InputError as error:
        raise InputError([text if str(path) in text else f"{path}: {text}" for text in error.problems]) from error
    except MISFITS as error:
        raise InputError(f"{path}: operators are inconsistent: {type(error).__name__} {error}") from error
    return graph.sized(given)
