"""``dife data convert``: every form is written, read by an independent parse, and read again by its reader."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from dife_lightning import load_dataset
from dife_lightning.cli.main import main
from dife_lightning.datasets.writing.forms import FORMS, convert
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.schemes import get_scheme

NAMES = ["left_eye", "right_eye", "nose", "mouth_left", "mouth_right"]
#: Faces by picture: group, points by name, and which are hidden. Typed by hand, as in the XML below.
TRUTH = {
    "a.png": [
        ("cat", {"left_eye": (10.25, 20.5), "right_eye": (30.13, 19.87), "nose": (20.01, 30), "mouth_left": (15, 40.4)},
         {"right_eye"}),
        ("dog", {"left_eye": (70.5, 20), "right_eye": (90, 21), "nose": (80.99, 33.33), "mouth_left": (75, 44),
                 "mouth_right": (85, 45)}, set()),
    ],
    "sub/b c.png": [("cat", {"left_eye": (1.5, 2.25), "nose": (49.75, 60.6)}, set())],
}  # fmt: skip
SIZES = {"a.png": (120, 50), "sub/b c.png": (51, 64)}
ALL = pytest.mark.parametrize("form", FORMS)
#: Where the reader has no usual name of the file.
FILES = {"coco": {"file": "annotations.json"}, "label-studio": {"file": "tasks.json"}}


def skeleton(group: str, points: dict[str, tuple[float, float]], hidden: set[str]) -> str:
    parts = []
    for name in NAMES:
        x, y = points.get(name, (0.0, 0.0))
        flags = f'outside="{int(name not in points)}" occluded="{int(name in hidden)}"'
        parts.append(f'<points label="{name}" {flags} points="{x},{y}"/>')
    return f'<skeleton label="{group}">{"".join(parts)}</skeleton>'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with an export of CVAT of two pictures and three faces."""
    root, images = tmp_path / "source", []
    for name, faces in TRUTH.items():
        width, height = SIZES[name]
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, height), (len(name), 90, 20)).save(root / name)
        shapes = "".join(skeleton(*face) for face in faces)
        images.append(f'<image id="0" name="{name}" width="{width}" height="{height}">{shapes}</image>')
    (root / "annotations.xml").write_text(f"<annotations>{''.join(images)}</annotations>")
    return root


def written(source: Path, form: str, **options) -> tuple[Path, list[str]]:
    folder = source.parent / f"as {form}"
    return folder, convert(load_dataset("cvat", source, scheme="mafl-5"), folder, form, **options)


def points_of(found, names: list[str]) -> list[dict[str, list[float]]]:
    return [
        {n: p.tolist() for n, p, on in zip(names, face.points, face.visible, strict=True) if on}
        for face in found.annotations
    ]


def truth() -> list[tuple[str, dict[str, tuple[float, float]], set[str]]]:
    return [face for faces in TRUTH.values() for face in faces]


@ALL
def test_points_come_back_to_a_hundredth_of_a_pixel(source, form):
    folder, _ = written(source, form)
    options = {"scheme": "mafl-5"} | FILES.get(form, {})
    found = load_dataset(FORMS[form].reader, folder, **options)
    assert len(found) == 3
    for face, (_, points, _) in zip(points_of(found, NAMES), truth(), strict=True):
        assert face.keys() == points.keys()
        for name, place in points.items():
            np.testing.assert_allclose(face[name], place, atol=0.01)
    assert [item["image"].shape[1::-1] for item in found] == [(120, 50), (120, 50), (51, 64)]


@ALL
def test_without_a_scheme_the_names_come_back(source, form):
    folder, _ = written(source, form)
    found = load_dataset(FORMS[form].reader, folder, **FILES.get(form, {}))
    scheme = get_scheme(found.scheme)
    assert sorted(scheme.landmarks) == sorted(NAMES)
    assert len(scheme.flip_pairs) == 2
    for face, (_, points, _) in zip(points_of(found, list(scheme.landmarks)), truth(), strict=True):
        assert face.keys() == points.keys()


@pytest.mark.parametrize("form", ["coco", "csv", "cvat", "label-studio", "yolo-pose"])
def test_groups_come_back(source, form):
    folder, _ = written(source, form)
    options = {"scheme": "mafl-5"} | FILES.get(form, {})
    found = load_dataset(FORMS[form].reader, folder, **options)
    assert [face.group for face in found.annotations] == ["cat", "dog", "cat"]


