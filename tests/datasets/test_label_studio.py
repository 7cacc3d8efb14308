"""The reader of Label Studio on small files typed by hand, as the tool writes them."""

from __future__ import annotations

import pytest

from dife_lightning import load_dataset
from dife_lightning.errors import DataError
from tests.datasets.labelled import faces_of, notes_of, put


def region(label: str, x: float, y: float, **more) -> dict:
    return {"type": "keypointlabels", "original_width": 50, "original_height": 40, "image_rotation": 0,
            "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": [label]}, **more}  # fmt: skip


def rectangle(label: str, number: str, x: float, y: float, width: float, height: float) -> dict:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [label]}
    return region("", 0, 0) | {"type": "rectanglelabels", "id": number, "value": value}


def task(*regions: dict, picture: str = "/data/upload/1/a.png", **more) -> dict:
    return {"id": 1, "data": {"image": picture}, "annotations": [{"result": regions}], **more}


@pytest.mark.parametrize("picture", [
    "/data/upload/1/a.png", "/data/upload/1/0a1b2c3d-a.png", "/data/local-files/?d=photos/a.png", "a.png",
    "https://example.org/store/a.png?key=1", "s3://bucket/some/a.png", "C:\\photos\\a.png",
])  # fmt: skip
def test_label_studio_finds_pictures_however_they_are_served(root, picture, capsys):
    put(root / "e.json", [task(region("nose", 50, 25), picture=picture)])
    dataset = load_dataset("label-studio", root)
    assert [(face["image"].shape, face["points"].tolist()) for face in dataset] == [((40, 50, 3), [[25, 10]])]
    said = notes_of(capsys)
    if "0a1b" in picture:
        assert said == ["names of pictures without the digits that Label Studio puts before uploads: 1"]
    else:
        assert all("found elsewhere" in line for line in said)


def test_label_studio_points_belong_to_their_parent_rectangle_or_to_what_they_are_related_to(root):
    put(root / "e.json", [task(
        rectangle("cat", "r1", 0, 0, 50, 50), rectangle("dog", "r2", 20, 50, 50, 50), region("nose", 10, 10,
                                                                                            parentID="r1"),
        region("nose", 20, 20, id="k"), {"type": "relation", "from_id": "k", "to_id": "r2", "direction": "right"},
        {"type": "choices", "value": {"choices": ["good"]}},
    )])  # fmt: skip
    dataset = load_dataset("label-studio", root)
    assert faces_of(dataset) == [("a.png#r1", {"nose": [5, 4]}), ("a.png#r2", {"nose": [10, 8]})]
    assert [(face.group, face.box.tolist()) for face in dataset.annotations] == [
        ("cat", [0, 0, 25, 20]), ("dog", [10, 20, 35, 40]),
    ]  # fmt: skip


def test_label_studio_takes_one_annotation_of_each_picture_and_says_so(root, capsys):
    put(root / "e.json", [
        {"id": 1, "data": {"img": "a.png"}, "annotations": [
            {"was_cancelled": True, "result": [region("nose", 0, 0)]},
            {"completed_by": 7, "result": [region("nose", 10, 10)]},
            {"completed_by": {"id": 8, "email": "eve@lab.org"}, "result": [region("nose", 20, 20)]},
        ]},
        {"id": 2, "data": {"img": "b.png"}, "annotations": [], "predictions": [{"result": [region("nose", 30, 30)]}]},
    ])  # fmt: skip
    assert faces_of(load_dataset("label-studio", root)) == [("a.png", {"nose": [5, 4]})]
    said = " ".join(notes_of(capsys))
    for words in ("cancelled annotations passed over: 1", "several times, of which the first annotation is taken",
                  "pictures with predictions alone passed over (--predictions true): 1"):  # fmt: skip
        assert words in said
    dataset = load_dataset("label-studio", root, annotator="eve@lab.org", predictions=True)
    assert faces_of(dataset) == [("a.png", {"nose": [10, 8]}), ("b.png", {"nose": [15, 12]})]


def test_label_studio_in_its_short_form(root):
    put(root / "e.json", [{"id": 1, "image": "/data/upload/1/a.png", "annotator": 1, "kp-1": [
        {"x": 50, "y": 25, "width": 0.2, "keypointlabels": ["nose"], "original_width": 50, "original_height": 40},
    ]}])  # fmt: skip
    assert faces_of(load_dataset("label-studio", root)) == [("a.png", {"nose": [25, 10]})]


@pytest.mark.parametrize(("content", "words"), [
    ({"images": []}, r"e\.json: expected a list of tasks"),
    ([task(region("nose", 1, 2, image_rotation=90))], "task 1: the picture is turned by 90 degrees"),
    ([task({"type": "keypointlabels", "value": {"x": 1}})], "task 1: a region of type keypointlabels has another form"),
    ([task(region("nose", 1, 2), region("nose", 3, 4))], "task 1: point 'nose' is there 2 times, .*parent region"),
    ([task(region("nose", 1, 2), picture="")], "task 1: no picture, expected a path or an address"),
])  # fmt: skip
def test_label_studio_says_what_is_wrong(root, content, words):
    put(root / "e.json", content)
    with pytest.raises(DataError, match=words):
        load_dataset("label-studio", root)


def test_one_of_several_files_must_be_chosen(root):
    for name in ("e.json", "f.json"):
        put(root / name, [task(region("nose", 50, 25))])
    with pytest.raises(
        DataError, match=r"2 files \*\.json, expected one export of Label Studio; choose one with --file"
    ):
        load_dataset("label-studio", root)
    assert len(load_dataset("label-studio", root, file="f.json")) == 1


def test_label_studio_regions_with_labels_apart(root):
    place = {"x": 50, "y": 25, "width": 0.3}
    both = [
        region("", 0, 0) | {"type": "keypoint", "id": "k", "value": place},
        region("", 0, 0) | {"type": "labels", "id": "k", "value": place | {"labels": ["nose"]}},
    ]
    put(root / "e.json", [task(*both)])
    assert faces_of(load_dataset("label-studio", root)) == [("a.png", {"nose": [25, 10]})]


def test_label_studio_knows_the_picture_among_other_data_of_a_task(root):
    put(root / "e.json", [task(region("nose", 50, 25)) | {"data": {"note": "sharp. taken at 5/6", "photo": "a.png"}}])
    assert faces_of(load_dataset("label-studio", root)) == [("a.png", {"nose": [25, 10]})]
