"""The readers of the world: annotated faces, mean shapes, and arrays of pictures with a cache."""

from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.errors import ConfigError
from dife_lightning.world import (
    WORLD_VERSION,
    WorldFaces,
    dataset,
    list_species,
    mean_shape,
    render,
    render_arrays,
    render_image,
)
from dife_lightning.world.scene.framing import framing_for
from tests.world.samples import sample


def test_items_keep_the_contract_of_annotated_faces():
    faces = WorldFaces("cat", "val", 3, framing="jittered", size=40, seed=2)
    items = list(faces)
    assert len(faces) == len(items) == 3
    for item in items:
        assert sorted(item) == ["image", "name", "points", "visible"]
        assert (item["image"].shape, item["image"].dtype) == ((40, 40, 3), np.uint8)
        assert (item["points"].shape, item["points"].dtype) == ((9, 2), np.float32)
        assert (item["visible"].shape, item["visible"].dtype) == ((9,), np.bool_)
    assert len({item["name"] for item in items}) == 3


def test_item_i_is_render_i_with_the_framing_of_seed_and_i():
    faces = WorldFaces("dog", "test", 10, framing="jittered", size=32, seed=4)
    expected = render("dog", "test", 6, size=32, framing=framing_for("jittered", 4, 6))
    np.testing.assert_array_equal(faces[6]["image"], expected.image)
    np.testing.assert_array_equal(faces[6]["points"], expected.points)
    np.testing.assert_array_equal(faces.sample(6).mask, expected.mask)


def test_a_plain_set_has_plain_renders_whatever_its_seed():
    item = WorldFaces("human", "val", 2, seed=9)[1]
    np.testing.assert_array_equal(item["image"], sample("human", 1).image)


def test_the_seed_moves_the_framing_and_not_the_face():
    one, other = (WorldFaces("fox", "val", 1, framing="jittered", seed=seed).sample(0) for seed in (0, 1))
    assert (one.pose, one.mouth_open) == (other.pose, other.mouth_open)
    assert not np.allclose(one.points, other.points)


def test_negative_indices_count_from_the_end():
    faces = WorldFaces("dog", "val", 3)
    assert faces[-1]["name"] == faces[2]["name"] == "world/dog/val/2"
    np.testing.assert_array_equal(faces[-1]["image"], faces[2]["image"])


@pytest.mark.parametrize("index", [-4, 3])
def test_an_index_outside_the_set_is_an_index_error(index):
    with pytest.raises(IndexError, match=f"index {index} of a data set of 3"):
        WorldFaces("dog", "val", 3)[index]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("dgo", "val", 3), {}, "no species 'dgo'"),
        (("dog", "vall", 3), {}, "split 'vall' is unknown"),
        (("dog", "val", 0), {}, "count is 0; expected at least 1"),
        (("dog", "val", 3), {"framing": "tilted"}, "framing 'tilted' is unknown.*Known: jittered, plain"),
        (("dog", "val", 3), {"framing": "jittered", "seed": -1}, "seed is -1; expected at least 0"),
        (("dog", "val", 3), {"size": 4}, "size is 4; expected at least 8"),
    ],
)
def test_a_wrong_set_is_refused_when_it_is_made(arguments, options, message):
    with pytest.raises(ConfigError, match=message):
        WorldFaces(*arguments, **options)


@pytest.mark.parametrize("kind", ["plain", "jittered"])
def test_the_mean_shape_is_the_mean_of_rendered_train_landmarks(kind):
    points = [render("dog", "train", i, size=64, framing=framing_for(kind, 0, i)).points for i in range(12)]
    np.testing.assert_allclose(mean_shape("dog", kind, 64, count=12), np.mean(points, 0), atol=1e-4)


def test_the_mean_shape_scales_with_the_picture():
    small, large = (mean_shape("cat", "plain", size, count=12).astype(float) for size in (64, 160))
    np.testing.assert_allclose((small + 0.5) * 2.5 - 0.5, large, atol=1e-3)


