"""Image files of every mode, and those that are none."""

from __future__ import annotations

import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from dife_lightning.errors import DataError
from dife_lightning.faces.images import center_square, list_images, read_frame, read_image


@pytest.fixture
def picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def test_rgb_is_read_as_it_is(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png")
    assert found.dtype == np.uint8
    assert np.array_equal(found, picture)


def test_grey_becomes_three_equal_channels(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture[..., 0]).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), np.repeat(picture[..., :1], 3, axis=2))


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path, picture: np.ndarray) -> None:
    deep = picture[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png")[..., 1], picture[..., 0])


def test_a_dark_sixteen_bit_picture_stays_dark(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 200, np.uint16)).save(tmp_path / "a.png")
    assert int(read_image(tmp_path / "a.png").max()) <= 1


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2, :, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png")
    assert (found[:2] == 0).all()
    assert (found[2:] == 255).all()


@pytest.mark.parametrize("mode", ["CMYK", "P", "1", "LA", "YCbCr"])
def test_other_modes_become_rgb(tmp_path: Path, picture: np.ndarray, mode: str) -> None:
    suffix = ".jpg" if mode in ("CMYK", "YCbCr") else ".png"
    Image.fromarray(picture).convert("L" if mode == "LA" else "RGB").convert(mode).save(tmp_path / f"a{suffix}")
    assert read_image(tmp_path / f"a{suffix}").shape == (6, 9, 3)


def test_exif_orientation_is_applied(tmp_path: Path, picture: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.rot90(picture, -1))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_and_its_frame_agree_in_every_format(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = np.zeros((60, 90, 3), np.uint8)
    stored[:20, :30] = 255  # the first corner
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / f"a{suffix}", exif=exif)
    shown = read_image(tmp_path / f"a{suffix}").mean(axis=2) > 127
    assert read_frame(tmp_path / f"a{suffix}") == (90, 60, orientation)
    assert shown.shape == ((90, 60) if orientation >= 5 else (60, 90))
    # where EXIF says that the first row and the first column of the stored picture are seen
    row, column = {1: "tl", 2: "tr", 3: "br", 4: "bl", 5: "lt", 6: "rt", 7: "rb", 8: "lb"}[orientation]
    bright = np.argwhere(shown).mean(axis=0) > np.array(shown.shape) / 2
    assert bright.tolist() == [{row, column} & {"b"} != set(), {row, column} & {"r"} != set()]


def test_pixels_are_turned_as_pillow_does_it(tmp_path: Path, picture: np.ndarray) -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
        with Image.open(tmp_path / "a.png") as opened:
            expected = np.asarray(ImageOps.exif_transpose(opened))
        assert np.array_equal(read_image(tmp_path / "a.png"), expected)


def test_a_sound_picture_with_an_odd_header_is_read(tmp_path: Path, picture: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "words"
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif)
    content = (tmp_path / "a.jpg").read_bytes()
    tag = content.index(b"\x01\x0e\x00\x02")  # of a description, which becomes that of a number
    (tmp_path / "b.jpg").write_bytes(content[:tag] + b"\x01\x01" + content[tag + 2 :])
    assert np.array_equal(read_image(tmp_path / "b.jpg"), read_image(tmp_path / "a.jpg"))


@pytest.mark.parametrize(("orientation", "expected"), [(6, 6), (1, 1), (None, 1), (0, 1), (9, 1)])
def test_the_frame_is_that_of_the_stored_picture(
    tmp_path: Path, picture: np.ndarray, orientation: int | None, expected: int
) -> None:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif)
    assert read_frame(tmp_path / "a.jpg") == (9, 6, expected)


def test_a_frame_of_what_is_no_image_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not an image")
    for name, words in (("a.png", "not an image"), ("missing.png", "no image")):
        with pytest.raises(DataError, match=words) as caught:
            read_frame(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_missing_empty_truncated_and_foreign_files_are_one_line(tmp_path: Path, picture: np.ndarray) -> None:
    big = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(big).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:4000])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not an image")
    for name in ("missing.png", "cut.png", "empty.png", "text.png"):
        with pytest.raises(DataError) as caught:
            read_image(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_is_listed_below_and_in_order(tmp_path: Path, picture: np.ndarray) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.PNG", "a.jpg", "sub/c.webp"):
        Image.fromarray(picture).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    assert [p.name for p in list_images(tmp_path)] == ["a.jpg", "b.PNG", "c.webp"]


def test_links_that_lead_nowhere_are_said(tmp_path: Path, picture: np.ndarray, capsys: pytest.CaptureFixture) -> None:
    Image.fromarray(picture).save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "gone.png")
    assert [p.name for p in list_images(tmp_path)] == ["a.png", "b.png"]
    assert "1 link to files that are not there, passed over: c.png" in capsys.readouterr().err


def test_a_missing_and_an_empty_folder_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no images"):
        list_images(tmp_path)


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (41, 41), (10, 300)])
def test_the_central_square_keeps_the_centre(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    image[shape[0] // 2 - 2 : shape[0] // 2 + 2, shape[1] // 2 - 2 : shape[1] // 2 + 2] = 255
    found = center_square(image, 32).astype(float).mean(axis=2)
    assert found.shape == (32, 32)
    rows, columns = np.indices(found.shape)
    assert (rows * found).sum() / found.sum() == pytest.approx(15.5, abs=0.7)
    assert (columns * found).sum() / found.sum() == pytest.approx(15.5, abs=0.7)


def test_a_picture_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 100_000, 100_000)  # width and height in the header
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"large\.png has more than 178 megapixels; make it smaller"):
        read_image(path)


def test_threads_read_large_pictures_without_a_warning(tmp_path: Path) -> None:
    Image.new("1", (9600, 9600)).save(tmp_path / "large.bmp")  # more pixels than Pillow takes without a warning
    with warnings.catch_warnings(), ThreadPoolExecutor(8) as threads:
        warnings.simplefilter("error")
        found = set(threads.map(read_frame, [tmp_path / "large.bmp"] * 1000))
    assert found == {(9600, 9600, 1)}
