"""Network search: sums of halves stand for whole networks, evolution keeps the front, shrinking reaches its target.

Quality in these tests is a proxy and says so: minus the logarithm of the weights. It knows nothing of accuracy.
"""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from sim import hardware
from sim.base.errors import InputError
from sim.cli import main
from sim.sweeps.evolution import log_weights, next_step, search_networks, shrink
from sim.sweeps.networks import Candidate, Costs, Layer, NetworkSpace, parse

HW = hardware.load("gemmini_ibert")
SMALL = NetworkSpace((1, 2, 3), (1, 2), (32, 64), (64, 128), tokens=32, head_dim=16)


def test_the_default_space_is_the_published_one() -> None:
    """Kim et al., 6.4: 3 to 6 layers, five numbers of heads, 384 to 768 columns, 768 to 3,072 neurons by 128."""
    space = NetworkSpace()
    assert (len(space.hidden), len(space.ffn), space.largest.layers[0].ffn) == (5, 19, 3072)
    assert space.size == 5 * sum((5 * 19) ** depth for depth in (3, 4, 5, 6))
    sample = parse({"hidden": 672, "heads": "12 6 12 8 10 6", "ffn": "1280 1280 2560 768 2048 1024"}, 512)
    assert all(layer.ffn in space.ffn and layer.heads in space.heads for layer in sample.layers)


@pytest.mark.parametrize("seed", range(3))
def test_halves_add_up_to_the_whole_network(seed: int) -> None:
    """A layer does not know what came before it but for the loop slot it starts in: within 1 % in cycles and energy."""
    network = SMALL.draw(random.Random(seed))
    costs = Costs(HW)
    summed, whole = costs.of(network), costs.whole(network)
    assert summed.cycles == pytest.approx(whole.cycles, rel=0.01)
    assert summed.energy_pj == pytest.approx(whole.energy_pj, rel=0.01)


def test_dropped_tokens_add_up_too() -> None:
    network = Candidate(64, (Layer(2, 128, 32), Layer(2, 128, 16)), 16)
    costs = Costs(HW)
    assert costs.of(network).cycles == pytest.approx(costs.whole(network).cycles, rel=0.02)


def test_halves_are_simulated_once() -> None:
    costs = Costs(HW)
    rng = random.Random(0)
    for _ in range(40):
        costs.of(SMALL.draw(rng))
    assert costs.simulated <= 2 * 2 * 2  # columns x heads x neurons
    assert len(costs.halves) == 2 * (2 + 2)


def test_evolution_finds_the_front_of_a_small_space() -> None:
    """Every network of the space tried: the search's front lies on the true one."""
    space = NetworkSpace((1, 2), (1, 2), (32, 64), (64, 128), tokens=32, head_dim=16)
    every = {}
    rng = random.Random(1)
    while len(every) < space.size:
        network = space.draw(rng)
        every[network] = log_weights(network)
    true = search_networks(HW, every)
    assert len(true) == space.size
    found = search_networks(HW, log_weights, space=space, population=10, rounds=8, seed=0)
    pairs = {(row.quality, row.edp_js) for row in true[true["best"]].itertuples()}
    mine = {(row.quality, row.edp_js) for row in found[found["best"]].itertuples()}
    assert len(mine & pairs) >= 0.8 * len(pairs)
    assert found.equals(search_networks(HW, log_weights, space=space, population=10, rounds=8, seed=0))


@pytest.mark.parametrize("greedy", [True, False])
@pytest.mark.parametrize("metric", ["cycles", "energy"])
def test_shrinking_reaches_the_target_and_not_much_more(greedy: bool, metric: str) -> None:
    start = Candidate(64, (Layer(2, 128, 32),) * 3, 16)
    steps = [("heads", (2, 1)), ("ffn", (128, 64)), ("tokens", (32, 16))]
    done = shrink(HW, start, log_weights, steps, target=0.8, metric=metric, greedy=greedy)
    share = [cost.score(metric, HW.clock_mhz) / done[0][3].score(metric, HW.clock_mhz) for *_, cost in done]
    assert share[0] == 1
    assert share[-1] <= 0.8 < share[-2]
    assert all(later <= earlier for earlier, later in pairwise(share))


def test_patterns_are_steps_too() -> None:
    sparse = hardware.load("gemmini_sparse")
    start = Candidate(64, (Layer(2, 128, 32),) * 2, 16)
    done = shrink(sparse, start, lambda n: sum(layer.pattern is not None for layer in n.layers),
                  [("pattern", (None, "2:4"))], target=0.98, metric="energy")  # fmt: skip
    assert done[1][0].endswith("pattern=2:4")
    assert done[-1][3].energy_pj < 0.98 * done[0][3].energy_pj


def test_fewer_tokens_hold_for_all_layers_behind() -> None:
    network = Candidate(64, (Layer(2, 128, 32),) * 3, 16)
    smaller = next_step(network, "tokens", 1, (32, 16))
    assert smaller is not None
    assert [layer.tokens for layer in smaller.layers] == [32, 16, 16]
    assert smaller.graph().macs < network.graph().macs


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = Candidate(64, (Layer(2, 128, 32),), 16)
    with pytest.raises(InputError, match="the smallest network takes"):
        shrink(HW, start, log_weights, [("heads", (2, 1))], target=0.01)
    with pytest.raises(InputError, match="did you mean 'cycles'"):
        shrink(HW, start, log_weights, [], target=0.5, metric="cycle")
    with pytest.raises(InputError, match="above 0 and below 1"):
        shrink(HW, start, log_weights, [], target=1.5)
    with pytest.raises(InputError, match="population: 1"):
        search_networks(HW, log_weights, population=1, mutation=2.0)
    with pytest.raises(InputError, match="must be a number, smaller is better"):
        search_networks(HW, lambda _: float("nan"), space=SMALL, population=2, rounds=0)
    with pytest.raises(InputError, match="ffn is empty"):
        NetworkSpace(ffn=())
    (tmp_path / "q.csv").write_text("hidden,heads,ffn\n64,2,128\n")
    for options, message in (
        (["--quality", str(tmp_path / "q.csv")], "needs the columns hidden, heads, ffn and quality"),
        (["--quality", "nowhere"], "must be FILE.csv, MODULE:FUNCTION"),
        (["--start", "768"], "must be HIDDEN/HEADS/FFN"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["search", *options])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "q.csv").write_text("hidden,heads,ffn,quality\n64,1,128,2.5\n64,1 1,128 128,2.0\n64,2 2,128 128,2.4\n")
    with pytest.raises(SystemExit) as ended:
        main(["search", "--seq", "32", "--quality", str(tmp_path / "q.csv"), "-o", str(tmp_path / "t.csv")])
    assert ended.value.code == 0
    assert "3 networks, 2 best" in capsys.readouterr().out
    shrinking = ["search", "--seq", "32", "--start", "64/2x2/128x2", "--step", "ffn=128,64", "--target", "0.95"]
    with pytest.raises(SystemExit) as ended:
        main(shrinking)
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert "ffn=64" in out
    assert "a proxy, not accuracy" in out
