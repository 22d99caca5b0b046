"""The layer graph of a trained encoder with all operators on the array: LayerNorm of int32 sums, wide outliers.

One scale per column, which a store cannot apply, is realised by block-sparse products with matrices of zeros and ones.
Such a product sums the columns of `*.parts` (a product's result and the residual, each column with its own scale) as
int32; widens int8 to the int32 of the integer GELU; appends copies of columns to an operand.

LayerNorm's gain and shift are folded into the weights that read it. Its outlier columns come from a second pass with a
coarser scale. The neurons of a feed-forward layer are sorted into groups, each with its own scale after GELU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.graph import Tensor, View
from sim.graph.kinds.elementwise import parts
from workloads.checkpoint.centred import centred_values
from workloads.checkpoint.form import Engines, Form
from workloads.checkpoint.layers import Encoder
from workloads.checkpoint.model import Checkpoint

Array = npt.NDArray[Any]
Later = Callable[[], Array]

GROUP = 256
"""Neurons in a group by default and at most: the widening matrix of a group is square."""


FORMS_KEPT = 2
"""Number of forms whose weights are kept: that of the calibration, and that derived from it."""


@dataclass(frozen=True)
class Normed:
    """LayerNorm without gain and shift: its tensor, the columns appended to it, the layer's name."""

    tensor: Tensor
    outliers: tuple[int, ...]
    repeated: tuple[int, ...]
    name: str


def columns(source: Tensor | View, first: int, count: int) -> View:
    """Return some columns of a tensor [rows, columns]."""
    assert isinstance(source, Tensor)
    rows, width = source.shape
    return View(source.name, 1, rows, count, width, 0, first)


