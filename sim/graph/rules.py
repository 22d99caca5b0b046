"""The rules that a graph obeys: what each kind of operator takes, types, windows, order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Any

from sim.base.errors import did_you_mean
from sim.graph.windows import positions

if TYPE_CHECKING:
    from sim.graph.graph import Op, Tensor, View

DTYPE_BYTES = {"int8": 1, "int16": 2, "int32": 4, "fp16": 2, "bf16": 2, "fp32": 4}

ACCUMULATOR = {"int8": "int32", "int16": "int32", "fp16": "fp32", "bf16": "fp32", "fp32": "fp32"}
"""Element type of a matmul's operands -> type of its sums and of its bias."""

ATTRIBUTES: dict[str, dict[str, Any]] = {
    "matmul": {
        "transpose_a": False,
        "transpose_b": False,
        "activation": "none",
        "scale": 1.0,
        "repeating_bias": False,
    },
    "conv": {
        "in_rows": 0,
        "in_cols": 0,
        "kernel": 1,
        "stride": 1,
        "padding": 0,
        "activation": "none",
        "scale": 1.0,
    },
    "maxpool": {"in_rows": 0, "in_cols": 0, "kernel": 2, "stride": 2, "padding": 0},
    "softmax": {},
    "layernorm": {"gamma": None, "beta": None},
    "gelu": {},
    "tanh": {},
    "residual_add": {"activation": "none"},
    "copy": {},
    "gather": {"columns": ()},
    "fft": {"block": 16},
    "ifft": {"block": 16, "activation": "none"},
    "top_k": {},
    "predict": {},
    "mask": {"rule": "top_k"},
    "embedding": {},
    "quantize": {},
    "dequantize": {},
}
"""Operator kinds, each with its attributes and their defaults."""

INPUTS = {"matmul": (2, 3), "conv": (2, 3), "residual_add": (2,), "embedding": (2,), "predict": (2,)}
"""Legal numbers of inputs of a kind; 1 for kinds that are not listed."""


def writers(ops: Sequence[Op]) -> dict[str, list[tuple[int, View]]]:
    """Return, by tensor, the operators that write it: index and window."""
    found: dict[str, list[tuple[int, View]]] = {}
    for index, op in enumerate(ops):
        found.setdefault(op.output.tensor, []).append((index, op.output))
    return found


def meet(a: View, b: View) -> bool:
    """Return whether the ranges from first to last element of two windows of one tensor intersect."""
    return a.offset < b.end and b.offset < a.end


def rule_problems(tensors: Mapping[str, Tensor], ops: Sequence[Op]) -> list[str]:
    """Return every broken rule but those of order; a later group of rules needs the earlier ones to hold."""
    uses = Counter(op.name for op in ops)
    problems = [f"{count} operators are named {name!r}" for name, count in uses.items() if count > 1]
    problems += [] if uses else ["has no operators"]
    wrong = {key: _tensor_problems(key, tensor) for key, tensor in tensors.items()}
    problems += [problem for found in wrong.values() for problem in found]
    for op in ops:
        views = (*op.inputs, op.output)
        found = [p for view in views for p in _view_problems(view, tensors, wrong)]
        if not found and not any(wrong[view.tensor] for view in views):
            found = _op_problems(op, tensors)
        problems += [f"{op.name}: {p}" for p in found]
    return problems


