from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.mining.split import Mining, mine

NAMES = ["a", "b", "c", "d", "e"]
FLIP = dict(zip(NAMES, [0.01, 0.2, 0.19, 0.5, 0.0], strict=True))
HUMAN = dict(zip(NAMES, [0.05, 0.01, 0.049, 0.3, 0.2], strict=True))


def test_hand_worked_faces_with_the_published_thresholds():
    mined = mine(NAMES, FLIP, HUMAN)
    assert mined == Mining(("c",), ("a", "e"), ("b", "d"), 0.2, 0.05)  # at t_neg dropped, at t_pos no positive
    assert mined.unlabelled == ("c", "a", "e")
    assert mined.counts == {"positives": 1, "semi_hard": 2, "hard_negatives": 2}
    assert str(mined) == "1 positive, 2 semi-hard, 2 hard negatives (t_neg 0.2, t_pos 0.05)"
    assert mined.facts() == {**mined.counts, "t_neg": 0.2, "t_pos": 0.05}


def test_a_face_that_is_both_is_a_hard_negative():
    assert FLIP["b"] >= 0.2
    assert HUMAN["b"] < 0.05
    assert "b" in mine(NAMES, FLIP, HUMAN).hard_negatives


def test_random_pools_agree_with_a_loop():
    rng = np.random.default_rng(0)
    names = [f"face {i}" for i in range(300)]
    flip, human = (dict(zip(names, rng.gamma(2, scale, 300), strict=True)) for scale in (0.08, 0.03))
    kinds: dict[str, list[str]] = {"positives": [], "semi_hard": [], "hard_negatives": []}
    for name in names:
        kind = "hard_negatives" if flip[name] >= 0.2 else "positives" if human[name] < 0.05 else "semi_hard"
        kinds[kind].append(name)
    mined = mine(names, flip, human)
    assert all(kinds.values())
    assert {kind: list(getattr(mined, kind)) for kind in kinds} == kinds


def test_a_quantile_is_that_of_the_whole_pool():
    names = [f"{i}" for i in range(101)]
    rising = {name: i / 100 for i, name in enumerate(names)}
    mined = mine(names, rising, rising, t_neg="q0.9", t_pos="q0.2")
    assert (mined.t_neg, mined.t_pos) == (pytest.approx(0.9), pytest.approx(0.2))
    assert mined.hard_negatives == tuple(names[90:])
    assert mined.positives == tuple(names[:20])
    assert mined.t_pos == mine(names, rising, rising, t_neg=0.5, t_pos="q0.2").t_pos  # also of faces that are dropped


def test_a_threshold_of_none_needs_no_shifts():
    assert mine(NAMES, t_neg=None, t_pos=None) == Mining((), tuple(NAMES), (), None, None)
    assert mine(NAMES, FLIP, t_pos=None).hard_negatives == ("b", "d")
    assert mine(NAMES, None, HUMAN, t_neg=None).positives == ("b", "c")


def test_a_result_cannot_be_changed():
    mined = mine(NAMES, FLIP, HUMAN)
    with pytest.raises(FrozenInstanceError):
        mined.t_pos = 1.0


def test_notes_tell_of_no_positive_and_of_nothing_but_positives(capsys):
    assert mine(NAMES, FLIP, HUMAN, t_pos=0.0).positives == ()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "note: t_pos 0.0 takes no positive (the smallest human shift is 0.049): no label is mined"
    assert mine(NAMES, FLIP, HUMAN, t_pos=0.25).semi_hard == ()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "note: t_pos 0.25 takes all 3 faces that are left as positives: none is semi-hard"
    mine(NAMES, FLIP, HUMAN)
    assert capsys.readouterr().err == ""


def test_a_threshold_that_drops_every_face_is_refused():
    shifts = {name: value + 0.1 for name, value in FLIP.items()}
    with pytest.raises(ConfigError, match=r"t_neg 0.1 drops all 5 faces \(the smallest flip shift is 0.1\)"):
        mine(NAMES, shifts, HUMAN, t_neg=0.1)


@pytest.mark.parametrize("threshold", ["0.2", "q", "q1.5", "q-0.1", "qnan", "nan", -0.1, float("nan"), float("inf")])
def test_thresholds_of_another_form_are_refused(threshold):
    with pytest.raises(ConfigError, match=r"t_neg is .*; expected a number of at least 0, a quantile"):
        mine(NAMES, FLIP, HUMAN, t_neg=threshold)
    with pytest.raises(ConfigError, match=r"t_pos is .*; expected a number of at least 0, a quantile"):
        mine(NAMES, FLIP, HUMAN, t_pos=threshold)


def test_faces_without_a_shift_are_named():
    with pytest.raises(
        DataError, match="2 unlabelled faces of 7 without flip shift: x, y; compute it, remove them, or"
    ):
        mine([*NAMES, "x", "y"], FLIP, HUMAN)
    with pytest.raises(DataError, match=r"5 unlabelled faces of 5 without human shift: a, b, c and 2 more.*set t_pos"):
        mine(NAMES, FLIP)
    for broken in (float("nan"), float("inf"), -0.1):
        with pytest.raises(DataError, match="1 unlabelled face of 5 without human shift: d"):
            mine(NAMES, FLIP, HUMAN | {"d": broken})


def test_an_empty_pool_and_a_name_that_is_listed_twice_are_refused():
    with pytest.raises(DataError, match="no unlabelled face"):
        mine([], FLIP, HUMAN)
    with pytest.raises(DataError, match="2 unlabelled faces listed twice: b, a"):
        mine(["b", "a", "c", "a", "b"], FLIP, HUMAN)


def test_a_quantile_of_one_face_drops_it_and_says_what_helps():
    with pytest.raises(ConfigError, match=r"t_neg q0\.9 drops all 1 face .*; give more faces, or null"):
        mine(["a"], {"a": 0.1}, t_neg="q0.9", t_pos=None)
