"""An exhibit, a published table or figure, and its findings: each published value beside the simulated ones."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.resources import files
from typing import Any, Literal

from sim.base.errors import InputError, did_you_mean

STUDIES = ("kim2023", "gemmini", "survey")
"""Names that `carat reproduce` takes."""

Agreement = Literal["printed", "within", "between", "sign", "none"]
"""Rules of agreement.

Equal in every printed digit (rounded or cut off), within a share of the published value, between two limits, of the
published sign, or not judged, because the published quantity is not the simulated one.
"""

Values = Mapping[str, Sequence[float | None]]
"""Result of a function of a study: for each row one value per simulated column, None if not available."""


@dataclass(frozen=True)
class Exhibit:
    """A published table or figure.

    ``name``: as in the source, e.g. "Table 3". ``title``: the quantity compared, with its unit. ``machine``: machine of
    the simulation; empty if nothing is simulated. ``columns``: names of the simulated columns. ``rows``: name and
    printed value of each row. ``agreement`` with ``limits``: rule of agreement, see `Agreement`. ``fitted``: columns
    for which a parameter was fitted to this figure. ``reasons``: why a row does not agree or cannot be simulated, by
    the row's name; "*" = all rows without a reason of their own.
    """

    name: str
    title: str
    source: str
    machine: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, str], ...] = ()
    agreement: Agreement = "none"
    limits: tuple[float, ...] = ()
    fitted: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    by: str = ""

    def shows(self, word: str, number: str) -> bool:
        """Return whether this is the figure or table (``word``) of that number; "Figures 18 to 20" shows 19."""
        found = re.match(rf"{word}s? (\w+)(?: (?:to|and) (\w+))?", self.name)
        if not found:
            return False
        first, last = found[1], found[2] or found[1]
        if number.isdecimal() and first.isdecimal() and last.isdecimal():
            return int(first) <= int(number) <= int(last)
        return number.casefold() == first.casefold()

    def agrees(self, printed: str, value: float | None) -> bool | None:
        """Return whether a simulated value agrees with the printed one; None if that is not judged."""
        if value is None or self.agreement == "none" or not printed:
            return None
        if self.agreement == "between":
            return self.limits[0] <= value <= self.limits[1]
        published = number(printed)
        if self.agreement == "sign":
            return value * published > 0
        if self.agreement == "within":
            return abs(value - published) <= self.limits[0] * abs(published)
        unit = 10.0 ** -len(printed.partition(".")[2])
        return bool(-0.5 * unit <= value - published + 1e-9 and value - published < unit)


@dataclass(frozen=True)
class Finding:
    """One row of an exhibit: the printed value, the simulated ones, whether each agrees, and the reason if not."""

    row: str
    printed: str
    simulated: tuple[float | None, ...]
    agrees: tuple[bool | None, ...]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "row": self.row, "published": self.printed, "simulated": list(self.simulated),
            "agrees": list(self.agrees), "reason": self.reason,
        }  # fmt: skip


def number(printed: str) -> float:
    """Return a printed number, without thousands separators and a trailing percent sign or `x`."""
    return float(printed.replace(",", "").rstrip("x% "))


def read(study: str) -> tuple[Exhibit, ...]:
    """Return the exhibits of a study. Raises InputError for an unknown name."""
    if study not in STUDIES:
        raise InputError(f"no study {study!r}; there are {', '.join(STUDIES)}{did_you_mean(study, STUDIES)}")
    text = (files("sim.studies") / "figures" / f"{study}.toml").read_text(encoding="utf-8")
    return tuple(_exhibit(table) for table in tomllib.loads(text)["exhibit"])


def _exhibit(table: dict[str, Any]) -> Exhibit:
    lists = {name: tuple(table.get(name, ())) for name in ("columns", "limits", "fitted", "rows")}
    return Exhibit(**{**table, **lists})


def chosen(study: str, figures: Sequence[str] = (), tables: Sequence[str] = ()) -> tuple[Exhibit, ...]:
    """Return the exhibits of a study that show one of these figures or tables, e.g. "13"; all without names.

    Raises InputError that lists the available ones for a number that the study does not have.
    """
    exhibits = read(study)
    requested = [("Figure", number) for number in figures] + [("Table", number) for number in tables]
    if not requested:
        return exhibits
    unknown = [(word, number) for word, number in requested if not any(e.shows(word, number) for e in exhibits)]
    if unknown:
        there = "; ".join(exhibit.name for exhibit in exhibits)
        raise InputError([f"{study} has no {word} {number}; there are: {there}" for word, number in unknown])
    return tuple(e for e in exhibits if any(e.shows(word, number) for word, number in requested))


def run(study: str, exhibit: Exhibit) -> tuple[Finding, ...]:
    """Simulate one exhibit and return a finding per row; none if nothing is simulated."""
    if not exhibit.by:
        return tuple(_unsimulated(exhibit))
    module, _, function = exhibit.by.rpartition(".")
    simulate: Callable[[], Values] = getattr(import_module(f"sim.studies.{study}.{module}"), function)
    values = simulate()
    named = [row for row, _ in exhibit.rows]
    if list(values) != named:
        raise AssertionError(f"{study}, {exhibit.name}: rows {list(values)} simulated, {named} published")
    return tuple(_finding(exhibit, row, printed, values[row]) for row, printed in exhibit.rows)


def _finding(exhibit: Exhibit, row: str, printed: str, values: Sequence[float | None]) -> Finding:
    agrees = tuple(exhibit.agrees(printed, value) for value in values)
    reason = exhibit.reasons.get(row, exhibit.reasons.get("*", ""))
    needed = False in agrees or None in values or exhibit.agreement == "none"
    return Finding(row, printed, tuple(values), agrees, reason if needed else "")


def _unsimulated(exhibit: Exhibit) -> Iterator[Finding]:
    for row, printed in exhibit.rows:
        yield Finding(row, printed, (), (), exhibit.reasons.get(row, exhibit.reasons.get("*", "")))
