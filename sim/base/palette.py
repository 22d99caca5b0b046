"""One colour per cause, in every picture, page and table of Carat, and the bar that shows them in HTML."""

from collections.abc import Mapping

CAUSE_COLORS: dict[str, str] = {
    "compute": "#0072B2",
    "bank_conflict": "#D55E00",
    "load_wait": "#E69F00",
    "store_wait": "#F0E442",
    "normalize": "#CC79A7",
    "dependency": "#56B4E9",
    "queue_full": "#009E73",
    "fill_drain": "#C4C4C4",
    "issue": "#3C3C3C",
    "cpu_issue": "#9922FF",
    "call": "#BBFFAA",
    "vector": "#9678FF",
    "host": "#6B3A1B",
}
"""Okabe and Ito's colour-blind safe palette, two greys, a brown, two violets and a light green.

A test checks that every pair differs for three kinds of colour blindness."""


def bar(causes: Mapping[str, int]) -> str:
    """Return cycles by cause as one bar of coloured parts in HTML, each with its share on hovering."""
    total = sum(causes.values()) or 1
    look = "display:block;height:100%;print-color-adjust:exact;-webkit-print-color-adjust:exact"
    parts = [
        f'<i style="{look};width:{100 * causes[cause] / total:.2f}%;background:{color}" '
        f'title="{cause} {causes[cause] / total:.1%}"></i>'
        for cause, color in CAUSE_COLORS.items()
        if causes.get(cause)
    ]
    return f'<span style="display:inline-flex;width:9rem;height:0.75rem;vertical-align:middle">{"".join(parts)}</span>'


def legend(causes: Mapping[str, int]) -> str:
    """Return the key of a `bar` in HTML: the causes that have cycles, with their colours and shares."""
    total = sum(causes.values()) or 1
    return " ".join(
        f'<span style="white-space:nowrap"><span style="color:{color}">&#9632;</span> '
        f"{cause.replace('_', ' ')} {causes[cause] / total:.1%}</span>"
        for cause, color in CAUSE_COLORS.items()
        if causes.get(cause)
    )
