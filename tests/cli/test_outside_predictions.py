"""``dife test`` of what another program predicted: the documented configuration on a small folder of photos."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning  # noqa: F401  (before a test captures the streams that its loggers keep)
import numpy as np
import pytest
import yaml
from PIL import Image

from dife_lightning.cli.main import main
from dife_lightning.errors import ConfigError
from dife_lightning.methods import OutsidePredictions

#: Photo -> left eye, right eye and nose as the viewer sees them, typed by hand; 400 x 300 px.
TRUTH = {
    "a.jpg": [(100, 100), (200, 104), (150, 160)],
    "b.jpg": [(220, 90), (300, 90), (262, 150)],
    "c.jpg": [(60, 150), (160, 140), (110, 210)],
    "sub/d.jpg": [(140, 80), (240, 90), (190, 140)],
}
NAMES = ("left_eye", "right_eye", "nose")
#: The side of a crop: 2.8 times the largest extent of the points, here that of the eyes (a: 100 px, ...).
SIDES = {"a.jpg": 280.0, "b.jpg": 224.0, "c.jpg": 280.0, "sub/d.jpg": 280.0}
SOURCE, SIZE = "s.jpg", 64


def write_photos(folder: Path, truth: dict[str, list[tuple[float, float]]], names: tuple[str, ...] = NAMES) -> None:
    lines = ["image," + ",".join(f"{name}_{axis}" for name in names for axis in "xy")]
    for image, points in truth.items():
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / image).exists():
            Image.new("RGB", (400, 300), (90, 90, 90)).save(folder / image)
        lines.append(",".join([image, *(f"{value}" for point in points for value in point)]))
    (folder / "points.csv").write_text("\n".join(lines) + "\n")


def documented() -> dict[str, Any]:
    """The configuration of docs/photographs.md."""
    text = (Path(__file__).parents[2] / "docs/photographs.md").read_text(encoding="utf-8")
    section = text.partition("## Predictions of other programs")[2]
    return dict(yaml.safe_load(section.partition("```yaml\n")[2].partition("```")[0]))


Run = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    write_photos(tmp_path / "photos", TRUTH)
    sources = {f"s{k}.jpg": [(100.0, 100.0), (200.0, 100.0), (150.0, 160.0)] for k in range(6)}
    write_photos(tmp_path / "sources", sources)
    return tmp_path


@pytest.fixture
def run(photos: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Test the file of predictions; returns the exit code, ``metrics.json`` and what was said."""

    def call(
        protocol: str = "3-point",
        count: int = 4,
        verb: str = "test",
        domains: Any = None,
        pictures: int = 0,
        **changes: Any,
    ) -> Any:
        domains = {
            "dog": {"dataset": "folder", "root": "sources"},
            "cat": {"dataset": "folder", "root": "photos"},
        } | (domains or {})
        arguments = {"domains": domains, "pairs": ["dog+cat"], "protocol": protocol, "count": count, "size": SIZE}
        data = {"class_path": "FacePairs", "init_args": arguments}
        scores = {"class_path": "KeypointTransfer", "init_args": {"pictures": pictures}}
        trainer = {"accelerator": "cpu", "logger": False, "callbacks": [scores]}
        (photos / "faces.yaml").write_text(yaml.safe_dump({"data": data, "trainer": trainer}))
        content = documented()
        content["model"]["init_args"] |= changes
        (photos / "other.yaml").write_text(yaml.safe_dump(content))
        capsys.readouterr()
        code = main([verb, "--config", "faces.yaml", "--config", "other.yaml", "--out", "out"])
        path = photos / "out/metrics.json"
        return code, json.loads(path.read_text()) if path.exists() else {}, capsys.readouterr().err

    return call


def errors(folder: Path) -> dict[str, list[float]]:
    """The errors of each photo, in px of a crop scaled to 70 px."""
    found: dict[str, list[float]] = {}
    with open(folder / "out/predictions.csv", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["pair_id"].partition(">")[2], []).append(float(row["error"]))
    return found


