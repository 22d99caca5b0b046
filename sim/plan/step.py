"""One step of a plan: an operator on its engine, with all that is needed to run and price it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sim.lower.work import BlockSparseMatmul, Matmul, PackedMatmul, SampledMatmul, Work
from sim.side_units.ranking import Beside

if TYPE_CHECKING:
    from sim.hardware import Hardware

Engine = Literal["array", "host", "unit"]

Products = Matmul | BlockSparseMatmul | PackedMatmul | SampledMatmul


@dataclass(frozen=True)
class Step:
    """One row of the result: an operator (with what is fused into it) on one engine.

    ``works``: one item per invocation of the array (batch item or head); empty on the host, where
    ``host_kind`` is the priced operator and ``host_elements`` the elements it handles. ``beside``: what a unit beside
    the array does, on engine "unit". ``machine``: the machine at the operator's word sizes, None = as it is. ``macs``
    are those of the dense operator, ``macs_done`` those of operands that are not zero, ``macs_switched`` those that
    multipliers work on (zeros among them, where the machine neither skips nor gates them). ``scheme``: what is made of
    zeros, ``metadata_bytes``: index and tables stored for them. ``alike``: the items as the memo compares them
    (`sim.timing.items.alike`).
    """

    name: str
    kind: str
    layer: int | None
    engine: Engine
    m: int
    n: int
    k: int
    batch: int
    macs: int = 0
    macs_done: int = 0
    macs_switched: int = 0
    scheme: str | None = None
    metadata_bytes: int = 0
    works: tuple[Work, ...] = ()
    alike: tuple[Work, ...] = ()
    host_kind: str | None = None
    host_elements: int = 0
    machine: Hardware | None = None
    beside: Beside | None = None

    @property
    def dataflow(self) -> str | None:
        """Dataflow of the matmuls, or None where there are none."""
        matmuls = [work for work in self.works if isinstance(work, Products)]
        if not matmuls:
            return None
        first = matmuls[0]
        return first.dataflow if isinstance(first, Matmul) else first.matmul.dataflow
