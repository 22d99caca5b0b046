"""Tables of a page as plain data: text is escaped by the template, numbers carry the value they sort by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Cell:
    """Text of a cell, its CSS class, and the number it sorts by ("" = none, last; None = sort by text)."""

    html: str
    css: str = ""
    sort: str | None = None


@dataclass(frozen=True)
class Head:
    """Heading of a column; ``text``: left-aligned; ``hint``: shown on hovering."""

    label: str
    text: bool = False
    hint: str = ""


@dataclass(frozen=True)
class PageRow:
    """Cells, the first being the row's name; ``tags``: what filters look at."""

    cells: Sequence[Cell]
    changed: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PageTable:
    """Headings and rows, all of one length."""

    heads: Sequence[Head]
    rows: Sequence[PageRow]


def word(value: object) -> Cell:
    """Return a left-aligned text cell; nothing shows as a dash."""
    return Cell("-" if value is None or value != value else str(value), "text")


def number(value: Any, pattern: str = "{:,.0f}") -> Cell:
    """Return a right-aligned number that sorts by value; nothing shows as a dash and sorts last."""
    if value is None or value != value:
        return Cell("-", sort="")
    return Cell(pattern.format(value), sort=f"{float(value):.12g}")


def change(value: float, base: float, pattern: str = "{:+.1%}") -> Cell:
    """Return the relative change from ``base``, coloured by whether less is better (it is, in all our columns)."""
    if not base:
        return Cell("new" if value else "-", sort="")
    share = value / base - 1
    css = "" if abs(share) < 5e-4 else "worse" if share > 0 else "better"
    if share >= 1:
        shown = f"{value / base:{',.0f' if share >= 99 else '.3g'}}x"
    else:
        shown = pattern.format(share) if share else "="
    return Cell(shown, css, f"{share:.6g}")


def plain(heads: Iterable[str], rows: Iterable[Sequence[object]], css: str = "text wrap") -> PageTable:
    """Return a table of text."""
    return PageTable(
        [Head(head, text=True) for head in heads],
        [PageRow([Cell(word(value).html, css) for value in row]) for row in rows],
    )
