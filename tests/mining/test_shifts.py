from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dife_lightning.errors import ConfigError
from dife_lightning.faces.landmark_sets import shared_points
from dife_lightning.faces.schemes import get_scheme
from dife_lightning.mining.shifts import flip_shift, human_shift

PARTNER = [3, 2, 1, 0, 4, 6, 5, 7, 8]
#: AFLW's point for each of the first seven of AnimalWeb, in the published code.
AFLW = [6, 8, 9, 11, 13, 15, 17]


def draw(faces: int, points: int, seed: int = 0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 100, (faces, points, 2)))


def boxes_of(area):
    area = torch.as_tensor(area, dtype=torch.float64)
    return torch.stack((torch.zeros_like(area), torch.zeros_like(area), area, torch.ones_like(area)), dim=1)


def slow_flip_shift(points, mirrored, box, width):
    total = 0.0
    for k in range(9):
        x, y = mirrored[PARTNER[k]]
        total += math.dist((width - 1 - x, y), points[k])
    return total / 9 / math.sqrt((box[2] - box[0]) * (box[3] - box[1]))


def test_flip_shift_agrees_with_a_loop_over_points():
    points, mirrored = draw(5, 9), draw(5, 9, seed=1)
    boxes = torch.tensor([[3.0, 4, 50, 60 + i] for i in range(5)])
    width = torch.tensor([100, 101, 120, 90, 64])
    found = flip_shift(points, mirrored, boxes, "animalweb-9", width)
    for b in range(5):
        slow = slow_flip_shift(points[b].tolist(), mirrored[b].tolist(), boxes[b].tolist(), int(width[b]))
        assert found[b].item() == pytest.approx(slow, rel=1e-12)
    assert torch.equal(found[:1], flip_shift(points[:1], mirrored[:1], boxes[:1], "animalweb-9", 100))


def test_a_model_that_mirrors_its_points_with_the_image_has_no_flip_shift():
    points = draw(3, 9)
    mirrored = points[:, PARTNER] * torch.tensor([-1, 1]) + torch.tensor([63, 0])  # 64 pixels
    boxes = boxes_of([100.0] * 3)
    assert flip_shift(points, mirrored, boxes, "animalweb-9", 64).abs().max() < 1e-12
    assert flip_shift(points, mirrored, boxes, "animalweb-9", 65).tolist() == pytest.approx([0.1] * 3)


def test_a_hand_worked_flip_shift():
    points = torch.zeros(1, 9, 2)
    back = points.clone()
    back[0, 3] = torch.tensor([3.0, 4.0])  # partner of the first point: 5 px off
    back[0, 8] = torch.tensor([0.0, 13.0])  # its own partner
    assert flip_shift(points, back, torch.tensor([[0.0, 0, 4, 25]]), "animalweb-9").item() == pytest.approx(18 / 9 / 10)


def test_a_hand_worked_human_shift_runs_over_the_seven_shared_points():
    human, animal = torch.zeros(1, 19, 2), torch.zeros(1, 9, 2)
    human[0, 13, 1] = 7.0  # nose
    human[0, 17] = torch.tensor([6.0, 8.0])  # right corner of the mouth
    human[0, [0, 7, 10, 18]] = 1000.0  # brow, pupils and chin have no counterpart
    animal[0, 7:] = -1000.0
    assert human_shift(human, animal, torch.tensor([[0.0, 0, 9, 4]])).item() == pytest.approx(17 / 7 / 6)


def test_the_published_map_of_points_is_the_one_by_name():
    _, (humans, animals) = shared_points(("aflw-19", "animalweb-9"))
    assert (list(humans), list(animals)) == (AFLW, list(range(7)))


def test_schemes_that_name_sides_otherwise_share_the_right_eyes():
    human, animal = torch.zeros(1, 5, 2), torch.zeros(1, 17, 2)
    human[0, 0] = animal[0, 1] = torch.tensor([10.0, 0.0])  # the viewer's left eye is the animal's right one
    human[0, 1] = animal[0, 0] = torch.tensor([30.0, 0.0])
    assert human_shift(human, animal, boxes_of([100.0]), "mafl-5", "ap10k-17").item() == 0


def test_a_face_without_a_box_has_no_shift():
    boxes = torch.tensor([[0.0, 0, 10, 10], [5.0, 5, 5, 9], [9.0, 0, 3, 9], [math.nan] * 4])
    assert flip_shift(draw(4, 9), draw(4, 9), boxes, "animalweb-9").isnan().tolist() == [False, True, True, True]
    assert human_shift(draw(4, 19), draw(4, 9), boxes).isnan().tolist() == [False, True, True, True]


def test_half_precision_points_are_compared_in_float64():
    points = draw(2, 9).bfloat16()
    found = flip_shift(points, points + 1, boxes_of([400.0] * 2).float(), "animalweb-9")
    assert found.dtype == torch.float64


def test_what_cannot_be_compared_is_one_line():
    boxes = boxes_of([1.0])
    with pytest.raises(ConfigError, match=r"points of shape \(1, 5, 2\): scheme 'animalweb-9' has \(B, 9, 2\)"):
        flip_shift(draw(1, 9), draw(1, 5), boxes, "animalweb-9")
    raw = get_scheme("catflw-48")
    with pytest.raises(ConfigError, match="have no point in common"):
        human_shift(draw(1, 19), draw(1, 48), boxes, animal_scheme=raw)
    no_pairs = type(raw)("own", ("nose", "chin"), (), "image", {})
    with pytest.raises(ConfigError, match="scheme 'own' has no mirror pairs"):
        flip_shift(draw(1, 2), draw(1, 2), boxes, no_pairs)


GOLDEN = "golden/hrnet_meta_cskt/evaluation.npz"


def test_golden_flip_shifts_of_the_published_code_are_met(shared):
    golden = {key: torch.from_numpy(value) for key, value in np.load(shared(GOLDEN)).items()}
    area, expected = golden["box_size"], golden["compute_shift_data(a9,b9,bbox0)"]
    found = flip_shift(golden["a9"], golden["b9"], boxes_of(area[:1].expand(4)), "animalweb-9")
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    width = golden["h"] + 1  # the published code mirrors x as h - x
    found = flip_shift(golden["a9"], golden["b9_mirrored"], boxes_of(area), "animalweb-9", width)
    np.testing.assert_allclose(found, golden["compute_shift(a9,b9_mirrored)_with_meta_global"], rtol=1e-6)


@pytest.mark.parametrize("name", ["compute_nme_human", "compute_shift_pre", "compute_shift_pre_data"])
def test_golden_human_shifts_of_the_published_code_are_met(shared, name):
    golden = {key: torch.from_numpy(value) for key, value in np.load(shared(GOLDEN)).items()}
    one_box = name.endswith("_data")
    area = golden["box_size"][:1].expand(4) if one_box else golden["box_size"]
    found = human_shift(golden["human19"], golden["animal9"], boxes_of(area))
    np.testing.assert_allclose(found, golden[f"{name}(human19,animal9{',bbox0' if one_box else ''})"], rtol=1e-6)
