"""k small batches with ``accumulate_grad_batches`` of k equal one large one, and a stop between them loses nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from dife_lightning.data.stream import StyleGAN2Stream
from dife_lightning.data.world.renders import WorldRenders
from dife_lightning.geometry.affine import AugmentOptions
from dife_lightning.methods.cats import CATs
from dife_lightning.methods.dense_truth import DenseTruth
from dife_lightning.methods.dife import DIFE
from dife_lightning.methods.dve import DVE
from dife_lightning.utils import randomness
from dife_lightning.weights.checkpoints import read_checkpoint
from experiments.checks.kills import differences
from tests.tiny import TINY_CATS, dife_arguments

SMALL = {"planes": [8, 8, 8], "blocks": 1, "depth": 2, "groups": 4}
Made = tuple[L.LightningModule, L.LightningDataModule]


def dife(folder: Path, **changes: Any) -> Made:
    pairs = {"refresh_every": 2, "per_refresh": 3, "bank_size": 32, "batch_size": 4}
    arguments = dife_arguments(folder, warmup_steps=1, pairs=pairs) | changes
    return DIFE(**arguments), StyleGAN2Stream(arguments["generators"], layer=3, size=32, batch_size=4)


def dve(folder: Path) -> Made:
    generators = dife_arguments(folder)["generators"]
    method = DVE(size=32, dim=8, norm="batch", encoder=SMALL, optimizer={"schedule": "constant"})  # type: ignore[arg-type]
    return method, StyleGAN2Stream(generators, layer=3, size=32, batch_size=4)


def faces() -> WorldRenders:
    return WorldRenders(["human", "dog"], size=32, batch_size=4, count=8, cache=False)


def dense_truth(folder: Path) -> Made:
    return DenseTruth(dim=8, queries=8, encoder=SMALL), faces()  # type: ignore[arg-type]


def cats(folder: Path) -> Made:
    return CATs(TINY_CATS, lr=1e-3), faces()  # type: ignore[arg-type]


METHODS = [dife, dve, dense_truth, cats]
Make = Callable[[Path], Made]


def train(made: Made, steps: int, k: int, *callbacks: L.Callback, resume: Path | None = None) -> L.Trainer:
    trainer = L.Trainer(
        accelerator="cpu", max_steps=steps, max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, accumulate_grad_batches=k, callbacks=list(callbacks),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*num_workers.*|.*across ranks is zero.*|loss .* gives.*")
        trainer.fit(*made, ckpt_path=resume)
    return trainer


class SaveAndStop(L.Callback):
    """Save a checkpoint after so many batches, and stop."""

    def __init__(self, path: Path, batches: int) -> None:
        self.path, self.batches = path, batches

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.fit_loop.total_batch_idx + 1 == self.batches:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


@pytest.fixture
def purposes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What every drawing of random numbers was for."""
    seen: list[tuple[Any, ...]] = []
    real = randomness.seed_of

    def seed_of(*parts: Any) -> int:
        seen.append(parts)
        return real(*parts)

    monkeypatch.setattr(randomness, "seed_of", seed_of)
    return seen


@pytest.mark.parametrize("make", [dve, dense_truth, cats])
def test_no_two_batches_of_a_training_draw_the_same_numbers(make: Make, tmp_path: Path, purposes: list[Any]) -> None:
    made = make(tmp_path)
    purposes.clear()
    train(made, 2, 3)
    words = {"order", "warp", "color", "truth-queries", "partners"}
    drawn = [parts for parts in purposes if words & {*map(str, parts)}]
    assert len(drawn) == len(set(drawn)) >= 6


def test_dife_draws_new_pairs_and_warps_in_each_batch_and_explores_once_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, data = dife(tmp_path)
    keys: list[tuple[int, ...]] = []
    seen: dict[int, list[Tensor]] = {}
    made: list[int] = []
    monkeypatch.setattr(
        "dife_lightning.methods.dife.matching_errors",
        lambda encoder, drawn, options, augment, key: keys.append(key) or [encoder(p.original).mean() for p in drawn],
    )
    real_sample, real_refresh = method.pairs.sample, method.pairs.refresh

    def sample(step: int, part: int, rank: int) -> Any:
        found = real_sample(step, part, rank)
        seen.setdefault(step, []).append(found["human", "dog"].original_w[:, 0])
        return found

    def refresh(networks: Any, drawing: int, rank: int) -> Any:
        made.append(drawing)
        return real_refresh(networks, drawing, rank)

    monkeypatch.setattr(method.pairs, "sample", sample)
    monkeypatch.setattr(method.pairs, "refresh", refresh)
    train((method, data), 5, 3)
    assert made == [1, 3]  # the steps of the matching stage that are due, once each
    assert len(method.pairs.bank.pairs["human", "dog"]) == 2 * 3
    assert len(keys) == len(set(keys)) == 4 * 3
    for drawn in seen.values():
        assert len(torch.cat(drawn).unique(dim=0)) == 3  # one pair of this kind in each of three batches


def test_one_batch_a_step_draws_what_it_always_drew(tmp_path: Path, purposes: list[Any]) -> None:
    method, data = dve(tmp_path)
    purposes.clear()
    train((method, data), 3, 1)
    assert [parts for parts in purposes if "color" in parts] == [(0, "color", step, 0) for step in range(3)]


@pytest.mark.parametrize("make", METHODS)
@pytest.mark.parametrize("batches", [5, 6])
def test_a_stop_between_optimiser_steps_goes_on_as_if_there_was_none(make: Make, batches: int, tmp_path: Path) -> None:
    def fresh() -> Made:
        torch.manual_seed(0)
        return make(tmp_path)

    train(fresh(), 4, 3).save_checkpoint(tmp_path / "whole.ckpt")
    train(fresh(), 4, 3, SaveAndStop(tmp_path / "stopped.ckpt", batches))
    torch.manual_seed(77)
    train(make(tmp_path), 4, 3, resume=tmp_path / "stopped.ckpt").save_checkpoint(tmp_path / "resumed.ckpt")
    whole, stopped, resumed = (read_checkpoint(tmp_path / f"{n}.ckpt") for n in ("whole", "stopped", "resumed"))
    assert ("accumulated_gradients" in stopped) == (batches % 3 > 0)
    assert not differences(whole, resumed)
    assert "accumulated_gradients" not in resumed


def test_the_weights_of_k_batches_are_those_of_one_large_one(tmp_path: Path) -> None:
    """Where nothing is drawn but the stream, which has the same samples either way."""
    quiet = {"lambda_m1": 0.0, "lambda_m2": 0.0, "warmup_steps": 9}
    several, whole = (dife(tmp_path, **quiet) for _ in range(2))
    whole[0].load_state_dict(several[0].state_dict())
    for _, stream in (several, whole):  # no warp, so that all pixels count: their number weighs batches differently
        stream.augment = AugmentOptions(rotation=0, scale_min=1, scale_max=1, shift=0)
    whole[1].per_domain *= 3
    train(several, 1, 3)
    train(whole, 1, 1)
    for name, value in whole[0].state_dict().items():
        torch.testing.assert_close(several[0].state_dict()[name], value, rtol=0, atol=2e-4, msg=name)