def _is_count(value: object, least: int) -> bool:
    """Return whether ``value`` is a whole number of at least ``least``; True and False are no numbers."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _broken(rules: Mapping[str, bool]) -> list[str]:
    return [rule for rule, holds in rules.items() if not holds]


def _unknown(what: str, word: object, known: Iterable[str]) -> str:
    return f"unknown {what} {word!r}{did_you_mean(str(word), known)}"


def _tensor_problems(key: str, tensor: Tensor) -> list[str]:
    kinds, shape = ("input", "weight", "activation"), tensor.shape
    rules = {
        f"is filed under the name {key!r}": key == tensor.name,
        f"shape {shape!r} must be whole numbers >= 1": bool(shape) and all(_is_count(n, 1) for n in shape),
    }
    words = (("dtype", tensor.dtype, tuple(DTYPE_BYTES)), ("kind", tensor.kind, kinds))
    problems = _broken(rules) + [_unknown(what, word, known) for what, word, known in words if word not in known]
    return [f"tensor {tensor.name!r}: {problem}" for problem in problems]


def _view_problems(view: View, tensors: Mapping[str, Tensor], wrong: Mapping[str, list[str]]) -> list[str]:
    if view.tensor not in tensors:
        return [_unknown("tensor", view.tensor, tensors)]
    least = {"batch": 1, "rows": 1, "cols": 1, "row_stride": 0, "batch_stride": 0, "offset": 0}
    values = {name: getattr(view, name) for name in least}
    problems = _broken({f"{n} is {v!r}, must be >= {least[n]}": _is_count(v, least[n]) for n, v in values.items()})
    if not problems and not wrong[view.tensor] and view.end > (size := tensors[view.tensor].elements):
        problems = [f"ends at element {view.end}, the tensor has {size} ({view.end - size} too many)"]
    return [f"view of {view.tensor!r}: {problem}" for problem in problems]


def _op_problems(op: Op, tensors: Mapping[str, Tensor]) -> list[str]:
    if op.kind not in ATTRIBUTES:
        return [_unknown("operator kind", op.kind, ATTRIBUTES)]
    known, legal = ATTRIBUTES[op.kind], INPUTS.get(op.kind, (1,))
    problems = [_unknown(f"{op.kind} attribute", name, known) for name in op.attrs if name not in known]
    if op.layer is not None and not _is_count(op.layer, 0):
        problems.append(f"layer is {op.layer!r}, must be a whole number >= 0 or none")
    if len(op.inputs) not in legal:
        return [*problems, f"{op.kind} takes {' or '.join(map(str, legal))} inputs, not {len(op.inputs)}"]
    dtypes = [tensors[view.tensor].dtype for view in (*op.inputs, op.output)]
    special = {
        "matmul": _matmul_rules,
        "embedding": _embedding_rules,
        "conv": _conv_rules,
        "maxpool": _maxpool_rules,
        "top_k": _top_k_rules,
        "predict": _predict_rules,
        "mask": _mask_rules,
        "gather": _gather_rules,
        "fft": _transform_rules,
        "ifft": _transform_rules,
    }
    problems += _broken(special.get(op.kind, _elementwise_rules)(op, dtypes))
    if op.kind == "layernorm":
        shift_scale = [(name, op.attrs[name]) for name in known if op.attrs[name] is not None]
        fits = {n: t.kind == "weight" and t.elements == op.output.cols for n, t in tensors.items()}
        problems += [
            f"{name} must name a weight of {op.output.cols} elements, not {weight!r}"
            for name, weight in shift_scale
            if not fits.get(weight, False)
        ]
    return problems


def _embedding_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    ids, table = op.inputs
    rows, cols = op.output.batch * op.output.rows, op.output.cols
    return {
        f"{ids.elements} ids give {rows} rows": ids.elements == rows,
        f"rows of {table.cols} in the table, {cols} in the output": table.cols == cols,
        f"ids must be int32, not {dtypes[0]}": dtypes[0] == "int32",
        f"table {dtypes[1]} and output {dtypes[2]} must be one dtype": dtypes[1] == dtypes[2],
    }


def _gather_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    source, put, columns = op.inputs[0], op.output, op.attrs["columns"]
    sound = all(_is_count(column, 0) and column < source.cols for column in columns)
    rising = sound and all(one < two for one, two in pairwise(columns))
    return {
        f"columns must be rising whole numbers below {source.cols}": rising,
        f"{len(columns)} columns of {source.rows} rows give an output of {put}": put.cols == len(columns)
        and (put.batch, put.rows) == (source.batch, source.rows),
        f"input {dtypes[0]} and output {dtypes[1]} must be one dtype": dtypes[0] == dtypes[1],
    }


def _transform_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    block, cols = op.attrs["block"], op.output.cols
    power = _is_count(block, 4) and block & (block - 1) == 0
    return {
        f"block {block!r} must be a power of two of at least 4": power,
        f"blocks of {block} do not divide {cols} columns": not power or cols % block == 0,
        f"{op.inputs[0].elements} elements in, {op.output.elements} out": op.inputs[0].elements == op.output.elements,
        f"a transform of {dtypes[0]} gives it again, not {dtypes[1]}": op.kind == "ifft" or dtypes[0] == dtypes[1],
    }


def _top_k_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    scores, kept = op.inputs[0].cols, op.output.elements
    return {
        f"{kept} of {scores} scores cannot be kept": kept <= scores,
        f"the places of the kept scores are int32, not {dtypes[1]}": dtypes[1] == "int32",
    }


MASK_RULES = ("top_k", "threshold")
"""How the scores that count are chosen from predicted ones."""


def _predict_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    queries, keys = op.inputs
    return {
        f"queries have {queries.cols} columns, keys {keys.cols}": queries.cols == keys.cols,
        f"{queries.rows} queries and {keys.rows} keys give {queries.rows}x{keys.rows} scores, not "
        f"{op.output.rows}x{op.output.cols}": op.output.shape[1:] == (queries.rows, keys.rows),
        f"dtypes {', '.join(dtypes)} must be one": len(set(dtypes)) == 1,
    }


def _mask_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    del dtypes
    scores, size = op.inputs[0], -(-op.inputs[0].cols // 8)
    return {
        f"rule is {op.attrs['rule']!r}, can be {', '.join(MASK_RULES)}": op.attrs["rule"] in MASK_RULES,
        f"a bit for each of {scores.cols} scores is {size} bytes a row, not {op.output.cols}": op.output.shape
        == (scores.batch, scores.rows, size),
    }


def _matmul_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    a, b, *bias = op.inputs
    attrs, element = op.attrs, dtypes[0]
    m, k = (a.cols, a.rows) if attrs["transpose_a"] else (a.rows, a.cols)
    k_of_b, n = (b.cols, b.rows) if attrs["transpose_b"] else (b.rows, b.cols)
    sums = ACCUMULATOR.get(element, "none")
    scale = attrs["scale"]
    is_number = isinstance(scale, (int, float)) and not isinstance(scale, bool)
    rules = {
        f"{name} is {attrs[name]!r}, must be true or false": isinstance(attrs[name], bool)
        for name in ("transpose_a", "transpose_b", "repeating_bias")
    }
    rules |= {
        f"inner sizes differ: A is {m}x{k} and B is {k_of_b}x{n} (after transposes)": k == k_of_b,
        f"output is {op.output.rows}x{op.output.cols}, A x B is {m}x{n}": op.output.shape[1:] == (m, n),
        f"A {dtypes[0]} and B {dtypes[1]} must be one dtype": dtypes[0] == dtypes[1],
        f"A is {element}, can be {', '.join(ACCUMULATOR)}": element in ACCUMULATOR,
        f"output is {dtypes[-1]}, must be {element} or {sums}": dtypes[-1] in (element, sums),
        f"activation is {attrs['activation']!r}, can be none, relu": attrs["activation"] in ("none", "relu"),
        f"scale is {scale!r}, must be a number > 0": is_number and 0 < scale < inf,
    }
    if bias:
        rows = 1 if attrs["repeating_bias"] else m
        rules[f"bias is {bias[0].rows}x{bias[0].cols}, must be {rows}x{n}"] = bias[0].shape[1:] == (rows, n)
        rules[f"bias is {dtypes[2]}, must be {sums}"] = dtypes[2] == sums
    for name, view in zip(("A", "B", "bias"), op.inputs, strict=False):
        rules[f"{name} has batch {view.batch}, must be 1 or {op.batch}"] = view.batch in (1, op.batch)
    return rules


def window_results(attrs: Mapping[str, Any]) -> tuple[int, int]:
    """Return (rows, cols) of the result of a convolution or pooling with these attributes."""
    kernel, stride, padding = attrs["kernel"], attrs["stride"], attrs["padding"]
    rows, cols = (positions(attrs[name], kernel, stride, padding) for name in ("in_rows", "in_cols"))
    return rows, cols


def _window_rules(op: Op, channels: int) -> dict[str, bool]:
    """Images lie pixel by pixel, row by row, image by image: one row of a view is one pixel's channels."""
    attrs, image, result = op.attrs, op.inputs[0], op.output
    least = {"in_rows": 1, "in_cols": 1, "kernel": 1, "stride": 1, "padding": 0}
    rules = {
        f"{name} is {attrs[name]!r}, must be a whole number >= {n}": _is_count(attrs[name], n)
        for name, n in least.items()
    }
    if not all(rules.values()):
        return rules
    pixels, (rows, cols) = attrs["in_rows"] * attrs["in_cols"], window_results(attrs)
    size = f"{attrs['in_rows']}x{attrs['in_cols']}"
    rules[f"padding {attrs['padding']} must be smaller than kernel {attrs['kernel']}"] = (
        attrs["padding"] < attrs["kernel"]
    )
    rules[f"the kernel of {attrs['kernel']} exceeds the image of {size}"] = min(rows, cols) >= 1
    rules[
        f"input and output have batch {image.batch} and {result.batch}, must be 1 (images lie one behind the other)"
    ] = image.batch == result.batch == 1
    rules[f"the input has {image.rows} pixels, no whole number of images of {size}"] = image.rows % pixels == 0
    images = image.rows // pixels
    rules[f"output is {result}, must be {images * rows * cols}x{channels} ({images} of {rows}x{cols})"] = (
        result.rows == images * rows * cols and result.cols == channels
    )
    return rules


