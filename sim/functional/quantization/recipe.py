"""Recipes of quantisation: the options, the default, and the series of recipes of `carat infer --compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from sim.base.errors import InputError, did_you_mean, given_twice
from sim.base.numbers import decimal

Clip = Literal["max", "percentile", "mse"]
Residual = Literal["int8", "int32"]
Rounding = Literal["nearest", "compensated"]
Scaling = Literal["static", "dynamic"]
Centring = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class Recipe:
    """Options of post-training quantisation; real value = scale * column factor * stored integer.

    ``clip``: how the scale of an activation is set on the calibration sequences: its largest magnitude, the
    ``percentile`` of its magnitudes, or the scale with the smallest mean square error. ``channels``: each output column
    of a weight matrix has a scale of its own, if the readers of the product can undo it (`columns.free`).
    ``smooth``: alpha of SmoothQuant (Xiao et al., 2211.10438): input column j of a product is divided by
    max|x_j|^alpha / max|w_j|^(1 - alpha), its weights are multiplied by it; 0: off. ``outlier_columns``: how many
    columns a host adds to the operand of a product, to split outliers into several columns (`outliers.split`); None: as
    many as one block of the array has; with everything on the array they stand behind the operand, repeated or from a
    pass of their own (`layout`). ``headroom``: by how much values may exceed the largest that calibration has seen,
    with clip "max". ``residual``: type of the residual stream
    (`workloads.checkpoint.form.Form`). ``rounding``: of weights, to the nearest integer, or so that errors compensate
    on the calibration sequences (GPTQ, `rounding`). ``bias_correction``: take the mean error of the integer GELU out of
    the bias behind it (`bias`); with everything on the array. ``scales``: of what a host writes for products with
    weights, static from calibration, or dynamic: the host finds the largest magnitude of each sequence, and writes the
    biases at the scale that follows. ``centred``: attention multiplies values without their mean over the tokens
    (`workloads.checkpoint.centred`); "auto": sequences of `CENTRED_FROM` tokens or more.
    """

    clip: Clip = "max"
    percentile: float = 99.99
    channels: bool = True
    smooth: float = 0.0
    outlier_columns: int | None = None
    residual: Residual = "int32"
    headroom: float = 1.0
    rounding: Rounding = "compensated"
    bias_correction: bool = True
    scales: Scaling = "static"
    centred: Centring = "auto"

    def centres(self, length: int) -> bool:
        """Return whether values of a sequence of ``length`` tokens are centred."""
        return self.centred == "on" or (self.centred == "auto" and length >= CENTRED_FROM)

    def extra(self, dim: int, least: int = 16) -> int:
        """Return the number of columns added to an operand on an array of ``dim`` columns; by default whole blocks.

        ``least``: of them. A trained encoder has a handful of outlier features, up to 20 times as large as all others.
        """
        if self.residual == "int8":
            return 0
        return -(-least // dim) * dim if self.outlier_columns is None else self.outlier_columns


ON_ARRAY = 32
"""Least number of columns added with everything on the array, where an outlier needs one more than on the host."""

CENTRED_FROM = 128
"""Tokens from which the average probability of a row is less than a step of the stored softmax, 1/127."""

PLAIN = Recipe(
    channels=False, outlier_columns=0, residual="int8", rounding="nearest", bias_correction=False, centred="off"
)
"""One scale per tensor from its largest magnitude, everything between two products in int8."""

COMPARED = {
    "plain": PLAIN,
    "channels": Recipe(outlier_columns=0, residual="int8"),
    "int32 residual": Recipe(channels=False, outlier_columns=0),
    "channels, int32 residual": Recipe(outlier_columns=0),
    "... mse": Recipe(outlier_columns=0, clip="mse"),
    "... percentile": Recipe(outlier_columns=0, clip="percentile"),
    "... smooth 0.8": Recipe(outlier_columns=0, smooth=0.8),
    "default (split outliers)": Recipe(),
    "... split 32": Recipe(outlier_columns=32),
    "... dynamic scales": Recipe(scales="dynamic"),
}
"""Recipes that are compared, from the simplest to the default and beyond."""


def parse(settings: Sequence[str]) -> Recipe:
    """Return the recipe of settings such as "plain" or "clip=mse". Raises InputError listing every wrong one."""
    found = Recipe()
    problems = given_twice(f"--quantize {text.partition('=')[0]}" for text in settings)
    known = [one.name for one in fields(Recipe)]
    for text in settings:
        name, is_setting, value = text.partition("=")
        if not is_setting:
            if text is not settings[0]:
                problems.append(f"--quantize {text}: would undo the settings before it; give it first, or leave it out")
            if name not in NAMED:
                problems.append(f"--quantize {text}: no recipe{did_you_mean(name, NAMED)}; {_legal()}")
            found = NAMED.get(name, found)
        elif name not in known:
            problems.append(f"--quantize {text}: no option {name!r}{did_you_mean(name, known)}; {_legal()}")
        else:
            try:
                found = replace(found, **{name: _value(name, value)})
            except ValueError as error:
                problems.append(f"--quantize {text}: {name} must be {error}")
    if problems:
        raise InputError(problems)
    return found


NAMED = {"default": Recipe(), "plain": PLAIN}

CHOICES: dict[str, dict[str, Any]] = {
    "clip": {"max": "max", "percentile": "percentile", "mse": "mse"},
    "channels": {"on": True, "off": False},
    "residual": {"int8": "int8", "int32": "int32"},
    "bias_correction": {"on": True, "off": False},
    "scales": {"static": "static", "dynamic": "dynamic"},
    "centred": {"auto": "auto", "on": "on", "off": "off"},
    "rounding": {"nearest": "nearest", "compensated": "compensated"},
}
"""Options with named values."""

RANGES: dict[str, tuple[type, float, float]] = {
    "percentile": (float, 50.0, 100.0),
    "smooth": (float, 0.0, 1.0),
    "headroom": (float, 1.0, 10.0),
    "outlier_columns": (int, 0, 4096),
}
"""Options with numbers: type, least and largest value."""


def _value(name: str, text: str) -> Any:
    """Return the value of an option. Raises ValueError with the legal values and the nearest one."""
    if name in CHOICES:
        legal = CHOICES[name]
        if text not in legal:
            raise ValueError(f"one of {', '.join(legal)}{did_you_mean(text, legal)}")
        return legal[text]
    kind, least, most = RANGES[name]
    what = f"a {'whole ' if kind is int else ''}number from {least:g} to {most:g}"
    try:
        value = int(text) if kind is int else decimal(text)
    except ValueError:
        raise ValueError(f"{what} (nearest: {least:g})") from None
    if not least <= value <= most:
        raise ValueError(f"{what} (nearest: {min(max(value, least), most):g})")
    return value


def _legal() -> str:
    return f"recipes are {', '.join(NAMED)}, options {', '.join(one.name for one in fields(Recipe))}"
