"""Photos of every kind through the verbs of `dife`: read as they are seen, or passed over with a reason."""

from __future__ import annotations

import csv
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dife_lightning.cli.main import main
from dife_lightning.world.dataset import WorldFaces

BOX = (40, 48, 152, 160)  # of the dog's face, in the larger photo
POINTS = "name,x,y\nleft_eye,30,40\nright_eye,65,40\nnose,48,58\n"
#: Other pictures of one photo, and what its landmarks may move by: JPEG and palettes are not exact.
SAME = {
    "animated.gif": 3.0, "cmyk.jpg": 2.0, "turned.jpg": 2.0, "rgba.png": 0.01, "lossless.webp": 0.01, "large.png": 1.0,
    "plain.png": 0.0,
}  # fmt: skip
#: Files that are no photos, and what is said about them.
BAD = {
    "1x1.png": "1x1.png has 1 x 1 px; expected a photo of at least 8 px",
    "line.png": "line.png has 400 x 3 px; expected a photo of at least 8 px",
    "empty.png": "empty.png is damaged or not an image",
    "text.jpg": "text.jpg is damaged or not an image",
    "cut.jpg": "cut.jpg is damaged or not an image (image file is truncated",
}
LARGE = 9600  # more pixels than Pillow takes without a warning


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the photo ``source.png`` and, in ``odd``, another one in many forms."""
    folder = tmp_path_factory.mktemp("photos")
    odd = folder / "odd"
    odd.mkdir()
    source, dog = (WorldFaces(species, "test", 3, size=96)[k]["image"] for species, k in (("human", 0), ("dog", 1)))
    Image.fromarray(source).save(folder / "source.png")
    (folder / "points.csv").write_text(POINTS)
    photo = Image.fromarray(dog).resize((192, 192))
    black = Image.new("RGB", photo.size)
    turned = Image.Exif()
    turned[0x0112] = 6
    photo.save(odd / "plain.png")
    photo.save(odd / "animated.gif", save_all=True, append_images=[black])
    photo.convert("CMYK").save(odd / "cmyk.jpg", quality=95)
    photo.rotate(90, expand=True).save(odd / "turned.jpg", exif=turned, quality=95)
    photo.convert("RGBA").save(odd / "rgba.png")
    photo.save(odd / "lossless.webp", lossless=True)
    photo.resize((LARGE, LARGE)).save(odd / "large.png", compress_level=1)
    Image.new("RGB", (1, 1)).save(odd / "1x1.png")
    Image.new("RGB", (400, 3)).save(odd / "line.png")
    (odd / "empty.png").touch()
    (odd / "text.jpg").write_text("no picture")
    jpeg = io.BytesIO()
    photo.save(jpeg, "JPEG")
    (odd / "cut.jpg").write_bytes(jpeg.getvalue()[: len(jpeg.getvalue()) // 2])
    boxes = "".join(f"{name},{','.join(map(str, _box(name)))}\n" for name in (*SAME, *BAD))
    (folder / "boxes.csv").write_text(f"image,box_x0,box_y0,box_x1,box_y1\n{boxes}")
    return folder


def _box(name: str) -> tuple[int, ...]:
    return tuple(value * LARGE // 192 for value in BOX) if name == "large.png" else BOX


@pytest.fixture(scope="module")
def carried(folder: Path) -> Path:
    """Return the folder of the landmarks that were carried to all of them."""
    words = ["transfer", folder / "source.png", folder / "odd", "--points", folder / "points.csv"]
    out = folder / "carried"
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        assert main([*map(str, words), "--faces", str(folder / "boxes.csv"), "--out", str(out)]) == 0
    return out


def test_a_photo_has_the_same_landmarks_in_every_form(carried):
    with (carried / "landmarks.csv").open() as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert rows.keys() == SAME.keys()
    points = {
        name: np.array(
            [[float(row[f"{point}_{axis}"]) for axis in "xy"] for point in ("left_eye", "right_eye", "nose")]
        )
        for name, row in rows.items()
    }
    for name, tolerance in SAME.items():
        # a pixel's centre is at 0.5 of its own width
        found = (points[name] + 0.5) * (192 / LARGE if name == "large.png" else 1) - 0.5
        assert np.abs(found - points["plain.png"]).max() <= tolerance, name


@pytest.mark.parametrize(
    "words", [["dense", "source.png"], ["embed"], ["parse", "--parts", "3"], ["overlay", "glasses"]]
)
def test_what_is_no_photo_is_passed_over_with_a_reason(folder, tmp_path, capsys, words):
    for name in ("plain.png", *BAD):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).write_bytes((folder / "odd" / name).read_bytes())
    verb, *rest = (str(folder / word) if word == "source.png" else word for word in words)
    assert main([verb, *rest, str(tmp_path / "photos"), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err
    assert "Traceback" not in said
    for reason in BAD.values():
        assert said.count(reason) == 1, (reason, said)


@pytest.mark.parametrize("name", BAD)
def test_two_photos_of_which_one_is_none_are_refused(folder, tmp_path, capsys, name):
    words = ["match", str(folder / "source.png"), str(folder / "odd" / name), "--out", str(tmp_path / "out")]
    assert main(words) == 1
    assert BAD[name] in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_an_animation_is_told(folder, tmp_path, capsys):
    assert main(["match", str(folder / "source.png"), str(folder / "odd/animated.gif"), "--out", str(tmp_path)]) == 0
    assert "animated.gif: an animation; its first picture is read" in capsys.readouterr().err


def test_nothing_is_put_on_what_is_no_face(tmp_path, capsys):
    Image.new("RGB", (300, 200), (128, 128, 128)).save(tmp_path / "grey.png")
    assert main(["overlay", "glasses", str(tmp_path / "grey.png"), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "grey.png: left as it is: what was found is hardly like a face" in said
    assert "put on none of 1 face" in said.splitlines()[-1]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["overlay.csv"]


def test_a_photo_matched_with_itself_stays_in_its_place(folder, tmp_path):
    words = ["match", str(folder / "source.png"), str(folder / "source.png"), "--out", str(tmp_path)]
    assert main(words) == 0
    with np.load(tmp_path / "match.npz") as found:
        matched = found["matched"]
        moved = np.linalg.norm(found["target"] - found["source"], axis=-1)
    assert matched.mean() > 0.5
    assert np.median(moved[matched]) < 2  # of 96 px; the read-out is the mean over a window