def test_mean_shapes_of_all_species_are_upright_faces():
    for species in list_species():
        shape = mean_shape(species, "plain", 64, count=12)
        assert np.all(np.diff(shape[:4, 0]) > 0)  # the four eye corners from left to right
        assert shape[:4, 1].max() < shape[4, 1] < shape[7, 1] < shape[8, 1]
        assert shape[5, 0] < shape[4, 0] < shape[6, 0]


def test_a_mean_shape_is_the_callers_own():
    mean_shape("cat", "plain", 64, count=12)[:] = 0
    assert mean_shape("cat", "plain", 64, count=12).max() > 10


def test_arrays_are_the_plain_pictures_in_order():
    images = render_arrays("wild", "val", 3, 32)
    assert (images.shape, images.dtype) == ((3, 32, 32, 3), np.uint8)
    for index in range(3):
        np.testing.assert_array_equal(images[index], render_image("wild", "val", index, size=32))


def test_processes_and_chunks_change_nothing():
    told: list[tuple[int, int]] = []
    images = render_arrays("dog", "val", 66, 8, workers=2, progress=lambda *done: told.append(done))
    assert told == [(64, 66), (66, 66)]
    for index in (0, 63, 64, 65):
        np.testing.assert_array_equal(images[index], render_image("dog", "val", index, size=8))


@pytest.fixture
def count_chunks(monkeypatch):
    calls = []
    render_chunk = dataset._render_chunk

    def counted(*arguments):
        calls.append(arguments)
        return render_chunk(*arguments)

    monkeypatch.setattr(dataset, "_render_chunk", counted)
    return calls


def test_a_second_call_reads_the_same_bytes_from_the_cache(tmp_path, count_chunks):
    first = render_arrays("cat", "val", 3, 16, tmp_path / "renders")
    again = render_arrays("cat", "val", 3, 16, tmp_path / "renders")
    assert len(count_chunks) == 1
    assert again.tobytes() == first.tobytes()
    assert len(list((tmp_path / "renders").iterdir())) == 1


def test_everything_that_decides_the_content_is_in_the_name(tmp_path):
    for arguments in (("cat", "val", 2, 16), ("fox", "val", 2, 16), ("cat", "test", 2, 16), ("cat", "val", 1, 16)):
        render_arrays(*arguments, tmp_path)
    render_arrays("cat", "val", 2, 8, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 5
    assert all(name.startswith(f"world-v{WORLD_VERSION}-") for name in names)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: b"",
        lambda whole: b"PK\x03\x04" + whole,
        lambda whole: whole[:20] + b"\x00" * 40 + whole[60:],
        lambda whole: whole.replace(b"(2, 16,", b"(1, 16,"),
        lambda whole: whole.replace(b"|u1", b"|i1"),
        lambda whole: whole.replace(b"|u1", b"|O8"),
        lambda whole: whole.replace(b", }", b",  ", 1),
    ],
    ids=["truncated", "empty", "other-format", "damaged-header", "other-shape", "other-type", "pickled", "open-header"],
)
def test_a_damaged_cache_is_made_anew(tmp_path, count_chunks, damage):
    first = render_arrays("cat", "val", 2, 16, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    assert damage(whole) != whole
    path.write_bytes(damage(whole))
    again = render_arrays("cat", "val", 2, 16, tmp_path)
    assert again.tobytes() == first.tobytes()
    assert len(count_chunks) == 2
    assert path.read_bytes() == whole


def test_a_write_that_fails_half_way_leaves_no_file(tmp_path, monkeypatch):
    def half(target, _images):
        with open(target, "wb") as file:
            file.write(b"\x93NUMPY")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(dataset.np, "save", half)
        images = render_arrays("cat", "val", 2, 16, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert render_arrays("cat", "val", 2, 16, tmp_path).tobytes() == images.tobytes()


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert len(render_arrays("cat", "val", 2, 16, tmp_path / "file")) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dgo", "val", 2, 16), "no species 'dgo'"),
        (("dog", "vall", 2, 16), "split 'vall' is unknown"),
        (("dog", "val", 0, 16), "count is 0; expected at least 1"),
        (("dog", "val", 2, 4), "size is 4; expected at least 8"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        render_arrays(*arguments, tmp_path)
    assert list(tmp_path.iterdir()) == []
