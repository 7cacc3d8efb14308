"""`dife sweep`: what it makes, what it refuses, and what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dife_lightning.cli.main import main
from dife_lightning.sweeps import launch
from dife_lightning.sweeps.study import locked
from tests.cli.sweeping import in_this_process, rows, settings, write_sweep

ROOT = Path(__file__).parents[2]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "launch_fit", in_this_process)


def test_help_is_shown_without_torch():
    code = (
        "import sys; from dife_lightning.cli.main import main; code = main(['sweep', '--help']); "
        "heavy = {'torch', 'lightning', 'numpy', 'optuna'} & set(sys.modules); sys.exit(f'{heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: dife sweep FILE")
    assert all(f"--{name}" in done.stdout for name in ("trials", "parallel", "name", "seed", "retry", "best"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere.yaml"], "no sweep 'nowhere.yaml', neither a file nor a shipped name"),
        (["mine.yaml", "--trails", "3"], "unrecognized arguments: --trails 3; `dife sweep --help` shows the options"),
        (["mine.yaml", "--trials", "0"], "argument --trials: expected a whole number of 1 or more, found '0'"),
        (["mine.yaml", "--name", "a/b"], "argument --name: 'a/b' is not a folder name"),
        (["mine.yaml", "--name", ".."], "argument --name: '..' is not a folder name"),
        (["mine.yaml", "--", "--run", "x"], "words after --: --run is set by `dife sweep` for each trial"),
        (["mine.yaml", "--best"], "no trial of sweeps/mine has finished"),
        (["random.yaml"], "method random never ends; add --trials N, or run_cap: N in the file"),
        (["broken.yaml"], "broken.yaml, line 1: not valid YAML"),
        (["empty.yaml"], "empty.yaml: parameters: none given"),
        (["key.yaml"], "unknown key 'lrr' of TinyTask. Did you mean 'lr'?"),
        (["option.yaml"], "unknown option '--modell.lr'"),
        (["value.yaml"], "'model.lr': expected float, found fast"),
        (["mine.yaml", "--", "--trainer.max_stepz=3"], "unknown option '--trainer.max_stepz'. Did you mean"),
    ],
)
def test_errors_are_one_line_and_leave_nothing_behind(dife, workdir, words, says):
    write_sweep()
    write_sweep("random.yaml", method="random")
    write_sweep("empty.yaml", parameters={})
    write_sweep("key.yaml", parameters={"model.init_args.lrr": {"value": 1}})
    write_sweep("option.yaml", parameters={"modell.lr": {"value": 1}})
    write_sweep("value.yaml", parameters={"model.lr": {"values": ["fast", 0.1]}})
    (workdir / "broken.yaml").write_text("method: [grid")
    code, _, error = dife("sweep", *words)
    assert code == 2
    assert error.startswith("error: ")
    assert says in error
    assert error.count("\n") == 1
    assert not list(workdir.glob("sweeps/*"))


@pytest.mark.usefixtures("quick")
def test_a_grid_is_made_reported_and_not_made_again(dife, workdir):
    write_sweep()
    code, out, _ = dife("sweep", "mine.yaml", "--", "--trainer.max_steps=4")
    assert code == 0
    folder = workdir / "sweeps/mine"
    assert out.splitlines()[-1] == "sweeps/mine/sweep.csv, sweep.md, history.png, slices.png"
    for number, lr in enumerate((0.01, 0.1, 1.0)):
        resolved = settings(folder / f"runs/trial-{number:04d}")
        assert resolved["model"]["init_args"]["lr"] == lr
        assert resolved["trainer"]["max_steps"] == 4
        values = [
            float(r["val/pixel_error"])
            for r in rows(folder / f"runs/trial-{number:04d}/metrics.csv")
            if r["val/pixel_error"]
        ]
        (row,) = [row for row in rows(folder / "sweep.csv") if row["trial"] == str(number)]
        assert float(row["val/pixel_error"]) == pytest.approx(min(values))
    ranked = [float(row["val/pixel_error"]) for row in rows(folder / "sweep.csv")]
    assert ranked == sorted(ranked)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/metrics.csv")}
    assert dife("sweep", "mine.yaml", "--", "--trainer.max_steps=4")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/metrics.csv")} == before
    code, out, error = dife("sweep", "mine.yaml", "--best")
    best = rows(folder / "sweep.csv")[0]
    assert out == f"dife fit --config tiny.yaml --model.lr={best['model.lr']} --trainer.max_steps=4\n"
    assert f"trial {best['trial']}: val/pixel_error" in error
    assert main([*out.split()[1:], "--run", "again"]) == 0
    assert settings(workdir / "runs/again") == settings(folder / f"runs/trial-{int(best['trial']):04d}")


@pytest.mark.usefixtures("quick")
def test_a_sweep_goes_on_only_with_what_it_was_begun_with(dife, workdir):
    write_sweep()
    assert dife("sweep", "mine.yaml", "--trials", "1")[0] == 0
    for words, says in (
        (["--seed", "1"], "seed was 0, is 1"),
        (["--", "--trainer.max_steps=3"], "words was [], is ['--trainer.max_steps=3']"),
    ):
        code, _, error = dife("sweep", "mine.yaml", *words)
        assert code == 2
        assert f"sweeps/mine was started with other settings: {says}" in error
        assert error.count("\n") == 1
    (workdir / "tiny.yaml").write_text((workdir / "tiny.yaml").read_text().replace("max_steps: 6", "max_steps: 8"))
    code, _, error = dife("sweep", "mine.yaml", "--trials", "2")
    assert code == 2
    assert "settings.trainer.max_steps was 6, is 8. Choose another --name, or undo the change to resume." in error
    write_sweep(parameters={"model.lr": {"values": [0.01, 0.2]}})
    assert "parameters.model.lr.values was [0.01, 0.1, 1.0], is [0.01, 0.2]" in dife("sweep", "mine.yaml")[2]
    assert "parameters.model.lr.values was" in dife("sweep", "mine.yaml", "--best")[2]
    assert dife("sweep", "mine.yaml", "--name", "other", "--trials", "1")[0] == 0


@pytest.mark.usefixtures("quick")
def test_failures_are_named_and_only_a_sweep_of_failures_fails(dife, workdir):
    write_sweep(parameters={"model.weight": {"values": [-1.0, 1.0]}}, run_cap=1)
    code, _, error = dife("sweep", "mine.yaml")
    assert code == 1
    assert "error: all 1 trials failed, the first with: exit code 1 (see sweeps/mine/logs; --retry repeats" in error
    write_sweep(parameters={"model.weight": {"values": [-1.0, 1.0]}})
    code, _, error = dife("sweep", "mine.yaml")
    assert code == 0
    assert error.splitlines()[-1] == "failed: 0 (see sweeps/mine/logs; --retry repeats them)"
    assert "- trial 0 failed" in (workdir / "sweeps/mine/sweep.md").read_text()


@pytest.mark.usefixtures("quick")
def test_early_termination_is_noted_in_one_line(dife):
    write_sweep(early_terminate={"type": "hyperband", "min_iter": 3})
    code, _, error = dife("sweep", "mine.yaml", "--trials", "1")
    assert code == 0
    assert error.splitlines()[0].startswith("note: `dife sweep` ignores early_terminate; every trial runs to its end")


def test_two_sweeps_cannot_share_a_folder(dife, workdir):
    write_sweep()
    with locked(Path("sweeps/mine")):
        code, _, error = dife("sweep", "mine.yaml")
    assert code == 2
    assert "another `dife sweep` is writing into sweeps/mine; wait for it, stop it, or choose another --name." in error
    assert not (workdir / "sweeps/mine").exists()


def test_the_help_says_that_wandb_sweep_needs_a_server(dife):
    text = " ".join(dife("sweep", "--help")[1].split())
    assert "`wandb sweep` itself needs a server and cannot be started offline" in text


@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_without_optuna_the_error_says_what_to_type(dife, workdir, monkeypatch, method):
    monkeypatch.setitem(sys.modules, "optuna", None)
    write_sweep(method=method)
    code, _, error = dife("sweep", "mine.yaml")
    assert (code, error) == (2, "error: `dife sweep` needs Optuna; type `pip install 'dife-lightning[sweeps]'`.\n")
    assert not (workdir / "sweeps").exists()
