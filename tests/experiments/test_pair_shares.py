"""PCK and swaps of each pair, on their way from a test to a table; values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.metrics.predictions import COLUMNS, write_predictions
from dife_lightning.utils.run_folder import PREDICTIONS
from experiments.common.measure import Measure
from experiments.common.pair_errors import decoded, joined, mean_of, read_errors

NAMES = ["pck_face_05", "pck_face_10", "swap_rate"]
#: True eyes and nose in an image of 70 px: the face is 40 wide and 30 high, so that 0.05 of it are 2 px and 0.1 are 4.
TRUTH = {"left_eye": (10, 10), "right_eye": (50, 10), "nose": (30, 40)}
#: Errors of 2, 3 and 5 px; then both eyes at the other's place and the nose at its own; then one that is hidden.
FOUND = [
    {"left_eye": (12, 10), "right_eye": (50, 13), "nose": (30, 45)},
    {"left_eye": (50, 10), "right_eye": (10, 10), "nose": (30, 40)},
    {"left_eye": (10, 10), "right_eye": (0, 0), "nose": (30, 40)},
]


def written(folder, found, hidden=()):
    rows = []
    for number, points in enumerate(found):
        for name, place in points.items():
            truth, seen = TRUTH[name], int((number, name) not in hidden)
            error = float(np.hypot(place[0] - truth[0], place[1] - truth[1]))
            ids = (f"a{number}>b{number}", "human+dog", "long", "plain", "3-point", name)
            rows.append((*ids, *map(str, (*truth, *place, error)), seen))
    assert len(rows[0]) == len(COLUMNS)
    write_predictions(folder / PREDICTIONS, rows)
    return folder


@pytest.fixture
def errors(tmp_path):
    measure = Measure(lists=["long"], scores=NAMES)
    (found,) = read_errors(written(tmp_path, FOUND, {(2, "right_eye")}), measure).values()
    return found


def test_a_share_counts_the_points_of_each_pair(errors):
    near, nearer, swaps = (errors.shares[name] for name in ("pck_face_10", "pck_face_05", "swap_rate"))
    # without the right eye, the third face is 20 wide and 30 high
    assert (near.hits.tolist(), near.tries.tolist()) == ([2, 1, 2], [3, 3, 2])
    assert (nearer.hits.tolist(), nearer.tries.tolist()) == ([1, 1, 2], [3, 3, 2])
    assert (swaps.hits.tolist(), swaps.tries.tolist()) == ([0, 2, 0], [2, 2, 0])  # an eye counts with its partner
    assert near.value == 5 / 8
    assert swaps.value == 2 / 4


def test_shares_are_recorded_joined_and_averaged(errors, tmp_path):
    again = decoded(errors.encoded())
    for name in NAMES:
        assert again.shares[name].hits.tolist() == errors.shares[name].hits.tolist()
        assert again.shares[name].tries.tolist() == errors.shares[name].tries.tolist()
    assert joined([errors, again.first(1)]).shares["pck_face_10"].value == 7 / 11
    (tmp_path / "other").mkdir()
    best = read_errors(
        written(tmp_path / "other", [TRUTH] * 3, {(2, "right_eye")}), Measure(lists=["long"], scores=NAMES)
    )
    mean = mean_of([errors, *best.values()]).shares["pck_face_10"]
    assert mean.value == (5 + 8) / 2 / 8
    entry = errors.encoded()
    with pytest.raises(DataError, match="2 of 3 pairs in a damaged record"):
        decoded(entry | {"shares": {"swap_rate": ["02", "220"]}})


def test_the_world_has_no_further_scores(tmp_path):
    (found,) = read_errors(written(tmp_path, FOUND), Measure(lists=["long"])).values()
    assert not found.shares
    assert "shares" not in found.encoded()


def test_points_of_ones_own_names_are_mirrored_by_their_names(tmp_path):
    text = (written(tmp_path, FOUND) / PREDICTIONS).read_text().replace("3-point", "named")
    (tmp_path / PREDICTIONS).write_text(text)
    (found,) = read_errors(tmp_path, Measure(lists=["long"], scores=["swap_rate"])).values()
    assert found.shares["swap_rate"].hits.tolist() == [0, 2, 1]


def test_an_unknown_score_is_refused():
    with pytest.raises(ConfigError, match=r"no score 'pck'.*pck_face_05"):
        Measure(scores=["pck"])
