"""Latencies of a decoder's operators as tables for LLMServingSim 2.0 (its docs, Profiler: Output bundle).

That simulator batches, places and overlaps requests; it reads the time of one operator of one layer from CSV files, in
microseconds, and interpolates. Each number here is a sum of rows of runs of one layer:

- dense: operators that depend on the number of tokens alone, at doubling numbers of them; the sum in front of a norm is
  counted to the norm, the activation and the gate's product are one.
- per sequence: the scores of all words, and the choice of the largest.
- attention: scores, softmax and context of a chunk of a prompt behind cached tokens, and of decode steps. The array
  runs one program after the other, so a mixed batch takes the sum, and n equal decode steps n times one.
- mixture of experts: router, touched experts and the sum of their shares, tokens spread evenly over the experts.

Sequences of different lengths in one batch need no special case: the sum is exact, so no skew table is written.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError, did_you_mean
from sim.run.pipeline import run
from sim.run.request import Request, Resolver
from sim.timing.disk import default_timings
from sim.timing.memo import Memo
from workloads.networks.decoders import DECODERS

if TYPE_CHECKING:
    from workloads.networks.config import Config

Row = tuple[Any, ...]

LAYERS: dict[str, tuple[str, ...]] = {
    "embedding": ("embed_word",),
    "layernorm": ("norm1", "residual_add1"),
    "qkv_proj": ("matmul_Q", "matmul_K", "matmul_V"),
    "qk_norm": ("norm_Q", "norm_K"),
    "rotary_emb": ("rope_Q", "rope_K"),
    "o_proj": ("W_out",),
    "gate_up_proj": ("FF_gate", "FF_up"),
    "act_fn": ("silu", "gelu", "multiply"),
    "down_proj": ("FF_down",),
    "final_layernorm": ("last_norm",),
}
"""LLMServingSim's names of dense layers -> our names of their operators."""

ATTENTION = ("scores", "softmax", "context")
HEADERS = {
    "dense": ("layer", "tokens", "time_us"),
    "per_sequence": ("layer", "sequences", "time_us"),
    "attention": ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"),
    "moe": ("tokens", "activated_experts", "time_us"),
}
LEAST = 16
"""Smallest chunk of a prompt and smallest cache in the grid, as in the profiles that LLMServingSim ships."""


@dataclass(frozen=True)
class Bounds:
    """Ends of the grids: ``tokens`` of a batch, ``sequences`` of it, cached tokens (``kv``)."""

    tokens: int = 512
    sequences: int = 16
    kv: int = 2048

    def problems(self) -> list[str]:
        """Return the problems of the bounds."""
        least, most = {"tokens": LEAST, "sequences": 1, "kv": LEAST}, 1 << 17
        return [
            f"{name} is {value!r}, must be a whole number from {least[name]} to {most}"
            for name, value in vars(self).items()
            if isinstance(value, bool) or not isinstance(value, int) or not least[name] <= value <= most
        ]


def doubling(first: int, last: int) -> list[int]:
    """Return first, twice it, four times it ..., and the last."""
    found = []
    while first < last:
        found.append(first)
        first *= 2
    return [*found, last]


