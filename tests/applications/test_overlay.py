"""Objects on faces: at the known place, refused without support, steady in videos."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dife_lightning.applications.overlay import OBJECTS, Overlay, drawn_reference
from dife_lightning.cli.main import main
from dife_lightning.errors import ConfigError
from dife_lightning.world.dataset import WorldFaces
from tests.applications.test_transfer import Colors
from tests.applications.test_transfer import smooth_picture as small_picture


def smooth_picture(side: int = 96) -> np.ndarray:
    return small_picture(side)


def red_square(side: int = 96) -> np.ndarray:
    """An opaque square from (40, 30) to (60, 50)."""
    layer = np.zeros((side, side, 4), np.uint8)
    layer[30:50, 40:60] = (255, 0, 0, 255)
    return layer


def turned(photo: np.ndarray, angle: float = 20.0, scale: float = 1.4) -> tuple[np.ndarray, np.ndarray]:
    """Return the photo turned and enlarged in a larger one, and the map of its pixels."""
    matrix = cv2.getRotationMatrix2D((48, 48), angle, scale)
    matrix[:, 2] += (40, 30)
    return cv2.warpAffine(photo, matrix, (190, 170), borderMode=cv2.BORDER_REPLICATE), matrix


def test_an_object_lies_where_its_place_went():
    photo, matrix = turned(smooth_picture())
    put = Overlay(red_square(), smooth_picture(), "whole", Colors(), size=64)(photo, (10, 0, 175, 165))
    assert put.reason == ""
    assert put.support > 0.8
    corners = np.array([[[40, 30], [60, 30], [60, 50], [40, 50]]], np.float64)
    expected = np.zeros(photo.shape[:2], np.uint8)
    cv2.fillPoly(expected, [cv2.transform(corners, matrix).round().astype(np.int32)[0]], 1)
    drawn = (put.image.astype(int) - photo)[..., 0] + (photo.astype(int) - put.image)[..., 1] > 60
    both, either = (drawn & (expected == 1)).sum(), (drawn | (expected == 1)).sum()
    assert both / either > 0.8
    far = cv2.dilate(expected, np.ones((25, 25), np.uint8)) == 0
    np.testing.assert_array_equal(put.image[far], photo[far])


def test_opacity_lets_the_photo_through():
    picture = smooth_picture()
    whole, half = (
        Overlay(red_square(), picture, "whole", Colors(), size=64, opacity=k)(picture, "whole") for k in (1, 0.5)
    )
    middle = (slice(36, 44), slice(46, 54))
    assert (whole.image[middle] == (255, 0, 0)).all()
    expected = (picture[middle] + np.array([255.0, 0, 0])) / 2
    np.testing.assert_allclose(half.image[middle], expected, atol=2)


def test_where_nothing_agrees_the_photo_stays_as_it_is():
    put = Overlay(red_square(), smooth_picture(), "whole", Colors(), size=64)
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    found = put(noise, "whole")
    assert found.support < 0.3
    assert "30 % are needed" in found.reason
    np.testing.assert_array_equal(found.image, noise)


def test_frames_of_a_video_are_steadied_until_the_face_jumps():
    picture = smooth_picture()
    put = Overlay(red_square(), picture, "whole", Colors(), size=64, steady=0.5)
    shift = np.float32([[1, 0, 6], [0, 1, 0]])
    second = cv2.warpAffine(picture, shift, (96, 96), borderMode=cv2.BORDER_REPLICATE)
    first, moved = put(picture, "whole"), put(second, "whole")
    assert abs(first.similarity[0, 2]) < 1
    assert moved.similarity[0, 2] == pytest.approx(-3, abs=1)  # half of the way
    far = cv2.warpAffine(picture, np.float32([[1, 0, 40], [0, 1, 0]]), (96, 96), borderMode=cv2.BORDER_REPLICATE)
    assert put(far, "whole").similarity[0, 2] == pytest.approx(-40, abs=3)


def test_shipped_objects_lie_on_their_reference_and_on_a_drawn_dog():
    dog = WorldFaces("dog", "test", 1, size=128)[0]["image"]
    for name in OBJECTS:
        put = Overlay(name)
        assert put(drawn_reference(), "whole").support > 0.8
        found = put(dog, "whole")
        assert found.reason == ""
        assert 0.003 < (found.image != dog).any(axis=-1).mean() < 0.4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"image": "monocle"}, "no object 'monocle'"),
        ({"image": red_square()}, "needs the photo of the face"),
        ({"image": red_square(64), "reference": smooth_picture()}, "64 x 64 px, its reference 96 x 96"),
        ({"image": red_square() * 0, "reference": smooth_picture()}, "no opaque pixel"),
        ({"image": smooth_picture(), "reference": smooth_picture()}, "no transparency"),
        ({"image": red_square(), "reference": smooth_picture(), "opacity": 2}, "opacity is 2"),
        ({"image": red_square(), "reference": smooth_picture(), "steady": 1}, "steady is 1"),
    ],
)
def test_wrong_objects_are_refused(arguments, said):
    with pytest.raises(ConfigError, match=said):
        Overlay(**arguments, model=Colors())


def test_the_command_writes_photos_and_says_which_were_left(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.fromarray(WorldFaces("dog", "test", 1, size=96)[0]["image"]).save("photos/dog #1.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save("photos/noise.jpg")
    assert main(["overlay", "glasses", "photos", "--faces", "whole", "--support", "0.5"]) == 0
    said = capsys.readouterr()
    assert "put on 1 of 2 faces" in said.out
    assert "noise.jpg: left as it is" in said.err
    assert [path.name for path in sorted(Path("overlay").iterdir())] == ["dog #1.png", "overlay.csv"]
    with open("overlay/overlay.csv", newline="") as file:
        assert [row["placed"] for row in csv.DictReader(file)] == ["yes", "no"]
    assert main(["overlay", "glasses", "photos/noise.jpg", "--faces", "whole", "--support", "0.5"]) == 1
    assert "put on none of 1 face" in capsys.readouterr().err.splitlines()[-1]


def write_frames(folder: Path, numbers: tuple[int, ...], noisy: int | None = None) -> None:
    """Write a drawn dog as frames, whose top left pixel tells their number; one frame is noise."""
    folder.mkdir()
    dog = WorldFaces("dog", "test", 1, size=96)[0]["image"]
    noise = np.random.default_rng(0).integers(0, 255, dog.shape, dtype=np.uint8)
    for number in numbers:
        image = (noise if number == noisy else dog).copy()
        image[0, 0] = number
        Image.fromarray(image).save(folder / f"frame{number}.png")


def test_frames_come_in_the_order_of_their_numbers_and_none_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_frames(Path("frames"), (1, 2, 10, 11), noisy=10)
    Path("frames/frame12.png").write_text("no picture")
    words = ["overlay", "glasses", "frames", "--faces", "whole", "--support", "0.5", "--steady", "0.5"]
    assert main(words) == 0
    assert "1 frame without the object, written unchanged" in capsys.readouterr().err
    with open("overlay/overlay.csv", newline="") as file:
        assert [row["face"] for row in csv.DictReader(file)] == [f"frame{k}.png" for k in (1, 2, 10, 11)]
    for number in (1, 2, 10, 11):
        written, frame = (np.array(Image.open(f"{folder}/frame{number}.png")) for folder in ("overlay", "frames"))
        assert (written != frame).any() == (number != 10)
        assert (written[0, 0] == number).all()
    assert not Path("overlay/frame12.png").exists()


def test_several_faces_of_a_frame_are_not_steadied(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_frames(Path("frames"), (1,))
    Path("boxes.csv").write_text("image,box_x0,box_y0,box_x1,box_y1\n" + "frame1.png,0,0,96,96\n" * 2)
    assert main(["overlay", "glasses", "frames", "--faces", "boxes.csv", "--steady", "0.5"]) == 2
    assert "--steady follows one face, but frame1.png has 2" in capsys.readouterr().err


def test_the_object_is_the_first_word_or_an_option(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_frames(Path("frames"), (1, 2))
    words = ["frames/frame1.png", "frames/frame2.png", "--faces", "whole"]
    assert main(["overlay", "glasses", *words, "--out", "a"]) == 0
    assert main(["overlay", "--object", "glasses", *words, "--out", "b"]) == 0
    for name in ("frame1.png", "frame2.png"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes()
    for wrong, said in (
        (["--object", "hat", "glasses", *words], "two objects: glasses and --object hat"),
        (["frames", "frames"], "no object: frames is a folder"),
        (["glasses"], "no photos follow"),
        (["--object", "glasses"], "required: OBJECT PHOTOS"),
    ):
        assert main(["overlay", *wrong]) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]


def test_no_photo_that_is_read_is_replaced(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_frames(Path("photos"), (1, 2))
    Path("photos/labels").mkdir()
    Path("photos/frame2.png").rename("photos/labels/frame1.png.png")
    for name in ("embed.png", "dense.png", "parts.png", "labels/labels/frame1.png.png.png"):
        Path("photos", name).parent.mkdir(exist_ok=True)
        Path("photos", name).write_bytes(Path("photos/frame1.png").read_bytes())
    Path("link").symlink_to("photos")
    before = {path: path.read_bytes() for path in Path("photos").rglob("*.png")}
    for out in ("photos", "link", "photos/../photos"):
        for words, name in (
            (["overlay", "glasses", "photos"], "dense.png"),
            (["overlay", "glasses", "photos/frame1.png"], "frame1.png"),
            (["overlay", "photos/frame1.png", "photos/labels/frame1.png.png", "--on", "photos/dense.png"], None),
            (["parse", "photos/frame1.png", "photos/labels/frame1.png.png"], "labels/frame1.png.png"),
            (["parse", "photos/parts.png"], "parts.png"),
            (["embed", "photos"], "embed.png"),
            (["dense", "photos/dense.png", "photos/frame1.png"], "dense.png"),
        ):
            assert main([*words, "--out", out]) != 0
            said = capsys.readouterr().err.splitlines()[-1]
            assert name is None or said in (
                f"error: {Path(out, name)} is read, and would be replaced; give another --out.",
                f"error: {out} is the folder of the photos; choose another --out for the results",
            )
    assert {path: path.read_bytes() for path in Path("photos").rglob("*.png")} == before
