"""Trainings of a sweep: interrupted, at one precision, in processes, and of a DIFE."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

import tests.cli.strike  # noqa: F401  (makes its class name known)
from dife_lightning.cli.main import main
from dife_lightning.errors import Interrupted
from dife_lightning.running import precision
from dife_lightning.sweeps import launch
from tests.cli.sweeping import GOOD, Finished, in_this_process, rows, settings, trials, write_sweep
from tests.experiments.tiny_config import write_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "launch_fit", in_this_process)


def interrupted(words: Sequence[str], log_file: Path, environment: Mapping[str, str]) -> Finished:
    """Run trial 1 up to its third step, where the sweep and the trial are interrupted; run the others to their end."""
    if words[words.index("--run") + 1] != "trial-0001":
        return in_this_process(words, log_file, environment)
    strike = ["--trainer.callbacks+=Strike", "--trainer.callbacks.step=3", "--trainer.callbacks.number=15"]
    ended = Finished(main([*words, *strike]))
    assert ended.code == 143
    polls = iter((Interrupted("stopped by SIGINT; the same command resumes the sweep", signal.SIGINT),))

    def poll() -> int:
        for error in polls:
            raise error
        return 143

    ended.poll = poll  # type: ignore[method-assign]
    return ended


def test_an_interrupted_trial_goes_on_from_its_checkpoint_and_ends_as_if_nothing_had_been(dife, workdir, monkeypatch):
    path = write_sweep(method="random", run_cap=3, parameters={"model.lr": {"min": 0.01, "max": 0.2}})
    monkeypatch.setattr(launch, "launch_fit", in_this_process)
    assert dife("sweep", str(path), "--name", "whole")[0] == 0

    monkeypatch.setattr(launch, "launch_fit", interrupted)
    code, _, error = dife("sweep", str(path))
    assert code == 130
    assert error.splitlines()[-1] == "error: stopped by SIGINT; the same command resumes the sweep"
    folder = workdir / "sweeps/mine"
    assert [trial.state.name for trial in trials(folder)] == ["COMPLETE", "RUNNING"]
    monkeypatch.setattr(launch, "launch_fit", in_this_process)
    assert dife("sweep", str(path))[0] == 0
    assert json.loads((folder / "runs/trial-0001/environment-2.json").read_text())["command"][-2:] == [
        "--ckpt_path",
        "last",
    ]
    for number in range(3):
        csvs = [workdir / f"sweeps/{name}/runs/trial-{number:04d}/metrics.csv" for name in ("whole", "mine")]
        assert rows(csvs[0]) == rows(csvs[1])
    without = [[{**row, "seconds": ""} for row in rows(workdir / f"sweeps/{n}/sweep.csv")] for n in ("whole", "mine")]
    assert without[0] == without[1]


@pytest.mark.slow
def test_an_interrupted_trial_of_a_class_of_the_users_own_goes_on_in_a_process(dife, workdir, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    text = (workdir / "tiny.yaml").read_text()
    (workdir / "tiny.yaml").write_text(text.replace("Tiny", "tests.cli.dummies.Tiny"))
    write_sweep(parameters={"model.init_args.lr": {"values": [0.1, 0.01]}})
    real = launch.launch_fit
    monkeypatch.setattr(launch, "launch_fit", interrupted)
    assert dife("sweep", "mine.yaml")[0] == 130
    monkeypatch.setattr(launch, "launch_fit", real)
    code, out, error = dife("sweep", "mine.yaml")
    assert code == 0, out + error
    assert "trial 1 of 2: resumed" in out
    steps = [int(row["step"]) for row in rows(workdir / "sweeps/mine/runs/trial-0001/metrics.csv") if row["train/loss"]]
    assert steps == list(range(6))


OWN = """
from tests.cli.dummies import TinyTask

class OwnTask(TinyTask):
    pass
