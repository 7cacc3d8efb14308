"""Floors with a few labelled faces: their mean, the most similar one, and votes in an embedding."""

from __future__ import annotations

import json
import math
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.callbacks.landmark_error import LandmarkError
from dife_lightning.data.world.pairs import WorldPairs
from dife_lightning.errors import AssetError, ConfigError, DataError, TrainingError
from dife_lightning.faces.batches import FaceArrays, image_tensor
from dife_lightning.methods import label_vote, nearest_label
from dife_lightning.methods._label_votes import prototypes, read_votes, vote_maps
from dife_lightning.methods.label_vote import LabelVote
from dife_lightning.methods.mean_landmarks import MeanLandmarks
from dife_lightning.methods.nearest_label import NearestLabel
from dife_lightning.registry import get_method
from tests.methods.few_labels import GivenFaces, GivenTests, face, random_faces

FLOORS = (MeanLandmarks, NearestLabel, LabelVote)
SIDE = 32


class Angles:
    """A fake embedder: red and green as angles, so that the cosine of two pixels is 1 where both agree."""

    calls = 0

    def to(self, device: Any) -> Angles:
        return self

    def embed(self, images: Tensor) -> Tensor:
        self.calls += len(images)
        angles = images[:, :2] * (math.pi / 2)
        return torch.cat((angles.cos(), angles.sin()), dim=1)


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> Angles:
    angles = Angles()
    for module in (label_vote, nearest_label):
        monkeypatch.setattr(module, "load_embedder", lambda name: angles)
    return angles


def surface(dx: int = 0, dy: int = 0) -> NDArray[np.uint8]:
    """An image whose pixel (x, y) is red by x - dx, and green by y - dy: a surface point seen dx, dy further on."""
    x, y = np.meshgrid(np.arange(SIDE) - dx, np.arange(SIDE) - dy)
    return np.stack((120 + 4 * x, 120 + 4 * y, np.zeros_like(x)), axis=-1).clip(0, 255).astype(np.uint8)


POINTS = np.array([[10, 12], [20, 12], [15.5, 18]], np.float32)


def seen_at(dx: int, dy: int, visible: Any = True, name: str = "") -> FaceArrays:
    return face(surface(dx, dy), POINTS + np.float32([dx, dy]), visible, name or f"{dx},{dy}")


def images(*faces: FaceArrays) -> Tensor:
    return image_tensor([one.image for one in faces])


# Mean landmarks


def test_the_mean_is_that_of_the_faces_that_show_a_landmark_relative_to_the_crop():
    faces = random_faces(5)
    shown = np.random.default_rng(3).random((5, 3)) < 0.6
    faces = [face(one.image, one.points, row, one.name) for one, row in zip(faces, shown, strict=True)]
    assert 0 < shown.sum(0).min() < 5
    found = MeanLandmarks(GivenFaces(faces), flip=False).detect(torch.zeros(2, 3, 64, 96))
    for k in range(3):
        known = [one.points[k] for one in faces if one.visible[k]]
        mean = sum(known) / len(known)
        # edges of the crop at -0.5 and 31.5, of the image at -0.5 and 95.5 (63.5)
        expected = [(mean[0] + 0.5) * 96 / 32 - 0.5, (mean[1] + 0.5) * 64 / 32 - 0.5]
        np.testing.assert_allclose(found.points[:, k], [expected] * 2, atol=1e-4)
    assert found.scores.tolist() == [[1, 1, 1]] * 2


def test_with_mirror_images_the_mean_face_is_symmetric():
    faces = random_faces(4)
    points = MeanLandmarks(GivenFaces(faces)).detect(torch.zeros(1, 3, SIDE, SIDE)).points[0].numpy()
    left, right, nose = (np.mean([one.points[k] for one in faces], axis=0) for k in range(3))
    np.testing.assert_allclose(points[0], [(left[0] + 31 - right[0]) / 2, (left[1] + right[1]) / 2], atol=1e-4)
    np.testing.assert_allclose(points[1], [31 - points[0, 0], points[0, 1]], atol=1e-4)
    np.testing.assert_allclose(points[2], [15.5, nose[1]], atol=1e-4)


