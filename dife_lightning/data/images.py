"""Training images for a generator: renders of the embedded world, or a folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from dife_lightning.data.photos.folder_check import FolderReport, advice, check_folder
from dife_lightning.data.training import EndlessBatches, StreamStart
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.batches import ImageBatch
from dife_lightning.faces.images import center_square, read_image
from dife_lightning.utils.checks import require
from dife_lightning.utils.files import cache_folder
from dife_lightning.utils.randomness import seed_of
from dife_lightning.world.dataset import render_arrays


def to_float(images: Tensor) -> Tensor:
    """Map uint8 to fp32 in [-1, 1]."""
    return images.float() / 127.5 - 1


class ImageStream(EndlessBatches[ImageBatch]):
    """Endless shuffled batches of ``images`` (N, S, S, 3) uint8; batch k is a pure function of (seed, k, rank).

    Each pass over the images has its own random order. With ``flip``, each image is mirrored with probability 1/2.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        batch_size: int,
        seed: int = 0,
        flip: bool = False,
        start: StreamStart = StreamStart(),  # noqa: B008 - immutable
    ) -> None:
        super().__init__(start)
        self.images, self.batch_size, self.seed, self.flip = images, batch_size, seed, flip
        self._order: tuple[int, NDArray[np.int64], NDArray[np.bool_]] | None = None

    def batch(self, number: int) -> ImageBatch:
        """Return batch ``number`` of this rank, uint8."""
        picked = np.stack([self._image(position) for position in self.positions(number, self.batch_size)])
        return ImageBatch(torch.from_numpy(picked).permute(0, 3, 1, 2), number)

    def _image(self, position: int) -> NDArray[np.uint8]:
        turn, place = divmod(position, len(self.images))
        if self._order is None or self._order[0] != turn:
            rng = np.random.default_rng(seed_of(self.seed, "images", turn))
            self._order = (turn, rng.permutation(len(self.images)), rng.random(len(self.images)) < 0.5)
        image = self.images[self._order[1][place]]
        return image[:, ::-1] if self.flip and self._order[2][place] else image


def fixed_batches(images: NDArray[np.uint8], batch_size: int) -> list[ImageBatch]:
    """Return images in order, uint8, in batches of ``batch_size`` (the last may be smaller)."""
    writable = images if images.flags.writeable else images.copy()  # torch warns of read-only arrays
    parts = torch.from_numpy(writable).permute(0, 3, 1, 2).split(batch_size)
    return [ImageBatch(part, number) for number, part in enumerate(parts)]


def read_folder(folder: str | Path, size: int, skip_broken: bool = False) -> tuple[NDArray[np.uint8], FolderReport]:
    """Read all images of a folder as central squares (N, size, size, 3), in the order of their paths, and check them.

    With ``skip_broken``, damaged files are skipped and the report lists them. DataError if there is no such folder or
    no image in it, or, unless they are skipped, a damaged one.
    """
    squares: list[NDArray[np.uint8]] = []

    def keep(path: Path) -> NDArray[np.uint8]:
        image = read_image(path)
        squares.append(center_square(image, size))
        return image

    report = check_folder(folder, size, keep)
    if report.damaged and not (skip_broken and squares):
        raise DataError(next(iter(report.damaged.values())))
    return np.stack(squares), report


