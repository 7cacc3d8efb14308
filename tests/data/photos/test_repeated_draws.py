"""Lists that are longer than there are faces."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from dife_lightning.data.photos.pair_draws import draw_pair_list, unit_names, usable_faces
from dife_lightning.data.photos.pair_lists import FacePairList, read_pair_list
from dife_lightning.data.photos.repeated_draws import repeated_pairs, two_sides
from dife_lightning.errors import DataError
from dife_lightning.geometry.crops import CropOptions
from tests.fake_faces import make_faces


def usable(faces, seed=0, apart="subject"):
    return usable_faces(faces, "3-point", CropOptions(), seed, apart=apart)


def draw(a, b, count, pair="human+dog", seed=0):
    return draw_pair_list(pair, "test", a, b, count, drawn={"seed": seed}, repeat=True)


def with_subjects(faces, every):
    """Return the faces with subjects: ``every`` neighbours are one animal."""
    named = [replace(face, subject=f"s{i // every}") for i, face in enumerate(faces.annotations)]
    return type(faces)(faces.name, faces.scheme, named)


@pytest.fixture
def sides(tmp_path):
    return make_faces(tmp_path, 40, name="celeba"), make_faces(tmp_path, 31, name="ap10k", seed=1)


def test_a_thousand_pairs_of_few_faces_use_each_about_equally_often(sides):
    drawn = draw(*map(usable, sides), 1000)
    assert len(set(drawn.pairs)) == len(drawn) == 1000
    for side, count in zip(zip(*drawn.pairs, strict=True), (40, 31), strict=True):
        times = Counter(side)
        assert len(times) == count
        assert max(times.values()) - min(times.values()) <= 2
    assert drawn.drawn == {"seed": 0, "repeat": True}


def test_the_draw_depends_on_names_and_seed_and_not_on_the_order_of_files(sides):
    drawn = draw(*map(usable, sides), 300)
    assert drawn.hash == draw(*(usable(side.shuffled(3)) for side in sides), 300).hash
    assert drawn.hash != draw(*(usable(side, seed=1) for side in sides), 300, seed=1).hash


def test_a_face_has_other_partners_in_each_pass(sides):
    pairs = draw(*map(usable, sides), 120).pairs
    first, second = pairs[:40], pairs[40:80]
    assert {a for a, _ in first} == {a for a, _ in second}
    assert [a for a, _ in first] != [a for a, _ in second]


def test_a_list_that_needs_no_repetition_is_the_same_as_without(sides):
    a, b = map(usable, sides)
    once = draw_pair_list("human+dog", "test", a, b, 31, drawn={"seed": 0})
    assert draw(a, b, 31) == once
    assert draw(a, b, 60).pairs[:31] == once.pairs  # and a longer one begins with it


def test_there_are_no_more_pairs_than_are_possible(tmp_path):
    a, b = (usable(make_faces(tmp_path, count, name=name)) for count, name in ((3, "a"), (2, "b")))
    assert sorted(draw(a, b, 100).pairs) == [(f"000{i}", f"000{j}") for i in range(3) for j in range(2)]


def test_faces_of_one_photo_are_never_paired(tmp_path):
    pets = make_faces(tmp_path, 6, name="pets", faces_in_picture=2)
    cats, dogs = (
        type(pets)("pets", pets.scheme, [face for face in pets.annotations if face.name.endswith(end)])
        for end in ("#0", "#1")
    )
    pairs = draw(usable(dogs), usable(cats), 1000, "dog+cat").pairs
    assert len(pairs) == 6 * 5
    assert all(a.partition("#")[0] != b.partition("#")[0] for a, b in pairs)


def test_faces_of_one_animal_are_never_paired(tmp_path):
    faces = with_subjects(make_faces(tmp_path, 12, name="cats"), every=3)
    subject = {face.name: face.subject for face in faces.annotations}
    found = usable(faces)
    drawn = draw(found, found, 1000, "cat+cat")
    assert len(drawn) == 6 * 6  # two animals with three faces on each side
    first, second = ({subject[name] for name in side} for side in zip(*drawn.pairs, strict=True))
    assert first.isdisjoint(second)
    assert len(first | second) == 4


def test_sides_of_a_domain_share_nothing_also_by_others():
    units = [{"p1"}, {"p1", "x"}, {"x", "p2"}, {"p3"}, {"p4"}, {"p5"}]
    first, second = two_sides([5, 0, 1, 2, 3, 4], lambda face: frozenset(units[face]))
    assert {frozenset(first), frozenset(second)} == {frozenset({5, 3, 4}), frozenset({0, 1, 2})}


def test_no_faces_no_pairs():
    assert repeated_pairs([], [1], 5, (str, str), (lambda _: frozenset(), lambda _: frozenset())) == []


def test_units_are_subjects_or_else_pictures(tmp_path):
    faces = make_faces(tmp_path, 3, faces_in_picture=2)
    some = faces.changed(0, subject="rex").changed(3, subject="rex")
    assert unit_names(some, "subject") == ["rex", "0000#0", "0001#0", "rex", "0002#0", "0002#0"]
    assert unit_names(some, "picture") == [f"000{i}#0" for i in (0, 0, 1, 1, 2, 2)]


LONG = FacePairList("human+dog", "test", (("ann", "x"), ("ann", "y"), ("bob", "x")))


def test_lists_with_repetition_are_read_where_that_is_meant(tmp_path):
    LONG.write(tmp_path / "long.json")
    assert read_pair_list(tmp_path / "long.json", "human+dog", "test", repeat=True) == LONG
    with pytest.raises(DataError, match=r"human face 'ann' 2 times; expected at most once .repeat: true allows more"):
        read_pair_list(tmp_path / "long.json", "human+dog", "test")


@pytest.mark.parametrize(
    ("pair", "pairs", "words"),
    [
        ("human+dog", [["a", "x"], ["b", "y"], ["a", "x"]], "has the pair a and x 2 times; expected once"),
        ("dog+dog", [["a", "x"], ["x", "a"]], "has the pair a and x 2 times"),
        ("dog+dog", [["a", "x"], ["y", "y"]], "has face 'y' paired with itself"),
    ],
)
def test_a_pair_is_in_no_list_twice(tmp_path, pair, pairs, words):
    FacePairList(pair, "test", tuple(map(tuple, pairs))).write(tmp_path / "a.json")
    with pytest.raises(DataError, match=words):
        read_pair_list(tmp_path / "a.json", pair, "test", repeat=True)


def test_every_animal_comes_before_any_comes_again(tmp_path):
    cats = usable(with_subjects(make_faces(tmp_path, 30, name="cats"), every=5))
    people = usable(make_faces(tmp_path, 40, name="celeba"))
    subject = {face.name: face.subject for face in cats.faces.annotations}
    drawn = draw(people, cats, 12, "human+cat")
    for start in (0, 6):
        assert len({subject[b] for _, b in drawn.pairs[start : start + 6]}) == 6
