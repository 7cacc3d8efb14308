"""Base of data modules that evaluate: on pairs of faces, or on single ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import lightning as L
import torch
from torch.utils.data import DataLoader

from dife_lightning.utils.checks import require

#: ``val`` for model selection, ``test`` for results.
Split = Literal["val", "test"]


class EvaluationSet(Protocol):
    """What an evaluation scores as one: it has a loader, in list order."""

    def loader(self, batch_size: int, num_workers: int = 0, pin_memory: bool = False) -> DataLoader[Any]:
        """Return the loader of the set."""


AnySet = TypeVar("AnySet", bound=EvaluationSet)


class EvaluationDataModule(L.LightningDataModule, Generic[AnySet]):
    """Serves validation and test sets, each by a loader of its own; a subclass makes them.

    As the ``evaluation`` of a data module to train on, it gives the validation loaders of a fit.

    Args:
        batch_size: items in a batch.
        num_workers: loader processes.

    Raises:
        ConfigError: an option out of its range.
    """

    def __init__(self, batch_size: int = 32, num_workers: int = 0) -> None:
        super().__init__()
        require(at_least=1, batch_size=batch_size)
        require(at_least=0, num_workers=num_workers)
        self.batch_size, self.num_workers = batch_size, num_workers
        self.val_sets: list[AnySet] = []
        self.test_sets: list[AnySet] = []

    def setup(self, stage: str) -> None:
        """Make the sets that ``stage`` needs."""
        if stage in ("fit", "validate") and not self.val_sets:
            self.val_sets = self._make_sets("val")
        if stage in ("test", "predict") and not self.test_sets:
            self.test_sets = self._make_sets("test")

    def _make_sets(self, split: Split) -> list[AnySet]:
        raise NotImplementedError

    def list_hashes(self) -> Mapping[str, Mapping[str, str]]:
        """Return ``{"val": {set: hash}, "test": {...}}`` without rendering or reading an image."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Return what a result must record of the data besides its lists, as plain values."""
        return {}

    def save_lists(self, folder: str | Path) -> None:
        """Write the test lists to ``folder``, unless the settings alone determine them."""

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """One loader per validation set."""
        return self._loaders(self.val_sets)

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """One loader per test set."""
        return self._loaders(self.test_sets)

    predict_dataloader = test_dataloader

    def _loaders(self, sets: Sequence[AnySet]) -> list[DataLoader[Any]]:
        pin = torch.cuda.is_available()
        return [one.loader(self.batch_size, self.num_workers, pin) for one in sets]
