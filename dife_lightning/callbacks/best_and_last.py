"""The checkpoints of a run: ``best.ckpt`` by the monitored metric, ``last.ckpt`` at every validation.

``previous.ckpt`` is the earlier ``last.ckpt``, in case the newer file is damaged (see ``AtomicCheckpointIO``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from dife_lightning.utils.run_folder import CHECKPOINTS

#: What is monitored where a method does not say otherwise.
DEFAULT_MONITOR = "val/pixel_error"


class BestAndLast(ModelCheckpoint):
    """Keep ``best.ckpt`` and ``last.ckpt``; their names hold no metric, since its ``/`` would create folders.

    Unlike with Lightning's own callback, ``last.ckpt`` is also written when the metric did not improve and at the end
    of the training. If the metric is never logged there is no ``best.ckpt``; that is not an error.

    Args:
        dirpath: folder of the two files; the run's ``checkpoints`` by default.
        monitor: the metric; None keeps only ``last.ckpt``.
        mode: whether a small or a large value of the metric is good.
    """

    def __init__(
        self,
        dirpath: str | Path | None = None,
        monitor: str | None = DEFAULT_MONITOR,
        mode: Literal["min", "max"] = "min",
    ) -> None:
        super().__init__(
            dirpath=dirpath,
            filename="best",
            monitor=monitor,
            mode=mode,
            save_top_k=1,
            save_last=True,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def _save_topk_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        """Save ``best.ckpt`` if the metric improved, and let the caller save ``last.ckpt`` in any case."""
        value = monitor_candidates.get(self.monitor) if self.monitor else None
        if value is not None and bool(value.isfinite()):
            super()._save_topk_checkpoint(trainer, monitor_candidates)
        self._last_global_step_saved = trainer.global_step

    def write_last(self, trainer: Trainer) -> None:
        """Write ``last.ckpt`` now; all processes must call this."""
        self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``last.ckpt`` of the last step."""
        if not self._should_skip_saving_checkpoint(trainer):
            self.write_last(trainer)

    @property
    def last_step(self) -> int:
        """Step of the newest checkpoint that this process wrote."""
        return self._last_global_step_saved


def checkpoints_for(module: Any, run: Path) -> BestAndLast:
    """Return the checkpoint callback that suits a method's class attributes ``monitor`` and ``monitor_mode``."""
    monitor = getattr(module, "monitor", DEFAULT_MONITOR)
    return BestAndLast(run / CHECKPOINTS, monitor, getattr(module, "monitor_mode", "min"))
