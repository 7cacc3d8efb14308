from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import dife_lightning
from dife_lightning.callbacks.stages import StageCheckpoint, StageTimer
from dife_lightning.data.stream import LatentStream, StyleGAN2Stream, synthesize
from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.faces.batches import LatentBatch, StreamBatch
from dife_lightning.geometry.affine import AugmentOptions
from dife_lightning.latent.pseudo_pairs import embedding_drift
from dife_lightning.methods._dife.distillation_step import averaged_embedding, surface_target
from dife_lightning.methods._dife.matching_step import agreed_cells
from dife_lightning.methods._dife.options import MatchingLossOptions
from dife_lightning.methods._options import OptimizerOptions
from dife_lightning.methods._training import rate_factor
from dife_lightning.methods.dife import DIFE, stage_at
from dife_lightning.utils.randomness import normal
from tests.tiny import dife_arguments, write_generator


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    return dife_arguments(tmp_path)


def stream_of(arguments: dict[str, Any], **changes: Any) -> StyleGAN2Stream:
    options = {"generators": arguments["generators"], "layer": 3, "size": 32, "batch_size": 4} | changes
    return StyleGAN2Stream(**options)


def fit(
    model: DIFE, data: StyleGAN2Stream, folder: Path, steps: int, ckpt_path: Path | None = None, **options: Any
) -> L.Trainer:
    trainer = L.Trainer(
        accelerator="cpu", max_steps=steps, max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, **options,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*num_workers.*|.*across ranks is zero.*")
        trainer.fit(model, data, ckpt_path=ckpt_path)
    return trainer


def ready(arguments: dict[str, Any]) -> tuple[DIFE, StreamBatch]:
    """A module as in the middle of a fit, and one batch."""
    model = DIFE(**arguments)
    model.setup("fit")
    model.log = lambda *a, **k: None  # type: ignore[method-assign,assignment]
    model.log_dict = lambda *a, **k: None  # type: ignore[method-assign,assignment]
    latent = LatentStream(dict.fromkeys(arguments["generators"], 8), 2).batch(0)
    return model, synthesize(latent, model.generators, 3, 32, 0.7, AugmentOptions())


@pytest.mark.parametrize(("step", "stage"), [(0, "warmup"), (9, "warmup"), (10, "matching"), (999, "matching")])
def test_the_stage_is_a_function_of_the_step(step: int, stage: str) -> None:
    assert stage_at(step, 10) == stage


def test_one_fit_runs_both_stages_and_fills_the_bank(arguments: dict[str, Any], tmp_path: Path) -> None:
    model = DIFE(**arguments)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    timer = StageTimer()
    fit(model, stream_of(arguments), tmp_path, 5, callbacks=[timer, StageCheckpoint()])
    assert timer.steps == {"warmup": 2, "matching": 3}
    assert set(model.pairs.bank.pairs) == {("human", "human"), ("dog", "dog"), ("human", "dog"), ("dog", "human")}
    assert all(len(p) == 4 for p in model.pairs.bank.pairs.values())
    changed = [k for k, v in model.state_dict().items() if not torch.equal(v, before[k])]
    assert any(k.startswith("encoder.") for k in changed)
    assert any(k.startswith("converters.dog") for k in changed)
    saved = torch.load(tmp_path / "checkpoints" / "warmup.ckpt", weights_only=True)
    assert saved["global_step"] == 2


def test_the_same_seed_gives_the_same_weights(arguments: dict[str, Any], tmp_path: Path) -> None:
    runs = []
    for _ in range(2):
        L.seed_everything(3, verbose=False)
        model = DIFE(**arguments)
        fit(model, stream_of(arguments), tmp_path, 4)
        runs.append(model.state_dict())
    assert all(torch.equal(runs[0][k], runs[1][k]) for k in runs[0])


def test_no_frozen_part_is_in_the_state_dict_or_gets_a_graph(arguments: dict[str, Any]) -> None:
    model, batch = ready(arguments)
    assert {k.split(".")[0] for k in model.state_dict()} == {
        "encoder", "converters", "mean_human", "deviation_human", "measured_human", "mean_dog", "deviation_dog",
        "measured_dog",
    }  # fmt: skip
    losses = model.distill(batch)
    torch.stack(list(losses.values())).sum().backward()
    for frozen in (*model.generators.values(),):
        assert all(not p.requires_grad and p.grad is None for p in frozen.network.parameters())
    assert model.teacher is not None
    assert all(not p.requires_grad and p.grad is None for p in model.teacher.module.parameters())
    assert not batch.domains["dog"].features.requires_grad


def test_a_deep_copy_shares_the_frozen_parts(arguments: dict[str, Any]) -> None:
    import copy

    model, _ = ready(arguments)
    twin = copy.deepcopy(model)
    assert twin.generators["dog"] is model.generators["dog"]
    assert twin.teacher is model.teacher
    assert twin.encoder is not model.encoder


def test_exploration_runs_the_generator_only_up_to_the_tap(arguments: dict[str, Any]) -> None:
    model, _ = ready(arguments)
    blocks = model.generators["dog"].network.synthesis
    calls: dict[str, int] = {}
    for name in ("b4", "b8", "b16", "b32"):
        block = getattr(blocks, name).conv1
        block.register_forward_hook(lambda *_a, name=name: calls.__setitem__(name, calls.get(name, 0) + 1))
    model.pairs.make(model, "human", "dog", 2, drawing=0)
    steps, images = arguments["exploration"]["steps"] + 1, 2
    assert calls["b16"] == steps + images
    assert calls["b32"] == images


def test_pairs_start_and_end_with_what_made_them(arguments: dict[str, Any]) -> None:
    model, _ = ready(arguments)
    pairs = model.pairs.make(model, "human", "dog", 2, drawing=7)
    again = model.pairs.make(model, "human", "dog", 2, drawing=7)
    other = model.pairs.make(model, "human", "dog", 2, drawing=8)
    assert torch.equal(pairs.original, again.original)
    assert torch.equal(pairs.partner, again.partner)
    assert not torch.equal(pairs.original, other.original)
    assert pairs.index.tolist() == [7, 7]
    image = model.generators["dog"].image(pairs.partner_w).clamp(-1, 1)
    torch.testing.assert_close(image, pairs.partner)


@pytest.mark.parametrize(
    ("zero", "absent"),
    [("lambda_k1", {"k1"}), ("lambda_m1", {"m1"}), ("lambda_m2", {"m2"})],
)
def test_a_weight_of_zero_leaves_its_loss_out(arguments: dict[str, Any], zero: str, absent: set[str]) -> None:
    model, batch = ready(arguments | {zero: 0.0})
    losses = model.distill(batch)
    model.refresh_pairs()
    losses |= model.match(model.pairs.sample(0, 0, 0))
    assert {"k1", "k2", "m1", "m2"} - set(losses) == absent


def test_without_k1_the_teacher_is_not_even_loaded(arguments: dict[str, Any]) -> None:
    model = DIFE(**arguments | {"lambda_k1": 0.0, "teacher": "no/such/teacher"})
    model.setup("fit")
    assert model.teacher is None


def test_without_matching_no_pair_is_made(arguments: dict[str, Any], tmp_path: Path) -> None:
    model = DIFE(**arguments | {"lambda_m1": 0.0, "lambda_m2": 0.0, "warmup_steps": 1})
    fit(model, stream_of(arguments), tmp_path, 3)
    assert len(model.pairs.bank) == 0


def test_distillation_losses_equal_the_equations(arguments: dict[str, Any]) -> None:
    model, batch = ready(arguments | {"distillation": {"statistics_samples": 8}})
    assert model.teacher is not None
    for samples in batch.domains.values():
        samples.valid.fill_(True)
    losses = model.distill(batch)
    k1 = k2 = 0.0
    for domain, samples in batch.domains.items():
        embedding = model.encoder(samples.images)
        surface = model.teacher.embed(samples.images)
        k1 += (surface - embedding).square().sum(1).sqrt().mean().item()
        wanted = (samples.features - model.get_buffer(f"mean_{domain}")[:, None, None]) / model.get_buffer(
            f"deviation_{domain}"
        )[:, None, None]
        converted = model.converters[domain](torch.nn.functional.avg_pool2d(embedding, 2))
        k2 += (wanted - converted).square().sum(1).sqrt().mean().item()
    assert losses["k1"].item() == pytest.approx(k1, rel=1e-4)
    assert losses["k2"].item() == pytest.approx(k2, rel=1e-4)


def test_features_may_train_the_converters_alone(arguments: dict[str, Any]) -> None:
    model, batch = ready(arguments | {"distillation": {"detach_features": True, "statistics_samples": 8}})
    losses = model.distill(batch)
    losses["k2"].backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert all(parameter.grad is not None for parameter in model.converters.parameters())
    shared, _ = ready(arguments | {"distillation": {"statistics_samples": 8}})
    shared.load_state_dict(model.state_dict())
    assert shared.distill(batch)["k2"].item() == losses["k2"].item()


def test_the_teacher_may_look_at_the_unwarped_image(arguments: dict[str, Any]) -> None:
    model, batch = ready(arguments | {"distillation": {"teacher_view": "original", "statistics_samples": 8}})
    samples = batch.domains["human"]
    still = samples.affine.clone()
    still[:] = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    assert model.teacher is not None
    unmoved = surface_target(model.teacher, replace(samples, affine=still), model.distillation)
    torch.testing.assert_close(unmoved, model.teacher.embed(samples.originals), atol=1e-5, rtol=0)


def test_the_teacher_may_average_several_views_of_the_unwarped_image(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"teacher_view": "original", "teacher_views": 5, "statistics_samples": 8}
    model, _ = ready(arguments | {"distillation": options})
    assert model.teacher is not None
    errors = iter([1.0, 2.0, -4.0, 3.0, 0.5])
    # a teacher that sees everything where it is, except for an error of each view; ramps survive interpolation
    seen: list[torch.Tensor] = []

    def embed(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return F.avg_pool2d(images, 2) + next(errors)

    monkeypatch.setattr(model.teacher, "embed", embed)
    row = torch.arange(32.0)
    images = torch.stack((row.expand(32, 32), row[:, None].expand(32, 32), torch.ones(32, 32)))[None]
    images = torch.cat((images, -images))
    found = averaged_embedding(model.teacher, images, 5)
    inner = (..., slice(6, -6), slice(6, -6))
    torch.testing.assert_close(found[inner], F.avg_pool2d(images, 2)[inner] + 0.5, atol=1e-3, rtol=0)
    assert len({tuple(view[0, 0, 16, 10:20].tolist()) for view in seen}) == 5
    with pytest.raises(ConfigError, match="teacher_views"):
        DIFE(**arguments | {"distillation": {"teacher_views": 5}})


def test_a_teacher_of_another_resolution_and_length_is_brought_to_the_encoders(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = ready(arguments | {"distillation": {"teacher_norm": "unit", "statistics_samples": 8}})
    samples, raw = batch.domains["human"], 5 * torch.randn(len(batch.domains["human"].images), 8, 8, 8)
    assert model.teacher is not None
    monkeypatch.setattr(model.teacher, "embed", lambda images: raw)
    surface = surface_target(model.teacher, samples, model.distillation)
    enlarged = torch.nn.functional.interpolate(raw, (32, 32), mode="bilinear")
    torch.testing.assert_close(surface, enlarged / enlarged.norm(dim=1, keepdim=True))


def test_features_are_normalised_per_channel(arguments: dict[str, Any]) -> None:
    model, _ = ready(arguments | {"distillation": {"statistics_samples": 64}})
    generator = model.generators["dog"]
    w = generator.map(normal((64, 8), 0, "statistics", "dog"), truncation=0.7)
    features = model.normalize(generator.features(w, 3), "dog")
    assert features.mean((0, 2, 3)).abs().max() < 1e-3
    assert (features.std((0, 2, 3)) - 1).abs().max() < 1e-3


def test_a_checkpoint_embeds_without_generators_or_teacher(arguments: dict[str, Any], tmp_path: Path) -> None:
    model = DIFE(**arguments)
    trainer = fit(model, stream_of(arguments), tmp_path, 1)
    trainer.save_checkpoint(tmp_path / "m.ckpt")
    for path in [*arguments["generators"].values(), arguments["teacher"]]:
        Path(path).unlink()
    loaded = dife_lightning.load(tmp_path / "m.ckpt")
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(loaded.embed(images), model.eval().embed(images))
        torch.testing.assert_close(
            loaded.convert(loaded.embed(images), "dog"), model.convert(model.embed(images), "dog")
        )
    holder = dife_lightning.load_embedder(tmp_path / "m.ckpt")
    assert not holder.embed(images).requires_grad


def test_init_from_takes_weights_and_nothing_else(arguments: dict[str, Any], tmp_path: Path) -> None:
    first = DIFE(**arguments)
    fit(first, stream_of(arguments), tmp_path, 3).save_checkpoint(tmp_path / "first.ckpt")
    second = DIFE(**arguments | {"init_from": str(tmp_path / "first.ckpt")})
    second.setup("fit")
    assert torch.equal(second.encoder.conv1.weight, first.encoder.conv1.weight)
    trainer = fit(second, stream_of(arguments), tmp_path, 1)
    assert trainer.global_step == 1


@pytest.mark.parametrize("normalize", ["channel", "none"])
def test_init_from_leaves_the_statistics_of_other_generators_behind(
    arguments: dict[str, Any], tmp_path: Path, normalize: str
) -> None:
    first = DIFE(**arguments)
    fit(first, stream_of(arguments), tmp_path, 1).save_checkpoint(tmp_path / "first.ckpt")
    other = {"human": arguments["generators"]["dog"], "dog": write_generator(tmp_path / "other.safetensors", 9)}
    changes = {"generators": other, "distillation": {"statistics_samples": 8, "normalize_features": normalize}}
    second = DIFE(**arguments | changes | {"init_from": str(tmp_path / "first.ckpt")})
    second.setup("fit")
    for domain, generator in second.generators.items():
        mean, deviation = second.statistics(domain)
        if normalize == "none":
            assert (mean == 0).all()
            assert (deviation == 1).all()
            continue
        w = generator.map(normal((8, 8), 0, "statistics", domain), truncation=0.7)
        torch.testing.assert_close(mean, generator.features(w, 3).mean((0, 2, 3)))


def test_statistics_of_a_checkpoint_are_not_measured_again(arguments: dict[str, Any], tmp_path: Path) -> None:
    model = DIFE(**arguments)
    model.setup("fit")
    model.get_buffer("mean_dog").fill_(5.0)
    model.setup("fit")
    assert (model.statistics("dog")[0] == 5).all()


def test_a_checkpoint_without_flags_of_its_statistics_loads_and_is_not_measured_again(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    """Up to version 0.1 a deviation of 0 meant that the statistics had not been measured."""
    model = DIFE(**arguments)
    trainer = fit(model, stream_of(arguments), tmp_path, 1)
    model.get_buffer("mean_dog").fill_(5.0)
    trainer.save_checkpoint(tmp_path / "new.ckpt")
    old = torch.load(tmp_path / "new.ckpt", weights_only=True)
    for domain in arguments["domains"]:
        del old["state_dict"][f"measured_{domain}"]
    old["state_dict"]["deviation_human"].zero_()
    torch.save(old, tmp_path / "old.ckpt")
    loaded = dife_lightning.load(tmp_path / "old.ckpt")
    assert isinstance(loaded, DIFE)
    assert (bool(loaded.get_buffer("measured_dog")), bool(loaded.get_buffer("measured_human"))) == (True, False)
    resumed = DIFE(**arguments)
    trainer = fit(resumed, stream_of(arguments), tmp_path, 2, ckpt_path=tmp_path / "old.ckpt")
    assert trainer.global_step == 2
    assert (resumed.statistics("dog")[0] == 5).all()
    assert not torch.equal(resumed.statistics("human")[0], resumed.statistics("dog")[0])


def test_init_from_says_what_is_wrong(arguments: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no file"):
        DIFE(**arguments | {"init_from": str(tmp_path / "missing.ckpt")}).setup("fit")
    torch.save({"state_dict": {"other": torch.zeros(1)}}, tmp_path / "foreign.ckpt")
    with pytest.raises(CheckpointError, match="no encoder"):
        DIFE(**arguments | {"init_from": str(tmp_path / "foreign.ckpt")}).setup("fit")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"domains": {}}, "domains is empty"),
        ({"domains": {"human": 8, "cow": 8}}, "domain 'cow' has no generator"),
        ({"lambda_k2": -1.0}, "lambda_k2 is -1"),
        ({"lambda_m1": math.nan}, "lambda_m1 is nan"),
        ({"lambda_k2": 0.0}, "lambda_k2 is 0"),
        ({"lambda_k1": 0.0, "lambda_k2": 0.0, "lambda_m1": 0.0, "lambda_m2": 0.0}, "all lambdas are 0"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"matching_loss": {"weights": "sofmax"}}, "softmax"),
        ({"matching_loss": {"temperatur": 1.0}}, "temperature"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(
    arguments: dict[str, Any], changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text) as error:
        DIFE(**arguments | changes)
    assert "\n" not in str(error.value)


def test_a_generator_of_another_width_is_refused_with_the_line_to_write(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"8 channels, the config says 99; set model.init_args.domains.dog: 8"):
        DIFE(**arguments | {"domains": {"human": 8, "dog": 99}}).setup("fit")


def test_a_teacher_of_another_width_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="has 8 channels, dim is 12"):
        DIFE(**arguments | {"dim": 12}).setup("fit")


def test_the_shares_of_the_gradient_add_up_and_small_ones_warn(arguments: dict[str, Any]) -> None:
    model, batch = ready(arguments | {"lambda_k2": 1e-6, "lambda_m1": 0.0, "lambda_m2": 0.0})
    logged: dict[str, float] = {}
    model._log_once = logged.update  # type: ignore[method-assign]
    weighted = {k: model.loss_weights[k] * v for k, v in model.distill(batch).items()}
    with pytest.warns(UserWarning, match="loss k2 gives .*raise lambda_k2"):
        model._log_shares(weighted)
    assert sum(logged.values()) == pytest.approx(1, abs=1e-5)


def test_the_rate_is_level_in_the_warmup_and_falls_to_the_end() -> None:
    options = OptimizerOptions(schedule="cosine", final=0.1, rise=4)
    factors = [rate_factor(s, options, 10, 20) for s in range(21)]
    assert factors[0] == 0.25
    assert factors[3:10] == [1.0] * 7
    assert factors[10] == pytest.approx(1)
    assert factors[15] == pytest.approx(0.55)
    assert factors[20] == pytest.approx(0.1)
    plain = OptimizerOptions(schedule="constant")
    assert {rate_factor(s, plain, 10, 20) for s in range(21)} == {1.0}


def plateau_rate(arguments: dict[str, Any], tmp_path: Path, warmup: int, monkeypatch: pytest.MonkeyPatch) -> float:
    model = DIFE(**arguments | {"optimizer": {"schedule": "plateau", "patience": 0}, "warmup_steps": warmup})
    monkeypatch.setattr(model, "validation_step", lambda batch: None)
    data = stream_of(arguments)
    monkeypatch.setattr(data, "val_dataloader", lambda: [torch.zeros(1)])
    model.on_validation_epoch_end = lambda: model.log("val/pixel_error", 5.0)  # type: ignore[method-assign]
    fit(model, data, tmp_path, 4, val_check_interval=1, check_val_every_n_epoch=None, num_sanity_val_steps=0)
    rate: Tensor = model.trainer.optimizers[0].param_groups[0]["lr"]
    return float(rate)


def test_a_plateau_counts_only_in_the_matching_stage(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = arguments | {"lambda_m1": 0.0, "lambda_m2": 0.0}
    assert plateau_rate(quiet, tmp_path, 100, monkeypatch) == pytest.approx(1e-3)
    assert plateau_rate(quiet, tmp_path, 0, monkeypatch) < 1e-3 / 5


def test_the_rate_rises_under_a_plateau_too(arguments: dict[str, Any], tmp_path: Path) -> None:
    quiet = {"lambda_m1": 0.0, "lambda_m2": 0.0, "optimizer": {"schedule": "plateau", "rise": 3, "lr": 0.003}}
    rates: list[float] = []

    class Watch(L.Callback):
        def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
            rates.append(optimizer.param_groups[0]["lr"])

    fit(DIFE(**arguments | quiet), stream_of(arguments), tmp_path, 5, callbacks=[Watch()])
    assert rates == pytest.approx([0.001, 0.002, 0.003, 0.003, 0.003])


def test_three_domains_give_all_ordered_pairs(tmp_path: Path) -> None:
    arguments = dife_arguments(tmp_path)
    arguments["domains"] |= {"cat": 8}
    arguments["generators"] |= {"cat": arguments["generators"]["dog"]}
    kinds = DIFE(**arguments).kinds_of_pairs()
    assert len(kinds) == len(set(kinds)) == 9


def test_the_latent_batch_moves_as_one(arguments: dict[str, Any]) -> None:
    batch = LatentStream({"a": 4}, 2).batch(0).to("cpu")
    assert isinstance(batch, LatentBatch)
    assert batch.z["a"].shape == (2, 4)


def test_cells_without_agreement_change_no_matching_loss(arguments: dict[str, Any]) -> None:
    from dife_lightning.methods._dife.matching_step import matching_errors
    from dife_lightning.methods._dife.options import MatchingLossOptions

    model, _ = ready(arguments)
    pairs = model.pairs.make(model, "human", "dog", 2, drawing=0)
    pairs.drift = torch.zeros(2, 16, 16)
    pairs.drift[:, :, 8:] = 3
    still = AugmentOptions(rotation=0, scale_min=1, scale_max=1, shift=0, color_probability=0)
    spoiled = pairs.rows(slice(None))
    spoiled.original = pairs.original.clone()

    def encode(images: Tensor) -> Tensor:  # looks at single pixels, so that a change stays where it is
        return torch.cat((images, images.square()), dim=1)

    options = MatchingLossOptions(side=16, agree=2.0, queries=None)
    spoiled.original[:, :, :, 16:] += 3
    whole, half = (matching_errors(encode, [p], options, still, (0,))[0] for p in (pairs, spoiled))
    torch.testing.assert_close(whole, half)
    everything = MatchingLossOptions(side=16)
    before, after = (matching_errors(encode, [p], everything, still, (0,))[0] for p in (pairs, spoiled))
    assert not torch.isclose(before, after)


def test_the_matching_stage_may_distil_fewer_images(arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = ready(arguments | {"distillation": {"matching_images": 1, "statistics_samples": 8}})
    seen: list[int] = []
    real = model.distill
    monkeypatch.setattr(model, "distill", lambda b: seen.append(len(b)) or real(b))
    model._trainer = None
    for step in (0, arguments["warmup_steps"]):
        monkeypatch.setattr(type(model), "global_step", step, raising=False)
        model.training_step(batch, 0)
    assert seen == [2, 1]


def test_unit_length_is_an_option_of_the_embedding(arguments: dict[str, Any]) -> None:
    images = torch.rand(1, 3, 32, 32)
    unit = DIFE(**arguments | {"unit_length": True}).eval()
    assert torch.allclose(unit.embed(images).norm(dim=1), torch.ones(1, 32, 32), atol=1e-5)
    plain = DIFE(**arguments).eval()
    assert not torch.allclose(plain.embed(images).norm(dim=1), torch.ones(1, 32, 32), atol=1e-2)


def test_the_drift_says_how_far_the_most_similar_cell_lies() -> None:
    embedding = torch.randn(2, 16, 6, 6, generator=torch.Generator().manual_seed(0))
    assert embedding_drift(embedding, embedding).eq(0).all()
    moved = embedding.roll((1, 2), dims=(2, 3))  # one down, two to the right
    drift = embedding_drift(embedding, moved)
    assert drift.shape == (2, 6, 6)
    torch.testing.assert_close(drift[:, :5, :4], torch.full((2, 5, 4), 5**0.5))


def test_pairs_are_matched_only_where_the_encoder_agrees(arguments: dict[str, Any]) -> None:
    model, _ = ready(arguments | {"matching_loss": {"side": 16, "agree": 1.0}})
    pairs = model.pairs.make(model, "human", "dog", 2, drawing=0)
    assert pairs.drift.shape == (2, 16, 16)
    assert pairs.drift.max() > 0  # an untrained encoder does not agree everywhere
    kept = agreed_cells([pairs], model.matching_loss)
    assert kept is not None
    assert torch.equal(kept, pairs.drift <= 1)
    plain, _ = ready(arguments)
    assert plain.pairs.make(plain, "human", "dog", 2, drawing=0).drift.eq(0).all()
    assert agreed_cells([pairs], plain.matching_loss) is None


def test_an_agreement_below_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"matching_loss\.agree is -1"):
        MatchingLossOptions(agree=-1)
