"""Arrays of a file (.npz, .npy, .safetensors, .onnx) by name: masks, weights, scores, columns."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.base import safetensors
from sim.base.errors import InputError, some
from sim.base.reading import read_arrays

ANY = "*"
"""Name of the array of a .npy file."""


def read(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a .npz, .npy, .safetensors or .onnx file by name. Raises InputError."""
    if path.suffix == ".safetensors":
        found = safetensors.read(path)
    elif path.suffix == ".onnx":
        found = import_module("workloads.onnx.weights").weights(path)  # few runs read an ONNX file
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
