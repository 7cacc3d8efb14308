from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from experiments.common.rows import METHODS, ROW_KEYS, Comparison, Ratio, check_rows, compare, plain, ratios, read_rows

from dife_lightning.errors import DataError
from dife_lightning.metrics.predictions import COLUMNS

NAMES = ["a", "b", "c"]


def row(method: str, error: float = 5.0, framing: str = "jittered", protocol: str = "9-point", pair: str = "human+dog"):
    return {
        "method": method, "pair": pair, "protocol": protocol, "framing": framing,
        "pixel_error": error, "ci95": [error - 1, error + 1], "pairs": 10, "points": 90,
    }  # fmt: skip


def write_predictions(folder: Path, errors: np.ndarray, visible: np.ndarray, order: np.ndarray) -> Path:
    """Write a predictions.csv of (N, K) errors with the pairs in another order."""
    folder.mkdir()
    with open(folder / "predictions.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for i in order:
            for k, name in enumerate(NAMES):
                start = [f"p{i}", "human+dog", "long", "jittered", "9-point", name, 0, 0, 0, 0]
                writer.writerow([*start, f"{errors[i, k]:.6f}", int(visible[i, k])])
    return folder


@pytest.fixture
def predictions(tmp_path: Path):
    rng = np.random.default_rng(5)
    visible = rng.random((40, 3)) < 0.8
    centre = {"surface-teacher": 9.0, "dife-warmup": 7.0, "dife": 5.0, "mean-shape": 4.9}
    errors = {name: np.round(rng.gamma(4, value / 4, (40, 3)), 6) for name, value in centre.items()}
    folders = {
        name: write_predictions(tmp_path / name, values, visible, rng.permutation(40))
        for name, values in errors.items()
    }
    return folders, errors, visible


def test_rows_are_those_of_one_list_with_the_promised_keys(tmp_path):
    entries = [{**row("DIFE"), "list": name, "swap_rate": 0.1} for name in ("paper", "long", "long")]
    entries[2]["framing"] = "plain"
    (tmp_path / "metrics.json").write_text(json.dumps({"rows": entries}))
    found = read_rows(tmp_path, "dife-warmup", "long")
    assert [(r["method"], r["framing"]) for r in found] == [("dife-warmup", "jittered"), ("dife-warmup", "plain")]
    assert all(tuple(r) == ROW_KEYS for r in found)


def test_a_missing_file_or_list_is_said(tmp_path):
    with pytest.raises(DataError, match="run `dife test` first"):
        read_rows(tmp_path, "dife", "long")
    (tmp_path / "metrics.json").write_text(json.dumps({"rows": [{**row("dife"), "list": "paper"}]}))
    with pytest.raises(DataError, match="no row of the list 'long'"):
        read_rows(tmp_path, "dife", "long")


def test_exactly_one_row_per_combination_passes():
    check_rows([row(name, framing=framing) for name in METHODS for framing in ("jittered", "plain")])


def test_a_missing_and_a_doubled_row_are_named():
    rows = [row(name) for name in METHODS]
    with pytest.raises(DataError, match="0 rows for dife-warmup / human"):
        check_rows([r for r in rows if r["method"] != "dife-warmup"])
    with pytest.raises(DataError, match="2 rows for copy-xy / human"):
        check_rows([*rows, row("copy-xy")])
    with pytest.raises(DataError, match="1 rows for other"):
        check_rows([*rows, row("other")])


def test_differences_are_those_of_a_slow_loop_over_the_same_points(predictions):
    folders, errors, visible = predictions
    for found in compare(folders, ["human+dog"]):
        total, points = 0.0, 0
        for i in range(40):
            for k in range(3):
                if visible[i, k]:
                    total += errors[found.worse][i, k] - errors[found.better][i, k]
                    points += 1
        assert found.difference == pytest.approx(total / points, abs=1e-9)


def test_intervals_agree_with_a_plain_bootstrap_over_pairs(predictions):
    folders, errors, visible = predictions
    found = compare(folders, ["human+dog"])[0]
    rng = np.random.default_rng(0)
    means = []
    for _ in range(2000):
        drawn = rng.integers(0, 40, 40)
        both = (errors[found.worse] - errors[found.better])[drawn]
        means.append(both[visible[drawn]].mean())
    assert found.ci95 == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.25)


def test_a_claim_holds_only_where_the_interval_is_above_zero(predictions):
    first, second, floor = compare(predictions[0], ["human+dog"])
    assert (first.worse, first.better) == ("surface-teacher", "dife-warmup")
    assert first.holds
    assert second.holds
    assert not floor.holds  # 4.9 against 5.0: nothing to be seen with 40 pairs
    assert floor.ci95[0] < 0 < floor.ci95[1]
    assert not Comparison("a", "b", "human+dog", 0.1, (0.0, 0.2)).holds


def test_a_pair_without_predictions_is_said(predictions):
    with pytest.raises(DataError, match=r"have no set dog\+cat/long/jittered/9-point"):
        compare(predictions[0], ["dog+cat"])


def test_ratios_use_the_nine_points_under_jitter_of_each_pair():
    error = dict(zip(METHODS, (40.0, 20.0, 10.0, 10.0, 9.0, 8.3), strict=True))
    rows = [row(name, value) for name, value in error.items()]
    rows += [row(name, 1.0, framing="plain") for name in METHODS] + [
        row(name, 1.0, protocol="3-point") for name in METHODS
    ]
    found = {ratio.other: ratio for ratio in ratios(rows)}
    assert set(found) == {"surface-teacher", "random", "copy-xy", "mean-shape"}
    assert found["surface-teacher"].value == pytest.approx(0.83)
    assert found["surface-teacher"].limit == 0.83
    assert found["mean-shape"].holds
    assert found["random"].value == pytest.approx(8.3 / 40)
    assert not Ratio("copy-xy", "human+dog", 0.91, 0.9).holds


def test_entries_of_the_summary_say_whether_they_hold():
    found = plain([Comparison("a", "b", "human+dog", 1.0, (0.5, 1.5)), Ratio("a", "human+dog", 2.0, 0.9)])
    assert [entry["holds"] for entry in found] == [True, False]
    assert json.loads(json.dumps(found))[0]["ci95"] == [0.5, 1.5]
