"""Sizes of pictures and their soundness, kept for as long as the files stay what they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dife_lightning.errors import DataError
from dife_lightning.faces import image_info as frames
from dife_lightning.faces.image_info import check_whole, frame_of, image_info_cache, shown_size

NAMES = ("a.jpg", "b c.png", "ö犬.jpg")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures of 30 x 20, the last one shown turned; an empty cache."""
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "pictures").mkdir()
    for name in NAMES:
        exif = Image.Exif()
        exif[0x0112] = 6 if name == NAMES[-1] else 1
        noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "pictures" / name, exif=exif)
    return tmp_path / "pictures"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were opened."""
    found: list[str] = []
    original = Image.open

    def note(path: str | Path) -> Image.Image:
        found.append(Path(path).name)
        return original(path)

    monkeypatch.setattr(Image, "open", note)
    return found


def sizes(folder: Path) -> list[tuple[int, int]]:
    with image_info_cache():
        return [shown_size(folder / name) for name in NAMES for _ in range(2)][::2]


SIZES = [(30, 20), (30, 20), (20, 30)]


def test_a_file_is_opened_once_in_its_life(folder: Path, opened: list[str]) -> None:
    assert sizes(folder) == SIZES
    assert opened == list(NAMES)
    assert sizes(folder) == sizes(folder / "../pictures") == SIZES
    assert len(opened) == len(NAMES)
    assert frame_of(folder / NAMES[2]) == (30, 20, 6)  # outside of a block every time anew
    assert len(opened) == len(NAMES) + 1


def write_other(path: Path) -> None:
    Image.new("RGB", (40, 10)).save(path)


def touch(path: Path) -> None:
    """Put another picture of the same number of bytes in its place."""
    content, state = path.read_bytes(), path.stat()
    write_other(path)
    path.write_bytes(path.read_bytes().ljust(len(content), b"\0")[: len(content)])
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))


@pytest.mark.parametrize("change", [write_other, touch])
def test_a_changed_file_is_opened_again(folder: Path, change: Callable[[Path], None]) -> None:
    assert sizes(folder) == SIZES
    change(folder / NAMES[1])
    assert sizes(folder) == [SIZES[0], (40, 10), SIZES[2]]
    change(folder / NAMES[0])
    with image_info_cache():
        assert shown_size(folder / NAMES[0]) == (40, 10)
        change(folder / NAMES[2])
        assert shown_size(folder / NAMES[2]) == (40, 10)


def test_a_new_file_joins_those_that_are_known(folder: Path, opened: list[str]) -> None:
    sizes(folder)
    write_other(folder / "d.png")
    for _ in range(2):
        with image_info_cache():
            assert shown_size(folder / "d.png") == (40, 10)
    assert opened == [*NAMES, "d.png"]


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "method", "names", "shape", "numbers"])
def test_a_damaged_cache_costs_time_only(folder: Path, opened: list[str], damage: str) -> None:
    sizes(folder)
    (path,) = (folder.parent / "cache/frames").glob("*.npz")
    content = path.read_bytes()
    if damage in ("cut", "text", "empty", "method"):
        entry = content.index(b"PK\x01\x02")  # of the table at the end: after ten bytes, how the first array is packed
        other = content[: entry + 10] + b"\x63" + content[entry + 11 :]
        path.write_bytes({"cut": content[:-30], "text": b"text", "empty": b"", "method": other}[damage])
    else:
        with np.load(path) as file:
            names, numbers = file["names"], file["numbers"]
        numbers[:, 4] = 9 if damage == "numbers" else numbers[:, 4]
        np.savez(path, names=names[: 3 if damage == "names" else None], numbers=numbers[:, damage == "shape" :])
    assert sizes(folder) == SIZES
    assert opened == 2 * list(NAMES)
    assert sizes(folder) == SIZES
    assert opened == 2 * list(NAMES)


def test_a_cache_that_cannot_be_written_costs_time_only(folder: Path, opened: list[str]) -> None:
    (folder.parent / "cache").write_text("a file where the folder should be")
    assert sizes(folder) == sizes(folder) == SIZES
    assert opened == 2 * list(NAMES)


def test_without_the_disk_nothing_is_written_and_inner_blocks_belong_to_the_outer_one(
    folder: Path, opened: list[str]
) -> None:
    with image_info_cache(disk=False):
        assert sizes(folder) == sizes(folder) == SIZES
    assert opened == list(NAMES)
    assert not (folder.parent / "cache").exists()


def test_what_was_learnt_before_an_error_is_kept(folder: Path, opened: list[str]) -> None:
    (folder / NAMES[2]).write_bytes(b"no picture")
    with pytest.raises(DataError, match="not an image"):
        sizes(folder)
    with image_info_cache():
        assert shown_size(folder / NAMES[0]) == SIZES[0]
    assert opened.count(NAMES[0]) == 1


def test_a_picture_is_decoded_once_to_see_that_it_is_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    original = frames.read_image
    monkeypatch.setattr(frames, "read_image", lambda path: (decoded.append(path), original(path))[1])
    cut = folder / NAMES[1]
    cut.write_bytes(cut.read_bytes()[:-200])
    sizes(folder)  # a size says nothing of the rest of the file
    for _ in range(2):
        with image_info_cache():
            check_whole(folder / NAMES[0])
            with pytest.raises(DataError, match="damaged"):
                check_whole(cut)
    assert decoded == [folder / NAMES[0], cut, cut]


@pytest.mark.parametrize("block", [image_info_cache, lambda: image_info_cache(disk=False)])
def test_a_missing_file_is_one_line(folder: Path, block: Callable[..., object]) -> None:
    with block(), pytest.raises(DataError, match=r"no image .*nowhere\.png"):  # type: ignore[attr-defined]
        frame_of(folder / "nowhere.png")
