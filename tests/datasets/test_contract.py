"""What every reader must do, over all that are registered: a new one is tested by being there."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dife_lightning import load_dataset
from dife_lightning.datasets.parsing import files as _files
from dife_lightning.datasets.parsing import pictures as _pictures
from dife_lightning.datasets.parsing.files import FaceFiles
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.schemes import SCHEMES
from dife_lightning.registry import get_dataset, list_datasets
from tests.datasets.layouts import COUNTS, LAYOUTS, Face, draw_face

#: Rendered, or read by a library with an extra; tests/datasets/test_sleap.py has the tests of that one.
OTHERS = ("world", "sleap")
FILES = [name for name in list_datasets() if name not in OTHERS]
#: Their numbers are relative to the size of the picture, so they must open it, and follow another size.
RELATIVE = ("yolo-pose",)
#: Their files state no sizes of pictures.
SIZELESS = ("deeplabcut", "folder", "via")
pytestmark = pytest.mark.parametrize("name", FILES)


def write(name: str, root: Path, count: int = 3) -> list[Face]:
    faces = [draw_face(LAYOUTS[name].scheme, seed) for seed in range(count)]
    LAYOUTS[name].write(root, faces)
    return faces


def load(name: str, root: Path, **options) -> FaceFiles:
    return load_dataset(name, root, **LAYOUTS[name].options, **options)


def one_line(error: Exception, *parts: str) -> None:
    text = str(error)
    assert "\n" not in text
    for part in parts:
        assert part in text


def test_known_numbers_come_out(name, tmp_path):
    faces = write(name, tmp_path)
    dataset = load(name, tmp_path)
    assert (dataset.name, dataset.scheme, len(dataset)) == (name, LAYOUTS[name].scheme, 3)
    assert dataset.facts["dataset"] == name
    assert dataset.facts["faces"] == 3
    for i, (face, found, item) in enumerate(zip(faces, dataset.annotations, dataset, strict=True)):
        assert found.name == item["name"]
        assert found.points.dtype == item["points"].dtype == np.float32
        np.testing.assert_allclose(found.points, face.points, atol=1e-4)
        np.testing.assert_array_equal(found.points, item["points"])
        assert found.visible.all()
        assert item["visible"].dtype == bool
        assert item["image"].dtype == np.uint8
        assert item["image"].shape == face.image.shape
        assert np.abs(item["image"].astype(int) - face.image).mean() < 3
        assert found.image.is_file()
        assert str(tmp_path) in found.source
        if found.box is not None:
            np.testing.assert_allclose(found.box, face.box, atol=0.5)
        assert np.array_equal(dataset.upright(i).points, item["points"])
    assert len({face.name for face in dataset.annotations}) == 3


def test_the_working_folder_may_be_the_root(name, tmp_path, monkeypatch):
    faces = write(name, tmp_path)
    monkeypatch.chdir(tmp_path)
    dataset = load(name, Path("."))
    assert len(dataset) == 3
    for face, item in zip(faces, dataset, strict=True):
        np.testing.assert_allclose(item["points"], face.points, atol=1e-4)


def test_points_lie_on_what_they_mark(name, tmp_path):
    write(name, tmp_path)
    for item in load(name, tmp_path):
        x, y = np.rint(item["points"]).astype(int).T
        assert item["image"][y, x].min() > 200
        assert np.mean(item["image"][(y + 3) % 96, (x + 3) % 80]) < 120


def test_no_picture_is_opened_for_the_annotations(name, tmp_path, monkeypatch):
    if name in RELATIVE:
        pytest.skip("the numbers are relative to the size of the picture")
    if name in SIZELESS:
        pytest.skip("its file states no sizes: it reads the headers once, to say which pictures EXIF turns")
    write(name, tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError("a picture was opened")

    monkeypatch.setattr(_files, "read_image", refuse)
    monkeypatch.setattr(_pictures, "frame_of", refuse)
    monkeypatch.setattr(Image, "open", refuse)
    dataset = load(name, tmp_path)
    assert len([face.points for face in dataset.annotations[0:2]]) == 2
    with pytest.raises(AssertionError, match="opened"):
        dataset[0]


def test_an_item_is_a_function_of_its_index(name, tmp_path):
    write(name, tmp_path)
    dataset, other = load(name, tmp_path), load(name, tmp_path)
    dataset[0]["points"][:] = -1
    dataset[0]["image"][:] = 0
    dataset.annotations[0].points[:] = -1
    for key in ("image", "points", "visible"):
        assert np.array_equal(dataset[0][key], other[0][key])
    for index in (-4, 3):
        with pytest.raises(IndexError, match="data set of 3"):
            dataset[index]


def test_negative_indices_count_from_the_end(name, tmp_path):
    write(name, tmp_path)
    dataset = load(name, tmp_path)
    for index in range(-3, 0):
        assert dataset[index]["name"] == dataset.annotations[index].name == dataset[3 + index]["name"]
        assert np.array_equal(dataset[index]["points"], dataset[3 + index]["points"])
        assert np.array_equal(dataset[index]["image"], dataset[3 + index]["image"])
        assert dataset.upright(index).name == dataset[index]["name"]


def test_it_travels_to_worker_processes(name, tmp_path):
    write(name, tmp_path)
    dataset = load(name, tmp_path)
    twin = pickle.loads(pickle.dumps(dataset))
    assert twin.annotations[1].image == dataset.annotations[1].image
    assert np.array_equal(twin[1]["image"], dataset[1]["image"])
    assert (twin.facts, twin.left_out) == (dataset.facts, dataset.left_out)


def test_a_missing_picture_is_noticed_at_once(name, tmp_path):
    write(name, tmp_path)
    lost = load(name, tmp_path).annotations[1]
    lost.image.unlink()
    with pytest.raises(DataError) as caught:
        load(name, tmp_path)
    one_line(caught.value, "no picture", lost.image.stem, lost.source, "skip_broken=True")


@pytest.mark.parametrize("content", ["empty", "cut", "text"])
def test_a_broken_picture_is_named_with_its_row(name, tmp_path, content):
    write(name, tmp_path)
    dataset = load(name, tmp_path)
    path = dataset.annotations[1].image
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"no image"}[content])
    with pytest.raises(DataError) as caught:
        dataset[1]
    one_line(caught.value, path.name, dataset.annotations[1].source, "or skip such faces with --skip-broken")


def test_points_far_outside_are_refused_when_the_picture_is_opened(name, tmp_path):
    write(name, tmp_path)
    dataset = load(name, tmp_path)
    Image.new("RGB", (20, 20)).save(dataset.annotations[2].image)
    dataset[1]
    with pytest.raises(DataError) as caught:
        dataset[2]
    one_line(caught.value, dataset.annotations[2].source, "20 x 20")


def test_broken_faces_are_left_out_on_request_and_reported(name, tmp_path):
    faces = [draw_face(LAYOUTS[name].scheme, seed) for seed in range(5)]
    LAYOUTS[name].write(tmp_path, faces)
    before = load(name, tmp_path).annotations
    before[0].image.unlink()
    before[2].image.write_bytes(b"")
    if name in RELATIVE:
        before[3].image.write_bytes(b"20 x 20")
    else:
        Image.new("RGB", (20, 20)).save(before[3].image)
    with pytest.warns(UserWarning, match=rf"{name}: 3 faces skipped, the first: .*no picture"):
        dataset = load(name, tmp_path, skip_broken=True)
    assert [face.name for face in dataset.annotations] == [before[1].name, before[4].name]
    assert [left.source for left in dataset.left_out] == [before[i].source for i in (0, 2, 3)]
    assert "no picture" in dataset.left_out[0].reason
    assert ("damaged" if name in RELATIVE else "20 x 20") in dataset.left_out[2].reason
    assert dataset.facts["left_out"] == 3
    assert dataset.facts["first_left_out"] == [f"{left.source}: {left.reason}" for left in dataset.left_out]
    assert len(list(dataset)) == 2


def test_where_no_face_is_left_that_is_an_error(name, tmp_path):
    write(name, tmp_path)
    for face in load(name, tmp_path).annotations:
        face.image.unlink()
    with pytest.raises(DataError) as caught:
        load(name, tmp_path, skip_broken=True)
    one_line(caught.value, "no usable faces: 3 selected, 3 skipped", "no picture")


def test_an_empty_data_set_is_an_error(name, tmp_path):
    if name == "folder":
        write(name, tmp_path)
        (tmp_path / "points.csv").write_text((tmp_path / "points.csv").read_text().splitlines()[0])
    else:
        LAYOUTS[name].write(tmp_path, [])
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "Img/img_align_celeba").mkdir(parents=True, exist_ok=True)
    with pytest.raises(DataError) as caught:
        load(name, tmp_path)
    one_line(caught.value, str(tmp_path), "no ")


def test_wrong_options_say_what_exists(name, tmp_path):
    write(name, tmp_path)
    with pytest.raises(ConfigError) as caught:
        load(name, tmp_path, skip_brokn=True)
    one_line(caught.value, "Did you mean 'skip_broken'", name)
    options = inspect.signature(get_dataset(name)).parameters
    for option, known in (("split", "test"), ("species", "")):
        if option in options:
            with pytest.raises(ConfigError) as caught:
                load(name, tmp_path, **{option: "nonsense"})
            one_line(caught.value, "nonsense", f"unknown {option}", "Known: ", known)


def test_a_root_that_is_not_there_is_one_line(name, tmp_path):
    with pytest.raises(DataError) as caught:
        load(name, tmp_path / "nowhere")
    one_line(caught.value, "nowhere", "no folder")
    with pytest.raises(DataError, match="no folder ~nobody-of-that-name"):
        load(name, "~nobody-of-that-name/data")
    (tmp_path / "hollow").mkdir()
    with pytest.raises(DataError) as caught:
        load(name, tmp_path / "hollow")
    one_line(caught.value, "hollow", "no ")


def test_the_number_of_points_is_the_schemes(name):
    scheme = LAYOUTS[name].scheme
    assert len(SCHEMES[scheme].landmarks) == COUNTS[scheme]


def test_uppercase_suffixes_and_blanks_in_names_are_fine(name, tmp_path):
    face = draw_face(LAYOUTS[name].scheme, picture="koala of mine_1")
    LAYOUTS[name].write(tmp_path, [face])
    path = load(name, tmp_path).annotations[0].image
    assert path.stem == face.picture
    path.rename(path.with_suffix(path.suffix.upper()))
    (item,) = load(name, tmp_path)
    np.testing.assert_allclose(item["points"], face.points, atol=1e-4)


def test_ends_of_line_of_windows_and_blank_lines_are_fine(name, tmp_path):
    faces = write(name, tmp_path)
    for path in tmp_path.rglob("*"):
        if path.suffix in (".txt", ".csv", ".pts", ".json"):
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n \r\n\r\n")
    dataset = load(name, tmp_path)
    assert len(dataset) == 3
    for face, found in zip(faces, dataset.annotations, strict=True):
        np.testing.assert_allclose(found.points, face.points, atol=1e-4)
    assert dataset[2]["name"] == dataset.annotations[2].name
