"""Re-fusion: chains of small operators of an ONNX file are replaced by the operators that they compute.

A chain is recognised by its values: it is run on sample numbers and compared with known functions (`functions`,
`rotary`), so that all the forms in which exporters write a LayerNorm or a GELU are recognised. Operators of fixed form
(attention, bias, gain) are recognised by form.
"""

from __future__ import annotations

from workloads.onnx.net import Net
from workloads.onnx.recognise import attention, folding, functions, rotary, simple


def recognise(net: Net) -> None:
    """Re-fuse a network in place."""
    net.sweep()
    simple.drop(net)
    simple.pads(net)
    folding.fold(net)
    rotary.recognise(net)
    functions.recognise(net)
    simple.weighted_sums(net)
    simple.gains(net)
    attention.recognise(net)
    simple.columns(net)
    simple.biases(net)
    simple.columns(net)
    net.sweep()
