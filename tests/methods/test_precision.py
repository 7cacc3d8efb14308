"""Half precision: what must stay fp32 does, and the gradient scaler's path works as far as a CPU can tell."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.plugins import MixedPrecision

from dife_lightning.losses.distillation import distillation_loss
from dife_lightning.losses.matching import semantic_matching_loss
from dife_lightning.matching import transfer
from dife_lightning.methods.dife import DIFE
from dife_lightning.weights.checkpoints import read_checkpoint
from tests.methods.test_dife import ready, stream_of
from tests.tiny import dife_arguments


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    return dife_arguments(tmp_path)


def fit(arguments: dict[str, Any], folder: Path, scale: float, steps: int) -> tuple[DIFE, torch.amp.GradScaler]:
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=3)
    trainer = Trainer(
        accelerator="cpu",
        plugins=[MixedPrecision("16-mixed", "cpu", scaler)],
        max_steps=steps,
        max_epochs=-1,
        logger=False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    model = DIFE(**arguments)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*num_workers.*|.*across ranks is zero.*")
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")  # the first step is skipped
        trainer.fit(model, stream_of(arguments))
    trainer.save_checkpoint(folder / "half.ckpt")
    return model, scaler


def test_both_stages_train_in_float16_with_a_gradient_scaler(arguments, tmp_path):
    before = {name: value.clone() for name, value in DIFE(**arguments).named_parameters()}
    model, scaler = fit(arguments, tmp_path, scale=2.0**10, steps=6)
    assert len(model.pairs.bank) > 0
    assert all(value.isfinite().all() and value.dtype == torch.float32 for value in model.parameters())
    assert any(not torch.equal(value, before[name]) for name, value in model.named_parameters())
    assert scaler.get_scale() > 2.0**10  # it grew after three steps without an overflow
    assert read_checkpoint(tmp_path / "half.ckpt")["MixedPrecision"]["scale"] == scaler.get_scale()


def test_a_step_that_overflows_is_skipped_and_the_scale_falls(arguments, tmp_path):
    torch.manual_seed(0)
    before = {name: value.clone() for name, value in DIFE(**arguments).named_parameters()}
    torch.manual_seed(0)
    model, scaler = fit(arguments, tmp_path, scale=2.0**60, steps=2)
    assert scaler.get_scale() == 2.0**58
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_are_computed_in_fp32_whatever_the_autocast(dtype):
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, 8, 6, 6, generator=rng) for _ in range(2))
    with torch.autocast("cpu", dtype):
        found = distillation_loss(a, b), semantic_matching_loss(a, b)
    for value, wanted in zip(found, (distillation_loss(a, b), semantic_matching_loss(a, b)), strict=True):
        assert value.dtype == torch.float32
        assert torch.equal(value, wanted)


def test_half_precision_embeddings_are_searched_in_fp32():
    rng = torch.Generator().manual_seed(0)
    source, target = (torch.randn(1, 16, 12, 12, generator=rng).bfloat16() for _ in range(2))
    points = torch.tensor([[[3.0, 4.0], [9.0, 2.0]]])
    with torch.autocast("cpu", torch.bfloat16):
        found = transfer(source, target, points)
    assert torch.equal(found, transfer(source.float(), target.float(), points))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_losses_of_a_step_hardly_depend_on_the_precision(arguments, dtype):
    model, batch = ready(arguments)
    model.refresh_pairs()
    whole = {**model.distill(batch), **model.match(model.pairs.sample(0, 0, 0))}
    with torch.autocast("cpu", dtype):
        half = {**model.distill(batch), **model.match(model.pairs.sample(0, 0, 0))}
    for name, value in whole.items():
        assert half[name].dtype == torch.float32
        assert half[name].item() == pytest.approx(value.item(), rel=0.03), name
