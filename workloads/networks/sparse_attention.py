"""Encoders whose tokens see a fixed choice of others: Longformer (Beltagy et al. 2020), BigBird (Zaheer et al. 2020).

Queries are processed in blocks; the keys of a block are runs of adjacent rows, each a product that reads them in place
and writes its columns of the block's scores. The context is the sum of one product per run. Longformer: a band of
``window`` tokens around each, the first ``global_tokens`` tokens see all tokens by separate projections, and are seen
by all. BigBird: blocks of ``block_size`` tokens see their neighbours, the first and the last block, which see all, and
``random_blocks`` more, drawn from ``seed``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from sim.base.errors import InputError
from sim.graph import Graph, Tensor, View
from sim.graph.encoder import Attention, Builder, Sequences
from sim.graph.limits import check_operators
from workloads.bert import BertSizes, encoder_model
from workloads.encoder import check_sizes

Run = tuple[int, int]
"""First row and number of adjacent keys."""


@dataclass(frozen=True)
class _Block:
    """Rows of one sequence and their queries, in one product. ``mask``: added to the scores of the last run."""

    given: Sequences
    item: int
    rows: Run
    name: str
    queries: View
    mask: View | None = None

    def attend(self, builder: Builder, context: Tensor, runs: list[Run]) -> None:
        """Add scores, softmax and context over ``runs`` of keys."""
        given, (first, count), end = self.given, self.rows, f"{self.name}{self.given.suffix(self.item)}"
        at, layer, heads = given.at, given.layer, given.heads
        width = sum(keys for _, keys in runs)
        scores = builder.tensor(f"{at}scores{end}", (heads, count, width))
        parts, place = [], 0
        for number, (start, keys) in enumerate(runs):
            tail = f"{end}.{number}" if len(runs) > 1 else end
            part = View(scores.name, heads, count, keys, width, count * width, place)
            views = [self.queries, given.rows_of(given.k, self.item, start, keys)]
            views += [self.mask] if self.mask is not None and number == len(runs) - 1 else []
            builder.op(f"{at}scores{tail}", "matmul", views, part, layer, transpose_b=True)
            parts.append((tail, start, keys, place))
            place += keys
        shares = builder.map(f"{at}softmax{end}", "softmax", [scores], f"{at}probabilities{end}", layer)
        before: list[View] = []
        for number, (tail, start, keys, place) in enumerate(parts):
            taken = View(shares.name, heads, count, keys, width, count * width, place)
            views = [taken, given.rows_of(given.v, self.item, start, keys), *before]
            result = given.rows_of(context, self.item, first, count)
            if number < len(parts) - 1:
                sums = builder.tensor(f"{at}context_sums{tail}", (heads, count, given.head_dim), builder.sums)
                result = View.whole(sums)
            builder.op(f"{at}context{tail}", "matmul", views, result, layer)
            before = [result]


def longformer_attention(name: str, window: int, global_tokens: int, chunk: int) -> Attention:
    """Return Longformer's attention. Raises InputError for illegal sizes, here or for the sequence."""
    check_sizes(name, {"window": window, "chunk": chunk}, "int8")
    if window % 2:
        raise InputError(f"{name}: window is {window}, must be even, half of it on each side (nearest: {window + 1})")
    if isinstance(global_tokens, bool) or not isinstance(global_tokens, int) or global_tokens < 0:
        raise InputError(f"{name}: global_tokens is {global_tokens!r}, must be a whole number >= 0 (nearest: 0)")
    side = window // 2

    def attention(builder: Builder, given: Sequences) -> Tensor:
        seq = given.seq
        problems = [f"{name}: window {window} exceeds the sequence of {seq} tokens (nearest: window={seq // 2 * 2})"]
        problems += [f"{name}: global_tokens {global_tokens} leave none of {seq} tokens (nearest: {seq - 1})"]
        if wrong := [one for one, bad in zip(problems, (window > seq, global_tokens >= seq), strict=True) if bad]:
            raise InputError(wrong)
        check_operators(len(builder.ops) + 3 * given.batch * (seq // chunk))  # before the first of them is added
        context = builder.tensor(f"{given.at}context", (given.batch * seq, given.cols))
        mask = next((tensor for tensor in builder.tensors if tensor.name == "band_mask"), None)
        mask = mask or builder.tensor("band_mask", (chunk, window + chunk), builder.sums, "input")
        theirs = _global(builder, given, global_tokens) if global_tokens else None
        for item in range(given.batch):
            if theirs is not None:
                queries = replace(theirs, seq=global_tokens).split(theirs.q, item)
                _Block(theirs, item, (0, global_tokens), ".global", queries).attend(builder, context, [(0, seq)])
            for start in range(global_tokens, seq, chunk):
                count = min(chunk, seq - start)
                low, high = max(global_tokens, start - side), min(seq, start + count + side)
                band = View(mask.name, 1, count, high - low, window + chunk, 0, low - (start - side))
                runs = [(0, global_tokens)] if global_tokens else []
                queries = given.rows_of(given.q, item, start, count)
                block = _Block(given, item, (start, count), f".t{start}", queries, band)
                block.attend(builder, context, [*runs, (low, high - low)])
        return context

    return attention


def _global(builder: Builder, given: Sequences, tokens: int) -> Sequences:
    """Project Q of the first tokens of each sequence, K and V of all, with the weights of global attention."""
    at, source, cols = given.at, given.source, given.cols
    made = []
    for part in "QKV":
        name, inner = f"{at}matmul_{part}_global", source.shape[1]
        weight = builder.weight(f"{name}.weight", (inner, cols))
        bias = builder.weight(f"{name}.bias", (cols,), builder.sums)
        count = tokens if part == "Q" else given.seq
        result = builder.tensor(f"{at}{part}_global", (given.batch * count, cols))
        taken = View(source.name, given.batch, count, inner, inner, given.seq * inner)
        put = View(result.name, given.batch, count, cols, cols, count * cols)
        views = [taken, View.whole(weight), View(bias.name, 1, 1, cols, 0, 0)]
        builder.op(name, "matmul", views, put, given.layer, repeating_bias=True)
        made.append(result)
    q, k, v = made
    return replace(given, q=q, k=k, v=v)


def bigbird_attention(name: str, block_size: int, random_blocks: int, seed: int) -> Attention:
    """Return BigBird's attention. Raises InputError for illegal sizes, here or for the sequence."""
    check_sizes(name, {"block_size": block_size}, "int8")
    block = block_size
    for size, value in {"random_blocks": random_blocks, "seed": seed}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InputError(f"{name}: {size} is {value!r}, must be a whole number >= 0 (nearest: 0)")

    def attention(builder: Builder, given: Sequences) -> Tensor:
        blocks = given.seq // block
        if given.seq % block or blocks < random_blocks + 5:
            least = max(random_blocks + 5, round(given.seq / block)) * block
            raise InputError(
                f"{name}: seq {given.seq} must be a multiple of the block of {block} tokens, at least "
                f"{random_blocks + 5} blocks (nearest: seq={least})"
            )
        check_operators(len(builder.ops) + 3 * given.batch * blocks)  # before the first of them is added
        context = builder.tensor(f"{given.at}context", (given.batch * given.seq, given.cols))
        draw = random.Random(f"{seed}:{given.layer}")
        for number in range(blocks):
            seen = {0, number - 1, number, number + 1, blocks - 1}
            if number in (0, blocks - 1):
                seen = set(range(blocks))
            else:
                seen |= set(draw.sample([one for one in range(blocks) if one not in seen], random_blocks))
            runs = [(first * block, count * block) for first, count in _runs(seen)]
            for item in range(given.batch):
                queries = given.rows_of(given.q, item, number * block, block)
                _Block(given, item, (number * block, block), f".k{number}", queries).attend(builder, context, runs)
        return context

    return attention


def _runs(numbers: Iterable[int]) -> list[Run]:
    """Return numbers as runs of adjacent ones: (first, count)."""
    found: list[Run] = []
    for number in sorted(numbers):
        if found and sum(found[-1]) == number:
            found[-1] = found[-1][0], found[-1][1] + 1
        else:
            found.append((number, 1))
    return found


# allenai/longformer-base-4096 and -large-4096; google/bigbird-roberta-base and -large.
LONGFORMERS = {
    "longformer-base": BertSizes(12, 768, 12, 3072, token_types=1, vocab=50265, positions=4098),
    "longformer-large": BertSizes(24, 1024, 16, 4096, token_types=1, vocab=50265, positions=4098),
}
BIGBIRDS = {
    "bigbird-base": BertSizes(12, 768, 12, 3072, vocab=50358, positions=4096),
    "bigbird-large": BertSizes(24, 1024, 16, 4096, vocab=50358, positions=4096),
}
SPARSE: dict[str, Callable[..., Graph]] = {
    **{
        name: encoder_model(name, model, seq=4096, attention=partial(longformer_attention, name),
                            window=512, global_tokens=1, chunk=64)
        for name, model in LONGFORMERS.items()
    },
    **{
        name: encoder_model(name, model, seq=4096, attention=partial(bigbird_attention, name),
                            block_size=64, random_blocks=3, seed=0)
        for name, model in BIGBIRDS.items()
    },
}  # fmt: skip
"""Encoders with a fixed choice of scores by the name that the command line takes."""