@pytest.mark.parametrize("floor", FLOORS)
def test_a_landmark_that_no_face_shows_is_at_the_mean_of_the_others_and_told(floor, embedder, capsys):
    hidden = [face(one.image, one.points, [True, True, False], one.name) for one in random_faces(3)]
    method = floor(labels=GivenFaces(hidden), flip=False)
    found = method.detect(torch.zeros(1, 3, SIDE, SIDE))
    centre = np.mean([one.points[:2] for one in hidden], axis=(0, 1))
    np.testing.assert_allclose(found.points[0, 2], centre, atol=1e-4)
    assert found.scores[0, 2] == -1
    assert (found.scores[0, :2] > -1).all()
    assert (
        capsys.readouterr().err == "note: no labelled face shows nose; found at the mean of the others, with score -1\n"
    )


# Most similar face


def test_the_landmarks_are_those_of_the_most_similar_face():
    faces = random_faces(6)
    noise = torch.randn(6, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 0.1
    found = NearestLabel(GivenFaces(faces)).detect(images(*faces) + noise)
    np.testing.assert_allclose(found.points, np.stack([one.points for one in faces]), atol=1e-4)
    assert (found.scores > 0.9).all()


def test_brightness_and_contrast_do_not_change_what_is_similar():
    faces = random_faces(6)
    method = NearestLabel(GivenFaces(faces), grid=8)
    plain, changed = method.detect(images(*faces)), method.detect(images(*faces) * 0.5 + 0.3)
    torch.testing.assert_close(changed.points, plain.points)
    torch.testing.assert_close(changed.scores, plain.scores)


def test_a_mirror_image_finds_the_mirrored_landmarks_and_a_larger_one_the_scaled_ones():
    faces = random_faces(4)
    method = NearestLabel(GivenFaces(faces))
    points = np.stack([one.points for one in faces])[:, [1, 0, 2]]
    found = method.detect(images(*faces).flip(-1)).points
    np.testing.assert_allclose(found, np.stack((31 - points[..., 0], points[..., 1]), axis=-1), atol=1e-4)
    large = method.detect(images(*faces).repeat_interleave(2, -1).repeat_interleave(2, -2)).points
    np.testing.assert_allclose(large, (np.stack([one.points for one in faces]) + 0.5) * 2 - 0.5, atol=1e-4)


def test_a_landmark_that_the_most_similar_face_hides_is_that_of_the_next():
    first, second, third = random_faces(3)
    mixed = (0.6 * images(first) + 0.4 * images(second)).clamp(-1, 1)
    faces = [face(first.image, first.points, [True, False, True], "a"), second, third]
    found = NearestLabel(GivenFaces(faces), flip=False).detect(mixed)
    expected = [first.points[0], second.points[1], first.points[2]]
    np.testing.assert_allclose(found.points[0], expected, atol=1e-4)
    assert found.scores[0, 1] < found.scores[0, 0] == found.scores[0, 2]


def test_an_embedder_compares_the_mean_of_its_map(embedder):
    colours = [np.full((SIDE, SIDE, 3), level, np.uint8) for level in (20, 120, 220)]
    faces = [face(colour, POINTS + k, name=str(k)) for k, colour in enumerate(colours)]
    target = np.full((SIDE, SIDE, 3), 110, np.uint8)
    found = NearestLabel(GivenFaces(faces), embedder="fake", flip=False).detect(image_tensor([target]))
    np.testing.assert_allclose(found.points[0], POINTS + 1, atol=1e-4)


# Votes


@pytest.mark.parametrize("votes", ["faces", "prototype"])
def test_the_votes_find_the_labelled_surface_point_wherever_it_is(votes, embedder):
    faces = [seen_at(dx, dy) for dx, dy in ((0, 0), (2, -1), (-3, 2))]
    targets = [seen_at(dx, dy) for dx, dy in ((1, 3), (-2, -2), (5, 0))]
    found = LabelVote("fake", GivenFaces(faces), votes, flip=False, temperature=5e-4).detect(images(*targets))
    np.testing.assert_allclose(found.points, [one.points for one in targets], atol=0.15)
    np.testing.assert_allclose(found.scores, 1, atol=0.01)


def test_labelled_faces_are_embedded_once(embedder):
    method = LabelVote("fake", GivenFaces([seen_at(0, 0), seen_at(1, 1)]))
    for _ in range(3):
        method.detect(images(seen_at(0, 0)))
    assert embedder.calls == 2 * 2 + 3  # both faces and their mirror images, and three targets


def test_a_wrong_label_of_a_few_faces_is_outvoted(embedder):
    right = [seen_at(k, -k, name=f"right {k}") for k in range(5)]
    wrong = [face(surface(), POINTS[[2, 0, 1]], name="wrong")]
    found = LabelVote("fake", GivenFaces(right + wrong), flip=False, temperature=0.002).detect(images(seen_at(2, 2)))
    np.testing.assert_allclose(found.points[0], POINTS + 2, atol=0.8)
    mean = MeanLandmarks(GivenFaces([seen_at(0, 0, name=f"right {k}") for k in range(5)] + wrong), flip=False)
    assert (mean.detect(images(seen_at(0, 0))).points[0] - torch.from_numpy(POINTS)).norm(dim=1).max() > 1.2


def test_an_invisible_landmark_has_no_vote(embedder):
    rng = np.random.default_rng(0)
    seen = [seen_at(1, 0, [True, False, True], "a"), seen_at(0, 2, [True, True, False], "b")]
    places = [np.where(one.visible[:, None], one.points, rng.uniform(0, 31, (3, 2))) for one in seen]
    moved = [face(one.image, at, one.visible, one.name) for one, at in zip(seen, places, strict=True)]
    target = images(seen_at(-1, 1))
    first, second = (LabelVote("fake", GivenFaces(faces), temperature=0.02).detect(target) for faces in (seen, moved))
    assert torch.equal(first.points, second.points)
    assert torch.equal(first.scores, second.scores)


def test_vote_maps_are_the_smooth_maximum_of_the_cosines(monkeypatch):
    rng = np.random.default_rng(1)
    vectors, targets = rng.normal(size=(4, 3, 5)), rng.normal(size=(2, 5, 6, 7))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    visible = rng.random((4, 3)) < 0.7
    visible[:, 2] = False
    expected = np.zeros((2, 3, 6, 7))
    for b, k, y, x in np.ndindex(2, 2, 6, 7):
        cell = targets[b, :, y, x] / np.linalg.norm(targets[b, :, y, x])
        terms = [math.exp(float(vectors[i, k] @ cell) / 0.1) for i in range(4) if visible[i, k]]
        expected[b, k, y, x] = 0.1 * math.log(sum(terms) / len(terms))
    given = [torch.from_numpy(array) for array in (vectors.astype(np.float32), visible, targets.astype(np.float32))]
    np.testing.assert_allclose(vote_maps(*given, 0.1), expected, atol=1e-5)
    monkeypatch.setattr("dife_lightning.methods._label_votes.MAX_CACHED", 1)
    np.testing.assert_allclose(vote_maps(*given, 0.1), expected, atol=1e-5)


def test_the_prototype_gives_the_mean_cosine_to_which_the_votes_tend_for_a_large_temperature():
    rng = torch.Generator().manual_seed(2)
    vectors = torch.nn.functional.normalize(torch.randn(6, 3, 5, generator=rng), dim=-1)
    visible = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]], dtype=torch.bool)
    targets = torch.randn(1, 5, 4, 4, generator=rng)
    mean = vote_maps(*prototypes(vectors * visible[..., None], visible), targets, 0.05)
    cells = torch.nn.functional.normalize(targets[0].flatten(1), dim=0)
    slow = [sum(vectors[i, k] @ cells for i in range(6) if visible[i, k]) / max(1, visible[:, k].sum()) for k in (0, 1)]
    torch.testing.assert_close(mean[0, :2].flatten(1), torch.stack(slow))
    torch.testing.assert_close(vote_maps(vectors, visible, targets, 1000.0)[0, :2], mean[0, :2], atol=2e-3, rtol=0)


