"""What data modules to train on share: the evaluation that they carry along, and the order of their streams."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from lightning import LightningDataModule

from dife_lightning.data.stream import StyleGAN2Stream
from dife_lightning.data.training import EndlessBatches, StreamStart
from dife_lightning.data.world.clicks import WorldClicks
from dife_lightning.data.world.renders import WorldRenders

Make = Callable[[LightningDataModule | None], Any]
MODULES: dict[str, Make] = {
    "stream": lambda evaluation: StyleGAN2Stream({"dog": "world/dog"}, evaluation),
    "renders": lambda evaluation: WorldRenders(["dog"], evaluation=evaluation, cache=False),
    "clicks": lambda evaluation: WorldClicks({"dog": 1}, evaluation=evaluation),
}
every_module = pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)


class Evaluation(LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        self.met: list[tuple[str, Any]] = []

    def prepare_data(self) -> None:
        self.met.append(("prepare", self.trainer))

    def setup(self, stage: str) -> None:
        self.met.append((stage, self.trainer))

    def val_dataloader(self) -> Any:
        return ["val"]

    def test_dataloader(self) -> Any:
        return ["test"]

    def predict_dataloader(self) -> Any:
        return ["predict"]


@every_module
def test_the_evaluation_knows_the_trainer_and_its_loaders_are_handed_through(make: Make) -> None:
    evaluation, trainer = Evaluation(), SimpleNamespace(world_size=1)
    data = make(evaluation)
    data.trainer = trainer
    data.prepare_data()
    data.setup("predict")
    assert evaluation.met == [("prepare", trainer), ("predict", trainer)]
    assert (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()) == (
        ["val"],
        ["test"],
        ["predict"],
    )


@every_module
def test_without_an_evaluation_there_is_nothing_to_load(make: Make) -> None:
    data = make(None)
    data.prepare_data()
    data.setup("test")
    assert (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()) == ([], [], [])


def test_a_stream_starts_where_the_trainer_stands() -> None:
    data = MODULES["stream"](None)
    assert data.stream_start() == StreamStart(first_batch=0, rank=0, world_size=1)
    trainer = SimpleNamespace(global_step=5, accumulate_grad_batches=3, global_rank=1, world_size=4)
    progress = SimpleNamespace(is_last_batch=False, current=SimpleNamespace(processed=15))
    trainer.fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    data.trainer = trainer
    assert data.stream_start() == StreamStart(first_batch=15, rank=1, world_size=4)
    progress.current.processed = 17  # two batches of the next step have been seen
    assert data.stream_start() == StreamStart(first_batch=17, rank=1, world_size=4)


class Positions(EndlessBatches[list[int]]):
    def batch(self, number: int) -> list[int]:
        return list(self.positions(number, 2))


def test_the_ranks_share_out_every_position_once() -> None:
    streams = [iter(Positions(StreamStart(1, rank, 3))) for rank in range(3)]
    found = [position for _ in range(2) for stream in streams for position in next(stream)]
    assert found == list(range(6, 18))
