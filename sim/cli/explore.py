"""``carat explore``: search the settings of a machine for the best cycles, energy, energy-delay product, area."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sim.analysis.tables import write_table
from sim.cli import REFUSED, common, options
from sim.cli.sweep import asked, check_table, grid_of, print_points, table_json

if TYPE_CHECKING:
    import pandas as pd

    from sim.run.request import Request


@options.asks("encoder-layer", without=("saliency", "weights", "tile"))
def explore(
    request: Request,
    grid: options.Grid = None,
    objective: Annotated[
        list[str] | None,
        typer.Option("--objective", help="cycles, energy, edp, time, area; several: Pareto front. Default: edp."),
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Points to ask for.")] = 50,
    store: options.Store = None,
    output: options.Table = None,
    no_cache: options.NoCache = False,
    as_json: options.AsJson = False,
) -> None:
    """Search a grid of machine settings for the best points; needs the extra `explore`."""
    from sim.sweeps.explore import explore as search  # SQLite

    check_table(output)
    with common.progress_bar("explore") as progress:
        table = search(
            str(request.machine),
            grid=grid_of(request, grid),
            workload=str(request.graph),
            objective=objective or ["edp"],
            trials=trials,
            progress=progress,
            store=store,
            cache=not no_cache,
            **asked(request),
        )
    if output is not None:
        write_table(table, output)
    none = bool(table["error"].notna().all())  # no point was simulated
    if as_json:
        typer.echo(table_json(table))
        raise typer.Exit(REFUSED if none else 0)
    best: pd.DataFrame = table[table["best"]]
    typer.echo(f"{len(table)} points tried, {len(best)} of them best")
    print_points((table if none else best).drop(columns="best"))
    raise typer.Exit(REFUSED if none else 0)
