"""``carat trace``: a run command by command, as a file for a trace viewer or as bars in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.cli import common

if TYPE_CHECKING:
    from sim.trace.chrome import Bounds


def trace(
    workload: common.Workload,
    hw: common.Machine = common.DEFAULT_HARDWARE,
    set_: common.Settings = None,
    cpu: common.Cpu = None,
    op: Annotated[str, typer.Option("--op", metavar="PATTERN", help='Only these operators, e.g. "L0.*".')] = "*",
    window: common.Window = None,
    first: Annotated[int, typer.Option("--first", min=1, help="Programs shown of each kind of equal ones.")] = 1,
    events: Annotated[
        int | None, typer.Option("--events", min=1, help="Bound of the file; what is beyond is left out and counted.")
    ] = None,
    seq: common.Seq = None,
    batch: common.Batch = None,
    size: common.Sizes = None,
    sparsity: common.SparsityText = None,
    prune: common.Prune = None,
    seed: common.Seed = 0,
    dataflow: common.Dataflow = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.json", help="Chrome trace; open it in ui.perfetto.dev."),
    ] = None,
    width: Annotated[int, typer.Option("--width", min=20, help="Characters of the bars in the terminal.")] = 100,
) -> None:
    """Show a run command by command: bars in the terminal, or a trace file with -o."""
    from sim.base.errors import InputError
    from sim.base.files import write_whole
    from sim.run.pipeline import load_machine, resolve_graph, simulate
    from sim.trace import chrome, gantt

    if output is not None:
        if output.suffix != ".json":
            raise InputError(f"{output}: a trace is written as FILE.json")
        common.output_folder(output.parent)
    bounds = _bounds(op, window, first, events)
    machine = load_machine(hw, common.settings(set_, cpu))
    graph = resolve_graph(workload, common.sizes(seq, batch, size))
    with common.progress_bar(f"{workload} on {hw}") as progress:
        result = simulate(
            graph, machine, sparsity=sparsity, prune=prune, seed=seed, dataflow=dataflow, progress=progress
        )
    traced = chrome.trace(result, bounds)
    if output is None:
        typer.echo(gantt.text(traced, bounds.window, width))
        return
    write_whole(output, chrome.to_json(traced))
    about = traced["otherData"]
    left = about["commands_left_out"]
    beyond = f"; {left:,} commands left out (--window, --op or --events)" if left else ""
    typer.echo(f"{output}: {len(traced['traceEvents']):,} events of {about['programs']} programs{beyond}")


def _bounds(op: str, window: str | None, first: int, events: int | None) -> Bounds:
    from sim.trace.chrome import DEFAULT_EVENTS, Bounds

    return Bounds(op, common.window(window), first, events if events is not None else DEFAULT_EVENTS)
