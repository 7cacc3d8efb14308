"""Annotation files in the forms that tools and people write, made here; the right points are typed beside them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from dife_lightning import load_dataset
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces import get_scheme, list_images, read_image

A, B, C = [10.5, 11.0], [20.0, 12.0], [15.0, 30.25]
NAMES = ["eye_l", "eye_r", "snout"]
KEYPOINTS = [*A, 2, *B, 1, *C, 2]


def picture(path: Path, size: tuple[int, int] = (50, 40), **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 60, 30)).save(path, **options)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / name)
    return tmp_path


def coco(root: Path, *annotations: dict[str, Any], categories: Any = None, images: Any = None, **options: Any):
    """Write a COCO file of one picture ``a.jpg`` and one category with three points, and load it."""
    listed = images or [{"id": 1, "file_name": "a.jpg", "width": 50, "height": 40}]
    named = [{"id": 1, "name": "fox", "keypoints": NAMES}] if categories is None else categories
    entries = [{"id": 1 + k, "image_id": 1, "category_id": 1, **entry} for k, entry in enumerate(annotations)]
    content = {"images": listed, "annotations": entries, "categories": named}
    (root / "c.json").write_text(json.dumps(content))
    return load_dataset("coco-keypoints", root, file="c.json", **options)


def table(root: Path, *lines: str, encoding: str = "utf-8", **options: Any):
    (root / "points.csv").write_bytes("\n".join(lines).encode(encoding))
    return load_dataset("folder", root, **options)


def points(dataset: Any, index: int = 0) -> dict[str, list[float] | None]:
    item, names = dataset[index], get_scheme(dataset.scheme).landmarks
    return {
        name: [round(v, 3) for v in place] if seen else None
        for name, place, seen in zip(names, item["points"].tolist(), item["visible"], strict=True)
    }


OWN = {"eye_l": A, "eye_r": B, "snout": C}


@pytest.mark.parametrize(("keypoints", "wanted", "words"), [
    (KEYPOINTS, OWN, ""),
    ([[*A, 2], [*B, 1], [*C, 2]], OWN, ""),
    ([A, B, C], OWN, ""),
    ([[*A, 2], None, [*C, 2]], {**OWN, "eye_r": None}, ""),
    ([*A, 2, None, None, 0, *C, 2], {**OWN, "eye_r": None}, ""),
    ([*A, 2, None, None, 2, *C, 2], {**OWN, "eye_r": None}, ""),
    ([*A, *B, *C], OWN, "x, y without visibility: all are taken as labelled"),
    ([*A, 2, 0, 0, 2, *C, 2], {**OWN, "eye_r": None}, "1 point at exactly (0, 0) or (-1, -1) count"),
    ([*A, 2, -1, -1, 1, *C, 2], {**OWN, "eye_r": None}, "1 point at exactly"),
    ([*A, 2, 0, 0, 0, *C, 2], {**OWN, "eye_r": None}, ""),
    ([*A, 2, -0.4, 40.1, 1, *C, 2], {**OWN, "eye_r": [-0.4, 40.1]}, ""),
])  # fmt: skip
def test_forms_of_coco_key_points(root, capsys, keypoints, wanted, words):
    assert points(coco(root, {"keypoints": keypoints})) == wanted
    assert words in capsys.readouterr().err


def test_zeros_are_kept_on_request(root, capsys):
    dataset = coco(root, {"keypoints": [*A, 2, 0, 0, 2, -1, -1, 2]}, keep_zeros=True)
    assert points(dataset) == {"eye_l": A, "eye_r": [0, 0], "snout": [-1, -1]}
    assert "exactly" not in capsys.readouterr().err
    assert points(table(root, "image,a_x,a_y,b_x,b_y", "a.jpg,0,0,3,4", keep_zeros=True)) == {"a": [0, 0], "b": [3, 4]}


def test_annotations_without_key_points_are_counted(root, capsys):
    dataset = coco(root, {"keypoints": KEYPOINTS}, {"keypoints": None}, {"keypoints": []}, {"bbox": [1, 2, 3, 4]})
    assert (len(dataset), dataset.facts["unlabelled"]) == (1, 3)
    assert "3 of 4 annotations have no labelled point" in capsys.readouterr().err


def test_pictures_without_annotation_are_counted(root, capsys):
    images = [{"id": str(k), "file_name": f"{name}.jpg"} for k, name in enumerate("xab")]
    assert len(coco(root, {"keypoints": KEYPOINTS}, images=images)) == 1
    assert "2 pictures of 3 without annotation: passed over" in capsys.readouterr().err


def test_five_points_without_names_and_without_v(root):
    dataset = coco(root, {"keypoints": [*A, *B, *C, 1, 2, 3, 4]}, categories=[])
    assert points(dataset) == {"0": A, "1": B, "2": C, "3": [1, 2], "4": [3, 4]}


def test_a_file_of_boxes_says_why_it_cannot_be_used(root):
    with pytest.raises(DataError, match=r"none of its 2 annotations has 'keypoints' \(they have bbox\).*CVAT"):
        coco(root, {"bbox": [1, 2, 3, 4]}, {"bbox": [1, 2, 3, 5]})


def test_a_results_file_is_named_as_such(root):
    (root / "r.json").write_text(json.dumps([{"image_id": 1, "category_id": 1, "keypoints": KEYPOINTS, "score": 0.9}]))
    with pytest.raises(DataError, match="is a results file"):
        load_dataset("coco-keypoints", root, file="r.json")


def test_a_results_file_takes_pictures_and_names_from_the_truth(root, capsys):
    names = [{"id": 1, "name": "face", "keypoints": NAMES}]
    (root / "truth.json").write_text(json.dumps(
        {"images": [{"id": "1", "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}], "annotations": [],
         "categories": names}))  # fmt: skip
    scores = [value if k % 3 < 2 else 0 for k, value in enumerate(KEYPOINTS)]
    results = [{"image_id": k, "category_id": 1, "keypoints": scores, "score": 0.9} for k in (2, 1)]
    (root / "r.json").write_text(json.dumps(results))
    dataset = load_dataset("coco-keypoints", root, file="r.json", truth="truth.json")
    assert [face.name for face in dataset.annotations] == ["b.jpg#1", "a.jpg#2"]
    assert points(dataset) == OWN
    with pytest.raises(DataError, match=r"truth\.json is no results file .* leave out truth"):
        load_dataset("coco-keypoints", root, file="truth.json", truth="truth.json")
    (root / "r.json").write_text(json.dumps([{**results[0], "image_id": 9}, {"keypoints": "x"}]))
    with pytest.raises(DataError, match="image_id 9 is no picture of the file"):
        load_dataset("coco-keypoints", root, file="r.json", truth="truth.json")
    for content in ("[]", "3", "{}", '{"images": 3, "categories": [4]}'):
        (root / "other.json").write_text(content)
        with pytest.raises(DataError, match="has no list 'images'"):
            load_dataset("coco-keypoints", root, file="r.json", truth="other.json")


def test_one_annotation_a_point_becomes_one_face_a_picture(root, capsys):
    categories = [{"id": k, "name": name, "keypoints": []} for k, name in enumerate(NAMES)]
    single = [{"category_id": str(k), "keypoints": [*place, 2]} for k, place in ((2, C), (0, A), (1, B))]
    dataset = coco(root, *single, categories=categories)
    assert (len(dataset), points(dataset)) == (1, OWN)
    assert "3 annotations became 1 face" in capsys.readouterr().err
    with pytest.raises(DataError, match="point 'eye_l' is there twice"):
        coco(root, *single, {"category_id": 0, "keypoints": [1, 2, 2]}, categories=categories)


def test_kinds_of_animals_with_one_point_each_are_not_joined(root):
    categories = [{"id": 1, "name": "cat", "keypoints": ["nose"]}, {"id": 2, "name": "dog", "keypoints": ["nose"]}]
    faces = [{"keypoints": [*A, 2]}, {"keypoints": [*B, 2], "category_id": 2}]
    assert [points(coco(root, *faces, categories=categories), k) for k in (0, 1)] == [{"nose": A}, {"nose": B}]


def test_an_annotation_without_category_has_the_only_one(root):
    assert points(coco(root, {"keypoints": KEYPOINTS, "category_id": None})) == OWN


def test_decimal_commas_are_counted(root, capsys):
    assert points(table(root, "image;a_x;a_y", "a.jpg;1,5;2")) == {"a": [1.5, 2]}
    assert "1 number with a decimal comma" in capsys.readouterr().err


def test_names_that_differ_in_case_separators_and_side_are_the_schemes(root):
    names = ["Nose", "Mouth-Right", "L_Eye", "right eye", "MouthLeft"]
    values = [[1, 1, 2], [2, 2, 2], [3, 3, 2], [4, 4, 2], [5, 5, 2]]
    category = [{"id": 1, "name": "face", "keypoints": names}]
    wanted = {"left_eye": [3, 3], "right_eye": [4, 4], "nose": [1, 1], "mouth_left": [5, 5], "mouth_right": [2, 2]}
    assert points(coco(root, {"keypoints": values}, categories=category, scheme="mafl-5")) == wanted


def test_further_points_of_the_file_are_passed_over_and_said(root, capsys):
    names = ["tail", "nose", "mouth_right", "left_eye", "right_eye", "mouth_left"]
    category = [{"id": 1, "name": "face", "keypoints": names}]
    dataset = coco(root, {"keypoints": [[k, k, 2] for k in range(1, 7)]}, categories=category, scheme="mafl-5")
    assert points(dataset)["left_eye"] == [4, 4]
    assert "does not have them: tail" in capsys.readouterr().err


def test_names_that_the_scheme_does_not_have_are_never_mixed_up(root, capsys):
    category = [{"id": 1, "name": "face", "keypoints": ["p1", "p2", "p3", "p4", "p5"]}]
    values = [[k, k, 2] for k in range(1, 6)]
    assert points(coco(root, {"keypoints": values}, categories=category, scheme="mafl-5"))["nose"] == [3, 3]
    assert "taken in the file's order" in capsys.readouterr().err
    category[0]["keypoints"] = ["nose", "p2", "p3", "p4", "p5"]  # the nose is not first in the scheme
    with pytest.raises(DataError, match="scheme 'mafl-5' has no point 'p2'"):
        coco(root, {"keypoints": values}, categories=category, scheme="mafl-5")


def test_categories_with_different_points(root, capsys):
    categories = [{"id": 1, "name": "fox", "keypoints": NAMES}, {"id": 2, "name": "owl", "keypoints": ["beak", "toe"]}]
    faces = [{"keypoints": KEYPOINTS}, {"category_id": 2, "keypoints": [1, 2, 2, 3, 4, 2]}]
    with pytest.raises(ConfigError, match=r"different points: fox \(3\), owl \(2\). Choose one with --category"):
        coco(root, *faces, categories=categories)
    assert points(coco(root, *faces, categories=categories, category="owl")) == {"beak": [1, 2], "toe": [3, 4]}
    (root / "fox.yaml").write_text("names: [snout, eye_l, eye_r]")
    dataset = coco(root, *faces, categories=categories, scheme=root / "fox.yaml")
    assert (len(dataset), points(dataset)) == (1, OWN)
    assert "1 annotation of category 'owl' with other points" in capsys.readouterr().err


def test_a_scheme_of_ones_own_comes_from_the_names_and_from_a_file(root, capsys):
    dataset = coco(root, {"keypoints": KEYPOINTS})
    assert (dataset.scheme.landmarks, dataset.scheme.flip_pairs) == (tuple(NAMES), ((0, 1),))
    assert dataset.facts["landmarks"] == NAMES
    assert "mirror pairs: eye_l/eye_r; left is taken as the viewer's" in capsys.readouterr().err
    (root / "fox.yaml").write_text("left: subject\nsame_as: {snout: nose}")
    scheme = coco(root, {"keypoints": KEYPOINTS}, scheme=str(root / "fox.yaml")).scheme
    assert (scheme.name, scheme.eye_convention, scheme.maps["3-point"]) == ("fox", "subject", ((1,), (0,), (2,)))


def test_a_name_that_is_no_scheme_is_said(root, capsys):
    assert coco(root, {"keypoints": KEYPOINTS}, scheme="mafl5").scheme.name == "mafl5"
    assert "'mafl5' is not built in and no file; the file's own points are used. Did you mean 'mafl-5'" in (
        capsys.readouterr().err
    )


def test_exchanged_width_and_height_are_said_once(root, capsys):
    images = [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 50}]
    dataset = coco(root, {"keypoints": KEYPOINTS}, images=images)
    assert points(dataset) == points(dataset) == OWN
    assert capsys.readouterr().err.count("width and height are exchanged") == 1
    outside = coco(root, {"keypoints": [*A, 2, *B, 2, 15, 90, 2]}, images=images)
    with pytest.raises(DataError, match="is 50 x 40, the annotation is of 40 x 50"):
        outside[0]


def test_points_of_stored_pictures(root, capsys):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    picture(root / "a.jpg", exif=exif)
    lines = ("image,a_x,a_y,box_x,box_y,box_w,box_h", "a.jpg,10,5,0,0,20,10")
    assert points(table(root, *lines)) == {"a": [10, 5]}
    assert "EXIF headers turn 1 picture (a.jpg)" in capsys.readouterr().err
    dataset = table(root, *lines, points_of="stored")
    assert points(dataset) == {"a": [34, 10]}  # 39 - 5, 10
    assert dataset.annotations[0].box.tolist() == [29, 0, 39, 20]
    assert "EXIF" not in capsys.readouterr().err
    table(root, *lines, points_of="shown")
    assert "EXIF" not in capsys.readouterr().err
    with pytest.raises(ConfigError, match="unknown points_of 'raw'"):
        table(root, *lines, points_of="raw")


@pytest.mark.parametrize("column", ["Image", "file", "img", "FileName", "image_path", "name", "", "picture"])
def test_the_column_of_pictures_has_many_names(root, column):
    assert points(table(root, f"{column},nose_x,nose_y", "a.jpg,3,4")) == {"nose": [3, 4]}


@pytest.mark.parametrize("header", ["nose_x,nose_y", "nose_X,nose_Y", "noseX,noseY", "nose.x,nose.y", "x_nose,y_nose"])
def test_the_columns_of_points_have_many_names(root, header):
    assert points(table(root, f"image,{header}", "a.jpg,3,4")) == {"nose": [3, 4]}


def test_points_counted_from_1(root, capsys):
    assert points(table(root, "image,x1,y1,x2,y2", "a.jpg,1,2,3,4")) == {"0": [1, 2], "1": [3, 4]}
    assert "counted from 1" in capsys.readouterr().err


@pytest.mark.parametrize(("lines", "encoding"), [
    (["sep=;", "image;a_x;a_y;;", "a.jpg;1,5;2,25;;"], "utf-8"),
    (["image;a_x;a_y", "a.jpg;1.5;2.25"], "utf-8-sig"),
    (["image\ta_x\ta_y", "a.jpg\t1,5\t2,25"], "utf-16"),
    (['"image","a_x","a_y"', '"a.jpg","1,5","2,25"'], "utf-8"),
    (["image,a_x,a_y,notes, ,", "a.jpg,1.5,2.25,a; b; c,,,,"], "utf-8"),
])  # fmt: skip
def test_tables_of_other_programs(root, lines, encoding):
    assert points(table(root, *lines, encoding=encoding)) == {"a": [1.5, 2.25]}


def test_columns_that_are_not_used_are_said(root, capsys):
    table(root, "image,group,a_x,a_y,a_v,score,,notes", "a.jpg,g,1,2,1,0.9,,x")
    assert "2 columns not used: score, notes" in capsys.readouterr().err


def test_windows_text_is_read_and_said(root, capsys):
    picture(root / "größe.jpg")
    assert points(table(root, "image,a_x,a_y", "größe.jpg,1,2", encoding="cp1252")) == {"a": [1, 2]}
    assert "points.csv is not UTF-8; read as Windows text (cp1252)" in capsys.readouterr().err


def test_missing_values_and_visibility_in_a_table(root, capsys):
    header = "image,a_x,a_y,b_x,b_y,c_x,c_y,c_v,d_x,d_y"
    assert points(table(root, header, "a.jpg,NaN,nan,NA,N/A,5,6,0,7,8")) == {
        "a": None, "b": None, "c": None, "d": [7, 8]
    }  # fmt: skip
    assert "exactly" not in capsys.readouterr().err


@pytest.mark.parametrize(("columns", "cells"), [
    ("box_x0,box_y0,box_x1,box_y1", "1,2,31,22"), ("bbox_x,bbox_y,bbox_w,bbox_h", "1,2,30,20"),
    ("face_x,face_y,face_w,face_h", "1,2,30,20"), ("box_xmin,box_ymin,box_xmax,box_ymax", "1,2,31,22"),
    ("Box_X,Box_Y,Box_Width,Box_Height", "1,2,30,20"),
])  # fmt: skip
def test_a_box_is_no_landmark(root, columns, cells):
    dataset = table(root, f"image,a_x,a_y,{columns}", f"a.jpg,3,4,{cells}")
    assert (points(dataset), dataset.annotations[0].box.tolist()) == ({"a": [3, 4]}, [1, 2, 31, 22])


def test_pictures_are_found_by_what_is_certain(root, capsys):
    picture(root / "in/x/p.jpg")
    picture(root / "in/y/p.jpg")
    picture(root / "in/x/q r.jpg")
    rows = ("C:\\Users\\me\\x\\p.jpg,1,2", "C:\\Users\\me\\x\\q%20r.jpg,3,4")
    dataset = table(root, "image,a_x,a_y", *rows)
    assert [face.image for face in dataset.annotations] == [root / "in/x/p.jpg", root / "in/x/q r.jpg"]
    assert "2 pictures found elsewhere" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"2 pictures may be /else/p\.jpg \(in/x/p\.jpg, in/y/p\.jpg\)"):
        table(root, "image,a_x,a_y", "/else/p.jpg,1,2")
    # One that is missing beside others that are there is missing, whatever lies elsewhere.
    picture(root / "in/y/only.jpg")
    with pytest.raises(DataError, match=r"no picture .*in/x/only\.jpg"):
        table(root, "image,a_x,a_y", "in/x/p.jpg,1,2", "in/x/only.jpg,3,4")
    dataset = table(root, "image,a_x,a_y", "in/x/p.jpg,1,2", "in/y/p.jpg,3,4")
    assert [face.name for face in dataset.annotations] == ["in/x/p.jpg", "in/y/p.jpg"]


def test_pictures_with_another_suffix_or_none(root):
    picture(root / "c.png", format="JPEG")
    picture(root / "d", format="PNG")
    dataset = table(root, "image,a_x,a_y", "c.png,1,2", "d,3,4", "b,5,6")
    assert [item["image"].shape for item in dataset] == [(40, 50, 3)] * 3


def test_a_folder_of_pictures_with_links_and_without_suffixes(root, tmp_path_factory, capsys):
    other = tmp_path_factory.mktemp("other")
    picture(other / "c.JFIF", format="JPEG")
    picture(root / "d", format="PNG")
    (root / "README").write_text("no picture")
    (root / ".b").mkdir()
    picture(root / ".b/x.jpg")
    os.symlink(other, root / "linked", target_is_directory=True)
    os.symlink(root, other / "back", target_is_directory=True)
    assert [path.relative_to(root).as_posix() for path in list_images(root)] == [
        "a.jpg", "b.jpg", "d", "linked/c.JFIF"
    ]  # fmt: skip
    assert "passed over: 1 without suffix" in capsys.readouterr().err


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_read(root):
    picture(root / "e.avif")
    assert root / "e.avif" in list_images(root)
    assert np.abs(read_image(root / "e.avif").astype(int) - (90, 60, 30)).max() < 8


@pytest.mark.parametrize(("content", "words"), [
    ("[" * 200_000, "lists in lists without end"),
    ("9" * 5000, "not JSON"),
    ('{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"id": 1, "image_id": 1, "keypoints": [1, 2, 2, %s'
     ', 3, 2, 1, 4, 2]}], "categories": []}' % ("9" * 400), "annotation 1: keypoints: a number without end"),
    ('{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"id": 1, "image_id": 1, "keypoints": [1, 2, 2, '
     '1e300, 3, 2, 1, 4, 2]}], "categories": []}', r"point 1 is \(inf, 3.0\), expected finite numbers"),
])  # fmt: skip
def test_numbers_and_nesting_without_end_are_one_line(root, content, words):
    (root / "c.json").write_text(content)
    with pytest.raises(DataError, match=words):
        load_dataset("coco-keypoints", root, file="c.json")


def test_some_points_of_a_scheme_are_enough(root, capsys):
    rows = ("image,nose_x,nose_y,eye_l_x,eye_l_y", "a.jpg,15,30,10,11")
    expected = {"left_eye": [10, 11], "right_eye": None, "nose": [15, 30], "mouth_left": None, "mouth_right": None}
    assert points(table(root, *rows, scheme="mafl-5")) == expected
    note = "3 points of scheme 'mafl-5' not in the file, so not labelled: right_eye, mouth_left, mouth_right"
    assert note in capsys.readouterr().err
    category = [{"id": 1, "name": "face", "keypoints": ["nose", "Left-Eye"]}]
    found = coco(root, {"keypoints": [15, 30, 2, 10, 11, 2]}, categories=category, scheme="mafl-5")
    assert points(found) == expected
    assert note in capsys.readouterr().err


def test_points_of_a_scheme_and_others_are_told_apart(root, capsys):
    rows = ("image,nose_x,nose_y,tail_x,tail_y,eye_r_x,eye_r_y", "a.jpg,15,30,10,11,20,12")
    assert points(table(root, *rows, scheme="mafl-5"))["nose"] == [15, 30]
    assert "passed over, since the scheme does not have them: tail" in capsys.readouterr().err
    rows = ("image,nose_x,nose_y,tail_x,tail_y", "a.jpg,15,30,10,11")
    with pytest.raises(DataError, match="has 2 points, scheme 'mafl-5' has 5"):
        table(root, *rows, scheme="mafl-5")


@pytest.mark.parametrize("column", ["subject", "Animal_ID", "individual", "person"])
def test_subjects_are_read_from_a_table(root, capsys, column):
    dataset = table(root, f"image,{column},nose_x,nose_y", "a.jpg,rex,15,30", "b.jpg,,15,30")
    assert [face.subject for face in dataset.annotations] == ["rex", ""]
    said = capsys.readouterr().err
    assert ("states the subjects" in said) is (column != "subject")
    assert "not used" not in said


def test_subjects_are_read_from_coco_annotations(root):
    faces = [{"keypoints": KEYPOINTS, **more} for more in ({"individual": 7}, {"attributes": {"identity": "rex"}}, {})]
    faces = [{**face, "keypoints": [k + v for v in KEYPOINTS]} for k, face in enumerate(faces)]
    assert [face.subject for face in coco(root, *faces).annotations] == ["7", "rex", ""]
