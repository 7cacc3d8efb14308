"""Sheets of found landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.errors import DataError
from dife_lightning.viz.detections import DetectionExample, detection_sheet
from dife_lightning.viz.sheet import pixels

NAMES = ("left_eye", "right_eye", "nose")


def face(nme=4.26, seen=(True, True, False)):
    truth = np.array([[8, 10], [24, 10], [16, 20]], np.float32)
    image = np.full((32, 32, 3), 90, np.uint8)
    return DetectionExample(image, truth, truth + np.float32(4), np.array(seen), nme)


def texts(figure):
    legend = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return [axes.get_title(loc="right") for axes in figure.axes], legend


def test_each_face_has_its_error_and_the_legend_its_landmarks():
    figure = detection_sheet([face(), face(float("nan")), face(12.0)], NAMES, columns=2)
    assert texts(figure) == (["4.3 %", "", "12.0 %"], ["left eye", "right eye", "nose", "found", "true"])
    assert pixels(figure).std() > 10


def test_points_that_are_not_visible_are_not_drawn():
    drawn = [len(detection_sheet([face(seen=seen)], NAMES).axes[0].lines) for seen in ((True,) * 3, (False,) * 3)]
    assert drawn[0] > 0
    assert drawn[1] == 0


def test_many_landmarks_are_not_named():
    many = DetectionExample(np.zeros((8, 8, 3), np.uint8), *[np.ones((13, 2), np.float32)] * 2, np.ones(13, bool))
    assert texts(detection_sheet([many], [f"p{k}" for k in range(13)]))[1] == ["found", "true"]


def test_no_face_is_refused():
    with pytest.raises(DataError, match="no face to draw"):
        detection_sheet([], NAMES)
