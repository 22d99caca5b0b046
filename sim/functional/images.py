"""Images for vision transformers: from .npy files, or generated; as the rows that a model's first product reads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.base.errors import InputError
from sim.base.reading import below, read_arrays, read_json, read_text
from workloads.checkpoint.vision import Vision, patches

if TYPE_CHECKING:
    from workloads.checkpoint import Checkpoint

Array = npt.NDArray[Any]

PREPROCESSOR = "preprocessor_config.json"
"""File in the model's folder with the normalisation of 8-bit pixels."""

DEFAULTS = {"rescale_factor": 1 / 255, "image_mean": 0.5, "image_std": 0.5}
"""Defaults of ViT's image processor."""


@dataclass(frozen=True)
class Image:
    """The embedded patches of an image, float32[tokens, elements] (`workloads.checkpoint.vision.patches`)."""

    rows: Array

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.rows)

    def __repr__(self) -> str:
        """Return a digest, by which stored calibrations are named."""
        return f"Image({hashlib.sha256(np.ascontiguousarray(self.rows).data).hexdigest()})"


def of(model: Checkpoint) -> Vision:
    """Return the image reader of a model. Raises InputError for a model of text."""
    if model.vision is None:
        raise InputError(f"--image: {model.name} reads tokens (nearest: --tokens or --text)")
    return model.vision


def read(path: Path, model: Checkpoint, folder: Path) -> Image:
    """Return the image of a .npy file for the model of ``folder``.

    Floats are the model's input: [channels, rows, columns]. 8-bit pixels, [rows, columns, channels] or channels
    first, are scaled and normalised as `PREPROCESSOR` says. Raises InputError for any other array.
    """
    vision = of(model)
    arrays = read_arrays(path)
    if list(arrays) != [""]:
        raise InputError(f"{path}: one image is needed: a .npy file with one array")
    values = arrays[""]
    first, last = (vision.channels, vision.height, vision.width), (vision.height, vision.width, vision.channels)
    if values.shape == (1, *first) or values.shape == (1, *last):
        values = values[0]
    if values.dtype == np.uint8:
        if values.shape == last and values.shape != first:
            values = values.transpose(2, 0, 1)
    elif values.dtype.kind != "f":
        raise InputError(f"{path}: holds {values.dtype}; images are uint8 pixels, or floats that are normalised")
    if values.shape != first:
        raise InputError(
            f"{path}: has shape {arrays[''].shape}; {model.name} reads {first}, channels first "
            f"(8-bit pixels: also {last})"
        )
    if values.dtype == np.uint8:
        values = _normalised(values, folder)
    if not np.isfinite(values).all():
        raise InputError(f"{path}: holds values that are no finite numbers (NaN, infinity)")
    return Image(patches(vision, values.astype(np.float32)))


def _normalised(pixels: Array, folder: Path) -> Array:
    """Return 8-bit pixels [channels, rows, columns] as the model's numbers."""
    path = folder / PREPROCESSOR
    said = read_json(path) if path.exists() else {}
    channels = len(pixels)
    found = []
    for key, default in DEFAULTS.items():
        given = said.get(key, default) if isinstance(said, dict) else default
        numbers = given if isinstance(given, list) else [given] * channels
        real = all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers)
        if len(numbers) != channels or not real or (key != "image_mean" and not all(numbers)):
            raise InputError(f"{path}: {key} is {given!r}, must be {channels} numbers, e.g. {[0.5] * channels}")
        found.append(np.array(numbers, np.float32)[:, None, None])
    scale, mean, deviation = found
    return np.asarray((pixels * scale - mean) / deviation)


def listed(path: Path, model: Checkpoint, folder: Path) -> list[tuple[Image, str | None]]:
    """Return the images whose .npy files are named in a file, one per line, with labels after tabs.

    Names are relative to the file's folder, and of files below it. Raises InputError.
    """
    found = []
    for number, line in enumerate(read_text(path, what="list of images").splitlines(), 1):
        name, _, label = line.partition("\t")
        if name.strip():
            image = below(path.parent, name.strip(), f"{path}: line {number}", "image")
            found.append((read(image, model, folder), label.strip() or None))
    if not found:
        raise InputError(f"{path}: names no images; one .npy file per line, followed by a tab and a label if known")
    return found


def made(vision: Vision, count: int, seed: int) -> list[Image]:
    """Return images of random waves whose amplitude falls with their frequency, normalised.

    Amplitude 1 / frequency is what photographs have (Field 1987, J. Opt. Soc. Am. A 4:2379): neighbouring pixels are
    similar, unlike in noise.
    """
    rng = np.random.default_rng(seed)
    rows, cols = np.fft.fftfreq(vision.height)[:, None], np.fft.rfftfreq(vision.width)[None, :]
    frequency = np.hypot(rows, cols)
    frequency[0, 0] = np.inf  # the mean is drawn below
    found = []
    for _ in range(count):
        shape = (vision.channels, *frequency.shape)
        waves = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / frequency
        image = np.fft.irfft2(waves, s=(vision.height, vision.width))
        image = 0.5 * image / max(float(image.std()), np.finfo(np.float64).tiny)  # a quarter of the range of pixels
        image += rng.uniform(-0.5, 0.5, (vision.channels, 1, 1))
        found.append(Image(patches(vision, np.clip(image, -1, 1).astype(np.float32))))
    return found
