"""Workloads as graphs of operators over named tensors, independent of hardware."""

from sim.graph import kinds
from sim.graph.dtypes import ACCUMULATOR
from sim.graph.graph import Graph
from sim.graph.op import Op
from sim.graph.tensors import Tensor, View

__all__ = ["ACCUMULATOR", "Graph", "Op", "Tensor", "View", "kinds"]
