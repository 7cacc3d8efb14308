from __future__ import annotations

import numpy as np
import pytest
import torch

from dife_lightning.errors import DataError
from dife_lightning.metrics.landmark_curves import ced, nme_interval, species_groups
from dife_lightning.metrics.landmark_error import landmark_error_scores, landmark_errors
from dife_lightning.metrics.nme_rules import NmeRule


def test_the_curve_is_the_share_of_faces_up_to_each_threshold():
    at, share = ced(torch.tensor([1.0, 2.0, 2.0, 30.0]), torch.tensor([0.5, 1.0, 1.9, 2.0, 100.0]))
    assert at.tolist() == pytest.approx([0.5, 1.0, 1.9, 2.0, 100.0])
    assert share.tolist() == [0, 0.25, 0.25, 0.75, 1]


def test_the_curve_passes_through_the_failure_rates_and_encloses_the_area():
    rng = np.random.default_rng(0)
    truth = torch.from_numpy(rng.uniform(0, 50, (400, 3, 2)))
    predicted = truth + torch.from_numpy(rng.normal(0, 4, (400, 3, 2)))
    boxes = torch.tensor([[0.0, 0, 50, 80]]).expand(400, 4)
    errors = landmark_errors(predicted, truth, torch.ones(400, 3), boxes, NmeRule())
    scores = landmark_error_scores(errors, ["a", "b", "c"])
    _, (at_8, at_10) = ced(errors.nme, torch.tensor([8.0, 10.0]))
    assert (1 - at_8.item(), 1 - at_10.item()) == pytest.approx(tuple(scores.failure.values()))
    at, share = ced(errors.nme)
    assert (at[0], at[-1], len(at)) == (0, 10, 101)
    assert ((share[1:] + share[:-1]) / 2).mean().item() == pytest.approx(scores.auc_10, abs=2e-3)
    assert 0.1 < scores.auc_10 < 0.9


def test_the_interval_over_faces_agrees_with_the_normal_approximation():
    nme = np.random.default_rng(1).gamma(4, 1.5, 500)
    low, high = nme_interval(torch.from_numpy(nme), resamples=4000)
    half = 1.96 * nme.std(ddof=1) / np.sqrt(500)
    assert (low, high) == pytest.approx((nme.mean() - half, nme.mean() + half), rel=0.01)


def test_the_interval_over_animals_agrees_with_drawing_whole_animals_in_a_loop():
    rng = np.random.default_rng(2)
    subjects = rng.integers(0, 25, 300)
    nme = rng.gamma(4, 1, 25)[subjects] + rng.normal(0, 0.2, 300)
    faces_of = [np.flatnonzero(subjects == one) for one in range(25)]
    means = []
    for _ in range(3000):
        rows = np.concatenate([faces_of[one] for one in rng.integers(0, 25, 25)])
        means.append(nme[rows].mean())
    low, high = nme_interval(torch.from_numpy(nme), [f"animal {one}" for one in subjects], resamples=3000)
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), rel=0.03)
    alone = nme_interval(torch.from_numpy(nme), resamples=3000)
    assert high - low > 2 * (alone[1] - alone[0])


def test_faces_of_unknown_animals_are_drawn_by_themselves():
    nme = torch.from_numpy(np.random.default_rng(3).gamma(4, 1, 50))
    assert nme_interval(nme, [""] * 50) == nme_interval(nme)


def test_an_interval_needs_a_face_and_one_subject_for_each():
    with pytest.raises(DataError, match="no face is scored"):
        nme_interval(torch.zeros(0))
    with pytest.raises(DataError, match="2 pairs, expected those of 3"):
        nme_interval(torch.ones(3), ["a", "a"])


def test_a_species_is_known_if_it_is_among_the_labelled_ones():
    assert species_groups(["dog", "owl", "dog"], {"dog", "cat"}) == ["known", "unknown", "known"]
