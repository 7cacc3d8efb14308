"""Writes the landmarks that ``dife predict`` transferred, as COCO keypoints (JSON) and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L
from torch import Tensor

from dife_lightning.callbacks._collect import TransferCollector, collectors, evaluation_folder, matched
from dife_lightning.callbacks._predictions import Prediction, coco_document, give_pictures, write_overlays
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import PairBatch
from dife_lightning.faces.schemes import PROTOCOLS, get_protocol, layout_part
from dife_lightning.matching import Matches, MatchingOptions, Similarity
from dife_lightning.utils.files import atomic_write, write_json

COLUMNS = (
    *("pair_id", "pair", "list", "framing", "source", "target", "file_name", "width", "height"),
    *("landmark", "x", "y", "visible", "score"),
)


class PredictionWriter(L.Callback):
    """Write ``keypoints.json`` and ``keypoints.csv`` with the landmarks found in every target image.

    Coordinates are pixels of the original photo, not of the crop, with pixel centres at integers. The EXIF orientation
    is applied, to points as to ``width`` and ``height``. A render of the embedded world is its own original. A score is
    the cosine similarity of the embeddings of source and target point, in [-1, 1]; methods without an embedding have
    none.

    Args:
        similarity: ``dot`` or ``cosine``.
        subpixel: refine below a cell.
        protocol: landmark set to write; None for the 9-point one, or the 3-point one where pairs have no other.
        out_dir: where to write; the command's folder if None.
        overlays: also draw the landmarks on the original photos, one JPEG each, in the folder ``overlays``.
        window: side of the window of a soft-argmax, relative to the map's; 0 for the nearest neighbour.
    """

    def __init__(
        self,
        similarity: Similarity = "dot",
        subpixel: bool = False,
        protocol: str | None = None,
        out_dir: str | None = None,
        overlays: bool = False,
        window: float = 0.0,
    ) -> None:
        super().__init__()
        self.options = MatchingOptions(similarity, subpixel, window)
        self._asked, self.out_dir = None if protocol is None else get_protocol(protocol), out_dir
        self.protocol = self._asked or get_protocol("9-point")
        self.overlays = overlays
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
        if self.options != MatchingOptions():
            outputs = matched(trainer, pl_module, batch, self.options)
        found = Matches(outputs) if isinstance(outputs, Tensor) else Matches(*outputs)
        self._sets[dataloader_idx].add(batch, *found)

    def on_predict_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the files (the first process only)."""
        found = [prediction for collector in self._sets for prediction in self._predictions(collector)]
        if trainer.is_global_zero:
            folder, found = evaluation_folder(trainer, self.out_dir), give_pictures(found)
            write_json(folder / "keypoints.json", coco_document(found, self.protocol))
            self._write_csv(folder / "keypoints.csv", found)
            if self.overlays:
                write_overlays(found, self.protocol, folder / "overlays")

    def _predictions(self, collector: TransferCollector) -> list[Prediction]:
        """Return the predictions for one set; all processes must call this."""
        records, part = collector.metric.gather(), layout_part(self.protocol)
        names = collector.pair_ids(records)
        values = (records.predicted, records.visible, records.scores)
        rows = zip(records.index.tolist(), *(value[:, part].numpy() for value in values), strict=True)
        crops = {index: collector.target_crop(index) for index in names}
        return [
            Prediction(collector.pairs, index, names[index], crops[index], crops[index].picture_points(points), *rest)
            for index, points, *rest in rows
        ]

    def _write_csv(self, path: Path, found: Iterable[Prediction]) -> None:
        with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for one in found:
                pairs, picture = one.pairs, (one.picture, one.crop.width, one.crop.height)
                start = (one.pair_id, pairs.pair, pairs.list_name, pairs.framing, one.source, one.target, *picture)
                points = zip(one.points.tolist(), one.visible.tolist(), one.scores.tolist(), strict=True)
                for name, ((x, y), seen, score) in zip(self.protocol.landmarks, points, strict=True):
                    written = "" if score != score else f"{score:.4f}"  # NaN
                    writer.writerow((*start, name, f"{x:.4f}", f"{y:.4f}", int(seen), written))
