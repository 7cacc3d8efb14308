"""The results of a sweep, and Optuna's pictures."""

from __future__ import annotations

import csv
import io
import re
import shlex
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from optuna.trial import FrozenTrial
from PIL import Image
from scipy import stats

from dife_lightning.sweeps.report import rank_correlation, winner_command, write_report
from tests.sweeps.fakes import LAMBDA, sweep_of, trial_of

TWO = sweep_of({"model.lambda_m1": LAMBDA, "model.weights": {"values": ["dve", "flat", "[1, 2]"]}})


def trials(objectives=(6.5, 5.25, 7.0)) -> list[FrozenTrial]:
    values = zip((0.05, 0.1, 0.5), ("dve", "flat", "[1, 2]"), objectives, strict=True)
    found = [
        trial_of(n, {"model.lambda_m1": a, "model.weights": b}, c, step=100 * n + 99, seconds=60.4)
        for n, (a, b, c) in enumerate(values)
    ]
    return [*found, trial_of(3, found[0].params, message="loss is NaN | step 3", seconds=60.4)]


def test_the_csv_has_all_trials_the_best_first(tmp_path):
    write_report(TWO, tmp_path, trials())
    rows = list(csv.DictReader(io.StringIO((tmp_path / "sweep.csv").read_text())))
    assert [row["trial"] for row in rows] == ["1", "0", "2", "3"]
    assert rows[0] == {
        "trial": "1", "state": "done", "val/pixel_error": "5.25", "step": "199", "seconds": "60.4",
        "model.lambda_m1": "0.1", "model.weights": "flat", "message": "",
    }  # fmt: skip
    assert (rows[3]["state"], rows[3]["val/pixel_error"], rows[3]["message"]) == ("failed", "", "loss is NaN | step 3")


def test_the_page_has_the_winner_the_table_the_pictures_and_the_failures(tmp_path):
    written = write_report(TWO, tmp_path, trials(), ["--trainer.max_steps=5"])
    names = ["sweep.csv", "sweep.md", "history.png", "slices.png", "importances.png", "contour.png"]
    assert [path.name for path in written] == names
    text = (tmp_path / "sweep.md").read_text()
    lines = text.splitlines()
    command = lines[lines.index("```sh") + 1]
    assert shlex.split(command) == [
        "dife", "fit", "--model.lambda_m1=0.1", "--model.weights=flat", "--trainer.max_steps=5",
    ]  # fmt: skip
    assert "3 of 4 trials; `val/pixel_error`, best over a run's validations, lower is better" in text
    assert "| 1 | 0.1 | flat | 5.25 | 199 | 60 s |" in lines
    assert "| lambda_m1 | +0.50 |" in lines
    assert "- trial 3 failed: loss is NaN | step 3" in lines
    for path in written[2:]:
        assert f"({path.name})" in text
        assert path.read_bytes()[1:4] == b"PNG"


def test_the_command_of_the_winner_can_be_typed():
    sweep = sweep_of({"a": {"value": [1, 2]}, "b": {"value": "two words"}})
    best = trial_of(0, {"a": "[1, 2]", "b": "two words"}, 1.0)
    assert winner_command(sweep, best) == "dife fit '--a=[1, 2]' '--b=two words'"


def test_the_table_on_the_screen_has_the_best_first(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    write_report(TWO, tmp_path, trials())
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["1", "0", "2", "3"]
    assert "failed" in rows[3]


def test_the_goal_maximize_puts_the_largest_first(tmp_path):
    sweep = sweep_of({"a": LAMBDA}, metric={"name": "val/pck", "goal": "maximize"})
    write_report(sweep, tmp_path, [trial_of(n, {"a": 0.1 * (n + 1)}, float(n)) for n in range(3)])
    text = (tmp_path / "sweep.md").read_text()
    assert "higher is better." in text
    assert "The best, trial 2," in text


def test_a_sweep_in_which_nothing_varies_has_no_picture(tmp_path):
    sweep = sweep_of({"a": {"value": 1}})
    assert len(write_report(sweep, tmp_path, [trial_of(0, {"a": 1}, 1.0)])) == 2


@pytest.mark.parametrize(
    "form",
    [LAMBDA, {"values": [True, None, "x"]}, {"values": [1, 2, 3]}, {"min": 1, "max": 9}, {"min": 0.0, "max": 1.0}],
)
@pytest.mark.parametrize("count", [1, 2, 9])
def test_every_kind_of_parameter_can_be_drawn_after_any_number_of_trials(tmp_path, form, count):
    values = form.get("values") or [form["min"], form["max"], (form["min"] + form["max"]) // 2 or form["max"]]
    sweep = sweep_of({"a": form, "b": LAMBDA})
    found = [trial_of(n, {"a": values[n % 3], "b": 0.05 * (n + 1)}, float(n % 4)) for n in range(count)]
    written = write_report(sweep, tmp_path, found)
    assert [path.suffix for path in written[2:]] == [".png"] * (0 if count == 1 else 4)


def bright(path: Path) -> float:
    return float((np.asarray(Image.open(path).convert("RGB")).min(-1) < 250).mean())


def test_pictures_show_the_finished_trials_and_leave_the_style_of_others_alone(tmp_path):
    before = dict(mpl.rcParams)
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    write_report(TWO, one, trials())
    write_report(TWO, other, trials()[:3])
    for name in ("history", "slices", "importances", "contour"):
        assert (one / f"{name}.png").read_bytes() == (other / f"{name}.png").read_bytes()  # without the failed one
        assert bright(one / f"{name}.png") > 0.02
    assert {k: v for k, v in mpl.rcParams.items() if k != "backend"} == {
        k: v for k, v in before.items() if k != "backend"
    }


@pytest.mark.parametrize("seed", range(4))
def test_rank_correlation_is_pearsons_of_the_ranks_with_and_without_ties(seed):
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=25), rng.integers(0, 5, 25).astype(float)
    for a, b in ((left, right), (right, left**3), (right, rng.integers(0, 3, 25)), (left, np.exp(left))):
        expected = np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1]
        assert rank_correlation(a.tolist(), b.tolist()) == pytest.approx(expected, abs=1e-12)


def test_rank_correlation_of_nothing_is_nothing():
    assert rank_correlation([1.0, 2.0], [1.0, 2.0]) is None
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    assert rank_correlation([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]) is None
    assert rank_correlation(["x", "y", "z"], [1.0, 2.0, 3.0]) is None
    assert rank_correlation([True, False, True], [1.0, 2.0, 3.0]) is None


def test_the_level_of_chance_is_exceeded_once_in_twenty_times(tmp_path):
    rng = np.random.default_rng(0)
    count = 24
    sweep, reached = sweep_of({"a": LAMBDA}), rng.normal(size=count).tolist()
    write_report(sweep, tmp_path, [trial_of(n, {"a": 0.03 * (n + 1)}, value) for n, value in enumerate(reached)])
    (level,) = re.findall(r"With 24 trials chance alone exceeds ±([\d.]+) once", (tmp_path / "sweep.md").read_text())
    found = [abs(rank_correlation(*rng.normal(size=(2, count)).tolist()) or 0) for _ in range(2000)]
    assert np.mean(np.array(found) > float(level)) == pytest.approx(0.05, abs=0.015)
