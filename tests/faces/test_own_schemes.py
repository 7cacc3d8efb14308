"""Schemes of one's own, against pairs and meanings that are typed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces import find_scheme, get_scheme, read_scheme, scheme_from_names
from dife_lightning.faces.own_schemes import describe
from dife_lightning.faces.point_names import canonical, mirror_pairs, parts
from dife_lightning.faces.schemes import convert, to_protocol


@pytest.mark.parametrize("name", ["left_eye", "eye_left", "eye_l", "l_eye", "EyeL", "LEye", "L_Eye", "lefteye",
                                  "Left Eye", "left-eye", "eye.L", "eyeLeft"])  # fmt: skip
def test_ways_to_write_the_left_eye_are_one_point(name):
    assert (parts(name), canonical(name)) == (("left", ("eye",)), "left_eye")


@pytest.mark.parametrize("name", ["nose", "lip", "upper_lip", "l", "left", "kp_3", "left_of_right_eye", "chin"])
def test_names_that_state_no_side(name):
    assert parts(name)[0] == ""


@pytest.mark.parametrize(("names", "pairs"), [
    (["eye_l", "eye_r", "snout"], [(0, 1)]),
    (["Reye", "nose", "Leye"], [(0, 2)]),
    (["Lip", "nose"], []),
    (["right_ear_base", "left_ear_tip", "left_ear_base"], [(0, 2)]),
    (["eye_left_1", "eye_right_1", "eye_left_2", "eye_right_2"], [(0, 1), (2, 3)]),
    (["eye_l", "left_eye", "eye_r"], []),
    (["0", "1", "2"], []),
    (["l1", "r1", "l2", "m"], [(0, 1)]),
])  # fmt: skip
def test_mirror_pairs_are_found_where_they_are_certain(names, pairs):
    assert list(mirror_pairs(names)) == pairs


def test_the_built_in_schemes_have_the_pairs_that_their_names_say():
    for name in ("wflw-98", "300w-68", "aflw-19", "ap10k-17", "animalpose-20"):
        assert mirror_pairs(get_scheme(name).landmarks) == get_scheme(name).flip_pairs


def test_own_names_serve_a_protocol_in_the_viewers_order():
    points, seen = np.array([[1, 1], [2, 2], [3, 3], [4, 4]], np.float32), np.ones(4, bool)
    viewer = scheme_from_names(["snout", "eye_r", "Eye L", "chin"], same_as={"snout": "nose"})
    assert to_protocol(points, seen, viewer, "3-point")[0][:, 0].tolist() == [3, 2, 1]
    subject = scheme_from_names(["snout", "eye_r", "Eye L", "chin"], left="subject", same_as={"snout": "nose"})
    assert to_protocol(points, seen, subject, "3-point")[0][:, 0].tolist() == [2, 3, 1]
    assert not scheme_from_names(["eye_l", "eye_r", "snout"]).maps


def test_points_of_two_own_schemes_meet_by_what_they_mean():
    one, other = scheme_from_names(["ear_l", "tail", "ear_r"]), scheme_from_names(["RightEar", "left-ear"], "other")
    points, seen = convert(np.array([[1, 1], [2, 2], [3, 3]], np.float32), np.ones(3, bool), one, other)
    assert (points[:, 0].tolist(), seen.tolist()) == ([3, 1], [True, True])


def test_same_as_a_point_of_a_scheme_that_names_the_other_left():
    scheme = scheme_from_names(["a", "b", "nose"], same_as={"a": "ap10k-17.left_eye", "b": "ap10k-17.right_eye"})
    assert scheme.maps["3-point"] == ((1,), (0,), (2,))  # the animal's own left eye is the viewer's right one
    with pytest.raises(ConfigError, match="'mafl-5' has no point 'ear'"):
        scheme_from_names(["a"], same_as={"a": "mafl-5.ear"})


def test_a_scheme_is_read_from_a_small_file(tmp_path):
    path = tmp_path / "fox.yaml"
    path.write_text("names: [on, no, x]\nmirror: [[on, x]]\nleft: subject\nsame_as: {no: nose}\n")
    scheme = read_scheme(path)
    assert (scheme.name, scheme.landmarks, scheme.flip_pairs) == ("fox", ("on", "no", "x"), ((0, 2),))
    assert (scheme.eye_convention, scheme.aliases["nose"]) == ("subject", (1,))
    assert find_scheme(str(path)) == scheme
    path.write_text("left: subject")
    assert read_scheme(path, ["eye_l", "eye_r"]).flip_pairs == ((0, 1),)
    with pytest.raises(ConfigError, match="has no names"):
        read_scheme(path)


@pytest.mark.parametrize(("text", "error", "words"), [
    ("names: [a, a]", ConfigError, "'a' is listed twice"),
    ("names: []", ConfigError, "there are no names"),
    ("names: 3", DataError, "names is no list"),
    ("names: [a]\nflip: []", ConfigError, "unknown key 'flip'"),
    ("names: [a, b]\nmirror: [a, b]", ConfigError, "expected pairs"),
    ("names: [a, b]\nmirror: [[a, c]]", ConfigError, "no point 'c'"),
    ("names: [a, b, c]\nmirror: [[a, b], [a, c]]", ConfigError, "'a' is in mirror twice"),
    ("names: [a]\nleft: mine", ConfigError, "left is 'mine', expected viewer or subject"),
    ("names: [a]\nsame_as: [a]", DataError, "same_as is no mapping"),
    ("[", DataError, "no YAML file"),
    ("a", DataError, "expected a scheme with the keys"),
])  # fmt: skip
def test_a_wrong_scheme_file_is_told(tmp_path, text, error, words):
    (tmp_path / "s.yml").write_text(text)
    with pytest.raises(error, match=words):
        read_scheme(tmp_path / "s.yml")


def test_a_scheme_is_found_by_name_or_file(tmp_path):
    assert find_scheme("mafl-5") is get_scheme("mafl-5")
    assert find_scheme("mine") is None
    with pytest.raises(DataError, match=r"no scheme file .*mine\.yaml"):
        find_scheme(tmp_path / "mine.yaml")


def test_what_was_found_from_the_names_is_one_line():
    text = describe(scheme_from_names(["eye_l", "eye_r", "ear_l", "chin"]))
    assert (
        text
        == "scheme 'own', 4 points; mirror pairs: eye_l/eye_r (without a partner: ear_l); left is taken as the viewer's"
    )
    assert describe(scheme_from_names(["a", "b"])) == "scheme 'own', 2 points; mirror pairs: none"
