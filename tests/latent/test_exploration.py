from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.latent.exploration import ExplorationOptions, explore, moved


class LinearGenerator:
    """features = A w: the minimum of equation 3 is known."""

    num_ws = 4

    def __init__(self, w_dim: int = 3, per_layer: bool = False) -> None:
        generator = torch.Generator().manual_seed(5)
        self.matrix = torch.randn(2 * 4 * 4, w_dim, generator=generator)
        self.calls: list[int] = []
        self.per_layer = per_layer

    def features(self, w: Tensor, layer: int) -> Tensor:
        self.calls.append(len(w))
        used = w.mean(dim=1) if not self.per_layer else w[:, 0] + 2 * w[:, 1]
        return (used @ self.matrix.T).reshape(-1, 2, 4, 4)


def test_finds_the_w_that_made_the_features() -> None:
    generator, mean = LinearGenerator(), torch.zeros(3)
    truth = torch.tensor([[0.5, -0.3, 0.2], [-0.6, 0.1, 0.4]])
    target = generator.features(truth[:, None].expand(-1, 4, -1), 5)
    found = explore(generator, 5, target, mean.expand(2, -1), mean, ExplorationOptions(200, 0.05, weight_w=0.0))
    torch.testing.assert_close(found.w[:, 0], truth, atol=0.02, rtol=0)
    assert (found.feature_distance < 0.05 * found.start_distance).all()


def test_a_batch_gives_what_each_sample_gives_alone() -> None:
    generator, mean = LinearGenerator(), torch.zeros(3)
    target = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    options = ExplorationOptions(20, 0.1)
    together = explore(generator, 5, target, mean.expand(3, -1), mean, options)
    for i in range(3):
        alone = explore(generator, 5, target[i : i + 1], mean.expand(1, -1), mean, options)
        torch.testing.assert_close(together.w[i], alone.w[0], atol=1e-5, rtol=1e-5)


def test_a_heavy_weight_pins_w_to_the_mean() -> None:
    generator, mean = LinearGenerator(), torch.full((3,), 0.1)
    target = 5 * torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    loose = explore(generator, 5, target, mean[None], mean, ExplorationOptions(100, 0.05, weight_w=0.0))
    pinned = explore(generator, 5, target, mean[None], mean, ExplorationOptions(100, 0.05, weight_w=1e4))
    assert pinned.w_distance.item() < 0.01 < loose.w_distance.item()


def test_samples_that_no_longer_gain_leave_the_batch() -> None:
    generator, mean = LinearGenerator(), torch.zeros(3)
    easy = generator.features(mean.expand(1, 4, -1), 5)  # found before the first step
    hard = generator.features(torch.tensor([[[20.0, 0.0, 0.0]]]).expand(1, 4, -1), 5)
    generator.calls.clear()
    options = ExplorationOptions(40, 0.2, weight_w=0.0, patience=5)
    found = explore(generator, 5, torch.cat((easy, hard)), mean.expand(2, -1), mean, options)
    assert found.steps[0] < found.steps[1] == 40
    assert generator.calls[0] == 2
    assert generator.calls[-1] == 1


def test_patience_stops_samples_that_no_longer_gain() -> None:
    generator, mean = LinearGenerator(), torch.zeros(3)
    target = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    patient = ExplorationOptions(500, 0.05, weight_w=0.0, patience=10)
    assert explore(generator, 5, target, mean[None], mean, patient).steps.item() < 300


def test_w_plus_moves_layers_apart_and_w_does_not() -> None:
    mean = torch.zeros(3)
    generator = LinearGenerator(per_layer=True)
    target = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    one = explore(generator, 5, target, mean[None], mean, ExplorationOptions(20, 0.05))
    many = explore(generator, 5, target, mean[None], mean, ExplorationOptions(20, 0.05, space="w+", weight_w=0.5))
    assert (one.w[:, 0] == one.w[:, 1]).all()
    assert not torch.equal(many.w[:, 0], many.w[:, 1]) or not torch.equal(many.w[:, 0], many.w[:, 2])


def test_the_result_is_never_worse_than_the_start() -> None:
    generator, mean = LinearGenerator(), torch.zeros(3)
    target = torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    wild = explore(generator, 5, target, mean.expand(4, -1), mean, ExplorationOptions(3, 50.0, weight_w=0.0))
    assert (wild.feature_distance <= wild.start_distance).all()


def test_leaves_no_graph_and_works_under_no_grad() -> None:
    generator, mean = LinearGenerator(), torch.zeros(3)
    with torch.no_grad():
        found = explore(generator, 5, torch.randn(1, 2, 4, 4), mean[None], mean, ExplorationOptions(2))
    assert not found.w.requires_grad
    assert found.w.grad_fn is None


@pytest.mark.parametrize("options", [{"steps": 0}, {"lr": 0.0}, {"weight_w": -1.0}])
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="exploration"):
        ExplorationOptions(**options)  # type: ignore[arg-type]


class BlobGenerator:
    """One blob in the middle of the map, as high as w says: no w moves it."""

    num_ws = 2

    def features(self, w: Tensor, layer: int) -> Tensor:
        return w.mean(dim=(1, 2))[:, None, None, None] * blob(0.0, 0.0)


