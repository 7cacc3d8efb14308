"""The folder of a sweep and its journal."""

from __future__ import annotations

import json

import pytest
from optuna.trial import TrialState

from dife_lightning.errors import DataError, UsageError
from dife_lightning.sweeps.study import SweepFolder, locked, ranked
from tests.sweeps.fakes import LAMBDA, sweep_of, trial_of

PAIR = sweep_of({"model.lr": LAMBDA, "sides": {"values": [[1, 2], None, True]}})


def begun(path, sweep=PAIR) -> SweepFolder:
    path.mkdir(exist_ok=True)
    folder = SweepFolder(path)
    folder.begin(sweep, sweep.identity())
    return folder


def test_trials_are_read_as_they_were_written(tmp_path):
    folder = begun(tmp_path)
    for values in ({"model.lr": 0.1 + 0.2, "sides": "[1, 2]"}, {"model.lr": 0.5, "sides": None}):
        folder.add(PAIR, values)
    folder.record(0, 12.0, None)
    folder.record(0, 0.51, (1 / 3, 9))
    folder.record(1, 1.0, DataError("a\nb"))
    third = folder.add(PAIR, {"model.lr": 0.5, "sides": True}, again=1)
    assert third.number == 2
    first, again = SweepFolder(tmp_path).trials()  # the one that failed was made again
    assert first.params == {"model.lr": 0.1 + 0.2, "sides": "[1, 2]"}
    assert list(first.params) == list(PAIR.parameters)
    assert (first.value, first.user_attrs["seconds"], first.user_attrs["step"]) == (1 / 3, 12.5, 9)
    failed = folder.study.get_trials()[1]
    assert (failed.state, failed.user_attrs["message"]) == (TrialState.FAIL, "a\nb")
    assert (again.number, again.params, again.state) == (2, {"model.lr": 0.5, "sides": True}, TrialState.RUNNING)
    assert first.params["model.lr"] != 0.3


def test_a_trial_is_one_line_so_that_no_half_of_it_is_left_behind(tmp_path):
    folder = begun(tmp_path)
    before = (tmp_path / "journal.log").read_text().count("\n")
    folder.add(PAIR, {"model.lr": 0.5, "sides": None})
    assert (tmp_path / "journal.log").read_text().count("\n") == before + 1


def test_a_line_that_was_cut_off_and_a_lock_that_was_left_do_not_stop_a_sweep(tmp_path):
    folder = begun(tmp_path / "mine")
    folder.add(PAIR, {"model.lr": 0.5, "sides": None})
    journal = tmp_path / "mine/journal.log"
    whole = journal.read_text()
    journal.write_text(whole + whole.splitlines()[-1][:40])
    (tmp_path / "mine/journal.log.lock").touch()
    with locked(tmp_path / "mine") as opened:
        opened.add(PAIR, {"model.lr": 0.25, "sides": True})
    assert [trial.params["model.lr"] for trial in SweepFolder(tmp_path / "mine").trials()] == [0.5, 0.25]
    assert all(json.loads(line) for line in journal.read_text().splitlines())


@pytest.mark.parametrize("text", ["no json\n{}\n", "[1]\n", "{}\n", '{"op_code": 4}\n'])
def test_a_damaged_journal_is_named_in_one_line(tmp_path, text):
    (tmp_path / "journal.log").write_text(text)
    with pytest.raises(DataError, match=r"journal\.log is damaged \(.*\); choose another --name\.$") as error:
        SweepFolder(tmp_path)
    assert "\n" not in str(error.value)


def test_a_folder_of_an_earlier_version_is_refused_in_one_line(tmp_path):
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials/0000.json").write_text("{}")
    with pytest.raises(
        UsageError, match=r"was written by dife-lightning 0\.1; read its sweep\.csv, and choose another"
    ):
        SweepFolder(tmp_path)


def test_reading_a_folder_writes_nothing(tmp_path):
    assert SweepFolder(tmp_path / "none").trials() == []
    assert SweepFolder(tmp_path / "none").begun == {}
    assert not list(tmp_path.iterdir())


def test_trials_are_ranked_by_the_goal_and_then_by_number():
    high = sweep_of({"a": LAMBDA}, metric={"name": "val/pixel_error", "goal": "maximize"})
    trials = [trial_of(3, {}, 2.0), trial_of(1, {}, 2.0), trial_of(2, {}, message="no"), trial_of(0, {}, 1.0)]
    assert [trial.number for trial in ranked(PAIR, trials)] == [0, 1, 3]
    assert [trial.number for trial in ranked(high, trials)] == [1, 3, 0]


def test_what_changed_is_told_and_what_is_the_same_goes_on(tmp_path):
    folder = SweepFolder(tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    one = sweep_of({"model.lr": LAMBDA})
    before = one.identity()
    folder.check_begun(before)  # nothing is there yet
    folder.begin(one, {**before, "settings": {"trainer": {"max_steps": 5}}})
    folder.check_begun(before)
    folder = SweepFolder(tmp_path / "mine")
    folder.check_begun({**before, "settings": {"trainer": {"max_steps": 5}}})
    with pytest.raises(
        UsageError, match=r"mine was started with other settings: parameters.model.lr.max was 1.0, is 2.0\. "
    ):
        folder.check_begun(sweep_of({"model.lr": {**LAMBDA, "max": 2.0}}).identity())
    with pytest.raises(UsageError, match=r"settings.trainer.max_steps was 5, is 6\. Choose another --name, or undo"):
        folder.check_begun({**before, "settings": {"trainer": {"max_steps": 6}}})
    more = sweep_of({"model.lr": LAMBDA, "b": {"value": 1}}, "bayes").identity()
    with pytest.raises(UsageError, match=r"method was random, is bayes and [0-9] more"):
        folder.check_begun(more)


def test_a_key_that_comes_or_goes_is_a_change(tmp_path):
    folder = SweepFolder(tmp_path)
    folder.begin(PAIR, {"settings": {"a": 1, "b": 2}})
    with pytest.raises(UsageError, match=r"settings\.b was 2, is not there"):
        folder.check_begun({"settings": {"a": 1}})
    with pytest.raises(UsageError, match=r"settings\.c was not there, is 3"):
        folder.check_begun({"settings": {"a": 1, "b": 2, "c": 3}})
