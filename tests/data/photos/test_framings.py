"""Framings, several lists and repeated faces of evaluations on photographs."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from dife_lightning.data.photos import face_domains
from dife_lightning.data.photos.face_pairs import FacePairs
from dife_lightning.data.photos.framed_faces import pair_framing
from dife_lightning.errors import ConfigError
from dife_lightning.faces.schemes import LAYOUT
from tests.fake_faces import BLUE, GREEN, RED, make_faces

THREE = LAYOUT["3-point"]
DOMAINS = {
    "human": {"dataset": "celeba", "root": "a", "val_options": {"split": "val"}},
    "dog": {"dataset": "ap10k", "root": "b", "val_options": {"split": "val"}},
}


@pytest.fixture
def readers(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    found = {
        name + end: make_faces(tmp_path, count, name=name + end, scheme=scheme, seed=seed)
        for name, scheme, end, count, seed in (
            ("celeba", "mafl-5", "", 40, 0),
            ("ap10k", "ap10k-17", "", 30, 1),
            ("celeba", "mafl-5", "-val", 8, 2),
            ("ap10k", "ap10k-17", "-val", 5, 3),
        )
    }
    monkeypatch.setattr(
        face_domains, "load_dataset", lambda name, root, **o: found[name + ("-val" if o.get("split") == "val" else "")]
    )
    return found


def make(**options):
    return FacePairs(DOMAINS, **{"size": 64, "count": 12, "val_count": 5, **options})


def sets_of(**options):
    data = make(**options)
    data.setup("test")
    return data.test_sets


BOTH = ("jittered", "plain")


def test_every_list_is_tested_in_every_framing(readers):
    sets = sets_of(lists=["paper", "long"], repeat=True, framings=BOTH, count=None)
    assert [(s.name, len(s)) for s in sets] == [
        (f"human+dog/{name}/{framing}", count) for name, count in (("paper", 100), ("long", 1000)) for framing in BOTH
    ]
    paper, long = sets[0], sets[2]
    assert [paper[i].pair_id for i in range(30)] == [long[i].pair_id for i in range(30)]


def test_points_move_with_the_picture_and_back_to_the_photo(readers):
    jittered, plain = sets_of(framings=BOTH)
    moved = 0.0
    for i in range(len(plain)):
        one, other = jittered[i], plain[i]
        assert one.pair_id == other.pair_id
        for side in ("source", "target"):
            points, before = (getattr(item, f"{side}_points")[THREE] for item in (one, other))
            image, crop = getattr(one, f"{side}_image"), getattr(one, f"{side}_crop")
            seen = ((points > 2) & (points < 61)).all(-1)
            for (x, y), color in zip(
                np.rint(points[seen]).astype(int), np.array([RED, BLUE, GREEN])[seen], strict=True
            ):
                np.testing.assert_allclose(image[y, x].astype(int), color, atol=60)
            photo = getattr(other, f"{side}_crop").picture_points(before)
            np.testing.assert_allclose(crop.picture_points(points), photo, atol=1e-3)
            moved += np.abs(points - before).mean()
    assert moved / 24 > 3


def test_only_what_is_outside_the_photo_is_black(readers):
    (jittered,) = sets_of(framings=["jittered"])
    y, x = np.mgrid[:64, :64]
    pixels, corners = np.stack((x, y), -1), 0
    for i in range(len(jittered)):
        item = jittered[i]
        places = item.source_crop.picture_points(pixels)
        black = (item.source_image == 0).all(-1)
        inside = ((places > 0) & (places < [119, 99])).all(-1)
        assert not (black & inside).any()
        assert black[((places < -2) | (places > [121, 101])).any(-1)].all()
        corners += inside[0, 0] + inside[0, -1]
    assert corners  # where the photo goes on, so does the crop


def test_framings_are_those_of_the_world_and_a_function_of_seed_pair_and_side():
    names = [(f"a{i}", f"b{i}") for i in range(400)]
    found = [pair_framing("jittered", 0, "human+dog", two, 0) for two in names]
    for value, low, high in (
        ([f.rotation_deg for f in found], -29, 29),
        ([f.scale for f in found], 0.75, 1.25),
        ([f.shift_x for f in found], -0.1, 0.1),
        ([f.shift_y for f in found], -0.1, 0.1),
    ):
        assert low <= min(value) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(value) <= high
    assert found[7] == pair_framing("jittered", 0, "human+dog", ("a7", "b7"), 0)
    others = [
        pair_framing("jittered", 1, "human+dog", ("a7", "b7"), 0),
        pair_framing("jittered", 0, "human+cat", ("a7", "b7"), 0),
        pair_framing("jittered", 0, "human+dog", ("a7", "b8"), 0),
        pair_framing("jittered", 0, "human+dog", ("a7", "b7"), 1),
    ]
    assert len({found[7], *others}) == 5


def test_validation_is_jittered_where_that_is_asked_for(readers):
    data = make(val_framings=["jittered"])
    data.setup("validate")
    assert [s.name for s in data.val_sets] == ["human+dog/val/jittered"]


def test_the_default_is_one_plain_list_without_repetition(readers):
    (only,) = sets_of(count=None)
    assert (only.name, len(only)) == ("human+dog/test/plain", 30)
    assert only.units[0][0].startswith("human/")


def test_crops_of_a_jittered_set_come_from_the_cache(readers):
    (first,) = sets_of(framings=["jittered"])
    opened = readers["celeba"].opened
    (second,) = sets_of(framings=["jittered"])
    assert readers["celeba"].opened == opened
    np.testing.assert_array_equal(first[5].target_image, second[5].target_image)
    (other,) = sets_of(framings=["jittered"], seed=1)
    assert readers["celeba"].opened > opened
    assert other[0].pair_id != first[0].pair_id


def test_repeated_faces_have_units_and_another_framing_in_each_pair(readers):
    (found,) = sets_of(count=200, repeat=True, framings=["jittered"])
    assert len(found) == 200
    times = Counter(unit for unit, _ in found.units)
    assert set(times.values()) == {5}
    assert [f"{a}>{b}".replace("human/", "").replace("dog/", "") for a, b in found.units] == [
        found[i].pair_id for i in range(200)
    ]
    crops = [found[i].source_crop for i in range(200) if found.units[i][0] == found.units[0][0]]
    assert len({crop.to_picture.tobytes() for crop in crops}) == 5


def test_lists_of_a_result_can_be_used_again(readers, tmp_path):
    data = make(lists=["paper", "long"], repeat=True, count=None)
    data.setup("test")
    data.save_lists(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.json")) == [
        f"test_human+dog_{n}.json" for n in ("long", "paper")
    ]
    assert json.loads((tmp_path / "test_human+dog_long.json").read_text())["drawn"]["repeat"] is True
    given = {"human+dog/long": str(tmp_path / "test_human+dog_long.json")}
    again = make(lists=["long"], repeat=True, test_lists=given, seed=5)
    assert again.list_hashes()["test"] == {"human+dog/long": data.list_hashes()["test"]["human+dog/long"]}
    described = data.describe()
    assert described["test_pairs"]["human+dog/long"]["units"] == [40, 30]
    assert (described["repeat"], described["framings"]) == (True, {"test": ["plain"], "val": ["plain"]})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"framings": ["jitter"]}, "framings: unknown 'jitter'. Did you mean 'jittered'"),
        ({"val_framings": []}, "val_framings is empty"),
        ({"lists": ["short"]}, "lists: unknown 'short'"),
        (
            {"lists": ["long"], "test_lists": {"human+dog": "a.json"}},
            "which is not in pairs and lists.*human.dog/long",
        ),
    ],
)
def test_unknown_names_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        make(**options)
