"""What readers share and one of them stands for."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

import dife_lightning
from dife_lightning import load_dataset
from dife_lightning.datasets.parsing.pictures import check_inside
from dife_lightning.datasets.parsing.table import FaceTable, Faults
from dife_lightning.datasets.parsing.text import parse_rows, read_lines
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces import image_info as frames
from dife_lightning.faces.items import FaceAnnotation
from tests.datasets.layouts import draw_face, save_picture, write_animalweb, write_wflw


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")  # on a machine with one core
def test_two_workers_hand_out_the_same_items(tmp_path):
    write_wflw(tmp_path, [draw_face("wflw-98", seed) for seed in range(3)])
    dataset = load_dataset("wflw", tmp_path)
    loader = DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context="spawn")
    for item, found in zip(dataset, loader, strict=True):
        assert np.array_equal(item["image"], found["image"])
        assert np.array_equal(item["points"], found["points"])
        assert item["name"] == found["name"]


def test_points_of_layouts_without_sizes_are_of_the_turned_picture(tmp_path):
    face = draw_face("animalweb-9", size=(96, 128))
    write_animalweb(tmp_path, [face])
    exif = Image.Exif()
    exif[0x0112] = 6
    save_picture(tmp_path / "koala_0.jpg", np.ascontiguousarray(np.rot90(face.image)), exif=exif)
    item = load_dataset("animalweb", tmp_path)[0]
    x, y = item["points"].astype(int).T
    assert item["image"].shape == face.image.shape
    assert item["image"][y, x].min() > 200


def test_a_point_that_is_not_labelled_may_lie_anywhere():
    points = np.array([[5, 5], [900, 900]], np.float32)
    face = FaceAnnotation("a", Path("a.png"), points, np.array([True, False]))
    check_inside(face, 10, 10)
    with pytest.raises(DataError, match="point 1 lies at"):
        check_inside(replace(face, visible=np.array([True, True])), 10, 10)


def test_unknown_data_sets_and_a_forgotten_root_are_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown dataset 'celebb'. Did you mean 'celeba'"):
        load_dataset("celebb", tmp_path)
    with pytest.raises(ConfigError, match="celeba: no root given"):
        load_dataset("celeba")


def test_it_is_a_public_name():
    assert "load_dataset" in dife_lightning.__all__
    assert dife_lightning.load_dataset is load_dataset


def test_slices_of_the_annotations_are_lists_of_them(tmp_path):
    write_animalweb(tmp_path, [draw_face("animalweb-9", seed) for seed in range(4)])
    annotations = load_dataset("animalweb", tmp_path).annotations
    assert [face.name for face in annotations[1:3]] == [annotations[1].name, annotations[2].name]
    assert [face.name for face in annotations[::-2]] == [annotations[3].name, annotations[1].name]


def test_a_result_names_the_first_five_faces_that_were_left_out_and_counts_all(tmp_path):
    write_animalweb(tmp_path, [draw_face("animalweb-9", seed) for seed in range(8)])
    for path in sorted(tmp_path.glob("*.jpg"))[1:]:
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="animalweb: 7 faces skipped"):
        facts = load_dataset("animalweb", tmp_path, skip_broken=True).facts
    assert facts["left_out"] == 7
    assert [Path(text.partition(": ")[0]).name for text in facts["first_left_out"]] == [
        f"koala_{k}.pts" for k in range(1, 6)
    ]


def test_a_sound_picture_is_decoded_once_in_its_life_to_see_that_it_is(tmp_path, monkeypatch):
    write_wflw(tmp_path, [draw_face("wflw-98", seed, picture="crowd" if seed else "") for seed in range(3)])
    decoded = []
    original = frames.read_image
    monkeypatch.setattr(frames, "read_image", lambda path: (decoded.append(Path(path).name), original(path))[1])
    for _ in range(2):
        assert len(load_dataset("wflw", tmp_path, skip_broken=True)) == 3
    assert decoded == ["7_Cheering_0.jpg", "crowd.jpg"]


@pytest.mark.parametrize("name_first", [True, False])
def test_rows_read_at_once_equal_rows_read_one_by_one(name_first):
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(20, 3)) * 10.0 ** rng.integers(-5, 5, (20, 3))
    lines = [[f"n{i}.jpg", *(repr(float(v)) for v in row)] for i, row in enumerate(numbers)]
    texts = ["  ".join(line if name_first else line[1:] + line[:1]) for line in lines]
    quick = parse_rows(texts, 3, name_first, str, Faults(False))
    blank = "a b.jpg"
    extra = f"{blank} 1 2 3" if name_first else f"1 2 3 {blank}"
    slow = parse_rows([*texts, extra], 3, name_first, str, Faults(False))
    assert np.array_equal(quick.values, numbers)
    assert np.array_equal(slow.values, [*numbers, [1, 2, 3]])
    assert slow.names == [*quick.names, blank]
    assert slow.kept == list(range(21))


def test_a_text_file_that_is_none_is_one_line(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"a\.txt cannot be read as text") as caught:
        read_lines(tmp_path / "a.txt")
    assert "\n" not in str(caught.value)


def seconds(texts: list[str]) -> float:
    started = time.process_time()
    parse_rows(texts, 10, True, str, Faults(False))
    return time.process_time() - started


def test_rows_are_read_at_once_in_much_less_time_than_one_by_one():
    texts = [f"{i:06d}.jpg  69  111  108  111   88  136   72  152  105  152" for i in range(20_000)]
    slow = min(seconds([*texts, "a b.jpg 1 2 3 4 5 6 7 8 9 10"]) for _ in range(3))
    assert min(seconds(texts) for _ in range(3)) < 0.7 * slow


def test_columns_of_any_kind_are_taken_together(tmp_path):
    points = np.arange(12).reshape(3, 2, 2)
    table = FaceTable(tmp_path / "a.csv", range(1, 4), tmp_path, ("a", "b", "c"), points, count=2, groups="xyz")
    part = table.where([False, True, True])
    assert [(face.name, face.group, face.source[-5:]) for face in part] == [("b", "y", "row 2"), ("c", "z", "row 3")]
    assert part[0].points.tolist() == [[4, 5], [6, 7]]
