"""A labelled face and photographs without labels: what is paired, cropped and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dife_lightning.data.photos.unlabelled import UnlabelledPairs
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.geometry.crops import CropOptions


@pytest.fixture
def labelled(tmp_path: Path) -> dict[str, str]:
    """Three faces, of which the second alone shows the chin."""
    folder = tmp_path / "labelled"
    folder.mkdir()
    rows = ["image,name,eye_l_x,eye_l_y,eye_r_x,eye_r_y,snout_x,snout_y,chin_x,chin_y"]
    for k, chin in enumerate((",", "60,80", ",")):
        Image.new("RGB", (120, 100), (50 * k, 90, 90)).save(folder / f"{k}.png")
        rows.append(f"{k}.png,face {k},45,40,75,{40 + k},60,60,{chin}")
    (folder / "points.csv").write_text("\n".join(rows))
    return {"dataset": "folder", "root": str(folder)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos of 200 x 100 and 60 x 80 pixels; the second is stored turned by a quarter."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 100:] = 255
    Image.fromarray(image).save(folder / "wide.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 60), (9, 200, 9)).save(folder / "deep" / "tall.png", exif=exif)
    return folder


def made(data: UnlabelledPairs):
    data.setup("predict")
    (pairs,) = data.test_sets
    return pairs


def test_every_photo_is_the_target_of_the_face_with_most_landmarks(labelled, photos) -> None:
    pairs = made(UnlabelledPairs(labelled, str(photos), size=32))
    assert [pairs[k].pair_id for k in range(len(pairs))] == ["face 1>deep/tall.png", "face 1>wide.png"]
    assert pairs.own.landmarks == ("eye_l", "eye_r", "snout", "chin")
    item = pairs[1]
    assert item.visible[-4:].all()
    # 200 x 100 in a square of 200: the picture is in its middle half, black above; the right half is white
    assert item.target_image.shape == (32, 32, 3)
    assert item.target_image[:7].max() == 0
    assert item.target_image[16, 20:31].min() == 255
    np.testing.assert_allclose(item.target_crop.picture_points(np.array([[0.0, 0.0]])), [[2.625, -47.375]])


def test_missing_landmarks_of_the_source_are_not_visible(labelled, photos) -> None:
    pairs = made(UnlabelledPairs(labelled, str(photos), face="face 0", size=32))
    assert [pairs[k].pair_id.partition(">")[0] for k in range(2)] == ["face 0"] * 2
    assert pairs[0].visible[-4:].tolist() == [True, True, True, False]


def test_a_turned_photo_is_cropped_as_viewers_show_it(labelled, photos) -> None:
    pairs = made(UnlabelledPairs(labelled, str(photos), size=32))
    crop = pairs[0].target_crop
    assert (crop.file_name, crop.width, crop.height) == ("deep/tall.png", 60, 80)
    # a square of 80 around the centre (29.5, 39.5); half a cell of 80 / 32 lies before the first pixel's centre
    np.testing.assert_allclose(
        crop.picture_points(np.array([[0.0, 0.0], [31.0, 31.0]])), [[-9.25, 0.75], [68.25, 78.25]]
    )


@pytest.mark.parametrize("form", ["csv", "json"])
def test_boxes_say_where_the_faces_are(labelled, photos, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"boxes.{form}"
    if form == "csv":
        path.write_text("image,box_x,box_y,box_w,box_h\nwide.png,20,30,40,20\nwide.png,120,10,50,50\n")
    else:
        boxes = [{"image_id": 7, "bbox": [20, 30, 40, 20]}, {"image_id": 7, "bbox": [120, 10, 50, 50]}]
        path.write_text(json.dumps({"images": [{"id": 7, "file_name": "wide.png"}], "annotations": boxes}))
    pairs = made(UnlabelledPairs(labelled, str(photos), boxes=str(path), size=40))
    assert [pairs[k].pair_id for k in range(2)] == ["face 1>wide.png#1", "face 1>wide.png#2"]
    corners = np.array([[-0.5, -0.5], [39.5, 39.5]])
    np.testing.assert_allclose(pairs[0].target_crop.picture_points(corners), [[20, 20], [60, 60]], atol=1e-6)
    np.testing.assert_allclose(pairs[1].target_crop.picture_points(corners), [[120, 10], [170, 60]], atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,box_x0,box_y0,box_x1,box_y1\nlost.png,1,2,3,4\n", "1 picture of 1 not found.*lost.png"),
        ("image,box_x0,box_y0,box_x1,box_y1\nwide.png,9,2,3,4\n", "row 2: box from .*expected a positive area"),
        ("image,box_x0,box_y0,box_x1,box_y1\nwide.png,a,2,3,4\n", "row 2: no box in"),
        ("image,width\nwide.png,3\n", "no box; expected columns box_x0"),
    ],
)
def test_boxes_that_cannot_be_used_are_refused(labelled, photos, tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        made(UnlabelledPairs(labelled, str(photos), boxes=str(path)))


def test_a_damaged_photo_is_named_or_skipped_with_a_line(labelled, photos, capsys) -> None:
    (photos / "bad.jpg").write_bytes((photos / "wide.png").read_bytes()[:200])
    with pytest.raises(DataError, match=r"bad.jpg.*--skip-broken"):
        made(UnlabelledPairs(labelled, str(photos), skip_broken=False))
    assert len(made(UnlabelledPairs(labelled, str(photos), skip_broken=True))) == 2
    assert "1 picture skipped, the first: bad.jpg" in capsys.readouterr().err


def test_what_cannot_be_predicted_is_refused(labelled, photos) -> None:
    for stage in ("test", "validate", "fit"):
        with pytest.raises(ConfigError, match="no landmarks to score against; use `dife predict`"):
            UnlabelledPairs(labelled, str(photos)).setup(stage)
    with pytest.raises(ConfigError, match=r"no usable face 'face 9'\. Did you mean"):
        made(UnlabelledPairs(labelled, str(photos), face="face 9"))
    with pytest.raises(ConfigError, match="rule 'landmarks' needs landmarks or boxes; expected whole"):
        UnlabelledPairs(labelled, str(photos), target_crop=CropOptions())
    with pytest.raises(DataError, match="no folder"):
        made(UnlabelledPairs(labelled, str(photos / "none")))


def test_its_list_has_a_hash_and_its_record_names_the_faces(labelled, photos) -> None:
    data = UnlabelledPairs(labelled, str(photos))
    assert data.describe()["face"] == "face 1"
    assert data.describe()["targets"] == 2
    assert set(data.list_hashes()["test"]) == {"source+target/unlabelled"}