def write_csv(path: Path, points: dict[str, Any], names: tuple[str, ...] = NAMES, **columns: list[str]) -> None:
    lines = [",".join(["image", *columns, *(f"{name}_{axis}" for name in names for axis in "xy")])]
    for k, (image, own) in enumerate(points.items()):
        more = [values[k] for values in columns.values()]
        lines.append(",".join([image, *more, *("" if v is None else str(v) for point in own for v in point)]))
    path.write_text("\n".join(lines) + "\n")


def moved(x: float, y: float) -> dict[str, list[tuple[float, float]]]:
    return {image: [(a + x, b + y) for a, b in points] for image, points in TRUTH.items()}


def test_what_equals_the_annotations_has_no_error(run, photos):
    write_csv(photos / "predictions.csv", TRUTH)
    code, result, _ = run(pictures=2)
    assert code == 0
    assert len(list((photos / "out/pictures").iterdir())) == 1
    (row,) = result["rows"]
    assert (row["method"], row["pair"], row["pairs"]) == ("DeepLabCut", "dog+cat", 4)
    assert row["pixel_error"] == pytest.approx(0, abs=1e-4)


def test_a_shift_of_3_and_4_px_is_an_error_of_5_px_of_the_photo(run, photos):
    write_csv(photos / "predictions.csv", moved(3, 4))
    assert run()[0] == 0
    for image, found in errors(photos).items():
        assert found == pytest.approx([5 * 70 / SIDES[image]] * 3, abs=1e-3)


def test_the_row_stands_on_the_same_pairs_as_that_of_a_method(run, photos):
    write_csv(photos / "predictions.csv", TRUTH)
    ours = run()[1]["rows"][0]
    assert main(["test", "--config", "faces.yaml", "--model", "CopyXY", "--out", "copied"]) == 0
    theirs = json.loads((photos / "copied/metrics.json").read_text())["rows"][0]
    assert ours["list_hash"] == theirs["list_hash"]
    assert ours.keys() == theirs.keys()
    assert theirs["pixel_error"] > 1


def coco(points: dict[str, Any], names: tuple[str, ...] = NAMES, **image: Any) -> dict[str, Any]:
    """COCO annotations, one a photo; ``image`` is in each entry of images."""
    numbers = {name: 7 + k for k, name in enumerate(points)}
    return {
        "images": [{"id": number, "file_name": name, **image} for name, number in numbers.items()],
        "annotations": [
            {"id": 1 + k, "image_id": numbers[name], "category_id": 1, "keypoints": [v for p in own for v in (*p, 2)]}
            for k, (name, own) in enumerate(points.items())
        ],
        "categories": [{"id": 1, "name": "face", "keypoints": list(names)}],
    }


