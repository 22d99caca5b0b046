"""Block-circulant products in the frequency domain (FTRANS, Li et al., ISLPED 2020): C = IFFT(FFT(A) x FFT(B)).

B[K,N] of b x b circulant blocks takes a vector of K/b blocks to one of N/b: per frequency a product [M, K/b] x
[K/b, N/b] of complex numbers. Real signals have b/2 + 1 frequencies; the first and the last are real, the others are
products of twice the size in real numbers, [re im] x [[re, im], [-im, re]]. So one operator X becomes

    X.fft      unit    A -> spectra, frequency after frequency (shared by all products of the same A)
    X.real     array   2 products  [M, K/b] x [K/b, N/b]
    X.complex  array   b/2 - 1 products  [M, 2K/b] x [2K/b, 2N/b]
    X.ifft     unit    sums at full width -> C, scaled, activated

A spectrum has as many numbers as its block; that of a constant bias is added by the array. Everything passes through
memory between the steps: the array loads spectra and stores sums like any operands; published designs keep them on
chip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sim.graph import Graph, Op, Tensor, View
from sim.sparsity.structure import covers


@dataclass
class _Split:
    """The tensors of a graph under construction; ``spectra``: windows transformed already, by window and block."""

    tensors: dict[str, Tensor]
    spectra: dict[tuple[View, int], str]

    def panels(self, name: str, sizes: tuple[int, int, int], dtype: str, kind: str, block: int) -> tuple[View, View]:
        """Add a tensor of ``block`` / 2 + 1 panels.

        ``sizes``: rows, columns, and whether rows double with the columns (0 or 1).

        Returns its two real panels and its complex ones, each twice as wide (and, where requested, twice as high).
        """
        rows, cols, grows = sizes
        panel, wide_rows = rows * cols, rows * 2 if grows else rows
        wide = wide_rows * 2 * cols
        count = block // 2 - 1
        if name not in self.tensors:
            self.tensors[name] = Tensor(name, (2 * panel + count * wide,), dtype, kind)
        real = View(name, 2, rows, cols, cols, panel)
        return real, View(name, count, wide_rows, 2 * cols, 2 * cols, wide, 2 * panel)

    def spectra_name(self, view: View, op: Op) -> str:
        """Return the name of the spectra of a weight or bias; a window of one has spectra of its own."""
        whole = covers(view, self.tensors[view.tensor])
        return f"{view.tensor}.spectra" if whole else f"{view.tensor}.{op.name}.spectra"


def edit(graph: Graph, named: list[Op], block: int) -> Graph:
    """Return the graph with the named products in the frequency domain; sizes have been checked before."""
    split = _Split(dict(graph.tensors), {})
    names = {op.name for op in named}
    ops = [part for op in graph.ops for part in (_parts(split, op, block) if op.name in names else [op])]
    used = {view.tensor for op in ops for view in (*op.inputs, op.output)}
    used |= {name for op in ops for name in op.attrs.values() if isinstance(name, str)}
    return Graph(
        graph.name, {name: tensor for name, tensor in split.tensors.items() if name in used}, tuple(ops), graph.sizes
    )


def _parts(split: _Split, op: Op, block: int) -> list[Op]:
    m, n, k = op.mnk
    a, b, *bias = op.inputs
    ops = []
    key = (a, block)
    if key not in split.spectra:
        split.spectra[key] = f"{op.name}.spectra"
        dtype = split.tensors[a.tensor].dtype
        split.panels(split.spectra[key], (m, k // block, 0), dtype, "activation", block)
        whole = View(split.spectra[key], 1, m, k, k, m * k)
        ops.append(Op(f"{op.name}.fft", "fft", (a,), whole, {"block": block}, op.layer))
    spectra = split.panels(split.spectra[key], (m, k // block, 0), "", "", block)
    weights = split.panels(
        split.spectra_name(b, op), (k // block, n // block, 1), split.tensors[b.tensor].dtype, "weight", block
    )
    sums = split.panels(f"{op.name}.sums", (m, n // block, 0), "int32", "activation", block)
    added: list[tuple[View, ...]] = [(), ()]
    if bias:
        name, rows = split.spectra_name(bias[0], op), 1 if op.attrs["repeating_bias"] else m
        added = [(view,) for view in split.panels(name, (rows, n // block, 0), "int32", "weight", block)]
    attrs = {**op.attrs, "activation": "none"}
    for number, part in enumerate(("real", "complex")):
        operands = (spectra[number], weights[number], *added[number])
        ops.append(replace(op, name=f"{op.name}.{part}", inputs=operands, output=sums[number], attrs=attrs))
    whole = View(f"{op.name}.sums", 1, m, n, n, m * n)
    after = {"block": block, "activation": op.attrs["activation"]}
    return [*ops, Op(f"{op.name}.ifft", "ifft", (whole,), op.output, after, op.layer)]


def problems(op: Op, graph: Graph, block: int) -> list[str]:
    """Return why a product cannot be computed by transforms of ``block``, without its name."""
    found = []
    if block < 4 or block & (block - 1):
        nearest = 1 << max(2, block.bit_length() - 1)
        found.append(f"block {block} must be a power of two of at least 4 to be transformed (nearest: {nearest})")
    if op.attrs["transpose_a"] or op.attrs["transpose_b"] or op.batch > 1:
        found.append("must multiply plain matrices, without repetitions, to be transformed")
    if len(op.inputs) > 2 and graph.tensors[op.inputs[2].tensor].kind != "weight":
        found.append(f"adds {op.inputs[2].tensor}, which is computed; only constants are transformed")
    return found
