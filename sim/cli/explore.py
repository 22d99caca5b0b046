"""``carat explore``: search the settings of a machine for the best cycles, energy, energy-delay product, area."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sim.cli import common
from sim.cli.sweep import check_table, parse_grid, print_points

if TYPE_CHECKING:
    import pandas as pd


def explore(
    workload: common.Workload = "encoder-layer",
    hw: common.Machine = common.DEFAULT_HARDWARE,
    grid: common.Grid = None,
    set_: common.Settings = None,
    cpu: common.Cpu = None,
    objective: Annotated[
        list[str] | None,
        typer.Option("--objective", help="cycles, energy, edp, time, area; several: Pareto front. Default: edp."),
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Points to ask for.")] = 50,
    sparsity: common.SparsityText = None,
    prune: common.Prune = None,
    seq: common.Seq = None,
    batch: common.Batch = None,
    size: common.Sizes = None,
    seed: common.Seed = 0,
    dataflow: common.Dataflow = None,
    store: common.Store = None,
    output: common.Table = None,
    no_cache: common.NoCache = False,
    as_json: common.AsJson = False,
) -> None:
    """Search a grid of machine settings for the best points; needs the extra `explore`."""
    from sim.sweeps import write_table
    from sim.sweeps.explore import explore as search

    check_table(output)
    fixed = {key: [value] for key, value in common.settings(set_, cpu).items()}
    with common.progress_bar("explore") as progress:
        table = search(
            hw,
            grid={**fixed, **parse_grid(grid)},
            workload=workload,
            objective=objective or ["edp"],
            trials=trials,
            sizes=common.sizes(seq, batch, size),
            sparsity=sparsity,
            prune=prune,
            seed=seed,
            dataflow=dataflow,
            store=store,
            cache=not no_cache,
            progress=progress,
        )
    if output is not None:
        write_table(table, output)
    if as_json:
        typer.echo(table.to_json(orient="records", indent=1, double_precision=15))
        return
    best: pd.DataFrame = table[table["best"]]
    typer.echo(f"{len(table)} points tried, {len(best)} of them best")
    print_points(best.drop(columns="best"))
