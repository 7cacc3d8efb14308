"""The cache of frozen generators and its files."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import nn

from dife_lightning.errors import AssetError, CheckpointError, ConfigError
from dife_lightning.methods.stylegan2 import StyleGAN2
from dife_lightning.methods.surface_teacher import SurfaceTeacher
from dife_lightning.nn.stylegan2 import Architecture, StyleGAN2Generator
from dife_lightning.pretrained.generators import (
    Generator,
    estimate_mean_w,
    load_generator,
    read_generator,
    save_generator,
)
from dife_lightning.weights.checkpoints import read_tensors, write_tensors

TINY = Architecture((8, 6, 4), z_dim=5, w_dim=7, mapping_layers=2)


@pytest.fixture
def network() -> StyleGAN2Generator:
    torch.manual_seed(3)
    network = StyleGAN2Generator(TINY)
    network.mapping.w_avg.copy_(torch.randn(7))
    return network


@pytest.fixture
def file(network: StyleGAN2Generator, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_generator(network, path)
    return path


def test_a_saved_generator_comes_back_within_half_precision(network: StyleGAN2Generator, file: Path) -> None:
    found = read_generator(file)
    assert found.architecture == network.architecture
    for name, value in network.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=1e-3, atol=1e-6)
        assert found.state_dict()[name].dtype == torch.float32
    z = torch.randn(2, 5)
    torch.testing.assert_close(found(z), network(z), rtol=0.02, atol=0.02)


def test_a_file_names_its_kind_and_layout_and_is_half_precision(file: Path) -> None:
    tensors, metadata = read_tensors(file)
    assert metadata["kind"] == "stylegan2-generator"
    assert metadata["layout"] == "nvlabs"
    assert {value.dtype for value in tensors.values()} == {torch.float16}
    assert "synthesis.b8.conv0.affine.weight" in tensors


def test_a_generator_is_loaded_once(file: Path) -> None:
    assert load_generator(file) is load_generator(str(file))


def test_a_changed_file_is_loaded_anew(file: Path, network: StyleGAN2Generator) -> None:
    first = load_generator(file)
    with torch.no_grad():
        network.mapping.w_avg.add_(1)
    save_generator(network, file)
    second = load_generator(file)
    assert second is not first
    torch.testing.assert_close(second.mean_w, first.mean_w + 1, rtol=2e-3, atol=2e-3)


def test_shapes_follow_the_architecture(file: Path) -> None:
    generator = load_generator(file)
    assert (generator.z_dim, generator.w_dim, generator.num_ws, generator.resolution) == (5, 7, 6, 16)
    w = generator.map(torch.randn(2, 5))
    assert w.shape == (2, 6, 7)
    assert generator.image(w).shape == (2, 3, 16, 16)
    for layer in (1, 3):
        channels, side = generator.layer_shape(layer)
        assert generator.features(w, layer).shape == (2, channels, side, side)


def test_one_pass_equals_image_and_features(file: Path) -> None:
    generator = load_generator(file)
    w = generator.map(torch.randn(2, 5))
    image, features = generator.synthesize(w, 1)
    torch.testing.assert_close(image, generator.image(w))
    torch.testing.assert_close(features, generator.features(w, 1))


def test_truncation_to_zero_gives_the_mean(file: Path) -> None:
    generator = load_generator(file)
    w = generator.map(torch.randn(2, 5), truncation=0.0)
    torch.testing.assert_close(w, generator.mean_w.expand(2, 6, 7))
    torch.testing.assert_close(generator.image(w), generator.image(generator.mean_w.expand(2, 7)))


def test_nothing_of_a_generator_enters_its_owner(file: Path) -> None:
    class Owner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)
            self.generators = {"a": load_generator(file)}
            self.generator = load_generator(file)

    owner = Owner()
    assert set(owner.state_dict()) == {"layer.weight", "layer.bias"}
    assert len(list(owner.parameters())) == 2
    assert copy.deepcopy(owner).generator is owner.generator


def test_features_are_differentiable_in_w_and_leave_no_graph_otherwise(file: Path) -> None:
    generator = load_generator(file)
    w = generator.map(torch.randn(1, 5))
    assert not w.requires_grad
    assert not generator.features(w, 1).requires_grad
    w = w.clone().requires_grad_()
    generator.features(w, 1).square().sum().backward()
    assert w.grad is not None
    assert float(w.grad.abs().sum()) > 0


def test_the_same_device_is_the_same_object_and_another_one_a_copy(file: Path) -> None:
    generator = load_generator(file)
    assert generator.to("cpu") is generator
    other = generator.to("meta")
    assert other is not generator
    assert other.device.type == "meta"
    assert generator.device.type == "cpu"
    assert other.to("cpu") is generator
    assert generator.to("meta") is other


def test_both_memory_formats_give_the_same_picture(file: Path) -> None:
    generator = load_generator(file)
    w = generator.map(torch.randn(2, 5))
    last = generator.to("cpu", channels_last=True).image(w)
    plain = generator.to("cpu", channels_last=False).image(w)
    torch.testing.assert_close(last, plain, atol=1e-5, rtol=1e-5)


def test_a_missing_mean_is_estimated_from_fixed_latents(network: StyleGAN2Generator, tmp_path: Path) -> None:
    save_generator(network, tmp_path / "full.safetensors", torch.float32)
    tensors, metadata = read_tensors(tmp_path / "full.safetensors")
    del tensors["mapping.w_avg"]
    write_tensors(tmp_path / "bare.safetensors", tensors, metadata)
    found = load_generator(tmp_path / "bare.safetensors")
    sample = network.mapping(torch.randn(20_000, 5, generator=torch.Generator().manual_seed(9))).mean(0)
    torch.testing.assert_close(found.mean_w, sample, atol=0.06, rtol=0)
    torch.testing.assert_close(found.mean_w, estimate_mean_w(network))


def test_wrong_shapes_are_refused_with_the_right_one(file: Path) -> None:
    generator = load_generator(file)
    with pytest.raises(ConfigError, match=r"\(B, 5\)"):
        generator.map(torch.randn(2, 7))
    with pytest.raises(ConfigError, match=r"\(B, 6, 7\)"):
        generator.image(torch.randn(2, 5, 7))
    with pytest.raises(ConfigError, match="layer 5"):
        generator.features(torch.randn(2, 6, 7), 5)


def test_an_unknown_name_and_a_foreign_file_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="world/hmuan"):
        load_generator("world/hmuan")
    write_tensors(tmp_path / "other.safetensors", {"a": torch.zeros(1)}, {"kind": "surface-teacher"})
    with pytest.raises(CheckpointError, match="surface-teacher"):
        load_generator(tmp_path / "other.safetensors")


def test_a_truncated_file_is_one_clear_line(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"tiny\.safetensors is truncated"):
        load_generator(file)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"mapping_layers": 10**12}, "its metadata says mapping_layers 1000000000000, its tensors 2"),
        ({"channels": [8, 6, 4, 4]}, r"its metadata says channels \[8, 6, 4, 4\], its tensors \[8, 6, 4\]"),
        ({"channels": [1] * 2000}, "its metadata says channels"),
        ({"w_dim": 10**9}, "its metadata says w_dim 1000000000, its tensors 7"),
        ({"conv_clamp": -1}, "conv_clamp is -1; expected above 0"),
        ({"conv_clamp": "x"}, "conv_clamp is x; expected a number above 0"),
        ({"depth": 3}, "no checkpoint of a known kind"),
    ],
)
def test_sizes_that_a_file_merely_declares_are_refused_before_anything_is_built(
    file: Path, changes: dict[str, Any], text: str
) -> None:
    tensors, metadata = read_tensors(file)
    metadata["architecture"] = json.dumps({**json.loads(metadata["architecture"]), **changes})
    write_tensors(file, tensors, metadata)
    with pytest.raises(CheckpointError, match=rf"tiny\.safetensors.*{text}") as error:
        load_generator(file)
    assert "\n" not in str(error.value)


def test_a_generator_does_not_change_with_its_file(file: Path, network: StyleGAN2Generator) -> None:
    save_generator(network, file, torch.float32)
    found = load_generator(file)
    file.write_bytes(file.read_bytes()[:300] + bytes(file.stat().st_size - 300))
    for name, value in network.state_dict().items():
        assert torch.equal(found.network.state_dict()[name], value), name


def train_nothing(module: LightningModule, run: Path, name: str = "last.ckpt") -> Path:
    """Write the checkpoint of an untrained method into a run's folder."""
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(run / "checkpoints" / name, weights_only=True)
    return run