def _conv_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    image, weights, *bias = op.inputs
    element, attrs = dtypes[0], op.attrs
    sums = ACCUMULATOR.get(element, "none")
    rules = _window_rules(op, weights.cols)
    if _is_count(attrs["kernel"], 1):
        wanted = attrs["kernel"] ** 2 * image.cols
        rules[f"weights are {weights}, must have {wanted} rows (kernel * kernel * {image.cols} channels)"] = (
            weights.shape[:2] == (1, wanted)
        )
    rules |= {
        f"input {dtypes[0]}, weights {dtypes[1]} and output {dtypes[-1]} must be one dtype": len(
            {*dtypes[:2], dtypes[-1]}
        )
        == 1,
        f"input is {element}, can be {', '.join(ACCUMULATOR)}": element in ACCUMULATOR,
        f"activation is {attrs['activation']!r}, can be none, relu": attrs["activation"] in ("none", "relu"),
    }
    if bias:
        rules[f"bias is {bias[0]}, must be 1x{weights.cols}"] = bias[0].shape == (1, 1, weights.cols)
        rules[f"bias is {dtypes[2]}, must be {sums}"] = dtypes[2] == sums
    return rules


def _maxpool_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    same = f"input {dtypes[0]} and output {dtypes[-1]} must be one dtype"
    return {**_window_rules(op, op.inputs[0].cols), same: dtypes[0] == dtypes[-1]}


