from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dife_lightning.data.photos.cropped_faces import ALL_POINTS, CroppedFaces, why_unusable
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.items import PictureCrop
from dife_lightning.faces.transforms import resize_matrix
from dife_lightning.geometry.crops import CropOptions
from tests.fake_faces import BLUE, GREEN, RED, make_faces


@pytest.mark.parametrize("scheme", ["mafl-5", "ap10k-17"])
@pytest.mark.parametrize("size", [64, 200])
def test_points_stay_on_their_dots(tmp_path, scheme, size):
    faces = make_faces(tmp_path, 3, scheme=scheme)
    crops = CroppedFaces(faces, size, CropOptions(), "3-point")
    assert (len(crops), crops.scheme, crops.name) == (3, scheme, "fake")
    colors = {"mafl-5": (RED, BLUE, GREEN), "ap10k-17": (BLUE, RED, GREEN)}[scheme]
    for i in range(3):
        face = crops[i]
        assert face["image"].shape == (size, size, 3)
        assert face["points"].dtype == np.float32
        assert face["visible"].sum() == 3
        for (x, y), color in zip(np.rint(face["points"][:3]).astype(int), colors, strict=True):
            np.testing.assert_allclose(face["image"][y, x], color, atol=40)


def test_a_point_that_the_crop_does_not_show_is_not_visible(tmp_path):
    faces = make_faces(tmp_path, 1)
    middle = faces.annotations[0].points[:2, 0].mean()
    box = np.array([middle - 60, 0, middle, 60], dtype=np.float32)  # the right eye lies beyond
    crop = CroppedFaces(faces.changed(0, box=box), 64, CropOptions("box"), "3-point")[0]
    assert crop["points"][1, 0] > 63.5
    assert crop["visible"][:2].tolist() == [True, False]


def test_all_points_can_decide_where_a_scheme_serves_no_protocol(tmp_path):
    faces = make_faces(tmp_path, 1)
    faces.scheme = "catflw-48"
    crop = CroppedFaces(faces, 64, CropOptions(factor=2.0), ALL_POINTS)[0]
    spread = np.ptp(crop["points"][:3], axis=0).max()
    assert spread == pytest.approx(32, abs=0.01)  # the side is twice the extent
    with pytest.raises(ConfigError, match="'catflw-48' is a raw set"):
        CroppedFaces(faces, 64, CropOptions(), "3-point")


def test_a_face_that_cannot_be_cropped_is_named(tmp_path):
    faces = make_faces(tmp_path, 2)
    with pytest.raises(DataError, match=r"0001 \(fake.txt:1\): no crop: smaller than 90 px \(side "):
        CroppedFaces(faces, 64, CropOptions(factor=1, min_side=90), "3-point")[1]


def reason(faces, options=None, protocol="3-point"):
    return why_unusable(faces, 0, protocol, options or CropOptions())


def test_a_sound_face_is_usable(tmp_path):
    assert reason(make_faces(tmp_path, 1)) == ""


def test_faces_are_refused_for_one_reason_each(tmp_path):
    faces = make_faces(tmp_path, 1, scheme="ap10k-17")
    points, visible = faces.annotations[0].points.copy(), faces.annotations[0].visible.copy()
    visible[0] = False
    assert reason(faces.changed(0, visible=visible)) == "right_eye not labelled"  # the animal's left
    points[1, 0] = -0.6
    assert reason(faces.changed(0, points=points)) == "a point outside the picture"
    assert reason(faces, CropOptions(min_side=500)) == "smaller than 500 px"
    assert reason(faces, CropOptions("box", factor=0.2, min_side=1)) == "a point outside the crop"
    assert reason(faces.changed(0, box=None), CropOptions("box")) == "no box in the annotation"
    assert reason(faces, CropOptions("celeba")).startswith("not an aligned CelebA picture")


def test_a_picture_that_cannot_be_opened_is_named_with_its_row_and_how_to_go_on(tmp_path):
    faces = make_faces(tmp_path, 1)
    faces.annotations[0].image.write_bytes(b"no picture")
    words = r"0000 \(fake.txt:0\): .*0000\.png is damaged .* or skip such faces with --skip-broken"
    with pytest.raises(DataError, match=words) as caught:
        reason(faces)
    assert "\n" not in str(caught.value)


def test_the_last_pixel_is_inside_and_the_next_is_not(tmp_path):
    faces = make_faces(tmp_path, 1)
    points = faces.annotations[0].points.copy()
    for x, expected in ((119.5, ""), (119.6, "a point outside the picture")):
        points[1, 0] = x
        assert reason(faces.changed(0, points=points)) == expected


def test_a_picture_that_is_stored_on_its_side_has_its_shown_size(tmp_path):
    faces = make_faces(tmp_path, 1)
    exif = Image.Exif()
    exif[0x0112] = 6
    image = np.zeros((100, 120, 3), dtype=np.uint8)  # shown as 100 wide and 120 high
    Image.fromarray(image).save(faces.annotations[0].image, exif=exif)
    points = faces.annotations[0].points.copy()
    points[:3] = [[20, 100], [60, 100], [40, 115]]  # below the 100th row, inside only when turned
    assert reason(faces.changed(0, points=points)) == ""
    points[1, 0] = 110
    assert reason(faces.changed(0, points=points)) == "a point outside the picture"


def test_a_reader_that_turns_its_annotations_is_asked_for_them(tmp_path):
    faces = make_faces(tmp_path, 1)
    turned = faces.changed(0, box=np.array([40, 30, 80, 70], dtype=np.float32)).annotations[0]
    faces.upright = lambda index: turned
    crop = CroppedFaces(faces, 40, CropOptions("animalweb"), "3-point")[0]
    np.testing.assert_allclose(crop["points"][:3], faces.annotations[0].points[:3] - [40, 30] - 0.5, atol=1e-4)


def test_the_crop_of_a_crop_leads_back_to_the_picture():
    """Against a chain of maps in homogeneous coordinates: crop, rotate and resize."""
    square = np.array([[0.5, 0, 30], [0, 0.5, 10]])
    turn = np.array([[0.8, -0.6, 4], [0.6, 0.8, -2]])
    crop = PictureCrop("a.jpg", 300, 200, np.eye(2, 3)).inner(square).inner(turn).inner(resize_matrix(96, 64, 32))
    assert (crop.file_name, crop.width, crop.height) == ("a.jpg", 300, 200)
    resized = np.array([[3, 0, 1], [0, 2, 0.5]])
    chain = [np.vstack((matrix, [0, 0, 1])) for matrix in (square, turn, resized)]
    points = np.array([[0, 0], [31, 7.5], [-3, 40]], np.float32)
    expected = (chain[0] @ chain[1] @ chain[2] @ np.column_stack((points, np.ones(3))).T).T[:, :2]
    np.testing.assert_allclose(crop.picture_points(points), expected, rtol=1e-12)
