"""GAN losses against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from dife_lightning.losses.gan import (
    discriminator_loss,
    generator_loss,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)


def test_losses_are_log_two_where_the_discriminator_does_not_know() -> None:
    zeros = torch.zeros(4, 1)
    assert float(generator_loss(zeros)) == pytest.approx(math.log(2))
    assert float(discriminator_loss(zeros, zeros)) == pytest.approx(2 * math.log(2))


def test_losses_equal_minus_log_of_the_sigmoid() -> None:
    real, fake = torch.tensor([[1.5], [-0.5]]), torch.tensor([[0.2], [-3.0]])

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    wanted = -sum(math.log(sigmoid(x)) for x in (1.5, -0.5)) / 2 - sum(math.log(1 - sigmoid(x)) for x in (0.2, -3)) / 2
    assert float(discriminator_loss(real, fake)) == pytest.approx(wanted, rel=1e-6)
    wanted = -sum(math.log(sigmoid(x)) for x in (0.2, -3)) / 2
    assert float(generator_loss(fake)) == pytest.approx(wanted, rel=1e-6)


def test_losses_are_finite_for_extreme_half_precision_logits() -> None:
    logits = torch.tensor([[200.0], [-200.0]]).bfloat16()
    assert generator_loss(logits).dtype == torch.float32
    assert torch.isfinite(discriminator_loss(logits, logits))


def test_r1_of_a_linear_discriminator_is_half_its_squared_weight() -> None:
    weight = torch.randn(3, 4, 4)
    images = torch.randn(5, 3, 4, 4, requires_grad=True)
    logits = (images * weight).sum(dim=(1, 2, 3))[:, None]
    assert float(r1_penalty(images, logits)) == pytest.approx(float(weight.square().sum() / 2), rel=1e-5)


def test_r1_trains_the_discriminator() -> None:
    weight = torch.full((3, 2, 2), 2.0, requires_grad=True)
    images = torch.randn(2, 3, 2, 2, requires_grad=True)
    r1_penalty(images, (images * weight).sum(dim=(1, 2, 3))[:, None]).backward()
    torch.testing.assert_close(weight.grad, weight.detach())


def test_path_length_of_a_linear_generator_is_known() -> None:
    """image = scale * w[:, 0] at every pixel, so J^T y = scale * sum(y), and y has variance 1 / HW."""
    scale, side, count = 3.0, 8, 4000
    ws = torch.randn(count, 1, 1, requires_grad=True)
    images = scale * ws[:, :, :, None].expand(count, 1, side, side)
    lengths = path_lengths(images, ws, torch.Generator().manual_seed(0))
    assert float(lengths.square().mean().sqrt()) == pytest.approx(scale, rel=0.03)


def test_path_length_penalty_is_zero_at_its_mean_and_moves_the_mean() -> None:
    lengths = torch.full((3,), 2.0)
    penalty, mean = path_length_penalty(lengths, torch.tensor(2.0))
    assert float(penalty) == 0
    penalty, mean = path_length_penalty(lengths, torch.tensor(1.0), decay=0.1)
    assert float(mean) == pytest.approx(1.1)
    assert float(penalty) == pytest.approx(0.81)
