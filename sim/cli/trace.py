"""``carat trace``: a run command by command, as a file for a trace viewer or as bars in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.base.errors import InputError
from sim.base.files import write_whole
from sim.cli import common, options

if TYPE_CHECKING:
    from sim.run.request import Request
    from sim.trace.chrome import Bounds


@options.asks()
def trace(
    request: Request,
    op: Annotated[str, typer.Option("--op", metavar="PATTERN", help='Only these operators, e.g. "L0.*".')] = "*",
    window: options.Window = None,
    first: Annotated[int, typer.Option("--first", min=1, help="Programs shown of each group of equal programs.")] = 1,
    events: Annotated[
        int | None,
        typer.Option(
            "--events", min=1, help="Largest number of events in the file; further events are left out and counted."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.json", help="Chrome trace; open it in ui.perfetto.dev."),
    ] = None,
    width: Annotated[int, typer.Option("--width", min=20, help="Characters of the bars in the terminal.")] = 100,
) -> None:
    """Show a run command by command: bars in the terminal, or a trace file with -o."""
    from sim.run.cores import refuse  # numpy
    from sim.run.pipeline import run as simulate  # numpy
    from sim.run.request import resolve  # numpy
    from sim.timing.disk import default_timings  # numpy
    from sim.timing.memo import Memo  # numpy
    from sim.trace import chrome, gantt  # numpy

    if output is not None:
        if output.suffix != ".json":
            raise InputError(f"{output}: a trace is written as FILE.json")
        common.output_folder(output.parent)
    bounds = _bounds(op, window, first, events)
    case = resolve(request)
    if output is None:
        refuse(case.hw, "bars of commands (a trace file has a track a core: -o FILE.json)")
    with common.progress_bar(request.label) as progress:
        result = simulate(case, Memo(default_timings()), progress)
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
    from sim.trace.chrome import DEFAULT_EVENTS, Bounds  # numpy: not for --help

    return Bounds(op, common.window(window), first, events if events is not None else DEFAULT_EVENTS)
