"""The commands, one module each; a command line imports only the module of its command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand
from typer.models import ParameterInfo

from sim.base.errors import InputError, given_twice
from sim.base.version import code_version

COMMANDS = {
    "run": "run:run",
    "sweep": "sweep:sweep",
    "merge": "merge:merge",
    "export": "merge:export",
    "gallery": "gallery:gallery",
    "export-serving": "export_serving:export_serving",
    "explore": "explore:explore",
    "search": "search:search",
    "analyze": "analyze:analyze",
    "import": "import_command:import_workload",
    "show": "show:show",
    "diff": "diff_command:diff",
    "report": "report:report",
    "plot": "plot:plot",
    "whatif": "whatif:whatif",
    "trace": "trace:trace",
    "list": "listing:listing",
    "map": "map_command:map_workload",
    "infer": "infer:infer",
    "columns": "columns:columns",
    "validate": "validate:validate",
    "reproduce": "reproduce:reproduce",
    "record": "record:record",
    "replay": "validate:replay",
    "compare": "validate:compare",
}
"""Command -> module of this room and function in it, in the order of `--help`."""


class Once(TyperCommand):
    """A command whose options of one value may be given once: the parser would take the last and drop the others."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments. Raises InputError for an option that is given twice."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        names = [max(one.opts, key=len) for one in order if one.param_type_name == "option" and _is_single(one)]
        if problems := given_twice(names):
            raise InputError(problems)
        return super().parse_args(ctx, args)


def _is_single(option: Any) -> bool:
    """Return whether an option has one value."""
    return not (option.multiple or option.is_flag)


def app_of(commands: Iterable[str]) -> typer.Typer:
    """Return the command line with these commands."""
    app = typer.Typer(
        name="carat",
        help="Cycle-level simulator of Gemmini-like transformer accelerators: cycles, memory traffic and energy.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in commands:
        module, _, function = COMMANDS[name].partition(":")
        app.command(name=name, cls=Once)(getattr(import_module(f"sim.cli.{module}"), function))
    app.callback(invoke_without_command=True)(version)
    _as_written(app)
    return app


def app_for(words: Sequence[str]) -> typer.Typer:
    """Return the command line for the arguments typed: with the command named first, else with all commands."""
    return app_of(words[:1]) if words and words[0] in COMMANDS else app_of(COMMANDS)


def __getattr__(name: str) -> Any:
    """Return `app`, the command line with all commands."""
    if name == "app":
        return app_of(COMMANDS)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _as_written(app: typer.Typer) -> None:
    """Keep brackets in help texts: rich, which formats the help, takes [[precision]] for markup."""
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


def version(
    show_version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Print release and digest of the sources that determine results."""
    if show_version:
        typer.echo(f"carat {code_version()}")
        raise typer.Exit
