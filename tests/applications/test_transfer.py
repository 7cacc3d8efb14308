"""Landmarks carried to photos: equal to the transfer of the tables, voted by several sources, and resumed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import dife_lightning as dl
from dife_lightning.applications import LandmarkTransfer, SourceFace
from dife_lightning.applications.finding import load_finder
from dife_lightning.applications.photo_job import Journal, carry_to_photos, found_faces
from dife_lightning.applications.photo_lists import target_photos
from dife_lightning.cli.main import main
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.schemes import to_protocol
from dife_lightning.geometry.crops import Square, crop_image
from dife_lightning.pretrained.encoders import load_encoder
from dife_lightning.world.dataset import WorldFaces

NAMES = ("left_eye", "right_eye", "nose")


class Colors:
    """An embedder that knows a place by its colour."""

    name, module = "colors", torch.nn.Identity()

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        angles = torch.cat([images[:, :2] * torch.pi * k for k in (0.5, 1, 2, 4, 8)], dim=1)
        return torch.nn.functional.normalize(torch.cat((angles.sin(), angles.cos()), dim=1), dim=1)


def smooth_picture(side: int = 64) -> np.ndarray:
    """Every place has its own colour."""
    y, x = np.mgrid[:side, :side] * (255 / (side - 1))
    return np.stack((x, y, 255 - (x + y) / 2), axis=-1).astype(np.uint8)


def moved(photo: np.ndarray) -> np.ndarray:
    """Return the photo enlarged to 1.5 times its side, 40 px to the right and 10 px down."""
    larger = cv2.resize(photo, None, fx=1.5, fy=1.5)
    return cv2.copyMakeBorder(larger, 10, 20, 40, 10, cv2.BORDER_REPLICATE)


POINTS = np.array([[20, 24], [44, 22], [33, 40]], np.float32)


def world_face(species: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a drawn face, and its eyes and nose."""
    face = WorldFaces(species, "test", 3, size=96)[index]
    return face["image"], to_protocol(face["points"], face["visible"], WorldFaces.scheme, "3-point")[0]


def carrier() -> LandmarkTransfer:
    source = SourceFace(smooth_picture(), POINTS, box=np.array([-0.5, -0.5, 63.5, 63.5], np.float32))
    return LandmarkTransfer([source], ["a", "b", "c"], Colors(), size=64)


def test_points_are_carried_where_the_picture_was_moved():
    carry = LandmarkTransfer(
        [SourceFace(smooth_picture(), POINTS, box=np.array([-0.5, -0.5, 63.5, 63.5]))],
        ["a", "b", "c"],
        Colors(),
        size=64,
    )
    found = carry(moved(smooth_picture()), (40, 10, 136, 106))
    np.testing.assert_allclose(found.points, POINTS * 1.5 + [40, 10], atol=2.5)
    assert found.matched.all()
    assert (found.confidence > 0.98).all()


def test_one_source_carries_as_the_tables_do():
    """``Method.transfer`` is what `dife test` scores; both see the same crops."""
    photos, points = zip(*(world_face(species, k) for species, k in (("human", 0), ("dog", 1))), strict=True)
    squares = [Square(47.5, 47.5, 96.0), Square(50, 46, 80.0)]
    crops = [crop_image(photo, square, 64, "border") for photo, square in zip(photos, squares, strict=True)]
    source = SourceFace(photos[0], points[0], box=np.array([-0.5, -0.5, 95.5, 95.5], np.float32))
    carried = LandmarkTransfer([source], ["one", "two", "three"])(photos[1], (10, 6, 90, 86))
    expected = dl.load("photos/dife").transfer((crops[0], crops[1]), squares[0].to_crop(points[0], 64), window=0.25)
    there = carried.face.to_crop(carried.points)
    np.testing.assert_allclose(there, expected, atol=1e-3)


def test_sources_vote_and_a_wrong_one_is_outvoted():
    """Two sources are right, a third one has its points elsewhere; each landmark is taken where it is labelled."""
    photo, box = smooth_picture(), np.array([-0.5, -0.5, 63.5, 63.5], np.float32)
    right = [SourceFace(photo, POINTS, np.array([True, True, k == 1]), box) for k in range(2)]
    carry = LandmarkTransfer(right, ["a", "b", "c"], Colors(), size=64)
    np.testing.assert_allclose(carry(photo, "whole").points, POINTS, atol=1.5)
    lacking = LandmarkTransfer(right[:1], ["a", "b", "c"], Colors(), size=64)(photo, "whole")
    assert np.isnan(lacking.points[2]).all()
    assert lacking.matched.tolist() == [True, True, False]


