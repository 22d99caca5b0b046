"""The commands, one module each."""

from __future__ import annotations

from typing import get_type_hints

import typer
from typer.models import ParameterInfo

from sim.base.version import code_version
from sim.cli.analyze import analyze
from sim.cli.columns import columns
from sim.cli.diff_command import diff
from sim.cli.explore import explore
from sim.cli.export_serving import export_serving
from sim.cli.gallery import gallery
from sim.cli.import_command import import_workload
from sim.cli.infer import infer
from sim.cli.listing import listing
from sim.cli.map_command import map_workload
from sim.cli.merge import export, merge
from sim.cli.plot import plot
from sim.cli.record import record
from sim.cli.report import report
from sim.cli.reproduce import reproduce
from sim.cli.run import run
from sim.cli.show import show
from sim.cli.sweep import sweep
from sim.cli.trace import trace
from sim.cli.validate import compare, replay, validate
from sim.cli.whatif import whatif

app = typer.Typer(
    name="carat",
    help="Cycle-level simulator of Gemmini-like transformer accelerators: cycles, memory traffic and energy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(sweep)
app.command()(merge)
app.command()(export)
app.command()(gallery)
app.command(name="export-serving")(export_serving)
app.command()(explore)
app.command()(analyze)
app.command(name="import")(import_workload)
app.command()(show)
app.command()(diff)
app.command()(report)
app.command()(plot)
app.command()(whatif)
app.command()(trace)
app.command(name="list")(listing)
app.command(name="map")(map_workload)
app.command()(infer)
app.command()(columns)
app.command()(validate)
app.command()(reproduce)
app.command()(record)
app.command()(replay)
app.command()(compare)


def _as_written() -> None:
    """Keep brackets in help texts: rich, which lays the help out, takes [[precision]] for markup."""
    escaped: set[int] = set()
    for command in app.registered_commands:
        assert command.callback is not None
        hints = get_type_hints(command.callback, include_extras=True)
        command.callback.__annotations__ = hints  # else typer reads the text of the annotations again
        for hint in hints.values():
            for option in getattr(hint, "__metadata__", ()):
                if isinstance(option, ParameterInfo) and option.help and id(option) not in escaped:
                    option.help = option.help.replace("[", r"\[")
                    escaped.add(id(option))


_as_written()


@app.callback(invoke_without_command=True)
def version(
    show_version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Print the version of the code that decides results."""
    if show_version:
        typer.echo(f"carat {code_version()}")
        raise typer.Exit
