"""``carat explore``: search the settings of a machine for the best cycles, energy, energy-delay product, area."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sim.analysis.tables import write_table
from sim.base.errors import InputError, given_twice
from sim.base.numbers import decimal
from sim.cli import REFUSED, common, options
from sim.cli.sweep import check_table, grid_of, print_points, requested, table_json

if TYPE_CHECKING:
    import pandas as pd

    from sim.run.request import Request


@dataclass(frozen=True)
class MachineSearch:
    """Options of a search over machines."""

    objective: Annotated[
        list[str] | None,
        typer.Option("--objective", help="cycles, energy, edp, time, area; several: Pareto front. Default: edp."),
    ] = None
    trials: Annotated[int, typer.Option("--trials", min=1, help="Points to simulate.")] = 50
    sampler: Annotated[
        Literal["tpe", "nsga2"],
        typer.Option("--sampler", help="Sampler of optuna: tree-structured Parzen estimator, or NSGA-II."),
    ] = "tpe"
    at_once: Annotated[
        int | None,
        typer.Option(
            "--at-once",
            min=1,
            help="Points requested from the sampler at a time, before their results are reported to it. Default: 1; "
            "nsga2: a generation.",
        ),
    ] = None
    constraint: Annotated[
        list[str] | None,
        typer.Option(
            "--constraint",
            metavar="NAME=MAX",
            help="Upper bound of area (mm2), sram (KiB), bandwidth (bytes a cycle) or power (W); repeatable.",
        ),
    ] = None
    mix: Annotated[
        list[str] | None,
        typer.Option(
            "--mix", metavar="NAME=WEIGHT", help="Another workload and its weight (the first has 1); repeatable."
        ),
    ] = None
    jobs: options.Jobs = None
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="tcp://HOST:PORT", help="Run on this dask.distributed cluster instead."),
    ] = None

    def arguments(self, workload: str) -> dict[str, Any]:
        """Return them as keyword arguments of `sim.sweeps.explore.explore`. Raises InputError."""
        mix = _pairs("--mix", self.mix)
        return {
            "workload": {workload: 1.0, **mix} if mix else workload,
            "objective": self.objective or ["edp"],
            "trials": self.trials,
            "sampler": self.sampler,
            "at_once": self.at_once,
            "constraints": _pairs("--constraint", self.constraint),
            "jobs": self.jobs,
            "scheduler": self.scheduler,
        }


def _pairs(option: str, given: list[str] | None) -> dict[str, float]:
    """Return NAME=NUMBER options; a number may have the unit KiB or MiB. Raises InputError."""
    found = {}
    problems = given_twice(f"{option} {text.partition('=')[0]}" for text in given or ())
    for text in given or ():
        name, _, number = text.partition("=")
        digits, factor = (number[:-3], 1024.0) if number.endswith("MiB") else (number.removesuffix("KiB"), 1.0)
        try:
            found[name] = decimal(digits) * factor
        except ValueError:
            problems.append(f"{option} {text}: must be NAME=NUMBER, e.g. {'sram=320' if 'con' in option else 'gpt2=2'}")
    if problems:
        raise InputError(problems)
    return found


@options.asks("encoder-layer", without=("saliency", "weights", "tile"))
def explore(
    request: Request,
    search: MachineSearch,
    grid: options.Grid = None,
    store: options.Store = None,
    output: options.Table = None,
    no_cache: options.NoCache = False,
    as_json: options.AsJson = False,
) -> None:
    """Search a grid of machine settings for the best points; needs the extra `explore`."""
    from sim.sweeps.explore import explore as explored  # SQLite

    check_table(output)
    with common.progress_bar("explore") as progress:
        table = explored(
            str(request.machine),
            grid=grid_of(request, grid),
            **search.arguments(str(request.graph)),
            progress=progress,
            store=store,
            cache=not no_cache,
            **requested(request),
        )
    if output is not None:
        write_table(table, output)
    none = bool(table["error"].notna().all())  # no point was simulated
    if as_json:
        typer.echo(table_json(table))
        raise typer.Exit(REFUSED if none else 0)
    best: pd.DataFrame = table[table["best"]]
    typer.echo(f"{len(table)} points tried, {len(best)} of them best{_dominated(table)}")
    print_points((table if none else best).drop(columns="best"))
    raise typer.Exit(REFUSED if none else 0)


def _dominated(table: pd.DataFrame) -> str:
    share = table.attrs.get("hypervolume")
    return "" if share is None else f"; hypervolume {share:.3f} of the box from the best to the worst values tried"
