"""Writes what ``dife predict`` transferred, as COCO-style JSON and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L

from dife_lightning._version import __version__
from dife_lightning.callbacks._collect import TransferCollector, collectors, evaluation_folder, transferred
from dife_lightning.faces.batches import PairBatch
from dife_lightning.faces.schemes import LAYOUT, PROTOCOLS, get_protocol
from dife_lightning.matching import MatchingOptions, Similarity
from dife_lightning.metrics.keypoint_transfer import Records
from dife_lightning.utils.files import atomic_write, write_json

COLUMNS = ("pair_id", "pair", "list", "framing", "source", "target", "landmark", "x", "y", "visible")
#: COCO's visibility flags: 2 is visible; 1 is predicted for a point that the annotations do not show.
SEEN, UNSEEN = 2, 1

Gathered = tuple[TransferCollector, Records, dict[int, str]]


class PredictionWriter(L.Callback):
    """Write ``keypoints.json`` and ``keypoints.csv`` with the landmarks found in every target image.

    Coordinates are pixels of the target image with pixel centres at integers.

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
        """Start collecting anew."""
        wanted = [self._asked.name] if self._asked else list(PROTOCOLS)
        self._sets = collectors(trainer.predict_dataloaders, wanted, 0, pl_module.device)
        if self._asked is None:
            shared = [name for name in PROTOCOLS if all(name in c.pairs.protocols for c in self._sets)]
            self.protocol = get_protocol((shared or ["3-point"])[0])

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: PairBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect the transferred points; other matching options than the default ones need another transfer."""
        usual = self.options == MatchingOptions()
        points = outputs if usual else transferred(trainer, pl_module, batch, self.options)
        self._sets[dataloader_idx].add(batch, points)

    def on_predict_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write both files (the first process only)."""
        gathered = [(c, records, c.pair_ids(records)) for c in self._sets for records in [c.metric.gather()]]
        if trainer.is_global_zero:
            folder = evaluation_folder(trainer, self.out_dir)
            write_json(folder / "keypoints.json", self._coco(gathered))
            self._write_csv(folder / "keypoints.csv", gathered)

    def _coco(self, gathered: Sequence[Gathered]) -> dict[str, Any]:
        """Return the COCO key-point document; ids count from 1."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        part = LAYOUT[self.protocol.name]
        for collector, records, names in gathered:
            rows = zip(records.index.tolist(), records.predicted[:, part], records.visible[:, part], strict=True)
            for index, points, visible in rows:
                source, _, target = names[index].partition(">")
                number, side = len(images) + 1, collector.pairs.size
                images.append({"id": number, "file_name": target, "width": side, "height": side})
                flags = [SEEN if seen else UNSEEN for seen in visible.tolist()]
                flat = [value for point, flag in zip(points.tolist(), flags, strict=True) for value in (*point, flag)]
                annotations.append(
                    {
                        "id": number,
                        "image_id": number,
                        "category_id": 1,
                        "keypoints": flat,
                        "num_keypoints": len(flags),
                        "source": source,
                        "set": collector.pairs.name,
                    }
                )
        stored = any(c.pairs.eye_order == "stored" for c, _, _ in gathered)
        return {
            "info": _INFO | (_STORED if stored else {}),
            "images": images,
            "annotations": annotations,
            "categories": [self._category()],
        }

    def _category(self) -> dict[str, Any]:
        return {"id": 1, "name": "face", "supercategory": "face", "keypoints": list(self.protocol.landmarks)}

    def _write_csv(self, path: Path, gathered: Sequence[Gathered]) -> None:
        part, landmarks = LAYOUT[self.protocol.name], self.protocol.landmarks
        with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for collector, records, names in gathered:
                pairs = collector.pairs
                rows = zip(records.index.tolist(), records.predicted[:, part], records.visible[:, part], strict=True)
                for index, points, visible in rows:
                    source, _, target = names[index].partition(">")
                    start = (names[index], pairs.pair, pairs.list_name, pairs.framing, source, target)
                    for name, (x, y), seen in zip(landmarks, points.tolist(), visible.tolist(), strict=True):
                        writer.writerow((*start, name, f"{x:.4f}", f"{y:.4f}", int(seen)))


_INFO = {
    "description": f"landmarks transferred by dife-lightning {__version__}",
    "coordinates": "x, y in pixels of the image, pixel centres at integers; left is the viewer's left",
    "visibility": "2: visible in source and target annotations; 1: predicted all the same",
}
_STORED = {"coordinates": "x, y in pixels of the image, pixel centres at integers; left as each data set stores it"}
