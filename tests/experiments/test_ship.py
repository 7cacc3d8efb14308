"""A shipped run is found by its name: by `load`, as a frozen embedder, and by `dife test`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import dife_lightning as dl
from dife_lightning.cli.main import main as dife
from dife_lightning.errors import AssetError, CheckpointError
from dife_lightning.pretrained.embedders import load_embedder
from dife_lightning.pretrained.generators import load_generator
from dife_lightning.weights import assets
from dife_lightning.weights.checkpoints import read_checkpoint
from experiments.build import ship
from tests.experiments.tiny_config import write_config

RUN = Path(__file__).parents[1] / "fixtures/run_0_1_0"
TERMS = ["--terms", "non-commercial research", "--data", "Cats and Dogs,People"]


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of shipped files, and a notice."""
    folder = tmp_path / "assets"
    folder.mkdir()
    monkeypatch.setattr(assets, "FOLDER", folder)
    (tmp_path / "card.md").write_text("# A card")
    return folder


def shipped(run: Path, name: str, tmp_path: Path, *words: str) -> int:
    return ship.main([str(run), name, "--notice", str(tmp_path / "card.md"), *TERMS, *words])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of a small run, which shipping may write into."""
    target = tmp_path / "run/checkpoints"
    target.mkdir(parents=True)
    for name in ("best.ckpt", "last.ckpt"):
        source = RUN / "checkpoints" / name
        if source.is_file():
            (target / name).write_bytes(source.read_bytes())
    (target.parent / "resolved.yaml").write_bytes((RUN / "resolved.yaml").read_bytes())
    return target.parent


def test_a_method_is_shipped_without_the_state_of_its_training_and_loaded_by_name(tmp_path, run, capsys):
    before = dl.load(run)
    teacher = before.hparams["teacher"]
    assert shipped(run, "photos/dife", tmp_path, "--rename", f"{teacher}=photos/teacher") == 0
    entry = assets.list_assets()["photos/dife"]
    assert (entry["kind"], entry["data"], entry["notice"]) == ("method", ["Cats and Dogs", "People"], "photos-dife.md")
    assert (entry["seed"], entry["metric"], entry["score"]) == (0, "val/pixel_error", 21.0229)
    content = read_checkpoint(assets.find_asset("photos/dife"))
    assert set(content) <= {"state_dict", "hyper_parameters", "method", "pytorch-lightning_version"}
    found, images = dl.load("photos/dife"), torch.rand(1, 3, 32, 32)
    assert found.hparams["teacher"] == "photos/teacher"
    assert torch.equal(found.embed(images), before.embed(images))
    assert torch.equal(load_embedder("photos/dife").embed(images), before.embed(images))


def test_a_shipped_generator_is_no_method(tmp_path, run, shelf):
    (shelf / "photos-dog.safetensors").write_bytes(b"")
    assets.register_asset(
        "photos/dog", shelf / "photos-dog.safetensors", "generator", notice=tmp_path / "card.md", terms="x", data=["y"]
    )
    with pytest.raises(CheckpointError, match="photos/dog is a generator, no trained method; `dife assets` lists"):
        dl.load("photos/dog")
    with pytest.raises(AssetError, match="own/nothing"):
        dl.load("own/nothing")


def test_what_cannot_be_shipped_is_told_in_a_line(tmp_path, run, capsys):
    assert shipped(tmp_path / "none", "photos/dife", tmp_path) == 1
    assert shipped(run, "photos/dife", tmp_path, "--rename", "old") == 1
    assert "error: --rename old: expected OLD=NEW, such as own/photo-dog=photos/dog" in capsys.readouterr().err
    assert not assets.list_assets()


@pytest.mark.slow
def test_a_shipped_generator_makes_the_samples_of_its_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ["--model.init_args.max_images=8", "--data.init_args.batch_size=4", "--data.init_args.held_out=2"]
    code = dife(["fit", "--config", "stylegan2/world_human", "--data.init_args.count=10", "--run", "g", *small])
    assert code == 0
    assert shipped(Path("runs/g"), "photos/dog", tmp_path) == 0
    assert assets.list_assets()["photos/dog"]["images"] == 8
    module, generator = dl.load("runs/g"), load_generator("photos/dog")
    z = torch.randn(2, generator.z_dim)
    assert torch.allclose(generator.image(generator.map(z)), module.generator_ema(z), atol=0.02)  # float16


@pytest.mark.slow
def test_dife_test_takes_the_name_of_a_shipped_method(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = str(write_config(tmp_path))
    assert dife(["fit", "--config", config, "--run", "first"]) == 0
    assert shipped(Path("runs/first"), "photos/dife", tmp_path) == 0
    for name, out in (("runs/first", "a"), ("photos/dife", "b")):
        assert dife(["test", "--ckpt_path", name, "--config", config, "--out", out]) == 0
    assert (tmp_path / "a/predictions.csv").read_text() == (tmp_path / "b/predictions.csv").read_text()
