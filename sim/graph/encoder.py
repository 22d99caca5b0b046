"""Parts of graphs, and the encoder layer as Gemmini's C library runs it, of which every BERT is a stack.

Types and order are those of the library's integer encoder: int8 activations; int32 out of W_out and FF2, so
that LayerNorm reads int32; LayerNorm before the residual add, which adds int8. Scores and the input of GELU
are int8: a machine that fuses softmax and GELU never writes them, one that cannot writes them requantised.
The projections of all sequences of a batch are one matmul (their rows are stacked); attention is one operator
per sequence, batched over its heads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sim.graph.dtypes import ACCUMULATOR
from sim.graph.limits import check_operators
from sim.graph.op import Op
from sim.graph.tensors import Tensor, View


class Parts:
    """Collects tensors and operators; ``sums`` is the dtype of sums and biases for elements of ``dtype``."""

    def __init__(self, dtype: str):
        self.dtype, self.sums = dtype, ACCUMULATOR[dtype]
        self.tensors: list[Tensor] = []
        self.ops: list[Op] = []
        self.one_layer: dict[str, Tensor] | None = None
        """Weights of the first layer by their name in it, if all layers share them (ALBERT); None = not shared."""

    def tensor(self, name: str, shape: tuple[int, ...], dtype: str | None = None, kind: str = "activation") -> Tensor:
        """Add and return a tensor; ``dtype`` defaults to the element type."""
        self.tensors.append(Tensor(name, shape, dtype or self.dtype, kind))
        return self.tensors[-1]

    def weight(self, name: str, shape: tuple[int, ...], dtype: str | None = None) -> Tensor:
        """Return a new weight, or that of the same name in the first layer if layers share weights."""
        layer, dot, rest = name.partition(".")
        if self.one_layer is None or not (dot and layer[:1] == "L" and layer[1:].isdecimal()):
            return self.tensor(name, shape, dtype, "weight")
        if rest not in self.one_layer:
            self.one_layer[rest] = self.tensor(f"shared.{rest}", shape, dtype, "weight")
        return self.one_layer[rest]

    def op(self, name: str, kind: str, inputs: list[View], output: View, layer: int | None, **attrs: object) -> None:
        """Add an operator. Raises TooManyOperators."""
        check_operators(len(self.ops) + 1)
        self.ops.append(Op(name, kind, tuple(inputs), output, attrs, layer))


class Builder(Parts):
    """Adds the parts of the library's encoder layer. ``attention``: default over all tokens."""

    def __init__(self, dtype: str, attention: Attention | None = None):
        super().__init__(dtype)
        self.attend = attention or full_attention

    def map(self, name: str, kind: str, sources: list[Tensor], out: str, layer: int | None, **attrs: object) -> Tensor:
        """Add an operator, its output shaped as its first source, of the element type; return it."""
        result = self.tensor(out, sources[0].shape)
        self.op(name, kind, [View.whole(source) for source in sources], View.whole(result), layer, **attrs)
        return result

    def norm(self, name: str, source: Tensor, out: str, layer: int | None) -> Tensor:
        """Add a LayerNorm over the last axis with its weights gamma and beta; return its output."""
        parts = ("gamma", "beta")
        weights = {part: self.weight(f"{name}.{part}", source.shape[-1:], self.sums).name for part in parts}
        return self.map(name, "layernorm", [source], out, layer, **weights)

    def linear(
        self,
        name: str,
        source: Tensor,
        cols: int,
        out: str,
        layer: int | None,
        *,
        full: bool,
        repeating: bool,
    ) -> Tensor:
        """Add source x W + bias; ``full``: the output keeps the type of the sums.

        ``repeating``: the bias is given as one row to repeat; otherwise as a matrix whose rows are all at the same
        address. The stride is 0 in both cases, as in the library's feed-forward and attention halves.
        """
        rows, inner = source.shape
        weight = self.weight(f"{name}.weight", (inner, cols))
        bias = self.weight(f"{name}.bias", (cols,), self.sums)
        result = self.tensor(out, (rows, cols), self.sums if full else self.dtype)
        bias_view = View(bias.name, 1, 1 if repeating else rows, cols, 0, 0)
        views = [View.whole(source), View.whole(weight), bias_view]
        self.op(name, "matmul", views, View.whole(result), layer, repeating_bias=repeating)
        return result

    def layer(self, index: int, source: Tensor, seq: int, batch: int, heads: int, head_dim: int, ffn: int) -> Tensor:
        """Add encoder layer ``index`` on ``source`` (batch*seq x hidden); return its output."""
        at, hidden = f"L{index}.", source.shape[1]
        q, k, v = (
            self.linear(f"{at}matmul_{x}", source, heads * head_dim, f"{at}{x}", index, full=False, repeating=False)
            for x in "QKV"
        )
        context = self.attend(self, Sequences(at, index, source, q, k, v, seq, batch, heads, head_dim))
        projected = self.linear(f"{at}W_out", context, hidden, f"{at}projected", index, full=True, repeating=False)
        normed = self.norm(f"{at}layernorm1", projected, f"{at}normed1", index)
        attended = self.map(f"{at}residual_add1", "residual_add", [source, normed], f"{at}attended", index)
        expanded = self.linear(f"{at}FF1", attended, ffn, f"{at}expanded", index, full=False, repeating=True)
        active = self.map(f"{at}gelu", "gelu", [expanded], f"{at}active", index)
        reduced = self.linear(f"{at}FF2", active, hidden, f"{at}reduced", index, full=True, repeating=True)
        normed = self.norm(f"{at}layernorm2", reduced, f"{at}normed2", index)
        return self.map(f"{at}residual_add2", "residual_add", [normed, attended], f"{at}output", index)


