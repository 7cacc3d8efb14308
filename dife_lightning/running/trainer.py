"""The Trainer of the command line: ``precision: auto``, atomic checkpoints, a CSV log that resumed runs continue."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning import Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.trainer.connectors.accelerator_connector import _PRECISION_INPUT
from torch import Tensor

from dife_lightning.errors import TrainingError, reason_of
from dife_lightning.running.allocator import keep_freed_memory
from dife_lightning.running.precision import probe_precision
from dife_lightning.utils.files import atomic_write
from dife_lightning.utils.run_folder import LAST, PREVIOUS


class DifeTrainer(Trainer):
    """A Trainer that also takes ``precision="auto"``: bf16 where a one-second probe finds it faster."""

    def __init__(self, *, precision: Literal["auto"] | _PRECISION_INPUT | None = None, **kwargs: Any) -> None:
        """Resolve ``precision``; see :class:`lightning.Trainer` for all arguments.

        Args:
            precision: ``auto`` or a value of Lightning's.
            **kwargs: passed to Lightning's Trainer.
        """
        chosen = cast("_PRECISION_INPUT", probe_precision().name) if precision == "auto" else precision
        super().__init__(precision=chosen, **kwargs)
        if isinstance(self.accelerator, CPUAccelerator):
            keep_freed_memory()


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file in the same folder and renames it; refuses weights that are not finite.

    Lightning writes to the system's temporary folder. If that is another file system, the move is a copy, which can be
    interrupted half-way.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write ``checkpoint`` to ``path``.

        Raises:
            TrainingError: a weight is NaN or infinite, or the disk is full; the file that was at ``path`` stays.
        """
        broken = first_non_finite(checkpoint.get("state_dict", {}))
        if broken is not None:
            step = checkpoint.get("global_step", "?")
            raise TrainingError(
                f"weight '{broken}' is not finite at step {step}; no checkpoint is written and the last good one is "
                "kept. Lower the learning rate, or use precision 32-true."
            )
        try:
            with atomic_write(path) as temporary:
                torch.save(checkpoint, temporary)
                if Path(path).name == LAST:
                    _keep_previous(Path(path))
        except (OSError, RuntimeError) as error:  # torch's own writer raises the latter
            last = Path(path).with_name(LAST)
            raise TrainingError(
                f"cannot write {path} at step {checkpoint.get('global_step', '?')} ({_reason(error)}); existing files "
                f"are unchanged. Free some space, then resume with `dife fit --ckpt_path {last}`."
            ) from error


def _keep_previous(path: Path) -> None:
    """Keep an existing ``last.ckpt`` as ``previous.ckpt``."""
    if not path.is_file():
        return
    with atomic_write(path.with_name(PREVIOUS)) as temporary:
        try:
            os.link(path, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, temporary)


def _reason(error: OSError | RuntimeError) -> str:
    text = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return "no space left on the disk?" if "PytorchStreamWriter" in text else text


def first_non_finite(state: dict[str, Any]) -> str | None:
    """Return the name of the first floating-point tensor that holds a NaN or an infinity, or None."""
    for name, value in state.items():
        if isinstance(value, Tensor) and value.is_floating_point() and not torch.isfinite(value).all():
            return name
    return None


class RunLogger(CSVLogger):
    """``metrics.csv`` in the run's own folder; a resumed run continues it.

    Args:
        folder: of the run.
        first_step: rows from this step on are dropped, since a resumed run trains these steps again; None drops
            nothing.
    """

    def __init__(self, folder: str | Path, first_step: int | None = None) -> None:
        super().__init__(save_dir=folder, name="", version="")
        self.first_step = first_step

    def log_hyperparams(self, params: Any = None) -> None:
        """Write nothing: ``resolved.yaml`` has all settings."""

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Store the values; those of a validation are written to the disk at once."""
        super().log_metrics(metrics, step)
        if any(name.startswith("val/") for name in metrics):
            self.save()

    @property
    def experiment(self) -> Any:
        """The writer of the CSV file."""
        if self._experiment is None:
            os.makedirs(self.root_dir, exist_ok=True)
            self._experiment = _AppendingWriter(self.log_dir, self.first_step)
        return self._experiment


class _AppendingWriter(ExperimentWriter):
    """Lightning's writer deletes an older ``metrics.csv``; this one continues it."""

    def __init__(self, log_dir: str, first_step: int | None) -> None:
        self.first_step = first_step
        super().__init__(log_dir=log_dir)

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        try:
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))
        except (csv.Error, UnicodeDecodeError) as error:
            raise TrainingError(f"{path} is not a table ({reason_of(error)}); move it away and start again.") from None
        self.metrics_keys = list(rows[0]) if rows else []
        if self.first_step is not None:
            with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
                writer = csv.DictWriter(file, self.metrics_keys)
                writer.writeheader()
                writer.writerows(row for row in rows if _is_before(row, self.first_step))


def _is_before(row: dict[str, str], step: int) -> bool:
    """Return whether a row is complete and of an earlier step."""
    found = row.get("step") or ""
    return found.isdigit() and int(found) < step and None not in row and None not in row.values()


class StepProgressBar(RichProgressBar):
    """Lightning's rich bar, corrected for trainings with only ``max_steps`` and for resumed trainings."""

    @property
    def total_train_batches(self) -> int | float:
        """Batches of this epoch, with those before a resumed training's start, which Lightning leaves out."""
        trainer = self.trainer
        if trainer.max_epochs != -1 or trainer.max_steps < 1:
            return super().total_train_batches
        ready = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        done = ready if ready < trainer.num_training_batches else 0  # those of the epoch before
        remaining = (trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches
        return min(trainer.num_training_batches, done + remaining)

    def _get_train_description(self, current_epoch: int) -> str:
        if self.trainer.max_epochs not in (None, -1) or self.trainer.max_steps < 1:
            return super()._get_train_description(current_epoch)
        return f"{f'to step {self.trainer.max_steps}':{len(self.validation_description)}}"
