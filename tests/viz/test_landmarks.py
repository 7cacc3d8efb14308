from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.errors import DataError
from dife_lightning.viz.landmarks import HEAD, LEFT, OTHER, RIGHT, cell_corner, draw_landmarks, landmark_sheet

SIDES = ("left", "right", "", "")
POINTS = np.array([[20.0, 30.2], [59.6, 31.0], [40.0, 60.0], [70.0, 70.0]], dtype=np.float32)


def face(visible=(True, True, True, False), points=POINTS, name="0001", gray=90):
    image = np.full((96, 96, 3), gray, dtype=np.uint8)
    return {"image": image, "points": points, "visible": np.array(visible), "name": name}


def test_points_have_the_colour_of_their_side_at_their_pixel():
    picture = draw_landmarks(face(), SIDES)
    assert [tuple(picture[y, x]) for x, y in ((20, 30), (60, 31), (40, 60))] == [LEFT, RIGHT, OTHER]
    swapped = draw_landmarks(face(), ("right", "left", "", ""))
    assert [tuple(swapped[y, x]) for x, y in ((20, 30), (60, 31))] == [RIGHT, LEFT]


def test_invisible_points_and_points_outside_leave_no_mark():
    hidden = face(visible=(False,) * 4)
    np.testing.assert_array_equal(draw_landmarks(hidden, SIDES), hidden["image"])
    outside = face(points=POINTS - 500)
    np.testing.assert_array_equal(draw_landmarks(outside, SIDES), outside["image"])


def test_numbers_stand_beside_their_points():
    first = draw_landmarks(face((True, False, False, False)), SIDES)
    points = POINTS[[3, 0, 2, 1]]
    second = draw_landmarks(face((False, True, False, False), points), ("", "left", "", ""))
    changed = np.argwhere((first != second).any(-1))  # row, column
    assert len(changed)  # a 0 became a 1
    assert (np.abs(changed - [24, 28]) <= 8).all()  # up and to the right of the point at x 20, y 30


def test_the_picture_itself_is_not_drawn_on():
    item = face()
    draw_landmarks(item, SIDES)
    assert (item["image"] == 90).all()


def test_faces_lie_in_rows_below_the_head():
    faces = [face(gray=10 * (i + 1), visible=(False,) * 4) for i in range(5)]
    sheet = landmark_sheet(faces, SIDES, columns=4)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (HEAD + 2 * (96 + 16 + 6), 480, 3)
    for number in range(5):
        top, left = cell_corner(number, 4, 96)
        assert (sheet[top : top + 96, left : left + 96] == 10 * (number + 1)).all()
    assert cell_corner(4, 4, 96) == (HEAD + 118, 6)


def test_the_head_explains_both_colours_and_names_stand_below_faces():
    sheet = landmark_sheet([face(visible=(False,) * 4)], SIDES, heading="words")
    head = sheet[:HEAD].reshape(-1, 3)
    assert all((head == color).all(-1).sum() > 20 for color in (LEFT, RIGHT))
    unnamed = landmark_sheet([face(visible=(False,) * 4, name="")], SIDES, heading="words")
    rows = np.flatnonzero((sheet != unnamed).any((1, 2)))
    assert len(rows)
    assert rows.min() >= HEAD + 96


def test_a_sheet_of_nothing_is_refused():
    with pytest.raises(DataError, match="no face to draw"):
        landmark_sheet([], SIDES)