def test_cosines_far_below_the_highest_give_finite_maps_at_a_low_temperature():
    vectors = torch.eye(4)[:, None].contiguous()
    maps = vote_maps(vectors, torch.ones(4, 1, dtype=torch.bool), -torch.eye(4)[None].unflatten(-1, (2, 2)), 1e-3)
    assert bool(maps.isfinite().all())


def test_votes_are_read_at_the_softmax_mean_of_the_window_around_the_best_cell():
    maps = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(4)) * 0.3
    maps[0, 0, 9, 12], maps[0, 0, 2, 2] = 1.0, 0.95
    found = read_votes(maps, (40, 40), window=0.2, temperature=0.1)
    total, place = 0.0, np.zeros(2)
    for y in range(9 - 2, 9 + 3):  # 0.2 of 20 cells: two to each side
        for x in range(12 - 2, 12 + 3):
            weight = math.exp(float(maps[0, 0, y, x] - 1) / 0.1)
            total, place = total + weight, place + weight * np.array([x, y])
    np.testing.assert_allclose(found.points[0, 0], (place / total + 0.5) * 2 - 0.5, atol=1e-4)
    assert found.scores.item() == 1


# All floors


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_is_tested_with_the_labels_of_the_data_or_its_own_and_records_them(floor, embedder, tmp_path):
    labelled, tested = random_faces(3), random_faces(5, seed=1)
    scores = []
    for place, own in (("data", False), ("own", True)):
        data = GivenTests(tested) if own else GivenFaces(labelled, evaluation=GivenTests(tested))
        method = floor(labels=GivenFaces(labelled) if own else None)
        callback = LandmarkError(out_dir=str(tmp_path / place), pictures=0, table=False, resamples=100)
        L.Trainer(
            accelerator="cpu", logger=False, callbacks=[callback], enable_progress_bar=False,
            enable_checkpointing=False, enable_model_summary=False, default_root_dir=tmp_path,
        ).test(method, data, verbose=False)  # fmt: skip
        record = json.loads((tmp_path / place / "metrics.json").read_text())
        assert record["method_facts"]["labels"] == {"kind": "GivenFaces", "labelled": 3}
        scores.append(record["rows"][0]["nme"])
    assert scores[0] == scores[1]
    found = floor(labels=GivenFaces(labelled)).detect(images(*tested)).points.numpy()
    errors = np.linalg.norm(found - np.stack([one.points for one in tested]), axis=-1)
    assert scores[0] == pytest.approx(100 * errors.mean() / SIDE, rel=1e-4)


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_is_not_fitted_and_needs_no_checkpoint(floor, embedder, tmp_path):
    method = floor(labels=GivenFaces(random_faces(2)))
    assert method.needs_checkpoint is False
    assert method.state_dict() == {}
    assert "labels" not in method.hparams
    with pytest.raises(ConfigError, match="has nothing to learn; use `dife test`"):
        method.setup("fit")


