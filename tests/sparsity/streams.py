"""Programs of sparse and output-stationary products, as digests: what a faster lowering must not change.

Run as a script it writes `streams.json` anew: `python tests/sparsity/streams.py`. Do so only for a change that is meant
to alter programs, and say why in the commit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import workloads
from sim import hardware
from sim.base.errors import InputError
from sim.isa.commands import COMMAND, Program
from sim.lower import BlockSparseMatmul, Matmul, Norm, PackedMatmul, ResidualAdd, Work, build, lower
from sim.plan.planner import plan
from sim.sparsity.spec import parse

KEPT = Path(__file__).with_name("streams.json")

SMALL = {"seq": 40, "hidden": 96, "heads": 3, "ffn": 208}
WIDE = {"seq": 128, "hidden": 256, "heads": 4, "ffn": 512}

MACHINES: dict[str, dict[str, object]] = {
    "gemmini_default": {},
    "gemmini_sparse": {},
    "small": {"scratchpad.capacity": "16KiB", "accumulator.capacity": "4KiB"},
    "slow": {"memory.read_bytes_per_cycle": 3, "memory.latency_cycles": 200, "dma.max_in_flight_requests": 24},
    "narrow": {
        "dma.max_request_bytes": 32,
        "dma.bus_bytes": 8,
        "cpu.command_cycles": 7,
        "cpu.loop_cycles": 7,
        "sparsity.fetch_rows": 2,
    },
    "32x32": {"array.mesh_rows": 32, "array.mesh_cols": 32, "accumulator.capacity": "256KiB"},
}
"""Changes of a machine; a name that is no preset stands for changes of `gemmini_sparse`."""

LINES = (
    "block16:0.5", "block16:0.05", "block16:0.9", "block32:0.3/scheduler", "block8:0.2", "unstructured:0.01/skip",
    "2:4", "1:4", "2:8", "unstructured:0.3/pack", "unstructured:0.1/pack", "unstructured:0.3/bitmap",
    "unstructured:0.2/rle", "unstructured:0.2/csr", "activations=2:4", "activations=1:4", "attention=topk:8/pack",
    "attention=topk:0.5/pack", "attention=window:16/pack", "attention=threshold:0.2/pack", "attention=window:16",
)  # fmt: skip


def cases() -> list[str]:
    """Return the names of all cases: machine, sizes, line."""
    made = [f"gemmini_sparse small {line}" for line in LINES]
    made += [f"gemmini_sparse wide {line}" for line in LINES]
    skips = ("block16:0.5", "block16:0.1", "block32:0.3")
    made += [f"{machine} wide {line}" for machine in ("gemmini_default", "small", "slow", "narrow") for line in skips]
    others = ("2:4", "unstructured:0.2/pack", "attention=topk:8/pack", "unstructured:0.2/csc")
    made += [f"{machine} small {line}" for machine in ("slow", "narrow") for line in others]
    made += [f"{machine} {size} OS" for machine in ("gemmini_default", "small", "slow") for size in ("small", "wide")]
    return made + [f"drawn {number}" for number in range(DRAWN)]


DRAWN = 60
"""Products of random sizes, masks, tiles, biases and machines."""


def _drawn(number: int) -> Program:
    """Return the program of a product drawn from a number; refused ones give an empty program."""
    rng = np.random.default_rng(number)
    machine = str(rng.choice(["gemmini_default", "gemmini_sparse", "small", "slow", "narrow"]))
    preset = machine if machine.startswith("gemmini") else "gemmini_sparse"
    hw = hardware.load(preset, dict(MACHINES[machine]))
    m, n, k = (int(size) for size in rng.integers(1, 300, 3))
    fields: dict[str, Any] = {
        "bias": str(rng.choice(["none", "row", "full"])), "full_c": bool(rng.random() < 0.3),
        "low_d": bool(rng.random() < 0.2), "activation": str(rng.choice(["none", "relu"])),
        "loop_order": str(rng.choice(["ijk", "jik"])), "d_scale": 0.5,
        "tile": None if rng.random() < 0.6 else tuple(int(size) for size in rng.integers(1, 5, 3)),
    }  # fmt: skip
    product = build.matmul(m, n, k, **fields)
    wide, deep = -(-n // hw.dim), -(-k // hw.dim)
    kind, density = number % 4, rng.random()
    work: Work
    if kind == 0:
        work = replace(product, dataflow="OS", tile=None, low_d=False)
    elif kind == 1:
        mask = tuple(tuple(bool(one) for one in row) for row in rng.random((deep, wide)) < density)
        work = BlockSparseMatmul(product, mask, 1 << 32, None, bool(rng.random() < 0.5))
    elif kind == 2:
        fetch = int(rng.choice([1, 2, 4])) if hw.sparsity.fetch_rows == 4 else 1
        depth = fetch * hw.dim if rng.random() < 0.7 else max(1, fetch * hw.dim - 3)
        counts = rng.integers(0, min(depth, fetch * hw.dim) + 1, (-(-k // depth), wide))
        rows = tuple(tuple(int(one) for one in row) for row in counts)
        work = PackedMatmul(product, rows, depth, fetch, int(rng.integers(0, 90)), 1 << 32, 1)
    else:
        bits = tuple(tuple(int(one) for one in row) for row in rng.integers(1, 2000, (deep, wide)))
        rows = tuple((min(hw.dim, k - q * hw.dim),) * wide for q in range(deep))
        circulant = int(rng.choice([0, 0, 8, 64]))
        work = PackedMatmul(product, rows, hw.dim, 1, 0, 1 << 32, 1, bits, circulant)
    try:
        return lower(work, hw)
    except InputError:
        return np.zeros(0, COMMAND)


def programs(case: str) -> Iterator[Program]:
    """Yield the programs of the distinct sparse (or output-stationary) items of a case."""
    if case.startswith("drawn"):
        yield _drawn(int(case.split()[1]))
        return
    machine, size, line = case.split(" ")
    preset = machine if machine.startswith("gemmini") else "gemmini_sparse"
    hw = hardware.load(preset, dict(MACHINES[machine]))
    graph = workloads.build("encoder-layer", **(SMALL if size == "small" else WIDE))
    pattern = parse("dense" if line == "OS" else line, 3)
    steps = plan(pattern.edit(graph), hw, sparsity=pattern, dataflow="OS" if line == "OS" else None)
    known = dict.fromkeys((item, step.machine or hw) for step in steps for item in step.equivalent)
    for item, at in known:
        if isinstance(item, Matmul) == (line == "OS") and not isinstance(item, Norm | ResidualAdd):
            yield lower(item, at)


def digest(case: str) -> str:
    """Return a digest of all commands of a case."""
    found = hashlib.sha256()
    for program in programs(case):
        found.update(np.ascontiguousarray(program).tobytes())
    return found.hexdigest()[:16]


if __name__ == "__main__":
    KEPT.write_text(json.dumps({case: digest(case) for case in cases()}, indent=1) + "\n")
