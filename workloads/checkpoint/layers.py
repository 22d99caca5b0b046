"""Layers of a trained encoder: operators that the array lacks run in float on the host.

Values between layers are float or int8.
"""

from __future__ import annotations

from sim.graph import Graph, Tensor, View
from sim.graph.encoder import Builder
from workloads.checkpoint.centred import centred_values, row
from workloads.checkpoint.form import IDENTITY, LOGITS, MASK, POOLED, Engines, Form
from workloads.checkpoint.head import POOLER
from workloads.checkpoint.model import Checkpoint


class Encoder(Builder):
    """Collects the tensors and operators of one model."""

    def __init__(self, model: Checkpoint, seq: int, engines: Engines, form: Form):
        super().__init__("int8")
        self.model, self.seq, self.engines, self.form = model, seq, engines, form
        self.shared: dict[str, Tensor] = {}

    def build(self) -> Graph:
        """Return the graph."""
        self.build_layers()
        return Graph(self.model.name, {tensor.name: tensor for tensor in self.tensors}, tuple(self.ops))

    def build_layers(self) -> None:
        """Add everything."""
        data = self.embeddings()
        for layer in range(self.model.layers):
            data = self.encoder_layer(layer, data)
        self.head(data)

    def embeddings(self) -> Tensor:
        """Add the embeddings; return the input of the first layer."""
        model, shape = self.model, (self.seq, self.model.hidden)
        dtype = "int8" if self.engines.embeddings == "array" else "fp32"
        total: Tensor | None = None
        for what in ("word", "position", "token_type"):
            if what not in model.weights:
                continue
            ids = self.tensor(f"{what}_ids", (1, self.seq), "int32", "input")
            table = self.tensor(f"{what}_table", model.weights[what].shape, dtype, "weight")
            found = self.tensor(f"{what}_embedding", shape, dtype)
            self.op(f"embed_{what}", "embedding", [View.whole(ids), View.whole(table)], View.whole(found), None)
            if total is None:
                total = found
                continue
            result = self.tensor(f"sum_{what}", shape, dtype)
            self.op(f"add_{what}", "residual_add", [View.whole(total), View.whole(found)], View.whole(result), None)
            total = result
        assert total is not None
        if dtype == "int8":
            return self.normalise("embed_norm", total, "input", None)
        return self.embedded_sum(total)

    def embedded_sum(self, total: Tensor) -> Tensor:
        """Return the input of the first layer, from the sum of the embeddings in float."""
        normed = self.tensor("embedded", total.shape, "fp32")
        self.host_norm("embed_norm", total, normed, None)
        return self.embedded(normed)

    def embedded(self, normed: Tensor) -> Tensor:
        """Return the stream that the first layer reads, from the embeddings in float."""
        return self.map("quantize_input", "quantize", [normed], "input", None)

    def normalise(self, name: str, source: Tensor, out: str, layer: int | None) -> Tensor:
        """LayerNorm of int8, with its gain and shift."""
        if self.engines.layernorm == "host":
            if not self.form.float_norm:
                return self.host_norm(name, source, self.tensor(out, source.shape), layer)
            x = self.tensor(f"{source.name}.float", source.shape, "fp32")
            self.op(f"{name}.dequantize", "dequantize", [View.whole(source)], View.whole(x), layer)
            y = self.host_norm(name, x, self.tensor(f"{out}.float", source.shape, "fp32"), layer)
            return self.map(f"{name}.quantize", "quantize", [y], out, layer)
        wide = self.widen(f"{name}.widen", source, "layernorm", f"{name}.widened", "int32", layer)
        normed = self.map(name, "layernorm", [wide], f"{name}.normed", layer)
        gain = self.tensor(f"{name}.gain", (source.shape[1],) * 2, kind="weight")
        shift = self.tensor(f"{name}.shift", source.shape[1:], self.sums, "weight")
        result = self.tensor(out, source.shape)
        views = [View.whole(normed), View.whole(gain), View(shift.name, 1, 1, source.shape[1], 0, 0)]
        self.op(f"{name}.gain", "matmul", views, View.whole(result), layer, repeating_bias=True)
        return result

    def host_norm(self, name: str, source: Tensor, result: Tensor, layer: int | None) -> Tensor:
        """Add a LayerNorm with gain and shift, which only a host supports."""
        weights = {"gamma": f"{name}.weight", "beta": f"{name}.bias"}
        for weight in weights.values():
            self.tensor(weight, source.shape[-1:], "fp32", "weight")
        self.op(name, "layernorm", [View.whole(source)], View.whole(result), layer, **weights)
        return result

    def widen(self, name: str, source: Tensor, use: str, out: str, dtype: str, layer: int | None) -> Tensor:
        """Multiply by an identity; operators of one use share it."""
        if use not in self.shared:
            self.shared[use] = self.tensor(IDENTITY + use, (source.shape[1],) * 2, kind="weight")
        result = self.tensor(out, source.shape, dtype)
        views = [View.whole(source), View.whole(self.shared[use])]
        self.op(name, "matmul", views, View.whole(result), layer)
        return result

    def attention(self, at: str, q: Tensor, k: Tensor, v: tuple[Tensor, Tensor | None], layer: int) -> Tensor:
        """Add scores, softmax and context. ``v``: values, and their mean if it was taken out of them."""
        model, seq = self.model, self.seq

        def split(tensor: Tensor) -> View:
            return View(tensor.name, model.heads, seq, model.head_dim, model.hidden, model.head_dim)

        scores = self.tensor(f"{at}scores", (model.heads, seq, seq), self.sums if self.form.wide_scores else None)
        inputs = [split(q), split(k)]
        if self.form.padded:
            if MASK not in self.shared:
                self.shared[MASK] = self.tensor(MASK, (seq,), self.sums, "input")
            inputs.append(View(MASK, 1, 1, seq, 0, 0))
        attrs = {"transpose_b": True, "repeating_bias": self.form.padded}
        self.op(f"{at}scores", "matmul", inputs, View.whole(scores), layer, **attrs)
        shares = self.map(f"{at}softmax", "softmax", [scores], f"{at}probabilities", layer)
        context = self.tensor(f"{at}context", (seq, model.hidden))
        values, centre = v
        inputs = [View.whole(shares), split(values), *([] if centre is None else [row(centre, model.heads)])]
        self.op(f"{at}context", "matmul", inputs, split(context), layer, repeating_bias=centre is not None)
        return context

    def encoder_layer(self, layer: int, source: Tensor) -> Tensor:
        """Add a layer; return its output."""
        model, at = self.model, f"L{layer}."

        def linear(name: str, x: Tensor, cols: int, out: str, full: bool = False) -> Tensor:
            return self.linear(at + name, x, cols, at + out, layer, full=full, repeating=True)

        def add_and_norm(which: int, x: Tensor, y: Tensor, out: str) -> Tensor:
            summed = self.map(f"{at}residual_add{which}", "residual_add", [x, y], f"{at}sum{which}", layer)
            return self.normalise(f"{at}layernorm{which}", summed, at + out, layer)

        q, k, v = (linear(f"matmul_{x}", source, model.hidden, x) for x in "QKV")
        context = self.attention(at, q, k, (v, None), layer)
        attended = add_and_norm(1, source, linear("W_out", context, model.hidden, "projected"), "attended")
        wide = self.engines.gelu == "host" and self.form.full_sums
        expanded = linear("FF1", attended, model.ffn, "expanded", full=wide)
        if self.engines.gelu == "array":
            expanded = self.widen(f"{at}gelu.widen", expanded, "gelu", f"{at}gelu.widened", "int8", layer)
        active = self.tensor(f"{at}active", expanded.shape)
        self.op(f"{at}gelu", "gelu", [View.whole(expanded)], View.whole(active), layer)
        return add_and_norm(2, attended, linear("FF2", active, model.hidden, "reduced"), "output")

    def head(self, source: Tensor) -> None:
        """Add the head: its layers read the first token, or all of them."""
        head = self.model.head
        if head is None:
            return
        rows = self.seq if head.kind in ("tokens", "span") else 1
        view = View(source.name, 1, rows, source.shape[1], source.shape[1], 0)
        for name in head.layers:
            cols = self.model.weights[f"{name}.bias"].size
            weight = self.tensor(f"{name}.weight", (view.cols, cols), kind="weight")
            bias = self.tensor(f"{name}.bias", (cols,), self.sums, "weight")
            inputs = [view, View.whole(weight), View(bias.name, 1, 1, cols, 0, 0)]
            wide = self.sums if self.form.full_sums and name != "pre_classifier" else None
            out = {"pooler": "pooler.sums", "pre_classifier": POOLED}.get(name, LOGITS)
            result = self.tensor(out, (rows, cols), wide)
            relu = "relu" if name == "pre_classifier" else "none"
            self.op(name, "matmul", inputs, View.whole(result), None, repeating_bias=True, activation=relu)
            if name == POOLER:
                result = self.map("pooler.tanh", "tanh", [result], POOLED, None)
            view = View.whole(result)


