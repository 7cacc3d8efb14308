from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.errors import ConfigError
from dife_lightning.faces.items import PictureCrop
from dife_lightning.geometry.crops import FACTORS, CropError, CropOptions, Square, crop_image, face_square

EYES_NOSE = np.array([[40.0, 50.0], [80.0, 54.0], [61.0, 75.0]], dtype=np.float32)
SEEN = np.ones(3, dtype=bool)
BOX = np.array([10.0, 20.0, 70.0, 60.0], dtype=np.float32)


def square_of(options=None, points=EYES_NOSE, visible=SEEN, size=(200, 160), box=BOX, landmarks="3-point"):
    return face_square(points, visible, size, options or CropOptions(), landmarks=landmarks, box=box)


def noise(height=40, width=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def outside(image, y, x, padding):
    """Return pixel (y, x) of a picture that goes on for ever, one pixel at a time."""
    height, width = image.shape[:2]
    if 0 <= y < height and 0 <= x < width:
        return image[y, x].astype(float)
    if padding == "zero":
        return np.zeros(3)
    if padding == "border":
        return image[min(max(y, 0), height - 1), min(max(x, 0), width - 1)].astype(float)
    while not 0 <= y < height:
        y = -1 - y if y < 0 else 2 * height - 1 - y
    while not 0 <= x < width:
        x = -1 - x if x < 0 else 2 * width - 1 - x
    return image[y, x].astype(float)


def slow_crop(image, square, size, padding):
    """Weigh every source pixel by a triangle around the crop's pixel, as wide as the crop shrinks."""
    step = square.side / size
    width = max(step, 1.0)
    result = np.zeros((size, size, 3))
    for row in range(size):
        for column in range(size):
            y = square.y - square.side / 2 + (row + 0.5) * step
            x = square.x - square.side / 2 + (column + 0.5) * step
            total, weights = np.zeros(3), 0.0
            for v in range(int(np.floor(y - width)), int(np.ceil(y + width)) + 1):
                for u in range(int(np.floor(x - width)), int(np.ceil(x + width)) + 1):
                    weight = max(0.0, 1 - abs(v - y) / width) * max(0.0, 1 - abs(u - x) / width)
                    total += weight * outside(image, v, u, padding)
                    weights += weight
            result[row, column] = total / weights
    return result


@pytest.mark.parametrize("padding", ["zero", "reflect", "border"])
@pytest.mark.parametrize(
    ("square", "size"),
    [
        (Square(20.3, 15.8, 11.0), 16),  # enlarged
        (Square(24.5, 19.5, 37.3), 9),  # shrunk
        (Square(2.0, 36.0, 30.0), 12),  # over a corner
        (Square(25.0, 20.0, 130.0), 10),  # wider than the picture mirrored twice
    ],
)
def test_pixels_are_those_of_the_slow_twin(square, size, padding):
    image = noise()
    fast = crop_image(image, square, size, padding)
    assert fast.shape == (size, size, 3)
    assert fast.dtype == np.uint8
    np.testing.assert_allclose(fast, slow_crop(image, square, size, padding), atol=1.01)


def test_the_whole_picture_at_its_own_size_is_the_picture():
    image = noise(48, 48)
    square = square_of(CropOptions("whole"), size=(48, 48))
    assert square == Square(23.5, 23.5, 48.0)
    np.testing.assert_array_equal(crop_image(image, square, 48), image)
    np.testing.assert_array_equal(square.to_crop(EYES_NOSE, 48), EYES_NOSE)


def test_a_whole_number_shift_copies_pixels():
    image = noise()
    cut = crop_image(image, Square(20.0 + 9.5, 10.0 + 9.5, 20.0), 20)
    np.testing.assert_array_equal(cut, image[10:30, 20:40])


def centre_of_light(crop):
    light = crop[..., 0].astype(float)
    rows, columns = np.mgrid[: len(crop), : len(crop)]
    return np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()


@pytest.mark.parametrize(("side", "size"), [(40.0, 160), (40.0, 40), (120.0, 30), (93.7, 64), (33.3, 96)])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.37, -0.81)])
def test_a_dot_is_found_where_its_point_goes(side, size, shift):
    image = np.zeros((90, 110, 3), dtype=np.uint8)
    point = np.array([57.0, 41.0], dtype=np.float32)
    image[40:43, 56:59] = 255  # centred on the point, large enough to survive shrinking
    square = Square(55.0 + shift[0], 44.0 + shift[1], side)
    found = centre_of_light(crop_image(image, square, size))
    np.testing.assert_allclose(found, square.to_crop(point, size), atol=0.04)


def test_points_obey_the_closed_form():
    square = Square(30.0, 20.0, 40.0)
    corners = np.array([[10.0, 0.0], [50.0, 40.0], [30.0, 20.0]], dtype=np.float32)
    np.testing.assert_allclose(square.to_crop(corners, 80), [[-0.5, -0.5], [79.5, 79.5], [39.5, 39.5]])
    back = PictureCrop("a.jpg", 90, 70, square.matrix(80)).picture_points(np.array([[-0.5, -0.5], [79.5, 79.5]]))
    np.testing.assert_allclose(back, corners[:2], atol=1e-9)
    back = PictureCrop("a.jpg", 90, 70, square.matrix(96)).picture_points(square.to_crop(EYES_NOSE, 96))
    np.testing.assert_allclose(back, EYES_NOSE, atol=1e-4)


