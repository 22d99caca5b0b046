"""The calls of a recorded stream, as a table or as JSON (`carat replay --calls`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sim.base.files import write_whole
from sim.cli import common

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.timing.timing import Clock


HEADINGS = (
    "case", "call", "function", "commands", "cycles", "first to idle", "CPU around", "most of it", "energy uJ",
)  # fmt: skip
"""Headings of the table of calls."""


def show(
    file: Path, case: str | None, machine: Hardware, clock: Clock, as_json: bool, output: Path | None = None
) -> None:
    """Print the calls of a stream or a trace, their sums, cycles by cause, energy by part.

    ``output``: also write their Chrome trace there.
    """
    from sim.trace.chrome import to_json  # numpy
    from sim.validate import call_table  # numpy
    from sim.validate import replay as replaying  # numpy

    wanted = output is not None
    if wanted and clock == "periodic":
        clock = "leap"  # the periodic clock records no counters over time
    if call_table.known(file):
        rows = call_table.of_trace(file, case, machine, clock, timeline=wanted)
    else:
        rows = call_table.of_recordings(replaying.choose(file, case), machine, clock, timeline=wanted)
    if output is not None:
        write_whole(output, to_json(call_table.trace(rows, machine, file.name)))
    total = call_table.total(rows)
    if as_json:
        cases = {row.case: [one.as_dict() for one in rows if one.case == row.case] for row in rows}
        listed = [{"case": name, "calls": found} for name, found in cases.items()]
        typer.echo(json.dumps({"hardware": machine.name, "cases": listed, "total": total}, indent=1))
        return
    lines = [
        (
            row.case,
            str(row.number),
            row.name,
            str(row.commands),
            f"{row.cycles:,}",
            f"{row.inside_cycles:,}",
            f"{row.call_cycles:,}",
            max(row.causes, key=lambda cause, causes=row.causes: causes[cause]),  # type: ignore[misc]
            f"{row.energy_pj / 1e6:,.1f}",
        )
        for row in rows
    ]
    common.print_table(f"{file.name} on {machine.name}", HEADINGS, lines, 3)
    for function, (count, cycles) in call_table.functions(rows).items():
        typer.echo(f"{function}: {count} calls, {cycles:,} cycles")
    typer.echo(f"all: {len(rows)} calls, {sum(row.cycles for row in rows):,} cycles")
    for name, parts in (("cycles by cause", total["causes"]), ("energy by part", total["energy_parts_pj"])):
        whole = sum(parts.values()) or 1
        shares = ", ".join(f"{part} {100 * amount / whole:.1f} %" for part, amount in parts.items() if amount > 0)
        typer.echo(f"{name}: {shares}")
    if output is not None:
        typer.echo(f"{output}: trace of {len(rows)} calls; open it in ui.perfetto.dev")
