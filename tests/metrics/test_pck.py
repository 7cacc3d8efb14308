from __future__ import annotations

import numpy as np
import pytest
import torch

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.metrics.keypoint_transfer import keypoint_transfer_scores
from dife_lightning.metrics.pck import normalized_errors, pck_area, pck_hits, thresholds
from tests.metrics.tables import random_table, table_of


def curve(table, by="crop", at=None):
    errors, counted = normalized_errors(table, by)
    at = thresholds() if at is None else np.asarray(at)
    return pck_hits(errors, counted, at).sum(0) / counted.sum()


def test_the_curve_passes_through_what_a_test_reports():
    table = random_table(0, pairs=300)
    arrays = (torch.from_numpy(array) for array in (table.predicted, table.truth, table.visible))
    scores = keypoint_transfer_scores(*arrays, torch.full((300,), 64.0), "9-point")
    image, face = ([scores.pck[f"pck_{by}_{t}"] for t in ("05", "10")] for by in ("image", "face"))
    assert curve(table, at=[0.05, 0.1]) == pytest.approx(image, abs=1e-12)
    assert curve(table, "face", [0.05, 0.1]) == pytest.approx(face, abs=1e-12)
    assert 0.1 < scores.pck["pck_image_05"] < scores.pck["pck_image_10"] < 0.99


def test_an_error_at_the_threshold_is_within_it():
    truth = np.zeros((1, 3, 2))
    predicted = np.array([[[6.4, 0], [6.401, 0], [0, 0]]])
    assert curve(table_of(truth, predicted), at=[0.1]) == pytest.approx([2 / 3])


def test_invisible_points_do_not_count():
    truth, predicted = np.zeros((1, 3, 2)), np.array([[[50.0, 0], [1, 0], [1, 0]]])
    assert curve(table_of(truth, predicted, [[False, True, True]]), at=[0.1]) == pytest.approx([1.0])


def test_the_area_is_that_of_a_fine_trapezoid():
    table = random_table(1, pairs=100)
    errors, counted = normalized_errors(table)
    fine = thresholds(0.01, 0.2, 20001)
    share = pck_hits(errors, counted, fine).sum(0) / counted.sum()
    slow = ((share[1:] + share[:-1]) / 2 * np.diff(fine)).sum() / 0.19
    assert pck_area(errors)[counted].mean() == pytest.approx(slow, abs=1e-5)


def test_the_area_of_a_perfect_and_of_a_hopeless_method():
    assert pck_area(np.array([0.0, 0.01, 0.105, 0.2, 3.0])) == pytest.approx([1, 1, 0.5, 0, 0])


def test_face_errors_are_parts_of_the_larger_side_of_the_visible_true_points():
    truth = np.array([[[10.0, 20], [14, 52], [26, 20]], [[5, 5], [9, 5], [90, 90]], [[5, 5], [9, 5], [7, 7]]])
    visible = [[True] * 3, [True, True, False], [False, True, False]]
    errors, counted = normalized_errors(table_of(truth, truth + np.array([3.0, 4.0]), visible), "face")
    np.testing.assert_allclose(errors[0], 5 / 32)
    np.testing.assert_allclose(errors[1], 5 / 4)
    np.testing.assert_array_equal(counted, [[True] * 3, [True, True, False], [False] * 3])


def test_interocular_errors_are_parts_of_the_distance_between_eye_centres():
    truth = np.array([[[10.0, 20], [14, 20], [26, 20], [30, 20], [20, 30], [15, 40], [25, 40], [20, 38], [20, 42]]])
    predicted = truth + np.array([3.0, 4.0])
    errors, counted = normalized_errors(table_of(truth, predicted, side=200), "interocular")
    assert counted.all()
    np.testing.assert_allclose(errors, 5 / 16)
    three = np.array([[[12.0, 20], [28, 20], [20, 30]]])
    moved = table_of(three, three + np.array([3.0, 4.0]))
    np.testing.assert_allclose(normalized_errors(moved, "interocular")[0], 5 / 16)


def test_interocular_errors_do_not_depend_on_the_crop():
    table = random_table(2)
    larger = table_of(table.truth * 3, table.predicted * 3, table.visible)
    (errors, counted), (same, there) = (normalized_errors(each, "interocular") for each in (table, larger))
    np.testing.assert_array_equal(counted, there)
    assert 50 < counted.sum() < table.visible.sum()
    np.testing.assert_allclose(errors[counted], same[there])


def test_pairs_whose_eyes_are_hidden_or_in_one_place_do_not_count_by_interocular():
    truth = np.array([[[12.0, 20], [28, 20], [20, 30]]] * 3)
    truth[2, 1] = truth[2, 0]
    visible = np.ones((3, 3), dtype=bool)
    visible[1, 0] = False
    errors, counted = normalized_errors(table_of(truth, truth + 1, visible), "interocular")
    assert counted.tolist() == [[True] * 3, [False] * 3, [False] * 3]
    assert np.isfinite(errors).all()


def test_another_normaliser_and_landmarks_without_eyes_are_refused():
    with pytest.raises(ConfigError, match="interocular"):
        normalized_errors(random_table(0), "eyes")
    points = np.zeros((1, 2, 2))
    with pytest.raises(DataError, match="no eyes among the landmarks ear_left, ear_right"):
        normalized_errors(table_of(points, points, landmarks=["ear_left", "ear_right"]), "interocular")
