"""Scores landmark transfer in validation and test, and writes the results of a test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from dife_lightning.callbacks._collect import (
    TransferCollector,
    collectors,
    evaluation_data,
    evaluation_folder,
    method_facts,
    takes_pictures,
    transferred,
)
from dife_lightning.callbacks._score_table import print_scores
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import PairBatch
from dife_lightning.faces.schemes import Protocol, get_protocol, layout_part
from dife_lightning.matching import MatchingOptions, Similarity
from dife_lightning.metrics.bootstrap import Units, bootstrap_ci, interval_over
from dife_lightning.metrics.keypoint_transfer import ERROR_SIDE, Records, flatten, pixel_errors, score_records
from dife_lightning.metrics.predictions import prediction_rows, write_predictions
from dife_lightning.registry import method_name
from dife_lightning.utils.files import write_json
from dife_lightning.utils.run_folder import PREDICTIONS, TEST_METRICS


class KeypointTransfer(L.Callback):
    """Log pixel errors on validation; write ``metrics.json``, ``predictions.csv`` and pictures on test.

    ``val/pixel_error`` is the mean error over the kinds of pair, on the first protocol (9-point) and with jittered
    framing where there is one; ``val/<pair>/<framing>/<protocol>/...`` holds the other scores.

    Args:
        similarity: ``dot`` (the paper's) or ``cosine``.
        subpixel: refine below a cell (ours; see :func:`~dife_lightning.matching.transfer`).
        protocols: landmark sets to report; the first one decides. Pairs of ``protocol: common`` have their own.
        out_dir: where a test writes; the command's folder if None.
        pictures: pairs of each test set to draw; 0 for no pictures.
        val_pictures: pairs of each validation set to draw; each validation replaces the pictures.
        resamples: bootstrap draws behind each confidence interval.
        seed: of the bootstrap.
        table: print the scores of a test.
        method: name in the results; the method's registered name if None.
        window: side of the window of a soft-argmax, relative to the map's; 0 for the nearest neighbour (likewise ours).
    """

    def __init__(
        self,
        similarity: Similarity = "dot",
        subpixel: bool = False,
        protocols: Sequence[str] = ("9-point", "3-point"),
        out_dir: str | None = None,
        pictures: int = 8,
        val_pictures: int = 4,
        resamples: int = 2000,
        seed: int = 0,
        table: bool = True,
        method: str | None = None,
        window: float = 0.0,
    ) -> None:
        super().__init__()
        self.options = MatchingOptions(similarity, subpixel, window)
        self.protocols = tuple(get_protocol(name).name for name in protocols)
        if not self.protocols or min(pictures, val_pictures) < 0 or resamples < 100:
            found = f"protocols {list(protocols)}, pictures {pictures}, {val_pictures}, resamples {resamples}"
            raise ConfigError(f"{found}: expected one protocol or more, pictures >= 0, resamples >= 100")
        self.out_dir, self.pictures, self.val_pictures = out_dir, pictures, val_pictures
        self.resamples, self.seed, self.method, self.table = resamples, seed, method, table
        self._sets: list[TransferCollector] = []

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start with empty collectors."""
        self._sets = collectors(trainer.val_dataloaders, self.protocols, self.val_pictures, pl_module.device)

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start with empty collectors."""
        self._sets = collectors(trainer.test_dataloaders, self.protocols, self.pictures, pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: PairBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Transfer the batch and collect the points."""
        self._sets[dataloader_idx].add(batch, transferred(trainer, pl_module, batch, self.options))

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the scores; draw the first pairs."""
        gathered = [collector.metric.gather() for collector in self._sets]
        pl_module.log_dict(self._logged("val", gathered, full=True), sync_dist=True)
        pl_module.log("val/pixel_error", self._headline(gathered), prog_bar=True, sync_dist=True)
        if not trainer.sanity_checking:
            self._draw(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the scores; write results and pictures (the first process only)."""
        gathered = [collector.metric.gather() for collector in self._sets]
        names = [collector.pair_ids(records) for collector, records in zip(self._sets, gathered, strict=True)]
        pl_module.log_dict(self._logged("test", gathered, full=False), sync_dist=True)
        if trainer.is_global_zero:
            self._write(trainer, pl_module, gathered, names)
        self._draw(trainer, pl_module, "test")

    def _protocols(self, collector: TransferCollector) -> list[Protocol]:
        return collector.pairs.served(self.protocols)

    def _logged(self, stage: str, gathered: Sequence[Records], *, full: bool) -> dict[str, Tensor]:
        """Return the scores of all sets by logged name; per-landmark ones only if ``full``."""
        flat = {}
        for collector, records in zip(self._sets, gathered, strict=True):
            for protocol in self._protocols(collector):
                scores = flatten(score_records(records, protocol, collector.pairs.name))
                keys = scores if full else ("pixel_error", "swap_rate")
                prefix = f"{_log_name(stage, collector)}/{protocol.name}"
                finite = (key for key in keys if math.isfinite(scores[key]))
                flat.update({f"{prefix}/{key}": torch.tensor(scores[key]) for key in finite})
        return flat

    def _headline(self, gathered: Sequence[Records]) -> Tensor:
        """Return the mean error of the first protocol over the jittered sets, or over all sets if none is jittered."""
        sets = list(zip(self._sets, gathered, strict=True))
        chosen = [pair for pair in sets if pair[0].pairs.framing == "jittered"] or sets
        errors = [score_records(r, self._protocols(c)[0], c.pairs.name).pixel_error for c, r in chosen]
        return torch.tensor(sum(errors) / len(errors))

    def _write(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        gathered: Sequence[Records],
        pair_ids: Sequence[dict[int, str]],
    ) -> None:
        folder, method = evaluation_folder(trainer, self.out_dir), self._method(pl_module)
        rows: list[dict[str, Any]] = []
        points: list[Any] = []
        for one, records, ids in zip(self._sets, gathered, pair_ids, strict=True):
            protocols = self._protocols(one)
            rows += [self._row(one, records, protocol, method) for protocol in protocols]
            names = one.pairs.pair, one.pairs.list_name, one.pairs.framing
            points += prediction_rows(records, ids, *names, protocols, one.pairs.units)
        write_predictions(folder / PREDICTIONS, points)
        over = " or ".join(sorted({row["interval"] for row in rows}))
        write_json(
            folder / TEST_METRICS, {"rows": rows, **self._circumstances(trainer, over), **method_facts(pl_module)}
        )
        data = evaluation_data(trainer)
        if data is not None:
            data.save_lists(folder / "lists")
        if self.table:
            print_scores(rows, folder)

    def _method(self, pl_module: L.LightningModule) -> str:
        return self.method or method_name(type(pl_module)) or type(pl_module).__name__

    def _row(self, collector: TransferCollector, records: Records, protocol: Protocol, method: str) -> dict[str, Any]:
        """Return one row of ``metrics.json``."""
        pairs, part = collector.pairs, layout_part(protocol)
        scores = asdict(score_records(records, protocol, pairs.name))
        errors = pixel_errors(records.predicted[:, part], records.truth[:, part], records.side)
        visible = records.visible[:, part].cpu().numpy()
        units = _units(collector, records)
        drawn: dict[str, Any] = {"resamples": self.resamples, "seed": self.seed, "units": units}
        ci95 = bootstrap_ci(errors.cpu().numpy(), visible, **drawn)
        return {
            "method": method,
            "pair": pairs.pair,
            "protocol": protocol.name,
            "framing": pairs.framing,
            "list": pairs.list_name,
            "list_hash": pairs.list_hash,
            "pixel_error": scores.pop("pixel_error"),
            "ci95": list(ci95),
            "interval": interval_over(units),
            "pairs": len(records.index),
            **scores.pop("pck"),
            **scores,
        }

    def _circumstances(self, trainer: L.Trainer, over: str) -> dict[str, Any]:
        """Return lists, switches and data, which are needed to compare the numbers with others.

        ``over`` is what the intervals are over.
        """
        data, stored = evaluation_data(trainer), any(c.pairs.eye_order == "stored" for c in self._sets)
        tested = {"test": {collector.pairs.name: collector.pairs.list_hash for collector in self._sets}}
        return {
            "lists": tested if data is None else data.list_hashes(),
            "switches": {
                **asdict(self.options),
                "error_unit": f"pixels of a crop scaled to {ERROR_SIDE} px",
                "image_size": self._sets[0].pairs.size,
                "eye_convention": "left as each data set stores it" if stored else "left is the viewer's left",
                "eye_order": "stored" if stored else "viewer",
                "schemes": sorted({scheme.name for c in self._sets for scheme in c.pairs.schemes}),
                "pck": "share of visible points within 0.05 or 0.10 of the image side (pck_image) or of the larger of "
                "width and height of the target's visible true landmarks (pck_face)",
                "bootstrap": {"over": over, "resamples": self.resamples, "seed": self.seed},
            },
            "data": {} if data is None else data.describe(),
            "checkpoint": trainer.ckpt_path,
            "world_size": trainer.world_size,
        }

    def _draw(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if not trainer.is_global_zero:
            return
        from dife_lightning.viz.sheet import pixels, save_figure, send_to_loggers
        from dife_lightning.viz.transfer import transfer_sheet

        folder = evaluation_folder(trainer, self.out_dir) / "pictures"
        for collector in self._sets:
            protocol = self._protocols(collector)[0]
            examples = collector.examples(protocol)
            if not examples:
                continue
            figure = transfer_sheet(
                examples,
                protocol.landmarks,
                heading=f"{collector.pairs.pair}, {collector.pairs.framing}",
                note=self._note(collector, trainer, pl_module),
            )
            save_figure(figure, folder / f"{stage}_{collector.pairs.name.replace('/', '_')}.png")
            if any(takes_pictures(logger) for logger in trainer.loggers):
                send_to_loggers(trainer.loggers, _log_name(stage, collector), pixels(figure), trainer.global_step)

    def _note(self, collector: TransferCollector, trainer: L.Trainer, pl_module: L.LightningModule) -> str:
        at = f" after {trainer.global_step} steps" if trainer.global_step else ""
        matching = self.options.similarity + (", sub-pixel" if self.options.subpixel else "")
        matching += f", window {self.options.window:g}" if self.options.window else ""
        matching += ", eyes in stored order" if collector.pairs.eye_order == "stored" else ""
        which = f"first pairs of list '{collector.pairs.list_name}'"
        return f"{self._method(pl_module)}{at}, {matching}, {which}; errors in px of a 70-px crop"


def _units(collector: TransferCollector, records: Records) -> Units | None:
    """Return the units (N, 2) of the pairs of ``records``; None where no face can be in several pairs."""
    units = collector.pairs.units
    return None if units is None else np.array([units[index] for index in records.index.tolist()])


def _log_name(stage: str, collector: TransferCollector) -> str:
    pairs = collector.pairs
    return f"val/{pairs.pair}/{pairs.framing}" if stage == "val" else f"{stage}/{pairs.name}"
