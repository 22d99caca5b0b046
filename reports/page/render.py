"""Templates to text. jinja2 is the extra ``html``; without it the page is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sim.base.errors import InputError
from sim.base.version import code_version

FOLDER = Path(__file__).parent


def page(template: str, **values: Any) -> str:
    """Return a self-contained page: style and script inside, nothing fetched. Raises InputError without jinja2."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise InputError("HTML pages need jinja2: pip install 'carat-sim[html]'") from error
    room = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css, js = (safe((FOLDER / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    return room.get_template(template).render(css=css, js=js, version=code_version(), **values)


def safe(markup: str) -> str:
    """Mark text of our own as markup, so that the template does not escape it."""
    try:
        from markupsafe import Markup
    except ImportError:  # comes with jinja2; `page` says what is missing
        return markup
    return Markup(markup)
