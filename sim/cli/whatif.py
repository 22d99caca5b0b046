"""``carat whatif``: sensitivity of one run to each number of the machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.base.files import write_whole
from sim.cli import common, options

if TYPE_CHECKING:
    from sim.run.request import Request
    from sim.run.result import Result

BAR_CHARACTERS = 24


@options.asks("bert-base")
def whatif(
    request: Request,
    knob: Annotated[
        list[str] | None, typer.Option("--knob", help="Only this key, e.g. memory.latency_cycles; repeatable.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Worker processes.")] = 1,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.csv", help="Write the table here, for `carat plot`.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Halve and double every number of the machine, one run each, and print the change of cycles."""
    from sim.analysis.whatif import trials  # numpy
    from sim.analysis.whatif import whatif as try_all  # numpy
    from sim.run.pipeline import run as simulate  # numpy
    from sim.run.request import resolve  # numpy
    from sim.timing.disk import default_timings  # numpy
    from sim.timing.memo import Memo  # numpy

    if output is not None:
        common.output_folder(output.parent)
    case = resolve(request)
    trials(case.hw, knob or ())  # an unknown key is refused before the simulation
    with common.progress_bar(request.label) as progress:
        base = simulate(case, Memo(default_timings()), progress)
        table = try_all(base, knob or (), jobs=jobs, progress=progress)
    if output is not None:
        write_whole(output, table.to_csv(index=False, lineterminator="\n"))
    rows = [{str(key): _plain(value) for key, value in row.items()} for row in table.to_dict("records")]
    if as_json:
        typer.echo(json.dumps({"totals": base.totals, "knobs": rows}, indent=1))
        return
    _print(base, rows)
    if output is not None:
        typer.echo(f"Saved in {output}. Picture: carat plot tornado {output} -o {output.with_suffix('.svg')}")


def _print(base: Result, rows: list[dict[str, Any]]) -> None:
    done = [row for row in rows if row["error"] is None]
    reach = max((abs(row["cycles_change"]) for row in done), default=0.0) or 1.0
    cells = [
        (
            row["knob"],
            f"{row['from']:g} -> {row['to']:g}",
            f"{row['cycles']:,}",
            f"{row['cycles_change']:+.2%}",
            f"{row['energy_pj_change']:+.2%}",
            f"{row['area_mm2_change']:+.2%}",
            f"{row['cycles_per_unit']:+,.4g}",
            "#" * round(abs(row["cycles_change"]) / reach * BAR_CHARACTERS),
        )
        for row in done
    ]
    headings = ("knob", "value", "cycles", "change", "energy", "area", "cycles per unit", "")
    common.print_table(f"{base.graph.name} on {base.hardware.name}: {base.cycles:,} cycles", headings, cells)
    for row in rows:
        if row["error"] is not None:
            typer.echo(f"{row['knob']} = {row['to']:g}: {row['error']}")


def _plain(value: Any) -> Any:
    """Return a cell of the table as a JSON value: null for missing values, integers without a fraction."""
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value
