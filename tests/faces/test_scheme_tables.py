"""The tables against what the data sets' documentation says, and against real faces."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dife_lightning.errors import ConfigError
from dife_lightning.faces.schemes import SCHEMES, flip_permutation, get_scheme, to_layout, to_protocol

RAW = ("catflw-48", "dogflw-46")
#: What each data set's documentation says, by number, in the viewer's order (two eyes, nose).
EYES_AND_NOSE = {
    "mafl-5": ([0], [1], [2]),
    "wflw-98": ([96], [97], [54]),
    "300w-68": ([36, 37, 38, 39, 40, 41], [42, 43, 44, 45, 46, 47], [30]),
    "aflw-19": ([7], [10], [13]),
    "animalweb-9": ([0, 1], [2, 3], [4]),
    "horse-5": ([0], [1], [2]),
    "ap10k-17": ([1], [0], [2]),
    "animalpose-20": ([1], [0], [4]),
}
NINE = {
    "animalweb-9": list(range(9)),
    "wflw-98": [60, 64, 68, 72, 54, 76, 82, 90, 94],
    "300w-68": [36, 39, 42, 45, 30, 48, 54, 62, 66],
}
#: Points that a mirrored face exchanges, as lists that are read against each other.
MIRROR = {
    "mafl-5": ([0, 3], [1, 4]),
    "horse-5": ([0, 3], [1, 4]),
    "animalweb-9": ([0, 1, 5], [3, 2, 6]),
    "aflw-19": ([0, 1, 2, 6, 7, 8, 12, 15], [5, 4, 3, 11, 10, 9, 14, 17]),
    "ap10k-17": ([0, 5, 6, 7, 11, 12, 13], [1, 8, 9, 10, 14, 15, 16]),
    "animalpose-20": ([0, 2, 8, 10, 12, 14, 16, 18], [1, 3, 9, 11, 13, 15, 17, 19]),
    "300w-68": (
        [*range(8), *range(17, 22), 31, 32, *range(36, 42), 48, 49, 50, 58, 59, 60, 61, 67],
        [*range(16, 8, -1), *range(26, 21, -1), 35, 34, 45, 44, 43, 42, 47, 46, 54, 53, 52, 56, 55, 64, 63, 65],
    ),
    "wflw-98": (
        [*range(16), *range(33, 42), 55, 56, *range(60, 68), 76, 77, 78, 86, 87, 88, 89, 95, 96],
        [
            *range(32, 16, -1),
            *(46, 45, 44, 43, 42, 50, 49, 48, 47, 59, 58),
            *(72, 71, 70, 69, 68, 75, 74, 73),
            *(82, 81, 80, 84, 83, 92, 91, 93, 97),
        ],
    ),
}


def numbered(scheme: str) -> np.ndarray:
    """Return points (K, 2) that say their own number."""
    return np.repeat(np.arange(len(get_scheme(scheme).landmarks), dtype=np.float32)[:, None], 2, axis=1)


def all_seen(scheme: str) -> np.ndarray:
    return np.ones(len(get_scheme(scheme).landmarks), dtype=bool)


def test_all_documented_schemes_are_there_with_their_number_of_points():
    assert {name: len(scheme.landmarks) for name, scheme in SCHEMES.items()} == {
        name: int(name.rpartition("-")[2]) for name in (*EYES_AND_NOSE, *RAW)
    }


@pytest.mark.parametrize("name", EYES_AND_NOSE)
def test_eyes_and_nose_are_the_documented_points(name):
    points, visible = to_protocol(numbered(name), all_seen(name), name, "3-point")
    np.testing.assert_allclose(points[:, 0], [np.mean(group) for group in EYES_AND_NOSE[name]], rtol=1e-6)
    assert visible.all()


@pytest.mark.parametrize("name", EYES_AND_NOSE)
def test_nine_points_are_the_documented_ones_or_are_refused(name):
    if name in NINE:
        points, _ = to_protocol(numbered(name), all_seen(name), name, "9-point")
        assert points[:, 1].tolist() == NINE[name]
    else:
        with pytest.raises(ConfigError, match="no 9-point map; it has 3-point"):
            to_protocol(numbered(name), all_seen(name), name, "9-point")


@pytest.mark.parametrize("name", MIRROR)
def test_flip_pairs_are_the_documented_ones(name):
    assert sorted(SCHEMES[name].flip_pairs) == sorted((min(p), max(p)) for p in zip(*MIRROR[name], strict=True))


@pytest.mark.parametrize("name", RAW)
def test_a_raw_set_serves_no_protocol_and_says_why(name):
    with pytest.raises(ConfigError, match=f"'{name}' is a raw set: the meaning of its points is unknown"):
        to_protocol(numbered(name), all_seen(name), name, "3-point")
    assert not to_layout(numbered(name), all_seen(name), name)[1].any()


@pytest.mark.parametrize(("name", "middle"), [("catflw-48", [0, 2, 16, 17]),
                                              ("dogflw-46", [24, 25, 32, 35, 38, 41, 42, 45])])  # fmt: skip
def test_a_raw_set_with_mirror_pairs_has_each_point_in_one_or_in_the_middle(name, middle):
    pairs = get_scheme(name).flip_pairs
    assert sorted([k for pair in pairs for k in pair] + middle) == list(range(len(get_scheme(name).landmarks)))


def sample_faces(path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read all annotations of a COCO file as points (K, 2) and visibility (K,)."""
    document = json.loads(path.read_text(encoding="utf-8"))
    triples = [np.asarray(a["keypoints"], dtype=np.float32).reshape(-1, 3) for a in document["annotations"]]
    return [(triple[:, :2], triple[:, 2] > 0) for triple in triples]


