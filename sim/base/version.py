"""The version of the code: release and a digest of every source that can change a result."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


@cache
def code_version() -> str:
    """Return ``release+digest``: the digest covers every source, energy and area table that can change a result."""
    from importlib import metadata  # it imports the standard library's mail parser: 20 ms of every start

    root = Path(__file__).parents[1]
    tables = [path for folder in ("energy", "area") for path in (root.parent / "hwconfigs" / folder).glob("*.toml")]
    sources = sorted([*root.rglob("*.py"), *tables])
    digest = hashlib.sha256()
    for source in sources:
        if not {"cli", "validate"} & set(source.parts):
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return f"{metadata.version('carat-sim')}+{digest.hexdigest()[:8]}"