@pytest.mark.parametrize("form", ["coco", "cvat", "labelme", "yolo-pose"])
def test_hidden_points_come_back_as_labelled_and_hidden(source, form):
    folder, _ = written(source, form)
    found = load_dataset(FORMS[form].reader, folder, scheme="mafl-5", **FILES.get(form, {}))
    assert found.annotations[0].occluded.tolist() == [False, True, False, False, False]
    assert found.annotations[0].visible.tolist() == [True, True, True, True, False]
    assert not found.annotations[1].occluded.any()


def test_a_coco_file_is_as_coco_describes_it(source):
    folder, said = written(source, "coco")
    content = json.loads((folder / "annotations.json").read_text())
    assert [(i["file_name"], i["width"], i["height"]) for i in content["images"]] == [
        ("images/a.png", 120, 50), ("images/sub/b c.png", 51, 64),
    ]  # fmt: skip
    first, _, last = content["annotations"]
    assert first["keypoints"] == [10.25, 20.5, 2, 30.13, 19.87, 1, 20.01, 30, 2, 15, 40.4, 2, 0, 0, 0]
    assert (first["num_keypoints"], first["iscrowd"], first["image_id"]) == (4, 0, content["images"][0]["id"])
    assert first["bbox"] == pytest.approx([10.25, 19.87, 19.88, 20.53])
    assert first["area"] == pytest.approx(19.88 * 20.53, abs=1e-3)
    assert last["bbox"] == pytest.approx([1.5, 2.25, 48.25, 58.35])
    assert [(c["name"], c["keypoints"]) for c in content["categories"]] == [("cat", NAMES), ("dog", NAMES)]
    assert any(line.startswith("faces without a box") and line.endswith(": 3") for line in said)


def test_deeplabcut_has_the_header_of_several_animals_and_one_level_of_folders(source):
    folder, said = written(source, "deeplabcut")
    rows = list(csv.reader((folder / "labeled-data/pictures/CollectedData_dife.csv").read_text().splitlines()))
    assert [row[0] for row in rows] == ["scorer", "individuals", "bodyparts", "coords", "labeled-data/pictures/a.png"]
    assert rows[1][1:] == ["face1"] * 10 + ["face2"] * 10
    assert rows[2][1:5] == ["left_eye", "left_eye", "right_eye", "right_eye"]
    assert rows[4][1:11] == ["10.25", "20.5", "30.13", "19.87", "20.01", "30", "15", "40.4", "", ""]
    other = list(csv.reader((folder / "labeled-data/sub/CollectedData_dife.csv").read_text().splitlines()))
    assert other[4][0] == "labeled-data/sub/b c.png"
    assert other[4][11:] == [""] * 10
    assert "groups not written, since DeepLabCut has no place for them: 3" in said
    assert "flags of occluded points not written, since DeepLabCut has no place for them: 1" in said


def test_label_studio_has_percents_and_an_interface_with_all_labels(source):
    folder, _ = written(source, "label-studio")
    first, second = json.loads((folder / "tasks.json").read_text())
    assert first["data"]["img"] == "/data/local-files/?d=images/a.png"
    assert second["data"]["img"] == "/data/local-files/?d=images/sub/b%20c.png"
    regions = first["annotations"][0]["result"]
    boxes = {r["id"]: r["value"]["rectanglelabels"] for r in regions if r["type"] == "rectanglelabels"}
    assert sorted(boxes.values()) == [["cat"], ["dog"]]
    nose = [r for r in regions if r["value"].get("keypointlabels") == ["nose"]][1]
    assert boxes[nose["parentID"]] == ["dog"]
    assert nose["value"]["x"] == pytest.approx(80.99 / 120 * 100)
    assert nose["value"]["y"] == pytest.approx(33.33 / 50 * 100)
    interface = ET.fromstring((folder / "labeling_interface.xml").read_text())
    assert [label.get("value") for label in interface.find("KeyPointLabels")] == NAMES
    assert {r["from_name"] for r in regions} == {e.get("name") for e in interface if e.tag != "Image"}


def test_yolo_pose_is_relative_and_knows_what_a_flip_exchanges(source):
    folder, said = written(source, "yolo-pose")
    content = yaml.safe_load((folder / "data.yaml").read_text())
    assert content["kpt_shape"] == [5, 3]
    assert content["flip_idx"] == [1, 0, 2, 4, 3]
    assert content["names"] == {0: "cat", 1: "dog"}
    row = (folder / "labels/train/sub/b c.txt").read_text().split()
    assert [float(v) for v in row[5:8]] == pytest.approx([1.5 / 51, 2.25 / 64, 2])
    assert row[8:11] == ["0", "0", "0"]
    assert all(0 <= float(v) <= 1 for v in row[1:5])
    assert [line.split()[0] for line in (folder / "labels/train/a.txt").read_text().splitlines()] == ["0", "1"]
    assert any("split them" in line for line in said)


