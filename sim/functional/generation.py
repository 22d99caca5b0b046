"""Tokens that a decoder chooses one after the other, each computed alone behind a cache of keys and values.

The prompt fills the cache; then every token is a graph of one row, whose keys and values go behind those of the tokens
before it. Graphs of all tokens have the same tensors in the same places of the machine's DRAM, so that weights and
caches stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.functional import host
from sim.functional.inference import Model, Numerics, planned, start, stored
from sim.run.progress import Progress, silent

if TYPE_CHECKING:
    from sim.functional.running import Run
    from sim.graph import Graph
    from sim.hardware import Hardware

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Generated:
    """Tokens that a decoder chose one after the other, each the most probable by the machine's logits.

    ``logits``: the machine's, [tokens, words]. ``float_choices``: the tokens that float chooses after the same tokens.
    ``prompt_cycles``: cycles of the prompt, which gives the first token; ``token_cycles``: of each further token.
    """

    tokens: tuple[int, ...]
    float_choices: tuple[int, ...]
    prompt_cycles: int
    token_cycles: tuple[int, ...]
    logits: Array

    @property
    def same(self) -> int:
        """Return how many choices are those of float."""
        return sum(one == two for one, two in zip(self.tokens, self.float_choices, strict=True))

    def report(self) -> dict[str, Any]:
        """Return the tokens as plain data."""
        return {
            "tokens": list(self.tokens),
            "float_choices": list(self.float_choices),
            "same": self.same,
            "prompt_cycles": self.prompt_cycles,
            "token_cycles": list(self.token_cycles),
        }

    def __str__(self) -> str:
        """Return one line."""
        told = ",".join(map(str, self.tokens))
        line = f"generated {told}: {self.same} of {len(self.tokens)} as float chooses behind the same tokens"
        if not self.token_cycles:
            return f"{line}; {self.prompt_cycles:,} cycles of the prompt"
        most, last = max(self.token_cycles), self.token_cycles[-1]
        each = f"{most:,} cycles at most for each further token behind its cache ({last:,} for the last)"
        return f"{line}; {self.prompt_cycles:,} cycles of the prompt, {each}"


@dataclass(frozen=True)
class Phases:
    """The graphs of a generation.

    ``whole``: graph of all tokens at once, from which the scales and the float reference come. ``prompt``: graph of the
    prompt, which fills the cache. ``token``: number of earlier tokens -> graph of one token. ``inputs``: tokens and the
    position of the first one -> arrays of the graph's inputs.
    """

    whole: Model
    prompt: Model
    token: Callable[[int], Model]
    inputs: Callable[[Sequence[int], int], dict[str, Array]]


def generate(
    phases: Phases,
    hw: Hardware,
    numerics: Numerics,
    prompt: Sequence[int],
    count: int,
    progress: Progress = silent,
) -> Generated:
    """Let a decoder choose ``count`` tokens behind ``prompt``."""
    numbers = start(phases.whole, hw, numerics)[0].numbers
    last = phases.whole.graph.ops[-1].output.tensor
    progress(0, count, "prompt")
    steps, rules, _ = planned(phases.prompt, hw, numerics)
    first = stored(phases.prompt, hw, numerics, numbers, rules)
    prompt_cycles = sum(first.run_step(step) for step in steps)
    logits = [first.real(last)[len(prompt) - 1].copy()]
    ids, cycles = [*prompt, int(logits[0].argmax())], []
    run: Run | None = None
    for number in range(1, count):
        progress(number, count, f"token {number + 1}")
        model = phases.token(len(ids) - 1)
        steps, rules, _ = planned(model, hw, numerics)
        if run is None:
            run = stored(model, hw, numerics, numbers, rules)
            _hand_over(first, run)
        run.follow(model.graph)
        run.take(phases.inputs(ids[-1:], len(ids) - 1))
        cycles.append(sum(run.run_step(step) for step in steps))
        logits.append(run.real(last)[0].copy())
        ids.append(int(logits[-1].argmax()))
    progress(count, count, "")
    whole = {**phases.whole.given, **phases.inputs(ids[:-1], 0)}
    wanted = host.forward(phases.whole.graph, whole, phases.whole.epsilon, phases.whole.head_dim)[last]
    choices = wanted[len(prompt) - 1 :].argmax(axis=1)
    return Generated(
        tuple(ids[len(prompt) :]), tuple(map(int, choices)), prompt_cycles, tuple(cycles), np.stack(logits)
    )


def caches(graph: Graph) -> list[str]:
    """Return the tensors of a graph that outlive it."""
    return [name for name, tensor in graph.tensors.items() if tensor.kind == "state"]


def _hand_over(source: Run, target: Run) -> None:
    """Put the caches that the prompt filled where the graphs of single tokens have them."""
    for name in caches(source.graph):
        target.machine.write(target.addresses[name], source.stored(name).reshape(1, -1), kind=target.kind(name))
