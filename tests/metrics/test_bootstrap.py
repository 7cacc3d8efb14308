from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.errors import DataError
from dife_lightning.metrics.bootstrap import bootstrap_ci, paired_difference


def table(seed: int, pairs: int = 300, points: int = 9):
    rng = np.random.default_rng(seed)
    errors = rng.gamma(4, 2, (pairs, 1)) + rng.normal(0, 0.5, (pairs, points))
    return errors, rng.random((pairs, points)) > 0.15


def test_interval_agrees_with_the_normal_approximation_over_pairs():
    errors, visible = table(0)
    visible[:] = True
    low, high = bootstrap_ci(errors, visible, resamples=4000)
    means = errors.mean(1)
    half = 1.96 * means.std(ddof=1) / np.sqrt(len(means))
    assert (low, high) == pytest.approx((means.mean() - half, means.mean() + half), rel=0.02)
    # points of one pair go together: an interval over single points would be about three times too narrow
    assert high - low > 2 * (2 * 1.96 * errors.std() / np.sqrt(errors.size))


def test_interval_agrees_with_resampling_in_a_loop():
    errors, visible = table(1, pairs=60)
    rng = np.random.default_rng(5)
    values = []
    for _ in range(3000):
        rows = rng.integers(0, 60, 60)
        values.append(errors[rows][visible[rows]].mean())
    slow = np.quantile(values, [0.025, 0.975])
    assert bootstrap_ci(errors, visible, resamples=3000) == pytest.approx(tuple(slow), rel=0.02)


def test_interval_is_a_function_of_the_seed():
    errors, visible = table(2)
    assert bootstrap_ci(errors, visible, seed=3) == bootstrap_ci(errors, visible, seed=3)
    assert bootstrap_ci(errors, visible, seed=3) != bootstrap_ci(errors, visible, seed=4)


def test_invisible_values_do_not_matter():
    errors, visible = table(3)
    spoiled = np.where(visible, errors, np.nan)
    assert bootstrap_ci(spoiled, visible) == bootstrap_ci(errors, visible)


def test_paired_interval_sees_a_small_constant_gain_that_single_intervals_hide():
    errors, visible = table(4)
    better = errors - 0.3 + np.random.default_rng(0).normal(0, 0.2, errors.shape)
    difference, (low, high) = paired_difference(errors, better, visible)
    assert difference == pytest.approx(errors[visible].mean() - better[visible].mean())
    assert 0 < low < difference < high
    assert bootstrap_ci(better, visible)[1] > bootstrap_ci(errors, visible)[0]


def test_equal_methods_differ_by_nothing():
    errors, visible = table(5)
    assert paired_difference(errors, errors, visible) == (0.0, (0.0, 0.0))


def test_one_pair_and_no_points():
    errors = np.array([[1.0, 3.0]])
    assert bootstrap_ci(errors, np.ones((1, 2), dtype=bool)) == (2.0, 2.0)
    with pytest.raises(DataError, match="no visible point"):
        bootstrap_ci(errors, np.zeros((1, 2), dtype=bool))
    with pytest.raises(DataError, match="same points"):
        paired_difference(errors, errors[:, :1], np.ones((1, 2), dtype=bool))
