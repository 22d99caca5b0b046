"""The host CPU as a machine describes it: the operators it runs, and the price of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from sim.base.errors import did_you_mean
from sim.base.table import Table

Price = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class OperatorPrice(Table):
    """Host cycles of one implementation of an operator (hwconfigs/operators).

    ``call`` a call, ``row`` a row (one reduction), ``element`` an element of the result, ``mac`` a multiply-accumulate
    of a product. ``row_doubling``: more cycles an element for each doubling of the row beyond 256 elements.
    ``read_bytes``, ``write_bytes``: bytes of an element in memory. ``line``: cycles of a 64-byte line that is in no
    cache, if more than the machine's (`sim.cost.host.line_cycles`). ``ranges``: cycles per element if they depend on
    the inputs, by name of the distribution.
    """

    implementation: str = ""
    call: Price = 0.0
    row: Price = 0.0
    element: Price = 0.0
    row_doubling: Price = 0.0
    mac: Price = 0.0
    read_bytes: Price = 0.0
    write_bytes: Price = 0.0
    line: Price = 0.0
    ranges: dict[str, Price] = Field(default_factory=dict)


class Host(Table):
    """The CPU that runs the operators that the array cannot.

    ``cycles_per_element`` counts host cycles; ``clock_ratio`` = host clock / accelerator clock.
    ``takes`` lists operators that run here although the array could run them. ``operators``: prices in parts, of
    operators that are not in ``cycles_per_element``; a file names a ``library`` of hwconfigs/operators and the
    implementation of each. ``values``: distribution of the inputs for prices that depend on it. ``converts``: on an
    integer machine, operands are dequantised before an operator and its result is quantised after it; else operators
    work on integers, and those in ``requantizes`` end with a conversion to the input type.
    """

    name: str
    clock_ratio: Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]
    takes: Annotated[tuple[str, ...], Field(strict=False)]
    cycles_per_element: dict[str, Price] = Field(default_factory=dict)
    operators: dict[str, OperatorPrice] = Field(default_factory=dict)
    values: str = ""
    converts: bool = True
    requantizes: Annotated[tuple[str, ...], Field(strict=False)] = ()

    @property
    def priced(self) -> tuple[str, ...]:
        """Operators with a price."""
        return (*self.cycles_per_element, *self.operators)

    @field_validator("values")
    @classmethod
    def _known_values(cls, values: str, info: ValidationInfo) -> str:
        prices: Mapping[str, OperatorPrice] = info.data.get("operators", {})
        known = sorted({name for price in prices.values() for name in price.ranges})
        if values and values not in known:
            listed = ", ".join(known) or "none"
            raise ValueError(f"is no distribution of its prices{did_you_mean(values, known)} (known: {listed})")
        return values
