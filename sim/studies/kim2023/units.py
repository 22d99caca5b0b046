"""Non-linear operators on the host and on I-BERT units: Figure 14, the speed-up and the cost of the units."""

from __future__ import annotations

from sim import Result, simulate
from sim.cost.area import area_um2
from sim.hardware import load
from sim.studies.exhibit import Values

TOKENS = 512
HOSTS = ("rocket_kim2023", "rocket_libm_float", "rocket_ibert_integer")
"""Prices of the host's operators: from the paper's own shares, and measured in RTL for float and for integer code."""


def _baseline(host: str) -> Result:
    return simulate(
        "bert-base", "kim2023_baseline", seq=TOKENS, overrides={"host": host, "host.takes": ["residual_add"]}
    )


def _tuned(cpu: str = "none") -> Result:
    return simulate("bert-base", "kim2023_tuned", seq=TOKENS, overrides={"cpu.prices": cpu})


def _share(result: Result, *kinds: str) -> float:
    cycles: int = sum(row["cycles"] for row in result.rows if row["op_kind"] in kinds)
    return 100.0 * cycles / result.cycles


def baseline() -> Values:
    """Return the share of each kind of operator in % of the baseline's time."""
    rows = {
        "matmul": ("matmul",),
        "quantise and dequantise": ("quantize", "dequantize"),
        "softmax": ("softmax",),
        "residual add": ("residual_add",),
        "GELU": ("gelu",),
        "LayerNorm": ("layernorm",),
    }
    results = [_baseline(host) for host in HOSTS]
    return {name: [_share(result, *kinds) for result in results] for name, kinds in rows.items()}


def tuned() -> Values:
    """Return the shares in % with I-BERT units; softmax is the additional time of its product over a plain one."""
    found: dict[str, list[float | None]] = {"matmul and GELU": [], "LayerNorm": [], "residual add": [], "softmax": []}
    for cpu in ("none", "rocket"):
        result = _tuned(cpu)
        fused = sum(row["cycles"] for row in result.rows if row["op_kind"] == "matmul+softmax")
        slots = sum(row["macs"] for row in result.rows if row["op_kind"] == "matmul+softmax")
        softmax = 100.0 * (fused - slots / result.totals["peak_macs_per_cycle"]) / result.cycles
        products = _share(result, "matmul", "matmul+gelu", "matmul+softmax") - softmax
        parts = (products, _share(result, "layernorm"), _share(result, "residual_add"), softmax)
        for name, part in zip(found, parts, strict=True):
            found[name].append(part)
    return found


def speedup() -> Values:
    """Return how many times faster the machine with I-BERT units is."""
    fast = _tuned().cycles
    return {"end to end": [_baseline(host).cycles / fast for host in HOSTS]}


def area() -> Values:
    """Return the units' share of area, in % of the rest."""
    parts = area_um2(load("kim2023_tuned"))
    units = parts["special_function"]
    return {"area": [100.0 * units / (sum(parts.values()) - units)]}


def power() -> Values:
    """Return the units' addition to the energy of a run, at equal time to the power, in %."""
    totals = _tuned().totals
    units = totals["energy_special_function_pj"]
    return {"power": [100.0 * units / (totals["energy_pj"] - units)]}
