"""Carat: cycle-level simulation of Gemmini-like transformer accelerators. Public names are imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.analysis.explain import explain as explain
    from sim.analysis.explain import timeline as timeline
    from sim.analysis.saved import load as load
    from sim.analysis.saved import save as save
    from sim.base.errors import CaratError as CaratError
    from sim.base.errors import Hang as Hang
    from sim.base.errors import InputError as InputError
    from sim.graph import Graph as Graph
    from sim.hardware import Hardware as Hardware
    from sim.mapping import search as search
    from sim.run.columns import COLUMNS as COLUMNS
    from sim.run.generation import generate as generate
    from sim.run.pipeline import simulate as simulate
    from sim.run.result import Result as Result
    from sim.sweeps import sweep as sweep
    from workloads.onnx.torch_module import from_torch as from_torch

_HOME = {
    "COLUMNS": "sim.run.columns",
    "CaratError": "sim.base.errors",
    "Graph": "sim.graph.graph",
    "Hang": "sim.base.errors",
    "Hardware": "sim.hardware",
    "InputError": "sim.base.errors",
    "explain": "sim.analysis.explain",
    "load": "sim.analysis.saved",
    "save": "sim.analysis.saved",
    "timeline": "sim.analysis.explain",
    "Result": "sim.run.result",
    "from_torch": "workloads.onnx.torch_module",
    "generate": "sim.run.generation",
    "simulate": "sim.run.pipeline",
    "search": "sim.mapping",
    "sweep": "sim.sweeps",
}

__all__ = [
    "COLUMNS",
    "CaratError",
    "Graph",
    "Hang",
    "Hardware",
    "InputError",
    "Result",
    "explain",
    "from_torch",
    "generate",
    "load",
    "save",
    "search",
    "simulate",
    "sweep",
    "timeline",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sim' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
