"""Making trials, with a function in place of `dife fit`."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dife_lightning.errors import Interrupted, UsageError
from dife_lightning.running.locks import RunLock
from dife_lightning.sweeps import runner as runner_module
from dife_lightning.sweeps.definition import Sweep
from dife_lightning.sweeps.runner import MissingMetric, Runner, best_value, todo
from dife_lightning.sweeps.study import SweepFolder, suggest
from tests.sweeps.fakes import LAMBDA, FakeFit, Fakes, save, sweep_of

PAIR = {"a": LAMBDA, "b": LAMBDA}


def bowl(values: dict[str, Any]) -> list[float]:
    """Two validations, the second one worse."""
    error = sum((math.log10(values[name]) + 1) ** 2 for name in ("a", "b"))
    return [error, error + 1]


def work(
    sweep: Sweep, path: Path, count: int, fakes: Fakes, log: Callable[[str], None] = lambda text: None, **more: Any
) -> dict[int, Any]:
    """Run what is missing of ``count`` trials and return the records without their times."""
    retry = more.pop("retry", False)
    path.mkdir(exist_ok=True)
    folder = SweepFolder(path)
    if not folder.begun:
        folder.begin(sweep, sweep.identity())
    runner = Runner(sweep, folder, launch=fakes, log=log, poll_seconds=0.0, **more)
    runner.run(todo(folder.trials(), count, retry), count)
    return records(path)


def records(path: Path) -> dict[int, Any]:
    found = {}
    for trial in SweepFolder(path).trials():
        known = {key: trial.user_attrs.get(key) for key in ("step", "message")}
        state = {"COMPLETE": "done", "FAIL": "failed", "RUNNING": "running"}[trial.state.name]
        assert state != "done" or trial.user_attrs["seconds"] >= 0
        found[trial.number] = {"parameters": trial.params, "state": state, "objective": trial.value, **known}
    return found


class Interrupting(Fakes):
    """Fakes of which one raises a Ctrl-C in the sweep's process when it is polled."""

    def __init__(self, reach: Callable[[dict[str, Any]], Any], at: int, error: BaseException) -> None:
        super().__init__(reach, polls=lambda number: 3 if number >= at - 1 else 1)
        self.at, self.error = at, error

    def __call__(self, words: Sequence[str], log_file: Path, environment: Any) -> FakeFit:
        fake = super().__call__(words, log_file, environment)
        if len(self.made) == self.at:
            poll = fake.poll

            def strike() -> int | None:
                fake.poll = poll  # type: ignore[method-assign]
                raise self.error

            fake.poll = strike  # type: ignore[method-assign]
        return fake


def test_the_best_validation_of_each_run_is_its_objective(tmp_path):
    sweep = sweep_of(PAIR)
    found = work(sweep, tmp_path, 4, Fakes(bowl))
    assert list(found) == [0, 1, 2, 3]
    for trial in found.values():
        assert trial["state"] == "done"
        assert trial["objective"] == pytest.approx(bowl(trial["parameters"])[0])
        assert trial["step"] == 9


def test_the_goal_maximize_takes_the_largest_value_and_calls_it_best(tmp_path):
    sweep = sweep_of({"a": {"values": [1, 2, 3]}}, "grid", metric={"name": "val/pixel_error", "goal": "maximize"})
    told: list[str] = []
    found = work(sweep, tmp_path, 3, Fakes(lambda values: [values["a"], values["a"] + 10, 0]), told.append)
    assert [(trial["objective"], trial["step"]) for trial in found.values()] == [(11, 19), (12, 19), (13, 19)]
    assert [line for line in told if "the best so far" in line] == [line for line in told if ": val/" in line]


def test_words_of_a_trial_name_its_run_after_everything_else(tmp_path):
    fakes = Fakes(bowl)
    work(sweep_of(PAIR), tmp_path, 1, fakes, more=["--trainer.max_steps=5"])
    (words,) = [fake.words for fake in fakes.made]
    place = ["--run", "trial-0000", "--runs_root", str(tmp_path / "runs")]
    assert words[0] == "fit"
    assert words[-5:] == ["--trainer.max_steps=5", *place]
    assert fakes.made[0].parameters.keys() >= {"a", "b", "trainer.max_steps"}


