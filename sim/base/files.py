"""Files that are written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` beside ``path`` and rename it into place, so that readers find the old or the new file whole.

    Raises InputError when the folder cannot be written or the disk is full; an older file stays as it was.
    """
    _replace(path, ".partial", lambda partial: partial.write_text(text, encoding="utf-8", newline=""))


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays to an .npz file as `write_whole` writes text."""
    import numpy as np  # numpy: most users of this file write text

    # numpy appends .npz to a name that ends otherwise
    _replace(path, ".partial.npz", lambda partial: np.savez(partial, allow_pickle=False, **arrays))


def _replace(path: Path, ending: str, write: Callable[[Path], object]) -> None:
    partial = path.with_name(f".{path.name}{ending}")
    try:
        write(partial)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error
