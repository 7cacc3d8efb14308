"""docs/datasets.md against the readers."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from PIL import Image

from dife_lightning import load_dataset
from dife_lightning.registry import get_dataset, list_datasets
from tests.datasets.layouts import LAYOUTS, TOOLS

TEXT = (Path(__file__).resolve().parents[2] / "docs/datasets.md").read_text(encoding="utf-8")
SECTIONS = {part.split("\n")[0].lower(): part for part in re.split(r"^## ", TEXT, flags=re.M)}


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_option_and_the_licence_are_in_the_section_of_the_reader(name):
    (section,) = [part for heading, part in SECTIONS.items() if name in heading]
    for option in inspect.signature(get_dataset(name)).parameters:
        assert option in ("root", "skip_broken") or f"`{option}`" in section
    if name not in ("folder", "coco-keypoints", *TOOLS):
        assert "**Licence**" in section
        assert "**Get" in section
        assert "root/" in section


def test_the_table_holds_every_reader_with_its_scheme():
    table = "".join(line for line in TEXT.splitlines() if line.startswith("| "))
    for name in list_datasets():
        assert f"`{name}`" in table
        scheme = getattr(get_dataset(name), "scheme", "")
        assert not scheme or f"`{scheme}`" in table


def test_the_example_of_a_csv_file_can_be_read(tmp_path):
    (lines,) = re.findall(r"^```\n(image,.*?)```", TEXT, flags=re.M | re.S)
    (tmp_path / "points.csv").write_text(lines)
    for name in ("anna.jpg", "side view.jpg"):
        Image.new("RGB", (90, 90)).save(tmp_path / name)
    anna, side = load_dataset("folder", tmp_path, scheme="eyes-and-nose")
    assert anna["points"].tolist() == [[31.5, 40], [60, 41], [45.5, 60]]
    assert side["visible"].tolist() == [True, False, True]