def mirror_residual(points: np.ndarray, order: np.ndarray) -> float:
    """Return how far a mirrored and renumbered face is from itself after the best similarity, as a part of its size."""
    a = (points - points.mean(0)) @ [1, 1j]
    b = (points[order] * [-1, 1] - (points[order] * [-1, 1]).mean(0)) @ [1, 1j]
    turned = b * (np.vdot(b, a) / np.vdot(b, b))
    return float(np.linalg.norm(turned - a) / np.linalg.norm(a))


@pytest.mark.parametrize(("name", "file"), [("wflw-98", "wflw/test_wflw.json"), ("300w-68", "300w/test_300w.json")])
def test_real_faces_look_like_themselves_when_flipped_by_the_pairs(shared, name, file):
    order = flip_permutation(len(SCHEMES[name].landmarks), SCHEMES[name].flip_pairs)
    for points, _ in sample_faces(shared(f"samples/{file}")):
        whole = mirror_residual(points, order)
        assert whole < 0.25
        for a, b in SCHEMES[name].flip_pairs:
            if np.linalg.norm(points[a] - points[b]) > 0.5 * np.ptp(points[:, 0]):
                wrong = order.copy()
                wrong[[a, b]] = a, b
                assert mirror_residual(points, wrong) > whole


@pytest.mark.parametrize(("name", "file"), [("wflw-98", "wflw/test_wflw.json"), ("300w-68", "300w/test_300w.json")])
def test_nine_points_of_real_faces_lie_where_their_names_say(shared, name, file):
    for points, visible in sample_faces(shared(f"samples/{file}")):
        nine, _ = to_protocol(points, visible, name, "9-point")
        x, y = nine.T
        assert x[0] < x[1] < x[2] < x[3]  # outer, inner, inner, outer, from the viewer's left
        assert max(y[:4]) < y[4] < min(y[5:])  # eyes above the nose above the mouth
        assert x[5] < x[7] < x[6]
        assert y[7] < y[8] + 0.01  # the same point on a closed mouth
        left, right, _ = to_protocol(points, visible, name, "3-point")[0]
        assert x[0] < left[0] < x[1]
        assert x[2] < right[0] < x[3]


def test_the_left_eye_of_wflw_is_its_points_60_to_67(shared):
    for points, visible in sample_faces(shared("samples/wflw/test_wflw.json")):
        left, right, nose = to_protocol(points, visible, "wflw-98", "3-point")[0]
        low, high = points[60:68].min(0), points[60:68].max(0)
        assert ((low <= left) & (left <= high)).all()
        assert left[0] < nose[0] < right[0]


def test_a_cat_that_looks_at_the_camera_has_its_own_left_eye_at_the_right(shared):
    cat = sample_faces(shared("samples/animalpose/test_animalpose.json"))[0]
    left, right, _ = to_protocol(*cat, "animalpose-20", "3-point")[0]
    assert left[0] < right[0]
    left, right, _ = to_protocol(*cat, "animalpose-20", "3-point", "stored")[0]
    assert left[0] > right[0]


def test_animals_that_face_left_show_the_eye_that_the_viewer_calls_right(shared):
    for face in sample_faces(shared("samples/ap10k/test_ap10k.json")):
        points, visible = to_protocol(*face, "ap10k-17", "3-point")
        assert visible.tolist() == [False, True, True]
        assert points[2, 0] < points[1, 0]