def blob(x: float, y: float, side: int = 16, width: float = 2.0) -> Tensor:
    """A blob off the middle by (x, y) cells, (1, 1, side, side)."""
    line = torch.arange(side) - (side - 1) / 2
    return torch.exp(-((line[None, :] - x) ** 2 + (line[:, None] - y) ** 2) / (2 * width**2))[None, None]


@pytest.mark.parametrize("grid", [1, 3])
@pytest.mark.parametrize(("x", "y"), [(1.5, -1.0), (-0.5, 2.0)])
def test_features_that_no_w_can_reach_are_deformed_to_where_one_can(x: float, y: float, grid: int) -> None:
    target, mean = 0.8 * blob(x, y), torch.zeros(3)
    still = explore(BlobGenerator(), 5, target, mean[None], mean, ExplorationOptions(150, 0.05, weight_w=0.0))
    moving = ExplorationOptions(150, 0.05, weight_w=0.0, deform=0.2, deform_grid=grid, deform_weight=0.01)
    found = explore(BlobGenerator(), 5, target, mean[None], mean, moving)
    assert found.feature_distance < 0.2 * still.feature_distance
    assert found.move.shape == (1, 2, grid, grid)
    middle = found.move[0, :, grid // 2, grid // 2]
    torch.testing.assert_close(middle, torch.tensor([x / 16, y / 16]), atol=0.015, rtol=0)
    torch.testing.assert_close(found.w.mean(), torch.tensor(0.8), atol=0.03, rtol=0)
    torch.testing.assert_close(moved(target, found.move, "border"), 0.8 * blob(0, 0), atol=0.05, rtol=0)


def two_blobs(distance: float) -> Tensor:
    return blob(0, -distance / 2, width=1.5) + blob(0, distance / 2, width=1.5)


class TwoBlobGenerator:
    """Two blobs nine cells apart, as eyes and mouth of another species would be."""

    num_ws = 2

    def features(self, w: Tensor, layer: int) -> Tensor:
        return w.mean(dim=(1, 2))[:, None, None, None] * two_blobs(9.0)


def test_a_grid_of_control_points_follows_other_proportions_and_a_shift_cannot() -> None:
    target, mean = two_blobs(6.5), torch.zeros(3)
    distance = {}
    for grid in (1, 4):
        options = ExplorationOptions(200, 0.05, weight_w=0.0, deform=0.2, deform_grid=grid, deform_weight=0.02)
        found = explore(TwoBlobGenerator(), 5, target, mean[None], mean, options)
        distance[grid] = found.feature_distance.item()
    assert distance[4] < 0.75 * distance[1]
    upper, lower = found.move[0, 1, :2, 1:3].mean(), found.move[0, 1, 2:, 1:3].mean()
    assert upper > 0.02  # reads further down
    assert lower < -0.02  # reads further up


def test_a_rough_deformation_costs() -> None:
    target, mean = two_blobs(6.5), torch.zeros(3)
    rough = {}
    for weight in (0.01, 30.0):
        options = ExplorationOptions(100, 0.05, weight_w=0.0, deform=0.2, deform_grid=4, deform_weight=weight)
        move = explore(TwoBlobGenerator(), 5, target, mean[None], mean, options).move
        rough[weight] = move.std(dim=(2, 3)).max().item()
    assert rough[30.0] < 0.1 * rough[0.01]


def test_a_deformation_stays_within_its_limits_and_is_none_by_default() -> None:
    target, mean = blob(2.0, 0.0), torch.zeros(3)
    options = ExplorationOptions(80, 0.3, weight_w=0.0, deform=0.05)
    move = explore(BlobGenerator(), 5, target, mean[None], mean, options).move
    assert move[0, 0].item() == pytest.approx(0.05, abs=2e-3)
    plain = explore(BlobGenerator(), 5, target, mean[None], mean, ExplorationOptions(5)).move
    assert plain.tolist() == [[[[0.0]], [[0.0]]]]


def test_an_image_is_deformed_as_its_features_were() -> None:
    move = torch.tensor([2 / 16, -1 / 16])[None, :, None, None]
    torch.testing.assert_close(
        moved(blob(2, -1), move)[..., 2:-2, 2:-4], blob(0, 0)[..., 2:-2, 2:-4], atol=1e-4, rtol=0
    )
    large = torch.nn.functional.interpolate(blob(2, -1), scale_factor=4, mode="bilinear")
    wanted = torch.nn.functional.interpolate(blob(0, 0), scale_factor=4, mode="bilinear")
    torch.testing.assert_close(moved(large, move)[..., 8:-8, 8:-16], wanted[..., 8:-8, 8:-16], atol=1e-4, rtol=0)
    image = torch.randn(1, 3, 8, 8)
    assert moved(image, torch.zeros(1, 2, 4, 4)) is image


@pytest.mark.parametrize("bad", [{"deform": -0.1}, {"deform": 0.5}, {"deform_grid": 0}, {"deform_weight": -1.0}])
def test_deformations_without_sense_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"exploration\.deform"):
        ExplorationOptions(**bad)  # type: ignore[arg-type]
