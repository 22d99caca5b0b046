"""``carat run``: simulate one workload on one machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.cli import common

if TYPE_CHECKING:
    from sim.run.result import Result
    from sim.sparsity.pruning import Pruning

HEADINGS = ("operators", "cycles", "share", "util", "read MB", "write MB", "energy uJ", "visited")


def run(
    workload: common.Workload = "bert-base",
    hw: common.Machine = common.DEFAULT_HARDWARE,
    set_: common.Settings = None,
    cpu: common.Cpu = None,
    seq: common.Seq = None,
    batch: common.Batch = None,
    size: common.Sizes = None,
    sparsity: common.SparsityText = None,
    prune: common.Prune = None,
    saliency: Annotated[
        Path | None,
        typer.Option("--saliency", metavar="SCORES.npz", help="Scores that say which of --prune stay: L0.heads, ..."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="DIR|FILE", help="Weights whose magnitude says which of --prune stay."),
    ] = None,
    seed: common.Seed = 0,
    clock: common.Clock = "periodic",
    dataflow: common.Dataflow = None,
    tile: Annotated[
        list[str] | None,
        typer.Option(
            "--tile",
            metavar="OP=I,J,K[,KEY=WORD...]",
            help="Mapping of matching matmuls by hand: tile in blocks of the array; loop_order=jik, resident=a, "
            "halves=apart, dataflow=OS.",
        ),
    ] = None,
    mapping: Annotated[
        str,
        typer.Option(
            "--mapping",
            metavar="library|best|FILE.toml",
            help="Tiles: the C library's, searched for (--store keeps the search), or those of `carat map`; shows "
            "before and after.",
        ),
    ] = "library",
    objective: common.Objective = "cycles",
    reach: common.Reach = "call",
    store: common.Store = None,
    explain: Annotated[bool, typer.Option("--explain", help="Measure what relieving the bottleneck gives.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Keep the run here, for `carat report`, `plot` and `diff`."),
    ] = None,
    no_cache: common.NoCache = False,
    as_json: common.AsJson = False,
) -> None:
    """Simulate a workload on a machine: cycles, traffic, energy, by kind of operator."""
    from sim.analysis.explain import explain as explanation
    from sim.cli import map_command
    from sim.run.pipeline import load_machine, resolve_graph, resolve_pruning, resolve_sparsity, simulate
    from sim.timing.disk import default_timings
    from sim.timing.memo import Memo

    common.output_folder(output)
    machine = load_machine(hw, common.settings(set_, cpu))
    whole = resolve_graph(workload, common.sizes(seq, batch, size))
    pruning = _pruning(prune, saliency, weights)
    by_hand = _mapping(tile)
    changes = None
    with common.progress_bar(f"{workload} on {hw}") as progress:
        rules = resolve_sparsity(sparsity, seed)
        small, _ = resolve_pruning(whole, pruning, rules)
        zeros = None if rules is None or rules.only_prunes else sparsity
        fields = map_command.chosen(mapping, small, machine, zeros, dataflow, objective, reach, store, progress)
        shared = Memo(None if no_cache else default_timings())

        def simulated(tiles: dict[str, dict[str, Any]]) -> Result:
            return simulate(
                whole,
                machine,
                sparsity=sparsity,
                prune=pruning,
                seed=seed,
                clock=clock,
                dataflow=dataflow,
                mapping=tiles,
                progress=progress,
                memo=shared,
            )

        result = simulated({**fields, **by_hand})
        if fields:
            changes = map_command.changes(simulated(by_hand), result)
        measure = explain or output is not None
        sentence = explanation(result, measure=measure) if measure or not as_json else None
    if output is not None:
        result.save(output, command=common.command_line(), sentence=sentence)
    if as_json:
        explained = {"explanation": sentence} if sentence else {}
        mapped = {"mapping": changes} if changes else {}
        typer.echo(json.dumps({**result.to_dict(), **explained, **mapped}, indent=1))
        return
    _print(result)
    if result.request.stay:
        from sim.sparsity.saliency import lines

        typer.echo("\n".join(["", *lines(result.request.stay)]))
    if changes:
        map_command.print_changes(changes, mapping)
    typer.echo(f"\n{sentence}")
    if output is not None:
        typer.echo(f"\nKept in {output}. A page of it: carat report {output} -o {output / 'report.html'}")


def _pruning(prune: str | None, saliency: Path | None, weights: Path | None) -> Pruning | None:
    """Return what --prune keeps, with the file that says which ones. Raises InputError."""
    from sim.base.errors import InputError
    from sim.sparsity.pruning import parse

    if prune is not None:
        return parse(prune, saliency, weights)
    if saliency is not None or weights is not None:
        given = "--saliency" if weights is None else "--weights"
        raise InputError(f"{given} says which of what --prune keeps; give --prune too, e.g. --prune heads=8")
    return None


def _mapping(tiles: list[str] | None) -> dict[str, dict[str, Any]]:
    from sim.base.errors import InputError

    mapping: dict[str, dict[str, Any]] = {}
    problems = []
    for text in tiles or ():
        name, _, rest = text.partition("=")
        sizes, words = rest.split(",")[:3], rest.split(",")[3:]
        if (
            name
            and len(sizes) == 3
            and all(size.strip().isdecimal() for size in sizes)
            and all("=" in w for w in words)
        ):
            choices = {key.strip(): word.strip() for key, _, word in (w.partition("=") for w in words)}
            mapping[name] = {"tile": tuple(int(size) for size in sizes), **choices}
        else:
            problems.append(
                f"--tile {text}: must be OP=I,J,K with three whole numbers of blocks, e.g. L0.FF1=5,5,48, and behind "
                "them words like resident=a"
            )
    if problems:
        raise InputError(problems)
    return mapping


def _print(result: Result) -> None:
    total = result.totals
    rows = [_cells(row) for row in result.kind_rows]
    rows.append(_cells({**total, "op_kind": "total", "share": 1.0}))
    common.print_table(f"{total['workload']} on {total['hardware']}", HEADINGS, rows)
    causes = {cause: cycles for cause, cycles in result.causes.items() if cycles}
    split = sorted(causes.items(), key=lambda item: -item[1])
    typer.echo("cycles by cause: " + ", ".join(f"{cause} {cycles / result.cycles:.1%}" for cause, cycles in split))
    typer.echo(
        f"{total['time_s'] * 1e3:,.3f} ms at {total['clock_mhz']:g} MHz, {total['power_w']:.3g} W, "
        f"EDP {total['edp_js']:.3g} J s; "
        f"{total['distinct']} of {total['invocations']} array programs are distinct"
    )
    missing = total["area_not_modelled"]
    typer.echo(f"{total['area_mm2']:.3f} mm2" + (f", area not modelled: {missing}" if missing else ""))
    if total["energy_not_modelled"]:
        typer.echo(f"energy not modelled: {total['energy_not_modelled']}")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    visited = row["visited_share"]
    seen = f"{visited:.1%}" if visited is not None else "-"
    return (
        str(row["op_kind"]),
        f"{row['cycles']:,}",
        f"{row['share']:.1%}",
        f"{row['utilization']:.1%}",
        f"{_mega(row['dram_read_bytes']):,.3f}",
        f"{_mega(row['dram_write_bytes']):,.3f}",
        f"{_mega(row['energy_pj']):,.1f}",
        seen,
    )


def _mega(value: float) -> float:
    return value / 1e6
