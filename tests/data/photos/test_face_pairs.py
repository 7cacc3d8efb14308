from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from dife_lightning.data.photos import face_domains
from dife_lightning.data.photos.face_domains import FaceDomain
from dife_lightning.data.photos.face_pairs import FacePairs
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.schemes import LAYOUT
from dife_lightning.geometry.crops import CropOptions
from tests.fake_faces import BLUE, RED, make_faces

THREE = LAYOUT["3-point"]


@pytest.fixture
def readers(tmp_path, monkeypatch):
    """Data sets by (name, root), and what they were asked for; nothing but tests knows of pictures below ``root``."""
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    found: dict[str, Any] = {
        "celeba": make_faces(tmp_path, 130, name="celeba", scheme="mafl-5"),
        "ap10k": make_faces(tmp_path, 60, name="ap10k", scheme="ap10k-17", seed=1),
    }
    asked = []

    def load(name, root=None, **options):
        asked.append((name, str(root), options))
        return found[name] if options.get("split") != "val" else found[f"{name}-val"]

    monkeypatch.setattr(face_domains, "load_dataset", load)
    found["asked"] = asked
    return found


DOMAINS = {
    "human": FaceDomain("celeba", "data/celeba", {"split": "test"}),
    "dog": {"dataset": "ap10k", "root": "data/ap10k"},
}


def make(domains=None, **options):
    return FacePairs(domains or DOMAINS, **{"size": 64, "count": 20, "val_count": 9, **options})


def set_up(**options):
    data = make(**options)
    data.setup("test")
    return data


def pictures_in(sets):
    """Return the pictures on both sides of a set of pairs, by what the faces in them are called."""
    pairs = [sets[i].pair_id.split(">") for i in range(len(sets))]
    return [{name.partition("#")[0] for name in side} for side in zip(*pairs, strict=True)]


def test_a_test_set_holds_crops_with_their_points_in_the_layout(readers):
    (sets,) = set_up().test_sets
    assert (sets.name, len(sets), sets.protocols) == ("human+dog/test/plain", 20, ("3-point",))
    item = sets[3]
    assert item.source_image.shape == item.target_image.shape == (64, 64, 3)
    assert item.visible[THREE].all()
    for image, points in ((item.source_image, item.source_points), (item.target_image, item.target_points)):
        for (x, y), color in zip(np.rint(points[THREE][:2]).astype(int), (RED, BLUE), strict=True):
            np.testing.assert_allclose(image[y, x], color, atol=40)


def test_stored_eye_order_pairs_the_animals_left_with_the_viewers_left(readers):
    viewer, stored = set_up().test_sets[0][0], set_up(eye_order="stored").test_sets[0][0]
    np.testing.assert_array_equal(stored.source_points, viewer.source_points)
    np.testing.assert_array_equal(stored.target_points[THREE], viewer.target_points[THREE][[1, 0, 2]])


def test_readers_get_root_and_options_and_are_made_once(readers):
    data = set_up()
    data.setup("fit")
    assert readers["asked"] == [("celeba", "data/celeba", {"split": "test"}), ("ap10k", "data/ap10k", {})]


def test_options_left_empty_are_none(readers):
    empty = {"dataset": "ap10k", "root": "data/ap10k", "options": None, "val_options": None, "crop": None}
    assert len(set_up(domains=DOMAINS | {"dog": empty}).test_sets[0]) == 20


def test_batches_are_those_of_any_other_evaluation(readers):
    (loader,) = set_up(batch_size=8).test_dataloader()
    batch = next(iter(loader))
    assert (batch.pair, batch.framing, batch.list_name) == ("human+dog", "plain", "test")
    assert batch.source_image.shape == (8, 3, 64, 64)


def test_the_papers_number_of_pairs_is_drawn_where_there_are_enough_faces(readers, capsys, tmp_path):
    readers["ap10k"] = make_faces(tmp_path, 105, name="more")
    data = set_up(count=None)
    assert data.test_sets[0].name == "human+dog/paper/plain"
    assert len(data.test_sets[0]) == 100
    assert "the paper" not in capsys.readouterr().err


def test_fewer_faces_than_the_paper_has_are_all_taken_and_told(readers, capsys):
    data = set_up(count=None)
    assert len(data.test_sets[0]) == 60
    assert data.test_sets[0].list_name == "test"
    said = capsys.readouterr().err
    assert "human+dog, test list: 60 pairs (the paper has 100)" in said
    assert "human: 130 faces of celeba, 130 usable; dog: 60 faces of ap10k, 60 usable" in said
    assert said.count("\n") == 1


