"""Keys of a model type's configuration, their defaults, and the modelled values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sim.base.errors import InputError, did_you_mean
from sim.graph import Graph

ACTIVATIONS = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_fast": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu", "relu2": "relu2", "silu": "silu", "swish": "silu",
}  # fmt: skip

Sizes = Mapping[str, Any]
Builder = Callable[..., Graph]
Fixed = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class ModelType:
    """Reader of a model type's configuration.

    ``sizes``: key -> default, None if the key is required. ``make``: (name,
    sizes) -> builder. ``fixed``: key -> the modelled values. ``aliases``: another
    published name -> key.
    """

    sizes: Mapping[str, int | None]
    make: Callable[[str, Sizes], Builder]
    fixed: Fixed = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)


def activation(sizes: Sizes, key: str, default: str) -> Any:
    """Return the activation that a key names. Raises InputError for one not in `ACTIVATIONS`."""
    given = sizes.get(key, default)
    if not isinstance(given, str) or given not in ACTIVATIONS:
        raise InputError(f"{key} is {given!r}{did_you_mean(str(given), ACTIVATIONS)}")
    return ACTIVATIONS[given]
