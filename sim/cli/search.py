"""``carat search``: networks that lose little quality for their energy-delay product, or a network made smaller."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.analysis.tables import write_table
from sim.base.errors import InputError, given_twice
from sim.base.reading import read_text
from sim.cli import common, options
from sim.cli.sweep import check_table, table_json

if TYPE_CHECKING:
    import pandas as pd

    from sim.sweeps.evolution import Quality
    from sim.sweeps.networks import Candidate

PROXY = "proxy:weights"


@dataclass(frozen=True)
class Evolution:
    """Options of a search over networks."""

    quality: Annotated[
        str,
        typer.Option(
            "--quality",
            metavar="FILE.csv|MODULE:FUNCTION",
            help="Loss of quality of a network, smaller is better: a table (hidden, heads, ffn, quality), your "
            "function, "
            f"or {PROXY}, which counts weights and is no measure of accuracy.",
        ),
    ] = PROXY
    population: Annotated[int, typer.Option("--population", min=2, help="Networks kept in each round.")] = 40
    rounds: Annotated[int, typer.Option("--rounds", min=0, help="Rounds of children.")] = 40
    mutation: Annotated[
        float, typer.Option("--mutation", min=0, max=1, help="Probability that a size is drawn anew.")
    ] = 0.2
    seed: options.Seed = 0


@dataclass(frozen=True)
class Smaller:
    """Options of shrinking one network."""

    start: Annotated[
        str | None,
        typer.Option("--start", metavar="HIDDEN/HEADS/FFN", help="Shrink this network, e.g. 768/12x6/3072x6."),
    ] = None
    target: Annotated[float, typer.Option("--target", help="With --start: share of --metric at which to stop.")] = 0.7
    metric: Annotated[str, typer.Option("--metric", help="With --start: cycles, energy or edp.")] = "cycles"
    step: Annotated[
        list[str] | None,
        typer.Option("--step", metavar="FIELD=V1,V2,...", help="heads, ffn, tokens or pattern, largest first."),
    ] = None
    one_shot: Annotated[bool, typer.Option("--one-shot", help="Rate all steps once, not after each step.")] = False


@options.records
def search(
    hw: options.Machine = options.DEFAULT_HARDWARE,
    settings: options.Settings = None,
    tokens: Annotated[int, typer.Option("--seq", min=1, help="Tokens of every network.")] = 512,
    *,
    evolution: Evolution,
    smaller: Smaller,
    output: options.Table = None,
    as_json: options.AsJson = False,
) -> None:
    """Search encoders (3 to 6 layers) by evolution, quality against energy-delay product; or shrink one to a target."""
    from sim import hardware  # pydantic: not for --help

    check_table(output)
    machine = hardware.load(hw, hardware.parse_settings(settings or []))
    quality = _quality(evolution.quality, tokens)
    if smaller.start is None:
        table = _evolved(machine, quality, evolution, tokens)
    else:
        table = _shrunk(machine, quality, smaller, tokens)
    if output is not None:
        write_table(table, output)
    if as_json:
        typer.echo(table_json(table))
        return
    _print(table, evolution.quality)


def _evolved(machine: Any, quality: Any, how: Evolution, tokens: int) -> pd.DataFrame:
    from sim.sweeps.evolution import search_networks  # SQLite
    from sim.sweeps.networks import NetworkSpace  # SQLite

    with common.progress_bar("search") as progress:
        return search_networks(
            machine, quality, space=NetworkSpace(tokens=tokens), population=how.population, rounds=how.rounds,
            mutation=how.mutation, seed=how.seed, progress=progress,
        )  # fmt: skip


def _shrunk(machine: Any, quality: Quality | Mapping[Candidate, float], how: Smaller, tokens: int) -> pd.DataFrame:
    import pandas as pd  # the heavy library itself

    from sim.sweeps.evolution import shrink  # SQLite
    from sim.sweeps.networks import parse  # SQLite

    if isinstance(quality, Mapping):
        raise InputError("--start: a table lists fixed networks; give --quality MODULE:FUNCTION")
    parts = (how.start or "").split("/")
    if len(parts) != 3:
        raise InputError(f"--start {how.start}: must be HIDDEN/HEADS/FFN, e.g. 768/12x6/3072x6")
    network = parse(dict(zip(("hidden", "heads", "ffn"), parts, strict=True)), tokens)
    steps = _steps(how.step or ["heads=12,10,8,6,4", "ffn=3072,2560,2048,1536,1024"])
    done = shrink(machine, network, quality, steps, target=how.target, metric=how.metric, greedy=not how.one_shot)
    return pd.DataFrame(
        [
            {"step": step, **smaller.words(), "quality": damage, "cycles": cost.cycles, "energy_pj": cost.energy_pj,
             "edp_js": cost.score("edp", machine.clock_mhz), "best": smaller is done[-1][1]}
            for step, smaller, damage, cost in done
        ]
    )  # fmt: skip


def _steps(given: list[str]) -> list[tuple[str, list[Any]]]:
    found = []
    problems = given_twice((f"--step {text.partition('=')[0]}" for text in given), "list all values in one")
    for text in given:
        field, _, values = text.partition("=")
        if field not in ("heads", "ffn", "tokens", "pattern") or not values:
            problems.append(f"--step {text}: must be FIELD=V1,V2,... with heads, ffn, tokens or pattern")
            continue
        words = values.split(",")
        wrong = [word for word in words if field != "pattern" and not word.isdecimal()]
        problems += [f"--step {text}: {word!r} must be a whole number" for word in wrong]
        listed = [None if word == "dense" else word for word in words] if field == "pattern" else None
        found.append((field, listed if listed is not None else [] if wrong else [int(word) for word in words]))
    if problems:
        raise InputError(problems)
    return found


def _quality(text: str, tokens: int) -> Any:
    """Return a function or a table. Raises InputError for a file without the columns, or a missing function."""
    from sim.sweeps.evolution import log_weights  # SQLite
    from sim.sweeps.networks import parse  # SQLite

    if text == PROXY:
        return log_weights
    if text.endswith(".csv"):
        rows = list(csv.DictReader(read_text(Path(text)).splitlines()))
        try:
            table = {parse(row, tokens): float(row["quality"]) for row in rows}
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{text}: needs the columns hidden, heads, ffn and quality, a number ({error})") from error
        if not table:
            raise InputError(f"{text}: holds no network")
        return table
    module, colon, function = text.partition(":")
    if not colon or not module or not function:
        raise InputError(f"--quality {text}: must be FILE.csv, MODULE:FUNCTION or {PROXY}")
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(f"--quality {text}: {error}") from error


def _print(table: pd.DataFrame, quality: str) -> None:
    shown = table[table["best"]] if "step" not in table else table
    same = {name for name in ("patterns", "tokens") if len(set(table[name])) == 1 or "step" not in table}
    columns = [name for name in table.columns if name not in {"best", "weights", *same}]
    rows = [[_cell(row[name]) for name in columns] for row in shown.sort_values("edp_js").to_dict("records")]
    if "step" in table:
        rows = [[_cell(row[name]) for name in columns] for row in shown.to_dict("records")]
    common.print_table(f"{len(table)} networks, {int(table['best'].sum())} best", columns, rows, 1)
    if quality == PROXY:
        typer.echo(f"note: quality is {PROXY}, minus the logarithm of the number of weights: a proxy, not accuracy")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else json.dumps(value).strip('"')
