"""Numbers of analyses, each against one that was found another way."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.metrics.bootstrap import bootstrap_ci
from dife_lightning.metrics.keypoint_transfer import score_records
from dife_lightning.world import framing_for, render
from experiments.analyses.differences import difference_rows, differences
from experiments.analyses.failures import chosen, failure_rows, ranked
from experiments.analyses.numbers import ALL, landmark_rows, pck_rows, swap_rows
from experiments.analyses.output import comma_separated, markdown_table, signed, two_lines
from experiments.analyses.sets import from_words, read_sets
from tests.experiments.made_up import NAMES, find, one_set, records, write
from tests.metrics.tables import table_of


def test_errors_of_landmarks_are_means_over_seeds_and_visible_points(tmp_path):
    seeds = [records(0), records(1)]
    rows = landmark_rows(one_set(tmp_path, a=seeds, b=[records(2)]), 200)
    assert len(rows) == 2 * 10
    expected = np.mean([score_records(found, "9-point").per_landmark["nose"] for found in seeds])
    nose = find(rows, method="a", landmark="nose")
    assert nose["pixel_error"] == pytest.approx(expected, abs=1e-4)
    assert (nose["points"], nose["seeds"]) == (int(seeds[0].visible[:, 4].sum()), 2)
    whole = np.mean([score_records(found, "9-point").pixel_error for found in seeds])
    assert find(rows, method="a", landmark=ALL)["pixel_error"] == pytest.approx(whole, abs=1e-4)


def test_the_interval_of_all_landmarks_is_that_of_a_test(tmp_path):
    one = one_set(tmp_path, a=[records(0)])
    table = one.tables["a"][0]
    row = find(landmark_rows(one, 300), landmark=ALL)
    assert tuple(row["ci95"]) == pytest.approx(bootstrap_ci(table.errors, table.visible, resamples=300))
    assert row["ci95"][0] < row["pixel_error"] < row["ci95"][1]


def test_a_landmark_that_is_never_seen_has_no_number(tmp_path):
    found = records(0)
    found.visible[:, 4] = False
    row = find(landmark_rows(one_set(tmp_path, a=[found]), 100), landmark="nose")
    assert (row["pixel_error"], row["ci95"], row["points"]) == (None, None, 0)


def test_swap_rates_are_those_of_a_test_and_both_sides_count_together(tmp_path):
    found = records(0, spread=30)
    rows = swap_rows(one_set(tmp_path, a=[found]), 200)
    assert [row["landmark"] for row in rows] == ["eye_outer", "eye_inner", "mouth", ALL]
    assert rows[-1]["swap_rate"] == pytest.approx(score_records(found, "9-point").swap_rate)
    hits = points = 0
    for truth, predicted, seen in zip(found.truth, found.predicted, found.visible, strict=True):
        if seen[5] and seen[6]:
            points += 2
            hits += int((predicted[5] - truth[6]).norm() < (predicted[5] - truth[5]).norm())
            hits += int((predicted[6] - truth[5]).norm() < (predicted[6] - truth[6]).norm())
    assert (rows[2]["swap_rate"], rows[2]["points"]) == (pytest.approx(hits / points), points)
    assert 0 < hits < points


def test_swaps_of_a_file_with_foreign_landmarks_are_refused(tmp_path):
    folder = write(tmp_path / "a", records(0))
    text = (folder / "predictions.csv").read_text()
    (folder / "predictions.csv").write_text(text.replace(",nose,", ",snout,"))
    (one,) = read_sets(from_words([f"a={folder}"])).sets
    with pytest.raises(DataError, match=r"snout.* are not those of 9-point"):
        swap_rows(one, 100)


def test_pck_and_its_area_follow_from_the_errors(tmp_path):
    seeds = [records(0), records(1, spread=3)]
    curve, areas = pck_rows(one_set(tmp_path, a=seeds), 200, "crop")
    assert [row["threshold"] for row in curve] == pytest.approx(np.arange(1, 21) / 100)
    for row in (curve[4], curve[9]):
        errors = [(f.predicted - f.truth).norm(dim=-1)[:, :9][f.visible[:, :9]] / 64 for f in seeds]
        share = np.mean([(e <= row["threshold"]).double().mean() for e in errors])
        assert row["pck"] == pytest.approx(share, abs=1e-9)
    at, pck = (np.array([row[name] for row in curve]) for name in ("threshold", "pck"))
    mean = ((pck[1:] + pck[:-1]) / 2 * np.diff(at)).sum() / 0.19
    assert areas[0]["area"] == pytest.approx(mean, abs=0.02)
    assert areas[0]["ci95"][0] < areas[0]["area"] < areas[0]["ci95"][1]


# Pose and shape


def test_differences_are_those_of_the_rendered_faces():
    names = [NAMES[i] for i in range(6)]
    found = differences(names, "jittered", test_seed=3)
    for i in range(6):
        human, dog = render("human", "test", i), render("dog", "test", 90 + i)
        turned = [framing_for("jittered", 6 + side, index).rotation_deg for side, index in ((0, i), (1, 90 + i))]
        assert found["yaw"][i] == abs(human.pose[0] - dog.pose[0])
        roll = [face.pose[2] + turn for face, turn in zip((human, dog), turned, strict=True)]
        assert found["turn"][i] == pytest.approx(abs(roll[0] - roll[1]))
    assert found["shape"].std() > 0
    plain = differences(names, "plain")
    assert plain["turn"][0] == pytest.approx(
        abs(render("human", "test", 0).pose[2] - render("dog", "test", 90).pose[2])
    )
    np.testing.assert_array_equal(plain["shape"], found["shape"])


def test_a_face_has_no_distance_to_itself():
    found = differences(["world/cat/test/3>world/cat/test/3", "world/cat/test/3>world/cat/test/4"], "plain")
    assert [values[0] for values in found.values()] == [0, 0, 0]
    assert found["shape"][1] > 0


def test_pose_and_shape_of_photographs_are_not_known():
    assert differences([NAMES[0], "celeba/1.jpg>ap10k/2.jpg"], "plain") is None


def test_bins_hold_the_errors_of_their_pairs_and_the_rank_correlation_all(tmp_path):
    one = one_set(tmp_path, a=[records(0)])
    table = one.tables["a"][0]
    value = np.random.default_rng(0).uniform(0, 60, 30)
    binned, ranks = difference_rows(one, {"yaw": value}, 150, bins=3)
    order = np.argsort(value)
    for row, rows in zip(binned, (order[:10], order[10:20], order[20:]), strict=True):
        errors = table.errors[rows][table.visible[rows]]
        assert row["pixel_error"] == pytest.approx(errors.mean())
        assert (row["pairs"], row["points"], row["mean"]) == (10, len(errors), pytest.approx(value[rows].mean()))
        assert row["low"] <= value[rows].min() <= value[rows].max() <= row["high"]
    means = np.array([table.errors[i][table.visible[i]].mean() for i in range(30)])
    places = [np.argsort(np.argsort(values)) for values in (value, means)]
    assert ranks[0]["spearman"] == pytest.approx(np.corrcoef(*places)[0, 1])
    assert ranks[0]["ci95"][0] < ranks[0]["spearman"] < ranks[0]["ci95"][1]
    with pytest.raises(ConfigError, match="0 bins"):
        difference_rows(one, {"yaw": value}, 150, bins=0)


# Failures


def test_worst_pairs_come_first_and_median_ones_lie_in_the_middle():
    truth = np.zeros((9, 3, 2))
    errors = np.array([4.0, 9, 1, 7, 3, 8, 2, 6, 5])
    visible = np.ones((9, 3), dtype=bool)
    visible[1, 1:] = False  # the largest error, of one point of three
    table = table_of(truth, truth + errors[:, None, None] * [1.0, 0.0], visible, side=70)
    order, means = ranked(table)
    assert order.tolist() == [5, 3, 7, 8, 0, 4, 6, 2]
    np.testing.assert_allclose(means, errors)
    assert chosen(table, 2, 2) == ([5, 3], [8, 0])
    assert chosen(table, 99, 99) == (order.tolist(), order.tolist())
    with pytest.raises(ConfigError, match="one of each or more"):
        chosen(table, 0, 1)
    with pytest.raises(DataError, match="half of its landmarks"):
        ranked(table_of(truth, truth, np.zeros((9, 3), dtype=bool)))


def test_a_row_of_failures_names_the_pair(tmp_path):
    one = one_set(tmp_path, a=[records(0)])
    rows = failure_rows(one, "a", 2, 1)
    assert [row["kind"] for row in rows] == ["worst", "worst", "median"]
    table = one.tables["a"][0]
    for row in rows:
        i = table.pair_ids.index(row["pair_id"])
        assert row["pixel_error"] == pytest.approx(table.errors[i][table.visible[i]].mean())
    assert rows[0]["pixel_error"] >= rows[1]["pixel_error"] > rows[2]["pixel_error"]


# Files


def test_csv_has_the_ends_of_an_interval_and_blanks_for_what_is_not_known():
    text = comma_separated([{"a": 1, "ci95": [0.5, 1.5]}, {"a": None, "ci95": None}])
    assert list(csv.reader(text.splitlines())) == [["a", "low95", "high95"], ["1", "0.5", "1.5"], ["", "", ""]]


def test_a_markdown_table_has_the_best_of_each_column_in_bold():
    rows = [
        {"method": m, "landmark": k, "pixel_error": v, "ci95": v and [v - 1, v + 1]}
        for m, k, v in (("a", "nose", 2.0), ("b", "nose", 3.0), ("a", "chin_left", None), ("b", "chin_left", 4.0))
    ]
    assert markdown_table(rows, column="landmark", value="pixel_error") == [
        "| method | nose | chin left |",
        "|---|---|---|",
        "| a | **2.00** [1.00, 3.00] |  |",
        "| b | 3.00 [2.00, 4.00] | **4.00** [3.00, 5.00] |",
    ]


def test_numbers_and_names_in_pictures():
    assert [signed(v) for v in (0.123, -0.5, -0.001, 0.004)] == ["+0.12", "−0.50", "0.00", "0.00"]
    names = ["right_eye_inner", "left_eye_outer", "nose", "lip_upper"]
    assert [two_lines(name) for name in names] == ["right eye\ninner", "left eye\nouter", "nose", "lip\nupper"]
