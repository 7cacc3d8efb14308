from __future__ import annotations

import hashlib
import json

import pytest

from dife_lightning.data.photos.pair_lists import FacePairList, find_pairs, read_pair_list
from dife_lightning.errors import DataError
from tests.fake_faces import make_faces

PAIRS = (("0001", "0003"), ("0002", "0000"))


def a_list(pairs=PAIRS, datasets=("celeba", "ap10k"), **changes):
    fields = {"pair": "human+dog", "split": "test", "pairs": pairs, "datasets": datasets, "drawn": {"seed": 3}}
    return FacePairList(**{**fields, **changes})


def save(path, **content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_the_hash_is_that_of_the_content_and_of_nothing_else():
    text = '["human+dog","test",["celeba","ap10k"],[["0001","0003"],["0002","0000"]]]'
    assert a_list().hash == hashlib.sha256(text.encode()).hexdigest()
    assert a_list(drawn=None).hash == a_list().hash
    others = (a_list(PAIRS[::-1]), a_list(split="val"), a_list(datasets=("celeba", "b")), a_list(pair="human+cat"))
    assert len({other.hash for other in (*others, a_list())}) == 5


def test_a_written_list_is_read_back(tmp_path):
    a_list().write(tmp_path / "lists" / "a.json")
    assert read_pair_list(tmp_path / "lists" / "a.json", "human+dog", "test") == a_list()
    assert json.loads((tmp_path / "lists" / "a.json").read_text())["hash"] == a_list().hash


def test_names_of_any_script_have_one_hash_and_survive_the_file(tmp_path):
    odd = a_list((("ö/犬 1", 'a"b'),))
    odd.write(tmp_path / "a.json")
    assert read_pair_list(tmp_path / "a.json", "human+dog", "test").hash == odd.hash


def test_a_list_of_pairs_alone_will_do(tmp_path):
    found = read_pair_list(save(tmp_path / "a.json", pairs=[["x", "y"]]), "dog+cat", "val")
    assert found == FacePairList("dog+cat", "val", (("x", "y"),))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "has no 'pairs'"),
        ({"pairs": []}, "has no 'pairs'"),
        ({"pairs": [["a"]]}, "expected a list of \\[source name, target name\\]"),
        ({"pairs": [["a", 1]]}, "has no 'pairs'"),
        ({"pairs": [["a", "b"]], "pair": "human+cat"}, "is a list of pair 'human\\+cat', expected 'human\\+dog'"),
        ({"pairs": [["a", "b"]], "datasets": "celeba"}, "'datasets' is 'celeba'; expected two names"),
        ({"pairs": [["a", "b"]], "datasets": ["celeba"]}, "expected two names of data sets"),
        ({"pairs": [["a", "b"]], "datasets": 3}, "'datasets' is 3; expected two names"),
        ({"pairs": [["a", "b"]], "split": "val"}, "is a list of split 'val', expected 'test'"),
        ({"pairs": [["a", "b"], ["a", "c"]]}, "has human face 'a' 2 times"),
        ({"pairs": [["a", "c"], ["b", "c"]]}, "has dog face 'c' 2 times"),
    ],
)
def test_lists_of_another_form_are_refused_in_one_line(tmp_path, content, words):
    with pytest.raises(DataError, match=words) as caught:
        read_pair_list(save(tmp_path / "a.json", **content), "human+dog", "test")
    assert "\n" not in str(caught.value)


def test_a_face_may_not_stand_on_both_sides_within_a_domain_but_domains_may_share_names(tmp_path):
    path = save(tmp_path / "a.json", pairs=[["a", "b"], ["c", "a"]])
    assert len(read_pair_list(path, "human+dog", "test")) == 2
    with pytest.raises(DataError, match="has dog face 'a' 2 times"):
        read_pair_list(path, "dog+dog", "test")


def test_a_changed_list_is_noticed(tmp_path):
    a_list().write(tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text.replace("0003", "0004"))
    with pytest.raises(DataError, match=f"was changed: its content.*'hash' says {a_list().hash[:12]}"):
        read_pair_list(tmp_path / "a.json", "human+dog", "test")


@pytest.mark.parametrize(("text", "words"), [("{", "is no pair list"), ("[1]", "found a list")])
def test_files_that_are_no_list_are_named(tmp_path, text, words):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=f"a.json.*{words}"):
        read_pair_list(tmp_path / "a.json", "human+dog", "test")
    with pytest.raises(DataError, match=r"no pair list .*b\.json"):
        read_pair_list(tmp_path / "b.json", "human+dog", "test")


@pytest.fixture
def readers(tmp_path):
    return make_faces(tmp_path, 4, name="celeba"), make_faces(tmp_path, 4, name="ap10k").shuffled()


def test_names_are_found_in_whatever_order_the_faces_are(readers):
    source, target = readers
    for (a, b), (i, j) in zip(PAIRS, find_pairs(a_list(), *readers), strict=True):
        assert (source.annotations[i].name, target.annotations[j].name) == (a, b)


def test_a_name_that_a_data_set_lacks_is_told_with_the_closest_one(readers):
    with pytest.raises(DataError, match=r"ap10k has no face '00003' among its 4\. Did you mean '0003'\?") as caught:
        find_pairs(a_list((("0001", "00003"),)), *readers)
    assert "Known" not in str(caught.value)  # there may be thousands


def test_a_list_about_other_data_sets_is_refused(readers):
    with pytest.raises(DataError, match="is for wflw and animalweb, the data sets are celeba and ap10k"):
        find_pairs(a_list(datasets=("wflw", "animalweb")), *readers)
    assert len(find_pairs(a_list(datasets=()), *readers)) == 2
