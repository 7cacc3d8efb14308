"""Faces of photographs without labels: what is cropped and refused. ``test_unlabelled.py`` tests the folder itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dife_lightning.data.photos.photo_faces import PhotoFaces
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.geometry.crops import CropOptions


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos of 200 x 100 and 60 x 80 pixels; the second is stored turned by a quarter."""
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 100:] = 255
    Image.fromarray(image).save(folder / "wide.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 60), (9, 200, 9)).save(folder / "deep" / "tall.png", exif=exif)
    return folder


def batch_of(data: PhotoFaces):
    data.setup("predict")
    (faces,) = data.test_sets
    return faces.collate(faces.__getitems__(range(len(faces))))


def write(path: Path, rows: str) -> str:
    path.write_text(f"image,box_x0,box_y0,box_x1,box_y1\n{rows}")
    return str(path)


def test_whole_photos_have_no_points_and_no_boxes(photos: Path) -> None:
    data = PhotoFaces(str(photos), landmarks=["eye_l", "eye_r", "snout"], size=32)
    batch = batch_of(data)
    assert batch.names == ["deep/tall.png", "wide.png"]
    assert batch.images.shape == (2, 3, 32, 32)
    assert batch.points.shape == (2, 3, 2)
    assert batch.points.isnan().all()
    assert not batch.visible.any()
    assert batch.boxes.isnan().all()
    tall = batch.crops[0]
    assert (tall.file_name, tall.width, tall.height) == ("deep/tall.png", 60, 80)
    # a square of 80 around the centre (29.5, 39.5); half a cell of 80 / 32 lies before the first pixel's centre
    np.testing.assert_allclose(
        tall.picture_points(np.array([[0.0, 0.0], [31.0, 31.0]])), [[-9.25, 0.75], [68.25, 78.25]]
    )
    assert data.test_sets[0].scheme.flip_pairs == ((0, 1),)
    assert data.test_sets[0].faces.picture(1) == photos / "wide.png"


def test_each_box_is_a_face(photos: Path, tmp_path: Path) -> None:
    boxes = write(tmp_path / "boxes.csv", "wide.png,20,30,60,50\nwide.png,120,10,170,60\n")
    data = PhotoFaces(str(photos), boxes, size=40, crop=CropOptions("box", factor=2))
    batch = batch_of(data)
    assert batch.names == ["wide.png#1", "wide.png#2"]
    # a square of 80 px around (40, 40): an image pixel is two of the photo
    np.testing.assert_allclose(
        batch.crops[0].picture_points(np.array([[-0.5, -0.5], [39.5, 39.5]])), [[0, 0], [80, 80]]
    )
    np.testing.assert_allclose(batch.boxes[0].numpy(), [9.5, 14.5, 29.5, 24.5], atol=1e-5)
    assert data.describe()["faces"] == 2
    other = PhotoFaces(str(photos), size=40)
    assert data.list_hashes()["test"] != other.list_hashes()["test"]


def test_without_a_crop_the_boxes_decide(photos: Path, tmp_path: Path) -> None:
    boxes = write(tmp_path / "boxes.csv", "wide.png,120,10,170,60\n")
    assert PhotoFaces(str(photos), size=40).crop == CropOptions("whole")
    assert PhotoFaces(str(photos), boxes, size=40).crop == CropOptions("box")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "wide.png,210,30,260,50\n",
            r"wide.png: box from \(210, 30\) to \(260, 50\) is outside the picture of 200 x 100",
        ),
        ("wide.png,-60,30,-10,50\n", "is outside the picture"),
        ("deep/tall.png,5,82,40,99\n", "is outside the picture of 60 x 80 pixels"),  # of the photo as it is shown
        ("lost.png,1,2,3,4\n", "1 picture of 1 not found.*lost.png"),
    ],
)
def test_boxes_of_no_face_are_refused(photos: Path, tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        batch_of(PhotoFaces(str(photos), write(tmp_path / "boxes.csv", row), size=32))


def test_a_photo_that_ends_too_early_is_named_with_the_option_that_skips_it(photos: Path, capsys) -> None:
    image = np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)
    Image.fromarray(image).save(photos / "cut.jpg")
    (photos / "cut.jpg").write_bytes((photos / "cut.jpg").read_bytes()[:2000])  # its header is whole
    with pytest.raises(DataError, match=r"cut.jpg.*--skip-broken"):
        batch_of(PhotoFaces(str(photos), size=32))
    assert len(batch_of(PhotoFaces(str(photos), size=32, skip_broken=True))) == 2
    assert "1 picture skipped, the first: cut.jpg" in capsys.readouterr().err


def test_what_cannot_be_predicted_is_refused(photos: Path) -> None:
    with pytest.raises(ConfigError, match=r"size is not given.*--data.init_args.size 256"):
        PhotoFaces(str(photos))
    with pytest.raises(ConfigError, match="rule 'landmarks' needs landmarks or boxes; expected whole"):
        PhotoFaces(str(photos), size=32, crop=CropOptions())
    for stage in ("test", "validate", "fit"):
        with pytest.raises(ConfigError, match="no landmarks to score against; use `dife predict`"):
            PhotoFaces(str(photos), size=32).setup(stage)
    with pytest.raises(DataError, match="no folder"):
        batch_of(PhotoFaces(str(photos / "none"), size=32))
    (photos / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        batch_of(PhotoFaces(str(photos / "empty"), size=32))
