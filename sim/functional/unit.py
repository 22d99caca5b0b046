"""Settings of the machine's units for sparse and compressed weights (docs/SPARSITY.md).

Commands do not define the encoding of a stored stream or an index: hardware would have registers for it, set once per
matrix. `sim.functional.weights` fills DRAM and returns the unit that reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sim.sparsity.masks import formats

PLAIN, BITMAP, RLE, CSR, CSC, NARROW, CODEBOOK, CIRCULANT, SELECTING, SAMPLING = range(10)
RUN_BITS = formats.RUN_BITS
FORMS = {"bitmap": BITMAP, "rle": RLE, "csr": CSR, "csc": CSC}
FORMS |= {"narrow": NARROW, "codebook": CODEBOOK, "circulant": CIRCULANT}


@dataclass(frozen=True, eq=False)
class Decoder:
    """Loads expand stored weights. ``size``: bits (narrow), entries (codebook) or block (circulant).

    ``table``: DRAM byte address of a codebook, which precedes its indices. ``strips``: STRIP[loads]
    (`sim.functional.kernels.records`) of circulants, by ascending address.
    """

    form: str
    size: int = 0
    table: int = 0
    strips: npt.NDArray[np.void] | None = None

    def set(self, unit: Any) -> None:
        """Set the record ``State.unit``, which is zero, to this unit."""
        unit.form = FORMS[self.form]
        unit.decoder = (self.size, self.table)


@dataclass(frozen=True)
class Selector:
    """Elements of the array select one of ``window`` activations; a feed of ``fetch`` rows has ``windows`` windows.

    ``keep``: packed rows of every window (N:M), of the ``total`` in K; or 0 = the index names each row's window.
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

    def set(self, unit: Any) -> None:
        """Set the record ``State.unit``, which is zero, to this unit."""
        unit.form = SELECTING
        for name in ("window", "keep", "fetch", "windows", "place_bits", "window_bits", "total"):
            unit.selector[name] = getattr(self, name)


@dataclass(frozen=True, eq=False)
class Sampler:
    """Values select one of several weights in a PE by an index (`sim.functional.sampled` makes it for a work item).

    ``outputs``: chosen are elements of C, not of A. ``reach``: as `sim.sparsity.masks.packing.sub_rows`, of an index
    with a bit per element; or ``group`` (N, M): the position of each value among M. ``chunks``: int64[computes + 1],
    the first sub-row of each compute; ``subs``: SUB_ROW[sub-rows] (`sim.functional.kernels.records`).
    """

    outputs: bool
    reach: Literal["pe", "line"]
    group: tuple[int, int] | None
    chunks: npt.NDArray[np.int64]
    subs: npt.NDArray[np.void]

    def set(self, unit: Any) -> None:
        """Set the record ``State.unit``, which is zero, to this unit."""
        keep, of = self.group or (1, 1)
        unit.form = SAMPLING
        sampler = unit.sampler
        sampler.packed, sampler.in_line, sampler.outputs = self.group is not None, self.reach == "line", self.outputs
        sampler.keep, sampler.group, sampler.place_bits = keep, of, ceil(log2(of))


Unit = Decoder | Selector | Sampler
