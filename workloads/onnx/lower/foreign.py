"""Operators without a kind in the graph: the host runs them at one price (`sim.graph.kinds`, kind `foreign`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.onnx.lower.windows import NoWindow
from workloads.onnx.net import Level, Node

if TYPE_CHECKING:
    from workloads.onnx.lower.lowering import NodeLowering

PRICED = (
    *("Div", "Pow", "Sqrt", "Reciprocal", "Erf", "Log", "Abs", "Neg", "Sin", "Cos", "Clip", "Min", "Max", "Floor"),
    *("Ceil", "Round", "Sign", "Softplus", "LeakyRelu", "Elu", "HardSigmoid", "HardSwish", "Mish", "Not", "Mod"),
    *("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "And", "Or", "Where", "IsNaN", "PRelu", "Celu"),
    *("Selu", "ThresholdedRelu", "LogSoftmax", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare", "ReduceProd"),
    *("ReduceLogSumExp", "CumSum", "ArgMax", "ArgMin", "TopK", "GatherElements", "GatherND", "ScatterND", "Gather"),
    *("Pad", "Resize", "ScatterElements", "Trilu", "LpNormalization", "InstanceNormalization", "GroupNormalization"),
    *("GlobalMaxPool", "LRN", "Softsign", "Hardmax", "Shrink", "Xor", "IsInf", "BitShift", "OneHot", "ReduceL1"),
    *("Sinh", "Cosh", "Tan", "Asin", "Acos", "Atan", "Asinh", "Acosh", "Atanh", "ReduceLogSum", "ReverseSequence"),
    *("MeanVarianceNormalization", "LpPool", "GridSample", "RoiAlign", "MaxRoiPool", "EyeLike", "Upsample"),
)
"""Operators of the standard without a kind: the host runs them at the price of the kind `foreign`."""


def foreign(at: NodeLowering, node: Node) -> None:
    """An operator without a kind: the host runs it."""
    known = [name for name in node.inputs if name and at.net.values[name].level > Level.GIVEN]
    sources = [at.array(name) for name in known] or [at.given(at.net.values[node.inputs[0]])]
    for place, name in enumerate(node.outputs):
        shaped = sources[0] if len(sources[0].axes) == len(at.net.values[name].shape or ()) else None
        target = at.result(node, shaped, place)
        if place == 0 or at.net.readers(name) or name in at.net.outputs:
            suffix = f"{node.name}.{place}" if place else ""
            try:
                at.foreign(node, sources, target, node.op, suffix)
            except (NoWindow, ValueError):
                at.arrays[name] = target = at.own(f"{name}.whole", at.net.values[name].shape or ())
                at.foreign(node, sources, target, node.op, suffix)
