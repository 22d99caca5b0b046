"""Operators that the CPU ran, alone (hostops.csv) and in the baseline of a layer (baseline_layer.csv)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError, did_you_mean
from sim.cost.host import HostWork, cycles, priced_cycles
from sim.hardware.host import OperatorPrice
from sim.hardware.tables import operator_prices
from sim.lower import build
from sim.lower.work import Work
from sim.run.session import Session
from sim.validate.soc.programs import call
from sim.validate.tasks import MachineProgram, TaskOutcome

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.timing.timing import Clock

WHOLE_ROW = ("softmax", "isoftmax", "layernorm", "ilayernorm")
"""Implementations that reduce a row; the table measured one row each."""

SAME_PRICE = {
    "matmul_cpu_none_K0": "matmul_cpu",
    "matmul_cpu_softmax_K0": "matmul_cpu_softmax",
    "matmul_cpu_layernorm_K0": "matmul_cpu_layernorm",
    "maxpool3_16x64": "maxpool3",
}
"""Names of the table -> names in hwconfigs/operators."""

RANGES = {"0.1": "below_01", "1": "below_1", "4": "below_4"}
"""Column values_below -> name of a range in hwconfigs/operators."""


HostShape = tuple[str, int, int]
"""Kind of an operator, elements, elements of a row."""


@dataclass(frozen=True)
class HostOperator(MachineProgram):
    """One implementation on ``elements`` elements; ``resident``: its data are in the cache from a previous run."""

    library: str
    implementation: str
    elements: int
    resident: bool
    values: str = ""

    def outcome(self, hw: Hardware, clock: Clock) -> TaskOutcome:
        """Return its cycles, all of cause "host"."""
        prices = operator_prices(self.library)
        name = SAME_PRICE.get(self.implementation, self.implementation)
        added = 0.0
        if name == "matmul_cpu_igelu_K0":  # an output and the activation's share per output
            name, added = "matmul_cpu", prices["matmul_cpu_igelu"]["element"] * self.elements
        if name not in prices:
            raise InputError(
                f"operator {name!r} has no price in operators/{self.library}.toml{did_you_mean(name, prices)}"
            )
        price = OperatorPrice.model_validate(prices[name])
        if self.values and price.ranges:
            price = price.model_copy(update={"element": price.ranges[RANGES[self.values]]})
        row = self.elements if name.startswith(WHOLE_ROW) else 0
        price = price.model_copy(update={"ranges": {}})
        spent = round(priced_cycles(price, HostWork(name, self.elements, row, 0, self.resident), hw) + added)
        return TaskOutcome(spent, causes={"host": spent})


@dataclass(frozen=True)
class BaselineLayer(MachineProgram):
    """An encoder layer with its products on the array and all other operators on the CPU, in the table's order.

    Q, K, V and the matrix multiplied with V are int8 in both variants, as the array requires; other results are int32
    if the integer code processes them. Products with weights have a bias.
    """

    seq: int
    hidden: int
    heads: int
    ffn: int
    integer: bool

    def outcome(self, hw: Hardware, clock: Clock) -> TaskOutcome:
        """Return the whole layer, its steps as parts named ``step.number``."""
        session = Session(hw, clock)
        parts: dict[str, TaskOutcome] = {}
        for number, (name, work) in enumerate(self._steps()):
            if isinstance(work, tuple):
                kind, elements, row = work
                spent = cycles(kind, elements, hw, row=row)
                parts[f"{name}.{number}"] = TaskOutcome(spent, causes={"host": spent})
            else:
                session.begin(name)
                parts[f"{name}.{number}"] = call(session, work)
        return TaskOutcome(sum(part.cycles or 0 for part in parts.values()), parts=parts)

    def _steps(self) -> Iterator[tuple[str, Work | HostShape]]:
        head, place = self.hidden // self.heads, 0x8000_0000

        def product(m: int, n: int, k: int, full_c: bool = self.integer, **how: Any) -> Work:
            nonlocal place
            place += 1 << 22
            return build.matmul(m, n, k, full_c=full_c, base=place, **how)

        def host(name: str, kind: str, elements: int, row: int, inputs: int = 1) -> Iterator[tuple[str, HostShape]]:
            if not self.integer:
                for number in range(inputs):
                    yield f"{name}.dequantize{number or ''}", ("dequantize", elements, row)
            yield name, (kind, elements, row)
            if not self.integer:
                yield f"{name}.quantize", ("quantize", elements, row)
            elif kind == "gelu":
                yield f"{name}.requantize", ("requantize", elements, row)

        seq, hidden, ffn = self.seq, self.hidden, self.ffn
        for name in "qkv":
            yield f"mm_{name}", product(seq, hidden, hidden, False, bias="row")
        for _ in range(self.heads):
            yield "mm_qk", product(seq, seq, head, transpose_b=True)
        yield from host("softmax", "softmax", self.heads * seq * seq, seq)
        for _ in range(self.heads):
            yield "mm_av", product(seq, head, seq, False)
        yield "mm_o", product(seq, hidden, hidden, bias="row")
        yield from host("add1", "residual_add", seq * hidden, hidden, 2)
        yield from host("ln1", "layernorm", seq * hidden, hidden)
        yield "mm_ff1", product(seq, ffn, hidden, bias="row")
        yield from host("gelu", "gelu", seq * ffn, ffn)
        yield "mm_ff2", product(seq, hidden, ffn, bias="row")
        yield from host("add2", "residual_add", seq * hidden, hidden, 2)
        yield from host("ln2", "layernorm", seq * hidden, hidden)


def of_row(columns: dict[str, str]) -> HostOperator:
    """Return the operator of a row of hostops.csv."""
    return HostOperator(
        columns["cpu"], columns["op"], int(columns["elements"]), columns["data"] == "warm", columns["values_below"]
    )
