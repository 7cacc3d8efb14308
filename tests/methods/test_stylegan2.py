"""Training of StyleGAN2: what a step does, what a checkpoint holds, and that interruption changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from PIL import Image
from torch import Tensor

import dife_lightning
from dife_lightning.callbacks.sample_sheet import SampleSheet
from dife_lightning.data.images import GeneratorImages
from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.methods.stylegan2 import StyleGAN2
from dife_lightning.metrics.fid import frechet_distance
from dife_lightning.nn.stylegan2 import StyleGAN2Generator
from dife_lightning.pretrained.embedders import load_embedder
from dife_lightning.pretrained.generators import load_generator
from tests.pretrained.formats.writers import write_nvlabs, write_rosinality
from tests.tiny import write_teacher

#: Folders of a few images, of one colour some of them, are what is wanted here.
pytestmark = pytest.mark.filterwarnings(r"ignore:.*\d+ (usable )?images?\b")


def small(**changes: Any) -> StyleGAN2:
    settings: dict[str, Any] = {"channels": [8, 8, 8], "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "r1_interval": 2}
    torch.manual_seed(0)
    return StyleGAN2(**{**settings, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(24):
        color = rng.integers(0, 256, 3, dtype=np.uint8)
        image = np.broadcast_to(color, (16, 16, 3)).copy()
        image[4:12, 4:12] = 255 - color
        Image.fromarray(image).save(path / f"{i:02d}.png")
    return path


def fit(
    module: StyleGAN2, folder: Path, out: Path, ckpt: str | None = None, size: int = 16, **changes: Any
) -> L.Trainer:
    data = GeneratorImages(folder=str(folder), size=size, batch_size=4, flip=True)
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": -1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "limit_val_batches": 0,
        "default_root_dir": out,
    }
    trainer = L.Trainer(**{**settings, **changes})
    trainer.fit(module, data, ckpt_path=ckpt)
    return trainer


def weights(module: StyleGAN2) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def test_the_budget_is_in_images_and_global_step_counts_both_optimisers(folder: Path, tmp_path: Path) -> None:
    module = small(max_images=18)
    trainer = fit(module, folder, tmp_path)
    assert int(module.images_seen) == 20
    assert int(module.steps_done) == 5
    assert trainer.global_step == 10


def test_a_step_changes_both_networks_and_the_average_follows(folder: Path, tmp_path: Path) -> None:
    module = small(max_images=4, ema_half_life=4.0, ema_rampup=0.0)
    before = weights(module)
    fit(module, folder, tmp_path)
    after = weights(module)
    for name in ("generator.synthesis.b16.conv1.weight", "discriminator.b16.conv0.weight", "generator.mapping.w_avg"):
        assert not torch.equal(before[name], after[name])
    name = "synthesis.b16.conv1.weight"
    middle = (before[f"generator_ema.{name}"] + after[f"generator.{name}"]) / 2
    torch.testing.assert_close(after[f"generator_ema.{name}"], middle)


def test_an_interrupted_run_ends_with_the_same_weights(folder: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"augment": ["color", "translation"], "augment_target": 0.6, "path_length_weight": 0.1}
    whole = small(max_images=24, **options)
    fit(whole, folder, tmp_path)
    first = small(max_images=12, **options)
    trainer = fit(first, folder, tmp_path)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    second = small(max_images=24, seed=0, **options)
    fit(second, folder, tmp_path, ckpt=str(tmp_path / "half.ckpt"))
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(second)[name]), name


def test_another_seed_gives_other_weights(folder: Path, tmp_path: Path) -> None:
    one, other = small(max_images=4), small(max_images=4, seed=1)
    fit(one, folder, tmp_path)
    fit(other, folder, tmp_path)
    name = "generator.synthesis.b16.conv1.weight"
    assert not torch.equal(weights(one)[name], weights(other)[name])


def test_images_of_another_size_than_the_generators_are_refused_before_any_is_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dife_lightning.data.images.read_image", lambda path: pytest.fail(f"{path} was read"))
    with pytest.raises(ConfigError, match=r"size=32, the generator makes 16 px; set --data.init_args.size 16"):
        fit(small(), folder, tmp_path, size=32)


def test_a_short_training_learns_the_colour_of_its_images(tmp_path: Path) -> None:
    color = np.array([230, 130, 30], np.uint8)
    for i in range(8):
        Image.fromarray(np.broadcast_to(color - 2 * i, (8, 8, 3)).copy()).save(tmp_path / f"{i}.png")
    real = torch.from_numpy(color.astype(np.float32) / 127.5 - 1)[None, :, None, None]
    module = small(channels=[8, 8], max_images=640, lr=0.01, ema_half_life=40.0, r1_gamma=0.1, noise=False)
    before = float((module.sample(32) - real).abs().mean())
    fit(module, tmp_path, tmp_path, size=8)
    assert float((module.sample(32) - real).abs().mean()) < 0.4 * before


def test_r1_and_path_length_are_lazy_and_left_out_at_zero(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dife_lightning.methods.stylegan2 as method

    calls: list[str] = []
    for name in ("r1_penalty", "path_lengths"):
        original = getattr(method, name)
        monkeypatch.setattr(method, name, lambda *a, n=name, f=original: (calls.append(n), f(*a))[1])
    fit(small(max_images=24, r1_interval=3, path_length_weight=1.0, path_length_interval=2), folder, tmp_path)
    assert (calls.count("r1_penalty"), calls.count("path_lengths")) == (2, 3)
    calls.clear()
    fit(small(max_images=12, r1_gamma=0.0), folder, tmp_path)
    assert calls == []


def test_a_checkpoint_reloads_by_itself_and_exports_the_average(folder: Path, tmp_path: Path) -> None:
    module = small(max_images=8)
    trainer = fit(module, folder, tmp_path)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    torch.load(tmp_path / "a.ckpt", weights_only=True)
    again = dife_lightning.load(tmp_path / "a.ckpt")
    assert isinstance(again, StyleGAN2)
    again.export(str(tmp_path / "g.safetensors"))
    generator = load_generator(tmp_path / "g.safetensors")
    z = torch.randn(2, 8)
    expected = module.generator_ema(z)
    torch.testing.assert_close(generator.image(generator.map(z)), expected, atol=0.02, rtol=0.02)
    torch.testing.assert_close(generator.mean_w, module.generator.mapping.w_avg, atol=1e-3, rtol=1e-3)


def test_weights_start_from_another_run_or_file_and_nothing_else_does(folder: Path, tmp_path: Path) -> None:
    module = small(max_images=8)
    trainer = fit(module, folder, tmp_path)
    trainer.save_checkpoint(tmp_path / "human.ckpt")
    module.export(str(tmp_path / "human.safetensors"))
    source = weights(module)
    other = small(seed=1)
    other.load_weights(str(tmp_path / "human.ckpt"))
    for name in ("generator.synthesis.b8.conv0.weight", "discriminator.b4.fc.weight"):
        assert torch.equal(weights(other)[name], source[name])
    assert int(other.images_seen) == 0
    third = small(max_images=4, init_from=str(tmp_path / "human.safetensors"), lr=1e-9, discriminator_lr=1e-9)
    fit(third, folder, tmp_path)
    name = "synthesis.b8.conv0.weight"
    torch.testing.assert_close(
        weights(third)[f"generator.{name}"], source[f"generator_ema.{name}"], atol=1e-3, rtol=1e-3
    )


def test_weights_start_from_a_shipped_name_or_a_run(folder: Path, tmp_path: Path) -> None:
    shipped = load_generator("world/dog").network.state_dict()
    module = small(channels=[128, 128, 128, 64, 32], z_dim=128, w_dim=128, mapping_layers=4)
    discriminator = weights(module)["discriminator.b4.fc.weight"]
    module.load_weights("world/dog")
    for name in ("synthesis.b32.conv1.weight", "mapping.w_avg"):
        for part in ("generator", "generator_ema"):
            assert torch.equal(weights(module)[f"{part}.{name}"], shipped[name])
    assert torch.equal(weights(module)["discriminator.b4.fc.weight"], discriminator)
    source = small(max_images=8)
    fit(source, folder, tmp_path).save_checkpoint(tmp_path / "run/checkpoints/last.ckpt")
    other = small(seed=1, max_images=4, init_from=str(tmp_path / "run"), lr=1e-9, discriminator_lr=1e-9)
    fit(other, folder, tmp_path)
    for name in ("generator.synthesis.b8.conv0.weight", "discriminator.b4.fc.weight"):
        torch.testing.assert_close(weights(other)[name], weights(source)[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["g.pkl", "g.pt"])
def test_weights_start_from_a_public_network(tmp_path: Path, name: str) -> None:
    module = small()
    source = StyleGAN2Generator(module.generator.architecture)
    (write_nvlabs if name == "g.pkl" else write_rosinality)(tmp_path / name, source)
    module.load_weights(str(tmp_path / name))
    for part in ("generator", "generator_ema"):
        assert torch.equal(weights(module)[f"{part}.synthesis.b8.conv0.weight"], source.synthesis.b8.conv0.weight)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("world/dgo", "init_from: no asset or file 'world/dgo'. Did you mean 'world/dog'"),
        ("nowhere.ckpt", "init_from: no asset or file 'nowhere.ckpt'"),
        ("empty", "init_from: empty has no checkpoints"),
        ("world/teacher", "is of kind 'surface-teacher', expected 'stylegan2-generator'"),
        ("other.ckpt", "init_from: other.ckpt has no 'generator'; give a checkpoint or run of StyleGAN2"),
        ("notes.txt", "unknown suffix '.txt'"),
        ("world/dog", r"init_from: world/dog: 'mapping.w_avg' is \(128,\), StyleGAN2Generator expects \(8,\)"),
    ],
)
def test_what_weights_cannot_start_from_is_one_clear_line(
    source: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no weights")
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "other.ckpt")
    module = small()
    before = weights(module)
    with pytest.raises(CheckpointError, match=says) as caught:
        module.load_weights(source)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in weights(module).items())


def test_early_stopping_works_though_the_optimisation_is_manual(folder: Path, tmp_path: Path) -> None:
    module = small(max_images=400)
    stopping = EarlyStopping("val/fid", patience=2, min_delta=1e9)  # nothing counts as a gain
    fit(
        module,
        folder,
        tmp_path,
        callbacks=[stopping],
        limit_val_batches=1.0,
        val_check_interval=2,
        check_val_every_n_epoch=None,
    )
    assert stopping.wait_count == stopping.patience
    assert int(module.images_seen) == 3 * 2 * 4  # the first validation sets the mark, two more do not reach it


def test_a_checkpoint_of_another_size_is_refused_by_the_first_wrong_tensor(folder: Path, tmp_path: Path) -> None:
    trainer = fit(small(max_images=4), folder, tmp_path)
    trainer.save_checkpoint(tmp_path / "small.ckpt")
    with pytest.raises(CheckpointError, match=r"b4\.const.*\(8, 4, 4\).*\(12, 4, 4\)"):
        small(channels=[12, 8, 8]).load_weights(str(tmp_path / "small.ckpt"))


def test_validation_logs_a_distance_and_sheets_are_written(folder: Path, tmp_path: Path) -> None:
    module = small(max_images=16)
    trainer = fit(
        module,
        folder,
        tmp_path,
        callbacks=[SampleSheet(every_images=8, count=4, columns=2)],
        limit_val_batches=1.0,
        val_check_interval=2,
        check_val_every_n_epoch=None,
    )
    assert float(trainer.callback_metrics["val/fid"]) > 0
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == ["00000008.png", "00000016.png"]
    with Image.open(tmp_path / "samples" / names[0]) as sheet:
        assert sheet.size == (32, 64)


def test_a_sheet_shows_the_same_latents_each_time() -> None:
    module = small()
    assert torch.equal(module.sample(3), module.sample(5)[:3])
    assert torch.equal(module.sample(3)[1:], module.sample(2, first=1))


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": 0.0},
        {"r1_gamma": -1.0},
        {"r1_interval": 0},
        {"style_mixing": 2.0},
        {"augment": ["flip"]},
        {"channels": [8]},
    ],
)
def test_senseless_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        small(**changes)


def test_the_distance_may_compare_the_features_of_a_network(folder: Path, tmp_path: Path) -> None:
    teacher = write_teacher(tmp_path / "teacher.safetensors")
    module = small(max_images=8, fid_embedder=str(teacher))
    trainer, data = fit(module, folder, tmp_path, limit_val_batches=1.0), GeneratorImages(folder=str(folder), size=16)
    found = trainer.validate(module, data, verbose=False)[0]["val/fid"]
    real = torch.from_numpy(data.held_out_images).permute(0, 3, 1, 2) / 127.5 - 1
    fake = module.sample(len(real))

    def moments(images: Tensor) -> tuple[Tensor, Tensor]:
        embedding = load_embedder(teacher).embed(images.clamp(-1, 1))
        b, c, h, w = embedding.shape
        cells = embedding.reshape(b, c, 2, h // 2, 2, w // 2).mean(dim=(3, 5)).reshape(b, -1).double()
        return cells.mean(0), torch.cov(cells.T)

    assert found == pytest.approx(1000 * float(frechet_distance(*moments(real), *moments(fake))), rel=1e-4)
    # a run is read where the network is not
    assert not any("distance" in name for name in module.state_dict())
