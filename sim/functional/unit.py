"""The machine's units for sparse and compressed weights, as the executor is told about them (docs/SPARSITY.md).

What a stored stream or an index means is no part of a command: hardware would have registers for it, set once per
matrix. `sim.functional.weights` fills DRAM and returns the unit that reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2
from typing import Literal

import numpy as np
import numpy.typing as npt

from sim.sparsity import formats

PLAIN, BITMAP, RLE, CSR, CSC, NARROW, CODEBOOK, CIRCULANT, SELECTING, SAMPLING = range(10)
RUN_BITS = formats.RUN_BITS
FORMS = {"bitmap": BITMAP, "rle": RLE, "csr": CSR, "csc": CSC}
FORMS |= {"narrow": NARROW, "codebook": CODEBOOK, "circulant": CIRCULANT}

FIELDS = 11


@dataclass(frozen=True, eq=False)
class Decoder:
    """Loads expand what they read. ``size``: bits (narrow), entries (codebook) or block (circulant).

    ``table``: DRAM byte address at which a codebook lies in front of its indices. ``strips``: int64[loads, 3], DRAM
    byte address of each load of circulants, rising, and the row and column of a circulant at which it begins.
    """

    form: str
    size: int = 0
    table: int = 0
    strips: npt.NDArray[np.int64] | None = None

    def numbers(self) -> npt.NDArray[np.int64]:
        """Return the fields of ``State.unit``."""
        found = np.zeros(FIELDS, np.int64)
        found[:3] = FORMS[self.form], self.size, self.table
        return found


@dataclass(frozen=True)
class Selector:
    """Elements of the array pick one of ``window`` activations; a feed of ``fetch`` rows has ``windows`` of them.

    ``keep``: packed rows of every window (N:M), of the ``total`` in K; or 0 = each row says which window it is fed.
    """

    window: int
    windows: int
    fetch: int
    keep: int = 0
    total: int = 0

    @property
    def place_bits(self) -> int:
        """Bits that name an activation of a window."""
        return ceil(log2(self.window)) if self.window > 1 else 0

    @property
    def window_bits(self) -> int:
        """Bits that name the window of a packed row."""
        return 0 if self.keep or self.windows <= 1 else ceil(log2(self.windows))

    def numbers(self) -> npt.NDArray[np.int64]:
        """Return the fields of ``State.unit``."""
        shape = (self.window, self.keep, self.fetch, self.windows)
        return np.array([SELECTING, 0, 0, *shape, self.place_bits, self.window_bits, self.total, 0], np.int64)


@dataclass(frozen=True, eq=False)
class Sampler:
    """Values pick one of several weights in a PE by an index (`sim.functional.sampled` makes it for a work item).

    ``outputs``: chosen are elements of C, not of A. ``reach``: as `sim.sparsity.packing.sub_rows`, of an index with a
    bit per element; or ``group`` (N, M): of each value its place among M. ``chunks``: int64[computes + 1], the first
    sub-row of each compute; ``subs``: int64[sub-rows, fields], see `sim.functional.kernel_sampled`.
    """

    outputs: bool
    reach: Literal["pe", "line"]
    group: tuple[int, int] | None
    chunks: npt.NDArray[np.int64]
    subs: npt.NDArray[np.int64]

    def numbers(self) -> npt.NDArray[np.int64]:
        """Return the fields of ``State.unit``."""
        keep, of = self.group or (1, 1)
        form = (self.group is not None, self.reach == "line", keep, of, ceil(log2(of)), self.outputs)
        return np.array([SAMPLING, *form, 0, 0, 0, 0], np.int64)


Unit = Decoder | Selector | Sampler
