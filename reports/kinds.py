"""What `carat plot KIND` draws: each kind's source, its size, and the function that takes the Axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import (
    activity,
    breakdown,
    density,
    energy,
    gantt,
    layers,
    parallel,
    pareto,
    roofline,
    style,
    tornado,
    traffic,
    utilization,
)
from sim import kept, sweep_table
from sim.errors import InputError, did_you_mean

Source = Literal["runs", "run", "sweep", "whatif", "trace"]

SOURCES: dict[Source, tuple[str, Callable[[Path], Any]]] = {
    "runs": ("folders of `carat run -o`", kept.read),
    "run": ("a folder of `carat run -o`", kept.read),
    "sweep": ("a table or store of `carat sweep`", sweep_table.read),
    "whatif": ("a table of `carat whatif -o`", tornado.read),
    "trace": ("a file of `carat trace -o`", gantt.read),
}


@dataclass(frozen=True)
class Kind:
    """One kind of picture. ``draw`` takes the Axes and the source (runs: name -> run); sizes in inches, ``per_run`` for
    each further run."""

    source: Source
    about: str
    draw: Callable[[Axes, Any], Axes]
    width: float = 6.4
    height: float = 3.6
    per_run: float = 0.0


def _ops(runs: Any) -> dict[str, Any]:
    return {name: run.ops for name, run in runs.items()}


KINDS: dict[str, Kind] = {
    "causes": Kind("runs", "cycles by cause", lambda axes, runs: breakdown.breakdown(axes, _ops(runs), "cause")),
    "kinds": Kind(
        "runs", "cycles by kind of operator", lambda axes, runs: breakdown.breakdown(axes, _ops(runs), "kind")
    ),
    "layers": Kind("run", "cycles of each layer by cause", lambda axes, run: layers.layers(axes, run.ops), height=4.4),
    "utilization": Kind(
        "runs", "utilization by operator", lambda axes, runs: utilization.utilization(axes, _ops(runs)), 6.4, 4.0, 0.2
    ),
    "roofline": Kind("runs", "operators under the machine's roofs", roofline.roofline, 6.4, 4.2, 0.15),
    "traffic": Kind("runs", "bytes by level and operand", traffic.traffic, 6.4, 2.0, 0.7),
    "energy": Kind("runs", "energy by component with its band", energy.energy, 6.4, 2.0, 0.4),
    "area": Kind("runs", "area by component", energy.area, 6.4, 2.0, 0.4),
    "occupancy": Kind("run", "rows in use over time", lambda axes, run: activity.activity(axes, run, "occupancy")),
    "throughput": Kind("run", "array, buses over time", lambda axes, run: activity.activity(axes, run, "throughput")),
    "pareto": Kind("sweep", "cycles and energy with the front", pareto.pareto, 6.4, 5.6),
    "parallel": Kind("sweep", "all points in parallel coordinates", parallel.parallel, 7.2, 4.0),
    "density": Kind("sweep", "cycles against density of the weights", density.density, 5.6, 4.0),
    "tornado": Kind("whatif", "what each knob is worth", tornado.tornado, 6.4, 4.6),
    "gantt": Kind("trace", "commands of a window by unit", gantt.gantt, 8.0, 5.0),
}


def plot(name: str, sources: Sequence[Path], output: Path) -> None:
    """Draw one kind of picture from its sources to a PNG, SVG or PDF file.

    Raises InputError: unknown kind or ending, wrong sources (all problems at once), nothing to draw.
    """
    if name not in KINDS:
        raise InputError(f"plot {name}: unknown kind{did_you_mean(name, KINDS)}")
    kind = KINDS[name]
    style.check_ending(output)
    what, read = SOURCES[kind.source]
    if not sources or (kind.source != "runs" and len(sources) != 1):
        raise InputError(f"plot {name}: draws {what}, not {len(sources)} sources")
    data = {run.name: run for run in kept.read_all(list(sources))} if kind.source == "runs" else read(sources[0])
    with style.sheet():
        figure = Figure(figsize=(kind.width, kind.height + kind.per_run * (len(sources) - 1)))
        kind.draw(figure.subplots(), data)
        style.save(figure, output)