def test_labelme_has_one_file_beside_each_picture(source):
    folder, _ = written(source, "labelme")
    content = json.loads((folder / "sub/b c.json").read_text())
    assert (content["imagePath"], content["imageWidth"], content["imageHeight"]) == ("b c.png", 51, 64)
    assert [(s["label"], s["points"], s["shape_type"]) for s in content["shapes"]] == [
        ("left_eye", [[1.5, 2.25]], "point"), ("nose", [[49.75, 60.6]], "point"),
    ]  # fmt: skip
    groups = {s["group_id"] for s in json.loads((folder / "a.json").read_text())["shapes"]}
    assert len(groups) == 2


def test_points_outside_the_picture_are_told_where_a_form_refuses_them(source):
    path = source / "annotations.xml"
    path.write_text(path.read_text().replace("49.75,60.6", "53.5,60.6"))
    _, said = written(source, "yolo-pose")
    assert any(line.startswith("points outside their picture") and line.endswith(": 1") for line in said)
    _, said = written(source, "coco")
    assert not any("outside their picture" in line for line in said)


@ALL
def test_files_that_are_there_are_kept_unless_asked(source, form):
    folder, _ = written(source, form)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"is there already .*--overwrite"):
        written(source, form)
    written(source, form, overwrite=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_no_picture_is_replaced_by_another(source):
    folder = source.parent / "as coco"
    (folder / "images").mkdir(parents=True)
    (folder / "images/a.png").write_bytes(b"mine")
    with pytest.raises(DataError, match="another picture"):
        written(source, "coco")
    assert (folder / "images/a.png").read_bytes() == b"mine"
    assert not (folder / "annotations.json").exists()


def test_without_copies_the_files_name_the_pictures_as_they_were(source):
    folder, _ = written(source, "coco", pictures="none")
    assert [path.name for path in folder.iterdir()] == ["annotations.json"]
    content = json.loads((folder / "annotations.json").read_text())
    assert [i["file_name"] for i in content["images"]] == ["a.png", "sub/b c.png"]
    found = load_dataset("coco-keypoints", source, file=folder / "annotations.json", scheme="mafl-5")
    assert len(list(found)) == 3


def test_labelme_files_can_be_put_beside_the_users_own_pictures(source):
    convert(load_dataset("cvat", source), source, "labelme", pictures="none")
    assert (source / "sub/b c.json").is_file()
    assert len(list(load_dataset("labelme", source))) == 3


def test_two_pictures_of_one_name_are_no_one_file(source):
    Image.new("RGB", (120, 50)).save(source / "a.jpg")
    path = source / "annotations.xml"
    image = '<image name="a.jpg" width="120" height="50">' + skeleton(*TRUTH["a.png"][0]) + "</image></annotations>"
    path.write_text(path.read_text().replace("</annotations>", image))
    assert len(written(source, "coco")[1]) > 0
    for form in ("labelme", "yolo-pose"):
        with pytest.raises(DataError, match=r"a\.jpg and a\.png would have the same name"):
            written(source, form)


def test_the_command_recognises_the_form(source, capsys):
    for form, file in (("labelme", ""), ("yolo-pose", ""), ("deeplabcut", ""), ("label-studio", "tasks.json")):
        first, second = source.parent / form, source.parent / f"{form} again"
        assert main(["data", "convert", str(source), str(first), "--to", form]) == 0
        said = capsys.readouterr().out.splitlines()
        assert said[0] == f"{source} is read with `cvat` (another reader: --from)"
        assert said[1].startswith("wrote 3 faces of 2 pictures to ")
        assert main(["data", "convert", str(first / file), str(second), "--to", "cvat"]) == 0
        assert f"is read with `{form}`" in capsys.readouterr().out
        assert len(load_dataset("cvat", second)) == 3


@pytest.mark.parametrize(("words", "said"), [
    (["--to", "labelmee"], "unknown form. Did you mean 'labelme'?"),
    ([], "no form given. Known: coco, csv, cvat, deeplabcut, label-studio, labelme, yolo-pose."),
    (["--to", "coco", "--pictures", "move"], "--pictures 'move': Did you mean 'none'? Known: copy, none."),
    (["--to", "coco", "--labl", "cat"], "cvat: unknown option 'labl'. Did you mean 'label'?"),
    (["--to", "coco", "--from", "cvaat"], "unknown dataset 'cvaat'. Did you mean 'cvat'?"),
])  # fmt: skip
def test_wrong_words_say_what_exists(source, words, said, capsys):
    assert main(["data", "convert", str(source), str(source.parent / "out"), *words]) != 0
    assert said in capsys.readouterr().err


def test_options_of_the_reader_and_other_folders_of_pictures(source, tmp_path, capsys):
    alone = tmp_path / "file/only.xml"
    alone.parent.mkdir()
    (source / "annotations.xml").rename(alone)
    words = ["data", "convert", str(alone), str(tmp_path / "dogs"), "--images", str(source), "--label", "dog"]
    assert main([*words, "--to", "csv"]) == 0
    rows = (tmp_path / "dogs/points.csv").read_text().splitlines()
    assert len(rows) == 2
    assert rows[1].startswith("images/a.png,images/a.png,dog,70.5,20,90,21,80.99,33.33,75,44,85,45,")


def test_a_folder_of_nothing_known_says_so(tmp_path, capsys):
    (tmp_path / "x.txt").write_text("1")
    assert main(["data", "convert", str(tmp_path), str(tmp_path / "out"), "--to", "coco"]) != 0
    assert "holds no annotations that are known; name one file, or give --from" in capsys.readouterr().err


def test_what_was_written_can_be_converted_on_and_on(source):
    """No form puts folders into its paths that another form, or itself, takes for its own."""
    first = load_dataset("cvat", source, scheme="mafl-5")
    found, reader, folder = first, "cvat", source
    for form in [*FORMS, *reversed(FORMS)]:
        folder = folder.parent / f"{form} of {reader}"
        convert(found, folder, form)
        reader = FORMS[form].reader
        found = load_dataset(reader, folder, scheme="mafl-5", **FILES.get(form, {}))
        for face, other in zip(found.annotations, first.annotations, strict=True):
            np.testing.assert_array_equal(face.visible, other.visible)
            np.testing.assert_allclose(face.points, other.points, atol=0.01)


def labelme_of(folder: Path, name: str, size: tuple[int, int], points: dict[str, tuple[float, float]]) -> None:
    shapes = [
        {"label": label, "points": [place], "group_id": None, "shape_type": "point"} for label, place in points.items()
    ]
    content = {"shapes": shapes, "imagePath": name, "imageWidth": size[0], "imageHeight": size[1]}
    (folder / f"{Path(name).stem}.json").write_text(json.dumps(content))


def converted(source: Path, folder: Path, form: str):
    convert(load_dataset("labelme", source), folder, form)
    found = load_dataset(FORMS[form].reader, folder, **FILES.get(form, {}))
    return found, points_of(found, list(get_scheme(found.scheme).landmarks))


@ALL
@pytest.mark.parametrize("stored", [False, True])
def test_points_of_a_turned_picture_are_those_of_the_picture_as_it_is_shown(tmp_path, form, stored):
    source = tmp_path / "source"
    source.mkdir()
    picture = Image.new("RGB", (60, 40))
    exif = picture.getexif()
    exif[0x0112] = 6  # shown with the left column at the top: (x, y) of the stored picture is (39 - y, x)
    picture.save(source / "a.jpg", exif=exif)
    places = {"nose": (50, 8.5), "eye": (10.25, 34)} if stored else {"nose": (30.5, 50), "eye": (5, 10.25)}
    labelme_of(source, "a.jpg", (60, 40) if stored else (40, 60), places)
    found, (points,) = converted(source, tmp_path / "out", form)
    assert points == {"nose": pytest.approx([30.5, 50], abs=0.01), "eye": pytest.approx([5, 10.25], abs=0.01)}
    assert found[0]["image"].shape == (60, 40, 3)


@ALL
def test_names_of_any_letters_come_back(tmp_path, form):
    source, names = tmp_path / "source", ["œil gauche", "a,b", 'q"t', "<n>&'", "eye: 1", "null", "7"]
    source.mkdir()
    Image.new("RGB", (60, 40)).save(source / "ä b's #1.png")
    labelme_of(source, "ä b's #1.png", (60, 40), {name: (3 + 5 * k, 4 + k / 3) for k, name in enumerate(names)})
    _, (points,) = converted(source, tmp_path / "out", form)
    assert points == {name: pytest.approx([3 + 5 * k, 4 + k / 3], abs=0.01) for k, name in enumerate(names)}