def test_validation_and_test_lists_share_no_picture(readers, tmp_path):
    readers["ap10k"] = make_faces(tmp_path, 120, name="twins", faces_in_picture=2)
    for count in (20, None, 110):
        data = make(count=count)
        data.setup("validate")
        data.setup("test")
        for val, test in zip(*(pictures_in(sets) for sets in (data.val_sets[0], data.test_sets[0])), strict=True):
            assert val.isdisjoint(test)
        assert data.val_sets[0].name == "human+dog/val/plain"


def test_validation_keeps_away_from_what_other_evaluations_test(readers, tmp_path):
    readers["ap10k"], readers["cats"] = (make_faces(tmp_path, 120, name=name) for name in ("dogs", "cats"))
    domains = DOMAINS | {"cat": {"dataset": "cats", "root": "."}}
    data = make(domains, pairs=["dog+cat"], count=None, val_count=100)
    data.setup("validate")
    other = make(domains, pairs=["human+dog", "human+cat"], count=None)
    other.setup("test")
    assert len(data.val_sets[0]) == 20  # dogs beyond the 100 that human+dog takes
    for side, sets in enumerate(other.test_sets):
        assert pictures_in(data.val_sets[0])[side].isdisjoint(pictures_in(sets)[1])


def test_without_a_face_left_validation_fails_and_a_test_does_not(readers):
    data = make(count=None)
    with pytest.raises(DataError, match="no val pairs for human\\+dog: no usable face of dog"):
        data.setup("fit")
    assert data.list_hashes()["val"] == {}
    assert set(data.list_hashes()["test"]) == {"human+dog/test"}


def test_validation_faces_may_come_from_another_split(readers, tmp_path):
    readers["ap10k-val"] = make_faces(tmp_path, 12, name="ap10k-val", scheme="ap10k-17")
    domains = DOMAINS | {"dog": FaceDomain("ap10k", "x", {"species": "dog"}, val_options={"split": "val"})}
    data = make(domains, count=None, val_count=50)
    data.setup("validate")
    assert len(data.val_sets[0]) == 12
    assert readers["asked"][-1] == ("ap10k", "x", {"species": "dog", "split": "val"})


def test_a_saved_list_gives_the_same_pairs_whatever_the_seed(readers, tmp_path):
    first = set_up()
    first.save_lists(tmp_path / "lists")
    path = tmp_path / "lists" / "test_human+dog.json"
    readers["celeba"] = readers["celeba"].shuffled()
    again = set_up(test_lists={"human+dog": str(path)}, seed=7)
    assert again.test_sets[0].list_hash == first.test_sets[0].list_hash
    assert [again.test_sets[0][i].pair_id for i in range(20)] == [first.test_sets[0][i].pair_id for i in range(20)]
    assert again.list_hashes()["test"] == {"human+dog/given": first.test_sets[0].list_hash}
    assert json.loads(path.read_text())["drawn"]["crop"]["dog"]["factor"] == 2.8


def test_lists_depend_on_seed_but_not_on_the_order_of_files(readers):
    hashes = make().list_hashes()
    readers["celeba"], readers["ap10k"] = readers["celeba"].shuffled(), readers["ap10k"].shuffled(1)
    assert make().list_hashes() == hashes
    assert make(seed=1).list_hashes()["test"] != hashes["test"]


def test_given_lists_that_share_a_picture_are_refused(readers, tmp_path):
    set_up().save_lists(tmp_path)
    listed = json.loads((tmp_path / "test_human+dog.json").read_text())["pairs"]
    (tmp_path / "val.json").write_text(json.dumps({"pairs": [["0129", listed[4][1]]]}))
    with pytest.raises(DataError, match=rf"share 1 pictures, for example {listed[4][1]}.png"):
        make(val_lists={"human+dog": str(tmp_path / "val.json")}).setup("validate")


def test_a_list_with_an_unknown_name_is_refused(readers, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"pairs": [["0001", "dog7"]]}))
    with pytest.raises(DataError, match="ap10k has no face 'dog7' among its 60"):
        set_up(test_lists={"human+dog": str(tmp_path / "a.json")})


