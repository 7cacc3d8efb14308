"""Renders of the embedded world with dense truth, for supervised methods.

The faces are the first train renders of each species, the same in every run. A batch is a pure function of
(seed, number): image and truth are warped by one affine map, in the ranges of the evaluation's framing. They are never
mirrored, because surface coordinates distinguish left and right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from dife_lightning.data.training import EndlessBatches, StreamStart, TrainingDataModule
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import RenderBatch, image_tensor
from dife_lightning.geometry.affine import AFFINE_NUMBERS, COLOR_NUMBERS, AugmentOptions, color_jitter, draw_affine
from dife_lightning.geometry.coordinates import apply_affine, sampling_grid, warp, warp_known
from dife_lightning.utils.files import cache_folder
from dife_lightning.utils.randomness import uniform
from dife_lightning.world import load_species
from dife_lightning.world.scene.renderer import check_size
from dife_lightning.world.truth import TruthArrays, decode_uv, truth_arrays

#: Coordinates that differ by more are not interpolated: neighbours differ by 0.05 on a face, by up to 0.9 at a muzzle.
FOLD = 0.25


class RenderStream(EndlessBatches[RenderBatch]):
    """Endless batches of warped renders, each a pure function of (seed, number).

    ``renders``: species -> its faces, of which a batch has ``per_domain`` each.
    """

    def __init__(
        self,
        renders: Mapping[str, TruthArrays],
        per_domain: int,
        augment: AugmentOptions,
        seed: int = 0,
        start: StreamStart = StreamStart(),  # noqa: B008 - immutable
    ) -> None:
        super().__init__(start)
        self.renders, self.per_domain, self.augment, self.seed = dict(renders), per_domain, augment, seed

    def batch(self, number: int) -> RenderBatch:
        """Return batch ``number`` of this rank: ``per_domain`` faces of the first species, then of the next."""
        positions = self.positions(number, self.per_domain)
        parts = [self._faces(name, positions) for name in self.renders]
        images, uv, inside, points, visible = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        domain = torch.arange(len(parts)).repeat_interleave(self.per_domain)
        index = torch.tensor(positions).repeat(len(parts))
        return RenderBatch(images, uv, inside, points, visible, domain, index, tuple(self.renders))

    def _faces(self, name: str, positions: range) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Images, uv, inside, points and visible of one species."""
        count = 1 + AFFINE_NUMBERS + COLOR_NUMBERS
        numbers = torch.stack([uniform((count,), self.seed, "renders", name, i) for i in positions])
        faces, framing, color = numbers.split((1, AFFINE_NUMBERS, COLOR_NUMBERS), dim=1)
        rows = (faces[:, 0] * len(self.renders[name])).long().numpy()
        renders = self.renders[name]
        images = image_tensor(renders.images[rows])
        uv, known = (torch.from_numpy(array) for array in decode_uv(renders.uv[rows]))
        side = images.shape[-1]
        affine = draw_affine(framing, self.augment, side, side)
        warped = warp(images, sampling_grid(affine, side, side, side, side), self.augment.padding)
        points = apply_affine(affine, torch.from_numpy(renders.points[rows]))
        visible = torch.from_numpy(renders.visible[rows]) & ((points >= -0.5) & (points <= side - 0.5)).all(-1)
        uv, inside = warp_known(uv, known, affine, FOLD)
        return color_jitter(warped, color, self.augment), uv, inside, points, visible


class WorldRenders(TrainingDataModule):
    """Train renders of several species with their dense truth; validation and test pairs from another data module.

    Args:
        domains: species, in the order of the batch.
        size: side of the images.
        batch_size: images per step over all species; each gets ``batch_size // domains``.
        count: train renders of each species (made once, then read from the cache).
        augment: framing and colour; the defaults have the ranges of the evaluation's framing.
        seed: of what is drawn from them; the renders do not depend on it.
        num_workers: processes that make batches; any number gives the same ones.
        evaluation: data module of keypoint pairs for validation, test and predict; None for none.
        cache: keep the renders in the cache folder (``DIFE_CACHE``).

    Raises:
        ConfigError: no, unknown or repeated species, a batch smaller than their number, no render, a size under 8.
    """

    def __init__(
        self,
        domains: Sequence[str],
        size: int = 64,
        batch_size: int = 12,
        count: int = 600,
        augment: AugmentOptions = AugmentOptions(),  # noqa: B008 - frozen
        seed: int = 0,
        num_workers: int = 0,
        evaluation: LightningDataModule | None = None,
        cache: bool = True,
    ) -> None:
        super().__init__(evaluation)
        for name in domains:
            load_species(name)
        if not domains or len(set(domains)) < len(domains):
            raise ConfigError(f"renders: domains={list(domains)}; expected one or more species, each once")
        if batch_size < len(domains):
            raise ConfigError(f"renders: batch_size={batch_size} for {len(domains)} domains; each needs an image")
        if count < 1:
            raise ConfigError(f"renders: count={count}; expected 1 or more renders of each species")
        check_size(size)
        self.domains, self.size, self.per_domain, self.count = list(domains), size, batch_size // len(domains), count
        self.augment, self.seed, self.num_workers, self.cache = augment, seed, num_workers, cache
        self.renders: dict[str, TruthArrays] = {}

    def prepare_data(self) -> None:
        """Fill the cache once, before several processes ask for the same faces."""
        if self.cache and self.trainer is not None and self.trainer.world_size > 1:
            self._render()
        super().prepare_data()

    def setup(self, stage: str) -> None:
        """Render the faces, or read them from the cache (for fit), and set up the evaluation pairs."""
        if stage == "fit":
            self._render()
        super().setup(stage)

    def _render(self) -> None:
        folder = cache_folder() / "renders" if self.cache else None
        if not self.renders:
            self.renders = {name: truth_arrays(name, "train", self.count, self.size, folder) for name in self.domains}

    def train_dataloader(self) -> DataLoader[RenderBatch]:
        """Return the stream from the trainer's current batch on."""
        stream = RenderStream(self.renders, self.per_domain, self.augment, self.seed, self.stream_start())
        return DataLoader(stream, batch_size=None, num_workers=self.num_workers)
