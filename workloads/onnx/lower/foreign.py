"""Operators without a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.onnx.lower.windows import NoWindow
from workloads.onnx.net import Level, Node

if TYPE_CHECKING:
    from workloads.onnx.lower.lowering import Lowering


def foreign(at: Lowering, node: Node) -> None:
    """An operator without a kind: the host runs it."""
    known = [name for name in node.inputs if name and at.net.values[name].level > Level.GIVEN]
    sources = [at.array(name) for name in known] or [at.given(at.net.values[node.inputs[0]])]
    for place, name in enumerate(node.outputs):
        target = at.result(node, place=place, unit=-1)
        if place == 0 or at.net.readers(name) or name in at.net.outputs:
            suffix = f"{node.name}.{place}" if place else ""
            try:
                at.foreign(node, sources, target, node.op, suffix)
            except (NoWindow, ValueError):
                at.arrays[name] = target = at.own(f"{name}.whole", at.net.values[name].shape or ())
                at.foreign(node, sources, target, node.op, suffix)
