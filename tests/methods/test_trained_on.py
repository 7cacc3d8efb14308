"""A checkpoint of a landmark model states the crops that it was trained on."""

from __future__ import annotations

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

import dife_lightning as dl
from dife_lightning.errors import CheckpointError
from dife_lightning.geometry.crops import CropOptions
from dife_lightning.methods._landmarks import TRAINED_ON, LandmarkModule, trained_on
from dife_lightning.methods.landmark_net import LandmarkNet

CROP = CropOptions("box", factor=1.2)
PLAIN = {"rule": "box", "factor": 1.2, "shift": 0.0, "padding": "zero", "min_side": 32.0}
TINY = {"stem": 4, "bottlenecks": 1, "channels": [4, 4, 4, 4], "modules": [1, 1, 1], "blocks": 1}


class OnePoint(LandmarkModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Crops(L.LightningDataModule):
    def __init__(self, **facts):
        super().__init__()
        vars(self).update(facts)

    def train_dataloader(self):
        return DataLoader([torch.zeros(1)])

    val_dataloader = train_dataloader


def written(tmp_path, model, data):
    quiet = {
        "limit_val_batches": 0,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    trainer = L.Trainer(max_steps=1, accelerator="cpu", logger=False, default_root_dir=tmp_path, **quiet)
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    return torch.load(tmp_path / "one.ckpt", weights_only=True)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [({"size": 48, "crop": CROP}, {"size": 48, "crop": PLAIN}), ({"size": 48}, {"size": 48}), ({"crop": "box"}, {})],
)
def test_a_training_records_size_and_crop_of_its_data(tmp_path, facts, expected):
    assert written(tmp_path, OnePoint(), Crops(**facts)).get(TRAINED_ON, {}) == expected


def test_a_training_on_other_crops_replaces_what_the_checkpoint_stated(tmp_path):
    model = OnePoint()
    model.on_load_checkpoint({TRAINED_ON: {"size": 64, "crop": PLAIN}})
    assert (model.size, model.trained_on) == (64, {"size": 64, "crop": PLAIN})
    assert written(tmp_path, model, Crops(size=80))[TRAINED_ON] == {"size": 80}
    assert written(tmp_path, model, Crops())[TRAINED_ON] == {"size": 64, "crop": PLAIN}


def test_a_loaded_model_takes_images_of_the_size_of_its_training(tmp_path):
    model = LandmarkNet(network=TINY)
    content = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), "method": "landmark-net"}
    torch.save({**content, TRAINED_ON: {"size": 40}}, tmp_path / "with.ckpt")
    torch.save(content, tmp_path / "without.ckpt")
    assert dl.load(tmp_path / "with.ckpt").size == 40
    assert dl.load(tmp_path / "without.ckpt").size == LandmarkNet.size


@pytest.mark.parametrize("found", [{"size": "64"}, {"size": True}, {"size": 4}, {"size": 10**9}, {"crop": "box"}, [64]])
def test_other_values_are_refused(found):
    with pytest.raises(CheckpointError, match="expected the size and the options of a crop"):
        trained_on({TRAINED_ON: found})
