from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dife_lightning.sweeps.importance import chance_level, importances, range_of_means, spearman
from dife_lightning.sweeps.records import Trial
from tests.sweeps.fakes import LAMBDA, sweep_of


@pytest.mark.parametrize("seed", range(4))
def test_rank_correlation_is_that_of_scipy_with_and_without_ties(seed):
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=25), rng.integers(0, 5, 25).astype(float)
    for a, b in ((left, right), (right, left**3), (right, rng.integers(0, 3, 25)), (left, np.exp(left))):
        assert spearman(list(a), list(b)) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_rank_correlation_of_nothing_is_nothing():
    assert spearman([1.0, 2.0], [1.0, 2.0]) is None
    assert spearman([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None


def test_the_range_of_means_is_that_of_the_values():
    assert range_of_means(["x", "y", "x", "z"], [1.0, 5.0, 2.0, 3.0]) == 3.5
    assert range_of_means(["x", "x"], [1.0, 2.0]) is None


def test_each_kind_of_parameter_gets_what_it_has():
    parameters = {"a": LAMBDA, "b": {"values": ["x", "y"]}, "c": {"values": [1, 2]}, "d": {"value": 5}}
    sweep = sweep_of(parameters)
    trials = [Trial(n, {"a": n + 1, "b": "xy"[n % 2], "c": 1 + n // 4, "d": 5}, "done", float(n)) for n in range(8)]
    a, b, c = importances(sweep, [*trials, Trial(8, {}, "failed")])
    assert (a.name, a.spearman, a.range_of_means) == ("a", pytest.approx(1.0), None)
    assert (b.spearman, b.range_of_means) == (None, 1.0)
    assert (c.spearman, c.range_of_means) == (
        pytest.approx(stats.spearmanr([1] * 4 + [2] * 4, range(8)).statistic),
        4.0,
    )


def test_the_level_of_chance_is_exceeded_once_in_twenty_times():
    rng = np.random.default_rng(0)
    count = 24
    found = [abs(spearman(list(rng.normal(size=count)), list(rng.normal(size=count))) or 0) for _ in range(2000)]
    assert np.mean(np.array(found) > chance_level(count)) == pytest.approx(0.05, abs=0.015)
    assert chance_level(3) is None
