"""Dynamic scales: the host sets the scale of a tensor by the values that it is about to write.

Sums of the products that read the tensor change their scale with it: so do the conversions of those sums, which the
host makes or the store does as the command says; the biases are written anew, and what the host writes as int32 for the
same sums follows. What the array stores as int8 keeps its static scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.cost import host as host_prices
from sim.functional import host
from sim.functional.quantization.target import SMALLEST
from sim.graph import Graph, Op
from sim.graph.kinds.elementwise import parts
from sim.hardware.schema import ELEMENT_BITS

if TYPE_CHECKING:
    from sim.functional.running import Run

SEARCH = "relu"
"""Operator whose price has the search for a maximum: a load and a comparison for each element; its store is not needed,
so the price is an upper bound."""


def chooses(graph: Graph, op: Op) -> bool:
    """Return whether the host writes an operand of products with weights, and of nothing else."""
    if "copies" not in op.attrs or graph.tensors[op.output.tensor].dtype != "int8":
        return False
    readers = graph.consumers(op.output.tensor)
    return bool(readers) and all(
        reader.is_matmul and graph.multiplies_weights(reader) and reader.inputs[0].tensor == op.output.tensor
        for reader in readers
    )


def rescale(run: Run, op: Op) -> int:
    """Set the scale of what ``op`` is about to write, and what follows from it; return the host's cycles for that."""
    name, copies = op.output.tensor, op.attrs.get("copies") or ()
    values = np.abs(host.window(np.ascontiguousarray(run.real(op.inputs[0].tensor)), op.inputs[0]))
    columns = values.shape[-1]
    factors = np.broadcast_to(run.numbers.factors(name), (columns + len(copies),))[:columns]
    top = (1 << ELEMENT_BITS[run.kind(name)] - 1) - 1
    reach = float((values.reshape(-1, columns).max(axis=0) / (factors * parts(columns, copies))).max())
    run.numbers.scale[name] = max(reach / top, SMALLEST)
    cycles = host_prices.cycles(SEARCH, values.size, run.hw, row=columns)
    for reader in run.graph.consumers(name):
        if len(reader.inputs) < 3:
            continue
        added = run.graph.tensors[reader.inputs[2].tensor]
        if added.kind == "weight":
            run.store_bias(reader)
            cycles += host_prices.cycles("quantize", added.elements, run.hw, row=added.shape[-1])
        elif added.kind == "activation":
            run.numbers.scale[added.name] = run.product_scale(reader)
    return cycles
