"""The published rules, against cycles that the peers themselves printed."""

from __future__ import annotations

import pytest

from sim.validate.peers import onnxim_cycles, scalesim_cycles


def test_scalesim_rule_gives_what_scalesim_printed() -> None:
    """SCALE-Sim 3.0.0, run on 128 x 768 x 768 with a 16 x 16 array, WS, without stalls: 400,896 cycles."""
    assert scalesim_cycles(128, 768, 768, 16, 16, "WS") == 400_896


@pytest.mark.parametrize(
    ("m", "n", "k", "printed"),
    [(512, 512, 512, 525_478), (128, 768, 768, 296_614), (1, 768, 768, 38_387), (384, 384, 384, 222_118)],
)
def test_onnxim_rule_is_a_close_lower_bound_of_what_onnxim_printed(m: int, n: int, k: int, printed: int) -> None:
    """ONNXim adds its DRAM to the rule: the rule alone must stay below what it printed, by less than 5 %."""
    cycles = onnxim_cycles(m, n, k, 16, 16, "WS")
    assert cycles is not None
    assert 0.95 * printed < cycles <= printed


def test_no_rule_beats_the_multipliers() -> None:
    for m, n, k in ((1, 16, 16), (64, 64, 64), (100, 100, 100)):
        for dataflow in ("WS", "OS"):
            for rule in (onnxim_cycles, scalesim_cycles):
                cycles = rule(m, n, k, 16, 16, dataflow)
                assert cycles is None or cycles >= m * n * k / 256