@dataclass(frozen=True)
class Bundle:
    """The tables by name (`HEADERS`), and the content of meta.yaml."""

    tables: Mapping[str, tuple[Row, ...]]
    meta: Mapping[str, Any]

    def write(self, folder: Path) -> Path:
        """Write <folder>/<hardware>/<model>/<variant>; return that folder. Raises InputError if it exists."""
        meta = self.meta
        target = folder / str(meta["hardware"]) / str(meta["model"]) / str(meta["variant"])
        if target.exists():
            raise InputError(f"{target} exists (nearest: another folder, or another variant)")
        tables = target / "tp1"
        tables.mkdir(parents=True)
        for name, rows in self.tables.items():
            with (tables / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(HEADERS[name])
                writer.writerows(rows)
        (target / "meta.yaml").write_text("\n".join([*_yaml(meta), ""]), encoding="utf-8")
        return target


def _yaml(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield f"{indent}{key}:"
            yield from _yaml(value, f"{indent}  ")
        else:
            yield f"{indent}{key}: {value if isinstance(value, int | list) else repr(str(value))}"


def bundle(request: Request, bounds: Bounds, *, model: str = "", variant: str = "", cache: bool = True) -> Bundle:
    """Return the bundle of a gated decoder by name. Raises InputError.

    ``model``: its name in the bundle, "" = the workload's; ``variant``: name of the types, "" = the array's input type.
    """
    name = str(request.graph)
    served = [known for known, config in DECODERS.items() if config.gated and config.norms_at == "before"]
    if not isinstance(request.graph, str) or name not in served:
        raise InputError(
            f"{name}: LLMServingSim supports only gated decoders with two norms a layer, each before its branch"
            f"{did_you_mean(name, served)}; available: {', '.join(served)}"
        )
    problems = bounds.problems()
    problems += [
        f"{what} is {text!r}, must be a name such as org/name (letters, digits, - _ . and /)"
        for what, text in (("model", model), ("variant", variant))
        if text and (".." in text or not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", text))
    ]
    problems += [f"size {size}: the bundle chooses the sizes itself (leave it out)" for size, _ in request.sizes]
    if problems:
        raise InputError(problems)
    timed = _Timed(request, DECODERS[name], Memo(default_timings() if cache else None))
    hw = timed.resolver.machine(request)
    tables = {
        "dense": tuple(timed.dense(doubling(1, bounds.tokens))),
        "per_sequence": tuple(timed.per_sequence(doubling(1, bounds.sequences))),
        "attention": tuple(timed.attention(bounds)),
    }
    if timed.config.experts:
        tables["moe"] = tuple(timed.experts(doubling(1, bounds.tokens)))
    meta = {
        "profiler_version": "carat-1",
        "vllm_version": "n/a",
        "gpu": "n/a",
        "hardware": hw.name,
        "variant": variant or str(hw.array.input_type),
        "model": model or name,
        "tp_degrees": [1],
        "profiled_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "engine_effective": {"max_num_batched_tokens": bounds.tokens, "max_num_seqs": bounds.sequences},
    }
    return Bundle(tables, meta)


@dataclass
class _Timed:
    """Runs of one layer, each made once. Times are microseconds."""

    request: Request
    config: Config
    memo: Memo

    def __post_init__(self) -> None:
        self.resolver = Resolver()
        self._known: dict[tuple[tuple[str, Any], ...], dict[str, float]] = {}

    def times(self, **sizes: Any) -> dict[str, float]:
        """Return the time of each operator of the last layer or outside layers, named without the layer."""
        key = tuple(sorted(sizes.items()))
        if key not in self._known:
            self._known[key] = self._times(replace(self.request, sizes=tuple(sizes.items())))
        return self._known[key]

    def _times(self, request: Request) -> dict[str, float]:
        result = run(self.resolver.case(request), self.memo)
        found: dict[str, float] = {}
        layers = [row["layer"] for row in result.rows if row["layer"] is not None]
        for row in result.rows:
            if row["layer"] not in (None, max(layers, default=None)):
                continue
            name = row["op"].removeprefix(f"L{row['layer']}.")
            found[name] = found.get(name, 0.0) + row["cycles"] / result.hardware.clock_mhz
        return found

    def dense(self, tokens: Iterable[int]) -> Iterator[Row]:
        """Yield the dense layers at each number of tokens, layer by layer."""
        tokens = list(tokens)
        runs = {count: self.times(phase="prefill", seq=count, embeddings=True, layers=self._layers) for count in tokens}
        for layer, names in LAYERS.items():
            part = [sum(_of(runs[count], names)) for count in tokens]
            if any(part):
                yield from ((layer, count, _us(time)) for count, time in zip(tokens, part, strict=True))

    @property
    def _layers(self) -> int:
        """Return the number of layers: one, or two if the first has no experts."""
        return 2 if self.config.first_ffn else 1

    def per_sequence(self, sequences: Iterable[int]) -> Iterator[Row]:
        """Yield the scores of all words and the choice of the largest for each number of sequences, in a decode step.

        Alone they would begin in other halves of the memories, with other bank conflicts.
        """
        runs = {count: self.times(phase="decode", kv=LEAST, batch=count, layers=self._layers) for count in sequences}
        for layer, name in (("lm_head", "head"), ("sampler", "argmax")):
            yield from ((layer, count, _us(sum(_of(times, (name,))))) for count, times in runs.items())

    def attention(self, bounds: Bounds) -> Iterator[Row]:
        """Yield the grid of chunks after cached tokens and of decode steps, without the empty point."""
        caches = doubling(LEAST, bounds.kv)
        chunks = [(0, 0), *((chunk, kv) for chunk in doubling(LEAST, bounds.tokens) for kv in (0, *caches))]
        steps = [(0, 0), *((count, kv) for count in doubling(1, bounds.sequences) for kv in caches)]
        for chunk, before in chunks:
            own = self._attended(phase="prefill", seq=chunk, kv=before) if chunk else 0.0
            for count, kv in steps:
                if chunk or count:
                    step = count * self._attended(phase="decode", kv=kv, head=False) if count else 0.0
                    yield chunk, before, count, kv, _us(own + step)

    def _attended(self, **sizes: Any) -> float:
        return sum(_of(self.times(**sizes, layers=1), ATTENTION))

    def experts(self, tokens: Iterable[int]) -> Iterator[Row]:
        """Yield a layer's experts at each number of tokens and of experts with tokens."""
        config = self.config
        for count in tokens:
            picks = count * config.per_token
            for touched in doubling(config.per_token, min(config.experts, picks)):
                share, more = divmod(picks, touched)
                given = [share + (one < more) for one in range(touched)] + [0] * (config.experts - touched)
                times = self.times(phase="prefill", seq=count, layers=self._layers, routing="+".join(map(str, given)))
                ours = {name: time for name, time in times.items() if name.startswith(("router", "shared", "E"))}
                yield count, touched, _us(sum(ours.values()))


def _of(times: Mapping[str, float], names: tuple[str, ...]) -> list[float]:
    """Return the times of operators by name, their conversions and their parts (``scores.g0``) included."""
    return [time for name, time in times.items() if name.split(".")[0] in names]


def _us(time: float) -> float:
    return round(time, 4)
