"""Small inputs of the kinds that users report, against points that are written beside them."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dife_lightning import load_dataset
from dife_lightning.faces import get_scheme, list_images

CASES = [
    "coco-two-categories", "coco-unlabelled", "coco-minus-one", "coco-zero", "coco-order", "coco-ids-as-text",
    "coco-own-points", "coco-windows-path", "coco-percent", "csv-semicolon", "csv-tab", "csv-utf16", "csv-sep-line",
    "csv-empty-columns", "csv-header-name", "csv-missing", "csv-box-columns", "csv-two-faces", "csv-unicode-name",
    "csv-case", "csv-exif", "deeplabcut-csv", "labelme", "label-studio", "cvat-xml", "via-csv", "yolo-pose",
]  # fmt: skip


@pytest.fixture
def expected(shared: Callable[[str], Path]) -> dict[str, dict[str, Any]]:
    return {case["case"]: case for case in json.loads(shared("cases/expected.json").read_text("utf-8"))}


def found_points(face: Any, landmarks: tuple[str, ...]) -> dict[str, list[float] | None]:
    pairs = zip(landmarks, face["points"].tolist(), face["visible"], strict=True)
    return {name: point if seen else None for name, point, seen in pairs}


def composed(path: str) -> str:
    return unicodedata.normalize("NFC", path)


@pytest.mark.parametrize("name", CASES)
def test_a_case_comes_out_as_expected(name, expected, shared, capsys):
    case, root = expected[name], shared(f"cases/{name}")
    dataset = load_dataset(case["reader"], root, **case["options"])
    faces = list(dataset)
    landmarks = get_scheme(dataset.scheme).landmarks
    assert len(faces) == len(case["faces"])
    for face, annotation, want in zip(faces, dataset.annotations, case["faces"], strict=True):
        path = os.path.relpath(annotation.image, root).replace(os.sep, "/")
        assert composed(path) == composed(want["image"])
        points = found_points(face, landmarks)
        assert set(points) == set(want["points"])
        for point, place in want["points"].items():
            assert (points[point] is None) == (place is None), point
            if place is not None:
                np.testing.assert_allclose(points[point], place, atol=1e-3)
    printed = capsys.readouterr().err.splitlines()
    assert all(any(word in line for line in printed) for word in case["say"])
    assert len(set(printed)) == len(printed)


def test_a_folder_of_photos_lists_the_pictures_and_says_what_is_none(expected, shared, capsys):
    root, case = shared("cases/folder-of-photos"), expected["folder-of-photos"]
    assert [path.relative_to(root).as_posix() for path in list_images(root)] == [one["image"] for one in case["faces"]]
    (line,) = capsys.readouterr().err.splitlines()
    assert "heic" in line
    assert "db" not in line
