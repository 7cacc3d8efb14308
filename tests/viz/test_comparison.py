from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.errors import DataError
from dife_lightning.faces.schemes import get_protocol
from dife_lightning.viz.comparison import comparison_sheet
from dife_lightning.viz.sheet import pixels, save_figure
from dife_lightning.viz.transfer import TransferExample, marks_of

NAMES = get_protocol("9-point").landmarks


def example(error: float, shift: float = 2.0) -> TransferExample:
    points = np.stack(np.meshgrid([16, 32, 48], [16, 32, 48]), -1).reshape(9, 2).astype(np.float32)
    gray = np.full((64, 64, 3), 128, dtype=np.uint8)
    return TransferExample(gray, gray, points, points, points + shift, np.ones(9, dtype=bool), error)


def titles(figure):
    """Every error that is written, from the top left, and whether it is bold."""
    found = []
    for axes in figure.axes:
        if text := axes.get_title("right"):
            box = axes.get_position()
            found.append((round(-box.y1, 3), round(box.x0, 3), text, axes.title.get_text()))
            found[-1] = (*found[-1][:3], axes._right_title.get_weight() == "bold")
    return [(text, bold) for _, _, text, bold in sorted(found)]


def test_a_row_is_a_method_and_a_column_a_pair():
    groups = {
        "human → dog": {"a": [example(3.0), example(5.0)], "b": [example(2.0), example(7.0)]},
        "human → cat": {"a": [example(4.0)], "b": [None]},
    }
    figure = comparison_sheet(groups, NAMES)
    assert titles(figure) == [
        ("3.0 px", False),
        ("5.0 px", True),
        ("4.0 px", True),
        ("2.0 px", True),
        ("7.0 px", False),
    ]
    assert len(figure.axes) == 3 + 5  # the sources, and what there is of each method
    assert {text.get_text() for text in figure.texts} >= {"source", "a", "b", *groups}


def test_equal_errors_are_equally_good():
    figure = comparison_sheet({"x": {"a": [example(3.04)], "b": [example(2.96)]}}, NAMES)
    assert titles(figure) == [("3.0 px", True), ("3.0 px", True)]


def test_only_the_cell_of_a_method_changes_with_its_points():
    one, two = (
        pixels(comparison_sheet({"x": {"a": [example(3.0)], "b": [example(3.0, shift)]}}, NAMES)).astype(int)
        for shift in (2.0, 6.0)
    )
    rows = np.flatnonzero((np.abs(one - two).max(-1) > 30).any(1))
    assert len(rows)
    assert rows.min() > one.shape[0] * 0.6  # below the source and the first method


def test_methods_must_have_the_same_pairs():
    with pytest.raises(DataError, match="expected the same pairs"):
        comparison_sheet({"x": {"a": [example(1.0)], "b": []}}, NAMES)
    with pytest.raises(DataError, match="nothing to compare"):
        comparison_sheet({"x": {"a": [None]}}, NAMES)


def deuteranope(color: str) -> np.ndarray:
    """What is left of a colour without the green cones (matrix of Machado et al. 2009, severity 1)."""
    matrix = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]])
    return matrix @ np.array([(int(color[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)])


@pytest.mark.parametrize("protocol", ["9-point", "3-point"])
def test_points_of_one_shape_differ_for_colour_blind_eyes(protocol):
    marks = marks_of(get_protocol(protocol).landmarks)
    assert len(set(marks)) == len(marks)
    for i, a in enumerate(marks):
        for b in marks[:i]:
            if a.shape == b.shape:
                assert np.abs(deuteranope(a.color) - deuteranope(b.color)).max() > 0.2


def test_a_picture_is_written_as_finely_as_asked(tmp_path):
    import cv2

    figure = comparison_sheet({"x": {"a": [example(1.0)]}}, NAMES)
    coarse, fine = (cv2.imread(str(save_figure(figure, tmp_path / f"{dpi}.png", dpi))) for dpi in (50, 100))
    assert coarse is not None
    assert fine is not None
    assert abs(fine.shape[1] - 2 * coarse.shape[1]) <= 1


@pytest.mark.parametrize("note", ["", "short", "a long note that says how the pairs were chosen, " * 4])
def test_a_note_is_never_cut_off(note):
    figure = comparison_sheet({"x": {"a": [example(3.0)]}}, NAMES, note=note)
    pixels(figure)
    width = figure.bbox.width
    assert all(text.get_window_extent().x1 <= width for text in figure.texts)
