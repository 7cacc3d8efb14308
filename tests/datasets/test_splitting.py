"""Train, val and test parts of a data set of one's own: shares, and nothing in two parts."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from dife_lightning import load_dataset
from dife_lightning.cli.main import main
from dife_lightning.datasets.writing.forms import convert
from dife_lightning.datasets.writing.splitting import parse_shares, split_faces
from dife_lightning.errors import ConfigError, DataError


def foxes(root: Path, count: int = 40, reverse: bool = False) -> Path:
    """Write photos of foxes; photos 3k to 3k + 2 are of fox k, and photo 0 shows a second fox, number 5."""
    root.mkdir()
    rows = [f"{k}.png,face {k},fox {k // 3},{10 + k % 5},12,20,13" for k in range(count)]
    rows.append("0.png,guest,fox 5,30,12,38,13")
    for k in range(count):
        Image.new("RGB", (50, 40), (90, 60, 30)).save(root / f"{k}.png")
    head = "image,name,subject,eye_l_x,eye_l_y,eye_r_x,eye_r_y"
    (root / "points.csv").write_text("\n".join([head, *(reversed(rows) if reverse else rows)]))
    return root


def test_parts_share_no_photo_and_no_subject(tmp_path: Path) -> None:
    faces = load_dataset("folder", foxes(tmp_path / "foxes"))
    parts = split_faces(faces, (0.6, 0.1, 0.3))
    assert sorted(k for numbers in parts.values() for k in numbers) == list(range(41))
    part_of = {faces.annotations[k].name: part for part, numbers in parts.items() for k in numbers}
    for fox in range(13):
        alike = {part_of[f"face {k}"] for k in range(3 * fox, min(3 * fox + 3, 40))}
        assert len(alike) == 1
    assert part_of["guest"] == part_of["face 0"] == part_of["face 15"]  # photo 0 joins foxes 0 and 5
    assert [len(parts[part]) for part in ("train", "val", "test")] == pytest.approx([24.6, 4.1, 12.3], abs=5)


def test_parts_do_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    found = []
    for name, reverse in (("a", False), ("b", True)):
        faces = load_dataset("folder", foxes(tmp_path / name, reverse=reverse))
        parts = split_faces(faces, (0.5, 0.2, 0.3))
        found.append({part: {faces.annotations[k].name for k in numbers} for part, numbers in parts.items()})
    assert found[0] == found[1]
    other = split_faces(faces, (0.5, 0.2, 0.3), seed=1)
    assert {faces.annotations[k].name for k in other["test"]} != found[0]["test"]


def test_the_command_writes_a_table_for_each_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, folder = foxes(tmp_path / "foxes"), tmp_path / "photos" / "fox"
    assert main(["data", "convert", str(source), str(folder), "--to", "csv", "--split", "60,10,30"]) == 0
    said = capsys.readouterr().out
    seen: dict[str, str] = {}
    for part in ("train", "val", "test"):
        with open(folder / f"{part}.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert f"faces in {part}.csv: {len(rows)}" in said
        for row in rows:
            assert seen.setdefault(row["subject"], part) == part
            assert seen.setdefault(row["image"], part) == part
        assert len(load_dataset("folder", folder, file=f"{part}.csv")) == len(rows)
    assert len([name for name in seen if name.startswith("images/")]) == 40


def test_shares_and_too_few_photos_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_shares("60,10,30") == pytest.approx((0.6, 0.1, 0.3))
    assert parse_shares("3/0/1") == pytest.approx((0.75, 0, 0.25))
    for text in ("60,40", "a,b,c", "0,0,0", "-1,1,1", "nan,1,1"):
        with pytest.raises(ConfigError, match="expected"):
            parse_shares(text)
    faces = load_dataset("folder", foxes(tmp_path / "few", count=2))
    with pytest.raises(DataError, match="1 photos or subjects are too few for a part 'val' of 10%"):
        split_faces(faces, (0.6, 0.1, 0.3))
    words = ["data", "convert", str(tmp_path / "few"), str(tmp_path / "out"), "--to", "coco", "--split", "1,1,1"]
    assert main(words) == 1
    assert "--split is for --to csv, not for coco" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("form", "way"), [("csv", "--left subject"), ("labelme", "--scheme FILE.yaml with left: subject")]
)
def test_whose_left_the_names_mean_is_told(tmp_path: Path, form: str, way: str) -> None:
    faces = load_dataset("folder", foxes(tmp_path / "foxes", count=3), left="subject")
    lines = convert(faces, tmp_path / "out", form)
    assert f"left in the names of points is the face's own: read them with {way}" in lines
    assert lines[1].endswith(" --left subject") is (form == "csv")
    viewers = load_dataset("folder", tmp_path / "foxes")
    assert not [line for line in convert(viewers, tmp_path / "other", form) if "face's own" in line]
