"""A figure as inline SVG in the page's ink, light or dark, with ids that no other figure of the page has."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape
from itertools import count

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import style

WIDTH_INCHES = 4.7
"""Drawn this wide, letters of 8 to 9 points can be read on a page of 400 pixels."""

INKS = {
    style.DARK_TEXT: "currentColor",
    "#dddddd": "var(--line)",
    style.EDGE: "var(--edge)",
    style.GROUND: "var(--paper)",
}
"""Colours of the style sheet -> the page's own. Marks keep their colours unless those are too dark for a dark page."""

_numbers = count(1)


def inline(draw: Callable[[Axes], object], label: str, height_inches: float = 3.1) -> str:
    """Draw on fresh axes and return an <svg> element; ``label``: the text that screen readers say for it."""
    with style.sheet():
        figure = Figure(figsize=(WIDTH_INCHES, height_inches))
        draw(figure.subplots())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return _themed(text.getvalue(), label)


def page_color(color: str) -> str:
    """Return the colour of a mark as a page writes it: a variable where a dark page lightens it."""
    return f"var(--mark-{color[1:].lower()})" if color in style.dark_page_colors() else color


def recolored(markup: str) -> str:
    """Return HTML or SVG with the colours of marks as the page writes them."""
    for color in style.dark_page_colors():
        markup = re.sub(color, page_color(color), markup, flags=re.I)
    return markup


def variables(dark: bool) -> str:
    """Return the style sheet's declarations of the colours that differ between a light and a dark page."""
    marks = {color: shown if dark else color for color, shown in style.dark_page_colors().items()}
    return " ".join(f"--mark-{color[1:].lower()}: {shown};" for color, shown in marks.items())


def _themed(svg: str, label: str) -> str:
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    for color, ink in INKS.items():
        body = body.replace(color, ink)
    body = recolored(body)
    prefix = f"f{next(_numbers)}-"
    body = re.sub(r'\bid="', f'id="{prefix}', body)
    body = re.sub(r'(xlink:href="|url\()#', rf"\1#{prefix}", body)
    box = re.search(r'viewBox="[^"]*"', body)
    assert box is not None
    head = f'<svg role="img" aria-label="{escape(label)}" {box[0]} xmlns="http://www.w3.org/2000/svg" '
    return head + 'xmlns:xlink="http://www.w3.org/1999/xlink">' + body[body.index(">") + 1 :].strip()
