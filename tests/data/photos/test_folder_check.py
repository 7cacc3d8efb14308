from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dife_lightning.data.photos import folder_check
from dife_lightning.data.photos.folder_check import advice, check_folder
from dife_lightning.errors import DataError


def picture(seed: int, side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six sound images, a copy in another format, one that is too small, a blank one and a broken one."""
    for seed in range(6):
        picture(seed).save(tmp_path / f"{seed}.png")
    (tmp_path / "more").mkdir()
    picture(0).save(tmp_path / "more/copy.bmp")
    picture(7, 20).save(tmp_path / "small.png")
    Image.new("RGB", (64, 64), (90, 90, 91)).save(tmp_path / "blank.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "1.png").read_bytes()[:200])
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_each_kind_of_harm_is_found(folder):
    report = check_folder(folder, 32)
    assert report.count == 10
    assert [path.name for path in report.damaged] == ["broken.png"]
    assert [path.name for path in report.blank] == ["blank.png"]
    assert [[path.name for path in group] for group in report.duplicates] == [["0.png", "copy.bmp"]]
    assert [path.name for path in report.small] == ["small.png"]
    assert report.usable == 7


def test_a_border_does_not_hide_that_the_middle_is_blank(tmp_path):
    pixels = np.full((64, 128, 3), 200, dtype=np.uint8)
    pixels[:, :20] = np.random.default_rng(0).integers(0, 255, (64, 20, 3))  # outside the central square
    Image.fromarray(pixels).save(tmp_path / "a.png")
    picture(1).save(tmp_path / "b.png")
    assert [path.name for path in check_folder(tmp_path, 32).blank] == ["a.png"]


def test_advice_names_files_and_what_to_do(folder):
    found = advice(check_folder(folder, 32))
    assert [level for level, _ in found] == ["error", "warning", "warning", "warning", "warning"]
    text = " ".join(line for _, line in found)
    for part in ("1 file cannot be read", "blank.png", "copy.bmp", "small.png", "7 usable images"):
        assert part in text


@pytest.mark.parametrize(("usable", "level", "says"), [
    (1, "error", "needs two or more"),
    (50, "warning", "memorised"),
    (200, "warning", "a small set"),
    (5000, "ok", "5000 usable images"),
])  # fmt: skip
def test_advice_grows_with_the_set(tmp_path, usable, level, says):
    ((found, text),) = advice(folder_check.FolderReport(tmp_path, 32, usable))
    assert found == level
    assert says in text


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        check_folder(tmp_path, 32)


def test_a_folder_may_have_its_name_in_paths_yaml(folder, tmp_path, monkeypatch):
    (tmp_path / "paths.yaml").write_text(f"mine: {folder.parent}")
    monkeypatch.chdir(tmp_path)
    found = check_folder(f"own/mine/{folder.name}", 32)
    assert found.count == check_folder(folder, 32).count > 0