def test_two_at_a_time_are_two_at_a_time_and_share_the_threads(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    sweep = sweep_of(PAIR)
    alone = Fakes(bowl)
    found = work(sweep, tmp_path / "alone", 7, alone)
    both = Fakes(bowl, polls=lambda number: 1 + number % 3)
    assert work(sweep, tmp_path / "both", 7, both, parallel=2) == found
    assert (alone.most, both.most) == (1, 2)
    assert {one["OMP_NUM_THREADS"] for one in alone.environments} == {"5"}
    assert {one["OMP_NUM_THREADS"] for one in both.environments} == {"2"}
    assert {(one["WANDB_MODE"], one["WANDB_RUN_GROUP"]) for one in both.environments} == {("offline", "both")}


def test_a_failing_trial_is_recorded_with_its_words_and_the_rest_goes_on(tmp_path):
    def reach(values: dict[str, Any]) -> list[float]:
        if values["a"] == 2:
            raise ValueError("loss is NaN at step 3")
        return [values["a"]]

    sweep = sweep_of({"a": {"values": [1, 2, 3]}}, "grid")
    found = work(sweep, tmp_path, 3, Fakes(reach))
    assert [trial["state"] for trial in found.values()] == ["done", "failed", "done"]
    assert (found[1]["message"], found[1]["objective"]) == ("loss is NaN at step 3", None)
    idle = Fakes(reach)
    assert work(sweep, tmp_path, 3, idle) == found
    assert not idle.made
    mended = work(sweep, tmp_path, 3, Fakes(lambda values: [values["a"]]), retry=True)
    assert list(mended) == [0, 2, 3]  # the last one in place of trial 1
    assert mended[3] == {**found[1], "state": "done", "message": None, "objective": 2, "step": 9}
    assert work(sweep, tmp_path, 3, idle, retry=True) == mended
    assert not idle.made


def test_a_trial_that_was_killed_is_told_by_its_signal_and_one_that_was_never_finite_too(tmp_path):
    class Killed(Fakes):
        def __call__(self, *arguments: Any) -> FakeFit:
            fake = super().__call__(*arguments)
            if len(self.made) == 1:
                fake.code = -signal.SIGKILL
            return fake

    sweep = sweep_of({"a": {"values": [1, 2, 3]}}, "grid")
    found = work(sweep, tmp_path, 3, Killed(lambda values: ["nan", "inf"] if values["a"] == 2 else [1.0]))
    assert found[0]["message"] == "ended by SIGKILL"
    assert found[1]["message"] == "'val/pixel_error' was never a finite number"
    assert found[2]["state"] == "done"


@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_an_interrupted_sweep_that_goes_on_ends_like_one_that_was_left_alone(tmp_path, method):
    parameters = (
        {"a": {"values": [0.1, 0.2, 0.4]}, "b": {"values": [0.1, 0.5, 0.9, 0.95]}} if method == "grid" else PAIR
    )
    sweep = sweep_of(parameters, method)
    whole = work(sweep, tmp_path / "whole", 12, Fakes(bowl), seed=2)
    stopping = Interrupting(bowl, at=10, error=Interrupted("stopped", signal.SIGINT))
    with pytest.raises(Interrupted):
        work(sweep, tmp_path / "cut", 12, stopping, seed=2)
    assert stopping.made[-1].signals == [signal.SIGTERM]
    cut = records(tmp_path / "cut")
    assert (len(cut), cut[9]["state"], cut[9]["objective"]) == (10, "running", None)
    rest = Fakes(bowl)
    assert work(sweep, tmp_path / "cut", 12, rest, seed=2) == whole
    assert rest.made[0].words == [*stopping.made[-1].words, "--ckpt_path", "last"]  # so its classes are the user's own
    assert len(rest.made) == 3


def test_an_interruption_ends_all_running_trials_and_keeps_one_that_just_finished(tmp_path):
    class Finishing(Interrupting):
        def __call__(self, *arguments: Any) -> FakeFit:
            fake = super().__call__(*arguments)
            if len(self.made) == 1:
                fake.send_signal = lambda sig, /: setattr(fake, "polls", 0)  # type: ignore[method-assign]
            return fake

    fakes = Finishing(lambda values: [values["a"]], at=2, error=KeyboardInterrupt())
    fakes.polls = lambda number: 50
    sweep = sweep_of({"a": {"values": [1, 2, 3]}}, "grid")
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        work(sweep, tmp_path, 3, fakes, told.append, parallel=2)
    assert told[-1].startswith("waiting for 2 running to write checkpoints")
    found = records(tmp_path)
    assert [found[0]["state"], found[1]["state"]] == ["done", "running"]
    assert len(found) == 2


def test_a_trial_without_a_checkpoint_starts_anew_with_the_parameters_that_it_had(tmp_path):
    sweep = sweep_of(PAIR)
    whole = work(sweep, tmp_path / "whole", 1, Fakes(bowl))
    with pytest.raises(KeyboardInterrupt):
        work(sweep, tmp_path / "cut", 1, Interrupting(bowl, at=1, error=KeyboardInterrupt()))
    (tmp_path / "cut/runs/trial-0000/checkpoints/last.ckpt").unlink()
    (tmp_path / "cut/runs/trial-0000/metrics.csv").write_text("half a ro")
    fakes = Fakes(bowl)
    assert work(sweep, tmp_path / "cut", 1, fakes) == whole
    assert "--ckpt_path" not in fakes.made[0].words


def test_more_trials_are_added_to_those_that_are_there(tmp_path):
    sweep = sweep_of(PAIR)
    work(sweep, tmp_path, 2, Fakes(bowl))
    fakes = Fakes(bowl)
    assert work(sweep, tmp_path, 5, fakes) == work(sweep, tmp_path / "whole", 5, Fakes(bowl))
    assert len(fakes.made) == 3


def test_a_metric_that_no_run_logs_ends_the_sweep_at_the_first_trial(tmp_path):
    sweep = sweep_of(PAIR, metric={"name": "val/pixelerror"})
    fakes = Fakes(bowl)
    with pytest.raises(
        UsageError, match=r"metric.name: the run logged no 'val/pixelerror'. Did you mean 'val/pixel_err"
    ):
        work(sweep, tmp_path, 9, fakes)
    assert len(fakes.made) == 1
    assert records(tmp_path)[0]["state"] == "failed"


def test_a_grid_goes_on_in_its_order_after_a_trial_was_made_again(tmp_path):
    def reach(values: dict[str, Any]) -> list[float]:
        raise ValueError("out of memory")

    sweep = sweep_of({"a": {"values": [1, 2, 3]}}, "grid")
    work(sweep, tmp_path, 2, Fakes(reach))
    work(sweep, tmp_path, 2, Fakes(lambda values: [values["a"]]), retry=True)
    found = work(sweep, tmp_path, 3, Fakes(lambda values: [values["a"]]))
    assert {number: one["parameters"]["a"] for number, one in found.items()} == {2: 1, 3: 2, 4: 3}


def test_an_interruption_stays_one_when_the_trial_that_just_ended_logged_no_metric(tmp_path):
    class Finishing(Interrupting):
        def __call__(self, *arguments: Any) -> FakeFit:
            fake = super().__call__(*arguments)
            if len(self.made) == 1:
                fake.send_signal = lambda sig, /: setattr(fake, "polls", 0)  # type: ignore[method-assign]
            return fake

    fakes = Finishing(lambda values: [1.0], at=2, error=Interrupted("stopped", signal.SIGINT))
    fakes.polls = lambda number: 50
    sweep = sweep_of({"a": {"values": [1, 2, 3]}}, "grid", metric={"name": "val/pixelerror"})
    with pytest.raises(Interrupted, match="stopped"):
        work(sweep, tmp_path, 3, fakes, parallel=2)
    found = records(tmp_path)
    assert [one["state"] for one in found.values()] == ["failed", "running"]
    assert found[0]["message"].startswith("the run logged no 'val/pixelerror'")
    assert all("seconds" in trial.user_attrs for trial in SweepFolder(tmp_path).trials())


def test_tpe_goes_by_the_trials_that_had_finished(tmp_path):
    sweep = sweep_of(PAIR, "bayes")
    work(sweep, tmp_path, 11, Fakes(bowl), seed=3)
    trials = SweepFolder(tmp_path).trials()
    assert [trial.params for trial in trials] == [suggest(sweep, n, 3, trials[:n]) for n in range(11)]
    assert trials[10].params != suggest(sweep, 10, 3, [])


def test_a_run_that_a_left_process_still_writes_is_waited_for_and_then_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(runner_module, "GRACE", 0.0)
    sweep = sweep_of(PAIR)
    with pytest.raises(KeyboardInterrupt):
        work(sweep, tmp_path, 1, Interrupting(bowl, at=1, error=KeyboardInterrupt()))
    run = tmp_path / "runs/trial-0000"
    save(run)
    lock = RunLock(run)
    with pytest.raises(
        UsageError,
        match=r"another `dife fit` is writing into .*trial-0000; wait for it, stop it, or choose another --name",
    ):
        work(sweep, tmp_path, 1, Fakes(bowl))
    lock.release()
    fakes = Fakes(lambda values: [1.0])
    assert work(sweep, tmp_path, 1, fakes)[0]["state"] == "done"
    assert len(fakes.made) == 1


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


def test_the_best_validation_counts_and_the_first_of_two_alike(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(TEXT)
    assert best_value(path, sweep_of(PAIR)) == (6.25, 19)
    high = sweep_of(PAIR, metric={"name": "val/pixel_error", "goal": "maximize"})
    assert best_value(path, high) == (8.0, 49)


def test_what_is_missing_is_told_with_the_closest_name(tmp_path):
    path, sweep = tmp_path / "metrics.csv", sweep_of(PAIR)
    assert str(best_value(path, sweep)) == "no metrics.csv in the run's folder"
    path.write_text("step,val/pixel_errors,val/human+dog/jittered/9-point/pixel_error\n1,2,3\n")
    found = best_value(path, sweep)
    assert isinstance(found, MissingMetric)
    assert str(found).endswith("no 'val/pixel_error'. Did you mean 'val/pixel_errors'? Known: val/pixel_errors.")
    path.write_text("step,val/pixel_error\n1,2.5\n,half a ro")
    assert str(best_value(path, sweep)) == "metrics.csv in the run's folder is damaged"
    path.write_text("step,val/pixel_error\n1,nan\n2,\n")
    assert str(best_value(path, sweep)) == "'val/pixel_error' was never a finite number"
