"""The layer graph of a trained decoder (`workloads.checkpoint.decoder`).

The host computes norms, rotary embeddings and the feed-forward layer's activation in float; the array computes the
products and adds the residual stream as int32. All tokens of a sequence are computed at once with a causal mask.
"""

from __future__ import annotations

from sim.graph import Tensor, View
from workloads.checkpoint.centred import row
from workloads.checkpoint.decoder import LM_HEAD, Decoder
from workloads.checkpoint.form import LOGITS, MASK
from workloads.checkpoint.layers import WideEncoder


class DecoderLayers(WideEncoder):
    """Layers with norms before the products; the residual stream is a sum, int32 when the array adds to it."""

    def build_layers(self) -> None:
        """Add everything."""
        stream = self.embeddings()
        for layer in range(self.model.layers):
            stream = self.decoder_layer(layer, stream)
        normed = self.normed("final_norm", stream, f"L{self.model.layers - 1}.output", None)
        x = self.elements(normed, None)
        self.linear(LM_HEAD, x, self.model.vocabulary, LOGITS, None, full=True, repeating=True)

    @property
    def decoder(self) -> Decoder:
        """Properties of the model besides an encoder's sizes."""
        assert self.model.decoder is not None
        return self.model.decoder

    def embedded_sum(self, total: Tensor) -> Tensor:
        """Return the residual stream: decoders have no LayerNorm after their embeddings."""
        return total

    def normed(self, name: str, source: Tensor, out: str, layer: int | None) -> Tensor:
        """Add a norm in float."""
        result = self.tensor(out, source.shape, "fp32")
        if self.decoder.norm == "layernorm":
            return self.host_norm(name, source, result, layer)
        gain = self.tensor(f"{name}.weight", source.shape[-1:], "fp32", "weight")
        self.op(name, "rmsnorm", [View.whole(source)], View.whole(result), layer, gamma=gain.name)
        return result

    def rotated(self, at: str, which: str, x: Tensor, layer: int) -> Tensor:
        """Add the projection of Q or K with its rotary embedding; return it in int8."""
        decoder = self.decoder
        cols = (self.model.heads if which == "Q" else decoder.kv_heads) * decoder.head_dim
        if decoder.rope_base is None:
            return self.projected(at, which, x, cols, layer)
        sums = self.linear(f"{at}matmul_{which}", x, cols, f"{at}{which}.sums", layer, full=True, repeating=True)
        real = self.real(sums, layer)
        if decoder.normed_heads:
            real = self.normed_heads(at, which, real, layer)
        turned = self.tensor(f"{at}{which}.turned", sums.shape, "fp32")
        attrs = {"head_dim": decoder.head_dim, "rotated": decoder.head_dim, "base": decoder.rope_base}
        attrs["position"] = self.form.past
        self.op(f"{at}rope_{which}", "rope", [View.whole(real)], View.whole(turned), layer, **attrs)
        result, into = self.kept(at, which, cols)
        self.op(f"{at}{which}.quantize", "quantize", [View.whole(turned)], into, layer)
        return result

    def normed_heads(self, at: str, which: str, x: Tensor, layer: int) -> Tensor:
        """Add an RMSNorm of each head of Q or K, whose rows are one head of one token."""
        size, result = self.decoder.head_dim, self.tensor(f"{at}{which}.normed", x.shape, "fp32")
        gain = self.tensor(f"{at}norm_{which}.weight", (size,), "fp32", "weight")
        source, into = (View(of.name, 1, x.elements // size, size, size, x.elements) for of in (x, result))
        self.op(f"{at}norm_{which}", "rmsnorm", [source], into, layer, gamma=gain.name)
        return result

    def kept(self, at: str, which: str, cols: int) -> tuple[Tensor, View]:
        """Return the tensor of Q, K or V and the window of this graph's rows in it: K and V follow the cached rows."""
        form = self.form
        if not form.cache or which == "Q":
            result = self.tensor(at + which, (self.seq, cols))
            return result, View.whole(result)
        result = self.tensor(at + which, (form.cache, cols), kind="state")
        return result, View(result.name, 1, self.seq, cols, cols, 0, form.past * cols)

    def projected(self, at: str, which: str, x: Tensor, cols: int, layer: int) -> Tensor:
        """Add a projection to int8, K and V into their cache; return its tensor."""
        result, into = self.kept(at, which, cols)
        name = f"{at}matmul_{which}"
        weight = self.weight(f"{name}.weight", (x.shape[1], cols))
        bias = self.weight(f"{name}.bias", (cols,), self.sums)
        views = [View.whole(x), View.whole(weight), View(bias.name, 1, 1, cols, 0, 0)]
        self.op(name, "matmul", views, into, layer, repeating_bias=True)
        return result

    def attended(self, at: str, q: Tensor, k: Tensor, v: tuple[Tensor, Tensor | None], layer: int) -> Tensor:
        """Add scores, softmax and context; queries of a group share keys and values.

        A single query with a cache sees all keys, without a mask. Its scores have room for all keys of a full cache, so
        that tensors have the same addresses in the graphs of all tokens. ``v``: values, and their mean if it was taken
        out of them, as from those of a vision transformer.
        """
        decoder, seq, past = self.decoder, self.seq, self.form.past
        keys = past + seq
        room = self.form.cache if past else keys
        size, groups = decoder.head_dim, decoder.kv_heads
        heads = self.model.heads // groups
        masked = decoder.causal and not past
        if masked and MASK not in self.shared:
            self.shared[MASK] = self.tensor(MASK, (seq, seq), self.sums, "input")
        context = self.tensor(f"{at}context", (seq, self.model.heads * size))
        alone = heads == 1
        for group in range(1 if alone else groups):
            name = "" if alone else f".g{group}"
            batch, width = (groups if alone else heads), groups * size
            step = size if alone else 0

            def of(tensor: Tensor, batch: int = batch, group: int = group) -> View:
                whole = tensor.shape[1]
                return View(tensor.name, batch, seq, size, whole, size, group * batch * size)

            def rows(tensor: Tensor, batch: int = batch) -> View:
                return View(tensor.name, batch, seq, keys, room, seq * room, 0)

            kv = [View(x.name, batch, keys, size, width, step, group * size) for x in (k, v[0])]
            scores = self.tensor(f"{at}scores{name}", (batch, seq, room), self.sums if self.form.wide_scores else None)
            inputs = [of(q), kv[0], *([View(MASK, batch, seq, seq, seq, 0)] if masked else [])]
            self.op(f"{at}scores{name}", "matmul", inputs, rows(scores), layer, transpose_b=True)
            shares = self.tensor(f"{at}probabilities{name}", scores.shape)
            self.op(f"{at}softmax{name}", "softmax", [rows(scores)], rows(shares), layer)
            inputs = [rows(shares), kv[1], *([] if v[1] is None else [row(v[1], groups)])]
            self.op(f"{at}context{name}", "matmul", inputs, of(context), layer, repeating_bias=v[1] is not None)
        return context

    def decoder_layer(self, layer: int, stream: Tensor) -> Tensor:
        """Add a layer; return the stream, float."""
        model, at = self.model, f"L{layer}."
        x = self.elements(self.normed(f"{at}layernorm1", stream, f"{at}normed1", layer), layer)
        q, k = (self.rotated(at, which, x, layer) for which in "QK")
        kv = self.decoder.kv_heads * self.decoder.head_dim
        v = self.values(at, x, kv, layer) if self.form.centred else (self.projected(at, "V", x, kv, layer), None)
        context = self.attended(at, q, k, v, layer)
        stream = self.real(self.onto(f"{at}W_out", context, stream, f"{at}sum1", layer), layer)
        x = self.elements(self.normed(f"{at}layernorm2", stream, f"{at}normed2", layer), layer)
        expanded = self.linear(f"{at}FF1", x, model.ffn, f"{at}expanded", layer, full=True, repeating=True)
        source, active = self.real(expanded, layer), self.tensor(f"{at}active", expanded.shape, "fp32")
        if self.decoder.gated:
            gate = self.linear(f"{at}FF_gate", x, model.ffn, f"{at}gate", layer, full=True, repeating=True)
            opened = self.tensor(f"{at}opened", gate.shape, "fp32")
            self.op(f"{at}activation", self.decoder.activation, [View.whole(self.real(gate, layer))],
                    View.whole(opened), layer)  # fmt: skip
            self.op(f"{at}gated", "multiply", [View.whole(source), View.whole(opened)], View.whole(active), layer)
        else:
            self.op(f"{at}activation", self.decoder.activation, [View.whole(source)], View.whole(active), layer)
        return self.real(self.onto(f"{at}FF2", self.elements(active, layer), stream, f"{at}sum2", layer), layer)
