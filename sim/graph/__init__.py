"""Workloads as graphs of operators over named tensors, independent of hardware."""

from sim.graph import kinds
from sim.graph.graph import ACCUMULATOR, Graph, Op, Tensor, View

__all__ = ["ACCUMULATOR", "Graph", "Op", "Tensor", "View", "kinds"]
