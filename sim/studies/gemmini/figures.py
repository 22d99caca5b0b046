"""Area, ResNet-50, larger arrays and the CPU alone."""

from __future__ import annotations

from functools import cache

from sim import Graph, Result, simulate
from sim.cost.area import area_um2
from sim.graph import Op, Tensor, View
from sim.hardware import load
from sim.studies.exhibit import Values

POOLED: dict[str, object] = {"features.max_pool": True}
BATCH = 4
"""Number of images in 153.7 M cycles at 40 %: 0.40 x 256 x 153.7e6 slots are 15.7 GMAC, four images of 3.9."""


def area() -> Values:
    """Return the area of each component in thousand um2."""
    parts = area_um2(load("gemmini_default"))
    named = {"array": "array", "scratchpad": "scratchpad", "accumulator": "accumulator", "Rocket": "host"}
    found = {name: [parts[key] / 1e3] for name, key in named.items()}
    return {**found, "total": [sum(parts.values()) / 1e3]}


@cache
def _resnet(batch: int, machine: str = "gemmini_default", cpu: str = "none") -> Result:
    return simulate("resnet50", machine, batch=batch, overrides={**POOLED, "cpu.prices": cpu})


def resnet() -> Values:
    """Return million cycles and utilization of ResNet-50."""
    runs = [_resnet(BATCH), _resnet(BATCH, "gemmini_l2", "rocket_rocctests")]
    share = [100.0 * run.totals["utilization"] for run in runs]
    return {
        "cycles, PR 69": [run.cycles / 1e6 for run in runs],
        "utilization, PR 69": share,
        "utilization, PR 90": share,
    }


def larger_array() -> Values:
    """Return how many times faster a 64x64 array with four times the memories runs ResNet-50."""
    large: dict[str, object] = {
        "array.mesh_rows": 64,
        "array.mesh_columns": 64,
        "scratchpad.capacity": "1MiB",
        "accumulator.capacity": "256KiB",
    }
    return {"ResNet-50": [_resnet(1).cycles / simulate("resnet50", "gemmini_default", overrides=POOLED | large).cycles]}


def same_tiles() -> Values:
    """Return the ratio of cycles of one product at two sizes of the scratchpad."""
    side = 64
    tensors = [
        Tensor("a", (side, side), "int8", "input"),
        Tensor("b", (side, side), "int8", "weight"),
        Tensor("c", (side, side), "int8", "activation"),
    ]
    a, b, c = map(View.whole, tensors)
    graph = Graph.from_ops("64x64x64", tensors, [Op("product", "matmul", (a, b), c)])
    small, large = (
        simulate(graph, "gemmini_default", overrides={"scratchpad.capacity": size}) for size in ("256KiB", "512KiB")
    )
    return {"64x64x64": [large.cycles / small.cycles]}


def over_cpu() -> Values:
    """Return how many times faster than Rocket alone the accelerator is, with each treatment of the other operators."""
    rocket: dict[str, object] = {"cpu.prices": "rocket"}
    alone = simulate("bert-base", "rocket_only", seq=128).cycles
    hosted = simulate("bert-base", "gemmini_l2", seq=128, overrides={**rocket, "host": "rocket_libm_float"})
    units = simulate("bert-base", "gemmini_ibert", seq=128, overrides={**rocket, "memory.l2_bytes": "512KiB"})
    return {"ResNet-50": [None, None], "BERT-base, 128 tokens": [alone / hosted.cycles, alone / units.cycles]}


def frames() -> Values:
    """Return ResNet-50's frames a second at 1 GHz."""
    return {"ResNet-50": [1e9 / _resnet(1, "gemmini_l2", "rocket").cycles]}
