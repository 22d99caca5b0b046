"""One step of a plan: an operator (with an operator fused into it) on its engine; one type per engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from sim.lower.work import Work
from sim.plan.schedules import Declined
from sim.side_units.vector import VectorWork
from sim.side_units.work import SideWork

if TYPE_CHECKING:
    from sim.hardware import Hardware

Engine = Literal["array", "host", "vector", "unit"]


@dataclass(frozen=True)
class Fallback:
    """Why an operator runs on the host: ``reason``, and ``way_out``: the setting that avoids it ("" = none)."""

    reason: str
    way_out: str = ""

    def __str__(self) -> str:
        return f"{self.reason} (avoided by {self.way_out})" if self.way_out else self.reason


@dataclass(frozen=True)
class Step:
    """One row of the result. ``m``, ``n``, ``k``, ``batch``: sizes of one repetition, and repetitions.

    Fields of one engine are empty on the others: no work items on the host, no host operator on the array.
    """

    name: str
    kind: str
    layer: int | None
    m: int
    n: int
    k: int
    batch: int

    def with_(self, **fields: Any) -> Self:
        """Return the step with other values of some fields, in a tenth of the time of `replace`: it checks none."""
        other = object.__new__(type(self))
        other.__dict__.update(vars(self), **fields)
        return other

    @property
    def engine(self) -> Engine:
        """The engine that runs it."""
        raise TypeError(f"{type(self).__name__} runs on no engine")

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense operator."""
        return 0

    @property
    def macs_done(self) -> int:
        """Multiply-accumulates of operands that are not zero."""
        return 0

    @property
    def macs_switched(self) -> int:
        """Multiply-accumulates that multipliers compute, zeros included."""
        return 0

    @property
    def scheme(self) -> str | None:
        """Scheme by which zeros are used."""
        return None

    @property
    def metadata_bytes(self) -> int:
        """Bytes of index and tables stored for zeros."""
        return 0

    @property
    def works(self) -> tuple[Work, ...]:
        """One item per invocation of the array."""
        return ()

    @property
    def equivalent(self) -> tuple[Work, ...]:
        """The items as the memo compares them (`sim.timing.items.equivalent`)."""
        return ()

    @property
    def machine(self) -> Hardware | None:
        """The machine at the operator's word sizes, None = unchanged."""
        return None

    @property
    def host_kind(self) -> str | None:
        """The operator kind priced on the host."""
        return None

    @property
    def host_elements(self) -> int:
        """Number of elements for the host's price."""
        return 0

    @property
    def fallback(self) -> Fallback | None:
        """Why it runs on the host although the array could run its kind; None elsewhere."""
        return None

    @property
    def covers(self) -> tuple[str, ...]:
        """Names of other operators whose work this step does."""
        return ()

    @property
    def schedule(self) -> str | None:
        """The schedule of its program, None for the library's."""
        return None

    @property
    def declined(self) -> Declined | None:
        """Why the requested schedule was declined; None otherwise."""
        return None

    @property
    def side_work(self) -> SideWork | None:
        """Work of a side unit."""
        return None

    @property
    def vector_work(self) -> VectorWork | None:
        """Work of the vector unit."""
        return None

    @property
    def dataflow(self) -> str | None:
        """Dataflow of the products, or None where there are none."""
        return next((work.product.dataflow for work in self.works if work.product is not None), None)


# Fields of subclasses replace the properties of the same name.


@dataclass(frozen=True)
class ArrayStep(Step):
    """An operator on the array.

    ``works``: one item per invocation (batch item or head). ``macs`` are those of the dense operator, ``macs_done``
    those of operands that are not zero, ``macs_switched`` those that multipliers compute (including zeros that the
    machine neither skips nor gates). ``scheme``: how zeros are used, ``metadata_bytes``: index and tables
    stored for them. ``others``: the same operator by other programs; the run takes the fastest.
    """

    works: tuple[Work, ...] = ()
    macs: int = 0
    macs_done: int = 0
    macs_switched: int = 0
    scheme: str | None = None
    metadata_bytes: int = 0
    machine: Hardware | None = None
    equivalent: tuple[Work, ...] = ()
    others: tuple[ArrayStep, ...] = ()
    covers: tuple[str, ...] = ()
    schedule: str | None = None
    declined: Declined | None = None

    @property
    def engine(self) -> Engine:
        """The array."""
        return "array"


@dataclass(frozen=True)
class HostStep(Step):
    """An operator on the host CPU, or a conversion before or after it. MACs: of a product that the CPU computes."""

    host_kind: str = ""
    host_elements: int = 0
    fallback: Fallback | None = None
    macs: int = 0
    macs_done: int = 0
    macs_switched: int = 0
    declined: Declined | None = None

    @property
    def engine(self) -> Engine:
        """The host."""
        return "host"


@dataclass(frozen=True)
class UnitStep(Step):
    """An operator of a side unit, whose work is ``beside``."""

    side_work: SideWork | None = None
    macs_switched: int = 0
    declined: Declined | None = None

    @property
    def engine(self) -> Engine:
        """A side unit."""
        return "unit"


@dataclass(frozen=True)
class VectorStep(Step):
    """An operator on the vector unit. ``ops``: the graph's operators in it, the last one's name is the step's."""

    vector_work: VectorWork | None = None
    ops: tuple[str, ...] = ()
    declined: Declined | None = None

    @property
    def engine(self) -> Engine:
        """The vector unit."""
        return "vector"
