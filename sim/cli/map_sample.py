"""``carat map --sample``: a random sample of all mappings of a product, and the distribution of their scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.base.errors import InputError, did_you_mean
from sim.base.files import write_whole
from sim.cli import common

if TYPE_CHECKING:
    from sim.lower.work import Matmul
    from sim.mapping.sampling import Sampled
    from sim.run.request import Case

SUFFIXES = (".json", ".csv")


@dataclass(frozen=True)
class SamplingOptions:
    """Options of sampling mappings."""

    sample: Annotated[
        int | None,
        typer.Option("--sample", min=1, metavar="N", help="Draw N mappings of --operator at random instead."),
    ] = None
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of --sample.")] = 0
    operator: Annotated[
        list[str] | None,
        typer.Option("--operator", metavar="NAME", help="Products that --sample is drawn for; repeatable."),
    ] = None
    uneven: Annotated[
        bool, typer.Option("--uneven", help="With --sample, also tiles that do not divide the operator.")
    ] = False
    certain: Annotated[
        float,
        typer.Option("--certain", metavar="PERCENT", help="Percentile up to which --sample simulates every mapping."),
    ] = 10.0

    def refuse_alone(self) -> None:
        """Raise InputError for options of a sample without --sample."""
        given = {"--operator": self.operator, "--uneven": self.uneven, "--seed": self.seed}
        if vain := [name for name, value in given.items() if value]:
            raise InputError(f"{' and '.join(vain)}: only --sample N uses it")


def run(case: Case, how: SamplingOptions, jobs: int, outputs: Sequence[Path], as_json: bool) -> None:
    """Draw the samples, write and print them."""
    from sim.mapping.sampling import sample  # SQLite

    for path in outputs:
        if path.suffix not in SUFFIXES:
            raise InputError(f"-o {path}: a sample is written as .json (summary) or .csv (every program)")
        if path.suffix == ".csv" and len(how.operator or ()) > 1:
            raise InputError(f"-o {path}: a table holds one sample; give one --operator, or .json")
        common.output_folder(path.parent)
    products = _products(case, how.operator or [])
    found: list[Sampled] = []
    with common.progress_bar("sampling") as progress:
        for work in products.values():
            found.append(
                sample(
                    work, case.hw, count=how.sample or 1, seed=how.seed, uneven=how.uneven, certain=how.certain,
                    jobs=jobs, progress=progress,
                )
            )  # fmt: skip
    told = [{"operator": name, **one.to_dict()} for name, one in zip(products, found, strict=True)]
    text = json.dumps(told, indent=1)
    for path in outputs:
        whole = text + "\n" if path.suffix == ".json" else found[0].table().to_csv(index=False, lineterminator="\n")
        write_whole(path, whole)
    if as_json:
        typer.echo(text)
        return
    for one in told:
        _print(one)


def _products(case: Case, names: Sequence[str]) -> dict[str, Matmul]:
    """Return the named products of the workload without bias and activation. Raises InputError for other names."""
    from sim.mapping.sampling import products  # SQLite

    items = products(case.graph, case.hw)
    if not names:
        raise InputError(f"--sample: name a product with --operator, e.g. --operator {next(iter(items), 'NAME')}")
    unknown = [name for name in names if name not in items]
    if unknown:
        raise InputError(
            [f"--operator {name}: no product of {case.graph.name}{did_you_mean(name, items)}" for name in unknown]
        )
    return {name: items[name] for name in names}


def _print(found: dict[str, Any]) -> None:
    title = (
        f"{found['operator']}: {found['shape']} on {found['hardware']}, {found['samples']:,} mappings drawn, "
        f"{found['distinct_programs']:,} programs, {found['timed_programs']:,} simulated"
    )
    rows = [
        (f"percentile {entry['percent']}", f"{'' if entry['exact'] else 'at least '}{entry['relative_edp']:,.2f}")
        for entry in found["percentiles"]
    ]
    rows.append(("below 3 times the least", f"{found['share_below_3x']:.2%}"))
    rows.append(("the C library's mapping", f"{found['library_relative_edp']:,.2f}"))
    common.print_table(title, ("of the sample", "energy-delay over the least"), rows, 1)
