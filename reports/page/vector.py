"""A figure as inline SVG that follows the page: its ink is the page's, light or dark, and its ids are its own."""

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

INKS = {style.DARK_TEXT: "currentColor", "#dddddd": "var(--line)", style.EDGE: "var(--paper)"}
"""Colours of the style sheet -> what the page puts there. Data keep their colours."""

_numbers = count(1)


def inline(draw: Callable[[Axes], object], label: str, height_inches: float = 3.1) -> str:
    """Draw on fresh axes and return an <svg> element; ``label``: what it shows, for those who cannot see it."""
    with style.sheet():
        figure = Figure(figsize=(WIDTH_INCHES, height_inches))
        draw(figure.subplots())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return _themed(text.getvalue(), label)


def _themed(svg: str, label: str) -> str:
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    for color, ink in INKS.items():
        body = body.replace(color, ink)
    prefix = f"f{next(_numbers)}-"
    body = re.sub(r'\bid="', f'id="{prefix}', body)
    body = re.sub(r'(xlink:href="|url\()#', rf"\1#{prefix}", body)
    box = re.search(r'viewBox="[^"]*"', body)
    assert box is not None
    head = f'<svg role="img" aria-label="{escape(label)}" {box[0]} xmlns="http://www.w3.org/2000/svg" '
    return head + 'xmlns:xlink="http://www.w3.org/1999/xlink">' + body[body.index(">") + 1 :].strip()
