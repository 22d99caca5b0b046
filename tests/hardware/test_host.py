"""The host CPU: prices follow from the published shares, and what has no price is refused."""

from __future__ import annotations

import pytest

from sim.base.errors import InputError
from sim.cost import host
from sim.hardware import load

LAYERS, LENGTH, HIDDEN, FFN, HEADS = 12, 512, 768, 3072, 12

TUNED_CYCLES = 48.318e9 / 256 / 0.91 / 0.87
"""Run with I-BERT units: MACs over PEs, 91 % utilization, matmuls 87 % of the time (papers.md 1.3, 1.4)."""

ELEMENTS = {
    "softmax": HEADS * LENGTH**2,
    "gelu": LENGTH * FFN,
    "layernorm": 2 * LENGTH * HIDDEN,
    "residual_add": 2 * LENGTH * HIDDEN,
}
READ_TWICE = {"residual_add"}
SHARES = {"softmax": 0.19, "gelu": 0.10, "layernorm": 0.04, "residual_add": 0.11}


@pytest.mark.parametrize("kind", SHARES)
def test_prices_give_back_the_published_shares(kind: str) -> None:
    spent = LAYERS * host.cycles(kind, ELEMENTS[kind], load("kim2023_baseline"))
    assert spent / (39.6 * TUNED_CYCLES) == pytest.approx(SHARES[kind], rel=0.01)


def test_conversions_give_back_their_share() -> None:
    hw = load("kim2023_baseline")
    read = sum(count * (2 if kind in READ_TWICE else 1) for kind, count in ELEMENTS.items())
    spent = host.cycles("dequantize", read, hw) + host.cycles("quantize", sum(ELEMENTS.values()), hw)
    assert LAYERS * spent / (39.6 * TUNED_CYCLES) == pytest.approx(0.49, rel=0.01)


def test_tanh_is_priced_as_softmax_by_count() -> None:
    """An exponential, a division and three additions or comparisons each: the derivation beside the price."""
    hw = load("gemmini_default")
    assert host.cycles("tanh", 1000, hw) == host.cycles("softmax", 1000, hw) > 0


def test_cycles_are_rounded_up_and_follow_the_clock_ratio() -> None:
    hw = load("gemmini_default", {"host.cycles_per_element.gelu": 2.5})
    assert [host.cycles("gelu", n, hw) for n in (0, 1, 2, 3)] == [0, 3, 5, 8]
    assert host.cycles("gelu", 4, hw.with_({"host.clock_ratio": 2.0})) == 5


def test_an_operator_without_a_price_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"no price for operator 'softmx' \(did you mean 'softmax'\?\)"):
        host.cycles("softmx", 10, load("gemmini_default"))
    with pytest.raises(InputError, match=r"operator 'softmax' needs a host CPU, and gemmini_default has none"):
        host.cycles("softmax", 10, load("gemmini_default", {"host": "none"}))
    with pytest.raises(InputError, match="-1 elements"):
        host.cycles("softmax", -1, load("gemmini_default"))