def test_points_of_the_picture_go_to_the_image_and_back():
    crop = PictureCrop("a.jpg", 90, 70, Square(30.0, 20.0, 40.0).matrix(80))
    outside = np.array([[10.0, 0.0], [50.0, 40.0], [30.0, 20.0], [-10.0, -20.0]])  # the last is not in the picture
    np.testing.assert_allclose(crop.image_points(outside), [[-0.5, -0.5], [79.5, 79.5], [39.5, 39.5], [-40.5, -40.5]])
    turned = PictureCrop("a.jpg", 90, 70, np.array([[0.0, 2.0, 5.0], [-3.0, 0.0, 7.0]]))  # (x, y) is (2y + 5, 7 - 3x)
    np.testing.assert_allclose(turned.picture_points(np.array([1.0, 4.0])), [13.0, 4.0])
    np.testing.assert_allclose(turned.image_points(np.array([13.0, 4.0])), [1.0, 4.0])
    points = np.random.default_rng(0).uniform(-50, 150, (4, 5, 2))
    for one in (crop, turned, crop.inner(turned.to_picture)):
        np.testing.assert_allclose(one.image_points(one.picture_points(points)), points, atol=1e-9)


def test_a_checkerboard_shrinks_to_grey_and_not_to_a_pattern():
    board = np.indices((64, 64)).sum(0) % 2 * 255
    image = np.repeat(board[..., None], 3, axis=2).astype(np.uint8)
    small = crop_image(image, Square(31.5, 31.5, 48.0), 16)
    assert np.abs(small.astype(int) - 127).max() <= 8


def test_a_landmark_crop_is_centred_on_the_mean_and_as_wide_as_the_factor_says():
    square = square_of()
    np.testing.assert_allclose([square.x, square.y], [(40 + 80 + 61) / 3, (50 + 54 + 75) / 3], rtol=1e-6)
    assert square.side == pytest.approx(2.8 * 40)
    assert square_of(CropOptions(factor=2.0)).side == pytest.approx(80)
    assert square_of(landmarks="9-point").side == pytest.approx(1.8 * 40)
    tall = EYES_NOSE[:, ::-1]
    assert square_of(points=tall).side == pytest.approx(2.8 * 40)


def test_invisible_points_do_not_move_a_landmark_crop():
    points = np.concatenate((EYES_NOSE, [[9999.0, -9999.0]])).astype(np.float32)
    assert square_of(points=points, visible=np.array([True, True, True, False])) == square_of()


def test_the_shift_moves_the_centre_down_by_a_part_of_the_side():
    plain, moved = square_of(), square_of(CropOptions(shift=0.1))
    assert (moved.x, moved.side) == (plain.x, plain.side)
    assert moved.y == pytest.approx(plain.y + 0.1 * plain.side)


def test_box_rules_take_the_longer_side_of_the_box():
    assert square_of(CropOptions("animalweb")) == Square(40.0, 40.0, 60.0)
    assert square_of(CropOptions("box")) == Square(40.0, 40.0, 60.0)
    assert square_of(CropOptions("box", factor=1.5)).side == 90.0


def test_the_celeba_rule_is_rows_30_to_208_at_full_width():
    image = noise(218, 178)
    square = square_of(CropOptions("celeba"), size=(178, 218))
    np.testing.assert_array_equal(crop_image(image, square, 178), image[30:208])
    np.testing.assert_allclose(square.to_crop(EYES_NOSE, 178), EYES_NOSE - [0, 30])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"visible": np.zeros(3, dtype=bool)}, "no visible point"),
        ({"points": np.full((3, 2), 7.0, dtype=np.float32)}, "all points in one place"),
        ({"visible": np.array([False, True, False])}, "all points in one place"),
        ({"points": EYES_NOSE / 4}, "smaller than 32 px"),
        ({"options": CropOptions("box"), "box": None}, "no box in the annotation"),
        ({"options": CropOptions("box"), "box": BOX + 500}, "outside the picture"),
        ({"options": CropOptions("box"), "box": BOX[[2, 3, 0, 1]]}, "smaller than 32 px"),
        ({"options": CropOptions("celeba")}, "not an aligned CelebA picture of 178 x 218 px"),
    ],
)
def test_faces_that_cannot_be_cropped_have_a_reason(arguments, reason):
    with pytest.raises(CropError, match=reason) as caught:
        square_of(**arguments)
    assert caught.value.reason == reason


def test_the_least_side_is_an_option():
    assert square_of(CropOptions(min_side=20), points=EYES_NOSE / 4).side == pytest.approx(28)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "landmark"}, "crop.rule 'landmark' is unknown. Did you mean 'landmarks'"),
        ({"padding": "mirror"}, "crop.padding 'mirror' is unknown.*Known: border, reflect, zero"),
        ({"factor": 0.0}, "crop.factor is 0.0; expected above 0"),
        ({"factor": float("nan")}, "crop.factor is nan; expected a number above 0"),
        ({"shift": 2.0}, "crop.shift is 2.0; expected at least -1 and at most 1"),
        ({"min_side": 0.0}, "crop.min_side is 0.0; expected above 0"),
        ({"rule": "celeba", "factor": 1.2}, "rule 'celeba' has no factor or shift"),
        ({"rule": "animalweb", "shift": 0.1}, "rule 'animalweb' has no factor or shift"),
    ],
)
def test_senseless_options_are_refused_in_one_line(arguments, message):
    with pytest.raises(ConfigError, match=message) as caught:
        CropOptions(**arguments)
    assert "\n" not in str(caught.value)


def test_what_is_published_names_the_factor_that_was_used():
    published = CropOptions(padding="reflect").published("9-point")
    assert published["factor"] == FACTORS["9-point"] == 1.8
    assert (published["rule"], published["landmarks"], published["padding"]) == ("landmarks", "9-point", "reflect")
    assert CropOptions(factor=2.5).published("3-point")["factor"] == 2.5
    assert CropOptions("animalweb").published("9-point")["factor"] == 1.0
    assert CropOptions("celeba").published("3-point")["factor"] is None
