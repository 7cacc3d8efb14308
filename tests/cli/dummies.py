"""A method and a data module small enough to be fitted in a blink."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor

from dife_lightning.errors import ConfigError


@dataclass(frozen=True)
class Extra:
    side: int = 1
    power: float = 2.0


class TinyTask(L.LightningModule):
    def __init__(
        self,
        lr: float = 0.1,
        width: int = 4,
        bad_step: int = -1,
        weight: float = 1.0,
        extra: Extra = Extra(),
        names: dict[str, int] = {},  # noqa: B006
    ) -> None:
        super().__init__()
        if weight < 0:
            raise ConfigError(f"weight is {weight}, expected 0 or more; set --model.weight 1.")
        self.save_hyperparameters()
        self.lr, self.bad_step = lr, bad_step
        self.net = torch.nn.Linear(width, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = self.net(batch).pow(2).mean()
        self.log("train/loss", loss)
        return loss * float("nan") if self.global_step == self.bad_step else loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val/pixel_error", self.net(batch).pow(2).mean(), batch_size=2)

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("test/lr", self.lr, batch_size=2)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), self.lr)


class SilentTask(TinyTask):
    """Logs nothing in validation and needs no training."""

    needs_checkpoint = False

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.net(batch)


class InterruptedTask(TinyTask):
    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        raise KeyboardInterrupt


class _DeadlyRows(torch.utils.data.Dataset[Tensor]):
    """Its third row kills the process that asks for it, as the system does when memory runs out."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Tensor:
        if index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.ones(4)


class DeadlyData(L.LightningDataModule):
    def train_dataloader(self) -> torch.utils.data.DataLoader[Tensor]:
        return torch.utils.data.DataLoader(_DeadlyRows(), batch_size=2, num_workers=1)

    def val_dataloader(self) -> list[Any]:
        return []


class TinyData(L.LightningDataModule):
    def __init__(self, count: int = 8, width: int = 4) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.rows = torch.randn(count, width, generator=generator)

    def train_dataloader(self) -> torch.utils.data.DataLoader[Tensor]:
        return torch.utils.data.DataLoader(self.rows, batch_size=2)  # type: ignore[arg-type]

    val_dataloader = test_dataloader = train_dataloader
