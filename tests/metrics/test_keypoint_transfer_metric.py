from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch

from dife_lightning.errors import DataError
from dife_lightning.faces.schemes import LAYOUT, LAYOUT_POINTS, PROTOCOLS
from dife_lightning.metrics.keypoint_transfer import (
    KeypointTransferMetric,
    flatten,
    keypoint_transfer_scores,
    pixel_errors,
)


def draw(pairs: int, seed: int = 0, side: int = 64):
    generator = torch.Generator().manual_seed(seed)
    predicted = torch.rand(pairs, LAYOUT_POINTS, 2, generator=generator) * side
    truth = predicted + torch.randn(pairs, LAYOUT_POINTS, 2, generator=generator) * 8
    visible = torch.rand(pairs, LAYOUT_POINTS, generator=generator) > 0.2
    return torch.arange(pairs), predicted, truth, visible, torch.full((pairs,), float(side))


def slow_scores(predicted, truth, visible, side, protocol):
    """Point by point."""
    part, spec = LAYOUT[protocol], PROTOCOLS[protocol]
    partner = {a: b for pair in spec.flip_pairs for a, b in (pair, pair[::-1])}
    errors, hits, swaps, swappable = [], {0.05: 0, 0.1: 0}, 0, 0
    face_hits, sized = {0.05: 0, 0.1: 0}, 0
    by_landmark = {name: [] for name in spec.landmarks}
    for b in range(len(predicted)):
        p, t, v = predicted[b, part].tolist(), truth[b, part].tolist(), visible[b, part].tolist()
        seen = [point for point, there in zip(t, v, strict=True) if there]
        extent = max((max(c) - min(c) for c in zip(*seen, strict=True)), default=0)
        for k, name in enumerate(spec.landmarks):
            if not v[k]:
                continue
            distance = math.dist(p[k], t[k])
            errors.append(distance * 70 / side)
            by_landmark[name].append(errors[-1])
            for alpha in hits:
                hits[alpha] += distance <= alpha * side
                face_hits[alpha] += extent > 0 and distance <= alpha * extent
            sized += extent > 0
            if k in partner and v[partner[k]]:
                swappable += 1
                swaps += math.dist(p[k], t[partner[k]]) < distance
    flat = {"pixel_error": sum(errors) / len(errors), "swap_rate": swaps / swappable}
    flat |= {"pck_image_05": hits[0.05] / len(errors), "pck_image_10": hits[0.1] / len(errors)}
    flat |= {"pck_face_05": face_hits[0.05] / sized, "pck_face_10": face_hits[0.1] / sized}
    return flat | {f"landmark/{name}": sum(e) / len(e) for name, e in by_landmark.items()}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scores_agree_with_a_slow_twin(protocol):
    index, predicted, truth, visible, side = draw(40)
    metric = KeypointTransferMetric()
    for part in (slice(0, 7), slice(7, 30), slice(30, 40)):
        metric.update(index[part], predicted[part], truth[part], visible[part], side[part])
    found = metric.compute()
    for key, value in slow_scores(predicted, truth, visible, 64, protocol).items():
        assert found[f"{protocol}/{key}"].item() == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", ["s1_96", "s2_48"])
def test_golden_errors_of_the_official_evaluation_are_met(shared, name):
    golden = {
        key: torch.from_numpy(np.asarray(value))
        for key, value in np.load(shared(f"golden/keypoint_transfer_eval/{name}.npz")).items()
    }
    errors = pixel_errors(golden["predicted_xy"][None], golden["keypoints_target_gt"][None], torch.tensor([96]))
    torch.testing.assert_close(errors[0], golden["pixel_err_70"].double(), atol=1e-4, rtol=0)
    assert errors.mean().item() == pytest.approx(float(golden["mean_err"]), abs=1e-4)


def test_invisible_points_change_nothing_even_if_they_are_nan():
    _, predicted, truth, visible, side = draw(12)
    before = flatten(keypoint_transfer_scores(predicted[:, :9], truth[:, :9], visible[:, :9], side, "9-point"))
    truth, predicted = truth.clone(), predicted.clone()
    truth[~visible], predicted[~visible] = float("nan"), float("inf")
    after = flatten(keypoint_transfer_scores(predicted[:, :9], truth[:, :9], visible[:, :9], side, "9-point"))
    assert after == pytest.approx(before)


