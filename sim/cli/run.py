"""``carat run``: simulate one workload on one machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.base.errors import InputError
from sim.cli import common, leaving, map_command, options, scheduled
from sim.cli.map_command import Tiling

if TYPE_CHECKING:
    from sim.run.request import Case, Request
    from sim.run.result import Result

HEADINGS = ("operators", "cycles", "share", "util", "read MB", "write MB", "energy uJ", "visited")


@options.asks("bert-base")
def run(
    request: Request,
    tiling: Tiling,
    tokens: options.Tokens = None,
    explain: Annotated[bool, typer.Option("--explain", help="Measure the gain of removing the bottleneck.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Save the run here, for `carat report`, `plot` and `diff`."),
    ] = None,
    exits: Annotated[
        str | None,
        typer.Option("--exits", metavar="SHARE,...", help="Early exit: share of inputs that leave after each layer."),
    ] = None,
    no_cache: options.NoCache = False,
    as_json: options.AsJson = False,
) -> None:
    """Simulate a workload on a machine: cycles, traffic, energy, by kind of operator."""
    from sim.analysis.explain import explain as explanation  # numpy
    from sim.run.pipeline import run as simulate  # numpy
    from sim.run.scheduling import wanted  # numpy
    from sim.timing.disk import default_timings  # numpy
    from sim.timing.memo import Memo  # numpy

    common.output_folder(output)
    shares = leaving.read(exits)
    if dict(request.sizes).get("phase") == "generate":
        return _generate(request, tokens, no_cache=no_cache, as_json=as_json, other=(tiling.mapping, explain, output))
    if tokens is not None:
        raise InputError("--tokens goes with --phase generate (one decode step: --phase decode --kv N)")
    case = _resolved(request)
    changes, saved, memo = None, None, Memo(None if no_cache else default_timings())
    with common.progress_bar(request.label) as progress:
        if wanted(case):  # tiles are searched for the programs of the schedule found
            case = simulate(case, memo, progress).case
        tiles = map_command.chosen(tiling, case, progress)
        result = simulate(case.mapped({**tiles, **(request.mapping or {})}), memo, progress)
        if tiles:
            changes = map_command.changes(simulate(case, memo, progress), result)
        if case.schedule:
            saved = scheduled.savings(simulate(case.scheduled(None), memo, progress), result)
        measure = explain or output is not None
        sentence = explanation(result, measure=measure, progress=progress) if measure or not as_json else None
    left = leaving.found(result, shares)
    if output is not None:
        result.save(output, command=common.command_line(), sentence=sentence, savings=saved)
    if as_json:
        plain = {"schedule": scheduled.plain(saved), "exits": leaving.plain(left)}
        more: dict[str, Any] = {"explanation": sentence, "mapping": changes, **plain}
        typer.echo(json.dumps(result.to_dict() | {name: found for name, found in more.items() if found}, indent=1))
        return
    _print(result)
    if left is not None:
        leaving.show(left)
    if changes:
        map_command.print_changes(changes, tiling.mapping)
    scheduled.show(saved, result)
    typer.echo(f"\n{sentence}")
    if output is not None:
        typer.echo(f"\nSaved in {output}. A page of it: carat report {output} -o {output / 'report.html'}")


def _resolved(request: Request) -> Case:
    """Return the case of a request; a remark on what makes a run take long is printed before it."""
    from sim.run.remarks import of_latency  # numpy
    from sim.run.request import resolve  # numpy

    case = resolve(request)
    for remark in of_latency(case.hw):
        typer.echo(f"carat: note: {remark}", err=True)
    return case


def _generate(
    request: Request, tokens: int | None, *, no_cache: bool, as_json: bool, other: tuple[str, bool, Path | None]
) -> None:
    """Run a prefill and its decode steps and print time to the first token, time per token and tokens per second."""
    from sim.run.generation import generation  # numpy

    mapping, explain, output = other
    if mapping != "library" or explain or output is not None:
        raise InputError(
            "--phase generate runs many graphs and takes no --mapping, --explain or -o (nearest: --json, or "
            "--phase decode --kv N for one step)"
        )
    with common.progress_bar(request.label) as progress:
        found = generation(request, 32 if tokens is None else tokens, progress, cache=not no_cache)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
        return
    total = found.totals
    rows = [
        (
            f"{row['token']:,}",
            f"{row['kv']:,}",
            f"{row['cycles']:,}",
            f"{row['time_s'] * 1e3:,.3f}",
            f"{_mega(row['dram_read_bytes']):,.3f}",
            f"{row['host_cycles'] / row['cycles']:.1%}",
            f"{_mega(row['energy_pj']):,.1f}",
        )
        for row in _shown(found.rows)
    ]
    headings = ("token", "cached", "cycles", "ms", "read MB", "host", "energy uJ")
    common.print_table(f"{total['workload']} on {total['hardware']}", headings, rows)
    per_token = "" if total["tpot_s"] is None else f", {total['tpot_s'] * 1e3:,.3f} ms per further token"
    typer.echo(
        f"{total['prompt']} tokens of prompt, {total['tokens']} generated: first after {total['ttft_s'] * 1e3:,.3f} ms"
        f"{per_token}, {total['tokens_per_s']:,.2f} tokens/s"
    )
    for group in found.steps[-1].fallbacks():
        typer.echo(f"on the host, last step: {group['op_kinds']} ({group['share']:.1%} of it): {group['fallback']}")


SHOWN_TOKENS = 10


def _shown(rows: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    """Return the first rows, some in between, and the last."""
    every = max(1, (len(rows) - 1) // SHOWN_TOKENS)
    return [row for number, row in enumerate(rows) if number % every == 0 or number == len(rows) - 1]


def _print(result: Result) -> None:
    total = result.totals
    rows = [_cells(row) for row in result.kind_rows]
    rows.append(_cells({**total, "op_kind": "total", "share": 1.0}))
    given = "".join(f" {name}={value}" for name, value in result.request.sizes if name not in ("seq", "batch"))
    common.print_table(f"{total['workload']}{given} on {total['hardware']}", HEADINGS, rows)
    typer.echo(
        f"{total['sizes']}; {total['word_sizes']}; energy by table {total['energy_table']}, {total['node_nm']} nm"
    )
    split = sorted(result.causes.items(), key=lambda item: -item[1])
    shares = [(cause, f"{cycles / result.cycles:.1%}") for cause, cycles in split]
    typer.echo("cycles by cause: " + ", ".join(f"{cause} {share}" for cause, share in shares if share != "0.0%"))
    typer.echo(
        f"{total['time_s'] * 1e3:,.3f} ms at {total['clock_mhz']:g} MHz, {total['power_w']:.3g} W, "
        f"EDP {total['edp_js']:.3g} J s; "
        f"{total['distinct']} of {total['invocations']} array programs are distinct"
    )
    for group in result.fallbacks():
        typer.echo(
            f"on the host: {group['op_kinds']} ({group['ops']} operators, {group['share']:.1%} of all cycles, "
            f"conversions included): {group['fallback']}"
        )
    if result.core_rows:
        _print_cores(result)
    missing = total["area_not_modelled"]
    typer.echo(f"{total['area_mm2']:.3f} mm2" + (f", area not modelled: {missing}" if missing else ""))
    if total["energy_not_modelled"]:
        typer.echo(f"energy not modelled: {total['energy_not_modelled']}")
    if total["remarks"]:
        typer.echo(f"note: {total['remarks']}")
    if result.case.kept:
        from sim.sparsity.edits.saliency import lines  # numpy: not for --help

        typer.echo("\n".join(["", *lines(result.case.kept)]))


CORE_HEADINGS = ("core", "busy", "waits", "bus waits", "read MB", "write MB", "programs")


def _print_cores(result: Result) -> None:
    cells = [
        (
            str(row["core"]),
            f"{row['busy_share']:.1%}",
            f"{row['barrier_cycles'] / result.cycles:.1%}",
            f"{row['port_wait_cycles'] / result.cycles:.1%}",
            f"{_mega(row['core_read_bytes']):,.3f}",
            f"{_mega(row['core_write_bytes']):,.3f}",
            f"{row['core_invocations']:,}",
        )
        for row in result.core_rows
    ]
    common.print_table(f"{len(cells)} cores, split by {result.hardware.cores.split}", CORE_HEADINGS, cells)


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
