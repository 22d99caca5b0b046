"""Generation of text: a prefill of the prompt, then one decode step per token: graphs that differ in length only.

Each step is a graph of its own on an idle machine; they share the KV cache. Programs that occur in several
steps (all products with weights) are simulated once; only products with other lengths are simulated anew.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError, did_you_mean
from sim.run.pipeline import run
from sim.run.progress import Progress
from sim.run.request import Request, Resolver
from sim.timing.disk import default_timings
from sim.timing.memo import Memo
from workloads import NETWORKS, WORKLOADS
from workloads.networks.decoders import DECODERS

if TYPE_CHECKING:
    import pandas as pd

    from sim.hardware import Hardware
    from sim.run.result import Result


MAX_TOKENS = 100_000

OBJECTS_OF_A_STEP = 100_000
"""Objects after which the cycle collector looks for rings while a step is made; a large model's step has as many."""

TOKEN_COLUMNS: dict[str, str] = {
    "token": "number of the token that the step gives, from 1",
    "kv": "tokens whose keys are cached before the step",
    "cycles": "accelerator cycles of the step",
    "time_s": "seconds of the step",
    "dram_read_bytes": "bytes that the step reads from memory by DMA",
    "dram_write_bytes": "bytes that the step writes to memory by DMA",
    "energy_pj": "energy of the step in pJ",
    "host_cycles": "cycles of the step in which the host CPU runs an operator",
}
"""Columns of `Generation.series`."""


@dataclass(frozen=True)
class Generation:
    """Result of `generate`. ``prefill``: the run that gives the first token; ``decodes``: one run per further token."""

    prefill: Result
    decodes: tuple[Result, ...]
    batch: int

    @property
    def steps(self) -> tuple[Result, ...]:
        """All runs in order."""
        return (self.prefill, *self.decodes)

    @cached_property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """One row a token: `TOKEN_COLUMNS`."""
        prompt = int(dict(self.prefill.case.request.sizes)["seq"])
        found = []
        for number, result in enumerate(self.steps):
            kept = 0 if not number else prompt + number - 1
            totals = {name: result.totals[name] for name in TOKEN_COLUMNS if name not in ("token", "kv")}
            found.append({"token": number + 1, "kv": kept, **totals})
        return tuple(found)

    @property
    def series(self) -> pd.DataFrame:
        """The rows as a table, for a plot over tokens."""
        import pandas as pd  # heavy: only for the table

        return pd.DataFrame.from_records(self.rows, columns=list(TOKEN_COLUMNS))

    @cached_property
    def totals(self) -> dict[str, Any]:
        """The whole generation as plain numbers.

        ``ttft_s``: seconds to the first token; ``tpot_s``: mean seconds per further token, None without any;
        ``tokens_per_s``: tokens of all sequences per second; ``cycles``, ``energy_pj`` and bytes: sums.
        """
        summed = {name: sum(row[name] for row in self.rows) for name in TOKEN_COLUMNS if name not in ("token", "kv")}
        later = [row["time_s"] for row in self.rows[1:]]
        return {
            "hardware": self.prefill.hardware.name,
            "workload": self.prefill.graph.name,
            "prompt": dict(self.prefill.case.request.sizes)["seq"],
            "tokens": len(self.rows),
            "batch": self.batch,
            "ttft_s": self.rows[0]["time_s"],
            "tpot_s": sum(later) / len(later) if later else None,
            "tokens_per_s": self.batch * len(self.rows) / summed["time_s"],
            **summed,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return totals and rows as plain data."""
        return {"totals": self.totals, "tokens": list(self.rows)}

    def __repr__(self) -> str:
        total = self.totals
        per_token = f"{total['tpot_s'] * 1e3:,.3f} ms a token" if total["tpot_s"] is not None else "one token"
        return (
            f"Generation({total['workload']} on {total['hardware']}: {total['prompt']} + {total['tokens']} tokens, "
            f"first after {total['ttft_s'] * 1e3:,.3f} ms, {per_token}, {total['tokens_per_s']:,.1f} tokens/s)"
        )


def generate(
    workload: str | Path,
    machine: Hardware | str | Path | Mapping[str, Any],
    *,
    seq: int = 128,
    tokens: int = 32,
    progress: Progress | None = None,
    memo: Memo | None = None,
    cache: bool = True,
    **requested: Any,
) -> Generation:
    """Run a decoder over a prompt of ``seq`` tokens and generate ``tokens``.

    ``workload``: a decoder's name or its config.json; further arguments as for `sim.simulate` (``batch``, ``layers``,
    ``sparsity``, ``overrides`` ...). The prefill gives the first token. Raises InputError and Hang as `sim.simulate`.
    """
    return generation(Request.of(workload, machine, {"seq": seq, **requested}), tokens, progress, memo, cache=cache)


def _has_positions(request: Request, length: int) -> bool:
    """Return whether look-ups are part of a generation: not beyond a learned position table.

    A remark then names the table.
    """
    config = DECODERS.get(str(request.graph))
    return config is None or not config.positions or length <= config.most_positions


@contextmanager
def _kept_apart() -> Iterator[Callable[[], None]]:
    """Yield a function that excludes the objects of finished steps from garbage collection; undone at the end.

    A run of 128 steps holds a million of them, all in use; walking them again and again is a seventh of its time, and
    walking those of the step under way at the usual thresholds another seventh.
    """
    before = gc.get_threshold()
    gc.set_threshold(OBJECTS_OF_A_STEP, *before[1:])
    try:
        yield gc.freeze
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def generation(
    request: Request, tokens: int, progress: Progress | None = None, memo: Memo | None = None, *, cache: bool = True
) -> Generation:
    """Run a generation; the sizes of the request are those of the prefill."""
    sizes = {"seq": 128, **dict(request.sizes)}
    sizes.pop("phase", None)
    problems = [
        f"tokens is {tokens!r}, must be a whole number from 1 to {MAX_TOKENS}"
        for bad in [isinstance(tokens, bool) or not isinstance(tokens, int) or not 1 <= tokens <= MAX_TOKENS]
        if bad
    ]
    if not isinstance(request.graph, str):
        problems.append("a Graph has one length: generate takes a decoder's name or a config.json")
    elif request.graph in {**WORKLOADS, **NETWORKS} and request.graph not in DECODERS:
        problems.append(f"{request.graph} cannot generate: it is no decoder{did_you_mean(request.graph, DECODERS)}")
    if sizes.pop("kv", 0):
        problems.append("generate begins with an empty cache: no kv (nearest: kv=0)")
    if problems:
        raise InputError(problems)
    shared = memo if memo is not None else Memo(default_timings() if cache else None)
    prompt = int(sizes["seq"])
    ends = {"head": True, "embeddings": _has_positions(request, prompt + tokens), **sizes}
    wanted = [{**ends, "phase": "prefill"}]
    wanted += [{**ends, "phase": "decode", "seq": 1, "kv": prompt + number} for number in range(tokens - 1)]
    # The last and longest step is resolved first, so that a refusal comes before the simulation.
    resolver = Resolver()
    longest = resolver.case(replace(request, sizes=tuple(wanted[-1].items())))
    results = []
    with _kept_apart() as keep:
        for number, one in enumerate(wanted):
            if progress is not None:
                progress(number, tokens, f"token {number + 1}")
            case = longest if one is wanted[-1] else resolver.case(replace(request, sizes=tuple(one.items())))
            results.append(run(case, shared))
            keep()
    if progress is not None:
        progress(tokens, tokens, "")
    return Generation(results[0], tuple(results[1:]), int(sizes.get("batch", 1)))
