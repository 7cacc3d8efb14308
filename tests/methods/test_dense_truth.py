"""The ceiling: its losses on maps made by hand, and that training is a pure function of its seed."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor

import dife_lightning
from dife_lightning.data.world.pairs import WorldPairs
from dife_lightning.data.world.renders import RenderStream, WorldRenders
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import RenderBatch
from dife_lightning.methods.dense_truth import DenseTruth
from dife_lightning.nn.surface import surface_code

ENCODER = {"planes": [8, 8, 8], "blocks": 1, "depth": 2, "groups": 4}


def tiny(**changes: Any) -> DenseTruth:
    torch.manual_seed(0)
    options: dict[str, Any] = {"dim": 8, "code_scale": 0.7, "encoder": ENCODER}
    return DenseTruth(**{**options, "optimizer": {"schedule": "constant", "lr": 3e-3}} | changes)


@pytest.fixture(scope="module")
def data() -> WorldRenders:
    module = WorldRenders(["human", "dog"], size=32, batch_size=6, count=12, cache=False)
    module.setup("fit")
    return module


def batch_of(data: WorldRenders, number: int = 0) -> RenderBatch:
    return RenderStream(data.renders, data.per_domain, data.augment).batch(number)


def fit(
    model: DenseTruth, data: WorldRenders, folder: Path, steps: int, ckpt_path: Path | None = None, **more: Any
) -> L.Trainer:
    trainer = L.Trainer(
        accelerator="cpu", max_steps=steps, max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, **more,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*num_workers.*|.*across ranks is zero.*")
        trainer.fit(model, data, ckpt_path=ckpt_path)
    return trainer


def by_hand(uv: Tensor, inside: Tensor) -> RenderBatch:
    count = len(uv)
    nothing = torch.zeros(count, 9, 2)
    return RenderBatch(
        torch.zeros(count, 3, *uv.shape[1:3]), uv, inside, nothing, nothing[..., 0] > 0,
        torch.zeros(count, dtype=torch.long), torch.arange(count), ("human",),
    )  # fmt: skip


def strip(places: list[float]) -> Tensor:
    """Coordinates of an image of one row."""
    return torch.tensor([[(place, 0.0) for place in places]])


def test_the_matching_loss_of_two_strips_is_the_expected_distance() -> None:
    """Both show the coordinates 0.0 to 0.3, the second one pixel further to the right and of a constant embedding."""
    uv = torch.stack((strip([0.0, 0.1, 0.2, 0.3]), strip([9.0, 0.0, 0.1, 0.2])))
    inside = torch.tensor([[[True, True, True, False]], [[False, True, True, True]]])
    model = tiny(dim=2, lambda_code=0.0, queries=200, tolerance=0.05)
    loss = model.losses(torch.ones(2, 2, 1, 4), by_hand(uv, inside), draw=0)
    assert list(loss) == ["match"]
    # All four pixels are equally alike. The partners are pixels 1 to 3 of the second and 0 to 2 of the first.
    at_end, in_middle = (0 + 1 + math.sqrt(2) + math.sqrt(3)) / 4, (1 + 0 + 1 + math.sqrt(2)) / 4
    expected = (2 * in_middle + at_end) / 3  # each strip has one partner at an end and two in the middle
    assert loss["match"].item() == pytest.approx(expected, abs=0.05)  # queries are drawn at random


def test_an_embedding_that_is_the_coordinate_has_hardly_a_loss_and_a_false_one_much() -> None:
    places = torch.linspace(-0.9, 0.9, 16)
    uv = torch.stack(torch.meshgrid(places, places, indexing="xy"), -1)
    uv = torch.stack((uv, uv.flip(1), uv.transpose(0, 1)))
    code = surface_code(uv, 32, 1.5).permute(0, 3, 1, 2)
    batch = by_hand(uv, torch.ones(3, 16, 16, dtype=torch.bool))
    model = tiny(dim=32, code_scale=1.5)
    for step in (0, 1):
        right = model.losses(code, batch, step)
        wrong = model.losses(code.roll(1, 0), batch, step)
        assert right["code"] < 1e-6
        assert right["match"] < 0.3
        assert wrong["code"] > 0.5
        assert wrong["match"] > 1.5


def test_pixels_without_a_partner_near_enough_do_not_count() -> None:
    uv = torch.stack((strip([0.0, 0.1]), strip([0.5, 0.6])))
    batch = by_hand(uv, torch.ones(2, 1, 2, dtype=torch.bool))
    embedding = torch.randn(2, 2, 1, 2, requires_grad=True)
    assert tiny(dim=2, tolerance=0.3).match(embedding, batch, 0).item() == 0
    assert tiny(dim=2, tolerance=0.45).match(embedding, batch, 0).item() > 0
    nobody = by_hand(uv, torch.zeros(2, 1, 2, dtype=torch.bool))
    loss = torch.stack(list(tiny(dim=2).losses(embedding, nobody, 0).values())).sum()
    loss.backward()
    assert loss.item() == 0
    assert embedding.grad is not None
    assert bool(embedding.grad.isfinite().all())


def test_in_b_minus_1_steps_every_face_is_matched_with_every_other(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()

    def partners(uv: Tensor, target_uv: Tensor, inside: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
        seen.update(zip(uv[:, 0, 0].tolist(), target_uv[:, 0, 0, 0].tolist(), strict=True))
        return torch.zeros_like(uv), torch.ones(uv.shape[:2], dtype=torch.bool)

    monkeypatch.setattr("dife_lightning.methods.dense_truth.true_partners", partners)
    uv = torch.arange(4.0)[:, None, None, None].expand(-1, 2, 2, 2)
    batch = by_hand(uv, torch.ones(4, 2, 2, dtype=torch.bool))
    for step in range(3):
        tiny(dim=2).match(torch.randn(4, 2, 2, 2), batch, step)
    assert seen == {(float(a), float(b)) for a in range(4) for b in range(4) if a != b}


def test_one_face_alone_is_matched_with_itself(data: WorldRenders) -> None:
    lonely = WorldRenders(["dog"], size=32, batch_size=1, count=1, cache=False)
    lonely.setup("fit")
    model = tiny()
    batch = batch_of(lonely)
    assert bool(model.match(model.embed(batch.images), batch, 3).isfinite())


@pytest.mark.parametrize(("zero", "left"), [("lambda_code", "match"), ("lambda_match", "code")])
def test_a_weight_of_zero_leaves_its_loss_out(data: WorldRenders, zero: str, left: str) -> None:
    model, batch = tiny(**{zero: 0.0}), batch_of(data)
    assert list(model.losses(model.embed(batch.images), batch, 0)) == [left]


def test_a_step_is_a_pure_function_of_seed_and_step(data: WorldRenders) -> None:
    model, batch = tiny(), batch_of(data)
    embedding = model.embed(batch.images)
    first = model.losses(embedding, batch, 3)["match"]
    torch.rand(5)
    assert torch.equal(model.losses(embedding, batch, 3)["match"], first)
    assert not torch.equal(model.losses(embedding, batch, 8)["match"], first)  # the same faces, other pixels
    assert not torch.equal(tiny(seed=1).losses(embedding, batch, 3)["match"], first)


def test_both_losses_fall_and_the_same_seed_gives_the_same_weights(data: WorldRenders, tmp_path: Path) -> None:
    runs = []
    for _ in range(2):
        model = tiny()
        fit(model, data, tmp_path, 25)
        runs.append(model)
    assert all(map(torch.equal, runs[0].state_dict().values(), runs[1].state_dict().values()))
    fresh = tiny()
    for number in (100, 101):
        batch = batch_of(data, number)
        before, after = (m.losses(m.embed(batch.images), batch, number) for m in (fresh, runs[0]))
        assert after["code"] < 0.7 * before["code"]
        assert after["match"] < 0.9 * before["match"]


def test_a_training_that_went_on_ends_with_the_same_weights(data: WorldRenders, tmp_path: Path) -> None:
    whole, part, rest = tiny(), tiny(), tiny(seed=0)
    fit(whole, data, tmp_path, 4)
    fit(part, data, tmp_path, 2).save_checkpoint(tmp_path / "half.ckpt")
    fit(rest, data, tmp_path, 4, tmp_path / "half.ckpt")
    assert all(map(torch.equal, rest.state_dict().values(), whole.state_dict().values()))
    assert not torch.equal(part.encoder.last_weight, whole.encoder.last_weight)


def test_bfloat16_gives_nearly_the_same_losses(data: WorldRenders) -> None:
    model, batch = tiny(), batch_of(data)
    with torch.autocast("cpu", torch.bfloat16):
        half = model.losses(model.encoder(batch.images), batch, 0)
    full = model.losses(model.encoder(batch.images), batch, 0)
    for name, loss in full.items():
        assert half[name].dtype == torch.float32
        assert half[name].item() == pytest.approx(loss.item(), rel=0.02)


def test_unit_length_is_an_option_of_the_answer_alone(data: WorldRenders) -> None:
    batch = batch_of(data)
    unit, raw = (tiny(unit_length=flag) for flag in (True, False))
    lengths = unit.embed(batch.images).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    embedding = raw.embed(batch.images)
    assert (embedding.norm(dim=1) - 1).abs().max() > 0.05
    ours, theirs = (model.losses(embedding, batch, 0) for model in (unit, raw))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_checkpoint_embeds_without_data(data: WorldRenders, tmp_path: Path) -> None:
    model = tiny(queries=5)
    fit(model, data, tmp_path, 2).save_checkpoint(tmp_path / "a.ckpt")
    loaded = dife_lightning.load(tmp_path / "a.ckpt")
    images = torch.from_numpy(np.zeros((1, 3, 32, 32), np.float32))
    model.eval()
    torch.testing.assert_close(loaded.embed(images), model.embed(images))
    assert (loaded.queries, dict(loaded.hparams)["encoder"]["planes"]) == (5, [8, 8, 8])
    assert loaded.optimizer_options == model.optimizer_options


def test_a_plateau_cuts_the_rate_when_the_error_stays(data: WorldRenders, tmp_path: Path) -> None:
    model = tiny(optimizer={"schedule": "plateau", "patience": 0})
    model.on_validation_epoch_end = lambda: model.log("val/pixel_error", 5.0)  # type: ignore[method-assign]
    pairs = WorldPairs(val_count=1, size=32, cache=False)
    both = WorldRenders(["human"], size=32, batch_size=1, count=1, cache=False, evaluation=pairs)
    often = {"val_check_interval": 1, "check_val_every_n_epoch": None, "num_sanity_val_steps": 0}
    rate = fit(model, both, tmp_path, 4, **often).optimizers[0].param_groups[0]["lr"]
    assert rate < 1e-3 / 5


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"dim": 7}, "dim is 7"),
        ({"lambda_code": -1.0}, "lambda_code is -1.0"),
        ({"lambda_code": 0.0, "lambda_match": 0.0}, "both 0"),
        ({"lambda_match": float("nan")}, "lambda_match is nan"),
        ({"queries": 0}, "queries is 0"),
        ({"encoder": {"plains": [8]}}, "no option 'plains'"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as error:
        tiny(**changes)
    assert "\n" not in str(error.value)
