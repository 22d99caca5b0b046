"""The host CPU: cycles of the operators that the array cannot run.

The prices are cycles per element of the machine's ``host`` table (hwconfigs/host, with their derivation).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sim.base.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from sim.hardware import Hardware


def cycles(kind: str, elements: int, hw: Hardware) -> int:
    """Return accelerator cycles, rounded up, that the host takes for ``elements`` elements of an operator.

    An element is one of the output; for quantize and dequantize one that is converted. Raises InputError when
    the machine has no host, its host no price for the operator, or the number of elements is negative.
    """
    if elements < 0:
        raise InputError(f"host: {elements} elements of {kind!r}: must be at least 0; nearest legal value: 0")
    if hw.host == "none":
        raise InputError(f'operator {kind!r} needs a host CPU, and {hw.name} has none (host = "none")')
    prices = hw.host.cycles_per_element
    if kind not in prices:
        hint = did_you_mean(kind, prices)
        raise InputError(f"host.cycles_per_element: {hw.host.name} has no price for operator {kind!r}{hint}")
    return math.ceil(elements * prices[kind] / hw.host.clock_ratio)
