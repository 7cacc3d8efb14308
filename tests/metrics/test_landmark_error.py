from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.schemes import get_scheme
from dife_lightning.metrics.landmark_error import LandmarkErrorMetric, landmark_errors, scores_by_label
from dife_lightning.metrics.nme_rules import PUBLISHED_RULES, NmeRule, nme_rule

NAMES = get_scheme("animalweb-9").landmarks


def draw(faces: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(10, 90, (faces, 9, 2))
    predicted = truth + rng.normal(0, 5, (faces, 9, 2)) * rng.uniform(0.2, 2, (faces, 1, 1))
    visible = rng.random((faces, 9)) > 0.15
    boxes = np.concatenate((rng.uniform(0, 10, (faces, 2)), rng.uniform(50, 140, (faces, 2))), axis=1)
    return np.arange(faces), predicted, truth, visible, boxes


def tensors(*arrays):
    return [torch.from_numpy(np.asarray(array)) for array in arrays]


def slow_scores(predicted, truth, visible, boxes, by="box"):
    """Face by face and point by point; lengths from plain formulae."""
    faces, without_length, without_points, landmarks = [], 0, 0, {name: [] for name in NAMES}
    for p, t, v, (x0, y0, x1, y1) in zip(predicted, truth, visible, boxes, strict=True):
        eyes = {"interocular": ((t[0] + t[1]) / 2, (t[2] + t[3]) / 2), "outer_corners": (t[0], t[3])}
        if by == "box":
            length = math.sqrt((x1 - x0) * (y1 - y0))
        else:
            length = math.dist(*eyes[by]) if all(v[[0, 1, 2, 3] if by == "interocular" else [0, 3]]) else 0.0
        if length == 0:
            without_length += 1
            continue
        errors = {k: 100 * math.dist(p[k], t[k]) / length for k in range(9) if v[k]}
        if not errors:
            without_points += 1
            continue
        faces.append(sum(errors.values()) / len(errors))
        for k, error in errors.items():
            landmarks[NAMES[k]].append(error)
    flat = {f"landmark/{name}": np.mean(values) for name, values in landmarks.items() if values}
    flat |= {"nme": np.mean(faces), "faces": len(faces)}
    flat |= {"without_length": without_length, "without_points": without_points}
    flat |= {f"failure_{at:02}": np.mean([nme > at for nme in faces]) for at in (8, 10)}
    fine = np.linspace(0, 10, 20001)
    shares = (np.asarray(faces)[:, None] <= fine).mean(axis=0)
    return flat | {"auc_10": ((shares[1:] + shares[:-1]) / 2).mean()}


@pytest.mark.parametrize("by", ["box", "interocular", "outer_corners"])
def test_scores_agree_with_a_slow_twin(by):
    index, predicted, truth, visible, boxes = draw(200)
    visible[3] = False
    metric = LandmarkErrorMetric("animalweb-9", by)
    for part in (slice(120, 200), slice(0, 7), slice(7, 120)):  # the order of batches does not matter
        metric.update(*tensors(index[part], predicted[part], truth[part], visible[part], boxes[part]))
    found, expected = metric.compute(), slow_scores(predicted, truth, visible, boxes, by)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == torch.float64
        assert found[key].item() == pytest.approx(value, abs=2e-4 if key == "auc_10" else 1e-9), key
    assert 0.02 < found["failure_10"] < found["failure_08"] < 0.98


def test_hand_worked_faces():
    # boxes of 50 x 200 and 30 x 30 px: lengths 100 and 30 px; errors 5 px and 3 px of the one visible point
    truth = torch.zeros(3, 9, 2) + 20
    predicted = truth.clone()
    predicted[0, 0] += torch.tensor([3.0, 4.0])
    predicted[1, 4, 1] += 3
    visible = torch.ones(3, 9, dtype=torch.bool)
    visible[1] = torch.arange(9) == 4
    visible[2] = False
    boxes = torch.tensor([[0.0, 0, 50, 200], [10, 10, 40, 40], [0, 0, 9, 9]])
    metric = LandmarkErrorMetric("animalweb-9")
    metric.update(torch.arange(3), predicted, truth, visible, boxes)
    found = {key: value.item() for key, value in metric.compute().items()}
    assert found["nme"] == pytest.approx((5 / 9 + 10) / 2)  # not over points: that would be 15 / 10
    assert (found["faces"], found["without_points"], found["without_length"]) == (2, 1, 0)
    assert (found["failure_08"], found["failure_10"]) == (0.5, 0.0)  # 10 % itself is no failure at 10 %
    assert found["auc_10"] == pytest.approx((1 - 5 / 90 + 0) / 2)
    assert (found["landmark/nose"], found["landmark/left_eye_outer"]) == pytest.approx((5.0, 5.0))


def test_faces_without_a_box_or_without_both_eyes_are_left_out_and_counted():
    index, predicted, truth, visible, boxes = draw(6)
    visible[:] = True
    boxes[1], boxes[2, 2] = np.nan, boxes[2, 0]
    visible[4, 2] = False
    truth[5, :4] = 7.0
    for by, left_out in (("box", [1, 2]), ("interocular", [4, 5])):
        metric = LandmarkErrorMetric("animalweb-9", by)
        metric.update(*tensors(index, predicted, truth, visible, boxes))
        found = metric.compute()
        assert (found["faces"], found["without_length"]) == (4, 2)
        assert found["nme"].isfinite()
        errors = metric.errors(metric.records())
        assert torch.nonzero(~errors.scored).flatten().tolist() == left_out


def test_invisible_points_change_nothing_even_if_they_are_nan():
    _, predicted, truth, visible, boxes = draw(20)
    before = landmark_errors(*tensors(predicted, truth, visible, boxes), nme_rule("animalweb-9"))
    predicted[~visible], truth[~visible] = np.inf, np.nan
    after = landmark_errors(*tensors(predicted, truth, visible, boxes), nme_rule("animalweb-9"))
    assert torch.equal(before.nme, after.nme)


def test_a_point_that_is_not_finite_is_not_hidden_in_the_mean():
    index, predicted, truth, visible, boxes = draw(4)
    visible[:] = True
    predicted[2, 5, 0] = np.nan
    metric = LandmarkErrorMetric("animalweb-9")
    metric.update(*tensors(index, predicted, truth, visible, boxes))
    assert metric.compute()["nme"].isnan()
    assert metric.compute()["landmark/nose"].isfinite()


def test_a_predicted_zero_is_right_by_the_published_rule_alone():
    truth = torch.full((1, 9, 2), 30.0)
    predicted = truth + torch.tensor([0.0, 9.0])
    predicted[0, 2, 0] = predicted[0, 7, 1] = 0.0
    visible = torch.ones(1, 9, dtype=torch.bool)
    visible[0, 0] = False  # it counts by the published rule
    boxes = torch.tensor([[0.0, 0, 90, 90]])
    published = landmark_errors(predicted, truth, visible, boxes, nme_rule("animalweb-9", published=True))
    ours = landmark_errors(predicted, truth, visible, boxes, nme_rule("animalweb-9"))
    assert published.nme.item() == pytest.approx(7 * 10 / 9)
    far = (6 * 9 + math.hypot(30, 9) + 30) / 0.9  # the points at x = 0 and at y = 0
    assert ours.nme.item() == pytest.approx(far / 8)


def test_by_the_published_rule_of_horses_a_face_without_points_has_error_zero():
    truth = torch.tensor([[[10.0, 10], [20, 10], [0, 20], [20, 0], [15, 20]], [[0.0, 0]] * 5])
    predicted, boxes = truth + 3, torch.tensor([[0.0, 0, 100, 25]] * 2)
    errors = landmark_errors(
        predicted, truth, torch.ones(2, 5, dtype=torch.bool), boxes, nme_rule("horse-5", published=True)
    )
    assert errors.counted[0].tolist() == [True, True, False, False, True]
    assert errors.nme.tolist() == pytest.approx([100 * math.hypot(3, 3) / 50, 0.0])
    assert errors.scored.all()


GOLDEN = "golden/hrnet_meta_cskt/evaluation.npz"
SCHEMES = {5: "horse-5", 19: "aflw-19", 29: "cofw-29", 68: "300w-68", 98: "wflw-98"}


def golden_errors(golden, predicted, truth, rule):
    area = torch.from_numpy(golden["box_size"]).double()
    zero = torch.zeros_like(area)
    boxes = torch.stack((zero, zero, area, torch.ones_like(area)), 1)  # only the area is given
    predicted, truth = tensors(golden[predicted], golden[truth])
    return landmark_errors(predicted, truth, torch.ones(truth.shape[:2], dtype=torch.bool), boxes, rule)


@pytest.mark.parametrize("count", SCHEMES)
def test_golden_nme_of_the_published_evaluation_is_met(shared, count):
    golden = np.load(shared(GOLDEN))
    rule = PUBLISHED_RULES[SCHEMES[count]]
    errors = golden_errors(golden, f"L{count}.preds", f"L{count}.pts", rule)
    np.testing.assert_allclose(errors.nme / 100, golden[f"L{count}.compute_nme"], rtol=1e-6)


@pytest.mark.parametrize(("predicted", "name"), [("decode_preds", ""), ("preds_with_zeros", "_with_zeros")])
def test_golden_nme_of_animals_is_met_face_by_face_and_point_by_point(shared, predicted, name):
    golden = np.load(shared(GOLDEN))
    errors = golden_errors(golden, predicted, "pts", nme_rule("animalweb-9", published=True))
    np.testing.assert_allclose(errors.nme / 100, golden[f"compute_nme_L9{name}"], rtol=1e-6)
    kept = (golden[predicted] != 0).all(axis=-1)  # the published table repeats another point's error at a zero
    np.testing.assert_allclose(
        errors.points.numpy()[kept] / 100, golden[f"compute_nme_point_L9{name}"][kept], rtol=1e-6
    )
    assert (errors.points.numpy()[~kept] == 0).all()
    assert (~kept).sum() == (2 if name else 0)


def test_scores_of_species_and_groups_are_those_of_their_faces_alone():
    index, predicted, truth, visible, boxes = draw(30)
    species = ["dog", "cat", "owl"] * 10
    labels = {"domain": species, "group": ["unknown" if one == "owl" else "known" for one in species]}
    metric = LandmarkErrorMetric("animalweb-9", labels=labels)
    metric.update(*tensors(index, predicted, truth, visible, boxes))
    found = metric.compute()
    for kind, label, rows in (("domain", "owl", index % 3 == 2), ("group", "known", index % 3 != 2)):
        expected = slow_scores(predicted[rows], truth[rows], visible[rows], boxes[rows])
        for key in ("nme", "failure_08", "landmark/nose", "faces"):
            assert found[f"{kind}/{label}/{key}"].item() == pytest.approx(expected[key])
    assert {key.split("/")[1] for key in found if key.startswith("domain")} == {"dog", "cat", "owl"}


def test_a_label_without_a_scored_face_is_nan_and_counted():
    _, predicted, truth, visible, boxes = draw(4)
    visible[2:] = False
    errors = landmark_errors(*tensors(predicted, truth, visible, boxes), NmeRule())
    scores = scores_by_label(errors, ["dog", "dog", "owl", "owl"], NAMES)
    assert math.isnan(scores["owl"].nme)
    assert math.isnan(scores["owl"].failure["failure_08"])
    assert (scores["owl"].faces, scores["owl"].without_points, scores["dog"].faces) == (0, 2, 2)


def test_labels_that_do_not_fit_the_faces_are_refused():
    batch = tensors(*draw(3))
    metric = LandmarkErrorMetric("animalweb-9", labels={"domain": ["dog", "cat"]})
    metric.update(*batch)
    with pytest.raises(DataError, match="2 labels of 'domain', but a face has number 2"):
        metric.compute()
    with pytest.raises(DataError, match="2 labels of 3 faces"):
        scores_by_label(metric.errors(metric.records()), ["dog", "cat"], NAMES)


def test_faces_repeated_by_a_distributed_sampler_change_nothing():
    batch = tensors(*draw(10))
    once, twice = LandmarkErrorMetric("animalweb-9"), LandmarkErrorMetric("animalweb-9")
    once.update(*batch)
    shuffled = torch.tensor([3, 9, 1, 0, 4, 2, 8, 7, 6, 5, 0, 3])
    twice.update(*(part[shuffled] for part in batch))
    assert twice.compute() == once.compute()


def test_two_processes_report_what_one_does():
    batch = tensors(*draw(11))
    other = LandmarkErrorMetric("animalweb-9")
    other.update(*(part[6:] for part in batch))
    theirs = [torch.cat(getattr(other, state)) for state in ("index", "predicted", "truth", "visible", "boxes")]
    waiting = iter(theirs * 2)

    def exchange(tensor, group=None):
        return [tensor, next(waiting)]

    mine = LandmarkErrorMetric("animalweb-9", dist_sync_fn=exchange, distributed_available_fn=lambda: True)
    mine.update(*(part[:6] for part in batch))
    alone = LandmarkErrorMetric("animalweb-9")
    alone.update(*batch)
    assert mine.compute() == alone.compute()
    assert torch.equal(mine.gather().predicted, batch[1])
    assert len(mine.records().index) == 6


def test_states_are_float64_survive_pickling_and_reset_and_keys_hold_no_dots():
    metric = LandmarkErrorMetric("animalweb-9")
    index, *points, visible, boxes = tensors(*draw(6))
    metric.update(index, *(part.bfloat16() for part in points), visible, boxes.float())
    assert metric.predicted[0].dtype == metric.boxes[0].dtype == torch.float64
    copy = pickle.loads(pickle.dumps(metric))
    assert copy.compute() == metric.compute()
    assert not any("." in key for key in metric.compute())
    metric.reset()
    metric.update(*tensors(*draw(6, seed=1)))
    assert metric.compute() != copy.compute()


def test_empty_sets_and_sets_without_a_point_raise_with_their_name():
    with pytest.raises(DataError, match="no face was evaluated in 'owls'"):
        LandmarkErrorMetric("animalweb-9", name="owls").gather()
    index, predicted, truth, visible, boxes = tensors(*draw(3))
    metric = LandmarkErrorMetric("animalweb-9", name="owls")
    metric.update(index, predicted, truth, torch.zeros_like(visible), boxes)
    with pytest.raises(DataError, match="no face of 'owls' can be scored: 0 without box or both eyes, 3 without"):
        metric.compute()


def test_what_cannot_be_normalised_is_one_line():
    metric = LandmarkErrorMetric("animalweb-9")
    index, predicted, truth, visible, _ = tensors(*draw(3))
    metric.update(index, predicted, truth, visible)
    with pytest.raises(DataError, match="the faces have no boxes; set normalizer to interocular"):
        metric.compute()
    with pytest.raises(ConfigError, match="no points left_eye and right_eye; use normalizer box"):
        nme_rule("catflw-48", "interocular")
    with pytest.raises(ConfigError, match="no points left_eye_outer and right_eye_outer; try box, inter"):
        nme_rule("horse-5", "outer_corners")
    with pytest.raises(ConfigError, match="'boxes' is unknown"):
        nme_rule("horse-5", "boxes")
    with pytest.raises(ConfigError, match="expected one of the two"):
        nme_rule("animalweb-9", "box", published=True)
    with pytest.raises(ConfigError, match="no published rule of NME for scheme 'ap10k-17'"):
        nme_rule("ap10k-17", published=True)


def test_eyes_of_a_scheme_that_names_the_animals_own_left_are_the_same_two_points():
    assert nme_rule("ap10k-17", "interocular").eyes == ((1,), (0,))
    assert nme_rule("300w-68", "outer_corners").eyes == PUBLISHED_RULES["300w-68"].eyes
    assert nme_rule("wflw-98", "outer_corners").eyes == PUBLISHED_RULES["wflw-98"].eyes
