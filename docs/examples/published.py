"""The published sparse accelerators, as near as Carat's machines come: speed-up and traffic over the dense machine."""

import sim
from sim.sparsity.edits.attention import Pattern
from sim.sparsity.edits.cascade import Cascade
from sim.sparsity.edits.compress import Compression
from sim.sparsity.edits.dynamic import Dynamic, packed
from sim.sparsity.rules import Rules
from sim.sparsity.spec import parse

ATTENTION = ("scores", "softmax", "context")


def of(result: sim.Result, words: tuple[str, ...]) -> tuple[int, int]:
    """Return cycles and DRAM bytes of the operators whose name holds one of the words."""
    rows = [row for row in result.rows if any(word in row["op"] for word in words)]
    return sum(r["cycles"] for r in rows), sum(r["dram_read_bytes"] + r["dram_write_bytes"] for r in rows)


def show(name: str, what: str, rules: Rules, workload: str, words: tuple[str, ...] = (".",), **sizes: int) -> None:
    """Print speed-up and traffic of one machine over itself without sparsity."""
    dense, sparse = (of(sim.simulate(workload, name, sparsity=s, **sizes), words) for s in (None, rules))
    print(f"{name:16}{what:62}{dense[0] / sparse[0]:6.2f}x faster {dense[1] / sparse[1]:6.2f}x fewer bytes", flush=True)


large = {"hidden": 1024, "heads": 16, "ffn": 4096}
show(
    "nm_tensor_core",
    "2:4 on all weights, one BERT-large layer, 128 tokens",
    parse("2:4"),
    "encoder-layer",
    seq=128,
    **large,
)
show(
    "nm_tensor_core",
    "the same, weighted products only",
    parse("2:4"),
    "encoder-layer",
    ("W_out", "FF", "matmul"),
    seq=128,
    **large,
)
show(
    "spatten",
    "half of the tokens and heads left, BERT-base, 384 tokens",
    Rules((), cascade=Cascade(0.5, 0.5)),
    "bert-base",
    seq=384,
)
show("spatten", "the same, attention only", Rules((), cascade=Cascade(0.5, 0.5)), "bert-base", ATTENTION, seq=384)
for how, label in (("tiles", "in tiles"), ("pack", "packed")):
    polar = packed(Pattern("longformer", window=8, globals=8, tile=16, scheme=how))
    what = f"polarised mask, 197 tokens of DeiT-base, {label}, attention only"
    show("vitcod", what, Rules((), polar), "encoder-layer", ATTENTION, seq=197)
for density in (0.08, 0.15, 0.27):
    for tokens in (128, 512):
        what = f"threshold, density {density}, {tokens} tokens, attention only"
        show("sanger", what, Rules((), Dynamic("threshold", density=density)), "encoder-layer", ATTENTION, seq=tokens)
for via, how in (("fft", "transformed"), ("direct", "expanded at load")):
    circulant = Rules((), compressions=(Compression("circulant", block=16, via=via),))
    for tokens in (128, 4):
        show("ftrans", f"circulant blocks of 16, {how}, {tokens} tokens", circulant, "encoder-layer", seq=tokens)
