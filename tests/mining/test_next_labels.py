"""Which photos are labelled next, against loops and hand-worked numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.mining.next_labels import doubts, label_next

UNKNOWN = np.full(12, np.nan)


def slow_choice(candidates, images, count):
    """Return rows by the words of the definition: farthest from all chosen, starting with the first."""
    looks = [(image - image.mean()) / np.sqrt(((image - image.mean()) ** 2).sum()) for image in images]
    chosen = [candidates[0]]
    while len(chosen) < count:
        rest = [row for row in candidates if row not in chosen]
        far = {row: min(math.dist(looks[row], looks[other]) for other in chosen) for row in rest}
        chosen.append(max(rest, key=far.__getitem__))
    return chosen


def test_doubt_is_the_share_of_more_certain_faces():
    # of four others: 0.9 has none above it, both 0.5 have one, 0.2 three, 0.1 four
    confidence = np.array([0.5, 0.9, 0.1, 0.5, 0.2])
    np.testing.assert_allclose(doubts(confidence, UNKNOWN[:5]), [0.25, 0, 1, 0.25, 0.75])
    shifts = np.array([0.4, 0.1, 0.0, 0.2, 0.3])  # shares of smaller ones: 1, 1/4, 0, 1/2, 3/4
    np.testing.assert_allclose(doubts(confidence, shifts), [0.625, 0.125, 0.5, 0.375, 0.75])
    assert doubts(np.array([0.3]), np.array([0.1])).tolist() == [0]


def test_choices_are_those_of_a_loop_over_the_least_certain_quarter():
    rng = np.random.default_rng(3)
    confidence, images = rng.random(40), rng.random((40, 9))
    photos = [f"{k}.png" for k in range(40)]
    quarter = np.argsort(confidence)[:10].tolist()
    chosen = label_next(photos, confidence, np.full(40, np.nan), images, 4)
    assert [one.face for one in chosen] == slow_choice(quarter, images, 4)
    assert [one.doubt for one in chosen] == pytest.approx(
        [(confidence > confidence[one.face]).sum() / 39 for one in chosen]
    )
    assert math.isnan(chosen[0].distance)
    distances = [one.distance for one in chosen[1:]]
    assert distances == sorted(distances, reverse=True)
    # more than a quarter: so many of the least certain
    assert {one.face for one in label_next(photos, confidence, np.full(40, np.nan), images, 15)} == set(
        np.argsort(confidence)[:15].tolist()
    )


def test_brightness_and_contrast_do_not_tell_photos_apart():
    face = np.array([0.0, 1, 0, 1])
    images = np.stack([face, 0.5 * face + 0.2, 1 - face, np.full(4, 0.7)])
    chosen = label_next(list("abcd"), np.array([0.1, 0.2, 0.3, 0.4]), UNKNOWN[:4], images, 4)
    assert [one.face for one in chosen] == [0, 2, 3, 1]
    assert [one.distance for one in chosen[1:]] == pytest.approx([2, 1, 0], abs=1e-6)  # opposite, flat, the same


def test_a_photo_counts_once_by_its_least_certain_face():
    photos = ["a", "a", "b", "b"]
    chosen = label_next(photos, np.array([0.9, 0.1, 0.3, 0.2]), UNKNOWN[:4], np.eye(4), 9)
    assert [one.face for one in chosen] == [1, 3]


def test_what_cannot_be_chosen_is_refused():
    with pytest.raises(DataError, match="no face to choose from"):
        label_next([], np.zeros(0), np.zeros(0), np.zeros((0, 4)), 2)
    with pytest.raises(ConfigError, match="count is 0"):
        label_next(["a"], np.ones(1), np.ones(1), np.ones((1, 4)), 0)
