"""docs/BENCHMARKS.md from measurements made now: `make bench`, or `python tests/bench/page.py --jobs 2`.

``--every``: every n-th point of the sweep of 1,000 (7 shares no divisor with the axes; 1 takes minutes). ``--first``:
also the first run ever. ``--scalesim`` and ``--zigzag``: as in peers.py.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import counters
import numpy as np
import peers
import sparse

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "BENCHMARKS.md"
INTRODUCTION = HERE / "introduction.md"

NETWORKS = {
    "encoder-layer": ("one BERT-base layer, 128 tokens", 0.2, 300, "ONNXim (-O2, whole process) 0.88"),
    "bert-base-512": ("12 layers, 512 tokens", 1.0, 300, "ONNXim (-O2, whole process) 48.7"),
    "gpt2-xl": ("sizes of GPT-2 1.5 B, 1,024 tokens", 5.0, 1024, ""),
    "llama-7b": ("sizes of LLaMA-7B, encoder-style stack, 2,048 tokens", 10.0, 1024, ""),
}
"""What each is, bars in wall seconds and MiB, and what a peer took in CPU seconds."""

STARTUP_BARS = {
    "carat --help": "0.5 s wall",
    "carat run bert-base": "2 s wall",
    "carat run bert-base --no-cache": "2 s wall",
    "carat run encoder-layer --no-cache": "0.5 s CPU, 110 MiB (ONNXim 0.88 s, 80 MiB)",
    "carat run bert-base --sparsity block16:0.5": "1.2 s CPU",
    "carat run bert-base --sparsity block16:0.5 --no-cache": "2 s CPU",
    "the first run ever, with compilation": "45 s wall",
}


def table(head: list[str], rows: list[list[Any]]) -> str:
    """Return a table of the page."""
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def script(name: str, *arguments: str) -> list[dict[str, Any]]:
    """Return what a script of this folder prints, an object a line."""
    done = subprocess.run([sys.executable, HERE / name, *arguments], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def machine() -> str:
    """Return the date, the machine, and what else it does."""
    cpu = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine())
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"Measured on {datetime.date.today()}: {cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"numpy {np.__version__}; load average before the first measurement {load} (on an idle machine 0).\n"
    )


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def networks() -> tuple[str, float]:
    """Return the table of whole networks, and the CPU seconds of the layer that the other tables are set beside."""
    rows, layer_s = [], 0.0
    for name, (what, wall_bar, memory_bar, peer) in NETWORKS.items():
        [found] = script("networks.py", name)
        layer_s = layer_s or found["cpu_s"]
        programs = f"{found['distinct']} of {found['invocations']:,}"
        row = [f"`{name}`", what, found["wall_s"], wall_bar, found["cpu_s"], layers(found["cpu_s"], layer_s)]
        rows.append([*row, f"{found['peak_mib']:.0f}", memory_bar, programs, peer])
    head = ["NAME", "what", "wall s", "bar", "CPU s", "layers", "peak MiB", "bar", "distinct programs", "peers, CPU s"]
    return table(head, rows), layer_s


def layers(cpu_s: float, layer_s: float) -> str:
    """Return CPU seconds as a multiple of those of the dense layer, which the speed of the machine hardly changes."""
    return f"{cpu_s / layer_s:.1f}"


def processes(first: bool, layer_s: float) -> str:
    """Return the table of whole processes; ``first``: with the one that compiles.

    Measured from a small process, since a child's peak of memory begins with its parent's.
    """
    rows = []
    for cost in script("startup.py", *(["--first"] if first else [])):
        name, cpu_s = cost["command"], cost["cpu_s"]
        shown = f"`{name}`" if name.startswith("carat") else name
        peak = f"{cost['peak_mib']:.0f}"
        rows.append([shown, cost["wall_s"], cpu_s, layers(cpu_s, layer_s), peak, STARTUP_BARS[name]])
    return table(["command", "wall s", "CPU s", "layers", "peak MiB", "bar"], rows)


def patterns() -> str:
    """Return the table of sparse layers."""
    rows = []
    for line, preset in counters.SPARSE.items():
        found = sparse.beside_dense(line)
        numbers = [f"{found[name]:.2f}" for name in ("dense_cpu_s", "cpu_s", "times_dense")]
        rows.append([f"`{line}`", preset, *numbers, f"{sparse.MAX_RATIO_TO_DENSE:.0f}"])
    return table(["sparsity", "machine", "dense, CPU s", "CPU s", "times dense", "bar"], rows)


def beside_peers(requested: dict[str, str | None]) -> str:
    """Return the table of one product in other simulators."""
    own = peers.ours()
    rows = [["Carat", f"{own['cpu_s']:.3f}", ""]]
    for peer, code in peers.PEERS.items():
        interpreter = requested[peer]
        if interpreter:
            theirs = peers.ask(interpreter, code)
            rows.append([peer, f"{theirs['cpu_s']:.2f}", f"{theirs['cpu_s'] / own['cpu_s']:,.0f}"])
        else:
            rows.append([peer, f"not measured this time (`--{peer} PYTHON`)", ""])
    return table(["simulator", "CPU s", "times slower than Carat"], rows)


def searches(jobs: int) -> str:
    """Return the table of mapping searches."""
    bars = {"bert-base, 128 tokens": 60, "1x4096x4096": 30}
    found = script("mapping.py", "--jobs", str(jobs))
    rows = [[one["searched"], one["wall_s"], bars[one["searched"]], one["cpu_s"]] for one in found]
    return table(["searched", "wall s", "bar", "CPU s"], rows)


def sweep(jobs: int, every: int, layer_s: float) -> str:
    """Return the table of the sweep."""
    rows = []
    for workers in dict.fromkeys((jobs, 1)):
        [found] = script("thousand_points.py", "--jobs", str(workers), "--every", str(every))
        point_s = found["cpu_s"] / found["points"]
        each = [f"{1000 * point_s:.0f}", layers(point_s, layer_s)]
        peak, digest = found["peak_mib_of_a_process"], f"`{found['rows_sha256']}`"
        rows.append([f"{found['points']:,}", workers, found["wall_s"], found["cpu_s"], *each, peak, digest])
    head = ["points", "workers", "wall s", "CPU s", "CPU ms a point", "layers a point", "peak MiB of a process", "rows"]
    return table(head, rows)


def slow() -> str:
    """Return the table of what is slower than dense networks."""
    rows = []
    for one in script("slow.py"):
        bar = f"{one['bar']} M/s" if "bar" in one else f"{one['bar_s']} s"
        speed = [one.get(name, "") for name in ("mcycles_per_cpu_s", "of_dense", "times")]
        rows.append([one["run"], one["cpu_s"], one["layers"], *speed, bar])
    head = [
        "run",
        "CPU s",
        "layers",
        "million cycles a CPU s",
        "of the dense layer's",
        "times the run beside it",
        "bar",
    ]
    return table(head, rows)


def recorded() -> str:
    """Return the table of counters that CI compares."""
    record = json.loads(counters.RECORD.read_text())
    rows = [[name, f"{count:,}"] for name, count in record["work"].items()]
    rows += [
        [f"{name}: our modules", f"{number} ({', '.join(heavy)})"]
        for name, (number, heavy) in record["imports"].items()
    ]
    return table(["counter", "recorded"], rows)


def main() -> None:
    """Measure everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--every", type=int, default=7, help="points of the sweep: every n-th of the 1,000")
    parser.add_argument("--first", action="store_true", help="also time the first run ever, which compiles")
    for peer in peers.PEERS:
        parser.add_argument(f"--{peer}", metavar="PYTHON")
    requested = parser.parse_args()
    where = machine()
    whole, layer_s = networks()
    parts = {
        "machine": where,
        "networks": whole,
        "processes": processes(requested.first, layer_s),
        "patterns": patterns(),
        "peers": beside_peers(vars(requested)),
        "searches": searches(requested.jobs),
        "slow": slow(),
        "sweep": sweep(requested.jobs, requested.every, layer_s),
        "counters": recorded(),
    }
    text = INTRODUCTION.read_text()
    for name, part in parts.items():
        text = text.replace(f"[{name}]\n", part)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
