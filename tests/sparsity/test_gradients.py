"""Saliency by gradients: what setting a candidate to zero does to a loss that is exactly linear, or quadratic."""

from __future__ import annotations

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.sparsity.edits import saliency
from sim.sparsity.edits.pruning import Pruning, parse, weighted
from workloads import encoder_layer

GRAPH = encoder_layer(seq=16, hidden=32, heads=2, ffn=64, layers=2)
PRUNING = Pruning(heads=1, ffn=40, layers=1)


def arrays(seed):
    rng = np.random.default_rng(seed)
    return {op.inputs[1].tensor: rng.normal(size=(op.mnk[2], op.mnk[1])) for op in weighted(GRAPH)}


def beside(values, ending):
    return {name + ending: array for name, array in values.items()}


def without(weights, layer, neuron):
    """Return the weights with one neuron set to zero."""
    found = {name: values.copy() for name, values in weights.items()}
    found[f"L{layer}.FF1.weight"][:, neuron] = 0
    found[f"L{layer}.FF2.weight"][neuron] = 0
    return found


def losses(loss, weights):
    """Return by how much a loss changes as each neuron of layer 1 goes."""
    whole = loss(weights)
    return np.array([loss(without(weights, 1, neuron)) - whole for neuron in range(64)])


def test_first_order_is_the_squared_change_of_a_linear_loss():
    weights, gradient = arrays(0), arrays(1)
    found = saliency.magnitudes(GRAPH, weights | beside(gradient, ".gradient"), PRUNING)
    changes = losses(lambda w: sum((w[name] * gradient[name]).sum() for name in w), weights)
    np.testing.assert_allclose(found["L1.ffn"], changes**2)
    assert found["L0.heads"].shape == found["layers"].shape == (2,)


def test_second_order_is_the_rise_of_a_quadratic_loss_at_its_lowest_point():
    weights, fisher = arrays(0), {name: values**2 for name, values in arrays(1).items()}
    found = saliency.magnitudes(GRAPH, weights | beside(fisher, ".fisher"), PRUNING)
    rises = losses(lambda w: sum((fisher[n] * (w[n] - weights[n]) ** 2).sum() / 2 for n in w), weights)
    np.testing.assert_allclose(found["L1.ffn"], rises)


def test_a_file_of_weights_and_gradients_decides_otherwise_than_weights_alone(tmp_path):
    weights, gradient = arrays(0), arrays(1)
    np.savez(tmp_path / "w.npz", **weights)
    np.savez(tmp_path / "g.npz", **weights, **beside(gradient, ".gradient"))
    plain, by_gradient = (
        saliency.choose(GRAPH, parse("ffn=40", weights=tmp_path / name))["L0.ffn"].tolist()
        for name in ("w.npz", "g.npz")
    )
    assert plain != by_gradient


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"L0.FF1.weight.gradient": None},
            "'L0.FF1.weight.gradient' is missing, but 'L0.FF2.weight.gradient' is given",
        ),
        ({"L0.FF1.weight.gradient": np.zeros((2, 2))}, "must be (32, 64) finite numbers, has shape (2, 2)"),
        ({"L0.FF1.weight.gradient": np.full((32, 64), np.nan)}, "must be (32, 64) finite numbers"),
        ({"L0.FF1.weight.fisher": np.zeros((32, 64))}, "both .gradient and .fisher are given"),
    ],
)
def test_gradients_that_do_not_fit_are_named(change, says):
    given = arrays(0) | beside(arrays(1), ".gradient") | change
    given = {name: values for name, values in given.items() if values is not None}
    with pytest.raises(InputError) as error:
        saliency.magnitudes(GRAPH, given, Pruning(ffn=40))
    assert says in str(error.value)


def test_a_negative_mean_of_squares_is_refused():
    given = arrays(0) | beside(arrays(1), ".fisher")
    with pytest.raises(InputError, match="is negative; means of squared gradients must be >= 0"):
        saliency.magnitudes(GRAPH, given, Pruning(ffn=40))