@dataclass(frozen=True)
class Sequences:
    """Operands of an attention: Q, K and V of ``batch`` sequences of ``seq`` tokens, one after the other.

    ``at``: prefix of operators' names; ``source``: the tensor that Q, K and V were projected from.
    """

    at: str
    layer: int
    source: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    seq: int
    batch: int
    heads: int
    head_dim: int

    @property
    def cols(self) -> int:
        """Columns of all heads."""
        return self.heads * self.head_dim

    def suffix(self, item: int) -> str:
        """Return the suffix of the operators of one sequence."""
        return f".b{item}" if self.batch > 1 else ""

    def rows_of(self, tensor: Tensor, item: int, first: int, count: int) -> View:
        """Return ``count`` rows of a sequence beginning with ``first``, head by head."""
        offset = (item * self.seq + first) * self.cols
        return View(tensor.name, self.heads, count, self.head_dim, self.cols, self.head_dim, offset)

    def split(self, tensor: Tensor, item: int) -> View:
        """Return all rows of a sequence, head by head."""
        return self.rows_of(tensor, item, 0, self.seq)


def full_attention(builder: Builder, given: Sequences, added: Tensor | None = None) -> Tensor:
    """Add the attention of each sequence over all of its tokens; return the heads' results in adjacent columns.

    ``added``: sums [heads, queries, keys] that are added to the scores.
    """
    at, heads, seq, layer = given.at, given.heads, given.seq, given.layer
    context = builder.tensor(f"{at}context", (given.batch * seq, given.cols))
    for item in range(given.batch):
        suffix = given.suffix(item)
        scores = builder.tensor(f"{at}scores{suffix}", (heads, seq, seq))
        q, k, v = (given.split(tensor, item) for tensor in (given.q, given.k, given.v))
        # The scale 1/sqrt(head_dim) of the scores is folded into the fixed-point scale of Q.
        sums = [] if added is None else [View.whole(added)]
        builder.op(f"{at}scores{suffix}", "matmul", [q, k, *sums], View.whole(scores), layer, transpose_b=True)
        shares = builder.map(f"{at}softmax{suffix}", "softmax", [scores], f"{at}probabilities{suffix}", layer)
        context_view = given.split(context, item)
        builder.op(f"{at}context{suffix}", "matmul", [View.whole(shares), v], context_view, layer)
    return context


Attention = Callable[[Builder, Sequences], Tensor]
"""Function that adds the attention of a layer and returns its result [batch * seq, heads * head_dim]."""