def dump(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def exact(photos: Path, images: Any = TRUTH) -> None:
    found = errors(photos)
    for image in images:
        assert found[image] == pytest.approx([0] * len(found[image]), abs=1e-3), image


def test_a_file_of_deeplabcut_with_likelihoods_further_parts_and_another_order(run, photos):
    rows = ["scorer,,,net,net,net,net,net,net,net,net,net,net,net,net",
            "bodyparts,,,tail,tail,tail,nose,nose,nose,right_eye,right_eye,right_eye,left_eye,left_eye,left_eye",
            "coords,,,x,y,likelihood,x,y,likelihood,x,y,likelihood,x,y,likelihood"]  # fmt: skip
    for image, ((lx, ly), (rx, ry), (nx, ny)) in TRUTH.items():
        name = image.rpartition("/")[2]
        rows.append(f"labeled-data,one,{name},1,2,0.1,{nx},{ny},0.9,{rx},{ry},0.9,{lx},{ly},0.2")
    (photos / "dlc.csv").write_text("\n".join(rows) + "\n")
    code, result, said = run(file="dlc.csv")
    assert code == 0
    exact(photos)
    assert "predictions (with a likelihood) taken as labels" in said
    assert "4 photos found under another name: labeled-data/one/a.jpg is a.jpg" in said
    facts = result["method_facts"]["files"]["cat"]
    assert (facts["reader"], facts["landmarks"]) == ("deeplabcut", ["tail", "nose", "right_eye", "left_eye"])
    assert len(facts["sha256"]) == 64


@pytest.mark.parametrize("flag", [0, 1, 0.93])
def test_a_results_file_takes_its_pictures_from_the_truth_and_its_flags_mean_nothing(run, photos, flag):
    truth = coco({**TRUTH, "unused.jpg": TRUTH["a.jpg"]}, width=400, height=300)
    dump(photos / "truth.json", truth)
    results = [
        {"image_id": entry["image_id"], "category_id": 1, "score": 0.5,
         "keypoints": [v if k % 3 < 2 else flag for k, v in enumerate(entry["keypoints"])]}
        for entry in reversed(truth["annotations"])
    ]  # fmt: skip
    dump(photos / "far/results.json", results)
    assert run(file="far/results.json", options={"truth": "truth.json"})[0] == 0
    exact(photos)
    dump(photos / "far/truth.json", truth)
    (photos / "truth.json").unlink()
    assert run(file="far/results.json", options={"truth": "truth.json"})[0] == 0  # beside the results
    code, _, said = run(file="far/results.json")
    assert code == 1
    assert "is a results file" in said.splitlines()[-1]


def test_what_predict_writes_is_scored_as_the_method_that_predicted_it(run, photos):
    """Every pair has its own prediction, found by the names of source and target."""
    write_csv(photos / "predictions.csv", TRUTH)
    run()
    for verb in ("predict", "test"):
        assert main([verb, "--config", "faces.yaml", "--model", "CopyXY", "--out", "copied"]) == 0
    assert run(file="copied/keypoints.json")[0] == 0
    for name in ("copied", "out"):
        with open(photos / name / "predictions.csv", newline="") as file:
            rows = [(row["pair_id"], row["landmark"], float(row["error"])) for row in csv.DictReader(file)]
        if name == "copied":
            copied = rows
    assert [row[:2] for row in rows] == [row[:2] for row in copied]
    assert [row[2] for row in rows] == pytest.approx([row[2] for row in copied], abs=1e-3)


def test_a_prediction_for_another_source_is_none(run, photos):
    pairs = json.loads((photos_list(run, photos)).read_text())["pairs"]
    source = {target: source for source, target in pairs}
    right = [source[image] for image in TRUTH]
    write_csv(photos / "predictions.csv", TRUTH, source=right)
    assert run()[0] == 0
    exact(photos)
    write_csv(photos / "predictions.csv", TRUTH, source=[*right[:3], right[0]])
    code, _, said = run()
    assert code == 1
    assert "1 target face without a prediction (sub/d.jpg)" in said


def photos_list(run: Run, photos: Path) -> Path:
    write_csv(photos / "predictions.csv", TRUTH)
    assert run()[0] == 0
    return photos / "out/lists/test_dog+cat.json"


def test_missing_predictions_stop_the_test_and_are_named(run, photos):
    partly = {image: TRUTH[image] for image in ("a.jpg", "b.jpg")}
    partly["b.jpg"] = [TRUTH["b.jpg"][0], (None, None), TRUTH["b.jpg"][2]]
    write_csv(photos / "predictions.csv", partly)
    code, _, said = run()
    assert code == 1
    (last,) = said.splitlines()[-1:]
    assert last.startswith("error: predictions.csv: 2 target faces without a prediction (")
    assert "c.jpg" in last
    assert "sub/d.jpg" in last
    assert "and 1 point of 1 face not predicted (b.jpg: right_eye); predict them too, or" in last
    assert last.endswith("missing: centre.")


def test_missing_predictions_count_at_the_centre_of_the_crop(run, photos):
    partly = {"a.jpg": [TRUTH["a.jpg"][0], (None, None), TRUTH["a.jpg"][2]], "b.jpg": TRUTH["b.jpg"]}
    write_csv(photos / "predictions.csv", partly)
    code, result, said = run(missing="centre")
    assert code == 0
    assert result["rows"][0]["points"] == 12
    found = errors(photos)
    # The centre of the crop of a is the mean of its points, (150, 364 / 3); its right eye is at (200, 104).
    assert found["a.jpg"][1] == pytest.approx((50**2 + (364 / 3 - 104) ** 2) ** 0.5 / 280 * 70, abs=1e-3)
    assert found["a.jpg"][0] == pytest.approx(0, abs=1e-3)
    # c: mean (110, 500 / 3); its left eye is at (60, 150).
    assert found["c.jpg"][0] == pytest.approx((50**2 + (500 / 3 - 150) ** 2) ** 0.5 / 280 * 70, abs=1e-3)
    assert "scored at the centre of the crop" in said
    facts = result["method_facts"]
    assert facts["missing"] == "centre"
    assert (facts["files"]["cat"]["faces_missing"], facts["files"]["cat"]["points_missing"]) == (2, 1)


def test_points_that_are_no_numbers_are_missing(run, photos):
    content = coco(TRUTH)
    content["annotations"][1]["keypoints"][3] = float("nan")
    content["annotations"][2]["keypoints"][8] = 0  # flag of the nose
    dump(photos / "p.json", content)
    code, _, said = run(file="p.json")
    assert code == 1
    assert "2 points of 2 faces not predicted" in said


@pytest.mark.parametrize("change", [
    lambda name: f"C:\\work\\cats\\{name}".replace("/", "\\"),
    lambda name: name.replace(".jpg", ".png"),
    lambda name: f"/mnt/data/{name.upper()}",
    lambda name: name.replace(".jpg", ""),
    lambda name: str(Path.cwd() / "photos" / name),
    lambda name: str(Path.cwd() / "copy" / name),
    lambda name: f"../photos/./{name}",
    lambda name: f"photos/{name}",
])  # fmt: skip
def test_photos_are_found_under_the_names_that_programs_write(run, photos, change):
    shutil.copytree(photos / "photos", photos / "copy")
    dump(photos / "p.json", coco({change(image): points for image, points in TRUTH.items()}))
    assert run(file="p.json")[0] == 0
    exact(photos)


@pytest.fixture
def twice(photos: Path) -> None:
    """Two photos of one name."""
    write_photos(photos / "photos", TRUTH | {"one/e.jpg": [(100, 90), (180, 90), (140, 150)],
                                             "two/e.jpg": [(200, 90), (280, 90), (240, 150)]})  # fmt: skip


def test_a_name_that_may_be_two_photos_is_an_error(run, photos, twice):
    """Also where one of the two is no target, since the file may mean the other one."""
    write_csv(photos / "predictions.csv", {**TRUTH, "x/e.jpg": TRUTH["a.jpg"]})
    code, _, said = run(count=6, missing="centre")
    assert code == 1
    assert "x/e.jpg may be 2 photos (one/e.jpg, two/e.jpg); write the folder of each photo" in said.splitlines()[-1]
    write_csv(photos / "predictions.csv", {**TRUTH, "x/one/e.jpg": [(100, 90), (180, 90), (140, 150)],
                                           "x\\two\\e.jpg": [(200, 90), (280, 90), (240, 150)]})  # fmt: skip
    assert run(count=6)[0] == 0
    exact(photos, errors(photos))
    assert len(errors(photos)) == 6


def test_a_photo_that_the_data_set_lists_by_a_link_is_found(run, photos):
    (photos / "photos/a.jpg").rename(photos / "real.jpg")
    (photos / "photos/a.jpg").symlink_to(photos / "real.jpg")
    write_csv(photos / "predictions.csv", TRUTH)
    assert run()[0] == 0
    exact(photos)


def test_two_names_of_one_photo_are_an_error(run, photos):
    write_csv(photos / "predictions.csv", {**TRUTH, "run2/a.jpg": TRUTH["b.jpg"]})
    code, _, said = run()
    assert code == 1
    assert "a.jpg and run2/a.jpg are both photo a.jpg; leave one" in said.splitlines()[-1]


FACES = {"a.jpg#1": [(100, 100), (140, 100), (120, 130)], "a.jpg#2": [(260, 100), (300, 104), (280, 130)]}


@pytest.fixture
def two_faces(photos: Path) -> None:
    lines = ["image,name,group," + ",".join(f"{name}_{axis}" for name in NAMES for axis in "xy")]
    lines += [f"a.jpg,{name},x," + ",".join(str(v) for p in points for v in p) for name, points in FACES.items()]
    (photos / "photos/points.csv").write_text("\n".join(lines) + "\n")


def test_of_several_predictions_the_nearest_is_taken(run, photos, two_faces):
    content = coco({"a.jpg": FACES["a.jpg#2"]})
    entry = content["annotations"][0]
    flat = [v for p in FACES["a.jpg#1"] for v in (*p, 2)]
    # An id, and so a name that the reader makes of it, means nothing: 1 is the second face.
    content["annotations"].append({**entry, "id": 2, "keypoints": flat})
    dump(photos / "p.json", content)
    code, result, said = run(file="p.json", count=2)
    assert code == 0
    exact(photos, FACES)
    assert "several predictions in the target photo of 2 pairs: 0 chosen by the name of the face, 2 as the" in said
    assert result["method_facts"]["files"]["cat"]["chosen_as_nearest"] == 2


def test_a_prediction_with_the_name_of_the_face_is_taken_wherever_it_lies(run, photos, two_faces):
    other = {"a.jpg#1": FACES["a.jpg#2"], "a.jpg#2": FACES["a.jpg#1"]}
    content = coco({"a.jpg": other["a.jpg#1"]})
    flat = [v for p in other["a.jpg#2"] for v in (*p, 2)]
    content["annotations"].append({**content["annotations"][0], "id": 2, "keypoints": flat, "face": "a.jpg#2"})
    content["annotations"][0]["face"] = "a.jpg#1"
    dump(photos / "p.json", content)
    assert run(file="p.json", count=2)[0] == 0
    # Each nose is 160 px of the photo from the other; the side of both crops is 2.8 x 40 px.
    assert [found[2] for found in errors(photos).values()] == pytest.approx([160 * 70 / 112] * 2, abs=1e-2)
    content["annotations"].append({**content["annotations"][0], "id": 3})
    dump(photos / "p.json", content)
    code, _, said = run(file="p.json", count=2)
    assert code == 1
    assert "annotation 3: face 'a.jpg#1' is predicted twice (first: " in said.splitlines()[-1]


def test_one_prediction_for_two_faces_is_said(run, photos, two_faces):
    write_csv(photos / "predictions.csv", {"a.jpg": FACES["a.jpg#1"]})
    code, _, said = run(count=2)
    assert code == 0
    assert "1 prediction taken for several target faces of one photo" in said


def turned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points of a shown photo, 300 x 400, in the stored one, 400 x 300 (EXIF orientation 6: turned to the right)."""
    return [(y, 299 - x) for x, y in points]


@pytest.fixture
def upright(photos: Path) -> dict[str, list[tuple[float, float]]]:
    """Photos that their EXIF header turns, with annotations of the photo as viewers show it."""
    shown = {image: [(x - 50, y + 20) for x, y in points] for image, points in TRUTH.items()}
    header = Image.Exif()
    header[0x0112] = 6
    for image in shown:
        Image.new("RGB", (400, 300), (90, 90, 90)).save(photos / "photos" / image, exif=header)
    write_photos(photos / "photos", shown)
    return shown


def test_points_of_turned_photos(run, photos, upright):
    write_csv(photos / "predictions.csv", upright)
    code, _, said = run()
    assert code == 0
    exact(photos)
    assert "predictions.csv: EXIF headers turn 4 pictures" in said
    assert "as viewers show it (options: {points_of: stored} if the tool that marked them ignores EXIF)" in said
    write_csv(photos / "predictions.csv", {image: turned(points) for image, points in upright.items()})
    assert run(options={"points_of": "stored"})[0] == 0
    exact(photos)
    shifted = {image: [(x + 4, y - 3) for x, y in turned(points)] for image, points in upright.items()}
    write_csv(photos / "predictions.csv", shifted)
    assert run(options={"points_of": "stored"})[0] == 0
    for image, found in errors(photos).items():
        assert found == pytest.approx([5 * 70 / SIDES[image]] * 3, abs=1e-3)


def test_the_stated_size_tells_which_photo_the_points_are_of(run, photos, upright):
    dump(photos / "p.json", coco({image: turned(points) for image, points in upright.items()}, width=400, height=300))
    assert run(file="p.json")[0] == 0
    exact(photos)
    dump(photos / "p.json", coco(upright, width=300, height=400))
    assert run(file="p.json")[0] == 0
    exact(photos)
    dump(photos / "p.json", coco(upright, width=150, height=200))
    code, _, said = run(file="p.json")
    assert code == 1
    assert "the annotation is of 150 x 200 pixels; expected points in pixels of the original photo." in said


def test_own_names_are_matched_in_any_order(run, photos):
    names = ("eye_l", "eye_r", "snout")
    for folder, truth in (
        ("photos", TRUTH),
        ("sources", {f"s{k}.jpg": [(100.0, 100.0), (200.0, 100.0), (150.0, 160.0)] for k in range(6)}),
    ):
        write_photos(photos / folder, truth, names)
    back = {image: points[::-1] for image, points in TRUTH.items()}
    write_csv(photos / "predictions.csv", back, ("Snout", "EyeR", "left-eye"))
    assert run(protocol="common")[0] == 0
    exact(photos)
    write_csv(photos / "predictions.csv", back, ("muzzle", "EyeR", "left-eye"))
    code, _, said = run(protocol="common")
    assert code == 1
    assert "no point snout, which is scored (its points: muzzle, EyeR, left-eye); name them as" in said.splitlines()[-1]
    (photos / "mine.yaml").write_text("same_as: {muzzle: snout}\n")
    assert run(protocol="common", options={"scheme": "mine.yaml"})[0] == 0
    exact(photos)


def test_points_without_names_are_those_of_the_data_set_in_its_order(run, photos):
    write_csv(photos / "predictions.csv", TRUTH, ("0", "1", "2"))
    numbered = (photos / "predictions.csv").read_text().replace("0_x,0_y,1_x,1_y,2_x,2_y", "x0,y0,x1,y1,x2,y2")
    (photos / "predictions.csv").write_text(numbered)
    code, _, said = run()
    assert code == 0
    exact(photos)
    assert "the 3 points have no names, and are taken in the order of scheme 'own-3' of the data set" in said
    (photos / "predictions.csv").write_text("image,x0,y0,x1,y1\na.jpg,1,2,3,4\n")
    code, _, said = run()
    assert code == 1
    assert "has 2 points without names, scheme 'own-3' of the data set has 3" in said.splitlines()[-1]


def test_left_means_what_it_means_in_the_data_set(run, photos):
    """The data set names the animal's own left, as a program that learnt from it does."""
    (photos / "own.yaml").write_text("names: [left_eye, right_eye, nose]\nleft: subject\n")
    write_photos(photos / "photos", {image: [b, a, nose] for image, (a, b, nose) in TRUTH.items()})
    cat = {"dataset": "folder", "root": "photos", "options": {"scheme": "own.yaml"}}
    write_csv(photos / "predictions.csv", {image: [b, a, nose] for image, (a, b, nose) in TRUTH.items()})
    code, _, said = run(domains={"cat": cat})
    assert code == 0
    exact(photos)
    assert "predictions in predictions.csv: scheme 'predictions', 3 points; mirror pairs: left_eye/right_eye" in said
    assert "left is taken as the face's own (names mean what they mean in the data set; options:" in said
    assert "exchanged" not in said
    (photos / "viewer.yaml").write_text("left: viewer\n")
    code, _, said = run(domains={"cat": cat}, options={"scheme": "viewer.yaml"})
    assert code == 0
    assert "left and right are exchanged in 4 of 4 faces, compared with the annotations" in said


def test_each_target_domain_may_have_its_file_and_one_file_for_both_must_be_clear(run, photos, capsys):
    write_photos(photos / "more", {"a.jpg": [(100, 100), (200, 104), (150, 160)], "f.jpg": TRUTH["b.jpg"]})
    write_csv(photos / "predictions.csv", {**TRUTH, "f.jpg": TRUTH["b.jpg"]})
    domains = {"fox": {"dataset": "folder", "root": "more"}}

    def both(**changes: Any) -> Any:
        run(domains=domains, **changes)
        content = yaml.safe_load((photos / "faces.yaml").read_text())
        content["data"]["init_args"] |= {"pairs": ["dog+cat", "dog+fox"], "count": 2}
        (photos / "faces.yaml").write_text(yaml.safe_dump(content))
        capsys.readouterr()
        return main(["test", "--config", "faces.yaml", "--config", "other.yaml", "--out", "out"])

    assert both(file={"cat": "predictions.csv", "fox": "predictions.csv"}) == 0
    exact(photos, errors(photos))
    assert both(file={"cat": "predictions.csv"}) == 1
    assert "no file for the target domain 'fox'" in capsys.readouterr().err
    assert both() == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert "more/a.jpg, " in told
    assert "photos/a.jpg, of two domains; give each its own file: file: {DOMAIN: FILE, ...}." in told


def test_a_folder_of_labelme_files_is_read(run, photos):
    for image, points in TRUTH.items():
        shapes = [
            {"label": name, "points": [list(point)], "shape_type": "point"}
            for name, point in zip(NAMES, points, strict=True)
        ]
        content = {
            "version": "5",
            "shapes": shapes,
            "imagePath": Path(image).name,
            "imageHeight": 300,
            "imageWidth": 400,
        }
        dump((photos / "found" / image).with_suffix(".json"), content)
    assert run(file="found")[0] == 0
    exact(photos)


@pytest.mark.parametrize(("changes", "words"), [
    ({"file": "nowhere.csv"}, "no file or folder nowhere.csv"),
    ({"file": "nowhere.csv", "reader": "folder"}, "no file or folder nowhere.csv"),
    ({"file": "empty.json"}, "empty.json"),
    ({"reader": "foldr"}, "Did you mean 'folder'"),
    ({"reader": "world"}, "is rendered"),
    ({"options": {"sceme": "x"}}, "unknown option 'sceme'. Did you mean 'scheme'"),
    ({"options": {"truth": "x.json"}}, "unknown option 'truth'"),
    ({"missing": "never"}, "missing"),
])  # fmt: skip
def test_mistakes_become_one_line(run, photos, changes, words):
    write_csv(photos / "predictions.csv", TRUTH)
    (photos / "empty.json").write_text("")
    code, _, said = run(**changes)
    assert code in (1, 2)
    last = said.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last


def test_a_broken_row_is_an_error_or_is_left_out_with_a_count(run, photos):
    write_csv(photos / "predictions.csv", TRUTH)
    with open(photos / "predictions.csv", "a") as file:
        file.write("zz.jpg,1,2,3\n")
    code, _, said = run()
    assert code == 1
    assert "row 6: 4 cells, expected 7" in said
    code, _, said = run(options={"skip_broken": True})
    assert code == 0
    assert "1 face skipped, the first:" in said


def test_predictions_are_written_as_those_of_a_method(run, photos):
    write_csv(photos / "predictions.csv", moved(1, 2))
    assert run(verb="predict")[0] == 0
    content = json.loads((photos / "out/keypoints.json").read_text())
    names = {entry["id"]: entry["file_name"] for entry in content["images"]}
    for entry in content["annotations"]:
        xy = [entry["keypoints"][k + axis] for k in (0, 3, 6) for axis in (0, 1)]
        wanted = [(x + 1, y + 2) for x, y in TRUTH[names[entry["image_id"]]]]
        assert xy == pytest.approx([v for p in wanted for v in p], abs=1e-3)


def test_eyes_that_a_program_has_as_points_are_scored_against_the_means_of_their_corners(run, photos):
    nine = (
        *("left_eye_outer", "left_eye_inner", "right_eye_inner", "right_eye_outer", "nose"),
        *("mouth_left", "mouth_right", "lip_upper", "lip_lower"),
    )
    mouth = [(130.0, 230.0), (170.0, 230.0), (150.0, 225.0), (150.0, 236.0)]
    corners = {
        image: [(lx - 9, ly + 2), (lx + 9, ly - 2), (rx - 7, ry), (rx + 7, ry), nose, *mouth]
        for image, ((lx, ly), (rx, ry), nose) in TRUTH.items()
    }
    write_photos(photos / "photos", corners, nine)
    cat = {"dataset": "folder", "root": "photos", "options": {"scheme": "animalweb-9"}}
    for points, names in ((TRUTH, NAMES), (corners, nine)):
        write_csv(photos / "predictions.csv", points, names)
        assert run(domains={"cat": cat})[0] == 0
        exact(photos)
    write_csv(photos / "predictions.csv", TRUTH)
    code, _, said = run(
        protocol="9-point",
        domains={"cat": cat, "dog": {**cat, "root": "photos"}},
        count=2,
        options={"scheme": "eyes-and-nose"},
    )
    assert code == 1
    assert "no point left_eye_outer, left_eye_inner, right_eye_inner and 5 more, which is scored" in said


def test_domains_may_have_their_own_points_in_another_order(run, photos):
    """``common`` has the names of the first domain; those of the targets and the program are others."""
    sources = {f"s{k}.jpg": [(150.0, 160.0), (1.0, 2.0), (200.0, 100.0), (100.0, 100.0)] for k in range(6)}
    write_photos(photos / "sources", sources, ("tip", "tail", "eyeR", "eyeL"))
    (photos / "dog.yaml").write_text("same_as: {tip: snout}\n")
    write_photos(photos / "photos", TRUTH, ("l_eye", "r_eye", "snout"))
    dog = {"dataset": "folder", "root": "sources", "options": {"scheme": "dog.yaml"}}
    write_csv(photos / "predictions.csv", {k: (c, b, a) for k, (a, b, c) in TRUTH.items()}, ("snout", "r_eye", "l_eye"))
    code, result, _ = run(protocol="common", domains={"dog": dog})
    assert code == 0
    assert result["rows"][0]["points"] == 12
    exact(photos)


def test_photos_in_a_folder_of_their_own_and_pairs_within_a_domain(run, photos):
    dump(photos / "set/annotations.json", coco(TRUTH, width=400, height=300))
    shutil.copytree(photos / "photos", photos / "set/images")
    cat = {"dataset": "coco-keypoints", "root": "set", "options": {"file": "annotations.json", "images": "images"}}
    dump(photos / "p.json", coco({f"images/{image}": points for image, points in TRUTH.items()}, width=400, height=300))
    run(file="p.json", domains={"cat": cat})
    content = yaml.safe_load((photos / "faces.yaml").read_text())
    content["data"]["init_args"] |= {"pairs": ["cat+cat"], "count": 2}
    (photos / "faces.yaml").write_text(yaml.safe_dump(content))
    assert main(["test", "--config", "faces.yaml", "--config", "other.yaml", "--out", "out"]) == 0
    assert len(errors(photos)) == 2
    exact(photos, errors(photos))


def test_it_learns_nothing_and_knows_no_other_images(run, photos, tmp_path):
    write_csv(photos / "predictions.csv", TRUTH)
    method = OutsidePredictions("predictions.csv")
    image = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(ConfigError, match="has only the points of its file: score it with `dife test`"):
        method.transfer((image, image), [[1, 2]])
    with pytest.raises(ConfigError, match="has nothing to learn"):
        method.setup("fit")
