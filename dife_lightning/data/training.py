"""What data modules for training share: an endless stream, where it starts, and the pairs for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

from lightning import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dife_lightning.utils.accumulation import batches_accumulated

T_co = TypeVar("T_co", covariant=True)


class StreamStart(NamedTuple):
    """Start of a stream: number of its first batch, rank of this process, number of processes."""

    first_batch: int = 0
    rank: int = 0
    world_size: int = 1


class EndlessBatches(IterableDataset[T_co]):
    """Base of streams whose batches are functions of their number.

    Batch k of rank r has the positions from ``(k * world_size + r) * count`` on. Worker j of J yields the batches with
    ``k % J == j``, so the DataLoader returns them in order for any J.

    Args:
        start: first batch, rank and number of processes.
    """

    def __init__(self, start: StreamStart = StreamStart()) -> None:  # noqa: B008 - immutable
        self.first_batch, self.rank, self.world_size = start

    def batch(self, number: int) -> T_co:
        """Return batch ``number`` of this rank."""
        raise NotImplementedError

    def positions(self, number: int, count: int) -> range:
        """Return the positions of batch ``number`` of this rank, each batch having ``count``."""
        first = (number * self.world_size + self.rank) * count
        return range(first, first + count)

    def __iter__(self) -> Iterator[T_co]:
        """Yield this worker's batches, endlessly."""
        worker = get_worker_info()
        step, offset = (1, 0) if worker is None else (worker.num_workers, worker.id)
        number = self.first_batch + offset
        while True:
            yield self.batch(number)
            number += step


class TrainingDataModule(LightningDataModule):
    """Base of data modules to train on; validation, test and predict pairs come from another data module.

    Args:
        evaluation: data module of keypoint pairs; None for none.
    """

    def __init__(self, evaluation: LightningDataModule | None = None) -> None:
        super().__init__()
        self.evaluation = evaluation

    def prepare_data(self) -> None:
        """Prepare the files of the evaluation, once per node."""
        if self.evaluation is not None:
            self.evaluation.trainer = self.trainer
            self.evaluation.prepare_data()

    def setup(self, stage: str) -> None:
        """Set up the evaluation pairs."""
        if self.evaluation is not None:
            self.evaluation.trainer = self.trainer
            self.evaluation.setup(stage)

    def stream_start(self) -> StreamStart:
        """Return the start of a stream that continues at the trainer's current batch."""
        trainer = self.trainer
        if trainer is None:
            return StreamStart()
        done = trainer.global_step * trainer.accumulate_grad_batches + batches_accumulated(trainer)
        return StreamStart(done, trainer.global_rank, trainer.world_size)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """The evaluation's validation loaders."""
        return [] if self.evaluation is None else self.evaluation.val_dataloader()

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """The evaluation's test loaders."""
        return [] if self.evaluation is None else self.evaluation.test_dataloader()

    def predict_dataloader(self) -> list[DataLoader[Any]]:
        """The evaluation's predict loaders."""
        return [] if self.evaluation is None else self.evaluation.predict_dataloader()