def training(seed: int) -> StyleGAN2:
    torch.manual_seed(seed)
    module = StyleGAN2(channels=[8, 6, 4], z_dim=5, w_dim=7, mapping_layers=2)
    for number, parameter in enumerate(module.generator_ema.parameters()):  # as after training: unlike `generator`
        parameter.data.add_(0.01 * number + seed)
    return module


def test_a_training_gives_its_averaged_generator(tmp_path: Path) -> None:
    module = training(0)
    path = train_nothing(module, tmp_path) / "checkpoints/last.ckpt"
    generator = load_generator(path)
    assert load_generator(str(path)) is generator
    assert generator.architecture == TINY
    assert not any(p.requires_grad for p in generator.network.parameters())
    state = generator.network.state_dict()
    for name, value in module.generator_ema.state_dict().items():
        assert torch.equal(state[name], value)
    assert not torch.equal(state["synthesis.b4.const"], module.generator.state_dict()["synthesis.b4.const"])


def test_a_run_gives_its_best_checkpoint_else_its_last(tmp_path: Path) -> None:
    last, best = training(1), training(2)
    run = train_nothing(last, tmp_path / "run")
    torch.testing.assert_close(load_generator(run).mean_w, last.generator_ema.mapping.w_avg)
    first = load_generator(run).network.synthesis.b4.const
    assert torch.equal(first, last.generator_ema.synthesis.b4.const)
    train_nothing(best, run, "best.ckpt")
    assert torch.equal(load_generator(str(run)).network.synthesis.b4.const, best.generator_ema.synthesis.b4.const)


def test_a_run_without_checkpoints_and_one_of_another_method_are_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"empty has no checkpoints/best\.ckpt or last\.ckpt"):
        load_generator(tmp_path / "empty")
    run = train_nothing(SurfaceTeacher(dim=8, width=8, blocks=1), tmp_path / "teacher")
    with pytest.raises(CheckpointError, match="holds a SurfaceTeacher, which has no generator"):
        load_generator(run)
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "foreign.ckpt")
    with pytest.raises(CheckpointError, match=r"foreign\.ckpt is not a checkpoint of dife-lightning"):
        load_generator(tmp_path / "foreign.ckpt")
    with pytest.raises(AssetError, match="runs/none"):
        load_generator("runs/none")


def test_a_shipped_name_wins_over_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "world/dog").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert load_generator("world/dog").resolution == 64


def test_a_holder_freezes_its_network(network: StyleGAN2Generator) -> None:
    generator = Generator(network)
    assert not any(p.requires_grad for p in generator.network.parameters())
    assert not generator.network.training
