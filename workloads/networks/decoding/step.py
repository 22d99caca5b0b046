"""One step of a decoder: number of new tokens and of cached tokens."""

from __future__ import annotations

from dataclasses import dataclass

from workloads.encoder import nearest_whole
from workloads.networks.config import Config
from workloads.networks.experts import routing_problems

PHASES = ("prefill", "decode")


@dataclass(frozen=True)
class TokenStep:
    """One graph's work: ``new`` tokens of each of ``batch`` sequences that have ``past`` keys each.

    ``encodes``: nothing is cached, and each token sees all others, or (``causal``) those before it. ``seed``: of the
    tokens' experts, or ``routing``: tokens of each expert. ``lengths``: number of keys of each sequence if they differ;
    ``past`` is then the largest.
    """

    new: int
    past: int = 0
    batch: int = 1
    seed: int = 0
    lengths: tuple[int, ...] = ()
    routing: tuple[int, ...] = ()
    encodes: bool = False
    causal: bool = True

    def keys(self, config: Config) -> int:
        """Return the keys that the last token sees, of the longest sequence; all of an encoder's."""
        if self.encodes:
            return self.new
        return min(self.past + self.new, config.window) if config.window else self.past + self.new


MAX_KEYS = 1 << 22
"""Keys of one sequence: four times the longest published context."""

MAX_ROUTED = 1 << 18
"""Limit of the tokens of all sequences for which experts are drawn (layer by layer, one token at a time)."""


def problems_of(name: str, config: Config, step: TokenStep, embeddings: bool) -> list[str]:
    """Return the problems of a step of a decoder, none if it is legal."""
    if isinstance(step.past, bool) or not isinstance(step.past, int) or step.past < 0:
        return [f"{name}: kv is {step.past!r}, must be a whole number >= 0{nearest_whole(step.past, 0)}"]
    problems = []
    most = config.most_positions if embeddings and config.positions else MAX_KEYS
    if step.past + step.new > most:
        what = f"seq {step.new} behind kv {step.past}" if step.past else f"seq {step.new}"
        nearest = f"kv={most - step.new}" if step.past and step.new <= most else f"seq={most}"
        limit = f"the position table of {most} tokens" if most < MAX_KEYS else f"the limit of {most:,} keys"
        problems.append(f"{name}: {what} is beyond {limit} (nearest: {nearest})")
    if step.lengths and step.new != 1:
        problems.append(f"{name}: sequences of different lengths take one new token each, not {step.new} (seq=1)")
    problems += routing_problems(name, config, step.routing, step.batch * step.new)
    if config.experts and step.batch * step.new > MAX_ROUTED:
        problems.append(
            f"{name}: {step.batch} x {step.new} tokens: experts are drawn for at most {MAX_ROUTED:,} (nearest: "
            f"{f'seq={MAX_ROUTED // step.batch}' if step.batch <= MAX_ROUTED else f'batch={MAX_ROUTED}'})"
        )
    if config.window and step.new > config.window and step.past:
        problems.append(f"{name}: {step.new} tokens exceed the window of {config.window} (nearest: {config.window})")
    return problems
