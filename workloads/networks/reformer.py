"""Reformer (Kitaev et al. 2020), google/reformer-enwik8: attention among tokens of one hash, chunk by sorted chunk.

Reversible layers have two streams of columns: attention of the second is added to the first, then a feed-forward
network of the first to the second. Layers are local (a chunk of queries sees its own and the previous chunk) or hashed:
queries, which are also the keys, are rotated at random, and the index of the largest column is the bucket; in each of
``hashes`` rounds tokens are sorted by bucket, gathered, and attend to their chunk and the previous one; then they are
put back in order, and the rounds are weighted by the softmax of their sums. The mask is looked up by the positions of
both tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.base.errors import InputError
from sim.graph import Graph, Tensor, View
from workloads.encoder import check_sizes, divisors, takes
from workloads.networks.builder import Network

NAME = "reformer-enwik8"
LAYERS = ("local", "local", "hashed", "local", "local", "local", "hashed", "local", "local", "local", "hashed", "local")
HIDDEN, HEADS, SIZE, FFN, VOCAB = 1024, 8, 128, 4096, 258
AXES = ((128, 256), (512, 768))
"""Rows and columns of the two position tables."""
POSITIONS = 65536


@dataclass(frozen=True)
class Sizes:
    """Sizes that the builder takes."""

    phase: str = "prefill"
    seq: int = 2048
    batch: int = 1
    layers: int = len(LAYERS)
    hashes: int = 4
    buckets: int = 512
    chunk: int = 256
    local: int = 128
    head: bool = False
    embeddings: bool = False
    dtype: str = "int8"


@takes(Sizes)
def reformer(sizes: Sizes) -> Graph:
    """Return Reformer over ``batch`` sequences of ``seq`` tokens. Raises InputError for illegal sizes.

    ``hashes`` rounds of ``buckets`` buckets; ``chunk``: sorted tokens that attend together, ``local``: neighbours that
    do. ``layers`` cuts the stack, ``head`` gives the scores of all tokens, ``embeddings`` adds the look-ups, ``dtype``:
    element type.
    """
    if sizes.phase not in ("prefill", "encode"):
        raise InputError(f"{NAME}: phase is {sizes.phase!r}, can be prefill (buckets need the whole sequence)")
    seq, layers, buckets = sizes.seq, sizes.layers, sizes.buckets
    counted = ("seq", "batch", "layers", "hashes", "buckets", "chunk", "local")
    check_sizes(NAME, {name: getattr(sizes, name) for name in counted}, sizes.dtype)
    problems = [f"{NAME}: buckets is {buckets}, must be even (nearest: {buckets + 1})"] if buckets % 2 else []
    near = ", ".join(f"{name}={value}" for name, value in _near(seq, sizes.chunk, sizes.local).items())
    problems += [
        f"{NAME}: seq {seq} must be at least two chunks of {what} {size} (nearest: {near})"
        for what, size in (("chunk", sizes.chunk), ("local", sizes.local))
        if seq % size or seq < 2 * size
    ]
    if seq > POSITIONS:
        problems.append(f"{NAME}: seq {seq} is beyond its {POSITIONS} positions (nearest: {near})")
    if layers > len(LAYERS):
        problems.append(f"{NAME}: layers is {layers}, the model has {len(LAYERS)} (nearest: {len(LAYERS)})")
    if problems:
        raise InputError(problems)
    parts = _Parts(Network(NAME, sizes.dtype), sizes)
    parts.network(LAYERS[:layers], embeddings=sizes.embeddings, head=sizes.head)
    return parts.net.graph()


def _near(seq: int, chunk: int, local: int) -> dict[str, int]:
    """Return sizes to change, and to what, so that both chunks divide the tokens: the tokens if any do, else chunks."""
    unit = math.lcm(chunk, local)
    least = -(-2 * max(chunk, local) // unit) * unit
    if least <= POSITIONS:
        return {"seq": min(max(least, round(seq / unit) * unit), POSITIONS // unit * unit)}
    tokens = min(seq, POSITIONS) // 2 * 2 or 2
    changed = {"seq": tokens} if tokens != seq else {}
    for name, size in (("chunk", chunk), ("local", local)):
        if tokens % size or tokens < 2 * size:
            changed[name] = min((n for n in divisors(tokens) if 2 * n <= tokens), key=lambda n: abs(n - size))
    return changed


@dataclass
class _Parts:
    net: Network
    sizes: Sizes

    @property
    def rows(self) -> int:
        """Tokens of all sequences."""
        return self.sizes.batch * self.sizes.seq

    def network(self, layers: tuple[str, ...], *, embeddings: bool, head: bool) -> None:
        """Add everything."""
        net = self.net
        first = second = self._embedded() if embeddings else net.input("input", self.rows, HIDDEN)
        for index, kind in enumerate(layers):
            with net.layer_of(index):
                attend = self._local if kind == "local" else self._hashed
                first = net.add(first, attend(net.norm(second, name="norm1")), name="residual_add1")
                wide = net.linear(net.norm(first, name="norm2"), FFN, name="FF1", activation="relu")
                second = net.add(second, net.linear(wide, HIDDEN, name="FF2"), name="residual_add2")
        both = net.tensor("streams", (self.rows, 2 * HIDDEN))
        for place, stream in enumerate((first, second)):
            put = View(both.name, 1, self.rows, HIDDEN, 2 * HIDDEN, 0, place * HIDDEN)
            net.op(f"stream{place}", "copy", [View.whole(stream)], put, None)
        x = net.norm(both, name="last_norm")
        if head:
            net.linear(x, VOCAB, name="head", wide=True)

    def _embedded(self) -> Tensor:
        """Look up words, and positions from two tables side by side."""
        net, rows = self.net, self.rows
        words, places = net.tensor("word_embedding", (rows, HIDDEN)), net.tensor("position_embedding", (rows, HIDDEN))
        table = net.tensor("word_table", (VOCAB, HIDDEN), kind="weight")
        ids = View.whole(net.input("word_ids", 1, rows, "int32"))
        net.op("embed_word", "embedding", [ids, View.whole(table)], View.whole(words), None)
        first = 0
        for axis, (count, cols) in enumerate(AXES):
            table = net.tensor(f"position_table{axis}", (count, cols), kind="weight")
            ids = View.whole(net.input(f"position_ids{axis}", 1, rows, "int32"))
            put = View(places.name, 1, rows, cols, HIDDEN, 0, first)
            net.op(f"embed_position{axis}", "embedding", [ids, View.whole(table)], put, None)
            first += cols
        return net.add(words, places, name="add_position")

    def _local(self, x: Tensor) -> Tensor:
        """Each chunk of queries sees its own keys, with a causal mask, and those of the previous chunk."""
        net, (seq, batch, chunk) = self.net, (self.sizes.seq, self.sizes.batch, self.sizes.local)
        q, k, v = (net.linear(x, HIDDEN, name=f"matmul_{part}", bias=False) for part in "QKV")
        context = net.tensor(net.name_of("attended"), (self.rows, HIDDEN))
        mask = next((tensor for tensor in net.tensors if tensor.name == "chunk_mask"), None)
        mask = mask or net.tensor("chunk_mask", (chunk, 2 * chunk), net.sums, "input")
        step = chunk * HIDDEN
        for item in range(batch):
            for head in range(HEADS):
                start = item * seq * HIDDEN + head * SIZE
                for first, count, keys in ((0, 1, chunk), (1, seq // chunk - 1, 2 * chunk)):
                    at, before = start + first * step, start
                    queries, out = (View(t.name, count, chunk, SIZE, HIDDEN, step, at) for t in (q, context))
                    seen, values = (View(t.name, count, keys, SIZE, HIDDEN, step, before) for t in (k, v))
                    added = View(mask.name, 1, chunk, keys, 2 * chunk, 0, 2 * chunk - keys)
                    self._chunks((queries, seen, values, out), added, f".b{item}.h{head}.c{first}")
        return net.linear(context, HIDDEN, name="W_out", bias=False)

    def _chunks(self, views: tuple[View, View, View, View], mask: View, end: str) -> None:
        """Add scores, softmax and context of chunks."""
        net, (q, k, v, out) = self.net, views
        scores = net.tensor(net.name_of(f"scores{end}"), (q.batch, q.rows, k.rows))
        net.apply("matmul", scores.name, [q, k, mask], View.whole(scores), transpose_b=True)
        shares = net.each("softmax", scores, name=f"softmax{end}")
        net.apply("matmul", net.name_of(f"context{end}"), [View.whole(shares), v], out)

    def _hashed(self, x: Tensor) -> Tensor:
        """Queries see the keys of their bucket within their sorted chunk and the previous one."""
        net, sizes = self.net, self.sizes
        qk, v = (net.linear(x, HIDDEN, name=f"matmul_{part}", bias=False) for part in ("QK", "V"))
        turned = net.tensor(net.name_of("rotations"), (HEADS, SIZE, sizes.hashes * sizes.buckets // 2), kind="input")
        context = net.tensor(net.name_of("attended"), (self.rows, HIDDEN))
        for item in range(sizes.batch):
            queries, values, out = (
                View(t.name, HEADS, sizes.seq, SIZE, HIDDEN, SIZE, item * sizes.seq * HIDDEN) for t in (qk, v, context)
            )
            self._rounds(queries, values, turned, out, f".b{item}")
        return net.linear(context, HIDDEN, name="W_out", bias=False)

    def _rounds(self, qk: View, v: View, turned: Tensor, out: View, end: str) -> None:
        """Add all rounds of one sequence: hash, sort, gather, attention, put back, weighting."""
        net, (seq, hashes) = self.net, (self.sizes.seq, self.sizes.hashes)
        rotated = net.tensor(net.name_of(f"rotated{end}"), (HEADS, seq, turned.shape[-1]))
        net.apply("matmul", rotated.name, [qk, View.whole(turned)], View.whole(rotated))
        order, back = self._sorted(rotated, end)
        rows = [net.tensor(net.name_of(f"sorted_{part}{end}"), (HEADS, hashes, seq, SIZE)) for part in ("QK", "V")]
        found, sums = (net.tensor(net.name_of(f"{what}{end}"), (HEADS, hashes, seq, cols))
                       for what, cols in (("rounds", SIZE), ("round_sums", 1)))  # fmt: skip
        for number in range(hashes):
            ids = View(order.name, HEADS, 1, seq, seq, hashes * seq, number * seq)
            for part, source, into in zip(("QK", "V"), (qk, v), rows, strict=True):
                name = net.name_of(f"gather_{part}{end}.r{number}")
                net.apply("pick_rows", name, [source, ids], self._round(into, number, SIZE))
        self._attended(rows[0], rows[1], order, (found, sums), end)
        parts, weights = (net.tensor(net.name_of(f"{what}{end}"), (HEADS, hashes, seq, cols))
                          for what, cols in (("unsorted", SIZE), ("unsorted_sums", 1)))  # fmt: skip
        for number in range(hashes):
            ids = View(back.name, HEADS, 1, seq, seq, hashes * seq, number * seq)
            for what, made, kept, cols in (("rows", found, parts, SIZE), ("sums", sums, weights, 1)):
                views = [self._round(made, number, cols), ids]
                net.apply(
                    "pick_rows", net.name_of(f"scatter_{what}{end}.r{number}"), views, self._round(kept, number, cols)
                )
        self._weighed(parts, weights, out, end)

    def _round(self, tensor: Tensor, number: int, cols: int) -> View:
        """Return one round's rows of all heads."""
        size = self.sizes.seq * cols
        return View(tensor.name, HEADS, self.sizes.seq, cols, cols, self.sizes.hashes * size, number * size)

    def _sorted(self, rotated: Tensor, end: str) -> tuple[Tensor, Tensor]:
        """Return the tokens by rising bucket of each head and round, and the place of each token in that order."""
        net, count = self.net, HEADS * self.sizes.hashes
        found = []
        buckets = net.tensor(net.name_of(f"buckets{end}"), (count, 1, self.sizes.seq), "int32")
        whole = View.whole
        net.apply("lsh_hash", buckets.name, [whole(rotated)], whole(buckets), hashes=self.sizes.hashes)
        for name, unsort in (("order", False), ("back", True)):
            found.append(net.tensor(net.name_of(f"{name}{end}"), buckets.shape, "int32"))
            net.apply("sort", found[-1].name, [whole(buckets)], whole(found[-1]), unsort=unsort)
        return found[0], found[1]

    def _attended(self, qk: Tensor, v: Tensor, order: Tensor, results: tuple[Tensor, Tensor], end: str) -> None:
        """Add attention of every chunk of a head's rounds to itself and the previous chunk; the first has none."""
        net, (seq, chunk, hashes) = self.net, (self.sizes.seq, self.sizes.chunk, self.sizes.hashes)
        (found, sums), length = results, hashes * seq
        for head in range(HEADS):
            for first, count, keys in ((0, 1, chunk), (1, length // chunk - 1, 2 * chunk)):
                tail, at = f"{end}.h{head}.c{first}", head * length + first * chunk
                before = head * length
                places = [View(order.name, count, 1, n, n, chunk, place) for n, place in ((chunk, at), (keys, before))]
                mask = net.tensor(net.name_of(f"mask{tail}"), (count, chunk, keys), net.sums)
                net.apply("place_mask", mask.name, places, View.whole(mask))
                queries, out = (View(t.name, count, chunk, SIZE, SIZE, chunk * SIZE, at * SIZE) for t in (qk, found))
                seen, values = (View(t.name, count, keys, SIZE, SIZE, chunk * SIZE, before * SIZE) for t in (qk, v))
                scores = net.tensor(net.name_of(f"scores{tail}"), (count, chunk, keys))
                whole = View.whole
                net.apply("matmul", scores.name, [queries, seen, whole(mask)], whole(scores), transpose_b=True)
                total = View(sums.name, count, chunk, 1, 1, chunk, at)
                net.apply("logsumexp", net.name_of(f"sums{tail}"), [whole(scores)], total)
                shares = net.each("softmax", scores, name=f"softmax{tail}")
                net.apply("matmul", net.name_of(f"context{tail}"), [whole(shares), values], out)

    def _weighed(self, parts: Tensor, weights: Tensor, out: View, end: str) -> None:
        """Add the sum of the rounds, weighted per token by the softmax over the rounds' sums."""
        net, (seq, hashes) = self.net, (self.sizes.seq, self.sizes.hashes)
        side = net.tensor(net.name_of(f"weights{end}"), (HEADS, seq, hashes))
        for number in range(hashes):
            put = View(side.name, HEADS, seq, 1, hashes, seq * hashes, number)
            net.apply("copy", net.name_of(f"beside{end}.r{number}"), [self._round(weights, number, 1)], put)
        shares = net.each("softmax", side, name=f"round_softmax{end}")
        total: View | None = None
        for number in range(hashes):
            share = View(shares.name, HEADS, seq, 1, hashes, seq * hashes, number)
            part = net.tensor(net.name_of(f"weighed{end}.r{number}"), (HEADS, seq, SIZE))
            views = [self._round(parts, number, SIZE), share]
            last = number == hashes - 1
            alone = out if last and total is None else View.whole(part)
            net.apply("multiply", net.name_of(f"multiply{end}.r{number}"), views, alone)
            if total is not None:
                result = out if last else View.whole(net.tensor(net.name_of(f"summed{end}.r{number}"), part.shape))
                net.apply("residual_add", net.name_of(f"add{end}.r{number}"), [total, alone], result)
                total = result
            else:
                total = alone
