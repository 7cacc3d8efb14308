"""Two processes on a CPU train, stop, go on and test as one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dife_lightning.cli.main import main
from dife_lightning.running.locks import process_rank
from dife_lightning.weights.checkpoints import read_checkpoint
from experiments.checks.kills import differences
from tests.cli.test_resume import config, strike, words  # noqa: F401  (a fixture)

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
TWO = ("--trainer.devices=2", "--trainer.strategy=ddp")


def dife(*arguments: str, code: int = 0) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DIFE_DEBUG": "0"}
    command = [sys.executable, "-W", "ignore", "-m", "dife_lightning", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def photos(config: Path) -> tuple[str, ...]:  # noqa: F811
    """The options of a training in two processes with photos beside the samples."""
    for seed, domain in enumerate(("human", "dog")):
        folder = config.parent / "photos" / domain
        folder.mkdir(parents=True)
        for k in range(7):
            pixels = np.random.default_rng([seed, k]).integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{k}.png")
    return (*TWO, "--data.init_args.photos.folder", str(config.parent / "photos"))


@pytest.fixture(scope="module")
def pair(config: Path, photos: tuple[str, ...]) -> Path:  # noqa: F811
    """The folder of a training in two processes."""
    dife(*words(config, "two", *photos))
    return config.parent / "two"


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_files_are_written_once(pair):
    names = {"resolved.yaml", "environment.json", "metrics.csv", "stages.json"}
    assert files(pair) == names | {f"checkpoints/{name}.ckpt" for name in ("best", "last", "previous")}
    rows = (pair / "metrics.csv").read_text().splitlines()
    assert len([row for row in rows if row]) == len(set(rows))


def test_each_process_makes_pairs_of_its_own_and_all_are_kept(pair):
    first, second = read_checkpoint(pair / "checkpoints/last.ckpt")["pseudo_pairs"]
    assert first.keys() == second.keys() != set()
    for kind in first:
        assert not (first[kind]["original_w"] == second[kind]["original_w"]).all()


def test_a_signal_to_one_process_stops_both_and_nothing_is_lost(config, photos, pair):  # noqa: F811
    blow = [word.replace("Strike", "tests.cli.strike.Strike") for word in strike(5, signal.SIGTERM)]
    said = dife(*words(config, "struck", *photos, *blow), code=128 + signal.SIGTERM)
    assert "stopped by SIGTERM at step 6, whose checkpoint is written" in said
    place = ("--runs_root", str(config.parent), "--run", "struck")
    dife("fit", *place, "--ckpt_path", "last", "--trust_run")  # its settings come along, the two processes among them
    left, right = (read_checkpoint(run / "checkpoints/last.ckpt") for run in (pair, config.parent / "struck"))
    assert left["global_step"] == 12
    assert not differences(left, right)


def test_a_loss_that_is_no_number_in_one_process_stops_both(config):  # noqa: F811
    poison = (
        "--trainer.callbacks+=tests.cli.strike.Poison",
        "--trainer.callbacks.step=5",
        "--trainer.callbacks.rank=1",
    )
    said = dife(*words(config, "poisoned", *TWO, *poison), code=1)
    assert said.count("error: the loss is not finite at step 6; the last good checkpoint is kept") >= 1
    assert read_checkpoint(config.parent / "poisoned/checkpoints/last.ckpt")["global_step"] == 4


def test_the_test_of_two_processes_is_that_of_one(pair):
    prefix = "--data.init_args.evaluation.init_args"
    lists = [f"{prefix}.lists=[long]", f"{prefix}.count=5", f"{prefix}.batch_size=2"]  # unequal shares
    start = ["test", "--ckpt_path", str(pair), *lists]
    dife(*start, "--out", str(pair / "one"), "--trainer.devices=1", "--trainer.strategy=auto")
    dife(*start, "--out", str(pair / "both"), *TWO)
    assert files(pair / "one") == files(pair / "both")
    assert (pair / "one/predictions.csv").read_text() == (pair / "both/predictions.csv").read_text()
    one, both = (json.loads((pair / name / "metrics.json").read_text())["rows"] for name in ("one", "both"))
    assert one == both


def test_the_prediction_of_two_processes_is_that_of_one(pair):
    prefix = "--data.init_args.evaluation.init_args"
    lists = [f"{prefix}.lists=[long]", f"{prefix}.framings=[plain]", f"{prefix}.count=5", f"{prefix}.batch_size=2"]
    start = ["predict", "--ckpt_path", str(pair), *lists]
    dife(*start, "--out", str(pair / "p1"), "--trainer.devices=1", "--trainer.strategy=auto")
    dife(*start, "--out", str(pair / "p2"), *TWO)
    assert files(pair / "p1") == files(pair / "p2")
    for name in files(pair / "p1") - {"environment.json", "resolved.yaml"}:
        assert (pair / "p1" / name).read_text() == (pair / "p2" / name).read_text(), name


@pytest.mark.parametrize(
    ("variables", "rank"),
    [({}, 0), ({"LOCAL_RANK": "1"}, 1), ({"RANK": "3", "LOCAL_RANK": "1"}, 3), ({"SLURM_PROCID": "2"}, 2)],
)
def test_the_rank_is_found_whoever_started_the_process(monkeypatch, variables, rank):
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert process_rank() == rank


def test_processes_started_from_outside_need_a_run_name(config, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert main(["fit", "--config", str(config), "--runs_root", str(config.parent)]) == 2
    assert "in several processes (srun, torchrun) needs --run NAME" in capsys.readouterr().err
