"""The reader of VIA on small files typed by hand, as the tool writes them."""

from __future__ import annotations

import pytest

from dife_lightning import load_dataset
from dife_lightning.errors import ConfigError, DataError
from tests.datasets.labelled import faces_of, names_of, notes_of, put


def via(*regions: tuple[dict, dict], picture: str = "a.png") -> dict:
    listed = [{"shape_attributes": shape, "region_attributes": attributes} for shape, attributes in regions]
    return {f"{picture}123": {"filename": picture, "size": 123, "regions": listed, "file_attributes": {}}}


def dot(x: float, y: float) -> dict:
    return {"name": "point", "cx": x, "cy": y}


@pytest.mark.parametrize("project", [False, True])
def test_via_in_json_or_as_a_project(root, project):
    content = via((dot(1, 2), {"what": "nose"}), (dot(3, 4), {"what": {"ear": True, "nose": False}}))
    put(root / "v.json", {"_via_settings": {}, "_via_img_metadata": content} if project else content)
    assert faces_of(load_dataset("via", root)) == [("a.png", {"nose": [1, 2], "ear": [3, 4]})]


def test_via_faces_of_a_picture_are_told_apart_by_an_attribute(root, capsys):
    put(root / "v.json", via(
        (dot(1, 2), {"name": "nose", "cat": "x"}), (dot(3, 4), {"name": "nose", "cat": "y"}),
        ({"name": "rect", "x": 1, "y": 2, "width": 10, "height": 20}, {"cat": "x"}),
        ({"name": "circle", "cx": 1, "cy": 2, "r": 3}, {}),
    ))  # fmt: skip
    dataset = load_dataset("via", root, face="cat")
    assert notes_of(capsys) == ["shapes that are neither points nor rectangles passed over: 1"]
    assert faces_of(dataset) == [("a.png#x", {"nose": [1, 2]}), ("a.png#y", {"nose": [3, 4]})]
    assert dataset.annotations[0].box.tolist() == [1, 2, 11, 22]
    with pytest.raises(DataError, match=r"picture a\.png: point 'nose' is there 2 times, .*with --face"):
        load_dataset("via", root)


def test_via_asks_for_the_attribute_that_names_the_points_where_that_is_not_clear(root):
    put(root / "v.json", via((dot(1, 2), {"who": "cat", "which": "nose"})))
    with pytest.raises(
        ConfigError, match=r"which region attribute names the point\? Give --attribute. Known: which, who"
    ):
        load_dataset("via", root)
    assert names_of(load_dataset("via", root, attribute="which")) == ["nose"]


@pytest.mark.parametrize(("content", "words"), [
    ({"project": {}, "metadata": {}, "file": {}}, "of VIA 3, expected VIA 2"),
    ({"a": 1}, "another form, expected VIA 2's entries"),
    (via((dot(1, 2), {"name": "nose"}), (dot(1, 2), {})), r"picture a\.png: a point without 'name'"),
    (via(({"name": "point", "cx": 1}, {"name": "nose"})), "a region of type point has another form"),
])  # fmt: skip
def test_via_says_what_is_wrong(root, content, words):
    put(root / "v.json", content)
    with pytest.raises(DataError, match=words):
        load_dataset("via", root)


def test_via_csv_of_its_first_version(root):
    rows = ["#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"]
    point = '"{""name"":""point"",""cx"":1,""cy"":2}","{""id"":""0""}"'
    put(root / "v.csv", "\n".join([*rows, f"a.png,1,{{}},1,0,{point}"]))
    assert faces_of(load_dataset("via", root)) == [("a.png", {"0": [1, 2]})]
