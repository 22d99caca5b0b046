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
from sim.analysis import saved, sweep_table
from sim.base.errors import InputError, did_you_mean

Source = Literal["runs", "run", "sweep", "whatif", "trace"]

SOURCES: dict[Source, tuple[str, Callable[[Path], Any]]] = {
    "runs": ("folders of `carat run -o`", saved.load),
    "run": ("a folder of `carat run -o`", saved.load),
    "sweep": ("a table or store of `carat sweep`", sweep_table.read),
    "whatif": ("a table of `carat whatif -o`", tornado.read),
    "trace": ("a file of `carat trace -o`", gantt.read),
}


@dataclass(frozen=True)
class Kind:
    """One kind of picture.

    ``draw`` takes the Axes (an array with several ``panels``: rows, columns), the source (runs: name -> run) and
    ``options``; sizes in inches, ``per_run`` for each further run.
    """

    source: Source
    about: str
    draw: Callable[..., object]
    width: float = 6.4
    height: float = 3.6
    per_run: float = 0.0
    options: tuple[str, ...] = ()
    panels: tuple[int, int] = (1, 1)


def _ops(runs: Any) -> dict[str, Any]:
    return {name: run.ops for name, run in runs.items()}


def _breakdown(panels: Sequence[Axes], runs: Any, shares: bool = False) -> None:
    breakdown.breakdown(panels[0], _ops(runs), "kind", shares)
    breakdown.breakdown(panels[1], _ops(runs), "cause", shares)


KINDS: dict[str, Kind] = {
    "breakdown": Kind("runs", "cycles by kind and by cause", _breakdown, 7.4, 4.4, 1.6, ("shares",), panels=(1, 2)),
    "causes": Kind(
        "runs",
        "cycles by cause",
        lambda axes, runs, **how: breakdown.breakdown(axes, _ops(runs), "cause", **how),
        options=("shares",),
    ),
    "kinds": Kind(
        "runs",
        "cycles by kind of operator",
        lambda axes, runs, **how: breakdown.breakdown(axes, _ops(runs), "kind", **how),
        options=("shares",),
    ),
    "layers": Kind("run", "cycles of each layer by cause", lambda axes, run: layers.layers(axes, run.ops), height=4.4),
    "utilization": Kind(
        "runs", "utilization by operator", lambda axes, runs: utilization.utilization(axes, _ops(runs)), 6.4, 4.0, 0.2
    ),
    "roofline": Kind("runs", "operators under the machine's roofs", roofline.roofline, 6.4, 4.2, 0.15),
    "traffic": Kind("runs", "bytes by level and operand", traffic.traffic, 6.4, 2.0, 0.7, ("level",)),
    "energy": Kind("runs", "energy by component with its band", energy.energy, 6.4, 2.0, 0.4),
    "area": Kind("runs", "area by component", energy.area, 6.4, 2.0, 0.4),
    "occupancy": Kind("run", "rows in use over time", lambda axes, run: activity.activity(axes, run, "occupancy")),
    "throughput": Kind("run", "array, buses over time", lambda axes, run: activity.activity(axes, run, "throughput")),
    "pareto": Kind("sweep", "points of a sweep with their front", pareto.pareto, 6.4, 5.6, options=("x", "y", "color")),
    "parallel": Kind("sweep", "all points in parallel coordinates", parallel.parallel, 7.2, 4.0),
    "density": Kind("sweep", "what sparsity buys and what it loses", density.page, 12.0, 7.4, panels=(2, 3)),
    "speedup": Kind(
        "sweep",
        "cycles against density",
        density.speedup,
        7.2,
        4.0,
    ),
    "tornado": Kind("whatif", "what each knob is worth", tornado.tornado, 6.4, 4.6, options=("metric",)),
    "gantt": Kind("trace", "commands of a window by unit", gantt.gantt, 8.0, 5.0, options=("window",)),
}


def plot(name: str, sources: Sequence[Path], output: Path, **options: Any) -> None:
    """Draw one kind of picture from its sources to a PNG, SVG or PDF file; ``options`` go to the drawing function.

    Raises InputError: unknown kind or ending, an option the kind does not take, wrong sources, nothing to draw.
    """
    if name not in KINDS:
        raise InputError(f"plot {name}: unknown kind{did_you_mean(name, KINDS)}")
    kind = KINDS[name]
    style.check_ending(output)
    foreign = [option for option in options if option not in kind.options]
    if foreign:
        takes = f"it takes --{', --'.join(kind.options)}" if kind.options else "it takes none"
        raise InputError(f"plot {name}: has no --{', --'.join(foreign)}; {takes}")
    what, read = SOURCES[kind.source]
    if not sources or (kind.source != "runs" and len(sources) != 1):
        raise InputError(f"plot {name}: draws {what}, not {len(sources)} sources")
    data = {run.name: run for run in saved.load_all(list(sources))} if kind.source == "runs" else read(sources[0])
    with style.sheet():
        figure = Figure(figsize=(kind.width, kind.height + kind.per_run * (len(sources) - 1)))
        kind.draw(figure.subplots(*kind.panels), data, **options)
        style.save(figure, output)