class WideEncoder(Encoder):
    """The residual stream is float on the host, which stores it as int8 for products and as int32 for sums."""

    def embedded(self, normed: Tensor) -> Tensor:
        """Return the stream that the first layer reads: float."""
        return normed

    def elements(self, source: Tensor, layer: int | None) -> Tensor:
        """Return the int8 form of a host's tensor, outlier columns split."""
        copies = self.form.copies.get(source.name, ())
        result = self.tensor(f"{source.name}.int8", (source.shape[0], source.shape[1] + len(copies)))
        self.op(
            f"{source.name}.quantize", "quantize", [View.whole(source)], View.whole(result), layer, copies=tuple(copies)
        )
        return result

    def real(self, sums: Tensor, layer: int | None) -> Tensor:
        """Return the float form of sums, for the host."""
        result = self.tensor(f"{sums.name}.float", sums.shape, "fp32")
        self.op(f"{sums.name}.dequantize", "dequantize", [View.whole(sums)], View.whole(result), layer)
        return result

    def values(self, at: str, x: Tensor, cols: int, layer: int) -> tuple[Tensor, Tensor | None]:
        """Add the product of V; return it, and its mean if the form takes that out."""
        name, out = f"{at}matmul_V", f"{at}V"
        if not self.form.centred:
            return self.linear(name, x, cols, out, layer, full=False, repeating=True), None
        weight = self.weight(f"{name}.weight", (x.shape[1], cols))
        bias = self.weight(f"{name}.bias", (cols,), self.sums)
        result = self.tensor(out, (x.shape[0], cols))
        weights = View.whole(weight), row(bias)
        return result, centred_values(self, self.shared, x, weights, result, layer)

    def onto(self, name: str, x: Tensor, stream: Tensor, out: str, layer: int) -> Tensor:
        """Return x times weights, added to the stream in the accumulator: int32."""
        bias = self.tensor(f"{name}.bias", stream.shape[-1:], "fp32", "weight")
        wide = self.tensor(f"{out}.residual", stream.shape, self.sums)
        self.op(f"{wide.name}.quantize", "quantize", [View.whole(stream)], View.whole(wide), layer, offset=bias.name)
        weight = self.tensor(f"{name}.weight", (x.shape[1], stream.shape[1]), kind="weight")
        result = self.tensor(out, stream.shape, self.sums)
        self.op(name, "matmul", [View.whole(x), View.whole(weight), View.whole(wide)], View.whole(result), layer)
        return result

    def encoder_layer(self, layer: int, source: Tensor) -> Tensor:
        """Add a layer; return its output, float."""
        model, at = self.model, f"L{layer}."

        def norm(which: int, summed: Tensor, out: str) -> Tensor:
            result = self.tensor(at + out, summed.shape, "fp32")
            return self.host_norm(f"{at}layernorm{which}", self.real(summed, layer), result, layer)

        x = self.elements(source, layer)
        q, k = (
            self.linear(f"{at}matmul_{n}", x, model.hidden, at + n, layer, full=False, repeating=True) for n in "QK"
        )
        context = self.attention(at, q, k, self.values(at, x, model.hidden, layer), layer)
        attended = norm(1, self.onto(f"{at}W_out", context, source, f"{at}sum1", layer), "attended")
        x = self.elements(attended, layer)
        expanded = self.linear(f"{at}FF1", x, model.ffn, f"{at}expanded", layer, full=True, repeating=True)
        active = self.tensor(f"{at}active", expanded.shape, "fp32")
        self.op(f"{at}gelu", "gelu", [View.whole(self.real(expanded, layer))], View.whole(active), layer)
        return norm(2, self.onto(f"{at}FF2", self.elements(active, layer), attended, f"{at}sum2", layer), "output")

    def head(self, source: Tensor) -> None:
        """Add the head."""
        super().head(self.elements(source, None) if self.model.head else source)
