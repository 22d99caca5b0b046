"""Trained encoders from a folder on disk: weights, tokenizer, and their layer graph for functional runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from workloads.checkpoint.model import CONFIG_KEYS, Checkpoint, load

__all__ = ["CONFIG_KEYS", "Checkpoint", "load", "matrices"]

TABLES = ("word", "position", "token_type")
"""Names of a checkpoint's embedding tables; the graph's tensors end in _table (`workloads.bert`)."""


def matrices(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Return a checkpoint's weights by the names of the graph's tensors. Raises InputError."""
    found = load(folder).weights
    return {**found, **{f"{name}_table": found[name] for name in TABLES if name in found}}
