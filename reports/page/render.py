"""Templates to text: one self-contained page from a jinja2 template, its style and its script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.page.vector import variables
from sim.base.version import code_version

FOLDER = Path(__file__).parent


def page(template: str, **values: Any) -> str:
    """Return a self-contained page: style and script inside, nothing fetched."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css, js = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    dark = f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {variables(dark=True)} }} }}"
    css, js = safe(f":root {{ {variables(dark=False)} }}\n{dark}\n{css}"), safe(js)
    return environment.get_template(template).render(css=css, js=js, version=code_version(), **values)


def safe(markup: str) -> str:
    """Mark text that Carat generated as markup, so that the template does not escape it."""
    return Markup(markup)
