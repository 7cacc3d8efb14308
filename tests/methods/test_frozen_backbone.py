from __future__ import annotations

import json
from pathlib import Path

import lightning as L
import pytest
import torch
import yaml

from dife_lightning.cli.main import main
from dife_lightning.data.photos import face_domains
from dife_lightning.errors import AssetError, ConfigError
from dife_lightning.matching import transfer
from dife_lightning.pretrained.embedders import load_embedder
from dife_lightning.registry import get_method
from tests.fake_faces import make_faces
from tests.methods.test_floors import make_batch
from tests.pretrained.tiny_backbones import write_backbone

pytest.importorskip("transformers", reason="the extra 'backbones' is not installed")


@pytest.fixture
def model(tmp_path: Path) -> str:
    return write_backbone(tmp_path / "model")


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ({}, ""),
        ({"layer": 1, "side": 56}, "?layer=1&side=56"),
        ({"unit_length": False, "upsample": False}, "?unit_length=false&upsample=false"),
    ],
)
def test_it_transfers_by_search_in_the_backbones_own_maps(model, options, query):
    batch = make_batch(3)
    found = get_method("frozen-backbone")(model=model, **options).transfer_batch(batch)
    embedder = load_embedder(f"backbone:{model}{query}")
    maps = [embedder.embed(images) for images in (batch.source_image, batch.target_image)]
    assert maps[0].shape[-1] == (2 if "upsample" in options else 64)
    expected = transfer(*maps, batch.source_points, source_size=64, target_size=64)
    torch.testing.assert_close(found, expected)


def test_a_point_of_the_same_image_is_found_to_the_pixel(model):
    batch = make_batch(2)
    batch.target_image, batch.source_points = batch.source_image, batch.source_points.round().clamp(8, 55)
    found = get_method("frozen-backbone")(model=model, side=112).transfer_batch(batch)
    torch.testing.assert_close(found, batch.source_points, atol=1.0, rtol=0)


def test_the_backbone_is_no_part_of_its_state_and_is_loaded_once(model):
    methods = [get_method("frozen-backbone")(model=model) for _ in range(2)]
    for method in methods:
        method.embed(torch.zeros(1, 3, 32, 32))
        assert method.state_dict() == {}
    assert load_embedder(methods[0].embedder).module is load_embedder(methods[1].embedder).module


def test_it_can_be_tested_without_a_checkpoint_and_cannot_be_fitted(model, tmp_path):
    method = get_method("frozen-backbone")
    assert method.needs_checkpoint is False
    trainer = L.Trainer(max_steps=1, logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    loader = torch.utils.data.DataLoader([0])
    with pytest.raises(ConfigError, match="'frozen-backbone' has nothing to learn"):
        trainer.fit(method(model=model), train_dataloaders=loader, val_dataloaders=loader)


def test_an_unknown_folder_is_said_when_it_is_needed(tmp_path):
    with pytest.raises(AssetError, match="there is no such folder"):
        get_method("frozen-backbone")(model=f"{tmp_path}/nothing").embed(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("name", ["paper/dinov2", "paper/dinov3"])
def test_the_papers_pairs_are_tested_from_the_shipped_configuration(name, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    faces = {
        "celeba": make_faces(tmp_path, 4, name="celeba", scheme="mafl-5"),
        "ap10k": make_faces(tmp_path, 4, name="ap10k", scheme="ap10k-17", seed=1),
    }
    monkeypatch.setattr(face_domains, "load_dataset", lambda name, root=None, **options: faces[name])
    crop = {"rule": "landmarks"}  # these faces are no aligned pictures
    domains = {name: {"dataset": data, "crop": crop} for name, data in (("human", "celeba"), ("dog", "ap10k"))}
    evaluation = {"class_path": "FacePairs", "init_args": {"domains": domains, "count": 2, "val_count": 1}}
    small = {
        "model": {"class_path": "FrozenBackbone", "init_args": {"model": model, "side": 28}},
        "data": {"class_path": "StyleGAN2Stream", "init_args": {"evaluation": evaluation}},
        "trainer": {"accelerator": "cpu", "logger": False},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small))
    words = ("--config", name, "--config", "paper/mafl_ap10k", "--config", "small.yaml", "--out", "out")
    assert main(["test", *words]) == 0
    (row,) = json.loads((tmp_path / "out/metrics.json").read_text())["rows"]
    assert (row["method"], row["pair"], row["protocol"], row["pairs"]) == ("frozen-backbone", "human+dog", "3-point", 2)
    assert 0 < row["pixel_error"] < 99
