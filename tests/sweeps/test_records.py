from __future__ import annotations

import pytest

from dife_lightning.errors import DataError, UsageError
from dife_lightning.sweeps.records import SweepFolder, Trial
from tests.sweeps.fakes import LAMBDA, sweep_of


def test_a_record_is_read_as_it_was_written(tmp_path):
    folder = SweepFolder(tmp_path)
    values = {"model.lr": 0.1 + 0.2, "sides": [1, 2], "none": None, "on": True}
    trials = [
        Trial(11, values, "done", 1 / 3, 99, 12.5, seen=[1, 2]),
        Trial(2, values, "failed", exit_code=3, message="a\nb"),
    ]
    for trial in trials:
        folder.write(trial)
    assert folder.trials() == trials[::-1]


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"number": 1}', '{"number": 1, "parameters": {}, "state": "done", "x": 1}']
)
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials/0003.json").write_text(text)
    with pytest.raises(DataError, match=r"trials/0003.json is .*; remove it"):
        SweepFolder(tmp_path).trials()


def test_what_changed_is_told_and_what_is_the_same_goes_on(tmp_path):
    folder = SweepFolder(tmp_path / "mine")
    before = sweep_of({"model.lr": LAMBDA}).identity()
    folder.check_identity(before)  # nothing is there yet
    folder.write_identity({**before, "settings": {"trainer": {"max_steps": 5}}})
    folder.check_identity(before)
    folder.check_identity({**before, "settings": {"trainer": {"max_steps": 5}}})
    with pytest.raises(
        UsageError, match=r"mine was begun with another sweep: .*parameters.model.lr.high was 1.0, is 2.0\. "
    ):
        folder.check_identity(sweep_of({"model.lr": {**LAMBDA, "max": 2.0}}).identity())
    with pytest.raises(UsageError, match=r"settings.trainer.max_steps was 5, is 6\. Choose another --name, or undo"):
        folder.check_identity({**before, "settings": {"trainer": {"max_steps": 6}}})
    more = sweep_of({"model.lr": LAMBDA, "b": {"value": 1}}, "bayes").identity()
    with pytest.raises(UsageError, match=r'method was "random", is "bayes" and [0-9] more'):
        folder.check_identity(more)


def test_a_key_that_comes_or_goes_is_a_change(tmp_path):
    folder = SweepFolder(tmp_path)
    folder.write_identity({"settings": {"a": 1, "b": 2}})
    with pytest.raises(UsageError, match=r"settings\.b was 2, is not there"):
        folder.check_identity({"settings": {"a": 1}})
    with pytest.raises(UsageError, match=r"settings\.c was not there, is 3"):
        folder.check_identity({"settings": {"a": 1, "b": 2, "c": 3}})
