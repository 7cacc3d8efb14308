"""What data modules to train on share: an endless stream, its place in a run, and the pairs that evaluate it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

from lightning import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dife_lightning.utils.accumulation import batches_accumulated

T_co = TypeVar("T_co", covariant=True)


class Place(NamedTuple):
    """Where a stream starts: number of its first batch, rank of this process, number of processes."""

    first_batch: int = 0
    rank: int = 0
    world_size: int = 1


class EndlessBatches(IterableDataset[T_co]):
    """Base of streams whose batches are functions of their number.

    Batch k of rank r covers the positions ``(k * world_size + r) * count ...``; worker j of J hands out the batches
    with ``k % J == j``, so that the DataLoader returns them in order whatever J is.

    Args:
        first_batch: number of the first batch, to go on after an interruption.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(self, first_batch: int = 0, rank: int = 0, world_size: int = 1) -> None:
        self.first_batch, self.rank, self.world_size = first_batch, rank, world_size

    def batch(self, number: int) -> T_co:
        """Return batch ``number`` of this rank."""
        raise NotImplementedError

    def positions(self, number: int, count: int) -> range:
        """Return the positions of batch ``number`` of this rank, each batch having ``count``."""
        first = (number * self.world_size + self.rank) * count
        return range(first, first + count)

    def __iter__(self) -> Iterator[T_co]:
        """Yield this worker's batches, for ever."""
        worker = get_worker_info()
        step, offset = (1, 0) if worker is None else (worker.num_workers, worker.id)
        number = self.first_batch + offset
        while True:
            yield self.batch(number)
            number += step


class TrainingDataModule(LightningDataModule):
    """Base of data modules to train on; validation, test and predict pairs come from another data module.

    Args:
        evaluation: data module of key-point pairs; None trains without.
    """

    def __init__(self, evaluation: LightningDataModule | None = None) -> None:
        super().__init__()
        self.evaluation = evaluation

    def prepare_data(self) -> None:
        """Let the evaluation prepare its files once per node."""
        if self.evaluation is not None:
            self.evaluation.trainer = self.trainer
            self.evaluation.prepare_data()

    def setup(self, stage: str) -> None:
        """Set up the evaluation pairs."""
        if self.evaluation is not None:
            self.evaluation.trainer = self.trainer
            self.evaluation.setup(stage)

    def place(self) -> Place:
        """Return where a stream starts that goes on from the batch at which the trainer stands."""
        trainer = self.trainer
        if trainer is None:
            return Place()
        done = trainer.global_step * trainer.accumulate_grad_batches + batches_accumulated(trainer)
        return Place(done, trainer.global_rank, trainer.world_size)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """The evaluation's validation loaders."""
        return [] if self.evaluation is None else self.evaluation.val_dataloader()

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """The evaluation's test loaders."""
        return [] if self.evaluation is None else self.evaluation.test_dataloader()

    def predict_dataloader(self) -> list[DataLoader[Any]]:
        """The evaluation's predict loaders."""
        return [] if self.evaluation is None else self.evaluation.predict_dataloader()
