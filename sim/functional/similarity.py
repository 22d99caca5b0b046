"""Similarity of sentence vectors to those in float: cosines one by one, and the ranking of all similarities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Similarity:
    """``cosines``: of each sentence's vector to that in float. ``spearman``: rank correlation of the cosines between
    all pairs of sentences with those in float.
    """

    cosines: Array
    spearman: float

    def report(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        return {
            "sentences": len(self.cosines),
            "smallest_cosine": float(self.cosines.min()),
            "mean_cosine": float(self.cosines.mean()),
            "spearman": self.spearman,
            "cosines": [float(cosine) for cosine in self.cosines],
        }

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"{len(self.cosines)} sentences: cosine to float {self.cosines.min():.4f} at least, "
            f"{self.cosines.mean():.4f} in the mean; similarities in the order of float: Spearman {self.spearman:.4f}"
        )


def pooled(output: Array) -> Array:
    """Return the mean of output [tokens, hidden], of length 1."""
    mean = output.astype(np.float64).mean(axis=0)
    return np.asarray(mean / max(np.linalg.norm(mean), np.finfo(np.float64).tiny))


def similarity(found: Sequence[Array], expected: Sequence[Array]) -> Similarity:
    """Compare outputs [tokens, hidden] of sentences with those in float."""
    a, b = (np.array([pooled(output) for output in outputs]) for outputs in (found, expected))
    pairs = np.triu_indices(len(a), 1)
    return Similarity((a * b).sum(axis=1), _spearman((a @ a.T)[pairs], (b @ b.T)[pairs]))


def _spearman(a: Array, b: Array) -> float:
    """Return the correlation of the ranks of two rows of numbers without ties; 1.0 for a single number."""
    if len(a) < 2:
        return 1.0
    ranks = np.stack([np.argsort(np.argsort(values)) for values in (a, b)])
    found: Array = np.asarray(np.corrcoef(ranks))
    return float(found[0, 1])
