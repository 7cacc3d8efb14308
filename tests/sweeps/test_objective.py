from __future__ import annotations

from pathlib import Path

import pytest

from dife_lightning.errors import DataError
from dife_lightning.sweeps.objective import MissingMetric, best_value, ranked
from dife_lightning.sweeps.records import Trial
from tests.sweeps.fakes import LAMBDA, sweep_of

LOW = sweep_of({"a": LAMBDA})
HIGH = sweep_of({"a": LAMBDA}, metric={"name": "val/pixel_error", "goal": "maximize"})
#: As CSVLogger writes: rows of steps and of validations, in columns of both.
TEXT = """epoch,train/loss,step,val/pixel_error
0,0.5,9,
0,,9,7.5
0,0.25,19,
0,,19,6.25
0,,29,nan
0,,39,6.25
0,,49,8.0
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "metrics.csv"
    path.write_text(text)
    return path


def test_the_best_validation_counts_and_the_first_of_two_alike(tmp_path):
    path = write(tmp_path, TEXT)
    assert best_value(path, LOW) == (6.25, 19)
    assert best_value(path, HIGH) == (8.0, 49)


def test_what_is_missing_is_told_with_the_closest_name(tmp_path):
    with pytest.raises(DataError, match=r"no metrics\.csv"):
        best_value(tmp_path / "metrics.csv", LOW)
    path = write(tmp_path, "step,val/pixel_errors,val/human+dog/jittered/9-point/pixel_error\n1,2,3\n")
    with pytest.raises(
        MissingMetric, match=r"no 'val/pixel_error'. Did you mean 'val/pixel_errors'\? Known: val/pixel_errors\.$"
    ):
        best_value(path, LOW)
    with pytest.raises(DataError, match="never a finite number"):
        best_value(write(tmp_path, "step,val/pixel_error\n1,nan\n2,\n"), LOW)


def test_trials_are_ranked_by_the_goal_and_then_by_number():
    trials = [Trial(3, {}, "done", 2.0), Trial(1, {}, "done", 2.0), Trial(2, {}, "failed"), Trial(0, {}, "done", 1.0)]
    assert [trial.number for trial in ranked(LOW, trials)] == [0, 1, 3]
    assert [trial.number for trial in ranked(HIGH, trials)] == [1, 3, 0]
