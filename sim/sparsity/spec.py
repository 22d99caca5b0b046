"""Sparsity in a line, such as "block16:0.5", "2:4", "w4a8", "masks.npz" or "SPEC.toml", to rules.

The grammar is ``[operand=]pattern[:density][/scheme][@names]``; the operand is the weights, or as in "activations=2:4".
"attention=topk:0.2/pack" is a table [attention] in a line. Patterns: `PATTERNS`. Density is the share of values that
are *not* zero. The scheme (`sim.sparsity.masks.zeros.SCHEMES`) is the machine's use of the zeros; the default is the
best one that the machine supports for the pattern. ``@*FF*`` restricts the line to matmuls whose name matches the glob.
A SPEC.toml holds several such rules (`sim.sparsity.spec_file`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from sim.base.errors import InputError, did_you_mean
from sim.sparsity import grammar, precision, spec_file
from sim.sparsity.edits import attention, dynamic
from sim.sparsity.grammar import FILES, default_scheme, number, scheme_problems
from sim.sparsity.masks import measured
from sim.sparsity.masks.zeros import OPERANDS, Operand, ZeroRule
from sim.sparsity.rules import Rules

PATTERNS = {
    "dense": "no zeros",
    "blockN:D": "N x N blocks, share D of them not zero",
    "N:M": "N of each M weights along K are not zero, e.g. 2:4",
    "unstructured:D": "share D of the weights is not zero, anywhere",
    "activations=...": "the same of the activations, e.g. activations=2:4",
    "attention=...": "chosen scores: causal, window:64, longformer:32,2, topk:64, topk:0.2/pack, threshold:0.15",
    "wNaM": "N-bit integer weights, M-bit activations, e.g. w4a8; w4a8s16: sums too (types, outliers: SPEC.toml)",
    "FILE": "real masks or weights by operator (.npz, .npy, .safetensors, .onnx), e.g. masks.npz of `carat infer`",
    "SPEC.toml": "rules per operator, pruning, attention and compression (docs/SPARSITY.md)",
}

DENSE = "dense"
"""The line for no rule."""

MAX_DIGITS = 19
"""Digits of a number in a line."""

TILE = re.compile(r"tile=(\d+)")
"""Prefix, after the sizes of a fixed attention pattern in a line: tokens of a tile."""


def parse(text: str, seed: int = 0) -> Rules:
    """Read "block16:0.5", "2:4", "unstructured:0.3/bitmap@*FF*", "w4a8", "masks.npz", "SPEC.toml" or "dense".

    And "activations=2:4", "attention=topk:0.2/pack". Raises InputError listing all problems.
    """
    if text == DENSE:
        return Rules()
    if prefixed := re.fullmatch(r"([A-Za-z_]+)=(.*)", text):
        return _prefixed(prefixed[1], prefixed[2], seed)
    if (words := precision.short(text)) is not None:
        return Rules(precisions=(words,))
    body, at, names = text.partition("@")
    if body.endswith(".toml"):
        if at:
            raise InputError(f"sparsity {text!r}: the file names the operators of each rule, leave out '@{names}'")
        return spec_file.read(Path(body), seed)
    problems = []
    if at and not names:
        problems.append("no name after '@'; leave it out for all weights")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        problems.append(f"seed {seed!r} must be a whole number >= 0")
    if file := FILES.fullmatch(body):
        problems += scheme_problems(file[2] or "", "measured")
        _raise(text, problems)
        return Rules((measured.load(file[1], scheme=file[2] or default_scheme("weights"), names=names or "*"),))
    body, _, scheme = body.partition("/")
    found, more = grammar.pattern(body, scheme)
    _raise(text, more + problems)
    return Rules((ZeroRule(seed=seed, names=names or "*", scheme=scheme, **found),))


def _prefixed(operand: str, line: str, seed: int) -> Rules:
    """Read the rest of a line after "activations=", "attention=" or "weights="."""
    if operand == "attention":
        return _attention(line, seed)
    named: Operand | None = next((one for one in OPERANDS if one == operand), None)
    if named is None:
        raise InputError(f"sparsity: unknown operand {operand!r}{did_you_mean(operand, (*OPERANDS, 'attention'))}")
    rules = parse(line, seed)
    if "=" in line or len(rules.zeros) != 1 or rules != Rules(rules.zeros) or line.partition("@")[0].endswith(".toml"):
        raise InputError(f"sparsity '{operand}={line}': {operand}= takes a pattern or a file of masks, as in 2:4")
    rule, file = rules.zeros[0], FILES.fullmatch(line.partition("@")[0])
    scheme = default_scheme(operand) if file and not file[2] else rule.scheme
    return Rules((replace(rule, operand=named, scheme=scheme),))


def _attention(line: str, seed: int) -> Rules:
    """Read "topk:0.2/pack", "topk:64", "threshold:0.15", "causal" or "window:32,tile=16": a table [attention] in short.

    Sizes come in the order of `attention.PATTERNS`; for topk an integer is a number of keys, a number with a point is a
    share. Raises InputError listing all problems.
    """
    body, slash, scheme = line.partition("/")
    name, colon, given = body.partition(":")
    texts = [word.strip() for word in given.split(",")] if colon else []
    table: dict[str, Any] = {"pattern": name} | ({"scheme": scheme} if slash else {})
    if texts and (tile := TILE.fullmatch(texts[-1])):
        table["tile"] = int(tile[1][:MAX_DIGITS])
        texts.pop()
    known = (*attention.DYNAMIC, *attention.PATTERNS)
    sizes = {"topk": ("k",), "threshold": ("density",), **attention.PATTERNS}.get(name, ())
    problems = []
    if name not in known:
        problems.append(f"unknown pattern {name!r}{did_you_mean(name, known)}")
    elif name == "mask":
        problems.append("a real mask is given as mask = FILE in a table [attention] of a SPEC.toml")
    elif len(texts) > len(sizes):
        problems.append(f"{name} takes {', '.join(sizes) or 'no size'}, not {given!r}")
    for size, text in zip(sizes, texts, strict=False):
        if (value := number(text)) is None or (name != "threshold" and "." not in text and not _whole(text)):
            problems.append(f"{size} {text!r} must be a number")
        elif name == "threshold" or "." in text:
            table["share" if size == "k" else size] = value
        else:
            table[size] = int(text)
    if not problems:
        try:
            return Rules(attention=dynamic.rule(table, seed, Path()))
        except InputError as error:
            problems += error.problems
    raise InputError([f"sparsity 'attention={line}': {problem}" for problem in problems])


def _whole(text: str) -> bool:
    """Whether a text is a whole number of a length that Python reads."""
    return re.fullmatch(r"[+-]?\d+", text) is not None and len(text) < MAX_DIGITS


def _raise(text: str, problems: list[str]) -> None:
    if problems:
        raise InputError([f"sparsity {text!r}: {problem}" for problem in problems])
