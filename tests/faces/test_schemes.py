from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.errors import ConfigError
from dife_lightning.faces.landmark_sets import shared_points
from dife_lightning.faces.own_schemes import scheme_from_names
from dife_lightning.faces.schemes import (
    LAYOUT,
    PROTOCOLS,
    SCHEMES,
    convert,
    eye_sides,
    flip_permutation,
    get_scheme,
    meanings,
    to_layout,
    to_protocol,
)

POINTS = np.arange(18, dtype=np.float32).reshape(9, 2) ** 1.5
RAW = ("catflw-48", "dogflw-46")
SUBJECT = ("ap10k-17", "animalpose-20")


def numbered(scheme: str) -> np.ndarray:
    """Return points (K, 2) that say their own number."""
    return np.repeat(np.arange(len(get_scheme(scheme).landmarks), dtype=np.float32)[:, None], 2, axis=1)


def all_seen(scheme: str) -> np.ndarray:
    return np.ones(len(get_scheme(scheme).landmarks), dtype=bool)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda scheme: scheme.name)
def test_every_scheme_is_sound(scheme):
    count = len(scheme.landmarks)
    assert len(set(scheme.landmarks)) == count
    flat = [point for pair in scheme.flip_pairs for point in pair]
    assert len(set(flat)) == len(flat)
    assert all(0 <= point < count for point in flat)
    for protocol, members in scheme.maps.items():
        assert len(members) == len(PROTOCOLS[protocol].landmarks)
        assert all(group and set(group) <= set(range(count)) for group in members)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda scheme: scheme.name)
def test_flipping_commutes_with_the_map_onto_a_protocol(scheme, protocol):
    if protocol.name not in scheme.maps:
        pytest.skip("the scheme has no such map")
    rng = np.random.default_rng(0)
    points, visible = rng.random((len(scheme.landmarks), 2), dtype=np.float32), rng.random(len(scheme.landmarks)) > 0.3
    order = flip_permutation(len(points), scheme.flip_pairs)
    first, seen_first = to_protocol(points[order], visible[order], scheme, protocol.name)
    mapped, seen = to_protocol(points, visible, scheme, protocol.name)
    order = flip_permutation(len(mapped), protocol.flip_pairs)
    np.testing.assert_allclose(first, mapped[order], rtol=1e-6)
    np.testing.assert_array_equal(seen_first, seen[order])


def test_sides_named_left_and_right_are_each_others_partner():
    for protocol in PROTOCOLS.values():
        for a, b in protocol.flip_pairs:
            swapped = protocol.landmarks[a].replace("left", "#").replace("right", "left").replace("#", "right")
            assert swapped == protocol.landmarks[b]


def test_three_points_are_eye_means_and_nose():
    points, visible = to_protocol(POINTS, np.ones(9, dtype=bool), "animalweb-9", "3-point")
    expected = [(POINTS[0] + POINTS[1]) / 2, (POINTS[2] + POINTS[3]) / 2, POINTS[4]]
    np.testing.assert_allclose(points, expected, rtol=1e-6)
    assert visible.all()


def test_an_eye_is_visible_only_if_both_corners_are():
    visible = np.ones(9, dtype=bool)
    visible[1] = False
    assert to_protocol(POINTS, visible, "animalweb-9", "3-point")[1].tolist() == [False, True, True]


def test_layout_holds_nine_points_then_three():
    points, visible = to_layout(POINTS, np.ones(9, dtype=bool), "animalweb-9")
    assert points.shape == (12, 2)
    assert visible.shape == (12,)
    np.testing.assert_array_equal(points[LAYOUT["9-point"]], POINTS)
    np.testing.assert_array_equal(points[LAYOUT["3-point"]][2], POINTS[4])


def test_leading_dimensions_are_kept():
    batch = np.stack([POINTS, POINTS + 1])
    points, _ = to_protocol(batch, np.ones((2, 9), dtype=bool), "animalweb-9", "3-point")
    np.testing.assert_allclose(points[1], points[0] + 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["wflw-98", "animalweb-9", "ap10k-17"])
def test_points_that_are_no_means_are_copied_as_they_are(name):
    rng = np.random.default_rng(0)
    points = rng.normal(0, 1e4, (5, len(get_scheme(name).landmarks), 2)).astype(np.float32)
    visible = rng.random(points.shape[:2]) > 0.5
    for protocol, members in get_scheme(name).maps.items():
        mapped, seen = to_protocol(points, visible, name, protocol)
        for k, group in enumerate(members):
            mean = np.mean([points[:, i] for i in group], axis=0, dtype=np.float64)
            np.testing.assert_allclose(mapped[:, k], mean, rtol=1e-6)
            np.testing.assert_array_equal(seen[:, k], [all(row[i] for i in group) for row in visible])
        assert not np.shares_memory(mapped, points)
        assert not np.shares_memory(seen, visible)


def test_wrong_names_and_counts_are_refused_with_a_hint():
    with pytest.raises(ConfigError, match="animalweb-9"):
        get_scheme("animalweb9")
    with pytest.raises(ConfigError, match="8 points"):
        to_protocol(POINTS[:8], np.ones(8, dtype=bool), "animalweb-9", "3-point")
    with pytest.raises(ConfigError, match="5-point"):
        to_protocol(POINTS, np.ones(9, dtype=bool), "animalweb-9", "5-point")


@pytest.mark.parametrize("name", sorted(set(SCHEMES) - set(RAW)))
def test_stored_eye_order_exchanges_eyes_of_schemes_that_name_the_faces_own_side(name):
    points, visible = numbered(name), all_seen(name)
    viewer, _ = to_protocol(points, visible, name, "3-point")
    stored, _ = to_protocol(points, visible, name, "3-point", "stored")
    order = [1, 0, 2] if name in SUBJECT else [0, 1, 2]
    np.testing.assert_array_equal(stored, viewer[order])
    np.testing.assert_array_equal(to_layout(points, visible, name, "stored")[0][LAYOUT["3-point"]], stored)