def test_a_place_that_is_not_in_the_target_is_not_matched():
    photo, box = smooth_picture(), np.array([-0.5, -0.5, 63.5, 63.5], np.float32)
    carry = LandmarkTransfer([SourceFace(photo, POINTS, box=box)], ["a", "b", "c"], Colors(), size=64)
    half = photo.copy()
    half[:, 38:] = half[:, 37:38]  # the second point's colours are gone
    found = carry(half, "whole")
    assert found.matched.tolist() == [True, False, True]
    assert found.cycle_error[1] > 0.06 > found.cycle_error[0]


@pytest.mark.parametrize(
    ("sources", "error", "said"),
    [
        ([], ConfigError, "0 annotated faces"),
        ([SourceFace(smooth_picture(), POINTS[:2])], ConfigError, r"shape \(2, 2\); expected \(3, 2\)"),
        ([SourceFace(smooth_picture(), POINTS + 400, name="x.png")], ConfigError, "x.png: point .* is outside"),
        ([SourceFace(smooth_picture(), POINTS * 0 + 9)], DataError, "one place"),
        ([SourceFace(smooth_picture(), POINTS, np.zeros(3, bool))], ConfigError, "no labelled point"),
    ],
)
def test_wrong_sources_are_refused(sources, error, said):
    with pytest.raises(error, match=said):
        LandmarkTransfer(sources, ["a", "b", "c"], Colors(), size=64)


