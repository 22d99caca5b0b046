"""``carat reproduce``: the tables and figures of published studies, published beside simulated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sim.base.errors import InputError
from sim.base.files import write_whole
from sim.cli import common, options
from sim.studies import exhibit, text

Numbers = list[str] | None
Figures = Annotated[Numbers, typer.Option("--figure", metavar="N", help="Only this figure; may be repeated.")]
Tables = Annotated[Numbers, typer.Option("--table", metavar="N", help="Only this table; may be repeated.")]
Everything = Annotated[bool, typer.Option("--all", help="All exhibits (the default without --figure and --table).")]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print a Markdown page, such as docs/REPRODUCTION.md.")]
Folder = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="DIR", help="Write STUDY.json, STUDY.md and a picture of each exhibit."),
]


def reproduce(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="kim2023, gemmini, survey, or all of them: all.")],
    figure: Figures = None,
    table: Tables = None,
    everything: Everything = False,
    as_json: options.AsJson = False,
    as_markdown: AsMarkdown = False,
    output: Folder = None,
) -> None:
    """Simulate the tables and figures of a published study; print each value beside the published one."""
    if everything and (figure or table):
        raise InputError("--all and --figure or --table exclude each other")
    common.output_folder(output)
    studies = exhibit.STUDIES if study == "all" else (study,)
    wanted = [(name, one) for name in studies for one in exhibit.chosen(name, figure or (), table or ())]
    found: dict[str, list[Any]] = {name: [] for name in studies}
    with common.progress_bar("reproducing") as progress:
        for number, (name, one) in enumerate(wanted):
            progress(number, len(wanted), f"{name}, {one.name}")
            found[name].append((one, exhibit.run(name, one)))
        progress(len(wanted), len(wanted), "")
    if output is not None:
        _write(output, found)
    if as_json:
        typer.echo(json.dumps([text.as_data(*of) for of in found.items()], indent=1))
    elif as_markdown:
        typer.echo(text.page(found), nl=False)
    else:
        _print(found)
    if output is not None:
        typer.echo(f"Saved in {output}", err=True)


def _print(found: dict[str, list[Any]]) -> None:
    for study, exhibits in found.items():
        for one, findings in exhibits:
            rows = [text.cells(finding) for finding in findings]
            typer.echo(f"{study}, {one.name}: {one.title}")
            common.print_table("", text.headings(one), rows)
            if one.columns:
                typer.echo(f"{one.machine}; {text.rule(one)}")
            for reason in text.reasons(findings):
                typer.echo(reason)
            typer.echo("")


def _write(folder: Path, found: dict[str, list[Any]]) -> None:
    from reports import study as picture  # matplotlib: not for --help

    for study, exhibits in found.items():
        data = text.as_data(study, exhibits)
        write_whole(folder / f"{study}.json", json.dumps(data, indent=1) + "\n")
        write_whole(folder / f"{study}.md", text.markdown(study, exhibits))
        for one in data["exhibits"]:
            picture.draw(one, folder)