def test_mean_is_over_points_and_not_over_pairs():
    truth = torch.zeros(2, 9, 2)
    predicted = truth.clone()
    predicted[0, 0, 0] = 7.0
    visible = torch.ones(2, 9, dtype=torch.bool)
    visible[0, 1:] = False
    side = torch.tensor([70.0, 70.0])
    scores = keypoint_transfer_scores(predicted, truth, visible, side, "9-point")
    assert scores.points == 10
    assert scores.pixel_error == pytest.approx(0.7)  # the mean of the pairs' means would be 3.5


def test_exchanged_points_are_swaps_and_right_ones_are_not():
    truth = torch.rand(5, 9, 2) * 60
    side = torch.full((5,), 64.0)
    visible = torch.ones(5, 9, dtype=torch.bool)
    order = [3, 2, 1, 0, 4, 6, 5, 7, 8]
    assert keypoint_transfer_scores(truth[:, order], truth, visible, side, "9-point").swap_rate == 1.0
    assert keypoint_transfer_scores(truth, truth, visible, side, "9-point").swap_rate == 0.0


def test_a_swap_needs_a_visible_partner():
    truth = torch.rand(1, 9, 2) * 60
    visible = torch.zeros(1, 9, dtype=torch.bool)
    visible[0, [0, 4]] = True
    scores = keypoint_transfer_scores(truth, truth, visible, torch.tensor([64.0]), "9-point")
    assert math.isnan(scores.swap_rate)


def test_pck_counts_the_threshold_itself_as_a_hit():
    truth = torch.zeros(1, 9, 2)
    predicted = truth.clone()
    predicted[0, :, 0] = torch.tensor([5.0, 5.01, 10.0, 10.01, 0, 0, 0, 0, 0])
    visible = torch.ones(1, 9, dtype=torch.bool)
    scores = keypoint_transfer_scores(predicted, truth, visible, torch.tensor([100.0]), "9-point")
    assert (scores.pck["pck_image_05"], scores.pck["pck_image_10"]) == (6 / 9, 8 / 9)
    assert math.isnan(scores.pck["pck_face_10"])  # all true points in one place


def test_pck_of_the_face_is_relative_to_the_visible_true_points_of_each_target():
    # eyes 40 px apart and a nose 30 px below; then only eyes, 20 px apart in y; then one point alone
    truth = torch.tensor([[[30.0, 40], [70, 40], [50, 70]], [[50, 40], [50, 60], [0, 0]], [[9, 9], [0, 0], [0, 0]]])
    visible = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])
    truth[2, 1:] = torch.nan
    off = torch.tensor([[2.0, 4.0, 4.1], [1.0, 1.1, 0.0], [0.0, 0.0, 0.0]])
    predicted = truth + torch.stack((off, torch.zeros_like(off)), -1)
    scores = keypoint_transfer_scores(predicted, truth, visible, torch.tensor([200.0, 64.0, 64.0]), "3-point")
    # of five points in faces with an extent: within 2 px of 40 and 1 px of 20; within 4 px of 40 and 2 px of 20
    assert (scores.pck["pck_face_05"], scores.pck["pck_face_10"]) == (2 / 5, 4 / 5)
    assert scores.points == 6


def test_pairs_repeated_by_a_distributed_sampler_change_nothing():
    batch = draw(10)
    once, twice = KeypointTransferMetric(), KeypointTransferMetric()
    once.update(*batch)
    shuffled = torch.tensor([3, 9, 1, 0, 4, 2, 8, 7, 6, 5, 0, 3])
    twice.update(*(part[shuffled] for part in batch))
    assert twice.compute() == once.compute()
    assert torch.equal(twice.records().predicted, once.records().predicted)


def test_empty_sets_raise_with_their_name():
    with pytest.raises(DataError, match="human\\+dog"):
        KeypointTransferMetric(name="human+dog").gather()
    metric = KeypointTransferMetric(name="cat+dog")
    index, predicted, truth, visible, side = draw(3)
    metric.update(index, predicted, truth, torch.zeros_like(visible), side)
    with pytest.raises(DataError, match="no visible point in 'cat\\+dog'"):
        metric.compute()


def test_keys_hold_no_dots_and_state_survives_pickling_and_reset():
    metric = KeypointTransferMetric()
    metric.update(*draw(6))
    copy = pickle.loads(pickle.dumps(metric))
    assert copy.compute() == metric.compute()
    assert not any("." in key for key in metric.compute())
    metric.reset()
    metric.update(*draw(6, seed=1))
    assert metric.compute() != copy.compute()


def test_large_counts_keep_every_digit():
    errors = pixel_errors(torch.zeros(1, 1, 2), torch.full((1, 1, 2), 1 / 3), torch.tensor([70]))
    assert errors.dtype == torch.float64
