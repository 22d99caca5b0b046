"""Re-fusion: chains of small operators of an ONNX file become the operators that they are.

A chain is recognised by its values: it is run on sample numbers and compared with what is known (`functions`,
`rotary`), so that the many ways in which exporters write a LayerNorm or a GELU are one. What has a fixed form
(attention, bias, gain) is recognised by form.
"""

from __future__ import annotations

from workloads.onnx.net import Net
from workloads.onnx.recognise import attention, functions, rotary, simple


def recognise(net: Net) -> None:
    """Re-fuse a network in place."""
    net.sweep()
    simple.drop(net)
    simple.pads(net)
    rotary.recognise(net)
    functions.recognise(net)
    simple.weighted_sums(net)
    simple.gains(net)
    attention.recognise(net)
    simple.columns(net)
    simple.biases(net)
    simple.columns(net)
    net.sweep()
