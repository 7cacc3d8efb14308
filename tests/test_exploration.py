from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.exploration import ExplorationOptions, explore, moved


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


def test_samples_that_reach_the_threshold_leave_the_batch() -> None:
    generator, mean = LinearGenerator(), torch.zeros(3)
    easy = generator.features(torch.tensor([[[0.05, 0.0, 0.0]]]).expand(1, 4, -1), 5)
    hard = 9 * torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    generator.calls.clear()
    options = ExplorationOptions(40, 0.02, weight_w=0.0, threshold=0.02)
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


def test_cells_that_do_not_count_do_not_pull() -> None:
    generator, mean = LinearGenerator(), torch.zeros(3)
    truth = torch.tensor([[0.5, -0.3, 0.2]])
    target = generator.features(truth[:, None].expand(-1, 4, -1), 5).clone()
    valid = torch.ones(1, 4, 4, dtype=torch.bool)
    valid[0, 0] = False
    target[0, :, 0] += 100
    found = explore(generator, 5, target, mean[None], mean, ExplorationOptions(200, 0.05, weight_w=0.0), valid=valid)
    torch.testing.assert_close(found.w[:, 0], truth, atol=0.03, rtol=0)


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


@pytest.mark.parametrize(("x", "y"), [(1.5, -1.0), (-0.5, 2.0)])
def test_features_that_no_w_can_reach_are_moved_to_where_one_can(x: float, y: float) -> None:
    target, mean = 0.8 * blob(x, y), torch.zeros(3)
    still = explore(BlobGenerator(), 5, target, mean[None], mean, ExplorationOptions(150, 0.05, weight_w=0.0))
    moving = ExplorationOptions(150, 0.05, weight_w=0.0, shift=0.2)
    found = explore(BlobGenerator(), 5, target, mean[None], mean, moving)
    assert found.feature_distance < 0.2 * still.feature_distance
    torch.testing.assert_close(found.move, torch.tensor([[-x / 16, -y / 16, 1.0, 1.0]]), atol=5e-3, rtol=0)
    torch.testing.assert_close(found.w.mean(), torch.tensor(0.8), atol=0.02, rtol=0)
    torch.testing.assert_close(moved(target, found.move, "border"), 0.8 * blob(0, 0), atol=0.03, rtol=0)


def test_a_move_stays_within_its_limits_and_is_none_by_default() -> None:
    target, mean = blob(2.0, 0.0), torch.zeros(3)
    options = ExplorationOptions(80, 0.3, weight_w=0.0, shift=0.05, zoom=0.1)
    move = explore(BlobGenerator(), 5, target, mean[None], mean, options).move[0]
    assert move[0] == pytest.approx(-0.05, abs=2e-3)
    assert all(1 / 1.1 - 1e-6 <= scale <= 1.1 + 1e-6 for scale in move[2:])
    plain = explore(BlobGenerator(), 5, target, mean[None], mean, ExplorationOptions(5)).move
    assert plain.tolist() == [[0, 0, 1, 1]]


def test_a_zoom_finds_the_scale() -> None:
    target, mean = blob(0, 0, width=2.4), torch.zeros(3)
    options = ExplorationOptions(150, 0.05, weight_w=0.0, zoom=0.5)
    move = explore(BlobGenerator(), 5, target, mean[None], mean, options).move[0]
    assert move[2:].tolist() == pytest.approx([2 / 2.4, 2 / 2.4], abs=0.02)


def test_an_image_moves_as_its_features_did() -> None:
    move = torch.tensor([[2 / 16, -1 / 16, 1.0, 1.0]])
    torch.testing.assert_close(
        moved(blob(0, 0), move)[..., 2:-2, 4:-2], blob(2, -1)[..., 2:-2, 4:-2], atol=1e-4, rtol=0
    )
    image = torch.randn(1, 3, 8, 8)
    assert moved(image, torch.tensor([[0.0, 0.0, 1.0, 1.0]])) is image


@pytest.mark.parametrize("bad", [{"shift": -0.1}, {"shift": 0.5}, {"zoom": 1.0}])
def test_moves_without_sense_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"expected 0 to 0\.5"):
        ExplorationOptions(**bad)
