"""The grammar of one rule for zeros: "block16:0.5", "2:4", "unstructured:0.3", with a scheme, and its errors."""

from __future__ import annotations

import re
from typing import Any

from sim.base.errors import InputError, did_you_mean
from sim.base.numbers import DECIMAL, LEAST, exact
from sim.sparsity.edits import attention
from sim.sparsity.masks.zeros import SCHEMES, ZeroRule

MAX_BLOCK = 65535
"""Largest block: columns and rows of a block are 16-bit fields of a command (sim/isa/commands.py)."""

FILES = re.compile(r"(.+\.(?:npz|npy|safetensors|onnx))(?:/([A-Za-z_]+))?")
"""A file of masks, with a scheme."""


def zero_rule(body: str, scheme: str, names: str, seed: int) -> ZeroRule:
    """Return the rule of a pattern with its density, such as "block16:0.5". Raises InputError listing all problems."""
    found, problems = pattern(body, scheme)
    if problems:
        raise InputError(problems)
    return ZeroRule(seed=seed, names=names, scheme=scheme, **found)


def pattern(body: str, scheme: str) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of a rule and their problems."""
    if group := re.fullmatch(r"([+-]?\d+):(\d+)", body):
        keep, of = int(group[1]), int(group[2])
        problems = group_problems(keep, of) + scheme_problems(scheme, "nm")
        return {"block": 0, "density": keep / max(1, of), "pattern": "nm", "group": (keep, of)}, problems
    if group := re.fullmatch(r"(\d+:\d+):(.*)", body):
        return {}, [f"{group[1]} has a density of its own, leave out {group[2]!r}"]
    word, colon, density_text = body.partition(":")
    parts = re.fullmatch(r"([A-Za-z_-]*)(.*)", word)
    kind, size = parts.groups() if parts else ("", "")
    problems = []
    if kind not in ("block", "unstructured") or (kind == "unstructured" and size):
        known = (f"block{size if size.isdecimal() else 16}", "dense", "unstructured")
        files = "or a file (.npz, .npy, .safetensors, .onnx, SPEC.toml)"
        sizes = {"topk": ("k",), "threshold": ("density",), **attention.PATTERNS}.get(kind)
        if sizes is None:
            problems.append(f"unknown pattern {word!r}{did_you_mean(word, known)}; or N:M such as 2:4, {files}")
        else:
            line = f"attention={kind}" + (":" + ",".join(name.upper() for name in sizes) if sizes else "")
            problems.append(f"{kind} selects scores, not weights (nearest: {line})")
    elif kind == "block" and (not re.fullmatch(r"[0-9]{1,9}", size) or not 1 <= int(size) <= MAX_BLOCK):
        near = min(max(int(size), 1), MAX_BLOCK) if re.fullmatch(r"[0-9]{1,9}", size) else 16
        problems.append(f"block size {size!r} must be a whole number from 1 to {MAX_BLOCK} (nearest: block{near})")
    example = "unstructured:0.3" if kind == "unstructured" else "block16:0.5"
    density = number(density_text) if colon else None
    if density is None and (colon or not problems):  # an unknown pattern may or may not need one
        problems.append(f"density {density_text!r} must be a number, as in {example}")
    elif density is not None:
        problems += density_problems(density, "weights" if kind == "unstructured" else "blocks")
    problems += scheme_problems(scheme, kind)
    if problems:
        return {}, problems
    return {"block": int(size) if kind == "block" else 0, "density": density, "pattern": kind}, []


def default_scheme(operand: str) -> str:
    """Return the default scheme of real masks: the one that needs the fewest units."""
    return "skip" if operand == "weights" else "gate"


def group_problems(keep: int, of: int) -> list[str]:
    """Return the problems of an N:M pattern."""
    if of < 1 or of > MAX_BLOCK:
        size = min(max(of, 1), MAX_BLOCK)
        nearest = f"{min(max(keep, 1), size)}:{size}"
        return [f"{keep}:{of}: groups must have 1 to {MAX_BLOCK} weights (nearest: {nearest})"]
    if not 1 <= keep <= of:
        return [f"{keep}:{of} keeps {keep} of {of}: N:M needs 1 <= N <= M (nearest: {min(max(keep, 1), of)}:{of})"]
    return []


def density_problems(density: float, what: str) -> list[str]:
    """Return the problems of a share of ``what``."""
    if 0.0 <= density <= 1.0:
        return []
    nearest = 0 if density < 0 else 1
    return [f"density {density:g} is the share of non-zero {what}, 0 to 1 (nearest: {nearest})"]


def scheme_problems(scheme: str, pattern: str) -> list[str]:
    """Return the problems of a scheme for a pattern."""
    if not scheme:
        return []
    if scheme not in SCHEMES:
        return [f"unknown scheme {scheme!r}{did_you_mean(scheme, SCHEMES)}"]
    if scheme == "select" and pattern != "nm":
        what = "a file of masks" if pattern == "measured" else pattern
        return [f"scheme select needs an N:M pattern such as 2:4, not {what}; pack takes any"]
    return []


def number(text: str) -> float | None:
    """Return ``text`` as a number, or None. Raises InputError for one too small for double precision."""
    try:
        return exact(text) if DECIMAL.fullmatch(text) else None
    except InputError as error:
        raise InputError(f"{error} (nearest: {LEAST})") from None
