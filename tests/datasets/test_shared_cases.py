"""The cases of ``../shared/cases`` that come from annotation tools, where that folder is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dife_lightning import load_dataset
from dife_lightning.faces.schemes import get_scheme

CASES = Path(__file__).resolve().parents[2].parent / "shared/cases"
READERS = ("cvat", "deeplabcut", "label-studio", "labelme", "via", "yolo-pose")


def cases() -> list[dict]:
    listed = json.loads((CASES / "expected.json").read_text()) if CASES.is_dir() else []
    return [case for case in listed if case["reader"] in READERS]


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not there")
@pytest.mark.parametrize("case", cases(), ids=lambda case: case["case"])
def test_a_case_comes_out_as_expected(case):
    root = CASES / case["case"]
    dataset = load_dataset(case["reader"], root, **case["options"])
    names = get_scheme(dataset.scheme).landmarks
    found = [
        {
            "image": face.image.relative_to(root).as_posix(),
            "points": {
                n: pytest.approx(p.tolist(), abs=0.01) if on else None
                for n, p, on in zip(names, face.points, face.visible, strict=True)
            },
        }
        for face in dataset.annotations
    ]
    assert case["faces"] == found
