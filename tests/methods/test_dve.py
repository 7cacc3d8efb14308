from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import dife_lightning
from dife_lightning.data.stream import LatentStream, StyleGAN2Stream, synthesize
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import StreamBatch
from dife_lightning.geometry.affine import AugmentOptions
from dife_lightning.geometry.coordinates import pixel_grid, to_normalized
from dife_lightning.losses.dve import dense_correlation_loss, dve_loss
from dife_lightning.methods.dve import DVE
from dife_lightning.pretrained.embedders import load_embedder
from dife_lightning.pretrained.generators import load_generator
from dife_lightning.weights.checkpoints import read_checkpoint
from experiments.checks.kills import same
from tests.tiny import write_generator

SMALL: dict[str, Any] = {
    "size": 32,
    "dim": 8,
    "encoder": {"planes": [8, 8, 8], "blocks": 1, "depth": 2, "groups": 4},
    "optimizer": {"lr": 0.003, "schedule": "constant"},
}
STILL = {"bend": 0.0, "strong_bend": 0.0, "shift": 0.0, "scale": 0.0, "rotation": 0.0}


@pytest.fixture(scope="module")
def generators(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("generators")
    return {domain: write_generator(folder / f"{domain}.safetensors", i) for i, domain in enumerate(("human", "dog"))}


@pytest.fixture(scope="module")
def batch(generators: dict[str, str]) -> StreamBatch:
    latent = LatentStream(dict.fromkeys(generators, 8), 3).batch(0)
    return synthesize(latent, {d: load_generator(p) for d, p in generators.items()}, 3, 32, 0.7, AugmentOptions())


def at_step(module: DVE, step: int, monkeypatch: pytest.MonkeyPatch) -> DVE:
    """A module as in the middle of a fit."""
    monkeypatch.setattr(type(module), "global_step", step, raising=False)
    monkeypatch.setattr(module, "log", lambda *a, **k: None)
    return module


def fit(
    module: DVE, generators: dict[str, str], steps: int, ckpt_path: Path | None = None, **options: Any
) -> L.Trainer:
    trainer = L.Trainer(
        accelerator="cpu", max_steps=steps, max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, **options,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*num_workers.*|.*across ranks is zero.*")
        trainer.fit(module, StyleGAN2Stream(generators, layer=3, size=32, batch_size=6), ckpt_path=ckpt_path)
    return trainer


def seeded(**changes: Any) -> DVE:
    torch.manual_seed(0)
    return DVE(**SMALL | changes)


# What a step computes


def test_a_step_is_the_loss_of_the_views_with_the_next_image_between(
    batch: StreamBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = at_step(seeded(pow=1.0), 4, monkeypatch)
    views = module.views(module.drawn(batch))
    first, second = module.encoder(views.first), module.encoder(views.second)
    assert first.shape == (6, 8, 16, 16)
    others = torch.stack([second[(b + 1) % 6] for b in range(6)])
    wanted = dve_loss(second, first, others, to_normalized(views.origins, 32, 32, align_corners=True), 1.0)
    torch.testing.assert_close(module.training_step(batch, 0), wanted)


def test_without_the_exchange_both_views_are_compared_at_once(
    batch: StreamBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = at_step(seeded(exchange=False, normalize=False), 4, monkeypatch)
    views = module.views(module.drawn(batch))
    features = module.encoder(views.second), module.encoder(views.first)
    grid = to_normalized(views.origins, 32, 32, align_corners=True)
    wanted = dense_correlation_loss(*features, grid, normalize=False)
    torch.testing.assert_close(module.training_step(batch, 0), wanted)


def test_a_step_is_a_function_of_seed_and_step_alone(batch: StreamBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(seed: int, step: int) -> Tensor:
        torch.rand(3)  # what others draw does not count
        return at_step(module[seed], step, monkeypatch).training_step(batch, 0).detach()

    module = {seed: seeded(seed=seed) for seed in (0, 1)}
    first = loss(0, 5)
    assert torch.equal(loss(0, 5), first)
    assert not torch.isclose(loss(0, 6), first)
    assert not torch.isclose(loss(1, 5), first)


def test_all_domains_are_drawn_and_neighbours_are_often_of_another(
    batch: StreamBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = seeded()
    originals = torch.cat([batch.domains[d].originals for d in ("human", "dog")])
    mixed = 0
    for step in range(20):
        images = at_step(module, step, monkeypatch).drawn(batch)
        places = [int((originals == image).all(dim=(1, 2, 3)).nonzero()) for image in images]
        assert sorted(places) == list(range(6))
        mixed += sum((places[b] < 3) != (places[(b + 1) % 6] < 3) for b in range(6))
    assert mixed / 120 == pytest.approx(3 / 5, abs=0.15)  # of 5 other images 3 are of the other domain


def test_fewer_images_may_be_taken(batch: StreamBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = at_step(seeded(), 3, monkeypatch).drawn(batch)
    assert torch.equal(at_step(seeded(images=4), 3, monkeypatch).drawn(batch), whole[:4])


def test_each_view_has_its_own_colours_and_no_other_shape(batch: StreamBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    module = at_step(seeded(warper=STILL), 0, monkeypatch)
    images = module.drawn(batch)
    views = module.views(images)
    torch.testing.assert_close(views.origins, pixel_grid(32, 32).expand(6, -1, -1, -1), atol=1e-4, rtol=0)
    changes = [(view - images).abs().amax(dim=(1, 2, 3)) for view in (views.first, views.second)]
    assert (changes[0] > 1e-3).all()
    assert ((changes[0] - changes[1]).abs() > 1e-4).all()
    plain = at_step(seeded(warper=STILL, jitter={"probability": 0.0}), 0, monkeypatch).views(images)
    torch.testing.assert_close(plain.second, images, atol=1e-4, rtol=0)


def test_a_crop_cuts_the_views(batch: StreamBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    module = at_step(seeded(warper={"crop": 4}), 0, monkeypatch)
    views = module.views(module.drawn(batch))
    assert views.first.shape == views.second.shape == (6, 3, 24, 24)
    assert module.training_step(batch, 0).isfinite()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_loss_hardly_depends_on_the_precision(
    batch: StreamBatch, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    module = at_step(seeded(), 0, monkeypatch)
    with torch.autocast("cpu", dtype):
        half = module.training_step(batch, 0)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(module.training_step(batch, 0).item(), rel=0.03)


# Training


class Watch(L.Callback):
    """Keeps the losses; may stop early."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.losses: list[float] = []
        self.stop_after = stop_after

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *unused: Any) -> None:
        self.losses.append(float(outputs["loss"]))
        trainer.should_stop = trainer.global_step == self.stop_after


def test_training_makes_the_loss_fall(generators: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    picture = F.interpolate(coarse, (32, 32), mode="bicubic").clamp(-1, 1)  # random generators show hardly anything
    watch, module = Watch(), seeded(optimizer={"lr": 0.01, "schedule": "constant"})
    monkeypatch.setattr(module, "drawn", lambda batch: picture.expand(4, -1, -1, -1))
    fit(module, generators, 24, callbacks=[watch])
    assert sum(watch.losses[-4:]) < 0.8 * sum(watch.losses[:4])


def test_an_interrupted_training_ends_with_the_bits_of_one_that_was_not(
    generators: dict[str, str], tmp_path: Path
) -> None:
    options = {"norm": "batch", "optimizer": {"schedule": "cosine", "rise": 2}}
    fit(seeded(**options), generators, 5).save_checkpoint(tmp_path / "whole.ckpt")
    stopped = fit(seeded(**options), generators, 5, callbacks=[Watch(stop_after=3)])
    assert stopped.global_step == 3
    stopped.save_checkpoint(tmp_path / "stopped.ckpt")
    torch.rand(7)
    resumed = fit(DVE(**SMALL | options), generators, 5, tmp_path / "stopped.ckpt")
    resumed.save_checkpoint(tmp_path / "resumed.ckpt")
    left, right = (read_checkpoint(tmp_path / f"{name}.ckpt") for name in ("whole", "resumed"))
    assert left["global_step"] == right["global_step"] == 5
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert same(left[part], right[part]), part
    assert not same(left["state_dict"], read_checkpoint(tmp_path / "stopped.ckpt")["state_dict"])


def test_a_plateau_is_told_the_validation_error(generators: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    module = seeded(optimizer={"lr": 0.003, "schedule": "plateau", "patience": 0, "factor": 0.1})
    monkeypatch.setattr(module, "validation_step", lambda batch: None)
    monkeypatch.setattr(StyleGAN2Stream, "val_dataloader", lambda self: [torch.zeros(1)])
    monkeypatch.setattr(module, "on_validation_epoch_end", lambda: module.log("val/pixel_error", 5.0))
    trainer = fit(module, generators, 3, val_check_interval=1, check_val_every_n_epoch=None, num_sanity_val_steps=0)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.003 * 0.1**2)  # the first is no worse


# What comes out


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_a_checkpoint_embeds_without_generators(norm: str, generators: dict[str, str], tmp_path: Path) -> None:
    module = seeded(norm=norm, unit_length=True, warper={"crop": 4})
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    fit(module, generators, 1).save_checkpoint(tmp_path / "run/checkpoints/best.ckpt")
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        wanted = module.eval().embed(images)
    assert wanted.shape == (2, 8, 16, 16)
    torch.testing.assert_close(wanted.norm(dim=1), torch.ones(2, 16, 16))
    torch.testing.assert_close(dife_lightning.load(tmp_path / "run").embed(images).detach(), wanted)
    holder = load_embedder(tmp_path / "run")
    assert holder.dim == 8
    assert torch.equal(holder.embed(images), wanted)


def test_the_defaults_are_the_baselines_network_and_dves_own_can_be_had() -> None:
    with torch.device("meta"):
        baseline, own = DVE(), DVE(dim=64, norm="batch")
    assert (baseline.encoder.stride, baseline.encoder.last_weight.shape[0]) == (2, 16)
    assert (own.encoder.stride, own.encoder.last_weight.shape[0]) == (2, 64)
    counts = [sum(p.numel() for p in method.encoder.parameters()) for method in (baseline, own)]
    assert counts[0] == 12_597_136  # that of DIFE, whose upsampling has no weights
    assert counts[1] == 12_597_136 + 48 * (256 + 1)
    assert sum(isinstance(part, torch.nn.BatchNorm2d) for part in own.modules()) > 0


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"size": 36}, "size is 36; the encoder takes multiples of 8 px: set it to 40"),
        ({"warper": {"crop": 3}}, "size - 2 * warper.crop is 26"),
        ({"warper": {"crop": 16}}, "size - 2 * warper.crop is 0"),
        ({"warper": {"bned": 0.1}}, "TPSOptions has no option 'bned'. Did you mean 'bend'"),
        ({"warper": {"bend": -1.0}}, "warper.bend is -1.0; expected at least 0"),
        ({"jitter": {"rotation": 3.0}}, "JitterOptions has no option 'rotation'"),
        ({"pow": 0.0}, "pow is 0.0; expected above 0"),
        ({"images": 1}, "images is 1; expected at least 2"),
        ({"encoder": {"planes": [10, 8, 8], "blocks": 1, "depth": 2, "groups": 4}}, "not all multiples of groups=4"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)) as error:
        DVE(**SMALL | changes)
    assert "\n" not in str(error.value)


def test_a_stream_of_another_size_is_refused_in_one_line(batch: StreamBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    module = at_step(seeded(size=64), 0, monkeypatch)
    with pytest.raises(ConfigError, match="the stream gives images of 32 px, size is 64; set") as error:
        module.training_step(batch, 0)
    assert "\n" not in str(error.value)