def _elementwise_rules(op: Op, dtypes: Sequence[str]) -> dict[str, bool]:
    source, result = dtypes[0], dtypes[-1]
    rules = {f"input is {v}, output {op.output}: must be one shape": v.shape == op.output.shape for v in op.inputs}
    if op.kind == "residual_add":
        activation = op.attrs["activation"]
        rules[f"dtypes {', '.join(dtypes)} must be one"] = len(set(dtypes)) == 1
        rules[f"activation is {activation!r}, can be none, relu"] = activation in ("none", "relu")
    elif op.kind == "quantize":
        rules[f"quantizes to int8 or int16, from a wider dtype, not {source} to {result}"] = (
            result in ("int8", "int16") and DTYPE_BYTES[source] >= DTYPE_BYTES[result] and source != result
        )
    elif op.kind == "dequantize":
        rules[f"dequantizes from an integer to a float or to int32, not {source} to {result}"] = (
            source[0] == "i" and source != result and result not in ("int8", "int16")
        )
    else:
        rules[f"input {source} and output {result} must both be integers or both floats"] = (source[0] == "i") == (
            result[0] == "i"
        )
    return rules


def order_problems(ops: Sequence[Op], tensors: Mapping[str, Tensor]) -> list[str]:
    """Check that activations are written once, fully, before they are read, and nothing else is written."""
    problems = []
    writes = writers(ops)
    for index, op in enumerate(ops):
        for view in dict.fromkeys(op.inputs):
            written = writes.get(view.tensor, [])
            if late := [ops[at].name for at, out in written if at >= index and meet(view, out)]:
                problems.append(f"{op.name} reads {view.tensor!r} before {late[-1]} writes it (Graph.from_ops sorts)")
            if not written and tensors[view.tensor].kind == "activation":
                problems.append(f"{op.name} reads the activation {view.tensor!r}, which no operator writes")
    for name, by in writes.items():
        views = sorted((out for _, out in by), key=lambda view: view.offset)
        if tensors[name].kind != "activation":
            problems.append(f"{ops[by[0][0]].name} writes {name!r}, which is of kind {tensors[name].kind!r}")
        if any(a.end > b.offset for a, b in pairwise(views)) or any(map(_overlaps_itself, views)):
            problems.append(f"{name!r}: elements are written more than once, or windows of two writers interleave")
        elif sum(view.elements for view in views) != tensors[name].elements:
            problems.append(f"{name!r}: {sum(v.elements for v in views)} of {tensors[name].elements} elements written")
    return problems


def _overlaps_itself(view: View) -> bool:
    """Return whether the window may touch an element twice (each stride must pass all smaller steps)."""
    reach = view.cols
    for stride, count in sorted([(view.row_stride, view.rows), (view.batch_stride, view.batch)]):
        if count > 1 and stride < reach:
            return True
        reach += stride * (count - 1)
    return False
