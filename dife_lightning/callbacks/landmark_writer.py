"""Writes the landmarks that ``dife predict`` found on single faces, as COCO keypoints, as CSV and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np

from dife_lightning.callbacks._collect import evaluation_folder
from dife_lightning.callbacks._detections import in_scheme
from dife_lightning.callbacks._found_faces import (
    FoundFace,
    check_pictures,
    coco_document,
    draw,
    write_next,
    write_table,
)
from dife_lightning.callbacks._mirror_check import MirrorCheck
from dife_lightning.data.face_sets import FaceSet, face_set_of
from dife_lightning.errors import ConfigError, reason_of
from dife_lightning.faces.batches import FaceBatch
from dife_lightning.geometry.coordinates import resize_maps
from dife_lightning.mining.next_labels import label_next
from dife_lightning.utils.checks import require
from dife_lightning.utils.distributed import gather_objects
from dife_lightning.utils.files import write_json
from dife_lightning.utils.notes import many, note

#: Side of the small grey pictures by which photos are told apart.
GREY = 16


class LandmarkWriter(L.Callback):
    """Write ``landmarks.json`` and ``landmarks.csv`` with the points found on every face, and draw them on the photos.

    Coordinates are pixels of the original photo, not of the crop, with pixel centres at integers and the EXIF
    orientation applied. The score of a point is the highest value of its heat map, clipped to [0, 1]; the confidence of
    a face is the mean of its scores. The flip shift is how far the points of the image alone and of the mirrored image
    alone are apart, as a fraction of the side of the crop.

    Args:
        pictures: how many photos to draw on, the first ones, in the folder ``pictures``; 0 for none.
        label_next: how many photos to choose for labelling next, in ``label_next.csv``; 0 for none.
        labelled: text file with the paths of photos that are labelled already, one a line; they are not chosen.
        out_dir: where to write; the command's folder if None.

    Raises:
        ConfigError: a number below 0.
    """

    def __init__(
        self, pictures: int = 20, label_next: int = 0, labelled: str | None = None, out_dir: str | None = None
    ) -> None:
        super().__init__()
        require(at_least=0, pictures=pictures, label_next=label_next)
        self.pictures, self.label_next, self.out_dir = pictures, label_next, out_dir
        self._labelled = frozenset[Path]() if labelled is None else _paths(labelled)
        self._sets: list[FaceSet] = []
        self._found: dict[tuple[int, int], FoundFace] = {}
        self._mirror: MirrorCheck | None = None

    def on_predict_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start without faces.

        Raises:
            ConfigError: the model finds no landmarks, or the sets have other data or other landmarks than each other.
        """
        if not hasattr(pl_module, "detect_batch"):
            name = type(pl_module).__name__
            raise ConfigError(f"{name} finds no landmarks on single faces; use pairs of faces, such as UnlabelledPairs")
        loaders: Any = trainer.predict_dataloaders
        self._sets = [face_set_of(one) for one in (loaders if isinstance(loaders, list | tuple) else [loaders])]
        if len({faces.scheme.landmarks for faces in self._sets}) > 1:
            raise ConfigError("the sets of faces have other landmarks than each other; give those of one scheme")
        self._found = {}

    def on_predict_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Watch the heat maps of the batch."""
        self._mirror = MirrorCheck(pl_module)
        self._mirror.start()

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: FaceBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect what was found on the faces of the batch."""
        faces = self._sets[dataloader_idx]
        points, peaks = in_scheme(outputs, pl_module, faces.scheme)
        shifts = self._shifts(trainer, outputs, batch)
        grey = resize_maps(batch.images.float().mean(1, keepdim=True), GREY).flatten(1)
        values = (batch.boxes, points.float(), peaks.float(), grey if self.label_next else grey[:, :0])
        rows = zip(batch.index.tolist(), *(value.cpu().numpy() for value in values), strict=True)
        picture = getattr(faces.faces, "picture", None)
        for b, (index, box, detected, highest, look) in enumerate(rows):
            file = None if picture is None else picture(index)
            side = batch.images.shape[-1]
            self._found[dataloader_idx, index] = FoundFace(
                batch.names[b], batch.crops[b], side, file, box, detected, highest, shifts[b], look
            )

    def _shifts(self, trainer: L.Trainer, outputs: Any, batch: FaceBatch) -> list[float]:
        """Return the flip shifts of a batch; NaN where there are none."""
        assert self._mirror is not None
        self._mirror.stop()
        with trainer.precision_plugin.forward_context():
            found = self._mirror.shifts(batch.images, outputs.points)
        self._mirror = None
        return [float("nan")] * len(batch) if found is None else found.tolist()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Stop watching."""
        if self._mirror is not None:
            self._mirror.stop()
            self._mirror = None

    def on_predict_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the files (the first process only)."""
        gathered = {key: face for part in gather_objects(self._found) for key, face in part.items()}
        self._found = {}
        if trainer.is_global_zero:
            self._write(trainer, [gathered[key] for key in sorted(gathered)])

    def _write(self, trainer: L.Trainer, found: Sequence[FoundFace]) -> None:
        check_pictures(found)
        folder, scheme = evaluation_folder(trainer, self.out_dir), self._sets[0].scheme
        write_json(folder / "landmarks.json", coco_document(found, scheme))
        write_table(folder / "landmarks.csv", found, scheme)
        if self.label_next:
            self._write_next(folder, found)
        drawn = len(draw(found, scheme, folder / "pictures", self.pictures))
        lost = sum(int(np.isnan(face.points[:, 0]).sum()) for face in found)
        mean = sum(face.confidence for face in found) / len(found)
        text = f"{many(len(found), 'face')}: mean confidence {mean:.3f}, {many(lost, 'point')} not found"
        note(f"predict: {text}; {many(drawn, 'photo')} drawn in {folder / 'pictures'}" if drawn else f"predict: {text}")

    def _write_next(self, folder: Path, found: Sequence[FoundFace]) -> None:
        new = [face for face in found if face.file is None or face.file.resolve() not in self._labelled]
        chosen = []
        if new:
            shifts, confidence = (np.array([getattr(one, key) for one in new]) for key in ("flip_shift", "confidence"))
            images, photos = np.stack([face.grey for face in new]), [face.picture for face in new]
            chosen = label_next(photos, confidence, shifts, images, self.label_next)
        else:
            note("label_next: all photos are labelled already")
        write_next(folder / "label_next.csv", new, chosen, self._sets[0].scheme)


def _paths(file: str) -> frozenset[Path]:
    """Return the real paths that a text file lists; ConfigError if it cannot be read."""
    try:
        lines = Path(file).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"labelled: {file} cannot be read ({reason_of(error)}); expected a path of a photo a line"
        ) from None
    return frozenset(Path(line).resolve() for line in lines if line.strip())
