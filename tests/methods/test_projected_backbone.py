"""A teacher without labels: what it fits, its checkpoint, and DIFE that learns from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import dife_lightning as dl
from dife_lightning.data import AlignedPhotos, StyleGAN2Stream
from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.methods import projected_backbone
from dife_lightning.methods.dife import DIFE
from dife_lightning.methods.frozen_embedder import FrozenEmbedder
from dife_lightning.methods.projected_backbone import ProjectedBackbone
from dife_lightning.nn.mobile import MobileNet
from dife_lightning.pretrained.embedders import load_embedder
from tests.tiny import dife_arguments, fake_imagenet

pytestmark = pytest.mark.filterwarnings(r"ignore:.*(usable images?\b|many workers|in eval mode|across ranks is zero)")
SMALL: dict[str, Any] = {"layer": 3, "side": 32, "dim": 8, "grid": 4}


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> MobileNet:
    return fake_imagenet(monkeypatch)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, 32)[:, None, None] * np.ones((32, 32, 3))
    for name in ("human", "dog"):
        (tmp_path / name).mkdir()
        for k in range(12):
            noisy = np.clip(ramp + rng.normal(0, 30, ramp.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(tmp_path / name / f"{k}.png")
    return {name: str(tmp_path / name) for name in ("human", "dog")}


def trainer(steps: int, **more: Any) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu", max_steps=steps, max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, **more,
    )  # fmt: skip


def fitted(
    folders: dict[str, str], steps: int = 3, batch_size: int = 8, **given: Any
) -> tuple[ProjectedBackbone, L.Trainer]:
    module, runner = ProjectedBackbone(**SMALL | given), trainer(steps)
    runner.fit(module, AlignedPhotos(folders, size=32, batch_size=batch_size, held_out=0))
    return module, runner


def images(count: int = 2, height: int = 32, width: int = 32) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_fit_changes_the_projection_alone(weights: MobileNet, folders: dict[str, str]) -> None:
    before = {name: value.clone() for name, value in weights.state_dict().items()}
    module, _ = fitted(folders)
    assert module.weight.abs().sum() > 0
    for name, value in module.backbone.model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert {name.partition(".")[0] for name in module.state_dict()} == {"backbone", "weight", "bias"}
    assert len(module.backbone.model.blocks) == 3  # type: ignore[arg-type]


def test_its_embedding_is_the_projection_of_the_cells_around_each_cell(
    weights: MobileNet, folders: dict[str, str]
) -> None:
    module, _ = fitted(folders)
    with torch.no_grad():
        maps = module.backbone.embed(images(1))[0].numpy()
        found = module.eval().embed(images(1))[0]
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="edge")
    weight, bias = module.weight.detach().numpy(), module.bias.numpy()
    coarse = np.stack([
        [(weight * padded[:, y : y + 3, x : x + 3]).sum((1, 2, 3)) + bias for x in range(maps.shape[2])]
        for y in range(maps.shape[1])
    ])  # fmt: skip
    fine = torch.nn.functional.interpolate(torch.from_numpy(coarse).permute(2, 0, 1)[None], (32, 32), mode="bilinear")
    torch.testing.assert_close(found, fine[0] / fine[0].norm(dim=0), rtol=1e-4, atol=1e-4)


def test_the_order_of_the_folders_and_the_batch_size_do_not_matter(weights: MobileNet, folders: dict[str, str]) -> None:
    few = {"context": 1, "dim": 3}  # axes that the few photos of this test determine
    one, _ = fitted(folders, steps=4, batch_size=8, **few)
    other, _ = fitted(dict(reversed(folders.items())), steps=16, batch_size=2, **few)
    cosine = (one.embed(images()) * other.embed(images())).sum(1)
    assert float(cosine.mean().detach()) > 0.999


@pytest.mark.parametrize(("height", "width"), [(32, 32), (17, 40), (96, 96)])
def test_images_of_any_size_get_unit_vectors_in_float32(
    height: int, width: int, weights: MobileNet, folders: dict[str, str]
) -> None:
    module, _ = fitted(folders)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = module.embed(images(2, height, width)).detach()
    full = module.embed(images(2, height, width)).detach()
    assert half.dtype == torch.float32
    assert full.shape == (2, 8, height, width)
    torch.testing.assert_close(full.norm(dim=1), torch.ones(2, height, width))
    assert float((half * full).sum(1).mean()) > 0.98


def test_its_checkpoint_needs_no_package(
    weights: MobileNet, folders: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, runner = fitted(folders)
    runner.save_checkpoint(tmp_path / "teacher.ckpt")
    monkeypatch.setattr(projected_backbone, "load_imagenet", lambda model: pytest.fail("the package was read"))
    expected = module.eval().embed(images())
    torch.testing.assert_close(dl.load(tmp_path / "teacher.ckpt").embed(images()), expected)  # type: ignore[operator]
    embedder = load_embedder(tmp_path / "teacher.ckpt")
    assert embedder.dim == 8
    torch.testing.assert_close(embedder.embed(images()), expected)
    row = FrozenEmbedder(str(tmp_path / "teacher.ckpt"))
    assert row.size == 64
    torch.testing.assert_close(row.embed(images()), expected)
    assert (tmp_path / "teacher.ckpt").stat().st_size < 200_000  # the sums are not in it: nothing is left to fit


def test_an_interrupted_fit_goes_on_with_its_sums(weights: MobileNet, folders: dict[str, str], tmp_path: Path) -> None:
    whole, _ = fitted(folders, steps=4)
    first, runner = ProjectedBackbone(**SMALL), trainer(4)

    class Stop(L.Callback):
        def on_train_batch_end(self, runner: L.Trainer, *_: Any) -> None:
            if runner.global_step == 2:
                runner.save_checkpoint(tmp_path / "part.ckpt")

    runner.callbacks.append(Stop())  # type: ignore[attr-defined]
    runner.fit(first, AlignedPhotos(folders, size=32, batch_size=8, held_out=0))
    again, second = ProjectedBackbone(**SMALL), trainer(4)
    data = AlignedPhotos(folders, size=32, batch_size=8, held_out=0)
    second.fit(again, data, ckpt_path=str(tmp_path / "part.ckpt"), weights_only=True)
    assert second.global_step == 4
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=1e-6, atol=1e-6)


def test_a_complete_fit_is_not_continued(weights: MobileNet, folders: dict[str, str], tmp_path: Path) -> None:
    _, runner = fitted(folders, steps=2)
    runner.save_checkpoint(tmp_path / "done.ckpt")
    with pytest.raises(CheckpointError, match="is complete"):
        trainer(4).fit(
            ProjectedBackbone(**SMALL), AlignedPhotos(folders, size=32, batch_size=8, held_out=0),
            ckpt_path=str(tmp_path / "done.ckpt"), weights_only=True,
        )  # fmt: skip


def test_dife_learns_from_it(weights: MobileNet, folders: dict[str, str], tmp_path: Path) -> None:
    _, runner = fitted(folders)
    runner.save_checkpoint(tmp_path / "free.ckpt")
    arguments = dife_arguments(tmp_path, teacher=str(tmp_path / "free.ckpt"))
    module = DIFE(**arguments)
    before = module.encoder.last_weight.clone()
    trainer(2).fit(module, StyleGAN2Stream(arguments["generators"], layer=3, size=32, batch_size=4))
    assert module.teacher is not None
    assert module.teacher.name.endswith("free.ckpt")
    assert not torch.equal(module.encoder.last_weight, before)


@pytest.mark.parametrize(
    ("given", "text"),
    [({"model": "imagenet/mobilenet"}, "imagenet/mobilenet_v2"), ({"layer": 18}, "layer"), ({"context": 2}, "odd")],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        ProjectedBackbone(**given)
