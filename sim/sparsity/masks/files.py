"""Arrays of a file (.npz, .npy, .safetensors, .onnx) by name: masks, weights, scores, columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.base import safetensors
from sim.base.errors import InputError, some
from sim.base.reading import read_arrays

Arrays = dict[str, npt.NDArray[Any]]

ANY = "*"
"""Name of the array of a .npy file."""


FOLDER = "/"
"""Key of the reader of folders in `READERS`."""

READERS: dict[str, Callable[[Path], Arrays]] = {".safetensors": safetensors.read}
"""Readers by suffix of a file. `workloads` adds those of networks: ONNX files, and folders of checkpoints."""


def read(path: Path) -> Arrays:
    """Return the arrays of a .npz, .npy, .safetensors or .onnx file, or of a checkpoint's folder. Raises InputError."""
    suffix = FOLDER if path.is_dir() else path.suffix
    if suffix in READERS:
        found = READERS[suffix](path)
    else:
        try:
            found = {name or ANY: array for name, array in read_arrays(path).items()}
        except InputError as error:
            kinds = [problem.replace("(.npz, .npy)", "(.npz, .npy, .safetensors, .onnx)") for problem in error.problems]
            raise InputError(kinds) from error
    numbers = "biuf"
    if wrong := [f"{path}: {n!r} holds {a.dtype}, no numbers" for n, a in found.items() if a.dtype.kind not in numbers]:
        raise InputError(some(wrong))
    if wrong := [f"{path}: {n!r} holds NaN or infinity" for n, a in found.items() if not np.isfinite(a).all()]:
        raise InputError(some(wrong))
    return found