@pytest.mark.parametrize("floor", FLOORS)
def test_labels_that_are_missing_or_show_nothing_are_refused(floor, embedder):
    image = torch.zeros(1, 3, SIDE, SIDE)
    with pytest.raises(ConfigError, match="needs a data module of few labelled faces, found none; set"):
        floor().detect(image)
    with pytest.raises(ConfigError, match="found WorldPairs"):
        floor(labels=WorldPairs()).detect(image)
    blind = [face(one.image, one.points, False, one.name) for one in random_faces(2)]
    with pytest.raises(DataError, match="2 labelled faces without a visible landmark"):
        floor(labels=GivenFaces(blind)).detect(image)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("label-vote", {"votes": "mean"}, "votes 'mean' is unknown"),
        ("label-vote", {"temperature": 0}, "temperature is 0; expected above 0"),
        ("label-vote", {"window": 1.5}, "window is 1.5; expected above 0 and at most 1"),
        ("nearest-label", {"grid": 1}, "grid is 1; expected at least 2"),
        ("nearest-label", {"grid": 0, "embedder": "world/teacher"}, "grid is 0; expected at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused(name, settings, message):
    with pytest.raises(ConfigError, match=message):
        get_method(name)(**settings)


def test_votes_need_one_size_and_a_finite_embedding(embedder, monkeypatch):
    method = LabelVote("fake", GivenFaces(random_faces(2)))
    with pytest.raises(ConfigError, match="labelled faces of 32 x 32 px for images of 64 x 32; give both one size"):
        method.detect(torch.zeros(1, 3, 32, 64))
    monkeypatch.setattr(Angles, "embed", lambda self, images: images / 0)
    with pytest.raises(TrainingError, match="contains NaN or infinity"):
        method.detect(torch.zeros(1, 3, 32, 32))


def test_an_unknown_embedder_is_told_before_the_faces_are_read():
    with pytest.raises(AssetError, match="world/nothing"):
        LabelVote("world/nothing").setup("test")
