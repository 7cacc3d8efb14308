"""Pictures of the same latents during the training of a generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.utils.files import atomic_buffer


def image_grid(images: Tensor, columns: int) -> NDArray[np.uint8]:
    """Lay (N, 3, H, W) in [-1, 1] out as one (rows * H, columns * W, 3) uint8 picture; empty cells are black."""
    count, _, height, width = images.shape
    rows = -(-count // columns)
    sheet = np.zeros((rows * height, columns * width, 3), dtype=np.uint8)
    pixels = ((images.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    for i, picture in enumerate(pixels):
        row, column = divmod(i, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = picture
    return sheet


class SampleSheet(Callback):
    """Write ``samples/<images seen>.png``: images of fixed latents, without truncation above and with it below.

    The method needs ``sample(count, truncation)``, which returns images (count, 3, R, R), and ``images_seen``.

    Args:
        every_images: training images between two sheets.
        count: images per part.
        columns: images per row.
        truncation: psi of the lower part.
    """

    def __init__(self, every_images: int = 2000, count: int = 32, columns: int = 8, truncation: float = 0.7) -> None:
        if every_images < 1 or count < 1 or columns < 1:
            raise ConfigError("sample sheet: every_images, count and columns must be 1 or more")
        self.every_images, self.count, self.columns, self.truncation = every_images, count, columns, truncation

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a method that has no samples."""
        if not hasattr(pl_module, "sample"):
            raise ConfigError(f"SampleSheet needs a generator being trained, not {type(pl_module).__name__}")
        self._due = -1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw after every ``every_images`` images."""
        seen = int(pl_module.images_seen)  # type: ignore[arg-type]
        turn = seen // self.every_images
        if self._due < 0:
            self._due = turn + (1 if seen % self.every_images else 0)
        if turn >= max(self._due, 1):
            self._due = turn + 1
            self._draw(trainer, pl_module, seen)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last state."""
        self._draw(trainer, pl_module, int(pl_module.images_seen))  # type: ignore[arg-type]

    def _draw(self, trainer: Trainer, sampler: Any, seen: int) -> None:
        if not trainer.is_global_zero:
            return
        parts = [image_grid(sampler.sample(self.count, psi), self.columns) for psi in (1.0, self.truncation)]
        path = Path(trainer.default_root_dir) / "samples" / f"{seen:08d}.png"
        with atomic_buffer(path) as buffer:
            Image.fromarray(np.concatenate(parts)).save(buffer, format="PNG")
