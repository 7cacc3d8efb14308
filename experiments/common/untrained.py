"""Methods that need no training, and the test of any method without `dife test`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L

from dife_lightning.callbacks.keypoint_transfer import KeypointTransfer
from dife_lightning.data.pairs import PairsDataModule
from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.registry import methods_by_class
from dife_lightning.running.quiet import quiet
from experiments.common.plan import TableRow


def untrained(row: TableRow) -> Any:
    """Return the method of a row that needs no training.

    Raises:
        ConfigError: there is no such method.
    """
    classes = methods_by_class()
    if row.test not in classes:
        raise ConfigError(f"row '{row.name}': no method '{row.test}'. {did_you_mean(str(row.test), classes)}")
    return classes[row.test](**row.arguments)


def score(name: str, module: L.LightningModule, data: PairsDataModule, folder: Path, window: float = 0.0) -> None:
    """Test one method and write ``metrics.json`` and ``predictions.csv`` into ``folder``, as `dife test` does."""
    scorer = KeypointTransfer(out_dir=str(folder), method=name, pictures=0, table=False, window=window)
    with quiet_trainer(scorer) as trainer:
        trainer.test(module, datamodule=data, verbose=False)


@contextmanager
def quiet_trainer(*callbacks: L.Callback) -> Iterator[L.Trainer]:
    """Give a trainer for tests on the CPU in fp32 that writes and prints nothing but warnings."""
    silent: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    with quiet(), warnings_only():
        yield L.Trainer(accelerator="cpu", devices=1, callbacks=list(callbacks), **silent)


@contextmanager
def warnings_only() -> Iterator[None]:
    """Hide Lightning's remarks about the machine; warnings are still shown."""
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)
