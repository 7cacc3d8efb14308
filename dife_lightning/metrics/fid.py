"""A Fréchet distance that needs no downloaded network.

There are 204 features per image. The image (64 px, antialiased) is filtered at 64, 32 and 16 px by 16 fixed random
filters (5x5 over RGB, drawn once from a seed, zero mean); the mean rectified response in each cell of a 2x2 grid gives
16 x 4 x 3 = 192 numbers. The mean RGB in each cell gives 12 more. These features see colour, layout, texture and
sharpness at three scales, but no semantics: compare scores of runs on the same data set only, never with the FID of
Inception features. Features of a network (``FrechetDistance(features, length)``) tell whether a face is one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.errors import DataError
from dife_lightning.metrics._float64 import Float64Metric
from dife_lightning.utils.randomness import normal

FEATURES = 204
_SIDE = 64
_SCALES = (64, 32, 16)
_FILTERS = 16


def filter_bank() -> Tensor:
    """Return the (16, 3, 5, 5) fixed random filters: zero mean, unit norm."""
    bank = normal((_FILTERS, 3, 5, 5), 0, "frechet filters")
    bank = bank - bank.mean(dim=(1, 2, 3), keepdim=True)
    return bank / bank.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()


def image_features(images: Tensor, bank: Tensor) -> Tensor:
    """Return (B, 204) features, fp32, of ``images`` (B, 3, H, W) in [-1, 1]."""
    images = images.float().clamp(-1, 1)
    with torch.autocast(images.device.type, enabled=False):
        parts = [F.adaptive_avg_pool2d(images, 2).flatten(1)]
        for side in _SCALES:
            small = images
            if images.shape[-1] != side:
                small = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
            response = F.conv2d(F.pad(small, (2, 2, 2, 2), mode="replicate"), bank).abs()
            parts.append(F.adaptive_avg_pool2d(response, 2).flatten(1))
    return torch.cat(parts, dim=1)


def frechet_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> Tensor:
    """Squared Fréchet distance of two normal distributions, in float64.

    ``|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2))``; the last trace is computed from the eigenvalues of the symmetric
    ``C^(1/2) C' C^(1/2)``.
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.t()
    middle = root @ other_covariance.double() @ root
    trace = torch.linalg.eigvalsh((middle + middle.t()) / 2).clamp(min=0).sqrt().sum()
    shift = (mean.double() - other_mean.double()).square().sum()
    distance = shift + covariance.double().trace() + other_covariance.double().trace() - 2 * trace
    return distance.clamp(min=0)


class FrechetDistance(Float64Metric):
    """Fréchet distance between real and generated images, times 1000.

    Args:
        features: images (B, 3, H, W) in [-1, 1] to (B, length), fp32; None for the fixed filters of this module.
        length: of the features.

    Sums are float64, so that the batch size does not matter; the sums of several processes are added. They stay on the
    CPU where the device may have no float64, as Apple GPUs.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    real_count: Tensor

    def __init__(self, features: Callable[[Tensor], Tensor] | None = None, length: int = FEATURES) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("bank", filter_bank(), persistent=False)
        for side in ("real", "fake"):
            self.add_state(f"{side}_count", torch.zeros([], dtype=torch.long), dist_reduce_fx="sum")
            self.add_state(f"{side}_sum", torch.zeros(length, dtype=torch.double), dist_reduce_fx="sum")
            self.add_state(f"{side}_square", torch.zeros(length, length, dtype=torch.double), dist_reduce_fx="sum")

    def update(self, images: Tensor, real: bool) -> None:
        """Add ``images`` (B, 3, H, W) in [-1, 1], real or generated."""
        assert isinstance(self.bank, Tensor)
        found = image_features(images, self.bank) if self.features is None else self.features(images)
        features = found.to(self.real_count.device).double()
        side = "real" if real else "fake"
        setattr(self, f"{side}_count", getattr(self, f"{side}_count") + len(features))
        setattr(self, f"{side}_sum", getattr(self, f"{side}_sum") + features.sum(0))
        setattr(self, f"{side}_square", getattr(self, f"{side}_square") + features.t() @ features)

    def compute(self) -> Tensor:
        """Return the distance; DataError with fewer than two images on a side."""
        return 1000 * frechet_distance(*self._moments("real"), *self._moments("fake"))

    def _moments(self, side: str) -> tuple[Tensor, Tensor]:
        count = int(getattr(self, f"{side}_count"))
        if count < 2:
            raise DataError(
                f"Fréchet distance: {count} {side} images; at least 2 are needed, more than 500 recommended"
            )
        mean = getattr(self, f"{side}_sum") / count
        covariance = (getattr(self, f"{side}_square") - count * torch.outer(mean, mean)) / (count - 1)
        return mean, covariance
