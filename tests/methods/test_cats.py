from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

import dife_lightning
from dife_lightning.errors import AssetError, CheckpointError, ConfigError, TrainingError
from dife_lightning.faces.batches import RenderBatch
from dife_lightning.methods._flow_transfer import network_images, transfer_by_flow
from dife_lightning.methods.cats import CATs, load_public, partners
from dife_lightning.methods.public_cats import PublicCATs
from dife_lightning.nn.cats import CATsArchitecture, CATsNetwork
from dife_lightning.pretrained.formats.cats import load_cats
from dife_lightning.utils.randomness import torch_generator, uniform
from dife_lightning.weights.checkpoints import read_checkpoint
from tests.methods.test_floors import make_batch
from tests.pretrained.formats.writers import write_cats
from tests.tiny import TINY_CATS

SIDE = 32


def faces(number: int, count: int = 4, domains: int = 2) -> RenderBatch:
    """Dark pictures with three coloured spots each, which are their key points: a function of ``number``."""
    points = uniform((domains * count, 3, 2), "spots", number) * (SIDE - 9) + 4
    rows = torch.arange(SIDE).float()
    near = [torch.exp(-(rows - points[..., i, None]).square() / 8) for i in (0, 1)]
    images = near[1][..., :, None] * near[0][..., None, :] * 2 - 1
    domain = torch.arange(domains).repeat_interleave(count)
    known, index = torch.ones(len(points), 3, dtype=torch.bool), torch.arange(count).repeat(domains)
    uv = torch.zeros(len(points), SIDE, SIDE, 2)
    names = ("human", "dog", "cat")[:domains]
    return RenderBatch(images, uv, uv[..., 0] > 0, points, known, domain, index, names)


class Faces(IterableDataset[RenderBatch]):
    """Batches in order, from the step at which the trainer stands."""

    def __init__(self, method: L.LightningModule) -> None:
        self.method = method

    def __iter__(self) -> Any:
        return (faces(number) for number in itertools.count(self.method.global_step))


