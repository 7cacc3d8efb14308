from __future__ import annotations

from pathlib import Path

import lightning as L
import pytest
import torch

import dife_lightning as dl
from dife_lightning.cli.main import main as dife
from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.faces.schemes import LAYOUT, get_scheme, to_layout
from dife_lightning.methods.frozen_landmarks import FrozenLandmarks
from dife_lightning.registry import get_method
from tests.methods.test_floors import make_batch

MODEL = "photos/human-landmarks"


def test_it_gives_the_points_that_the_model_finds_in_the_targets():
    batch = make_batch(3, 64)
    model = dl.load(MODEL)
    batch.visible[:] = False
    batch.visible[:, LAYOUT["3-point"]] = True
    found = FrozenLandmarks(MODEL).transfer_batch(batch)
    with torch.no_grad():
        points = model.detect(batch.target_image).points.numpy()
    known = torch.ones(points.shape[:2], dtype=torch.bool).numpy()
    expected, _ = to_layout(points, known, get_scheme(model.scheme))
    torch.testing.assert_close(found[:, LAYOUT["3-point"]], torch.from_numpy(expected)[:, LAYOUT["3-point"]])


def test_it_has_the_points_and_the_size_of_the_model_but_none_of_its_weights():
    method, model = FrozenLandmarks(MODEL), dl.load(MODEL)
    assert (method.scheme, method.size) == (model.scheme, model.size)
    assert method.state_dict() == {}
    assert list(method.parameters()) == []


def test_it_can_be_tested_without_a_checkpoint_and_cannot_be_fitted(tmp_path: Path):
    method = get_method("frozen-landmarks")
    assert method.needs_checkpoint is False
    trainer = L.Trainer(max_steps=1, logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    loader = torch.utils.data.DataLoader([0])
    with pytest.raises(ConfigError, match="'frozen-landmarks' has nothing to learn"):
        trainer.fit(method(), train_dataloaders=loader, val_dataloaders=loader)


def test_another_method_or_no_file_is_refused():
    with pytest.raises(CheckpointError, match="holds a DIFE, which finds no landmarks"):
        FrozenLandmarks("photos/dife").detect(torch.zeros(1, 3, 8, 8))
    with pytest.raises(CheckpointError, match="no/run"):
        FrozenLandmarks("no/run").detect(torch.zeros(1, 3, 8, 8))


@pytest.mark.slow
def test_a_landmark_model_is_tested_on_the_worlds_pairs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--config", "world/test", "--data.init_args.count", "8", "--data.init_args.pairs", "[human+dog]"]
    assert dife(["test", *words, "--model", "FrozenLandmarks", "--model.model", "world/human-landmarks"]) == 0
    assert "human+dog" in capsys.readouterr().out
