"""Make foreign text safe for screens and files: control characters escaped, formulas disarmed, length bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

MAX_CHARACTERS = 2000
"""Longest line of a message in characters: some quote a whole cell of an input file."""
MAX_NAME_BYTES = 255
"""Longest name of a tensor, an operator, a graph or a machine in bytes: the limit of file systems."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet read a cell of text as a formula (OWASP, CSV injection)."""


def printable(text: str, most: int = MAX_CHARACTERS) -> str:
    """Return ``text`` with unprintable characters other than line breaks escaped, and long lines shortened.

    Terminal sequences, text-direction marks and lone surrogates become backslash sequences.
    """
    return "\n".join(_safe(line, most) for line in text.split("\n"))


def one_line(text: str) -> str:
    """Return `printable` text in one line: line breaks are escaped, too."""
    return _safe(text, MAX_CHARACTERS)


def _safe(line: str, most: int) -> str:
    if len(line) > most:
        line = f"{line[:most]} ... ({len(line) - most:,} more characters)"
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def name_problem(name: object) -> str | None:
    """Return why ``name`` cannot name a tensor, operator, graph or machine; None if it can."""
    if not isinstance(name, str) or not name:
        return "must be text of at least one character"
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        return f"must be at most {MAX_NAME_BYTES} bytes long; it has {len(name.encode('utf-8', 'surrogatepass')):,}"
    return None if name.isprintable() else "must consist of printable characters"


def displayed(value: Any) -> Any:
    """Return plain data of a file with each text in it as `one_line`, for screens and pages."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, dict):
        return {displayed(key): displayed(one) for key, one in value.items()}
    return [displayed(one) for one in value] if isinstance(value, list) else value


def csv_of(table: pd.DataFrame) -> str:
    """Return a table as CSV; text that spreadsheets take for a formula gets an apostrophe (`from_csv` drops it)."""
    texts = {
        name: table[name].map(_guarded)
        for name in table.columns
        if not (table[name].dtype.kind in "biufc" or str(table[name].dtype) in ("Int64", "Float64", "boolean"))
    }
    return table.assign(**texts).to_csv(index=False, lineterminator="\n")


def _guarded(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip("'").startswith(FORMULA) else cell


def from_csv(cell: object) -> object:
    """Return a cell of text as it was before `csv_of`."""
    guarded = isinstance(cell, str) and cell.startswith("'") and cell.lstrip("'").startswith(FORMULA)
    return cell[1:] if guarded and isinstance(cell, str) else cell
