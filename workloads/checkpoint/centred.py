"""Attention to values without their mean over the tokens, which is added behind the product.

The normaliser stores a softmax in steps of 1/127: in a long row most probabilities round to 0. A row of probabilities
sums to 1, so P V = P (V - c) + c for any row c. With the mean of V as c, what rounds to 0 loses only the deviation of
its value from the mean.

c comes from the array: the mean over the tokens of what V is computed from, times V's weights. V's bias subtracts it
and the context's adds it, in another unit, n times that of the bias (`sim.functional.quantization.centring`). So the
mean is split into n times a whole number (``high``) and a rest (``low``), whose weights are divided by n.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim.graph import Tensor, View
from sim.graph.encoder import Builder
from workloads.checkpoint.form import MINUS, SHARES

LOW = ".low"
"""Behind the name of V's weights: the same in coarser units, for the low part of the mean."""


def centred_values(
    builder: Builder, shared: dict[str, Tensor], x: Tensor, weights: tuple[View, View], out: Tensor, layer: int
) -> Tensor:
    """Add ``out`` = x times weights, without its mean c; return c [1, columns], in the type of sums, with the bias.

    ``x``: [tokens, hidden]. ``weights``: matrix and bias. ``shared``: the graph's inputs that all layers read.
    """
    (weight, bias), at, cols = weights, out.name, x.shape[1]

    def product(name: str, a: Tensor, b: View, added: View | None, wide: bool = False) -> Tensor:
        result = builder.tensor(f"{at}.{name}", (1, b.cols), builder.sums if wide else None)
        inputs = [View.whole(a), b, *([] if added is None else [added])]
        attrs = {"repeating_bias": added is not None}
        builder.op(result.name, "matmul", inputs, View.whole(result), layer, **attrs)
        return result

    if SHARES not in shared:
        shared[SHARES] = builder.tensor(SHARES, (1, x.shape[0]), kind="input")
        shared[MINUS] = builder.tensor(MINUS, (1, 1), kind="input")
    minus = builder.tensor(f"{at}.{MINUS}", (1, 1), kind="input")
    coarse = builder.tensor(f"{weight.tensor}{LOW}", (cols, weight.cols), kind="weight")
    negative = product("negative", shared[SHARES], View.whole(x), None)
    high = product("high", shared[MINUS], View.whole(negative), None)
    mean = product("mean", shared[MINUS], View.whole(negative), None, wide=True)
    low = product("low", minus, View.whole(high), row(mean))
    offset = product("offset", negative, weight, None, wide=True)
    most = product("centre_high", high, weight, bias, wide=True)
    centre = product("centre", low, View.whole(coarse), row(most), wide=True)
    inputs = [View.whole(x), weight, row(offset)]
    builder.op(weight.tensor.removesuffix(".weight"), "matmul", inputs, View.whole(out), layer, repeating_bias=True)
    return centre


def row(tensor: Tensor, heads: int = 1) -> View:
    """Return one row as a bias that is added to every row; ``heads``: a part of it for each head."""
    cols = tensor.shape[-1] // heads
    return View(tensor.name, heads, 1, cols, 0, cols if heads > 1 else 0)


def constants(tensors: list[Tensor], weights: dict[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.float32]]:
    """Return the values of the tensors that `centred_values` adds to a graph, but those of `SHARES`."""
    found = {}
    for tensor in tensors:
        if tensor.name.endswith(MINUS):
            found[tensor.name] = np.full((1, 1), -1, np.float32)
        elif tensor.name.endswith(f".weight{LOW}"):
            found[tensor.name] = weights[tensor.name.removesuffix(LOW)]
    return found