@pytest.fixture
def photos(tmp_path) -> Path:
    """Return a folder of three photos, one of them in a folder below, and a damaged file."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for name in ("a.png", "b.png", "below/c.png"):
        Image.fromarray(moved(smooth_picture())).save(folder / name)
    (folder / "0damaged.png").write_bytes(b"no picture")
    return folder


def test_an_interrupted_job_goes_on(photos, tmp_path):
    """A second run reads the photo that was changed, the damaged one and the one whose line was cut off."""
    carry, path = carrier(), tmp_path / "out" / "progress.jsonl"
    _, targets = target_photos([photos], "whole")
    journal = Journal(path, {"model": 1})
    carry_to_photos(carry, targets, journal)
    assert [target.name for target in targets if journal.passed_over(target)] == ["0damaged.png"]
    first = {face.name: face.points for face in found_faces(journal, targets, 64)}
    assert sorted(first) == ["a.png", "b.png", "below/c.png"]

    path.write_text(path.read_text()[:-20])
    Image.fromarray(smooth_picture()).save(photos / "a.png")
    counts: list[int] = []
    again = Journal(path, {"model": 1})
    carry_to_photos(carry, targets, again, done=counts.append)
    assert sum(counts) == 4
    assert counts[0] == 1
    second = {face.name: face.points for face in found_faces(again, targets, 64)}
    np.testing.assert_array_equal(second["b.png"], first["b.png"])
    assert np.abs(second["a.png"] - POINTS).max() < 20 < np.abs(second["a.png"] - first["a.png"]).max()
    with pytest.raises(ConfigError, match="other photos, sources or options; choose another --out, or add --overw"):
        Journal(path, {"model": 2})
    assert not Journal(path, {"model": 2}, overwrite=True).has(targets[0])
    assert Journal(path, {"model": 3}).path == path  # nothing was found with these settings, so nothing is lost


@pytest.mark.parametrize("text", ['{"mine": 1}', "my notes\n", '{"settings": {}}\n{"photo": "a.png"}\n'])
def test_a_file_that_is_no_record_is_not_replaced(tmp_path, text):
    path = tmp_path / "progress.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match="add --overwrite"):
        Journal(path, {})
    assert path.read_text() == text


def test_a_point_far_from_the_face_changes_no_other(capsys):
    """A square that held all four points would show the face half as large."""
    large, box = np.pad(smooth_picture(), ((0, 128), (0, 128), (0, 0)), mode="edge"), np.array([-0.5, -0.5, 63.5, 63.5])
    names, target = ["a", "b", "c", "hand"], (moved(smooth_picture()), (40, 10, 136, 106))
    alone = LandmarkTransfer([SourceFace(large, POINTS, box=box)], names[:3], Colors(), size=64)(*target)
    four = np.concatenate((POINTS, [[150, 160]])).astype(np.float32)
    found = LandmarkTransfer([SourceFace(large, four, box=box, name="x.png")], names, Colors(), size=64)(*target)
    np.testing.assert_array_equal(found.points[:3], alone.points)
    assert np.isnan(found.points[3]).all()
    assert "1 point far from the face, and not carried: hand of x.png" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"all points are far from its face \(box\); give the box"):
        LandmarkTransfer([SourceFace(large, four[3:], box=box)], names[3:], Colors(), size=64)


def run(*words: object) -> int:
    return main(["transfer", *map(str, words)])


def test_the_command_writes_points_in_pixels_of_each_photo(tmp_path, capsys, monkeypatch):
    """Drawn faces of two species: eyes and nose lie within a tenth of the face of their true places."""
    monkeypatch.chdir(tmp_path)
    Path("dogs").mkdir()
    person, points = world_face("human", 0)
    Image.fromarray(person).save("person.png")
    Path("points.csv").write_text(
        "name,x,y\n" + "".join(f"{n},{x},{y}\n" for n, (x, y) in zip(NAMES, points, strict=True))
    )
    truth = {}
    for k in range(2):
        dog, truth[f"{k}.png"] = world_face("dog", k)
        Image.fromarray(dog).save(f"dogs/{k}.png")
    Path("dogs/broken.png").write_text("no picture")
    assert run("person.png", "dogs", "--points", "points.csv", "--faces", "whole", "--to", "label-studio") == 0
    said = capsys.readouterr()
    assert "2 faces" in said.out
    assert "1 photo passed over" in said.out
    assert "passed over: dogs/broken.png is damaged" in said.err
    with open("transfer/landmarks.csv", newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    for name, expected in truth.items():
        found = [[float(rows[name][f"{point}_{axis}"]) for axis in "xy"] for point in NAMES]
        assert np.abs(np.array(found) - expected).mean() < 10
    document = json.loads(Path("transfer/landmarks.json").read_text())
    assert document["categories"][0]["keypoints"] == list(NAMES)
    assert len(document["annotations"][0]["keypoint_cycle_errors"]) == 3
    assert {path.name for path in Path("transfer/pictures").iterdir()} == {"0.png.jpg", "1.png.jpg"}
    assert list(Path("transfer/label-studio").rglob("*.json"))

    flags = np.array([one["keypoints"][2::3] for one in document["annotations"]])
    again = dl.load_dataset("folder", "dogs", file=str(Path("transfer/landmarks.csv").absolute()))
    assert [[int(rows[name][f"{point}_v"]) for point in NAMES] for name in sorted(rows)] == (flags == 2).tolist()
    np.testing.assert_array_equal([face.visible for face in again.annotations], flags == 2)
    assert run("transfer/landmarks.csv", "person.png", "--images", "dogs", "--out", "back", "--pictures", 0) == 0
    assert len(again) == 2
    assert not Path("back/pictures").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["points.csv"], "the following arguments are required: targets"),
        (["photo.png", "photo.png"], "photo.png is a photo; add --points FILE"),
        (["photo.png", "nowhere", "--points", "points.csv"], "no photo or folder 'nowhere'"),
        (["photo.png", "photo.png", "--points", "wrong.csv"], "a point that is no pair of numbers; expected CSV"),
        (["photo.png", "photo.png", "--points", "none.csv"], "none.csv"),
        (["photo.png", "photo.png", "--points", "y.csv"], "y.csv: columns x, y; expected CSV with the columns name"),
        (["photo.png", "photo.png", "--points", "wide.csv"], "place of SOURCE: dife transfer wide.csv PHOTOS"),
        (["photo.png", "photo.png", "--points", "points.csv", "--left", "subject"], "--left is no option"),
        (["photo.png", "photo.png", "--points", "points.csv", "--to", "excel"], "unknown form"),
        (["photo.png", "photo.png", "--points", "points.csv", "--faces", "boxes.csv"], "boxes of faces are for"),
        (["photo.png", "photo.png", "--points", "points.csv", "--max_cycle", "0"], "max_cycle is 0"),
        (["photo.png", "tiny.png", "--points", "points.csv"], "no landmarks: 1 photo passed over"),
        (["lost.png", "photo.png", "--points", "points.csv"], "no image lost.png"),
        (["tiny.png", "photo.png", "--points", "points.csv"], "tiny.png is damaged"),
        (["photo.png", "photo.png", "--points", "points.csv", "--pictures", "-1"], "pictures is -1"),
        (["photo.png", "photo.png", "--points", "far.json"], r"point (900, 10) is outside of the photo"),
        (["photo.png", "photo.png", "--points", "share.json"], "share.json: all points lie between 0 and 1"),
        (["photo.png", "photo.png", "--points", "twice.json"], "twice.json: 'nose' is there twice in one object"),
        (["photo.png", "photo.png", "--points", "labelme.json"], "place of SOURCE: dife transfer labelme.json PHOTOS"),
        (["photo.png", "photo.png", "--points", "points.csv", "--out", "y.csv"], "y.csv is a file; expected a folder"),
        (["photo.png", "photo.png", "--points", "points.csv", "--out", "y.csv/a"], "y.csv is a file; expected a fold"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(world_face("human", 0)[0]).save("photo.png")
    Path("tiny.png").write_bytes(b"")
    Path("points.csv").write_text("name,x,y\nleft_eye,30,40\nright_eye,60,40\nnose,45,60\n")
    Path("wrong.csv").write_text("name,x,y\nleft_eye,30,high\n")
    Path("y.csv").write_text("x,y\n30,40\n")
    Path("wide.csv").write_text("image,left_eye_x,left_eye_y\nphoto.png,30,40\n")
    Path("far.json").write_text('{"left_eye": [30, 40], "nose": [900, 10]}')
    Path("share.json").write_text('{"left_eye": [0.3, 0.4], "nose": [0.5, 0.6]}')
    Path("twice.json").write_text('{"nose": [30, 40], "nose": [31, 41]}')
    Path("labelme.json").write_text('{"version": "5.0", "shapes": [], "imagePath": "photo.png"}')
    assert run(*words) != 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert said in last


def test_autocast_of_the_caller_changes_nothing_but_the_network():
    expected = carrier()(moved(smooth_picture()), (40, 10, 136, 106))
    with torch.autocast("cpu", torch.bfloat16):
        found = carrier()(moved(smooth_picture()), (40, 10, 136, 106))
        square, score = load_finder("photos/dife", load_encoder("photos/dife"), 64).find([moved(smooth_picture())])[0]
    np.testing.assert_allclose(found.points, expected.points, atol=0.5)
    assert square is not None
    assert -1 <= score <= 1


def test_an_interrupted_command_says_so_and_goes_on(photos, tmp_path, monkeypatch, capsys):
    Image.fromarray(smooth_picture()).save(tmp_path / "source.png")
    (tmp_path / "points.csv").write_text("name,x,y\nnose,33,40\n")
    words = (tmp_path / "source.png", photos, "--points", tmp_path / "points.csv", "--faces", "whole")
    words = (*words, "--out", tmp_path / "out")
    add = Journal.add

    def interrupted(journal: Journal, entries: list) -> None:
        add(journal, entries[:2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", interrupted)
        assert run(*words) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted"
    assert len((tmp_path / "out/progress.jsonl").read_text().splitlines()) == 3
    assert not (tmp_path / "out/landmarks.csv").exists()
    assert run(*words) == 0
    with (tmp_path / "out/landmarks.csv").open() as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["a.png", "b.png", "below/c.png"]


@pytest.fixture
def job(photos, tmp_path, monkeypatch) -> list[str]:
    """Return the words of a command whose landmarks are carried to ``photos``, of an embedder of colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dife_lightning.applications.face_embedder._loaded", lambda model: Colors())
    (photos / "0damaged.png").unlink()
    Image.fromarray(smooth_picture()).save("source.png")
    Path("points.csv").write_text("name,x,y\na,20,24\nb,44,22\nc,33,40\n")
    return ["source.png", "photos", "--points", "points.csv", "--size", "64", "--faces", "whole", "--pictures", "2"]


