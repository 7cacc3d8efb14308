"""Many renders with their truth, and their cache."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from dife_lightning.errors import ConfigError
from dife_lightning.world import render, truth
from dife_lightning.world.truth import decode_uv, encode_uv, truth_arrays


def same(one, other):
    return all(np.array_equal(getattr(one, k), getattr(other, k)) for k in ("images", "uv", "points", "visible"))


@pytest.fixture
def count_renders(monkeypatch):
    calls = []

    def counted(*arguments, **more):
        calls.append(arguments)
        return render(*arguments, **more)

    monkeypatch.setattr(truth, "render", counted)
    return calls


def test_arrays_are_the_renders_in_order():
    arrays = truth_arrays("dog", "val", 3, 32)
    assert len(arrays) == 3
    for index in range(3):
        sample = render("dog", "val", index, size=32)
        uv, known = decode_uv(arrays.uv[index])
        assert np.array_equal(arrays.images[index], sample.image)
        assert np.array_equal(arrays.points[index], sample.points)
        assert np.array_equal(arrays.visible[index], sample.visible)
        assert np.array_equal(known, sample.mask)
        assert np.abs(uv - sample.uv)[known].max() <= 0.5 / 32_000 + 1e-7
        assert not uv[~known].any()


def test_a_coordinate_is_stored_to_less_than_a_thousandth_of_a_pixel():
    uv = np.random.default_rng(0).uniform(-1, 1, (1000, 2)).astype(np.float32)
    uv[0], uv[1], uv[2] = (-1, 1), (np.nan, np.nan), (0, 0)
    found, known = decode_uv(encode_uv(uv))
    assert known.tolist() == [True, False] + [True] * 998
    assert np.abs(found - uv)[known].max() < 0.048 / 1000  # a pixel of a 64-px face
    assert encode_uv(uv).itemsize == 2


def test_a_second_call_reads_the_cache(tmp_path, count_renders):
    first, again = (truth_arrays("cat", "val", 2, 16, tmp_path / "renders") for _ in range(2))
    assert len(count_renders) == 2
    assert same(first, again)
    assert same(first, truth_arrays("cat", "val", 2, 16))
    assert len(list((tmp_path / "renders").iterdir())) == 1


def test_everything_that_decides_the_content_is_in_the_name(tmp_path):
    for arguments in (("cat", "val", 2, 16), ("fox", "val", 2, 16), ("cat", "test", 2, 16), ("cat", "val", 1, 16)):
        truth_arrays(*arguments, tmp_path)
    truth_arrays("cat", "val", 2, 8, tmp_path)
    assert len(list(tmp_path.iterdir())) == 5


def write_other(path, **changes):
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path, **{name: array for name, array in (arrays | changes).items() if array is not None})


def write_array(path, array):
    with open(path, "wb") as file:
        np.save(file, array)


def write_header(path, name, header):
    with zipfile.ZipFile(path) as file:
        content = {member: file.read(member) for member in file.namelist()}
    content[name] = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(path, "w") as file:
        for member, data in content.items():
            file.writestr(member, data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:500]),
        lambda path: path.write_bytes(b""),
        lambda path: write_other(path, uv=None),
        lambda path: write_other(path, visible=np.ones((2, 8), bool)),
        lambda path: write_other(path, uv=np.zeros((2, 16, 16, 2), np.float32)),
        lambda path: write_other(path, points=np.full((2, 9, 2), None)),
        lambda path: write_array(path, np.zeros(3)),
        lambda path: write_header(path, "uv.npy", b"{'descr': '<i2', 'shape': (2, 16, 16, 2"),
    ],
    ids=["truncated", "empty", "missing", "other-shape", "other-type", "pickled", "one-array", "header"],
)
def test_a_damaged_cache_is_made_anew(tmp_path, count_renders, damage):
    first = truth_arrays("cat", "val", 2, 16, tmp_path)
    (path,) = tmp_path.iterdir()
    damage(path)
    assert same(truth_arrays("cat", "val", 2, 16, tmp_path), first)
    assert len(count_renders) == 4
    assert same(truth_arrays("cat", "val", 2, 16, tmp_path), first)
    assert len(count_renders) == 4


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert len(truth_arrays("cat", "val", 2, 16, tmp_path / "file")) == 2


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
        truth_arrays(*arguments, tmp_path)
    assert list(tmp_path.iterdir()) == []
