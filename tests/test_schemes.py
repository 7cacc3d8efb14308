from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.errors import ConfigError
from dife_lightning.schemes import LAYOUT, PROTOCOLS, SCHEMES, flip_permutation, get_scheme, to_layout, to_protocol

POINTS = np.arange(18, dtype=np.float32).reshape(9, 2) ** 1.5


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


def test_wrong_names_and_counts_are_refused_with_a_hint():
    with pytest.raises(ConfigError, match="animalweb-9"):
        get_scheme("animalweb9")
    with pytest.raises(ConfigError, match="8 points"):
        to_protocol(POINTS[:8], np.ones(8, dtype=bool), "animalweb-9", "3-point")
    with pytest.raises(ConfigError, match="5-point"):
        to_protocol(POINTS, np.ones(9, dtype=bool), "animalweb-9", "5-point")
