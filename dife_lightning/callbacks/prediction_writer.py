"""Writes the landmarks that ``dife predict`` transferred, as COCO keypoints (JSON) and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
from numpy.typing import NDArray

from dife_lightning._version import __version__
from dife_lightning.callbacks._collect import TransferCollector, collectors, evaluation_folder, transferred
from dife_lightning.data.pairs import KeypointPairs
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import PairBatch
from dife_lightning.faces.items import PictureCrop
from dife_lightning.faces.schemes import PROTOCOLS, get_protocol, layout_part
from dife_lightning.matching import MatchingOptions, Similarity
from dife_lightning.utils.files import atomic_write, write_json

COLUMNS = (
    *("pair_id", "pair", "list", "framing", "source", "target", "file_name", "width", "height"),
    *("landmark", "x", "y", "visible"),
)
#: COCO's visibility flags: 2 is visible; 1 is a predicted point that is not in the annotations.
SEEN, UNSEEN = 2, 1


class Prediction(NamedTuple):
    """Landmarks that were transferred to one target face.

    Attributes:
        pairs: the set of pairs.
        pair_id: ``source face>target face``.
        crop: the original picture, and the part of it that the target image shows.
        points: (P, 2) float64, x then y, pixels of the original picture.
        visible: (P,) bool: the annotations of source and target both show the landmark.
    """

    pairs: KeypointPairs
    pair_id: str
    crop: PictureCrop
    points: NDArray[np.float64]
    visible: NDArray[np.bool_]


class PredictionWriter(L.Callback):
    """Write ``keypoints.json`` and ``keypoints.csv`` with the landmarks found in every target image.

    Coordinates are pixels of the original photo, not of the crop, with pixel centres at integers. The EXIF orientation
    is applied, to points as to ``width`` and ``height``. A render of the embedded world is its own original.

    Args:
        similarity: ``dot`` or ``cosine``.
        subpixel: refine below a cell.
        protocol: landmark set to write; None for the 9-point one, or the 3-point one where pairs have no other.
        out_dir: where to write; the command's folder if None.
    """

    def __init__(
        self,
        similarity: Similarity = "dot",
        subpixel: bool = False,
        protocol: str | None = None,
        out_dir: str | None = None,
    ) -> None:
        super().__init__()
        self.options = MatchingOptions(similarity, subpixel)
        self._asked, self.out_dir = None if protocol is None else get_protocol(protocol), out_dir
        self.protocol = self._asked or get_protocol("9-point")
        self._sets: list[TransferCollector] = []

    def on_predict_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start with empty collectors."""
        wanted = [self._asked.name] if self._asked else list(PROTOCOLS)
        self._sets = collectors(trainer.predict_dataloaders, wanted, 0, pl_module.device)
        own = self._sets[0].pairs.own
        if self._asked is not None and own is not None:
            found = f"the pairs have the landmarks {', '.join(own.landmarks)}, not those of {self._asked.name}"
            raise ConfigError(f"{found}; leave out the protocol of the callback")
        if self._asked is None:
            shared = [name for name in PROTOCOLS if all(name in c.pairs.protocols for c in self._sets)]
            self.protocol = own or get_protocol((shared or ["3-point"])[0])

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: PairBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect the transferred points; with other matching options than the defaults, transfer again."""
        usual = self.options == MatchingOptions()
        points = outputs if usual else transferred(trainer, pl_module, batch, self.options)
        self._sets[dataloader_idx].add(batch, points)

    def on_predict_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write both files (the first process only)."""
        found = [prediction for collector in self._sets for prediction in self._predictions(collector)]
        if trainer.is_global_zero:
            folder = evaluation_folder(trainer, self.out_dir)
            write_json(folder / "keypoints.json", self._coco(found))
            self._write_csv(folder / "keypoints.csv", found)

    def _predictions(self, collector: TransferCollector) -> list[Prediction]:
        """Return the predictions for one set; all processes must call this."""
        records, part = collector.metric.gather(), layout_part(self.protocol)
        names = collector.pair_ids(records)
        rows = zip(
            records.index.tolist(), records.predicted[:, part].numpy(), records.visible[:, part].numpy(), strict=True
        )
        crops = {index: collector.target_crop(index) for index in names}
        return [
            Prediction(collector.pairs, names[index], crops[index], crops[index].picture_points(points), visible)
            for index, points, visible in rows
        ]

    def _coco(self, found: Sequence[Prediction]) -> dict[str, Any]:
        """Return the COCO keypoint document, with one image entry per prediction; ids count from 1."""
        stored = any(prediction.pairs.eye_order == "stored" for prediction in found)
        category = {"id": 1, "name": "face", "supercategory": "face", "keypoints": list(self.protocol.landmarks)}
        return {
            "info": {**_INFO, "coordinates": f"{_PIXELS}; left {'as each data set stores it' if stored else _VIEWER}"},
            "images": [
                {"id": number, "file_name": crop.file_name, "width": crop.width, "height": crop.height}
                for number, (_, _, crop, _, _) in enumerate(found, 1)
            ],
            "annotations": [_annotation(number, prediction) for number, prediction in enumerate(found, 1)],
            "categories": [category],
        }

    def _write_csv(self, path: Path, found: Iterable[Prediction]) -> None:
        with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for pairs, pair_id, crop, points, visible in found:
                source, _, target = pair_id.partition(">")
                picture = (crop.file_name, crop.width, crop.height)
                start = (pair_id, pairs.pair, pairs.list_name, pairs.framing, source, target, *picture)
                for name, (x, y), seen in zip(self.protocol.landmarks, points.tolist(), visible.tolist(), strict=True):
                    writer.writerow((*start, name, f"{x:.4f}", f"{y:.4f}", int(seen)))


def _annotation(number: int, prediction: Prediction) -> dict[str, Any]:
    """Return one COCO annotation; ``face`` and ``source`` are the names of the target and of the source face."""
    source, _, target = prediction.pair_id.partition(">")
    flags = [SEEN if seen else UNSEEN for seen in prediction.visible.tolist()]
    keypoints = [
        value for point, flag in zip(prediction.points.tolist(), flags, strict=True) for value in (*point, flag)
    ]
    return {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "keypoints": keypoints,
        "num_keypoints": len(flags),
        "face": target,
        "source": source,
        "set": prediction.pairs.name,
    }


_INFO = {
    "description": f"landmarks transferred by dife-lightning {__version__}",
    "coordinates": "",
    "visibility": "2: visible in source and target annotations; 1: predicted all the same",
}
_PIXELS = "x, y in pixels of the original image (EXIF applied), pixel centres at integers"
_VIEWER = "is the viewer's left"
