from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.errors import DataError
from dife_lightning.metrics.bootstrap import (
    bootstrap_ci,
    interval_over,
    pair_weights,
    paired_difference,
    ratio_intervals,
)


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


def crossed(seed: int, sources: int = 12, targets: int = 9, pairs: int = 60):
    """Return errors with an effect of each source and each target, and the units of the pairs."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(sources * targets, pairs, replace=False)
    a, b = cells // targets, cells % targets
    errors = 10 + 3 * rng.normal(size=sources)[a] + 2 * rng.normal(size=targets)[b] + rng.normal(0, 0.5, pairs)
    units = np.array([[f"person {i}", f"photo {j}"] for i, j in zip(a, b, strict=True)])
    return errors[:, None], units


def by_hand(errors, units, draws=4000):
    """Resample lists of units in a loop: a pair occurs once for every combination of its drawn units."""
    rng = np.random.default_rng(11)
    names = [sorted(set(side)) for side in units.T]
    values = []
    for _ in range(draws):
        drawn = [list(rng.choice(side, len(side))) for side in names]
        times = [drawn[0].count(a) * drawn[1].count(b) for a, b in units]
        if sum(times):
            values.append(sum(t * e for t, e in zip(times, errors[:, 0], strict=True)) / sum(times))
    return np.quantile(values, [0.025, 0.975])


def test_where_persons_and_photos_repeat_both_are_drawn_and_a_pair_weighs_their_product():
    errors, units = crossed(0)
    visible = np.ones_like(errors, dtype=bool)
    found = bootstrap_ci(errors, visible, resamples=4000, units=units)
    assert found == pytest.approx(tuple(by_hand(errors, units)), abs=0.12)
    over_pairs = bootstrap_ci(errors, visible, resamples=4000)
    assert found[1] - found[0] > 1.3 * (over_pairs[1] - over_pairs[0])


def test_the_interval_over_photos_holds_the_truth_where_that_over_pairs_is_too_short():
    held = {"pairs": 0, "photos": 0}
    for seed in range(60):
        rng = np.random.default_rng(seed)  # the true mean is 10: 15 persons and 12 photos of infinitely many
        errors = 10 + 3 * rng.normal(size=(15, 1)) + 2 * rng.normal(size=(1, 12)) + rng.normal(size=(15, 12))
        units = np.array([[f"{i}", f"{j}"] for i in range(15) for j in range(12)])
        flat, all_visible = errors.reshape(-1, 1), np.ones((180, 1), bool)
        for name, given in (("pairs", None), ("photos", units)):
            low, high = bootstrap_ci(flat, all_visible, resamples=400, units=given)
            held[name] += low <= 10 <= high
    assert held["photos"] >= 51  # of 60; 95 % would be 57, and few units make any bootstrap a little too short
    assert held["pairs"] <= 30


def test_units_that_do_not_repeat_change_nothing():
    errors, visible = table(6, pairs=40)
    units = np.array([[f"a{i}", f"b{i}"] for i in range(40)])
    assert interval_over(units) == interval_over(None) == "pairs"
    assert bootstrap_ci(errors, visible, units=units) == bootstrap_ci(errors, visible)


def test_a_side_without_repetition_goes_with_the_other():
    units = np.array([[f"a{i}", "b" if i < 3 else "c"] for i in range(6)])
    assert interval_over(units) == "photos"
    # two photos: only both, or one of them twice, can be drawn
    weights = {tuple(row) for row in pair_weights(6, units).tolist()}
    assert weights == {(1,) * 6, (2, 2, 2, 0, 0, 0), (0, 0, 0, 2, 2, 2)}


def test_names_of_units_do_not_matter_and_their_number_must_fit():
    errors, units = crossed(1)
    visible = np.ones_like(errors, dtype=bool)
    others = np.char.add("x", units)
    assert bootstrap_ci(errors, visible, units=others) == bootstrap_ci(errors, visible, units=units)
    with pytest.raises(DataError, match="units of 59 pairs, expected those of 60"):
        bootstrap_ci(errors, visible, units=units[:-1])


def test_differences_are_drawn_over_photos_too():
    errors, units = crossed(2)
    visible = np.ones_like(errors, dtype=bool)
    photo = {name: k for k, name in enumerate(sorted(set(units[:, 1])))}
    worse = errors + np.array([[0.3 * (photo[b] % 3)] for _, b in units])  # the gain depends on the photo
    gain, found = paired_difference(worse, errors, visible, units=units, resamples=4000)
    assert found == pytest.approx(tuple(by_hand(worse - errors, units)), abs=0.03)
    assert found[0] < gain < found[1]
    several = ratio_intervals(worse - errors, visible, units=units, resamples=4000)
    assert several[0] == pytest.approx(found)
