"""Single photographed faces as landmark models get them."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from dife_lightning.data.photos import face_domains
from dife_lightning.data.photos.face_sets import FaceSets, image_box
from dife_lightning.data.photos.single_faces import scheme_of
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.items import PictureCrop
from dife_lightning.faces.schemes import PROTOCOLS
from dife_lightning.metrics.nme_rules import nme_rule
from tests.fake_faces import BLUE, GREEN, RED, make_faces

DOMAINS: dict[str, Any] = {
    "human": {"dataset": "celeba", "root": "data/celeba"},
    "dog": {"dataset": "ap10k", "root": "data/ap10k"},
}


@pytest.fixture
def readers(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    found: dict[str, Any] = {
        "celeba": make_faces(tmp_path, 20, name="celeba", scheme="mafl-5"),
        "ap10k": make_faces(tmp_path, 16, name="ap10k", scheme="ap10k-17", seed=1),
    }
    monkeypatch.setattr(face_domains, "load_dataset", lambda name, root=None, **options: found[name])
    return found


def make(domains=None, **options):
    return FaceSets(domains or DOMAINS, **{"landmarks": "3-point", "size": 64, "count": 8, "val_count": 5, **options})


def ready(stage="test", **options):
    data = make(**options)
    data.setup(stage)
    return data


def test_points_of_all_domains_mean_the_same_and_are_where_the_picture_shows_them(readers):
    for framing in ("plain", "jittered"):
        data = ready(framing=framing)
        assert [faces.name for faces in data.test_sets] == [f"{name}/test/{framing}" for name in DOMAINS]
        for faces in data.test_sets:
            assert faces.scheme.landmarks == PROTOCOLS["3-point"].landmarks
            for item in map(faces.__getitem__, range(3)):
                for (x, y), color in zip(np.rint(item.points).astype(int), (RED, BLUE, GREEN), strict=True):
                    np.testing.assert_allclose(item.image[y, x], color, atol=60)


def test_a_box_and_the_points_are_those_of_the_picture(readers):
    for framing in ("plain", "jittered"):
        faces = ready(framing=framing).test_sets[1]
        for k in range(4):
            item = faces[k]
            truth = next(face for face in readers["ap10k"].annotations if face.name == item.name)
            np.testing.assert_allclose(item.crop.picture_points(item.points), truth.points[[1, 0, 2]], atol=1e-3)
            a, b, c, d = item.crop.to_picture[:, :2].ravel()
            sides = item.box[2:] - item.box[:2]
            expected = (truth.box[2:] - truth.box[:2]) / math.sqrt(abs(a * d - b * c))
            np.testing.assert_allclose(sides, expected, rtol=1e-4)
            middle = item.crop.picture_points((item.box[:2] + item.box[2:]) / 2)
            np.testing.assert_allclose(middle, (truth.box[:2] + truth.box[2:]) / 2, atol=1e-2)


def test_a_box_is_cut_out_with_its_face():
    crop = PictureCrop("a.png", 100, 100, np.array([[2.0, 0, 10], [0, 2, 20]]))  # 2 px of the picture in one
    np.testing.assert_allclose(image_box(np.array([20, 40, 60, 140], np.float32), crop), [5, 10, 25, 60])
    assert np.isnan(image_box(None, crop)).all()


def test_validation_and_test_share_no_picture_also_across_domains(readers, tmp_path):
    readers["ap10k"] = readers["celeba"].shuffled(3)  # both domains are of the same pictures
    data = ready(domains={"one": DOMAINS["human"], "other": DOMAINS["dog"]}, count=10)
    data.setup("validate")
    found = [{sets[i].name for sets in split for i in range(len(sets))} for split in (data.val_sets, data.test_sets)]
    assert all(found)
    assert not found[0] & found[1]


def test_validation_and_test_share_no_subject(readers):
    for index in range(20):
        readers["celeba"] = readers["celeba"].changed(index, subject=f"person {index // 2}")
    data = ready(domains={"human": DOMAINS["human"]})
    data.setup("validate")
    subjects = [set(sets.subjects) for sets in (*data.val_sets, *data.test_sets)]
    assert all(subjects)
    assert not subjects[0] & subjects[1]


def test_without_faces_for_validation_a_test_goes_on_and_a_validation_says_what_to_do(readers):
    data = ready(count=None)
    assert [len(faces) for faces in data.test_sets] == [20, 16]
    hashes = data.list_hashes()
    assert (hashes["val"], sorted(hashes["test"])) == ({}, ["dog", "human"])
    with pytest.raises(DataError, match=r"no val faces of human: 20 faces of celeba, 20 usable; .* set count"):
        data.setup("validate")


def test_all_points_need_one_scheme_and_faces_may_lack_some_of_them(readers):
    with pytest.raises(ConfigError, match="have 'mafl-5' and 'ap10k-17'; use common"):
        ready(landmarks="all")
    faces = ready(landmarks="all", domains={"human": DOMAINS["human"]}).test_sets[0]
    assert faces.scheme.name == "mafl-5"
    assert faces[0].visible.tolist() == [True, True, True, False, False]


def test_named_points_have_the_order_of_their_names(readers):
    faces = ready(landmarks="nose,right_eye").test_sets
    assert [one.scheme.landmarks for one in faces] == [("nose", "right_eye")] * 2
    for one in faces:
        for (x, y), color in zip(np.rint(one[0].points).astype(int), (GREEN, BLUE), strict=True):
            np.testing.assert_allclose(one[0].image[y, x], color, atol=60)
    common = ready(landmarks="common").test_sets[0].scheme
    assert common.landmarks == ("left_eye", "right_eye", "nose")


def test_the_scheme_of_a_protocol_knows_its_eyes():
    assert nme_rule(scheme_of(PROTOCOLS["9-point"]), "interocular").eyes == ((0, 1), (3, 2))
    assert nme_rule(scheme_of(PROTOCOLS["9-point"]), "outer_corners").eyes == ((0,), (3,))
    assert nme_rule(scheme_of(PROTOCOLS["3-point"]), "interocular").eyes == ((0,), (1,))


def test_lists_and_facts_name_what_was_tested(readers, tmp_path):
    data = ready(groups={"known": ["human"], "unknown": ["dog"]})
    data.save_lists(tmp_path / "lists")
    stored = json.loads((tmp_path / "lists" / "test_dog.json").read_text())
    assert stored["faces"] == [data.test_sets[1][k].name for k in range(8)]
    assert stored["hash"] == data.list_hashes()["test"]["dog"] == data.test_sets[1].list_hash
    facts = json.loads(json.dumps(data.describe()))
    assert facts["test_faces"]["dog"] == {"faces": 8, "hash": stored["hash"]}
    assert facts["points"] == ["left_eye", "right_eye", "nose"]
    assert len(facts["domains"]["dog"]["faces"]["test"]["annotations_hash"]) == 64
    assert data.test_sets[1].groups == ("unknown",)
    other = make(seed=1)
    assert other.list_hashes()["test"] != data.list_hashes()["test"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"framing": "tilted"}, "framing 'tilted'"),
        ({"count": 0}, "count is 0"),
        ({"size": 4}, "size is 4"),
        ({"keep_apart": "colour"}, "keep_apart 'colour'"),
        ({"groups": {"known": ["fox"]}}, "'known' has 'fox'"),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)


def test_no_domain_is_refused():
    with pytest.raises(ConfigError, match="domains is empty"):
        FaceSets({})
