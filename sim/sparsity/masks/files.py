"""Arrays of a file (.npz, .npy, .safetensors) by name: masks, weights, scores, columns."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError, some

ANY = "*"
"""Name of the array of a .npy file."""


def read(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a .npz, .npy or .safetensors file by name. Raises InputError."""
    if path.suffix == ".safetensors":
        from workloads import checkpoint_safetensors

        return checkpoint_safetensors.read(path)
    try:
        with path.open("rb") as file:  # numpy would leave a damaged one open
            stored = np.load(file)
            found = {ANY: stored} if isinstance(stored, np.ndarray) else {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        reason = getattr(error, "strerror", None) or (error if path.suffix in (".npz", ".npy") else "unknown format")
        raise InputError(f"{path}: cannot be read as arrays (.npz, .npy, .safetensors): {reason}") from error
    numbers = "biuf"
    if wrong := [f"{path}: {n!r} holds {a.dtype}, no numbers" for n, a in found.items() if a.dtype.kind not in numbers]:
        raise InputError(some(wrong))
    if wrong := [f"{path}: {n!r} holds NaN or infinity" for n, a in found.items() if not np.isfinite(a).all()]:
        raise InputError(some(wrong))
    return found
