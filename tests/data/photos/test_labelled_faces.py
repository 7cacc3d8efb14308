"""Annotated photographs for supervised methods: which points a batch has, where, and of which faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from dife_lightning.data.photos.labelled_faces import LabelledFaces, LandmarkStream
from dife_lightning.data.training import StreamStart
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.geometry.affine import AugmentOptions

STILL = AugmentOptions(0.0, 1.0, 1.0, 0.0, color_probability=0.0)
HEAD = "image,name,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y"


@pytest.fixture
def domains(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """Dogs with an ear, of which the second does not show it and the third has no nose; cats without ears."""
    Image.new("RGB", (100, 100), (90, 60, 30)).save(tmp_path / "a.png")
    dogs = [f"{HEAD},left_ear_x,left_ear_y", "a.png,one,40,40,60,40,50,60,45,30", "a.png,two,40,40,60,42,50,60,,"]
    (tmp_path / "dogs.csv").write_text("\n".join([*dogs, "a.png,three,41,40,60,42,,,,"]))
    (tmp_path / "cats.csv").write_text(f"{HEAD}\na.png,four,40,40,60,40,50,60")
    root = {"dataset": "folder", "root": str(tmp_path)}
    return {name: root | {"options": {"file": f"{name}s.csv"}} for name in ("dog", "cat")}


def test_a_batch_has_all_landmarks_of_a_face_in_the_order_of_its_scheme(domains: dict[str, Any]) -> None:
    data = LabelledFaces(domains, size=56, batch_size=9, augment=STILL)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert (batch.images.shape, batch.points.shape, batch.visible.shape) == ((8, 3, 56, 56), (8, 4, 2), (8, 4))
    assert (batch.domain.tolist(), batch.domains) == ([0] * 4 + [1] * 4, ("dog", "cat"))
    # the crop is 2.8 x 20 = 56 px wide around (50, 46.67): its pixels are those of the picture, from (22, 18.67) on
    cat = [[40 - 22.5, 40 - 140 / 3 + 27.5], [60 - 22.5, 40 - 140 / 3 + 27.5], [50 - 22.5, 60 - 140 / 3 + 27.5]]
    for points, visible in zip(batch.points[4:], batch.visible[4:], strict=True):
        assert visible.tolist() == [True, True, True, False]  # a cat has three points, a dog four
        torch.testing.assert_close(points[:3], torch.tensor(cat), atol=1e-3, rtol=0)
    ears = batch.visible[:4, 3]
    eyes = batch.points[:4, 1, 1]
    assert (
        (eyes - (40 - 140 / 3 + 27.5)).abs() < 0.01
    ).tolist() == ears.tolist()  # the dog with the ear looks straight


def test_batches_follow_from_seed_and_number(domains: dict[str, Any]) -> None:
    data = LabelledFaces(domains, size=32, batch_size=4)
    data.setup("fit")
    plain = LandmarkStream(data.faces, 2, AugmentOptions(), seed=3)
    later = LandmarkStream(data.faces, 2, AugmentOptions(), seed=3, start=StreamStart(first_batch=5))
    assert torch.equal(plain.batch(5).images, next(iter(later)).images)
    assert not torch.equal(plain.batch(4).images, plain.batch(5).images)
    other = LandmarkStream(data.faces, 2, AugmentOptions(), seed=4)
    assert not torch.equal(plain.batch(5).points, other.batch(5).points)


def test_a_warp_moves_points_with_the_image_and_hides_those_that_leave_it(domains: dict[str, Any]) -> None:
    data = LabelledFaces(domains, use=["cat"], size=56, batch_size=64, augment=AugmentOptions(0, 1, 1, 0.6))
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    inside = ((batch.points >= -0.5) & (batch.points <= 55.5)).all(-1)
    assert torch.equal(batch.visible, inside & batch.visible)
    assert 0 < (~batch.visible[:, :3]).sum() < batch.visible[:, :3].numel()


def test_the_domains_to_use_and_the_number_of_faces_are_chosen(domains: dict[str, Any]) -> None:
    data = LabelledFaces(domains, use=["dog"], count=1, batch_size=2)
    data.setup("fit")
    assert {name: len(faces.images) for name, faces in data.faces.items()} == {"dog": 1}


def test_what_makes_no_sense_is_refused(tmp_path: Path, domains: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"no domain 'fox'.*cat"):
        LabelledFaces(domains, use=["fox"])
    with pytest.raises(ConfigError, match="batch_size=1 for 2 domains"):
        LabelledFaces(domains, batch_size=1)
    with pytest.raises(ConfigError, match="count is 0"):
        LabelledFaces(domains, count=0)
    (tmp_path / "dogs.csv").write_text(f"{HEAD}\na.png,three,41,40,60,42,,")
    with pytest.raises(DataError, match="domain 'dog': no face can be used for training: 1 faces of folder, 0 usable"):
        LabelledFaces(domains, use=["dog"]).setup("fit")