def split_held_out(images: NDArray[np.uint8], held_out: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Split off at random at most ``held_out`` images and at most a tenth of them; return (training, held-out).

    With fewer than 20 images, both parts are all images.
    """
    count = min(held_out, len(images) // 10)
    if count < 2:
        return images, images
    order = np.random.default_rng(seed_of(seed, "held out")).permutation(len(images))
    return images[np.sort(order[count:])], images[np.sort(order[:count])]


class GeneratorImages(LightningDataModule):
    """Training images, and held-out ones for the Fréchet distance.

    Exactly one of ``species`` and ``folder`` is given.

    Args:
        species: a species of the embedded world: its train renders, and its val renders for the score.
        folder: a folder of images of any number, size and mode, or ``own/...`` of ``paths.yaml``; their central squares
            are used.
        size: side of the generator's images in pixels.
        batch_size: images per step and process.
        count: train renders of the species (made once, then read from the cache).
        held_out: images for the score; at most a tenth of a folder.
        flip: mirror each image with probability 1/2. Do not use it if left and right differ.
        seed: of the order.
        num_workers: loading processes; any number gives the same batches.
        render_workers: processes that make the renders. They are spawned, so a script that uses them needs the
            ``if __name__ == "__main__"`` guard.
        skip_broken: skip the damaged files of a folder and report them. ``--skip-broken`` sets it.

    Raises:
        ConfigError: none or both of ``species`` and ``folder``, or a size that generators cannot have.
    """

    def __init__(
        self,
        species: str | None = None,
        folder: str | None = None,
        size: int = 64,
        batch_size: int = 32,
        count: int = 10_000,
        held_out: int = 1000,
        flip: bool = True,
        seed: int = 0,
        num_workers: int = 0,
        render_workers: int = 0,
        skip_broken: bool = False,
    ) -> None:
        super().__init__()
        if (species is None) == (folder is None):
            raise ConfigError("images: give either species (a face of the embedded world) or folder (of images)")
        if size < 8 or size & (size - 1):
            raise ConfigError(f"images: size={size}; generators have powers of two from 8 on, e.g. 64")
        require("images: ", at_least=1, batch_size=batch_size, count=count)
        require("images: ", at_least=2, held_out=held_out)
        self.species, self.folder, self.size, self.batch_size = species, folder, size, batch_size
        self.count, self.held_out, self.flip = count, held_out, flip
        self.seed, self.num_workers, self.render_workers = seed, num_workers, render_workers
        self.skip_broken, self.next_batch = skip_broken, 0
        self._images: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None

    def setup(self, stage: str) -> None:
        """Render or read the images, once; before a training report what is wrong with those of a folder.

        Raises:
            ConfigError: the generator that is trained makes images of another size.
        """
        wanted = self.size if self.trainer is None else getattr(self.trainer.lightning_module, "image_size", self.size)
        if wanted != self.size:
            raise ConfigError(
                f"images: size={self.size}, the generator makes {wanted} px; set --data.init_args.size {wanted}, or as "
                "many channels as the size needs"
            )
        if self._images is None:
            self._images = self._from_world() if self.species is not None else self._from_folder(stage == "fit")

    def _from_world(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        assert self.species is not None
        folder, workers = cache_folder() / "renders", self.render_workers
        train = render_arrays(self.species, "train", self.count, self.size, folder, workers=workers)
        return train, render_arrays(self.species, "val", self.held_out, self.size, folder, workers=workers)

    def _from_folder(self, told: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        assert self.folder is not None
        images, report = read_folder(self.folder, self.size, self.skip_broken)
        if len(images) < 2:
            raise DataError(f"{self.folder} holds {len(images)} image; a generator needs two or more, better thousands")
        for level, text in advice(report, self.skip_broken) if told else ():
            (rank_zero_info if level == "ok" else rank_zero_warn)(text)
        return split_held_out(images, self.held_out, self.seed)

    @property
    def train_images(self) -> NDArray[np.uint8]:
        """(N, S, S, 3) uint8; after ``setup``."""
        assert self._images is not None
        return self._images[0]

    @property
    def held_out_images(self) -> NDArray[np.uint8]:
        """(M, S, S, 3) uint8; after ``setup``."""
        assert self._images is not None
        return self._images[1]

    def train_dataloader(self) -> DataLoader[ImageBatch]:
        """Return the endless stream, from the first batch that was not used yet."""
        ranks = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        start = StreamStart(self.next_batch, *ranks)
        stream = ImageStream(self.train_images, self.batch_size, self.seed, self.flip, start)
        return DataLoader(stream, batch_size=None, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader[ImageBatch]:
        """Return the held-out images."""
        return DataLoader(fixed_batches(self.held_out_images, self.batch_size), batch_size=None)  # type: ignore[arg-type]

    test_dataloader = val_dataloader

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Map uint8 to [-1, 1] on the device, and count the batches of the training."""
        if not isinstance(batch, ImageBatch):
            return batch
        if self.trainer is not None and self.trainer.training:
            self.next_batch = batch.number + 1
        return ImageBatch(to_float(batch.images), batch.number)

    def state_dict(self) -> dict[str, int]:
        """Return the position in the stream, for the checkpoint."""
        return {"next_batch": self.next_batch}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue where the checkpoint was written."""
        self.next_batch = state_dict["next_batch"]
