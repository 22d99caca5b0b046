"""A torch module as a graph: exported to ONNX by torch itself, which needs onnxscript, and read by the importer."""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sim.base.errors import InputError
from sim.base.reading import MESSAGE_CHARACTERS
from sim.graph import Graph
from workloads.onnx import load
from workloads.onnx.reading import needed

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""Colours of a terminal in torch's messages."""


def from_torch(
    module: Any, example: Any, *, name: str = "", unknown: str = "refuse", dtype: str = "int8", **options: Any
) -> Graph:
    """Return the graph of ``module`` on ``example``, a tensor, a tuple of them or a dict by argument name.

    Shapes are those of the example. ``unknown``, ``dtype``: as for ONNX files (docs/ONNX.md); ``options`` go to
    `torch.onnx.export`, e.g. ``opset_version``. Raises InputError if torch is not installed, for an object that is not
    a module, and for a module that torch cannot export.
    """
    try:
        import torch  # an extra, and seconds: not for start-up
    except ImportError:
        raise InputError("from_torch needs torch, which is not installed: pip install torch onnxscript") from None
    needed()
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"from_torch: {type(module).__name__} is not a torch.nn.Module")
    called = {"kwargs": dict(example)} if isinstance(example, Mapping) else {"args": _tuple(example)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name or type(module).__name__}.onnx"
        try:
            with _quiet(), torch.no_grad():
                torch.onnx.export(
                    module.eval(), **{"args": (), **called}, f=path, dynamo=True, verbose=False, **options
                )
        except Exception as error:  # exporters raise exceptions of many classes
            why = " ".join(COLOURS.sub("", str(error)).split())[:MESSAGE_CHARACTERS]
            raise InputError(f"from_torch: torch cannot export {type(module).__name__}: {why}") from error
        return load(path, unknown=unknown, dtype=dtype)


def _tuple(example: Any) -> tuple[Any, ...]:
    return tuple(example) if isinstance(example, Sequence) else (example,)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's progress and its warnings about itself."""
    unread = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(unread), contextlib.redirect_stderr(unread):
        warnings.simplefilter("ignore")
        yield
