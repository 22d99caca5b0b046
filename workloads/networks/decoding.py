"""Decoders in their phases: prefill writes the KV cache and reads it, a decode step appends to it and reads it.

The cache of a layer is a state [sequences, keys, columns] that outlives the graph: K and V (K behind its rotary
embedding) are written there in place, as many rows as there are new tokens behind those that are there. A sliding
window keeps as many rows as it sees, the oldest is overwritten. Tokens of one graph are masked causally: a matrix
[queries, keys] of sums is added to all scores as they are computed; one token sees all keys and has no mask.

By default a prefill is its layers on embedded tokens, what published MACs count, and a decode step also gives the
scores of all words for the next token. ``embeddings`` adds the look-ups, ``head`` the scores. GELU of either form is
one operator, which the I-BERT polynomial stands for on the array.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from sim.base.errors import InputError
from sim.graph import Graph, Tensor, View
from workloads.encoder import check_sizes, nearest_whole
from workloads.networks.builder import Network
from workloads.networks.config import Config
from workloads.networks.experts import experts, routing_problems
from workloads.networks.feed_forward import feed_forward

PHASES = ("prefill", "decode")


@dataclass(frozen=True)
class Step:
    """One graph's work: ``new`` tokens of each of ``batch`` sequences that have ``past`` keys each.

    ``seed``: of the tokens' experts, or ``routing``: tokens of each expert. ``lengths``: where sequences have different
    numbers of keys, that of each; ``past`` is then the largest.
    """

    new: int
    past: int = 0
    batch: int = 1
    seed: int = 0
    lengths: tuple[int, ...] = ()
    routing: tuple[int, ...] = ()

    def keys(self, config: Config) -> int:
        """Return the keys that the last token sees, of the longest sequence."""
        return min(self.past + self.new, config.window) if config.window else self.past + self.new


def decoder(
    name: str,
    config: Config,
    step: Step,
    *,
    layers: int | None = None,
    embeddings: bool = False,
    head: bool = False,
    dtype: str = "int8",
) -> Graph:
    """Return the graph of one step of a decoder. Raises InputError listing all illegal sizes."""
    depth = config.layers if layers is None else layers
    check_sizes(name, {"seq": step.new, "batch": step.batch, "layers": depth}, dtype)
    if problems := _problems(name, config, step, embeddings):
        raise InputError(problems)
    net = Network(name, dtype)
    rows = step.batch * step.new
    x = _embedded(net, config, step) if embeddings else net.input("input", rows, config.hidden)
    keys = step.keys(config)
    mask = net.input("causal_mask", step.new, keys, net.sums) if step.new > 1 else None
    for index in range(depth):
        with net.layer_of(index):
            first = replace(config, experts=0, ffn=config.first_ffn) if index == 0 and config.first_ffn else config
            x = _layer(net, first, step, x, mask)
    if config.pre_norm:
        x = net.norm(x, config.norm, name="last_norm")
    if head:
        _head(net, config, step, x)
    return net.graph()


MOST_KEYS = 1 << 22
"""Of one sequence: four times the longest published context."""

MOST_ROUTED = 1 << 18
"""Tokens of all sequences for which experts are drawn, layer by layer, one token at a time."""


def _problems(name: str, config: Config, step: Step, embeddings: bool) -> list[str]:
    if isinstance(step.past, bool) or not isinstance(step.past, int) or step.past < 0:
        return [f"{name}: kv is {step.past!r}, must be a whole number >= 0{nearest_whole(step.past, 0)}"]
    problems = []
    most = config.most_positions if embeddings and config.positions else MOST_KEYS
    if step.past + step.new > most:
        what = f"seq {step.new} behind kv {step.past}" if step.past else f"seq {step.new}"
        nearest = f"kv={most - step.new}" if step.past and step.new <= most else f"seq={most}"
        limit = f"the position table of {most} tokens" if most < MOST_KEYS else f"the limit of {most:,} keys"
        problems.append(f"{name}: {what} is beyond {limit} (nearest: {nearest})")
    if step.lengths and step.new != 1:
        problems.append(f"{name}: sequences of different lengths take one new token each, not {step.new} (seq=1)")
    problems += routing_problems(name, config, step.routing, step.batch * step.new)
    if config.experts and step.batch * step.new > MOST_ROUTED:
        problems.append(
            f"{name}: {step.batch} x {step.new} tokens: experts are drawn for at most {MOST_ROUTED:,} (nearest: "
            f"{f'seq={MOST_ROUTED // step.batch}' if step.batch <= MOST_ROUTED else f'batch={MOST_ROUTED}'})"
        )
    if config.window and step.new > config.window and step.past:
        problems.append(f"{name}: {step.new} tokens exceed the window of {config.window} (nearest: {config.window})")
    return problems


def _embedded(net: Network, config: Config, step: Step) -> Tensor:
    """Look up words and positions; a product widens words that are narrower than the layers."""
    x = _look_up(net, "word", config.vocab, config.embedding, step)
    if config.embedding_size:
        x = net.linear(x, config.hidden, name="project_in", bias=False)
    if not config.positions:
        return x
    return net.add(x, _look_up(net, "position", config.positions, config.hidden, step), name="add_position")


def _look_up(net: Network, what: str, words: int, cols: int, step: Step) -> Tensor:
    rows = step.batch * step.new
    ids = net.input(f"{what}_ids", 1, rows, "int32")
    table = net.tensor(f"{what}_table", (words, cols), kind="weight")
    found = net.tensor(f"{what}_embedding", (rows, cols))
    net.op(f"embed_{what}", "embedding", [View.whole(ids), View.whole(table)], View.whole(found), None)
    return found


def _head(net: Network, config: Config, step: Step, x: Tensor) -> None:
    """Add the scores of all words for the last token of each sequence."""
    cols = x.shape[-1]
    last = View(x.name, 1, step.batch, cols, step.new * cols, 0, (step.new - 1) * cols)
    if config.embedding_size:
        x = net.linear(last, config.embedding, name="project_out", bias=False)
        last = View.whole(x)
    table = next((tensor for tensor in net.tensors if tensor.name == "word_table"), None) if config.tied else None
    if table is None and config.tied:
        table = net.tensor("word_table", (config.vocab, config.embedding), kind="weight")
    net.linear(last, config.vocab if table is None else table, name="head", bias=False, wide=True)


def _layer(net: Network, config: Config, step: Step, x: Tensor, mask: Tensor | None) -> Tensor:
    """One layer: attention and feed-forward network, norms in front of them or behind the sums."""
    source = net.norm(x, config.norm, name="norm1") if config.pre_norm else x
    x = net.add(x, _attention(net, config, step, source, mask), name="residual_add1")
    if not config.pre_norm:
        x = net.norm(x, config.norm, name="norm1")
    source = net.norm(x, config.norm, name="norm2") if config.pre_norm else x
    routed = partial(experts, seed=step.seed, routing=step.routing) if config.experts else feed_forward
    x = net.add(x, routed(net, config, source), name="residual_add2")
    return x if config.pre_norm else net.norm(x, config.norm, name="norm2")


def _attention(net: Network, config: Config, step: Step, x: Tensor, mask: Tensor | None) -> Tensor:
    """Q, K and V, the last two into the cache, and attention over what the cache then holds."""
    bias, keys = config.qkv_bias or config.biases, step.keys(config)
    q = _normed(net, config, net.linear(x, config.queries, name="matmul_Q", bias=bias), "Q")
    caches = [net.state(net.name_of(f"cache_{part}"), step.batch, keys, config.keys) for part in "KV"]
    written = [_written(cache, config, step) for cache in caches]
    if config.rope:
        q = _rotated(net, config, step, q, "rope_Q")
        k = _normed(net, config, net.linear(x, config.keys, name="matmul_K", bias=bias), "K")
        _rotated(net, config, step, k, "rope_K", written[0])
    else:
        _into_cache(net, x, config, step, ("matmul_K", bias, written[0]))
    _into_cache(net, x, config, step, ("matmul_V", bias, written[1]))
    seen = [one.keys(config) for one in _alone(step)] if step.lengths else [keys] * step.batch
    context = net.attention(q, *caches, heads=config.heads, kv_heads=config.groups, batch=seen, added=mask)
    return net.linear(context, config.hidden, name="W_out", bias=config.biases)


def _normed(net: Network, config: Config, x: Tensor, part: str) -> Tensor:
    """Normalise each head of Q or K by itself, where a model does."""
    if not config.qk_norm:
        return x
    at, size = net.name_of(f"norm_{part}"), config.size
    gamma = net.tensor(f"{at}.gamma", (size,), net.sums, "weight")
    result = net.tensor(at, x.shape)
    views = [View(tensor.name, 1, tensor.elements // size, size, size, 0) for tensor in (x, result)]
    net.apply("rmsnorm", at, views[:1], views[1], gamma=gamma.name)
    return result


def _alone(step: Step) -> list[Step]:
    """Return the steps of sequences of different lengths, one by one."""
    return [replace(step, batch=1, past=past, lengths=()) for past in step.lengths]


def _rows_alone(view: View, config: Config, step: Step) -> list[View]:
    """Return where each of such sequences has its row in a cache of the longest."""
    places = [past % config.window if config.window else past for past in step.lengths]
    first = view.offset - view.offset % view.batch_stride
    return [
        View(view.tensor, 1, 1, view.cols, view.row_stride, 0, first + item * view.batch_stride + place * view.cols)
        for item, place in enumerate(places)
    ]


def _written(cache: Tensor, config: Config, step: Step) -> View:
    """Return the rows of a cache that the new tokens' keys go to, of each sequence."""
    _, keys, cols = cache.shape
    first = step.past % keys if config.window and step.past >= keys else min(step.past, keys - min(step.new, keys))
    count = min(step.new, keys)
    return View(cache.name, step.batch, count, cols, cols, keys * cols, first * cols)


