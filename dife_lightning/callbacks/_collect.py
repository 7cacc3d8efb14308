"""Shared by the evaluation callbacks: transfer of points, their collection, and the folder of the results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from dife_lightning.data.pairs import KeypointPairs, PairsDataModule, pairs_of
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import PairBatch
from dife_lightning.faces.items import PictureCrop
from dife_lightning.faces.schemes import Protocol, layout_part
from dife_lightning.matching import Matches, MatchingOptions
from dife_lightning.metrics.keypoint_transfer import KeypointTransferMetric, Records, pixel_errors
from dife_lightning.utils.run_folder import TESTS
from dife_lightning.viz.transfer import TransferExample

DataModule = TypeVar("DataModule", bound=L.LightningDataModule)


class TransferCollector:
    """Collects the points transferred for one set, and its first pairs for a picture.

    Args:
        pairs: the set.
        protocols: landmark sets that the metric reports, if the set has them.
        pictures: how many pairs to keep for drawing.
        device: where the points are.
    """

    def __init__(self, pairs: KeypointPairs, protocols: Sequence[str], pictures: int, device: torch.device) -> None:
        self.pairs, self._pictures = pairs, pictures
        self.metric = KeypointTransferMetric(pairs.served(protocols), name=pairs.name).to(device)
        self._names: dict[int, str] = {}
        self._crops: dict[int, PictureCrop] = {}
        self._kept: list[tuple[int, Tensor]] = []

    def add(self, batch: PairBatch, predicted: Tensor, scores: Tensor | None = None) -> None:
        """Add a batch, the (B, P, 2) points that a method transferred, and their (B, P) scores if it has any."""
        side = predicted.new_full((len(batch),), batch.target_image.shape[-1], dtype=torch.float32)
        self.metric.update(batch.index, predicted, batch.target_points, batch.visible, side, scores)
        numbers = batch.index.tolist()
        self._names.update(zip(numbers, batch.pair_id, strict=True))
        self._crops.update(zip(numbers, batch.target_crops, strict=False))
        room = max(0, self._pictures - len(self._kept))
        self._kept.extend(zip(numbers[:room], predicted[:room].cpu(), strict=True))

    def pair_ids(self, records: Records) -> dict[int, str]:
        """Return pair number -> name for all records, including those of other processes."""
        return {i: self._names.get(i) or self.pairs[i].pair_id for i in records.index.tolist()}

    def target_crop(self, index: int) -> PictureCrop:
        """Return the crop of the target image of pair ``index``, which another process may have evaluated."""
        return self._crops.get(index) or self.pairs[index].target_crop

    def examples(self, protocol: Protocol) -> list[TransferExample]:
        """Return the kept pairs with the landmarks of ``protocol``."""
        part = layout_part(protocol)
        return [self._example(index, predicted[part], part) for index, predicted in self._kept]

    def _example(self, index: int, predicted: Tensor, part: slice) -> TransferExample:
        pair = self.pairs[index]
        truth, visible = pair.target_points[part], pair.visible[part]
        errors = pixel_errors(
            predicted[None], torch.from_numpy(truth)[None], torch.tensor([pair.target_image.shape[0]])
        )
        return TransferExample(
            source_image=pair.source_image,
            target_image=pair.target_image,
            source_points=pair.source_points[part],
            target_points=truth,
            predicted=predicted.float().numpy(),
            visible=visible,
            error=float(errors[0].numpy()[visible].mean()) if visible.any() else float(np.nan),
            label=" → ".join(self.pairs.pair.split("+")),
        )


def collectors(loaders: Any, protocols: Sequence[str], pictures: int, device: torch.device) -> list[TransferCollector]:
    """Return an empty collector for each of a trainer's loaders."""
    several = loaders if isinstance(loaders, list | tuple) else [loaders]
    sets = [pairs_of(loader) for loader in several]
    for pairs in sets:
        if not pairs.served(protocols):
            raise ConfigError(
                f"the pairs of '{pairs.name}' have {', '.join(pairs.protocols)} landmarks, not {', '.join(protocols)}; "
                "set the protocols of the callback accordingly"
            )
    return [TransferCollector(pairs, protocols, pictures, device) for pairs in sets]


def evaluation_data(trainer: L.Trainer) -> PairsDataModule | None:
    """Return the data module of the pairs: the trainer's own, or the ``evaluation`` of a training stream."""
    return evaluation_of(trainer, PairsDataModule)


def evaluation_of(trainer: L.Trainer, kind: type[DataModule]) -> DataModule | None:
    """Return the data module of a kind: the trainer's own, or the ``evaluation`` of what it trains on."""
    module = trainer.datamodule  # type: ignore[attr-defined]
    candidates = (module, getattr(module, "evaluation", None))
    return next((found for found in candidates if isinstance(found, kind)), None)


def method_facts(pl_module: L.LightningModule) -> dict[str, Any]:
    """Return what a method records of itself, if it does: its ``facts``, as plain values."""
    facts = getattr(pl_module, "facts", None)
    return {"method_facts": facts} if facts else {}


def takes_pictures(logger: Any) -> bool:
    """Return whether a logger accepts pictures."""
    return callable(getattr(logger, "log_image", None)) or hasattr(getattr(logger, "experiment", None), "add_image")


def transferred(
    trainer: L.Trainer, pl_module: L.LightningModule, batch: PairBatch, matching: MatchingOptions
) -> Tensor:
    """Return the points (B, P, 2) that a method transfers, computed in the trainer's precision.

    Raises:
        ConfigError: the method transfers no points.
    """
    transfer_batch = getattr(pl_module, "transfer_batch", None)
    if transfer_batch is None:
        raise ConfigError(f"{type(pl_module).__name__} transfers no points, so keypoint transfer cannot score it")
    with trainer.precision_plugin.forward_context():
        points = transfer_batch(batch, matching)
    if not isinstance(points, Tensor):
        raise ConfigError(
            f"transfer_batch of {type(pl_module).__name__} returned {type(points).__name__}: expected a "
            "(B, P, 2) tensor"
        )
    return points


def matched(trainer: L.Trainer, pl_module: L.LightningModule, batch: PairBatch, matching: MatchingOptions) -> Matches:
    """Return points and scores, computed in the trainer's precision; raises what :func:`transferred` does."""
    match_batch = getattr(pl_module, "match_batch", None)
    if match_batch is None:
        return Matches(transferred(trainer, pl_module, batch, matching))
    with trainer.precision_plugin.forward_context():
        found: Matches = match_batch(batch, matching)
    return found


def evaluation_folder(trainer: L.Trainer, out_dir: str | None) -> Path:
    """Return the folder for results: ``out_dir``, else the command's folder; while fitting ``eval`` in it."""
    if out_dir:
        return Path(os.path.expanduser(out_dir))
    root = Path(trainer.default_root_dir)
    return root / TESTS if trainer.state.fn == TrainerFn.FITTING else root