def fit(method: CATs, folder: Path, steps: int, ckpt_path: Path | None = None, **options: Any) -> L.Trainer:
    trainer = L.Trainer(
        accelerator="cpu", max_steps=steps, max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, **options,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*num_workers.*|.*no `val_dataloader`.*")
        trainer.fit(method, DataLoader(Faces(method), batch_size=None), ckpt_path=ckpt_path)
    return trainer


def tiny(**changes: Any) -> CATs:
    torch.manual_seed(0)
    return CATs(**{"architecture": TINY_CATS, "lr": 1e-3, "lr_backbone": 1e-3, "milestones": [], **changes})


def public_folder(folder: Path, **changes: Any) -> CATsNetwork:
    """Write a small public network, in which another seed than ``tiny`` has its hand, with a classifier."""
    torch.manual_seed(5)
    network = CATsNetwork(replace(CATsArchitecture(**TINY_CATS), **{"classes": 3, "size": 96, **changes}))
    write_cats(folder, network)
    return network.eval()


def stepped(method: CATs, batch: RenderBatch) -> Tensor:
    """The loss of a batch, outside a trainer."""
    method.log = lambda *a, **k: None  # type: ignore[method-assign,assignment]
    return method.training_step(batch, 0)


# Transfer


class Shift(torch.nn.Module):
    """Stands for a network; its flow is the same everywhere, and it remembers what it was given."""

    def __init__(self, flow: tuple[float, float], size: int = 96, side: int = 6) -> None:
        super().__init__()
        self.architecture = replace(CATsArchitecture(**TINY_CATS), size=size, side=side)
        self.flow = torch.tensor(flow)[None, :, None, None].repeat(1, 1, side, side)
        self.given: list[Tensor] = []

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        self.given = [target, source]
        return self.flow.expand(len(target), -1, -1, -1)


@pytest.mark.parametrize(("source", "target"), [(64, 64), (96, 96), (64, 128), (300, 50)])
def test_points_move_in_shares_of_the_image_whatever_its_size(source: int, target: int) -> None:
    batch = make_batch(source=source, target=target)
    found = transfer_by_flow(Shift((1.5, -0.5)), batch)  # type: ignore[arg-type]
    places = (batch.source_points + 0.5) / source + torch.tensor([1.5, -0.5]) / 6
    torch.testing.assert_close(found, places * target - 0.5, atol=1e-3, rtol=0)


def test_images_that_are_not_square_are_brought_to_a_square() -> None:
    batch = make_batch()
    batch.source_image, batch.target_image = torch.zeros(4, 3, 40, 64), torch.zeros(4, 3, 64, 20)
    found = transfer_by_flow(Shift((0.6, 0.3)), batch)  # type: ignore[arg-type]
    places = (batch.source_points + 0.5) / torch.tensor([64, 40]) + torch.tensor([0.1, 0.05])
    torch.testing.assert_close(found, places * torch.tensor([20, 64]) - 0.5, atol=1e-3, rtol=0)


def test_our_source_is_what_the_network_calls_the_target() -> None:
    batch, network = make_batch(), Shift((0, 0))
    transfer_by_flow(network, batch)  # type: ignore[arg-type]
    for given, image in zip(network.given, (batch.source_image, batch.target_image), strict=True):
        assert torch.equal(given, network_images(image, 96))
        assert given.shape == (4, 3, 96, 96)
    colours = torch.tensor([0.485, 0.456, 0.406])[None, :, None, None] * 2 - 1
    assert network_images(colours.expand(1, 3, 64, 64), 96).abs().max() < 1e-5


def test_rounding_as_in_public_cuts_points_to_pixels_of_the_networks_images() -> None:
    batch = make_batch(source=96, target=96)
    still = Shift((0, 0))
    exact = transfer_by_flow(still, batch)  # type: ignore[arg-type]
    torch.testing.assert_close(exact, batch.source_points, atol=1e-4, rtol=0)
    assert torch.equal(transfer_by_flow(still, batch, rounding=True), batch.source_points.trunc())  # type: ignore[arg-type]


def test_a_flow_that_is_not_finite_stops_with_advice() -> None:
    with pytest.raises(TrainingError, match="NaN"):
        transfer_by_flow(Shift((float("nan"), 0)), make_batch())  # type: ignore[arg-type]


# Pairs of a step


def test_each_image_is_paired_with_another_of_its_domain_once() -> None:
    domain = torch.tensor([0, 1, 0, 2, 1, 0, 0, 2, 1])
    for step in range(20):
        found = partners(domain, torch_generator(0, step))
        assert torch.equal(domain[found], domain)
        assert (found != torch.arange(9)).all()
        assert sorted(found.tolist()) == list(range(9))


def test_pairs_are_a_function_of_the_seed_and_the_step() -> None:
    domain = torch.zeros(12, dtype=torch.int64)
    drawn = [partners(domain, torch_generator(seed, "partners", step)) for seed in (0, 1) for step in (0, 1)]
    assert len({tuple(one.tolist()) for one in drawn}) == 4
    torch.manual_seed(7)
    assert torch.equal(partners(domain, torch_generator(0, "partners", 0)), drawn[0])


def test_a_lonely_image_is_told() -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        partners(torch.tensor([0, 0, 1]), torch_generator(0))


# Training


def test_it_learns_more_than_can_be_guessed_without_looking_at_the_pictures(tmp_path: Path) -> None:
    method = tiny(architecture={**TINY_CATS, "temperature": 0.2}, lr=3e-3, lr_backbone=3e-3)
    checked = [faces(number) for number in range(1000, 1004)]

    @torch.no_grad()
    def error() -> float:
        method.eval()
        found = sum(stepped(method, batch).item() for batch in checked) / 4
        method.train()
        return found

    # who does not look does best by pointing at the middle, where spots are on average
    offsets = [(batch.points - (SIDE - 1) / 2).norm(dim=-1).mean() * 6 / SIDE for batch in checked]
    guessed = torch.stack(offsets).mean().item()
    assert error() > 0.9 * guessed
    fit(method, tmp_path, 80)
    assert error() < 0.6 * guessed


def test_a_step_is_the_error_of_the_flow_at_the_spots() -> None:
    method, batch = tiny().eval(), faces(0)
    other = partners(batch.domain, torch_generator(0, "partners", 0))
    with torch.no_grad():
        images = network_images(batch.images, SIDE)
        flow = method.network(images, images[other])
        loss = stepped(method, batch).item()
    errors, stride = [], SIDE / 6
    for b, y, x in itertools.product(range(8), range(6), range(6)):
        centre = torch.tensor([x, y]) * stride + (stride - 1) / 2
        near = (batch.points[b] - centre).abs().amax(-1) <= 35 / 32 * stride
        if near.any():
            wanted = (batch.points[other[b]] - batch.points[b])[near].mean(0) / stride
            errors.append((flow[b, :, y, x] - wanted).norm().item())
    assert loss == pytest.approx(sum(errors) / len(errors), rel=1e-4)


def test_images_of_another_size_than_the_networks_give_the_same_flow_to_learn() -> None:
    method, batch = tiny().eval(), faces(0)
    large = replace(batch, images=batch.images.repeat_interleave(2, 2).repeat_interleave(2, 3))
    large.points = (batch.points + 0.5) * 2 - 0.5
    assert stepped(method, large).item() == pytest.approx(stepped(method, batch).item(), rel=1e-4)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    states = []
    for seed in (0, 0, 1):
        method = tiny(seed=seed)
        fit(method, tmp_path, 2)
        states.append(method.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_a_run_that_goes_on_ends_with_the_bits_of_one_that_was_left_alone(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"milestones": [0.5], "rise": 2}
    whole, first, second = tiny(**arguments), tiny(**arguments), tiny(**arguments)
    fit(whole, tmp_path, 4)
    stop = fit(first, tmp_path, 4, callbacks=[StopAfter(2)])
    stop.save_checkpoint(tmp_path / "half.ckpt")
    fit(second, tmp_path, 4, ckpt_path=tmp_path / "half.ckpt")
    assert (first.global_step, second.global_step) == (2, 4)
    for name, value in whole.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name


class StopAfter(L.Callback):
    """Ends a fit early."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.global_step >= self.step


def test_a_checkpoint_gives_the_method_back_and_holds_plain_values(tmp_path: Path) -> None:
    method = tiny()
    fit(method, tmp_path, 1).save_checkpoint(tmp_path / "a.ckpt")
    content = read_checkpoint(tmp_path / "a.ckpt")
    assert content["hyper_parameters"]["architecture"]["blocks"] == [1, 1]
    loaded, batch = dife_lightning.load(tmp_path / "a.ckpt"), make_batch(3)
    with torch.no_grad():
        found, expected = loaded.transfer_batch(batch), method.eval().transfer_batch(batch)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_backbone_and_head_have_their_own_step_sizes(tmp_path: Path) -> None:
    method = tiny(lr=0.5, lr_backbone=0.25)
    trainer = fit(method, tmp_path, 1)
    (adam,) = trainer.optimizers
    assert isinstance(adam, torch.optim.AdamW)
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    for group, rate, backbone in zip(adam.param_groups, (0.5, 0.25), (False, True), strict=True):
        assert group["lr"] == rate
        found = {names[id(p)] for p in group["params"]}
        assert all(name.startswith("network.feature_extraction.") == backbone for name in found)
    trained = {name for name, parameter in method.named_parameters() if parameter.requires_grad}
    assert {names[id(p)] for group in adam.param_groups for p in group["params"]} == trained


def test_step_sizes_rise_and_halve_at_the_milestones() -> None:
    method = tiny(milestones=[0.5, 0.75], decay=0.5, rise=2)
    assert [method.rate_factor(step, 8) for step in range(8)] == [0.5, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]


# Public weights


def test_training_starts_from_public_weights(tmp_path: Path) -> None:
    network = public_folder(tmp_path / "spair")
    method = tiny(init_from=str(tmp_path / "spair"), lr=1e-12, lr_backbone=1e-12, weight_decay=0.0)
    fit(method, tmp_path, 1)
    own = method.network.state_dict()
    assert not any(".fc." in name for name in own)
    for name, value in network.named_parameters():
        if ".fc." not in name:
            torch.testing.assert_close(own[name], value, atol=1e-6, rtol=0, msg=name)
    assert "init_from" in method.hparams
    assert method.hparams["init_from"] is None


def test_a_frozen_backbone_stays_as_it_is_to_the_last_statistic(tmp_path: Path) -> None:
    public_folder(tmp_path / "spair", classes=0)
    method = tiny(init_from=str(tmp_path / "spair"), freeze_backbone=True)
    trainer = fit(method, tmp_path, 2)
    state, start = method.network.state_dict(), load_cats(tmp_path / "spair").state_dict()
    changed = {name for name, value in state.items() if not torch.equal(value, start[name])}
    assert "decoder.proj.weight" in changed
    assert not any(name.startswith("feature_extraction.") for name in changed)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert dife_lightning.load(tmp_path / "a.ckpt").freeze_backbone


def test_a_frozen_backbone_of_no_origin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="freeze_backbone without init_from"):
        fit(tiny(freeze_backbone=True), tmp_path, 1)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"heads": 4}, r"heads 4, the configuration 6; set model\.init_args\.architecture\.heads: 4"),
        ({"hyperpixels": (1, 2)}, r"hyperpixels \(1, 2\).*architecture\.hyperpixels: \[1, 2\]"),
        ({"depth": 2}, "depth 2"),
    ],
)
def test_public_weights_of_other_sizes_are_refused(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    public_folder(tmp_path, **changes)
    with pytest.raises(ConfigError, match=text):
        load_public(tiny().network, str(tmp_path))


@pytest.mark.parametrize("rounding", [False, True])
def test_public_weights_are_tested_without_a_checkpoint(tmp_path: Path, rounding: bool) -> None:
    network = public_folder(tmp_path / "spair")
    method, batch = PublicCATs(str(tmp_path / "spair"), rounding), make_batch(3)
    with torch.no_grad():
        expected = transfer_by_flow(network, batch, rounding)
    found = method.transfer_batch(batch)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
    assert not found.requires_grad
    assert method.needs_checkpoint is False
    assert method.state_dict() == {}
    assert list(method.parameters()) == []


def test_public_weights_cannot_be_fitted_here(tmp_path: Path) -> None:
    trainer = L.Trainer(max_steps=1, logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    loader: DataLoader[Any] = DataLoader([0])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'public-cats' has nothing to learn"):
        trainer.fit(PublicCATs(), train_dataloaders=loader, val_dataloaders=loader)


def test_missing_public_weights_are_told_when_they_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DIFE_PATHS", raising=False)
    with pytest.raises(AssetError, match=r"own/cats-spair.*paths\.yaml"):
        PublicCATs().transfer_batch(make_batch())
    with pytest.raises(CheckpointError, match=r"model_best\.pth"):
        PublicCATs(str(tmp_path)).transfer_batch(make_batch())


@pytest.mark.parametrize("changes", [{"lr": 0.0}, {"lr_backbone": -1.0}, {"reach": 0.0}, {"milestones": [-0.1]}])
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        tiny(**changes)


def test_unknown_sizes_get_the_closest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'heads'"):
        CATs({"head": 2})  # type: ignore[arg-type]