def listed(folder: str = "transfer") -> list[str]:
    with open(f"{folder}/landmarks.csv", newline="") as file:
        return [row["name"] for row in csv.DictReader(file)]


def test_results_of_other_photos_and_corrections_are_not_replaced(job, capsys):
    assert run(*job, "--to", "labelme") == 0
    Path("others").mkdir()
    Image.fromarray(smooth_picture()).save("others/d.png")
    others = [word if word != "photos" else "others" for word in job]
    assert run(*others) == 1
    assert "transfer holds landmarks of other photos, sources" in capsys.readouterr().err
    assert listed() == ["a.png", "b.png", "below/c.png"]

    corrected = Path("transfer/labelme/a.json")
    corrected.write_text(corrected.read_text().replace('"points"', ' "points"'))
    assert run(*job, "--to", "labelme") == 1
    assert "labelme/a.json changed since written; move what you corrected" in capsys.readouterr().err
    assert run(*others, "--overwrite") == 0
    assert listed() == ["d.png"]
    assert [path.name for path in Path("transfer/pictures").rglob("*.jpg")] == ["d.png.jpg"]


def test_more_photos_of_the_folder_join_those_that_are_done(job, capsys):
    first = [word if word != "photos" else "photos/b.png" for word in job]
    assert run(*first) == 0
    assert run(*job[:1], "photos/a.png", *job[2:]) == 0
    assert listed() == ["a.png", "b.png"]
    assert "1 photo of earlier commands stay in the results" in capsys.readouterr().err


