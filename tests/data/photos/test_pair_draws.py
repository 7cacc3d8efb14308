from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from dife_lightning.data.photos.pair_draws import (
    PAPER_PAIRS,
    default_count,
    draw_pair_list,
    faces_in_tests,
    usable_faces,
)
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.geometry.crops import CropOptions
from tests.fake_faces import make_faces


def usable(faces, seed=0):
    return usable_faces(faces, "3-point", CropOptions(), seed)


def names(found):
    return [found.name(index) for index in found.order]


def test_the_papers_counts_are_the_defaults():
    assert [default_count(pair) for pair in PAPER_PAIRS] == [100, 89, 89, 47]
    assert PAPER_PAIRS == ("human+dog", "human+cat", "dog+cat", "human+wild")


def test_no_list_of_default_length_takes_more_faces_than_are_kept_from_validation():
    domains = ("human", "dog", "cat", "wild", "macaque")
    for source in domains:
        for target in domains:
            faces = 2 if source == target else 1
            assert faces * default_count(f"{source}+{target}") <= min(map(faces_in_tests, (source, target)))


def test_turns_are_those_of_the_hashed_names(tmp_path):
    found = usable(make_faces(tmp_path, 12), seed=5)
    expected = sorted(
        (f"{i:04d}" for i in range(12)), key=lambda name: hashlib.sha256(f"5/{name}".encode()).hexdigest()
    )
    assert names(found) == expected


def test_turns_depend_on_the_seed_and_not_on_the_order_of_files(tmp_path):
    faces = make_faces(tmp_path, 12, faces_in_picture=2)
    assert names(usable(faces)) == names(usable(faces.shuffled()))
    assert names(usable(faces)) != names(usable(faces, seed=1))
    assert sorted(names(usable(faces))) == sorted(face.name for face in faces.annotations)


def test_every_picture_has_a_turn_before_any_has_its_second(tmp_path):
    faces = make_faces(tmp_path, 6, faces_in_picture=3)
    pictures = [name.partition("#")[0] for name in names(usable(faces))]
    for start in (0, 6, 12):
        assert len(set(pictures[start : start + 6])) == 6


def test_another_picture_does_not_change_the_turns_of_the_others(tmp_path):
    faces = make_faces(tmp_path, 12)
    without = faces.changed(3, visible=np.zeros(5, dtype=bool))
    assert names(usable(without)) == [name for name in names(usable(faces)) if name != "0003"]


def test_what_is_refused_is_counted_with_its_reason(tmp_path):
    faces = make_faces(tmp_path, 5)
    unlabelled = faces.annotations[1].visible & False
    far = faces.annotations[0].points + 500
    faces = faces.changed(1, visible=unlabelled).changed(4, visible=unlabelled)
    found = usable(faces.changed(2, points=far))
    assert found.refused == {"left_eye not labelled": 2, "a point outside the picture": 1}
    out = "2 left_eye not labelled, 1 a point outside the picture"
    assert found.summary() == f"5 faces of fake, 2 usable (unusable: {out})"


def test_a_scheme_that_does_not_serve_the_protocol_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'mafl-5' has no 9-point map"):
        usable_faces(make_faces(tmp_path, 1), "9-point", CropOptions())


def test_a_list_takes_the_first_faces_of_both_sides(tmp_path):
    a, b = (usable(make_faces(tmp_path, n, name=name)) for n, name in ((8, "celeba"), (5, "ap10k")))
    found = draw_pair_list("human+dog", "test", a, b, 4, drawn={"seed": 0})
    assert found.pairs == tuple(zip(names(a)[:4], names(b)[:4], strict=True))
    assert (found.datasets, found.drawn) == (("celeba", "ap10k"), {"seed": 0})
    assert len(draw_pair_list("human+dog", "test", a, b, 100)) == 5  # all there are


def test_pairs_within_a_domain_hold_every_face_once(tmp_path):
    found = usable(make_faces(tmp_path, 9))
    drawn = draw_pair_list("dog+dog", "test", found, found, 100)
    flat = [name for pair in drawn.pairs for name in pair]
    assert len(flat) == len(set(flat)) == 8


def test_a_picture_stands_on_one_side_only(tmp_path):
    dogs = make_faces(tmp_path, 6, name="pets", faces_in_picture=2)
    cats = type(dogs)("pets", dogs.scheme, [face for face in dogs.annotations if face.name.endswith("#1")])
    drawn = draw_pair_list("dog+cat", "test", usable(dogs), usable(cats), 4)
    sides = [{name.partition("#")[0] for name in side} for side in zip(*drawn.pairs, strict=True)]
    assert sides[0].isdisjoint(sides[1])


def test_a_picture_is_one_by_whatever_path_it_is_read(tmp_path):
    dogs = make_faces(tmp_path, 6, name="pets")
    (tmp_path / "folder").symlink_to(tmp_path / "pets")
    (tmp_path / "files").mkdir()
    for face in dogs.annotations:
        (tmp_path / "files" / face.image.name).symlink_to(face.image)
    for folder in ("folder", "files", "files/../pets"):
        moved = [replace(face, image=tmp_path / folder / face.image.name) for face in dogs.annotations]
        cats = type(dogs)("pets", dogs.scheme, moved)
        sides = zip(*draw_pair_list("dog+cat", "test", usable(dogs), usable(cats), 3).pairs, strict=True)
        assert set.isdisjoint(*map(set, sides))


def test_pictures_that_are_kept_for_others_are_left_out(tmp_path):
    a = usable(make_faces(tmp_path, 6, faces_in_picture=2, name="a"))
    b = usable(make_faces(tmp_path, 20, name="b"))
    kept = {a.image(index) for index in a.order[:4]}
    drawn = draw_pair_list("human+dog", "val", a, b, 100, without=kept)
    left = [name for name in names(a) if name.partition("#")[0] not in {n.partition("#")[0] for n in names(a)[:4]}]
    assert [pair[0] for pair in drawn.pairs] == left
    assert len(left) == 4


def test_a_list_without_a_pair_says_who_is_missing(tmp_path):
    a, b = usable(make_faces(tmp_path, 3, name="a")), usable(make_faces(tmp_path, 2, name="b"))
    kept = {b.image(index) for index in b.order}
    words = "no val pairs for human\\+dog: no usable face of dog: 2 faces of b, 2 usable; 2 pictures are reserved"
    with pytest.raises(DataError, match=words):
        draw_pair_list("human+dog", "val", a, b, 10, without=kept)
