"""Rounding that compensates its errors: against the nearest integers, and against all roundings of a small matrix."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sim.functional.quantization.moments import Moments
from sim.functional.quantization.rounding import DAMPING, ROUNDING_NOISE, inverse, taking_back
from sim.functional.quantization.rounding import compensated as with_triangle
from sim.functional.quantization.statistics import Gathered, Statistics


def compensated(whole, moments, top):
    return with_triangle(whole, *taking_back(moments), top)


def off(whole, rounded, inputs):
    return float(((inputs @ (whole - rounded)) ** 2).sum())


@pytest.mark.parametrize("rows", [40, 400])
def test_products_with_inputs_that_go_together_are_closer_than_with_the_nearest_integers(rows):
    rng = np.random.default_rng(3)
    mixed = rng.standard_normal((8, 64))
    seen, fresh = (rng.standard_normal((n, 8)) @ mixed + 0.1 * rng.standard_normal((n, 64)) for n in (rows, 300))
    whole = 12 * rng.standard_normal((64, 24))
    found = compensated(whole, seen.T @ seen / rows, 127)
    for inputs in (seen, fresh):  # also for rows that calibration has not seen
        assert off(whole, found, inputs) < 0.5 * off(whole, np.rint(whole), inputs)


def test_inputs_that_are_unrelated_want_the_nearest_integers():
    whole = 9 * np.random.default_rng(0).standard_normal((32, 5))
    np.testing.assert_array_equal(compensated(whole, np.eye(32), 127), np.rint(whole))
    np.testing.assert_array_equal(compensated(whole, np.zeros((32, 32)), 127), np.rint(whole))


def test_no_integer_is_beyond_the_largest():
    whole = 40 * np.random.default_rng(0).standard_normal((20, 6))
    inputs = np.ones((9, 20))
    assert np.abs(compensated(whole, inputs.T @ inputs / 9, 7)).max() == 7


def test_it_is_nearly_the_best_of_all_roundings_of_a_small_column():
    rng = np.random.default_rng(8)
    # ten steps large, so that their own rounding does not count
    inputs = rng.standard_normal((30, 3)) @ rng.standard_normal((3, 8)) + 0.2 * rng.standard_normal((30, 8))
    whole = 5 * rng.standard_normal((8, 1))
    choices = itertools.product(*((np.floor(v), np.ceil(v)) for v in whole[:, 0]))
    best = min(off(whole, np.array(choice)[:, None], inputs) for choice in choices)
    found = off(whole, compensated(whole, 100 * inputs.T @ inputs / 30, 127), inputs)
    nearest = off(whole, np.rint(whole), inputs)
    assert best <= found + 1e-9
    assert found - best < 0.5 * (nearest - best)


def test_moments_are_those_of_all_rows_in_whatever_batches():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((1300, 5)).astype(np.float32)
    found = Moments()
    for part in np.split(rows, [7, 600, 900]):
        found.add({"x": part}, ["x"])
    np.testing.assert_allclose(found.of("x"), rows.T @ rows / 1300, rtol=1e-4, atol=1e-4)
    columns, shares = np.array([4, 0, 0]), np.array([1.0, 2.0, 2.0])
    seen = Statistics({"x": np.ones(5)}, widths={"x": 5}, gathered=lambda: Gathered(moments=found))
    split = seen.arranged({"y": ("x", columns, shares)}).moments("y")
    taken = rows[:, columns] / shares
    np.testing.assert_allclose(split, taken.T @ taken / 1300, rtol=1e-4, atol=1e-4)
    assert found.of("z") is None


def test_the_triangle_is_the_one_that_the_inverse_has():
    rng = np.random.default_rng(2)
    inputs = rng.standard_normal((500, 150)) * np.linspace(1, 9, 150)
    moments = inputs.T @ inputs / 500
    upper, order = taking_back(moments)
    damped = moments[np.ix_(order, order)] + np.eye(150) * (ROUNDING_NOISE + DAMPING * moments.diagonal().mean())
    np.testing.assert_allclose(upper.T @ upper, np.linalg.inv(damped), rtol=1e-9, atol=1e-12)
    assert not np.tril(upper, -1).any()
    lower = np.tril(rng.standard_normal((129, 129))) + 9 * np.eye(129)
    np.testing.assert_allclose(inverse(lower) @ lower, np.eye(129), atol=1e-9)