class ArrayEncoder(Encoder):
    """Collects the tensors and operators of one model.

    ``values``: weights that differ in form from the checkpoint's.
    """

    def __init__(self, model: Checkpoint, seq: int, engines: Engines, form: Form):
        super().__init__(model, seq, engines, form)
        self.values: dict[str, Array] = {}
        self.known = _derived(model, form)

    # Parts

    def valued(self, name: str, shape: tuple[int, ...], values: Later, dtype: str | None = None) -> View:
        """Add a weight with its values, which are computed once for all lengths of sequences."""
        if name not in self.known:
            self.known[name] = np.ascontiguousarray(values(), np.float32)
        self.values[name] = self.known[name]
        return View.whole(self.tensor(name, shape, dtype, "weight"))

    def product(self, name: str, x: View, weights: Later, bias: Later | None, out: View, layer: int | None) -> None:
        """Add out = x times weights, and a bias of one row."""
        inputs = [x, self.valued(f"{name}.weight", (x.cols, out.cols), weights)]
        if bias is not None:
            self.valued(f"{name}.bias", (out.cols,), bias, self.sums)
            inputs.append(View(f"{name}.bias", 1, 1, out.cols, 0, 0))
        self.op(name, "matmul", inputs, out, layer, repeating_bias=bias is not None)

    def ones(self, name: str, x: View, rows: Array, out: View, layer: int | None) -> None:
        """Add out = x times zeros and ones: column i of x is added to column ``rows[i]``."""

        def matrix() -> Array:
            found = np.zeros((x.cols, out.cols), np.float32)
            found[np.arange(len(rows)), rows] = 1
            return found

        self.product(name, x, matrix, None, out, layer)

    def repeat(self, name: str, x: View, copies: tuple[int, ...], out: View, layer: int | None) -> None:
        """Add out = columns ``copies`` of x."""

        def matrix() -> Array:
            found = np.zeros((x.cols, len(copies)), np.float32)
            found[list(copies), np.arange(len(copies))] = 1
            return found

        self.product(name, x, matrix, None, out, layer)

    def norm_of(self, name: str, sums: Tensor, layer: int | None) -> Normed:
        """LayerNorm of sums, to int8, followed by the outlier columns of a second pass and repeated columns."""
        rows, hidden = sums.shape
        outliers, repeated = (self.form.copies.get(f"{name}.{what}", ()) for what in ("normed", "repeat"))
        result = self.tensor(f"{name}.normed", (rows, hidden + len(outliers) + len(repeated)))
        own = columns(result, 0, hidden)
        self.op(name, "layernorm", [View.whole(sums)], own, layer)
        if outliers:
            coarse = View.whole(self.tensor(f"{name}.coarse", sums.shape))
            self.op(f"{name}.outliers", "layernorm", [View.whole(sums)], coarse, layer)
            self.repeat(f"{name}.pick", coarse, outliers, columns(result, hidden, len(outliers)), layer)
        if repeated:
            behind = columns(result, hidden + len(outliers), len(repeated))
            self.repeat(f"{name}.repeat", own, repeated, behind, layer)
        return Normed(result, outliers, repeated, name)

    def folded(self, source: Normed, weights: Array) -> Array:
        """Return weights [hidden, columns] times the gain, then rows for appended columns (shared if repeated)."""
        found = self.model.weights[f"{source.name}.weight"][:, None] * weights
        copies = [*source.outliers, *source.repeated]
        shared = parts(len(found), copies)
        shared[list(source.outliers)] -= 1  # their original columns are not used
        found /= shared[:, None].astype(np.float32)
        behind = found[copies]
        found[list(source.outliers)] = 0
        return np.concatenate([found, behind])

    def folded_bias(self, source: Normed, weights: Array, bias: Array) -> Array:
        """Return the bias with the shift's part."""
        return np.asarray(self.model.weights[f"{source.name}.bias"] @ weights + bias)

    def onto(self, name: str, source: Normed, weights: Array, bias: Array, out: Tensor, layer: int | None) -> Tensor:
        """Add a product that reads LayerNorm; return its output."""
        whole = View.whole(source.tensor)
        self.product(name, whole, lambda: self.folded(source, weights),
                     lambda: self.folded_bias(source, weights, bias), View.whole(out), layer)  # fmt: skip
        return out

    def values_of(self, name: str, stream: Normed, out: Tensor, layer: int) -> tuple[Tensor, Tensor | None]:
        """Add the product of V; return it, and its mean if the form takes that out."""
        matrix, bias = self.weights_of(name)
        if not self.form.centred:
            return self.onto(name, stream, matrix, bias, out, layer), None
        shape = (stream.tensor.shape[1], out.shape[1])
        weight = self.valued(f"{name}.weight", shape, lambda: self.folded(stream, matrix))
        self.valued(f"{name}.bias", out.shape[1:], lambda: self.folded_bias(stream, matrix, bias), self.sums)
        weights = weight, View(f"{name}.bias", 1, 1, out.shape[1], 0, 0)
        return out, centred_values(self, self.shared, stream.tensor, weights, out, layer)

    def weights_of(self, name: str) -> tuple[Array, Array]:
        """Return weights and bias of the checkpoint."""
        return self.model.weights[f"{name}.weight"], self.model.weights[f"{name}.bias"]

    # The model

    def build_layers(self) -> None:
        """Add everything."""
        data = self.input_norm()
        for layer in range(self.model.layers):
            data = self.array_layer(layer, data)
        rows, hidden = self.seq, self.model.hidden
        output = self.tensor(f"L{self.model.layers - 1}.output", (rows, hidden), self.sums)
        self.onto("output", data, np.eye(hidden, dtype=np.float32), np.zeros(hidden, np.float32), output, None)
        self.head(data.tensor)
        if self.model.head is not None:
            first = self.model.head.layers[0]
            weights, bias = self.weights_of(first)
            self.values[f"{first}.weight"] = np.ascontiguousarray(self.folded(data, weights), np.float32)
            self.values[f"{first}.bias"] = np.asarray(self.folded_bias(data, weights, bias), np.float32)

    def input_norm(self) -> Normed:
        """The embeddings, summed as int32."""
        model, hidden = self.model, self.model.hidden
        tables = [what for what in ("word", "position", "token_type") if what in model.weights]
        found = self.tensor("embedding.parts", (self.seq, len(tables) * hidden))
        for number, what in enumerate(tables):
            ids = self.tensor(f"{what}_ids", (1, self.seq), "int32", "input")
            table = self.tensor(f"{what}_table", model.weights[what].shape, None, "weight")
            inputs = [View.whole(ids), View.whole(table)]
            self.op(f"embed_{what}", "embedding", inputs, columns(found, number * hidden, hidden), None)
        total = self.tensor("embedding.sum", (self.seq, hidden), self.sums)
        self.ones("embedding.add", View.whole(found), np.tile(np.arange(hidden), len(tables)), View.whole(total), None)
        return self.norm_of("embed_norm", total, None)

    def add(self, which: int, product: str, x: Tensor, rows: Later, stream: Normed, layer: int) -> Tensor:
        """Return x times the weights of ``product``, added to the stream: int32.

        ``rows``: rows of weights that x is multiplied by.
        """
        at, hidden = f"L{layer}.", self.model.hidden
        bias = self.weights_of(at + product)[1]
        name = f"{at}parts{which}"
        copies = list(self.form.copies.get(name, ()))
        order = [*range(hidden), *copies]
        found = self.tensor(name, (self.seq, 2 * hidden + len(copies)))
        shared = parts(hidden, copies)[order]
        self.product(at + product, View.whole(x), lambda: rows()[:, order] / shared, lambda: bias[order] / shared,
                     columns(found, 0, len(order)), layer)  # fmt: skip
        eye, none = np.eye(hidden, dtype=np.float32), np.zeros(hidden, np.float32)
        rest = columns(found, len(order), hidden)
        self.product(f"{at}residual{which}", View.whole(stream.tensor), lambda: self.folded(stream, eye),
                     lambda: self.folded_bias(stream, eye, none), rest, layer)  # fmt: skip
        total = self.tensor(f"{at}sum{which}", (self.seq, hidden), self.sums)
        self.ones(f"{at}residual_add{which}", View.whole(found), np.array([*order, *range(hidden)]),
                  View.whole(total), layer)  # fmt: skip
        return total

    def array_layer(self, layer: int, stream: Normed) -> Normed:
        """Add a layer; return the input of the next one."""
        model, at = self.model, f"L{layer}."
        shape = (self.seq, model.hidden)
        q, k = (
            self.onto(f"{at}matmul_{x}", stream, *self.weights_of(f"{at}matmul_{x}"), self.tensor(at + x, shape), layer)
            for x in "QK"
        )
        v = self.values_of(f"{at}matmul_V", stream, self.tensor(f"{at}V", shape), layer)
        context = self.attention(at, q, k, v, layer)
        summed = self.add(1, "W_out", context, lambda: self.weights_of(f"{at}W_out")[0], stream, layer)
        stream = self.norm_of(f"{at}layernorm1", summed, layer)
        active, rows = self.feed_forward(at, stream, layer)
        return self.norm_of(f"{at}layernorm2", self.add(2, "FF2", active, rows, stream, layer), layer)

    def feed_forward(self, at: str, stream: Normed, layer: int) -> tuple[Tensor, Later]:
        """Add FF1 and GELU group by group; return GELU's output, and the rows of FF2 that it is multiplied by."""
        ffn, name = self.model.ffn, f"{at}active"
        groups = self.form.groups.get(name) or tuple(
            tuple(range(first, min(first + GROUP, ffn))) for first in range(0, ffn, GROUP)
        )
        order = [neuron for group in groups for neuron in group]
        copies = self.form.copies.get(name, ())
        weights, bias = self.weights_of(f"{at}FF1")
        expanded = self.tensor(f"{at}expanded", (self.seq, ffn))
        self.product(f"{at}FF1", View.whole(stream.tensor), lambda: self.folded(stream, weights[:, order]),
                     lambda: self.folded_bias(stream, weights[:, order], bias[order]),
                     View.whole(expanded), layer)  # fmt: skip
        active = self.tensor(name, (self.seq, ffn + len(copies)))
        first = 0
        for number, group in enumerate(groups):
            size = len(group)
            wide = self.tensor(f"{at}gelu.widened{number}", (self.seq, size))
            self.ones(
                f"{at}gelu.widen{number}", columns(expanded, first, size), np.arange(size), View.whole(wide), layer
            )
            self.op(f"{at}gelu{number}", "gelu", [View.whole(wide)], columns(active, first, size), layer)
            first += size
        if copies:
            self.repeat(f"{at}gelu.repeat", columns(active, 0, ffn), copies, columns(active, ffn, len(copies)), layer)

        def rows() -> Array:
            found = self.weights_of(f"{at}FF2")[0][order]
            shared = (found / parts(ffn, copies)[:, None]).astype(np.float32)
            return np.concatenate([shared, shared[list(copies)]]) if copies else found

        return active, rows


def _derived(model: Checkpoint, form: Form) -> dict[str, Array]:
    """Return the weights that were computed for a form, to be filled in."""
    key = (tuple(sorted(form.copies.items())), tuple(sorted(form.groups.items())))
    found = model.derived.setdefault(key, {})
    while len(model.derived) > FORMS_KEPT:
        model.derived.pop(next(iter(model.derived)))
    return found
