"""Few labelled and many unlabelled faces of noise, and networks that train in a blink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import numpy as np

from dife_lightning.data.few_labels import FewLabelFaces, FewLabelsDataModule
from dife_lightning.faces.batches import FaceArrays
from dife_lightning.faces.items import PictureCrop
from dife_lightning.faces.own_schemes import scheme_from_names

NAMES = ["left_eye", "right_eye", "nose"]
TINY_HRNET: dict[str, Any] = {
    "stem": 4,
    "bottlenecks": 1,
    "channels": (2, 2, 2, 2),
    "modules": (1, 1, 1),
    "blocks": 1,
    "momentum": 0.1,
}


def face(name: str, seed: int, size: int = 32, labelled: bool = True) -> FaceArrays:
    """Return a face of noise, with three points inside it."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (size, size, 3), np.uint8)
    points = rng.uniform(4, size - 5, (3, 2)).astype(np.float32)
    nothing = np.zeros((0, 2), np.float32), np.zeros(0, bool)
    known = (points, np.ones(3, bool)) if labelled else nothing
    return FaceArrays(image, *known, np.full(4, np.nan, np.float32), name, PictureCrop(name, size, size, np.eye(2, 3)))


class NoiseFaces(FewLabelsDataModule):
    """``labelled`` and ``pool`` faces of noise; the scheme has mirror pairs unless ``names`` has none."""

    def __init__(
        self, labelled: int = 3, pool: int = 6, names: Sequence[str] = tuple(NAMES), size: int = 32, **options: Any
    ) -> None:
        given = {"size": size, "labelled_batch": 2, "unlabelled_batch": 4, "flip": False, **options}
        super().__init__(None, **given)
        self.counts, self.point_names = (labelled, pool), list(names)

    def _make_faces(self) -> FewLabelFaces:
        labelled, pool = self.counts
        few = [face(f"few {k}", k, self.size) for k in range(labelled)]
        many = [face(f"pool {k}", 100 + k, self.size, labelled=False) for k in range(pool)]
        names = tuple(one.name for one in many)
        return FewLabelFaces(few, many or None, names, scheme_from_names(self.point_names), {})


class StopAfter(L.Callback):
    """Stops a training after some batches, within its endless epoch."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Count the batch."""
        self.batches -= 1
        trainer.should_stop = trainer.should_stop or not self.batches


def trainer_of(folder: Any, batches: int, **options: Any) -> L.Trainer:
    """Return a quiet trainer on the CPU that stops after some batches."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    given = {"enable_checkpointing": False, "limit_val_batches": 0, "max_epochs": -1, **quiet, **options}
    stop = [StopAfter(batches), *given.pop("callbacks", [])]
    return L.Trainer(accelerator="cpu", default_root_dir=folder, callbacks=stop, **{"devices": 1, **given})
