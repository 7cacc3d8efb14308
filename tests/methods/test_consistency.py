"""Pseudo-labels, UDA and FixMatch: their targets and losses against loops, views, copies, and resumed trainings."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor

import dife_lightning
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.few_labels import FewLabelBatch
from dife_lightning.geometry.affine import AugmentOptions
from dife_lightning.methods.consistency import ConsistencyNet
from tests.methods.few_labels import GivenFaces, random_faces

SIDE = 32
NAMES = ["left_eye", "right_eye", "nose"]
SMALL: dict[str, Any] = {
    "network": {"stem": 4, "bottlenecks": 1, "channels": [4, 4, 4, 4], "modules": [1, 1, 1], "blocks": 1},
    "landmarks": NAMES,
    "threshold": 0.0,
    "optimizer": {"lr": 0.01, "schedule": "constant"},
}
KINDS = ("pseudo-labels", "uda", "fixmatch")
pytestmark = pytest.mark.filterwarnings(r"ignore:.*(have no `val_dataloader`|many workers|in eval mode)")


def net(kind: str, **given: Any) -> ConsistencyNet:
    torch.manual_seed(0)
    module = ConsistencyNet(kind, **SMALL | given)
    module.logged = {}
    module.log = lambda name, value, **more: module.logged.update({name: float(value.detach())})
    return module


def batch(labelled: int = 2, unlabelled: int = 3) -> FewLabelBatch:
    rng = torch.Generator().manual_seed(7)
    pictures = torch.rand(labelled + unlabelled, 3, SIDE, SIDE, generator=rng) * 2 - 1
    return FewLabelBatch(
        pictures[:labelled],
        torch.rand(labelled, 3, 2, generator=rng) * 20 + 5,
        torch.tensor([[True, True, False], [True, False, True]])[:labelled],
        pictures[labelled:],
        torch.eye(2, 3).expand(unlabelled, -1, -1),
        [str(k) for k in range(unlabelled)],
        torch.zeros(labelled, dtype=torch.bool),
    )


def gaussian(x: float, y: float, cells: int) -> np.ndarray:
    """A Gaussian of deviation 1 around a point in cells."""
    rows, columns = np.mgrid[:cells, :cells]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 2)


def bilinear(image: np.ndarray, x: float, y: float) -> float:
    """The value of an image between its cells, 0 outside."""
    total, left, top = 0.0, math.floor(x), math.floor(y)
    for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
        if 0 <= column < image.shape[1] and 0 <= row < image.shape[0]:
            total += (1 - abs(x - column)) * (1 - abs(y - row)) * image[row, column]
    return total


def slow_targets(kind: str, maps: np.ndarray, moved: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """The targets and which are known, by loops; the decoder is the quarter of a cell towards the higher neighbour."""
    cells, stride = maps.shape[-1], SIDE / maps.shape[-1]
    targets, known = np.zeros_like(maps), np.zeros(maps.shape[:2], bool)
    for u, k in np.ndindex(*maps.shape[:2]):
        one = maps[u, k]
        y, x = np.unravel_index(one.argmax(), one.shape)
        shift = [0.0, 0.0]
        if 0 < x < cells - 1 and 0 < y < cells - 1 and one[y, x] > 0:
            shift = [np.sign(one[y, x + 1] - one[y, x - 1]) / 4, np.sign(one[y + 1, x] - one[y - 1, x]) / 4]
        pixel = (np.array([x + shift[0], y + shift[1]]) + 0.5) * stride - 0.5
        there = moved[u, :, :2] @ pixel + moved[u, :, 2]
        inside = bool(((there >= -0.5) & (there <= SIDE - 0.5)).all())
        known[u, k] = one[y, x] > threshold and inside
        if kind == "uda":
            back = np.linalg.inv(moved[u, :, :2])
            for row, column in np.ndindex(cells, cells):
                at = (np.array([column, row]) + 0.5) * stride - 0.5
                source = (back @ (at - moved[u, :, 2]) + 0.5) / stride - 0.5
                targets[u, k, row, column] = bilinear(one, *source)
        elif known[u, k]:
            targets[u, k] = gaussian(*((there + 0.5) / stride - 0.5), cells)
    return targets, known


def some_maps(count: int = 4, cells: int = 8) -> Tensor:
    rng = np.random.default_rng(5)
    maps = rng.normal(0, 0.1, (count, 3, cells, cells))
    for u, k in np.ndindex(count, 3):
        maps[u, k] += rng.uniform(0.1, 1) * gaussian(*rng.uniform(0, cells - 1, 2), cells)
    return torch.from_numpy(maps.astype(np.float32))


def turned(count: int = 4) -> Tensor:
    """Maps of pixels that turn, scale and shift."""
    angle = torch.linspace(-0.5, 0.6, count)
    scale = torch.linspace(0.8, 1.2, count)
    rows = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos()), -1).unflatten(-1, (2, 2))
    linear = rows * scale[:, None, None]
    return torch.cat((linear, torch.tensor([3.0, -2.0]).expand(count, 2)[..., None]), dim=-1)


@pytest.mark.parametrize("kind", ["uda", "fixmatch"])
def test_targets_are_those_of_loops_over_landmarks_and_cells(kind):
    maps, moved = some_maps(), turned()
    expected, shown = slow_targets(kind, maps.numpy(), moved.numpy(), 0.6)
    assert 0 < shown.sum() < shown.size
    targets, known = net(kind, threshold=0.6).targets(maps, moved, torch.zeros(4, 3, SIDE, SIDE))
    np.testing.assert_array_equal(known, shown)
    np.testing.assert_allclose(targets[known], expected[shown], atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ramp", [0, 4])
def test_a_step_is_the_loss_on_labels_and_on_what_the_network_itself_finds(kind, ramp):
    module, data = net(kind, weight=2.5, ramp=ramp), batch()
    if ramp:
        module.__class__ = type("Later", (ConsistencyNet,), {"global_step": 1})
    twin = copy.deepcopy(module.network).train()
    view, moved = module._fitted_view(data.unlabelled)
    if kind == "pseudo-labels":
        maps = twin(torch.cat((data.labelled, data.unlabelled)))
        weak = maps[2:].detach()
    else:
        with torch.no_grad():
            weak = twin(data.unlabelled)
        maps = twin(torch.cat((data.labelled, view)))
    targets, known = slow_targets(kind, weak.numpy(), moved.numpy(), 0.0)
    squares = [(maps[2 + u, k] - torch.from_numpy(targets[u, k]).float()).square().mean()
               for u, k in np.ndindex(3, 3) if known[u, k]]  # fmt: skip
    cells = maps.shape[-1]
    on_labels = []
    for row, k in np.ndindex(2, 3):
        if data.visible[row, k]:
            x, y = ((data.points[row, k] + 0.5) * cells / SIDE - 0.5).tolist()
            on_labels.append((maps[row, k] - torch.from_numpy(gaussian(x, y, cells)).float()).square().mean())
    unlabelled = sum(squares) / max(1, len(squares))
    expected = sum(on_labels) / len(on_labels) + 2.5 * (1 / 4 if ramp else 1) * unlabelled
    loss = module.training_step(data, 0)
    torch.testing.assert_close(loss, expected)
    assert module.logged["train/confident"] == pytest.approx(known.mean())
    loss.backward()
    expected.backward()
    for one, other in zip(module.network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_what_is_not_confident_does_not_count():
    data = batch()
    alone = net("fixmatch", weight=0.0).training_step(data, 0)
    assert torch.equal(net("fixmatch", threshold=0.99).training_step(data, 0), alone)
    assert not torch.equal(net("fixmatch").training_step(data, 0), alone)


@pytest.mark.parametrize("kind", KINDS)
def test_unlabelled_faces_play_no_part_in_the_warm_up(kind):
    module, data = net(kind, warmup_steps=1), batch()
    loss = module.training_step(data, 0)
    data.unlabelled = data.unlabelled.flip(0) * 0.1
    assert torch.equal(net(kind, warmup_steps=1).training_step(data, 0), loss)
    assert set(module.logged) == {"train/loss"}


def test_a_strong_view_shows_a_dot_where_its_map_says():
    module = net("fixmatch")
    dots = torch.full((6, 3, SIDE, SIDE), -1.0)
    dots[:, :, 14:16, 18:20] = 1.0  # the middle of the dot is at (18.5, 14.5)
    view, moved = module._fitted_view(dots)
    for image, matrix in zip(view, moved, strict=True):
        weight = image.mean(0) - image.mean(0).median()
        rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
        seen = torch.stack([(weight * axis).sum() / weight.sum() for axis in (columns, rows)])
        torch.testing.assert_close(seen, matrix[:, :2] @ torch.tensor([18.5, 14.5]) + matrix[:, 2], atol=0.3, rtol=0)
    assert (moved[0] - moved[1]).abs().max() > 0.01


def test_strong_views_are_a_function_of_seed_and_batch():
    first, again, other = (net("uda", seed=seed).strong_numbers(4) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    later = net("uda", seed=3)
    later.__class__ = type("Later", (ConsistencyNet,), {"draw": 5})
    assert not torch.equal(later.strong_numbers(4), first)


# Trainings


def data(unlabelled: int = 6) -> GivenFaces:
    others = random_faces(unlabelled, seed=1) if unlabelled else ()
    return GivenFaces(random_faces(3), others, labelled_batch=2, unlabelled_batch=2, flip=False)


def trainer(steps: int, folder: Path, **more: Any) -> L.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    options = {
        "accelerator": "cpu",
        "max_epochs": -1,
        "logger": False,
        "limit_val_batches": 0,
        "default_root_dir": folder,
    }
    return L.Trainer(max_steps=steps, **quiet, **options, **more)


def fitted(kind: str, steps: int, folder: Path, resume: Path | None = None, **given: Any) -> ConsistencyNet:
    torch.manual_seed(0)
    module = ConsistencyNet(kind, **SMALL | given)
    runner = trainer(steps, folder)
    runner.fit(module, data(), ckpt_path=resume)
    runner.save_checkpoint(folder / f"{steps}.ckpt")
    return module


COPIES: dict[str, Any] = {"warmup_steps": 1, "refresh": 3, "ema_half_life": 2.0}


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_training_ends_where_an_uninterrupted_one_does(kind, tmp_path):
    whole = fitted(kind, 6, tmp_path, **COPIES).state_dict()
    fitted(kind, 3, tmp_path, **COPIES)
    resumed = fitted(kind, 6, tmp_path, tmp_path / "3.ckpt", **COPIES).state_dict()
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name


def test_the_copy_is_renewed_after_the_warm_up_and_every_few_steps(tmp_path):
    networks = [fitted("pseudo-labels", steps, tmp_path, **COPIES).network.state_dict() for steps in (1, 4)]
    for steps, source in ((4, 0), (5, 1)):
        copied = fitted("pseudo-labels", steps, tmp_path, **COPIES).teacher.state_dict()
        assert all(torch.equal(copied[name], value) for name, value in networks[source].items())


def test_the_average_starts_after_the_warm_up_and_is_what_is_evaluated(tmp_path):
    networks = [fitted("fixmatch", steps, tmp_path, **COPIES).network for steps in (1, 2, 3)]
    module = fitted("fixmatch", 3, tmp_path, **COPIES)
    assert module.evaluated is module.average
    share = 1 - 0.5**0.5
    for first, second, third, found in zip(*(one.parameters() for one in (*networks, module.average)), strict=True):
        mean = first + share * (second - first)
        torch.testing.assert_close(found, mean + share * (third - mean))
    pictures = batch().labelled
    module.eval()
    with torch.no_grad():
        there = dife_lightning.load(tmp_path / "3.ckpt").detect(pictures)
        assert torch.equal(there.points, module.detect(pictures).points)
        assert torch.equal(module.detect(pictures).scores, module.detect_with(module.average, pictures).scores)


def test_all_networks_start_from_the_weights_of_another_training(tmp_path):
    start = fitted("uda", 2, tmp_path)
    torch.manual_seed(5)
    module = ConsistencyNet("fixmatch", **SMALL | COPIES, init_from=str(tmp_path / "2.ckpt"))
    runner = trainer(1, tmp_path)
    runner.datamodule, runner.ckpt_path = data(), None
    module._trainer = runner
    module.setup("fit")
    for network in (module.network, module.teacher, module.average):
        for one, other in zip(network.state_dict().values(), start.network.state_dict().values(), strict=True):
            assert torch.equal(one, other)
    assert module.hparams["init_from"] is None


# Bad input


class NoFaces(L.LightningDataModule):
    """Data of another kind."""

    def train_dataloader(self) -> list[int]:
        return [1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "mixmatch"}, "kind 'mixmatch' is unknown"),
        ({"threshold": 1.0}, "threshold is 1.0; expected at least 0 and below 1"),
        ({"threshold": -0.1}, "threshold is -0.1; expected at least 0 and below 1"),
        ({"weight": -1}, "weight is -1; expected at least 0"),
        ({"refresh": 0}, "refresh is 0; expected at least 1"),
        ({"warmup_steps": -1}, "warmup_steps is -1; expected at least 0"),
        ({"strong": {"blur": 1}}, "AugmentOptions has no option 'blur'"),
        ({"landmarks": ["nose", "nose"]}, "nose"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ConsistencyNet(**SMALL | settings)


def test_unlabelled_faces_and_few_label_data_are_needed(tmp_path):
    with pytest.raises(DataError, match=r"no unlabelled face: uda needs some; .* LandmarkNet on the labels alone"):
        trainer(1, tmp_path).fit(ConsistencyNet("uda", **SMALL), data(unlabelled=0))
    with pytest.raises(ConfigError, match=r"ConsistencyNet trains on few labelled faces .*; found NoFaces"):
        trainer(1, tmp_path).fit(ConsistencyNet("uda", **SMALL), NoFaces())


def test_strong_views_need_no_colour_or_frame_to_change():
    still = AugmentOptions(rotation=0, scale_min=1, scale_max=1, shift=0, color_probability=0)
    module = net("fixmatch", strong=still)
    view, moved = module._fitted_view(batch().unlabelled)
    torch.testing.assert_close(view, batch().unlabelled, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved, torch.eye(2, 3).expand(3, -1, -1), atol=1e-5, rtol=0)
