"""The kinds of `carat plot KIND`: each kind's source, its size, and the function that draws it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure

from reports import (
    activity,
    breakdown,
    density,
    energy,
    gantt,
    layers,
    machine,
    mapspace,
    parallel,
    pareto,
    quantization,
    roofline,
    scaling,
    sensitivity,
    style,
    tornado,
    traffic,
    utilization,
)
from sim.analysis import saved, sweep_table
from sim.base.errors import InputError, did_you_mean

Source = Literal["runs", "run", "sweep", "whatif", "trace", "machine", "compare", "sample"]

SOURCES: dict[Source, tuple[str, Callable[[Path], Any]]] = {
    "runs": ("folders of `carat run -o`", saved.load),
    "run": ("a folder of `carat run -o`", saved.load),
    "sweep": ("a table or store of `carat sweep`", sweep_table.read),
    "whatif": ("a table of `carat whatif -o`", tornado.read),
    "compare": ("a folder of `carat infer --compare -o`", quantization.read),
    "sample": ("a JSON file of `carat map --sample`", mapspace.read),
    "trace": ("a file of `carat trace -o`", gantt.read),
    "machine": ("a machine: a name of `carat list`, a TOML file or a folder of `carat run -o`", machine.read),
}


@dataclass(frozen=True)
class PictureKind:
    """One kind of picture.

    ``draw`` takes the Axes, the source (runs: name -> run) and ``options``; with ``whole`` it takes the figure instead.
    ``width`` and ``height`` in inches, the height for a number of sources.
    """

    source: Source
    about: str
    draw: Callable[..., object]
    width: float = 6.4
    height: Callable[[int], float] = lambda sources: 3.6
    options: tuple[str, ...] = ()
    whole: bool = False


def _ops(runs: Any) -> dict[str, Any]:
    return {name: run.ops for name, run in runs.items()}


def _breakdown(figure: Figure, runs: Any, shares: bool = False) -> None:
    upper, lower = figure.subplots(2, 1)
    breakdown.breakdown(upper, _ops(runs), "kind", shares)
    breakdown.breakdown(lower, _ops(runs), "cause", shares)


def _grows(first: float, each: float) -> Callable[[int], float]:
    """Return a height of ``first`` inches for one source and ``each`` more for every further one."""
    return lambda sources: first + each * (sources - 1)


KINDS: dict[str, PictureKind] = {
    "breakdown": PictureKind(
        "runs",
        "cycles by kind and by cause",
        _breakdown,
        7.4,
        lambda sources: 2 * breakdown.height_inches(sources),
        ("shares",),
        whole=True,
    ),
    "causes": PictureKind(
        "runs",
        "cycles by cause",
        lambda axes, runs, **how: breakdown.breakdown(axes, _ops(runs), "cause", **how),
        height=breakdown.height_inches,
        options=("shares",),
    ),
    "kinds": PictureKind(
        "runs",
        "cycles by kind of operator",
        lambda axes, runs, **how: breakdown.breakdown(axes, _ops(runs), "kind", **how),
        height=breakdown.height_inches,
        options=("shares",),
    ),
    "layers": PictureKind(
        "run", "cycles of each layer by cause", lambda axes, run: layers.layers(axes, run.ops), height=_grows(4.4, 0)
    ),
    "utilization": PictureKind(
        "runs",
        "utilization by operator",
        lambda axes, runs: utilization.utilization(axes, _ops(runs)),
        height=utilization.height_inches,
    ),
    "roofline": PictureKind("runs", "operators under the machine's roofs", roofline.roofline, 6.4, _grows(4.6, 0.15)),
    "traffic": PictureKind("runs", "bytes by level and operand", traffic.traffic, 6.4, _grows(2.2, 0.7), ("level",)),
    "energy": PictureKind("runs", "energy by component with its band", energy.energy, 6.4, _grows(2.2, 0.4)),
    "area": PictureKind("runs", "area by component", energy.area, 6.4, _grows(2.0, 0.4)),
    "machine": PictureKind(
        "machine", "units of a machine, their sizes and rates", machine.machine, 7.4, _grows(4.8, 0)
    ),
    "occupancy": PictureKind(
        "run", "rows in use over time", lambda axes, run: activity.activity(axes, run, "occupancy")
    ),
    "throughput": PictureKind(
        "run", "array, buses over time", lambda axes, run: activity.activity(axes, run, "throughput")
    ),
    "pareto": PictureKind(
        "sweep",
        "points of a sweep with the Pareto front of each workload and size",
        pareto.pareto,
        6.4,
        _grows(6.0, 0),
        ("x", "y", "color"),
    ),
    "parallel": PictureKind("sweep", "all points in parallel coordinates", parallel.parallel, 7.2, _grows(4.0, 0)),
    "sensitivity": PictureKind(
        "sweep",
        "a result against one setting, a line per workload, size and other setting",
        sensitivity.sensitivity,
        7.2,
        _grows(4.0, 0),
        ("x", "y"),
    ),
    "scaling": PictureKind("sweep", "speedup and memory rate against cores.count", scaling.page, 8.4, whole=True),
    "density": PictureKind("sweep", "what sparsity gains and loses, family by family", density.page, whole=True),
    "speedup": PictureKind("sweep", "dense cycles / cycles against density", density.speedup, 7.2, _grows(4.4, 0)),
    "mapspace": PictureKind("sample", "energy-delay product of random mappings", mapspace.page, 7.2, whole=True),
    "tornado": PictureKind("whatif", "effect of each knob", tornado.tornado, 6.4, _grows(4.6, 0), ("metric",)),
    "quantization": PictureKind(
        "compare", "accuracy of quantisations against cycles", quantization.quantization, 7.2, _grows(3.6, 0)
    ),
    "gantt": PictureKind("trace", "commands of a window by unit", gantt.gantt, 8.0, _grows(5.0, 0), ("window",)),
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
        figure = Figure(figsize=(kind.width, kind.height(len(sources))))
        kind.draw(figure if kind.whole else figure.subplots(), data, **options)
        style.save(figure, output)
