from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.errors import DataError
from dife_lightning.metrics.association import normalized_distance, quantile_bins, spearman, spearman_interval
from dife_lightning.metrics.bootstrap import bootstrap_ci, ratio_intervals, resample_weights


def slow_ranks(values):
    """Mean position of all that are equal, counted one by one."""
    return np.array([1 + sum(w < v for w in values) + (sum(w == v for w in values) - 1) / 2 for v in values])


def slow_spearman(x, y):
    return np.corrcoef(slow_ranks(x), slow_ranks(y))[0, 1]


def test_without_ties_it_is_the_formula_of_squared_rank_differences():
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    y = x + rng.normal(size=50)
    d = slow_ranks(x) - slow_ranks(y)
    assert spearman(x, y) == pytest.approx(1 - 6 * (d**2).sum() / (50 * (50**2 - 1)))


def test_with_ties_it_is_the_correlation_of_mean_ranks():
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 5, 60).astype(float), rng.integers(0, 4, 60).astype(float)
    assert spearman(x, y + x) == pytest.approx(slow_spearman(x, y + x))


def test_any_rising_function_gives_one_and_a_falling_one_minus_one():
    x = np.random.default_rng(2).normal(size=30)
    assert spearman(x, np.exp(3 * x)) == pytest.approx(1)
    assert spearman(x, -(x**3)) == pytest.approx(-1)


def test_the_interval_ranks_each_draw_anew():
    rng = np.random.default_rng(3)
    x = rng.integers(0, 12, 25).astype(float)
    y = x + rng.normal(0, 6, 25)
    value, interval = spearman_interval(x, y, resamples=150, seed=4)
    assert value == spearman(x, y)
    slow = []
    for times in resample_weights(25, resamples=150, seed=4).astype(int):
        rows = np.repeat(np.arange(25), times)
        slow.append(slow_spearman(x[rows], y[rows]))
    assert interval == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))
    assert interval[0] < value < interval[1]


def test_a_constant_has_no_rank_correlation():
    x = np.arange(8.0)
    value, interval = spearman_interval(x, np.ones(8))
    assert np.isnan([value, *interval]).all()


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="two of each pair"):
        spearman(np.arange(3.0), np.arange(4.0))
    with pytest.raises(DataError, match="not finite"):
        spearman(np.array([1.0, np.nan]), np.arange(2.0))


def test_bins_hold_equally_many_and_everything():
    values = np.random.default_rng(5).exponential(size=500)
    edges, index = quantile_bins(values, 5)
    assert np.bincount(index).tolist() == [100] * 5
    assert (edges[0], edges[-1]) == (values.min(), values.max())
    for b in range(5):
        assert values[index == b].min() >= edges[b]
        assert values[index == b].max() <= edges[b + 1]


def test_equal_values_share_a_bin():
    edges, index = quantile_bins(np.array([0.0, 0, 0, 0, 0, 0, 0, 1, 2, 3]), 5)
    assert edges == pytest.approx([0, 1.2, 3])  # quantiles at 0.2, 0.4 and 0.6 are 0 as well
    assert index.tolist() == [0] * 8 + [1] * 2
    edges, index = quantile_bins(np.full(4, 2.0), 3)
    assert (edges.tolist(), index.tolist()) == ([2, 2], [0] * 4)
    with pytest.raises(DataError, match="0 values for 3 bins"):
        quantile_bins(np.array([]), 3)


def test_distances_are_in_standard_deviations_of_each_number():
    a = np.array([[0.0, 0, 7], [2, 0, 7]])
    b = np.array([[2.0, 30, 7], [0, 30, 7]])
    # first number: 0, 2, 2, 0 has deviation 1; second: 0, 0, 30, 30 has 15; the third never changes
    np.testing.assert_allclose(normalized_distance(a, b), np.sqrt((2**2 + 2**2) / 2))
    np.testing.assert_allclose(normalized_distance(a * [5, 0.1, 1], b * [5, 0.1, 1]), 2)
    assert normalized_distance(a, a)[0] == 0
    assert normalized_distance(np.ones((3, 2)), np.ones((3, 2))).tolist() == [0, 0, 0]


def test_intervals_of_several_ratios_are_those_of_each_alone():
    rng = np.random.default_rng(6)
    errors, visible = rng.gamma(2, 3, (80, 4)), rng.random((80, 4)) > 0.3
    found = ratio_intervals(np.where(visible, errors, 0), visible, seed=1)
    for k in range(4):
        alone = bootstrap_ci(errors[:, k : k + 1], visible[:, k : k + 1], seed=1)
        assert tuple(found[k]) == pytest.approx(alone)


def test_a_ratio_without_counts_has_no_interval_and_a_rare_one_has():
    counts = np.zeros((20, 2))
    counts[3, 1] = 1
    found = ratio_intervals(counts * 5, counts)
    assert np.isnan(found[0]).all()
    assert found[1].tolist() == [5, 5]
