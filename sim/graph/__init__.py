"""The first door: a workload as a graph of operators over named tensors. It knows no hardware."""

from sim.graph import kinds
from sim.graph.graph import ACCUMULATOR, Graph, Op, Tensor, View

__all__ = ["ACCUMULATOR", "Graph", "Op", "Tensor", "View", "kinds"]
