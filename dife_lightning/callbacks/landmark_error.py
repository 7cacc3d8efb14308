"""Scores landmark models on single faces in validation and test, and writes the results of a test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import lightning as L
import torch
from torch import Tensor

from dife_lightning.callbacks._collect import evaluation_folder, evaluation_of, method_facts, takes_pictures
from dife_lightning.callbacks._detections import FaceCollector, FoundFaces, detected, face_collectors
from dife_lightning.callbacks._nme_rows import group_names, joined_errors, landmark_rows, print_landmark_scores
from dife_lightning.data.face_sets import FaceSetsDataModule
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import FaceBatch
from dife_lightning.metrics.landmark_error import flatten, landmark_error_scores
from dife_lightning.metrics.landmark_predictions import detection_rows, write_detections
from dife_lightning.metrics.nme_rules import Normalizer
from dife_lightning.registry import method_name
from dife_lightning.utils.checks import require
from dife_lightning.utils.files import write_json
from dife_lightning.utils.run_folder import PREDICTIONS, TEST_METRICS


class LandmarkError(L.Callback):
    """Log errors of landmarks on validation; write ``metrics.json``, ``predictions.csv`` and pictures on test.

    ``val/nme`` is the mean over the domains of their NME in percent; ``val/<domain>/...`` holds the other scores, and
    ``val/<group>/nme`` the NME over the faces of a group.

    Args:
        normalizer: what errors are divided by: ``box`` (if None), ``interocular`` or ``outer_corners``.
        published: use the rule of the published evaluation of the faces' scheme instead.
        out_dir: where a test writes; the command's folder if None.
        pictures: faces of each test set to draw; 0 for no pictures.
        val_pictures: faces of each validation set to draw; each validation replaces the pictures.
        resamples: bootstrap draws behind each confidence interval.
        seed: of the bootstrap.
        table: print the scores of a test.
        method: name in the results; the method's registered name if None.

    Raises:
        ConfigError: a number out of its range, or both a normaliser and ``published``.
    """

    def __init__(
        self,
        normalizer: Normalizer | None = None,
        published: bool = False,
        out_dir: str | None = None,
        pictures: int = 8,
        val_pictures: int = 4,
        resamples: int = 2000,
        seed: int = 0,
        table: bool = True,
        method: str | None = None,
    ) -> None:
        super().__init__()
        require(at_least=0, pictures=pictures, val_pictures=val_pictures)
        require(at_least=100, resamples=resamples)
        if published and normalizer is not None:
            raise ConfigError(f"published: true has its own normalizer, found '{normalizer}'; expected one of the two")
        self.normalizer, self.published = normalizer, published
        self.out_dir, self.pictures, self.val_pictures = out_dir, pictures, val_pictures
        self.resamples, self.seed, self.table, self.method = resamples, seed, table, method
        self._sets: list[FaceCollector] = []

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start with empty collectors."""
        self._sets = self._empty(trainer.val_dataloaders, self.val_pictures, pl_module)

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start with empty collectors."""
        self._sets = self._empty(trainer.test_dataloaders, self.pictures, pl_module)

    def _empty(self, loaders: Any, pictures: int, pl_module: L.LightningModule) -> list[FaceCollector]:
        return face_collectors(loaders, self.normalizer, self.published, pictures, pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: FaceBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Find the landmarks of the batch and collect them."""
        collector = self._sets[dataloader_idx]
        collector.add(batch, detected(trainer, pl_module, batch, collector.faces.scheme))

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the scores; draw the first faces."""
        gathered = [collector.gather() for collector in self._sets]
        pl_module.log_dict(_logged("val", gathered, full=True), sync_dist=True)
        pl_module.log("val/nme", _mean_nme(gathered), prog_bar=True, sync_dist=True)
        if not trainer.sanity_checking:
            self._draw(trainer, pl_module, gathered, "val")

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the scores; write results and pictures (the first process only)."""
        gathered = [collector.gather() for collector in self._sets]
        pl_module.log_dict(_logged("test", gathered, full=False), sync_dist=True)
        if trainer.is_global_zero:
            self._write(trainer, pl_module, gathered)
        self._draw(trainer, pl_module, gathered, "test")

    def _write(self, trainer: L.Trainer, pl_module: L.LightningModule, gathered: Sequence[FoundFaces]) -> None:
        folder = evaluation_folder(trainer, self.out_dir)
        drawn: dict[str, Any] = {"resamples": self.resamples, "seed": self.seed}
        rows = landmark_rows(gathered, self._sets[0].metric.rule, method=self._method(pl_module), **drawn)
        write_detections(folder / PREDICTIONS, (row for found in gathered for row in _points(found)))
        facts = self._circumstances(trainer, sorted({row["interval"] for row in rows}))
        write_json(folder / TEST_METRICS, {"rows": rows, **facts, **method_facts(pl_module)})
        data = evaluation_of(trainer, FaceSetsDataModule)
        if data is not None:
            data.save_lists(folder / "lists")
        if self.table:
            print_landmark_scores(rows, folder)

    def _method(self, pl_module: L.LightningModule) -> str:
        return self.method or method_name(type(pl_module)) or type(pl_module).__name__

    def _circumstances(self, trainer: L.Trainer, over: Sequence[str]) -> dict[str, Any]:
        """Return lists, switches and data, which are needed to compare the numbers with others."""
        data, faces = evaluation_of(trainer, FaceSetsDataModule), self._sets[0].faces
        tested = {"test": {collector.faces.domain: collector.faces.list_hash for collector in self._sets}}
        return {
            "lists": tested if data is None else data.list_hashes(),
            "switches": {
                "error_unit": "percent of the length of the face",
                "normalizer": "published" if self.published else self.normalizer or "box",
                "rule": asdict(self._sets[0].metric.rule),
                "image_size": faces.size,
                "scheme": faces.scheme.name,
                "points": list(faces.scheme.landmarks),
                "bootstrap": {"over": " or ".join(over), "resamples": self.resamples, "seed": self.seed},
            },
            "data": {} if data is None else data.describe(),
            "checkpoint": trainer.ckpt_path,
            "world_size": trainer.world_size,
        }

    def _draw(
        self, trainer: L.Trainer, pl_module: L.LightningModule, gathered: Sequence[FoundFaces], stage: str
    ) -> None:
        if not trainer.is_global_zero:
            return
        from dife_lightning.viz.detections import detection_sheet
        from dife_lightning.viz.sheet import pixels, save_figure, send_to_loggers

        folder = evaluation_folder(trainer, self.out_dir) / "pictures"
        at = f" after {trainer.global_step} steps" if trainer.global_step else ""
        for collector, found in zip(self._sets, gathered, strict=True):
            faces, examples = collector.faces, collector.examples(found)
            if not examples:
                continue
            note = f"{self._method(pl_module)}{at}, first faces of list '{faces.list_name}'; mean error of each face"
            heading = f"{faces.domain}, {faces.framing}"
            figure = detection_sheet(examples, faces.scheme.landmarks, heading=heading, note=note)
            save_figure(figure, folder / f"{stage}_{faces.name.replace('/', '_')}.png")
            if any(takes_pictures(logger) for logger in trainer.loggers):
                send_to_loggers(trainer.loggers, f"{stage}/{faces.domain}", pixels(figure), trainer.global_step)