"""


@pytest.mark.slow
def test_trials_know_the_classes_of_an_imported_file_also_when_resumed(dife, workdir, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (workdir / "own_task_of_a_sweep.py").write_text(OWN)
    text = (
        (workdir / "tiny.yaml")
        .read_text()
        .replace("TinyTask", "OwnTask")
        .replace("TinyData", "tests.cli.dummies.TinyData")
    )
    (workdir / "tiny.yaml").write_text(text)
    write_sweep(parameters={"model.init_args.lr": {"values": [0.1, 0.01]}})
    words = ("sweep", "mine.yaml", "--", "--import", "own_task_of_a_sweep.py")
    real = launch.launch_fit
    monkeypatch.setattr(launch, "launch_fit", interrupted)
    assert dife(*words)[0] == 130
    monkeypatch.setattr(launch, "launch_fit", real)
    code, out, error = dife(*words)
    assert code == 0, out + error
    assert [row["state"] for row in rows(workdir / "sweeps/mine/sweep.csv")] == ["done", "done"]
    model = settings(workdir / "sweeps/mine/runs/trial-0001")["model"]
    assert model["class_path"] == "own_task_of_a_sweep.OwnTask"
    assert "--import own_task_of_a_sweep.py" in dife("sweep", "mine.yaml", "--best")[1]


@pytest.mark.usefixtures("quick")
def test_a_trial_that_ended_after_the_sweep_was_killed_is_only_read(dife, workdir):
    write_sweep()
    assert dife("sweep", "mine.yaml", "--trials", "1")[0] == 0
    journal = workdir / "sweeps/mine/journal.log"
    before = trials(workdir / "sweeps/mine")
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '"state":1,"values":[' not in line))
    assert [trial.state.name for trial in trials(workdir / "sweeps/mine")] == ["RUNNING"]
    assert dife("sweep", "mine.yaml", "--trials", "1")[0] == 0
    (after,) = trials(workdir / "sweeps/mine")
    assert (after.value, after.user_attrs["step"]) == (before[0].value, before[0].user_attrs["step"])
    assert after.state.name == "COMPLETE"


@pytest.mark.usefixtures("quick")
def test_all_trials_get_the_precision_that_was_probed_once(dife, workdir, monkeypatch):
    found = iter(["bf16-mixed", "32-true", "32-true"])
    monkeypatch.setattr(
        precision, "probe_precision", lambda seconds=None: precision.PrecisionChoice(next(found), "measured")
    )
    write_sweep()
    words = ("sweep", "mine.yaml", "--", "--trainer.precision=auto")
    code, _, error = dife(*words[:2], "--trials", "1", *words[2:])
    assert code == 0
    assert "precision of all trials: bf16-mixed (measured)" in error
    assert dife(*words)[0] == 0
    chosen = {settings(run)["trainer"]["precision"] for run in (workdir / "sweeps/mine/runs").iterdir()}
    assert chosen == {"bf16-mixed"}
    assert len(list((workdir / "sweeps/mine/runs").iterdir())) == 3


@pytest.mark.slow
def test_trials_are_processes_two_at_a_time(dife, workdir, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    text = (workdir / "tiny.yaml").read_text()
    (workdir / "tiny.yaml").write_text(text.replace("Tiny", "tests.cli.dummies.Tiny"))
    write_sweep(parameters={"model.init_args.weight": {"values": [0.5, -1.0]}})
    code, out, error = dife("sweep", "mine.yaml", "--parallel", "2")
    assert code == 0, out + error
    good, bad = rows(workdir / "sweeps/mine/sweep.csv")
    assert settings(workdir / "sweeps/mine/runs/trial-0000")["model"]["init_args"]["weight"] == 0.5
    assert (good["state"], good["model.init_args.weight"], bad["state"]) == ("done", "0.5", "failed")
    assert bad["message"] == "weight is -1.0, expected 0 or more; set --model.weight 1."
    assert f"error: {bad['message']}" in (workdir / "sweeps/mine/logs/0001.txt").read_text()


@pytest.mark.usefixtures("quick")
@pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:loss .* gives:UserWarning")
def test_the_weights_of_a_tiny_dife_reach_its_settings(dife, workdir, monkeypatch):
    monkeypatch.setenv("DIFE_CACHE", str(workdir / "cache"))
    config = write_config(workdir)
    keys = ("lambda_k1", "lambda_k2", "lambda_m1", "lambda_m2")
    log = {"distribution": "log_uniform_values", "min": 0.01, "max": 1.0}
    parameters = {f"model.init_args.{key}": log for key in keys}
    command = ["dife", "fit", "--config", config.name, "${args}"]
    (workdir / "dife.yaml").write_text(
        yaml.safe_dump({**GOOD, "command": command, "method": "random", "parameters": parameters, "run_cap": 1})
    )
    assert dife("sweep", "dife.yaml")[0] == 0
    (row,) = rows(workdir / "sweeps/dife/sweep.csv")
    arguments = settings(workdir / "sweeps/dife/runs/trial-0000")["model"]["init_args"]
    assert [arguments[key] for key in keys] == [float(row[f"model.init_args.{key}"]) for key in keys]
    assert len({arguments[key] for key in keys}) == 4
    assert float(row["val/pixel_error"]) > 0