def test_results_inside_the_folder_are_no_photos(job, capsys):
    words = [*job, "--out", "photos/carried"]
    assert run(*words) == run(*words) == 0
    assert listed("photos/carried") == ["a.png", "b.png", "below/c.png"]
    assert "2 pictures in" in capsys.readouterr().err
    assert run(*job, "--out", "photos") == 1
    assert "photos is the folder of the photos; choose another --out" in capsys.readouterr().err


def test_faces_keep_the_numbers_of_their_boxes(job, capsys):
    """The first box is outside of the photo; one photo has no box."""
    Path("boxes.csv").write_text(
        "image,box_x0,box_y0,box_x1,box_y1\na.png,9000,0,9100,90\na.png,40,10,136,106\na.png,30,10,126,106\n"
        "b.png,0,0,1,500\nb.png,9000,9000,9100,9100\n"
    )
    words = [word if word != "whole" else "boxes.csv" for word in job]
    assert run(*words) == 0
    said = capsys.readouterr()
    assert "note: 1 photo without a box, passed over: below/c.png" in said.err
    assert "passed over: a.png#1: no crop: outside the picture" in said.err
    assert "passed over: b.png#2: no crop: outside the picture" in said.err
    assert "0 photos passed over" in said.out
    with open("transfer/landmarks.csv", newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["a.png#2", "a.png#3", "b.png#1"]
    box = [float(rows["a.png#2"][name]) for name in ("box_x0", "box_y0", "box_x1", "box_y1")]
    np.testing.assert_allclose(box, [40, 10, 136, 106], atol=0.02)


def test_of_too_many_annotated_faces_some_are_taken(job, capsys, monkeypatch):
    monkeypatch.setattr("dife_lightning.applications.landmark_transfer.MOST", 2)
    rows = [
        f"{name},{' '.join(map(str, POINTS.ravel()))}".replace(" ", ",") for name in ("a.png", "b.png", "below/c.png")
    ]
    Path("labels.csv").write_text("image,a_x,a_y,b_x,b_y,c_x,c_y\n" + "\n".join(rows) + "\n")
    assert run("labels.csv", "source.png", "--images", "photos", "--size", 64, "--faces", "whole") == 0
    assert "labels.csv: 3 annotated faces; 2 of them, evenly spread, are used" in capsys.readouterr().err


def test_an_interruption_while_results_are_written_is_no_change_by_hand(job, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    assert run(*job) == 0
    Image.fromarray(smooth_picture()).save("photos/d.png")
    with monkeypatch.context() as patch:
        patch.setattr("dife_lightning.callbacks._found_faces.write_table", interrupted)
        assert run(*job) == 130
    assert run(*job) == 0
    assert listed() == ["a.png", "b.png", "below/c.png", "d.png"]


def test_a_list_of_results_names_no_file_elsewhere(job, tmp_path):
    """``transfer/written.json`` may be from somebody else."""
    (tmp_path / "mine.txt").write_text("mine")
    Path("transfer").mkdir()
    Path("transfer/written.json").write_text(json.dumps({"../mine.txt": "0", str(tmp_path / "points.csv"): "1"}))
    assert run(*job) == run(*job, "--overwrite") == 0
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert (tmp_path / "points.csv").is_file()
