"""The offline Fréchet distance: closed forms, and that it ranks worse pictures worse."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.errors import DataError
from dife_lightning.metrics.fid import FEATURES, FrechetDistance, frechet_distance


def faces(count: int, seed: int) -> Tensor:
    """Simple faces: a disc and two dark dots, of random place, size and colour, on a random ground."""
    rng = torch.Generator().manual_seed(seed)

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=rng)

    y, x = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    cx, cy, r = draw(-0.3, 0.3, 1, 1), draw(-0.3, 0.3, 1, 1), draw(0.4, 0.7, 1, 1)
    images = draw(-0.8, 0.0, 3, 1, 1).expand(-1, -1, 32, 32)
    head = ((x - cx) ** 2 + (y - cy) ** 2 < r**2)[:, None]
    images = torch.where(head, draw(0.2, 1.0, 3, 1, 1), images)
    for side in (-0.4, 0.4):
        eye = ((x - cx - side * r) ** 2 + (y - cy + 0.3 * r) ** 2 < (0.15 * r) ** 2)[:, None]
        images = torch.where(eye, torch.tensor(-1.0), images)
    return images


def blur(images: Tensor, times: int) -> Tensor:
    for _ in range(times):
        images = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return images


def distance(real: Tensor, fake: Tensor) -> float:
    metric = FrechetDistance()
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return float(metric.compute())


def test_distance_of_normals_with_diagonal_covariances_is_known() -> None:
    mean, other = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0])
    a, b = torch.diag(torch.tensor([4.0, 9.0])), torch.diag(torch.tensor([1.0, 16.0]))
    assert float(frechet_distance(mean, a, other, b)) == pytest.approx(1 + 4 + (2 - 1) ** 2 + (3 - 4) ** 2)


def test_distance_of_commuting_covariances_is_known_in_a_turned_frame() -> None:
    turn, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.double))
    a = turn @ torch.diag(torch.tensor([1.0, 4.0, 9.0], dtype=torch.double)) @ turn.t()
    b = turn @ torch.diag(torch.tensor([4.0, 4.0, 1.0], dtype=torch.double)) @ turn.t()
    zero = torch.zeros(3)
    assert float(frechet_distance(zero, a, zero, b)) == pytest.approx(1 + 0 + 4)


def test_a_set_has_no_distance_to_itself_and_little_to_its_twin() -> None:
    real, twin = faces(300, 0), faces(300, 1)
    assert distance(real, real) == pytest.approx(0, abs=1e-3)
    assert distance(real, twin) < 0.5 * distance(real, blur(twin, 1))


def test_distance_grows_with_blur() -> None:
    real, fake = faces(200, 0), faces(200, 1)
    values = [distance(real, blur(fake, times)) for times in (0, 1, 3, 9)]
    assert values == sorted(values)
    assert values[3] > 2 * values[1]


def test_distance_grows_with_noise() -> None:
    real, fake = faces(200, 0), faces(200, 1)
    noise = torch.randn(fake.shape, generator=torch.Generator().manual_seed(2))
    values = [distance(real, fake + amount * noise) for amount in (0.0, 0.1, 0.2, 0.4)]
    assert values == sorted(values)


def test_distance_grows_as_modes_are_lost() -> None:
    real = faces(200, 0)
    values = [distance(real, faces(modes, 1).repeat(200 // modes, 1, 1, 1)) for modes in (200, 40, 8, 2)]
    assert values == sorted(values)
    assert values[3] > 3 * values[1]


def test_the_result_does_not_depend_on_how_it_was_fed() -> None:
    real, fake = faces(100, 0), faces(90, 1)
    metric = FrechetDistance()
    for part in real.split(7):
        metric.update(part, real=True)
    for part in fake.split(33):
        metric.update(part, real=False)
    assert float(metric.compute()) == pytest.approx(distance(real, fake), rel=1e-6)
    metric.reset()
    assert int(metric.real_count) == 0


def test_images_of_any_size_have_the_stated_number_of_features() -> None:
    for side in (16, 64, 100):
        metric = FrechetDistance()
        metric.update(torch.rand(3, 3, side, side), real=True)
        assert metric.real_sum.shape == (FEATURES,)
        assert metric.real_sum.dtype == torch.float64


def test_too_few_images_are_an_error_and_not_nan() -> None:
    metric = FrechetDistance()
    metric.update(torch.rand(4, 3, 16, 16), real=True)
    with pytest.raises(DataError, match="0 fake images"):
        metric.compute()


def test_the_metric_adds_nothing_to_a_checkpoint() -> None:
    assert FrechetDistance().state_dict() == {}
