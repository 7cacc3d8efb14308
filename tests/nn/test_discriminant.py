"""The discriminant against a direct computation on all rows with numpy, which shares no code with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.nn.discriminant import ScatterSums, discriminant, grid_places, registered, registered_discriminant


def faces(count: int, grid: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Random features (count, K, dim) that depend on the place, which are inside, and domains of the images."""
    rng = np.random.default_rng(seed)
    place, domain = rng.normal(size=(grid * grid, dim)), np.arange(count) % 2
    features = 0.7 * place + rng.normal(size=(count, grid * grid, dim)) @ rng.normal(size=(dim, dim)) + 3
    features += domain[:, None, None] * rng.normal(size=dim) * 5
    inside = rng.random((count, grid * grid)) < 0.8
    return torch.from_numpy(features).float(), torch.from_numpy(inside), torch.from_numpy(domain)


def summed(parts: list[tuple[Tensor, Tensor, Tensor]], grid: int, dim: int) -> ScatterSums:
    sums = ScatterSums(2, grid, dim)
    for part in parts:
        sums.add(*part)
    return sums


def direct(
    features: NDArray[np.float64], inside: NDArray[np.bool_], keep: int, shrinkage: float
) -> NDArray[np.float64]:
    """Eigenvectors of inverse(T) B from the rows themselves, scaled as the docstring says."""
    places = np.broadcast_to(np.arange(features.shape[1]), inside.shape)[inside]
    rows = features[inside]
    centred = rows - rows.mean(0)
    total = centred.T @ centred / len(rows)
    total += shrinkage * np.trace(total) / len(total) * np.eye(len(total))
    between = sum(
        (places == k).mean() * np.outer(d, d) for k in range(features.shape[1]) for d in [centred[places == k].mean(0)]
    )
    share, axes = np.linalg.eig(np.linalg.inv(total) @ between)
    order = np.argsort(-share.real)[:keep]
    share, axes = share.real[order], axes.real[:, order]
    axes /= np.sqrt(np.einsum("ik,ij,jk->k", axes, total, axes))
    return axes * np.sqrt(share / (1 - share))


def test_it_is_the_discriminant_of_all_rows() -> None:
    features, inside, domain = faces(30, 3, 5)
    weights, offset = discriminant(summed([(features, inside, domain)], 3, 5), 4, 0.05)
    expected = direct(features.double().numpy(), inside.numpy(), 4, 0.05)
    signs = np.sign((weights.numpy() * expected).sum(0))
    np.testing.assert_allclose(weights.numpy(), expected * signs, rtol=2e-3, atol=1e-4)
    mean = features.numpy()[inside.numpy()].mean(0)
    np.testing.assert_allclose(offset.numpy(), -mean @ weights.numpy(), rtol=1e-3, atol=1e-4)


def test_the_order_and_the_size_of_the_batches_do_not_matter() -> None:
    features, inside, domain = faces(24, 4, 6)
    whole = discriminant(summed([(features, inside, domain)], 4, 6), 3, 0.01)
    mixed = torch.randperm(24, generator=torch.Generator().manual_seed(1)).split(7)
    parts = discriminant(summed([(features[i], inside[i], domain[i]) for i in mixed], 4, 6), 3, 0.01)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_what_tells_species_apart_counts_less_than_what_tells_places_apart() -> None:
    """Channel 0 has the species alone, and is the strongest; channels 1 and 2 have the place."""
    generator = torch.Generator().manual_seed(0)
    domain = torch.arange(40) % 2
    places = grid_places(4) - 0.5
    features = 0.05 * torch.randn(40, 16, 3, generator=generator)
    features[..., 0] += 10.0 * domain[:, None]
    features[..., 1:] += places
    weights, offset = discriminant(summed([(features, torch.ones(40, 16).bool(), domain)], 4, 3), 2, 1e-6)
    embedded = features @ weights + offset
    apart = (embedded[domain == 0].mean(0) - embedded[domain == 1].mean(0)).norm(dim=-1).mean()
    assert apart < 0.05 * (embedded.mean(0)[0] - embedded.mean(0)[15]).norm()


@pytest.mark.parametrize(("scale", "shift"), [(1.0, (0.0, 0.08)), (0.8, (0.0, -0.04)), (1.2, (0.08, 0.0))])
def test_species_whose_places_differ_by_a_scale_and_a_shift_are_registered(
    scale: float, shift: tuple[float, float]
) -> None:
    def code(places: Tensor) -> Tensor:
        x, y = places.unbind(-1)
        return torch.stack((torch.sin(5 * x), torch.cos(5 * x), torch.sin(5 * y), torch.cos(5 * y)), -1)

    grid, moved = grid_places(16), torch.tensor(shift)
    own = (grid - 0.5 - moved) / scale + 0.5  # the place of the first species that the second shows there
    features = torch.stack((code(grid), code(own) + torch.tensor([4.0, 0, 0, 1])))
    sums = summed([(features, torch.ones(2, 256).bool(), torch.tensor([0, 1]))], 16, 4)
    frames = registered(sums, torch.eye(4))
    torch.testing.assert_close(frames[0], torch.tensor([1.0, 0, 0], dtype=torch.float64))
    np.testing.assert_allclose(frames[1].numpy(), [scale, *shift], atol=0.045)


def test_the_registered_discriminant_gives_shifted_species_one_embedding() -> None:
    """Places of the second species lie 0.12 lower; its features are those of the first there, and noise."""
    grid, generator = grid_places(8), torch.Generator().manual_seed(3)
    domain = torch.arange(200) % 2
    y = grid[:, 1] - 0.12 * domain[:, None]
    angle = torch.stack((3 * y, 5 * grid[:, 0].expand_as(y)), -1)
    features = torch.cat((angle.sin(), angle.cos()), -1)
    features = features + 0.2 * torch.randn(features.shape, generator=generator)
    sums = summed([(features, torch.ones(200, 64).bool(), domain)], 8, 4)
    weights, offset, frames = registered_discriminant(sums, 3, 1e-3)
    np.testing.assert_allclose(frames[1].numpy(), [1, 0, 0.12], atol=0.045)
    again = discriminant(sums, 3, 1e-3, frames)
    torch.testing.assert_close(weights, again[0])
    torch.testing.assert_close(offset, again[1])


def test_frames_bring_the_places_of_both_species_together() -> None:
    """Without them, the mean of two shifted fields varies less between places, so the shares are smaller."""
    grid = grid_places(8)
    field = torch.stack((torch.sin(6 * grid[:, 1]), torch.cos(6 * grid[:, 1])), -1)
    shifted = torch.stack((torch.sin(6 * (grid[:, 1] - 0.125)), torch.cos(6 * (grid[:, 1] - 0.125))), -1)
    noise = 0.3 * torch.randn(40, 64, 2, generator=torch.Generator().manual_seed(2))
    domain = torch.arange(40) % 2
    features = torch.where(domain[:, None, None] == 0, field, shifted) + noise
    sums = summed([(features, torch.ones(40, 64).bool(), domain)], 8, 2)
    frames = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.125]], dtype=torch.float64)
    plain, together = (discriminant(sums, 2, 1e-3, given)[0] for given in (None, frames))
    assert together.norm() > 1.1 * plain.norm()
