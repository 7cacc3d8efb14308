"""A run that version 0.1.0 wrote, before classes moved, is scored and gone on with as it was then.

``fixtures/run_0_1_0`` was made by ``dife fit --config world/human_dog --config trainer/cpu`` with a tiny encoder; the
expected errors are what ``dife test`` of that version gave.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

import dife_lightning as dl
from dife_lightning.cli.main import main

RUN = Path(__file__).parents[1] / "fixtures" / "run_0_1_0"
#: framing, protocol -> pixel error of the first 32 pairs.
ERRORS = {
    ("jittered", "9-point"): 22.200027052937195,
    ("jittered", "3-point"): 21.445643981792966,
    ("plain", "9-point"): 22.239206889469127,
    ("plain", "3-point"): 20.326701046733014,
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(RUN, tmp_path / "runs" / "first"))


def test_it_scores_as_it_did(run, capsys):
    last = run / "checkpoints" / "last.ckpt"
    assert main(["test", "--ckpt_path", str(last), "--trainer.limit_test_batches", "1", "--out", "scores"]) == 0
    rows = json.loads(Path("scores/metrics.json").read_text())["rows"]
    assert {(row["framing"], row["protocol"]): row["pixel_error"] for row in rows} == pytest.approx(ERRORS, abs=1e-3)
    said = capsys.readouterr().err
    assert said.count("dife_lightning.data.world_pairs is now dife_lightning.data.world.pairs") <= 1


@pytest.mark.slow
def test_its_training_goes_on(run):
    assert main(["fit", "--run", "first", "--ckpt_path", "last", "--trainer.max_steps", "8"]) == 0
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 8


def test_its_checkpoint_loads_and_embeds(run):
    method = dl.load(run / "checkpoints" / "last.ckpt")
    assert type(method).__name__ == "DIFE"
    assert method.embed(torch.zeros(1, 3, 64, 64)).shape == (1, 16, 64, 64)
