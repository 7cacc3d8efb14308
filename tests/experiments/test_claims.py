from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from dife_lightning.errors import DataError
from dife_lightning.metrics.predictions import COLUMNS
from experiments.common.claims import COMPARISONS
from experiments.common.measure import Measure
from experiments.common.pair_errors import read_errors
from experiments.common.plan import Column, Plan, TableRow
from experiments.tables.assemble import RowTest, comparison, ratios, verdict

NAMES = ["a", "b", "c"]


METHODS = ("random", "copy-xy", "mean-shape", "surface-teacher", "dife-warmup", "dife")
COLUMN = Column("human+dog", "m", ("human+dog",))
PLAN = Plan((COLUMN,), tuple(TableRow(name, test="CopyXY") for name in METHODS), {})


def row(method: str, error: float = 5.0, framing: str = "jittered", protocol: str = "9-point", pair: str = "human+dog"):
    return {"method": method, "pair": pair, "protocol": protocol, "framing": framing, "pixel_error": error}


def compare(folders, column: Column = COLUMN):
    """Return the promised comparisons of methods whose predictions lie in ``folders``."""
    tests = {(name, "m", 0): RowTest(read_errors(folder, Measure()), "") for name, folder in folders.items()}
    return [comparison(PLAN, column, *both, tests) for both in COMPARISONS]


def write_predictions(folder: Path, errors: np.ndarray, visible: np.ndarray, order: np.ndarray) -> Path:
    """Write a predictions.csv of (N, K) errors with the pairs in the given order."""
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
    order = rng.permutation(40)
    folders = {name: write_predictions(tmp_path / name, values, visible, order) for name, values in errors.items()}
    return folders, errors, visible


def test_differences_are_those_of_a_slow_loop_over_the_same_points(predictions):
    folders, errors, visible = predictions
    for found in compare(folders):
        total, points = 0.0, 0
        for i in range(40):
            for k in range(3):
                if visible[i, k]:
                    total += errors[found["worse"]][i, k] - errors[found["better"]][i, k]
                    points += 1
        assert found["difference"] == pytest.approx(total / points, abs=1e-9)


def test_intervals_agree_with_a_plain_bootstrap_over_pairs(predictions):
    folders, errors, visible = predictions
    found = compare(folders)[0]
    rng = np.random.default_rng(0)
    means = []
    for _ in range(2000):
        drawn = rng.integers(0, 40, 40)
        both = (errors[found["worse"]] - errors[found["better"]])[drawn]
        means.append(both[visible[drawn]].mean())
    assert found["ci95"] == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.25)


def test_a_claim_holds_only_where_the_interval_is_above_zero(predictions):
    first, second, floor = compare(predictions[0])
    assert (first["worse"], first["better"]) == ("surface-teacher", "dife-warmup")
    assert first["holds"] is True
    assert second["holds"] is True
    assert floor["holds"] is False  # 4.9 against 5.0: 40 pairs are too few to tell
    assert floor["ci95"][0] < 0 < floor["ci95"][1]
    assert verdict((0.0, 0.2)) == "tie"


def test_two_equal_rows_hold_no_claim(tmp_path):
    errors, visible = np.full((40, 3), 5.0), np.ones((40, 3), dtype=bool)
    names = ("surface-teacher", "dife-warmup", "dife", "mean-shape")
    folders = {name: write_predictions(tmp_path / name, errors, visible, np.arange(40)) for name in names}
    assert [(found["ci95"], found["holds"]) for found in compare(folders)] == [((0.0, 0.0), False)] * 3


def test_a_pair_without_predictions_is_said(predictions):
    with pytest.raises(DataError, match=r"has no set dog\+cat/long/jittered/9-point"):
        compare(predictions[0], Column("dog+cat", "m", ("dog+cat",)))


def test_ratios_use_the_nine_points_under_jitter_of_each_pair():
    error = dict(zip(METHODS, (40.0, 20.0, 10.0, 10.0, 9.0, 8.3), strict=True))
    rows = [row(name, value) for name, value in error.items()]
    rows += [row(name, 1.0, framing="plain") for name in METHODS] + [
        row(name, 1.0, protocol="3-point") for name in METHODS
    ]
    found = {ratio["other"]: ratio for ratio in ratios(rows, PLAN)}
    assert set(found) == {"surface-teacher", "random", "copy-xy", "mean-shape"}
    assert found["surface-teacher"]["value"] == pytest.approx(0.83)
    assert found["surface-teacher"]["limit"] == 0.83
    assert found["mean-shape"]["holds"] is True
    assert found["random"]["value"] == pytest.approx(8.3 / 40)
    (above,) = [r for r in ratios([row("dife", 9.1), row("copy-xy", 10.0)], PLAN) if r["other"] == "copy-xy"]
    assert above["holds"] is False


def test_a_comparison_can_be_written_as_json(predictions):
    found = json.loads(json.dumps(compare(predictions[0])[0]))
    assert found["holds"] is True
    assert len(found["ci95"]) == 2
