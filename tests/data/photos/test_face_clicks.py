"""Clicks on photographs: which points of a face are clicked, where, and with which surface coordinate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dife_lightning.data.click_stream import ClickStream
from dife_lightning.data.photos.face_clicks import FACE_UV, FaceClicks, click_points
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.own_schemes import scheme_from_names
from dife_lightning.geometry.affine import AugmentOptions

STILL = AugmentOptions(0.0, 1.0, 1.0, 0.0, color_probability=0.0)
NAMES = list(FACE_UV)


@pytest.fixture
def domains(tmp_path: Path) -> dict[str, dict[str, str]]:
    """Two dogs, of which the second has no ear, and a face without a nose, which cannot be cropped."""
    Image.new("RGB", (100, 100), (90, 60, 30)).save(tmp_path / "a.png")
    points = ",".join(f"{name}_{axis}" for name in ("left_eye", "right_eye", "nose", "left_ear_base") for axis in "xy")
    rows = [f"image,name,{points}", "a.png,one,40,40,60,40,50,60,30,30", "a.png,two,40,40,60,42,50,60,,"]
    rows.append("a.png,three,41,40,60,42,,,,")
    (tmp_path / "points.csv").write_text("\n".join(rows))
    return {"dog": {"dataset": "folder", "root": str(tmp_path)}}


def test_every_labelled_point_of_a_face_is_a_click(domains: dict[str, dict[str, str]]) -> None:
    data = FaceClicks(domains, size=56, augment=STILL)
    data.setup("fit")
    assert data.clicks is not None
    images, points, uv, clicked = data.clicks
    assert (images.shape, images.dtype) == ((2, 56, 56, 3), torch.uint8)
    ears = clicked[:, NAMES.index("left_ear_base")]
    assert sorted(ears.tolist()) == [False, True]
    one = int(ears.float().argmax())
    shown = {name: points[one, k].tolist() for k, name in enumerate(NAMES) if clicked[one, k]}
    # the crop is 2.8 x 20 = 56 px wide around (50, 46.67): its pixels are those of the picture, from (22, 18.67) on
    expected = {"left_eye": (40, 40), "right_eye": (60, 40), "nose": (50, 60), "left_ear_base": (30, 30)}
    assert shown.keys() == expected.keys()
    for name, (x, y) in expected.items():
        assert shown[name] == pytest.approx([x - 22 - 0.5, y - (140 / 3 - 28) - 0.5], abs=1e-4)
    assert uv[one, NAMES.index("nose")].tolist() == pytest.approx([0.0, 0.27])


def test_points_that_are_not_clicked_do_not_count(domains: dict[str, dict[str, str]]) -> None:
    data = FaceClicks(domains, size=56, augment=STILL, batch_size=8)
    data.setup("fit")
    batch = ClickStream(data.clicks, 8, STILL, 0).batch(0)
    assert set(batch.inside.sum(1).tolist()) == {3, 4}


def test_faces_are_few_and_the_same_for_a_seed(domains: dict[str, dict[str, str]]) -> None:
    first, again, other = (FaceClicks(domains, count=1, seed=seed) for seed in (0, 0, 1))
    found = [data.make_clicks() for data in (first, again, other)]
    assert all(len(clicks.images) == 1 for clicks in found)
    assert torch.equal(found[0].points, found[1].points)


def test_an_eye_of_several_points_is_their_mean_and_left_is_the_viewers() -> None:
    human = np.zeros((68, 2), np.float32)
    human[36:42] = [[30, 40], [33, 38], [37, 38], [40, 40], [37, 42], [33, 42]]
    points, shown = click_points(human, np.ones(68, bool), "300w-68")
    assert points[NAMES.index("left_eye")].tolist() == pytest.approx([35, 40])
    assert shown.sum() == len(NAMES) - 2  # no ears
    dog = scheme_from_names(["left_eye", "right_eye"], left="subject")
    points, shown = click_points(np.array([[60, 40], [40, 41]], np.float32), np.ones(2, bool), dog)
    assert points[NAMES.index("left_eye")].tolist() == [40, 41]
    assert shown.sum() == 2


def test_left_and_right_mirror_each_other_on_the_surface() -> None:
    for name, (u, v) in FACE_UV.items():
        if name.startswith("left"):
            assert FACE_UV[name.replace("left", "right")] == (-u, v)


def test_what_cannot_be_clicked_is_refused(tmp_path: Path, domains: dict[str, dict[str, str]]) -> None:
    with pytest.raises(ConfigError, match="clicks: no domains"):
        FaceClicks({})
    with pytest.raises(ConfigError, match="count is 0; expected at least 1"):
        FaceClicks(domains, count=0)
    (tmp_path / "points.csv").write_text(
        "image,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y\na.png,1,2,,,,"
    )
    with pytest.raises(DataError, match="domain 'dog': no face can be used for clicks: 1 faces of folder, 0 usable"):
        FaceClicks(domains).make_clicks()


def test_flipped_faces_have_their_clicks_on_the_other_side(domains: dict[str, dict[str, str]]) -> None:
    data = FaceClicks(domains, size=56, count=1, augment=STILL, flip=True)
    data.setup("fit")
    assert data.clicks is not None
    stream = ClickStream(data.clicks, 16, STILL, 0, flip=True)
    batch, nose, eye = stream.batch(0), NAMES.index("nose"), NAMES.index("left_eye")
    x, u = batch.points[:, eye, 0], batch.uv[:, eye, 0]
    flipped = u > 0
    assert 3 < int(flipped.sum()) < 13
    # the left eye is at x = 40 of the photo, 17.5 of the crop's 56 px; its mirror image at 55 - 17.5
    assert torch.allclose(x, torch.where(flipped, 37.5, 17.5), atol=1e-4)
    assert u[~flipped].tolist() == pytest.approx([-0.37] * int((~flipped).sum()))
    assert torch.equal(batch.uv[:, nose, 1], torch.full((16,), 0.27))
    picture = data.clicks.images[0].permute(2, 0, 1).float() / 127.5 - 1
    for k in range(16):
        assert torch.allclose(batch.images[k], picture.flip(-1) if flipped[k] else picture, atol=1e-5)
    assert torch.equal(stream.batch(0).images, batch.images)
