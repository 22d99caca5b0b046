"""The encoder layer with free sizes (its operators.

`sim.graph.encoder`), and the record of a builder's sizes in its graph.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from sim.base.errors import InputError, did_you_mean
from sim.graph import ACCUMULATOR, Graph, View
from sim.graph.encoder import Builder

P = ParamSpec("P")
S = TypeVar("S")


def states_sizes(build: Callable[P, Graph], signature: inspect.Signature | None = None) -> Callable[P, Graph]:
    """Make the graphs of a builder record its sizes: numbers and enabled switches, including defaults, and other words.

    Words (a phase, lengths) are recorded if they differ from the default; the element type is in the graph already.

    ``signature``: the sizes of a builder that takes them all by name; None = those of its own parameters.
    """
    sizes_of = signature or inspect.signature(build)

    @functools.wraps(build)
    def built(*args: P.args, **sizes: P.kwargs) -> Graph:
        given = sizes_of.bind(*args, **sizes)
        given.apply_defaults()
        graph = build(**given.arguments) if signature else build(*args, **sizes)  # type: ignore[call-arg]
        stated = {}
        for name, value in given.arguments.items():
            word = isinstance(value, str) and name != "dtype" and value != sizes_of.parameters[name].default
            if word or (isinstance(value, int) and value is not False):
                stated[name] = value
        return graph.sized(stated)

    if signature is not None:
        built.__signature__ = signature  # type: ignore[attr-defined]
    return built


def takes(sizes: type[S]) -> Callable[[Callable[[S], Graph]], Callable[..., Graph]]:
    """Let a builder that takes a dataclass of sizes take one keyword argument per field instead; see `states_sizes`."""

    def decorate(build: Callable[[S], Graph]) -> Callable[..., Graph]:
        def built(**given: object) -> Graph:
            return build(sizes(**given))

        built.__name__, built.__qualname__, built.__doc__ = build.__name__, build.__qualname__, build.__doc__
        taken = inspect.signature(sizes, eval_str=True)
        built.__signature__ = taken.replace(return_annotation=Graph)  # type: ignore[attr-defined]
        return states_sizes(built)

    return decorate


MAX_SIZE = 1 << 32
"""Largest value of a size; one tensor may have fewer elements than this."""


def check_sizes(what: str, sizes: Mapping[str, object], dtype: str, most: float = MAX_SIZE) -> None:
    """Raise InputError listing sizes that are not whole numbers from 1 to ``most``, and an unknown element type."""
    problems = [
        f"{what}: {name} is {value!r}, must be a whole number >= 1{nearest_whole(value)}"
        for name, value in sizes.items()
        if isinstance(value, bool) or not isinstance(value, int) or value < 1
    ]
    problems += [
        f"{what}: {name} is {value:,}, must be at most {most:,} (nearest: {most})"
        for name, value in sizes.items()
        if isinstance(value, int) and value > most
    ]
    if dtype not in ACCUMULATOR:
        problems.append(f"{what}: unknown dtype {dtype!r}{did_you_mean(str(dtype), ACCUMULATOR)}")
    if problems:
        raise InputError(problems)


def nearest_whole(value: object, least: int = 1) -> str:
    """Return " (nearest: N)" for a number that is not whole or too small; "" for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return ""
    return f" (nearest: {min(max(least, round(value)), MAX_SIZE)})"


def head_size(what: str, hidden: int, heads: int) -> int:
    """Return hidden / heads. Raises InputError with the nearest number of heads if it is not whole."""
    if hidden % heads:
        nearest = min(divisors(hidden), key=lambda n: abs(n - heads))
        way_out = f"nearest: heads={nearest}; or set head_dim"
        raise InputError(f"{what}: hidden {hidden} is not a multiple of heads {heads} ({way_out})")
    return hidden // heads


def divisors(number: int) -> list[int]:
    """Return what divides a number, 1 and itself included."""
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return [*small, *(number // n for n in small)]


@states_sizes
def encoder_layer(
    seq: int = 128,
    batch: int = 1,
    hidden: int = 768,
    heads: int = 12,
    ffn: int = 3072,
    layers: int = 1,
    head_dim: int | None = None,
    dtype: str = "int8",
) -> Graph:
    """Return ``layers`` encoder layers of free sizes (elements), by default one layer of BERT-base.

    ``head_dim`` defaults to hidden / heads. ``dtype`` is the element type: int8 (int32 sums) or a float type.
    Raises InputError for illegal sizes.
    """
    what = "encoder-layer"
    sizes = {"seq": seq, "batch": batch, "hidden": hidden, "heads": heads, "ffn": ffn, "layers": layers}
    check_sizes(what, sizes if head_dim is None else sizes | {"head_dim": head_dim}, dtype)
    builder = Builder(dtype)
    data = builder.tensor("input", (batch * seq, hidden), kind="input")
    size = head_size(what, hidden, heads) if head_dim is None else head_dim
    for index in range(layers):
        data = builder.layer(index, data, seq, batch, heads, size, ffn)
    return Graph(what, {tensor.name: tensor for tensor in builder.tensors}, tuple(builder.ops))


@dataclass(frozen=True)
class LayerSizes:
    """Sizes of one encoder layer: heads, neurons of the feed-forward network, tokens."""

    heads: int
    ffn: int
    tokens: int


def encoder_stack(layers: Sequence[LayerSizes], hidden: int, head_dim: int = 64, dtype: str = "int8") -> Graph:
    """Return encoder layers of different sizes; a layer with fewer tokens drops the last ones of the previous layer.

    Raises InputError for illegal sizes, and for a layer with more tokens than the previous one.
    """
    what = "encoder-stack"
    sizes: dict[str, object] = {"hidden": hidden, "head_dim": head_dim, "layers": len(layers)}
    for index, one in enumerate(layers):
        sizes |= {f"L{index}.{name}": value for name, value in vars(one).items()}
    check_sizes(what, sizes, dtype)
    builder = Builder(dtype)
    data = builder.tensor("input", (layers[0].tokens, hidden), kind="input")
    for index, one in enumerate(layers):
        if one.tokens > (before := data.shape[0]):
            raise InputError(f"{what}: L{index}.tokens {one.tokens} must be <= {before}, those of the previous layer")
        if one.tokens < before:
            kept = builder.tensor(f"L{index}.kept", (one.tokens, hidden))
            rows = View(data.name, 1, one.tokens, hidden, hidden, before * hidden)
            builder.op(f"L{index}.drop_tokens", "copy", [rows], View.whole(kept), index)
            data = kept
        data = builder.layer(index, data, one.tokens, 1, one.heads, head_dim, one.ffn)
    return Graph(what, {tensor.name: tensor for tensor in builder.tensors}, tuple(builder.ops))