def _mean_nme(gathered: Sequence[FoundFaces]) -> Tensor:
    """Return the mean over the domains of their NME."""
    means = [landmark_error_scores(f.errors, f.faces.scheme.landmarks, f.faces.name).nme for f in gathered]
    return torch.tensor(sum(means) / len(means))


def _logged(stage: str, gathered: Sequence[FoundFaces], *, full: bool) -> dict[str, Tensor]:
    """Return the scores of all sets by logged name, of each landmark only if ``full``; and the NME of groups."""
    flat: dict[str, float] = {}
    for found in gathered:
        scores = flatten(landmark_error_scores(found.errors, found.faces.scheme.landmarks, found.faces.name))
        keys = scores if full else ("nme", "failure_10")
        flat |= {f"{stage}/{found.faces.domain}/{key}": scores[key] for key in keys}
    for group in group_names(gathered):
        errors = joined_errors([found for found in gathered if group in found.faces.groups])
        flat[f"{stage}/{group}/nme"] = float(errors.nme[errors.scored].mean())
    return {key: torch.tensor(float(value)) for key, value in flat.items() if math.isfinite(value)}


def _points(found: FoundFaces) -> Any:
    """Yield the rows of ``predictions.csv`` of a set."""
    faces = found.faces
    known = faces.subjects or [""] * len(faces)
    subjects = [known[index] for index in found.records.index.tolist()]
    place, marks = (faces.domain, faces.list_name, faces.framing), faces.scheme.landmarks
    return detection_rows(found.records, found.errors, found.scores, found.names, found.crops, subjects, marks, place)
