"""Findings as Markdown, and as plain data for JSON files and pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sim.studies.exhibit import Exhibit, Finding

HEADINGS = {
    "kim2023": "Kim et al., Full Stack Optimization of Transformer Inference (arXiv 2302.14017)",
    "gemmini": "Gemmini (arXiv 1911.09925) and its repository",
    "survey": "Techniques of Chitty-Venkata et al. (arXiv 2307.07982)",
}

RULES = {
    "printed": "agrees: equal in every printed digit",
    "within": "agrees: within {0:.0%} of the published value",
    "between": "agrees: between {0:g} and {1:g}",
    "sign": "agrees: the published sign; the sizes stand side by side",
    "none": "not judged: the published value has another baseline",
}

VERDICTS = {True: "agrees", False: "differs", None: ""}


def digits(value: float | None, printed: str = "") -> str:
    """Return a simulated value as text, `-` if there is none.

    With the decimals of a printed number, else four digits.
    """
    if value is None:
        return "-"
    decimals = re.fullmatch(r"\d+\.(\d+)", printed)
    if decimals:
        return f"{value:.{len(decimals[1])}f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def cells(finding: Finding) -> tuple[str, ...]:
    """Return a row of a table: name, printed value, each simulated value with its verdict."""
    simulated = (
        " ".join(filter(None, (digits(value, finding.printed), VERDICTS[verdict])))
        for value, verdict in zip(finding.simulated, finding.agrees, strict=True)
    )
    return finding.row, finding.printed, *simulated


def headings(exhibit: Exhibit) -> tuple[str, ...]:
    """Return the columns of an exhibit's table; fitted values are marked."""
    fitted = (f"{column} (fitted)" if column in exhibit.fitted else column for column in exhibit.columns)
    return exhibit.name, "published", *fitted


def reasons(findings: Sequence[Finding]) -> list[str]:
    """Return each reason once, with its rows if there are several reasons."""
    by_reason: dict[str, list[str]] = {}
    for finding in findings:
        if finding.reason:
            by_reason.setdefault(finding.reason, []).append(finding.row)
    if len(by_reason) == 1 and not any(all(f.agrees) and f.agrees for f in findings):
        return list(by_reason)
    return [f"{', '.join(rows) if len(rows) < 4 else 'rows that differ'}: {why}" for why, rows in by_reason.items()]


def rule(exhibit: Exhibit) -> str:
    """Return the exhibit's rule of agreement as text."""
    return RULES[exhibit.agreement].format(*exhibit.limits)


def summary(findings: Sequence[Finding], column: int = 0) -> tuple[int, int]:
    """Return the numbers of rows that agree and that are judged, for one simulated column."""
    verdicts = [f.agrees[column] for f in findings if len(f.agrees) > column and f.agrees[column] is not None]
    return sum(map(bool, verdicts)), len(verdicts)


INTRODUCTION = """# Published figures, run again

`carat reproduce all --markdown` printed this page (`make reproduce`). Each value is simulated on the machine named
above its table and shown beside the published one. A column marked as fitted has a parameter taken from that figure:
its agreement proves nothing. If a value differs, or is not available, the reason is given below the table.
One figure alone: `carat reproduce kim2023 --figure 13`; pictures and JSON: `-o DIR`. Sources:
docs/reference/papers.md.
"""


def page(found: Mapping[str, Sequence[tuple[Exhibit, Sequence[Finding]]]]) -> str:
    """Return the findings of all studies as the page docs/REPRODUCTION.md."""
    return "\n".join([INTRODUCTION, *(markdown(*of) for of in found.items())])


def markdown(study: str, found: Sequence[tuple[Exhibit, Sequence[Finding]]]) -> str:
    """Return a study's findings as a page."""
    return "\n".join(_lines(study, found)) + "\n"


def _lines(study: str, found: Sequence[tuple[Exhibit, Sequence[Finding]]]) -> Iterator[str]:
    yield f"## {HEADINGS[study]}"
    for exhibit, findings in found:
        yield from ("", f"### {exhibit.name}: {exhibit.title}", "")
        yield f"Published: {exhibit.source}."
        if exhibit.columns:
            yield f"Here: {exhibit.machine}; {rule(exhibit)}."
        yield from ("", _row(headings(exhibit)), _row("---" for _ in headings(exhibit)))
        yield from (_row(cells(finding)) for finding in findings)
        why = reasons(findings)
        if why:
            yield ""
            yield from (f"- {reason}." for reason in why)


def _row(texts: Sequence[str] | Iterator[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def as_data(study: str, found: Sequence[tuple[Exhibit, Sequence[Finding]]]) -> dict[str, Any]:
    """Return a study's findings as plain data."""
    exhibits = [
        {
            "name": exhibit.name,
            "title": exhibit.title,
            "source": exhibit.source,
            "machine": exhibit.machine,
            "columns": list(exhibit.columns),
            "fitted": list(exhibit.fitted),
            "rule": rule(exhibit),
            "rows": [finding.to_dict() for finding in findings],
        }
        for exhibit, findings in found
    ]
    return {"study": study, "exhibits": exhibits}
