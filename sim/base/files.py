"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from sim.base.errors import InputError


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` beside ``path`` and rename it into place, so that readers find the old or the new file whole.

    Raises InputError when the folder cannot be written or the disk is full; an older file stays as it was.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error