def test_an_unknown_eye_order_is_refused():
    with pytest.raises(ConfigError, match="Did you mean 'stored'"):
        to_protocol(numbered("mafl-5"), all_seen("mafl-5"), "mafl-5", "3-point", "storde")


@pytest.mark.parametrize("name", SCHEMES)
def test_a_name_means_one_place_however_it_was_found(name):
    scheme = SCHEMES[name]
    found = meanings(scheme)
    for protocol, members in scheme.maps.items():
        assert [found[landmark] for landmark in PROTOCOLS[protocol].landmarks] == list(members)
    assert all(group and set(group) <= set(range(len(scheme.landmarks))) for group in found.values())


@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_is_converted_to_itself_unchanged(name):
    visible = np.arange(len(SCHEMES[name].landmarks)) % 3 > 0
    points, seen = convert(numbered(name), visible, name, name)
    np.testing.assert_array_equal(points, numbered(name))
    np.testing.assert_array_equal(seen, visible)


def test_conversion_from_98_to_68_points_takes_the_shared_places_and_leaves_the_lids():
    points, visible = convert(numbered("wflw-98"), all_seen("wflw-98"), "wflw-98", "300w-68")
    expected = [*range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 60)]
    expected += [60, None, None, 64, None, None, 68, None, None, 72, None, None, *range(76, 96)]
    assert [int(x) if seen else None for x, seen in zip(points[:, 0], visible, strict=True)] == expected


def test_conversion_back_fills_every_second_contour_point():
    points, visible = convert(numbered("300w-68"), all_seen("300w-68"), "300w-68", "wflw-98")
    assert visible[:33].tolist() == [i % 2 == 0 for i in range(33)]
    assert points[:33:2, 0].tolist() == list(range(17))
    assert points[96:].tolist() == [[38.5, 38.5], [44.5, 44.5]]  # the pupils are the means of the eyes' rings
    assert not points[~visible].any()


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("ap10k-17", "mafl-5", [1, 0, 2, None, None]),
        ("mafl-5", "ap10k-17", [1, 0, 2, *[None] * 14]),
        ("animalweb-9", "horse-5", [0.5, 2.5, 4, 5, 6]),
        ("mafl-5", "animalweb-9", [None, None, None, None, 2, 3, 4, None, None]),
        ("300w-68", "aflw-19", [17, 19, 21, 22, 24, 26, 36, 38.5, 39, 42, 44.5, 45, None, 30, None, 48, None, 54, 8]),
        (
            "ap10k-17",
            "animalpose-20",
            [0, 1, None, None, 2, None, 4, None, 6, 9, None, None, None, None, None, None, 7, 10, 13, 16],
        ),
    ],
)
def test_conversions_match_points_by_meaning(source, target, expected):
    points, visible = convert(numbered(source), all_seen(source), source, target)
    assert [float(x) if seen else None for x, seen in zip(points[:, 1], visible, strict=True)] == expected


def test_a_converted_mean_is_visible_only_if_its_points_are():
    visible = all_seen("animalweb-9")
    visible[1] = False
    assert convert(POINTS, visible, "animalweb-9", "mafl-5")[1].tolist() == [False, True, True, True, True]


def test_conversion_in_stored_order_pairs_left_with_left():
    points, _ = convert(numbered("ap10k-17"), all_seen("ap10k-17"), "ap10k-17", "mafl-5", "stored")
    assert points[:3, 0].tolist() == [0, 1, 2]


def test_schemes_without_a_common_place_are_not_converted():
    for pair in (("catflw-48", "animalweb-9"), ("mafl-5", "dogflw-46"), RAW):
        with pytest.raises(ConfigError, match="have no known point in common"):
            convert(numbered(pair[0]), all_seen(pair[0]), *pair)


def test_eye_points_are_known_by_the_side_on_which_the_viewer_sees_them():
    assert eye_sides("animalweb-9") == ["left", "left", "right", "right", "", "", "", "", ""]
    assert eye_sides("ap10k-17")[:3] == ["right", "left", ""]
    assert eye_sides("ap10k-17", "stored")[:3] == ["left", "right", ""]
    sides = eye_sides("wflw-98")
    assert [k for k, side in enumerate(sides) if side == "left"] == [*range(60, 68), 96]
    assert [k for k, side in enumerate(sides) if side == "right"] == [*range(68, 76), 97]
    assert set(eye_sides("catflw-48")) == {""}


def test_two_schemes_of_ones_own_with_the_same_name_are_converted_by_the_names_of_their_points():
    first, second = scheme_from_names(["a", "b", "c"], "own-3"), scheme_from_names(["c", "a", "x"], "own-3")
    points = np.array([[1, 1], [2, 2], [3, 3]], np.float32)
    found, seen = convert(points, np.ones(3, bool), first, second)
    assert seen.tolist() == [True, True, False]
    assert found[:2].tolist() == [[3, 3], [1, 1]]


def test_the_eye_corners_of_dogflw_are_those_of_animalweb():
    protocol, (dog, animal) = shared_points(["dogflw-46", "animalweb-9"])
    assert protocol.landmarks == ("left_eye_inner", "right_eye_inner", "left_eye_outer", "right_eye_outer")
    assert (dog, animal) == ((16, 17, 18, 19), (1, 2, 0, 3))
    # an annotated face of the data set (745): outer and inner corner at the viewer's left, then at the right
    x = {18: 159.93, 16: 184.94, 17: 286.54, 19: 313.32}
    assert [x[k] for k in (18, 16, 17, 19)] == sorted(x.values())
