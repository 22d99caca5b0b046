"""Whole runs on machines and networks drawn at random: parts sum to totals, shares stay below 1, nothing costs nothing.

Every option that changes a run is drawn with the others: cores, DRAM, an L2, a CPU, a vector unit, zeros, words.
`make test-long` draws thousands (CARAT_EXAMPLES).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest

import sim
import workloads
from sim import hardware
from sim.base.errors import Hang, InputError
from sim.graph import Graph, View
from sim.graph.dtypes import DTYPE_BYTES
from sim.run.columns import CAUSES, COLUMNS
from workloads.networks.config import Config
from workloads.networks.models import decoder_model

DRAWS = int(os.environ.get("CARAT_EXAMPLES", "40"))
SEED = 0 if "CARAT_EXAMPLES" not in os.environ else Random().randrange(10**9)

TINY = {"layers": 1, "hidden": 32, "heads": 2, "ffn": 48, "vocab": 40, "most_positions": 256}
DECODERS = {
    "gated": Config(**TINY, kv_heads=1),  # type: ignore[arg-type]
    "window": Config(**TINY, window=8),  # type: ignore[arg-type]
    "experts": Config(**TINY, experts=4, per_token=2),  # type: ignore[arg-type]
    "plain": Config(**TINY, gated=False, norm="layernorm", activation="gelu", positions=64),  # type: ignore[arg-type]
}
SETTINGS: tuple[dict[str, Any], ...] = (
    {"memory.latency_cycles": 1},
    {"memory.latency_cycles": 333},
    {"memory.read_bytes_per_cycle": 1.7},
    {"memory.write_bytes_per_cycle": 3.1},
    {"memory.l2_bytes": "64KiB"},
    {"memory.dram": "ddr4_2400"},
    {"memory.dram": "hbm2_2000"},
    {"memory.one_port": True},
    {"cores.count": 2, "cores.shared": "memory"},
    {"cores.count": 2, "cores.shared": "memory", "cores.split": "tensor"},
    {"cpu.prices": "rocket"},
    {"cpu.command_cycles": 3, "cpu.loop_cycles": 9},
    {"vector.lanes": 16},
    {"dma.max_in_flight_requests": 4},
    {"dma.bus_bytes": 32},
    {"clock_mhz": 730.0},
    {"energy_table": "7nm"},
    {"array.dataflow": "OS"},
)
ZEROS = ("block16:0.5", "block4:0.2/skip", "2:4", "unstructured:0.3", "attention=window:8", "attention=topk:3", "w4a8",
         "activations=unstructured:0.5/gate", "attention=causal", "unstructured:0.4/pack")  # fmt: skip
SUMMED = (
    *("cycles", "invocations", "macs", "macs_skipped", "mac_slots", "metadata_bytes", "energy_pj", "vector_operations"),
    *("dram_read_bytes", "dram_write_bytes", "dram_read_requests", "dram_write_requests", "visited_cycles"),
    *("spad_read_bytes", "spad_write_bytes", "acc_read_bytes", "acc_write_bytes"),
)


def workload(random: Random) -> Graph:
    """A network of one small layer."""
    seq = random.choice((1, 3, 16, 19, 40))
    if random.random() < 0.4:
        sizes = {"seq": seq, "hidden": random.choice((32, 48)), "heads": 2, "ffn": random.choice((32, 80))}
        return workloads.build("encoder-layer", batch=random.choice((1, 1, 2)), **sizes)
    name = random.choice(list(DECODERS))
    step = {"phase": "decode", "kv": random.choice((0, 5, 33))} if random.random() < 0.5 else {"seq": min(seq, 8)}
    build: Callable[..., Graph] = decoder_model(name, DECODERS[name])
    return build(batch=random.choice((1, 2)), **step)


def draw(seed: str) -> tuple[Graph, str, dict[str, Any]]:
    """A graph, a machine and options of `sim.simulate`."""
    random = Random(seed)
    settings: dict[str, Any] = {}
    for chosen in random.sample(SETTINGS, random.choice((0, 1, 1, 2, 3))):
        settings |= chosen
    options: dict[str, Any] = {"overrides": settings, "cache": False}
    if random.random() < 0.4:
        options["sparsity"] = random.choice(ZEROS)
    if random.random() < 0.2:
        options["dataflow"] = random.choice(("WS", "OS"))
    return workload(random), random.choice(hardware.presets()), options


def least_read_bytes(graph: Graph, name: str) -> int:
    """Bytes of the first two operands of a product, elements read by several heads counted once."""
    op = next(op for op in graph.ops if op.name == name)
    return sum(_own(view) * DTYPE_BYTES[graph.tensors[view.tensor].dtype] for view in op.inputs[:2])


def _own(view: View) -> int:
    return (view.batch if view.batch_stride else 1) * (view.rows if view.row_stride else 1) * view.cols


def check(result: sim.Result, graph: Graph, options: dict[str, Any]) -> None:
    totals, ops = result.totals, result.ops
    causes = [f"{cause}_cycles" for cause in CAUSES]
    assert sum(totals[cause] for cause in causes) == totals["cycles"] > 0
    assert (ops[causes].sum(axis=1) == ops["cycles"]).all(), "causes of an operator"
    for name in SUMMED:
        assert np.isclose(ops[name].astype(float).sum(), float(totals[name]), rtol=1e-9), name
    parts = [
        name for name in ops if str(name).startswith("energy_") and str(name).endswith("_pj") and name != "energy_pj"
    ]
    for row in (totals, *ops.to_dict("records")):
        assert np.isclose(sum(row[part] for part in parts), row["energy_pj"], rtol=1e-9), "parts of the energy"
        numbers = [value for value in row.values() if isinstance(value, int | float | np.number) and value == value]
        assert min(numbers) >= 0, "a negative number"
        assert 0 <= row["utilization"] <= 1 + 1e-9
        assert row["peak_macs_per_cycle"] * row["cycles"] * (1 + 1e-9) >= row["macs"] - row["macs_skipped"]
    for name in ("util_mapping", "util_compute", "utilization", "density"):
        shares = ops[name].dropna().astype(float)
        assert ((shares >= 0) & (shares <= 1 + 1e-9)).all(), name
    assert (ops["end_cycle"] - ops["start_cycle"] == ops["cycles"]).all()
    assert ops["end_cycle"].max() == totals["cycles"]
    assert np.isclose(totals["time_s"], totals["cycles"] / totals["clock_mhz"] / 1e6)
    assert np.isclose(totals["power_w"] * totals["time_s"], totals["energy_pj"] * 1e-12)
    assert {*totals} == {column.name for column in COLUMNS.values() if "totals" in column.tables}
    plain = "sparsity" not in options and not result.hardware.memory.l2_bytes and result.hardware.cores.count == 1
    for row in ops.to_dict("records") if plain else ():
        if row["engine"] == "array" and row["op_kind"] == "matmul" and row["op"] in {op.name for op in graph.ops}:
            assert row["dram_read_bytes"] >= least_read_bytes(graph, row["op"]), "less than the product needs"


@pytest.mark.parametrize("part", range(4))
def test_parts_sum_to_totals_and_nothing_is_below_its_bound(part: int) -> None:
    ran = 0
    for number in range(part, DRAWS, 4):
        graph, machine, options = draw(f"{SEED}:{number}")
        try:
            result = sim.simulate(graph, machine, **options)
        except (InputError, Hang):
            continue
        ran += 1
        try:
            check(result, graph, options)
        except AssertionError as error:
            raise AssertionError(
                f"{SEED}:{number} {graph.name} {graph.sizes} on {machine} with {options}: {error}"
            ) from error
    assert ran > DRAWS / 4 / 4, "most draws are refused"
