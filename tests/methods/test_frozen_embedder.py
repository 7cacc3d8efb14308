from __future__ import annotations

from pathlib import Path

import lightning as L
import pytest
import torch

from dife_lightning.errors import AssetError, ConfigError
from dife_lightning.matching import transfer
from dife_lightning.pretrained.embedders import load_embedder
from dife_lightning.registry import get_method
from tests.methods.test_floors import make_batch
from tests.tiny import write_teacher


@pytest.fixture
def teacher(tmp_path: Path) -> str:
    return write_teacher(tmp_path / "teacher.safetensors")


def test_it_transfers_by_search_in_the_embedders_own_maps(teacher):
    batch = make_batch(3)
    found = get_method("frozen-embedder")(embedder=teacher).transfer_batch(batch)
    maps = [load_embedder(teacher).embed(images) for images in (batch.source_image, batch.target_image)]
    assert torch.equal(found, transfer(*maps, batch.source_points))


def test_the_embedder_is_no_part_of_its_state(teacher):
    method = get_method("frozen-embedder")(embedder=teacher)
    method.embed(torch.zeros(1, 3, 32, 32))
    assert method.state_dict() == {}
    assert list(method.parameters()) == []


def test_it_can_be_tested_without_a_checkpoint_and_cannot_be_fitted(teacher, tmp_path):
    method = get_method("frozen-embedder")
    assert method.needs_checkpoint is False
    trainer = L.Trainer(max_steps=1, logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    loader = torch.utils.data.DataLoader([0])
    with pytest.raises(ConfigError, match="'frozen-embedder' has nothing to learn"):
        trainer.fit(method(embedder=teacher), train_dataloaders=loader, val_dataloaders=loader)


def test_an_unknown_embedder_is_said_when_it_is_needed():
    with pytest.raises(AssetError, match="world/nothing"):
        get_method("frozen-embedder")(embedder="world/nothing").embed(torch.zeros(1, 3, 8, 8))
