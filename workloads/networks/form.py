"""What builders of networks take: the sizes that encoders share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sim.graph import Graph

Builder = Callable[..., Graph]


@dataclass(frozen=True)
class EncoderSizes:
    """Sizes that the builder of an encoder takes."""

    phase: str = "encode"
    seq: int = 128
    batch: int = 1
    layers: int | None = None
    embeddings: bool = False
    dtype: str = "int8"