def _into_cache(net: Network, x: Tensor, config: Config, step: Step, product: tuple[str, bool, View]) -> None:
    """Add the product that makes K or V in its place in the cache, of all sequences at once where strides allow it."""
    name, bias, into = product
    cols, count = x.shape[-1], into.rows
    if step.lengths:  # one product for all, and a copy of each row to its place
        made = net.linear(x, into.cols, name=name, bias=bias)
        for item, put in enumerate(_rows_alone(into, config, step)):
            taken = View(made.name, 1, 1, into.cols, into.cols, 0, item * into.cols)
            net.apply("copy", net.name_of(f"{name}_append"), [taken], put)
        return
    skipped = (step.new - count) * cols  # tokens that the window no longer sees
    if count == 1 or step.batch == 1 or into.batch_stride == count * into.cols:
        stride = into.batch_stride if count == 1 else into.cols
        rows = count * step.batch
        into = View(into.tensor, 1, rows, into.cols, stride, 0, into.offset)
        taken = View(x.name, 1, rows, cols, step.new * cols if count == 1 else cols, 0, skipped)
    else:
        taken = View(x.name, step.batch, count, cols, cols, step.new * cols, skipped)
    net.linear(taken, into.cols, name=name, bias=bias, into=into)


def _rotated(net: Network, config: Config, step: Step, x: Tensor, name: str, into: View | None = None) -> Tensor:
    """Add a rotary embedding of the rows of each sequence, into a cache for K."""
    cols, count = x.shape[-1], into.rows if into else step.new
    source = View(x.name, step.batch, count, cols, cols, step.new * cols, (step.new - count) * cols)
    at = net.name_of(name)
    if into is None:
        result = net.tensor(at, x.shape)
        into = _of_tensor(source, result.name)
    else:
        result = x
    attrs = {"head_dim": config.size, "rotated": config.rope, "base": config.rope_base}
    if step.lengths:
        ends = _rows_alone(into, config, step) if into.tensor != at else [None] * step.batch
        for item, (past, end) in enumerate(zip(step.lengths, ends, strict=True)):
            row = View(x.name, 1, 1, cols, cols, 0, item * cols)
            put = end or _of_tensor(row, into.tensor)
            net.apply("rope", f"{at}.b{item}", [row], put, **attrs, position=past)
        return result
    net.apply("rope", at, [source], into, **attrs, position=step.past + step.new - count)
    return result


def _of_tensor(view: View, tensor: str) -> View:
    """Return the same window of another tensor."""
    return View(tensor, view.batch, view.rows, view.cols, view.row_stride, view.batch_stride, view.offset)