def test_the_description_says_how_the_faces_were_cut_and_counted(readers):
    domains = DOMAINS | {"dog": FaceDomain("ap10k", "r", crop=CropOptions("box", 1.2, padding="reflect"))}
    readers["ap10k"] = readers["ap10k"].changed(0, visible=np.zeros(17, bool))
    told = set_up(domains=domains, eye_order="stored").describe()
    assert (told["protocol"], told["eye_order"], told["size"], told["seed"]) == ("3-point", "stored", 64, 0)
    crops = {name: domain["crop"] for name, domain in told["domains"].items()}
    assert (crops["human"]["rule"], crops["human"]["factor"], crops["human"]["padding"]) == ("landmarks", 2.8, "zero")
    assert (crops["dog"]["rule"], crops["dog"]["factor"], crops["dog"]["padding"]) == ("box", 1.2, "reflect")
    counts = told["domains"]["dog"]["faces"]["test"]
    assert (counts["faces"], counts["usable"], counts["refused"]) == (60, 59, {"left_eye not labelled": 1})
    assert told["test_pairs"]["human+dog"]["pairs"] == 20
    assert told["test_pairs"]["human+dog"]["paper"] == 100
    json.dumps(told)


def test_the_hash_of_the_annotations_follows_the_points(readers):
    def annotations_hash():
        return set_up().describe()["domains"]["dog"]["faces"]["test"]["annotations_hash"]

    before = annotations_hash()
    assert annotations_hash() == before
    readers["ap10k"] = readers["ap10k"].changed(5, points=readers["ap10k"].annotations[5].points - 1)
    assert annotations_hash() != before


def test_crops_are_read_from_the_cache(readers):
    first = set_up().test_sets[0]
    opened = readers["celeba"].opened
    second = set_up().test_sets[0]
    assert readers["celeba"].opened == opened > 0
    for i in (0, 19):
        np.testing.assert_array_equal(first[i].target_image, second[i].target_image)
        np.testing.assert_array_equal(first[i].source_points, second[i].source_points)


def test_whatever_changes_crops_changes_the_cache_file(readers, tmp_path):
    variants = [{}, {"size": 32}, {"eye_order": "stored"}, {"seed": 1}]
    variants += [{"crop": CropOptions(factor=2.0)}, {"crop": CropOptions(padding="border")}]
    for variant in variants:
        set_up(**variant)
    readers["celeba"] = readers["celeba"].changed(0, points=readers["celeba"].annotations[0].points + 1)
    set_up(count=130)
    readers["celeba"].annotations[1].image.touch()
    set_up(count=130)
    assert len(list((tmp_path / "cache" / "pairs").glob("*.npz"))) == len(variants) + 2


def test_one_switch_makes_all_readers_skip_what_is_broken(readers):
    domains = DOMAINS | {"dog": FaceDomain("ap10k", "x", {"skip_broken": False}, val_options={"split": "val"})}
    readers["ap10k-val"] = readers["ap10k"]
    data = make(domains, skip_broken=True)
    data.setup("fit")
    asked = [(name, options) for name, _, options in readers["asked"]]
    assert asked == [
        ("celeba", {"split": "test", "skip_broken": True}),
        ("ap10k", {"skip_broken": False}),  # what a domain says of itself stands
        ("ap10k", {"split": "val", "skip_broken": False}),
    ]


def test_without_a_cache_nothing_is_written(readers, tmp_path):
    set_up(cache=False)
    assert not (tmp_path / "cache").exists()


def test_a_scheme_that_lacks_the_protocol_is_told_before_pictures_are_read(readers):
    with pytest.raises(ConfigError, match="'mafl-5' has no 9-point map; it has 3-point"):
        set_up(protocol="9-point")
    assert readers["celeba"].opened == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairs": ["human-dog"]}, "source first"),
        ({"pairs": ["human+dgo"]}, "unknown domain 'dgo'. Did you mean 'dog'"),
        ({"pairs": []}, "at least one kind"),
        ({"protocol": "5-point"}, "unknown protocol '5-point'"),
        ({"eye_order": "left"}, "unknown eye order 'left'"),
        ({"val_count": 0}, "counts >= 1"),
        ({"size": 4}, "size >= 8"),
        ({"test_lists": {"human+cat": "a.json"}}, "there is a list for 'human\\+cat', which is not in pairs"),
        ({"domains": {"human": {"dataset": "celeba"}, "dog": {}}}, "domain 'human'.*'root'"),
        ({"domains": {"human": {"dataset": "a", "root": "b", "spilt": 1}, "dog": {}}}, "domain 'human'.*'spilt'"),
        ({"domains": {"human": "celeba", "dog": {}}}, "domain 'human'.*Give dataset and root"),
        ({"domains": {"human": {"dataset": "a", "root": "b", "options": "test"}, "dog": {}}}, "domain 'human'.*Give"),
    ],
)
def test_senseless_settings_are_refused_in_one_line(arguments, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make(**arguments)
    assert "\n" not in str(caught.value)
