"""What is tested beside DIFE and needs no training: the floors and the surface teacher."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L

from dife_lightning.callbacks.keypoint_transfer import KeypointTransfer
from dife_lightning.data.pairs import PairsDataModule
from dife_lightning.data.world.pairs import WorldPairs
from dife_lightning.registry import get_method
from dife_lightning.running.quiet import quiet
from experiments.common.measure import processors
from experiments.common.rows import FLOORS


def world_pairs(
    evaluation: dict[str, Any], pairs: Sequence[str], lists: Sequence[str], count: int | None
) -> WorldPairs:
    """Return the test pairs, rendered (by two processes where there are two processors) or read from the cache.

    Args:
        evaluation: settings of the run's own WorldPairs; only what changes an image is taken.
        pairs: kinds of pair.
        lists: test lists.
        count: pairs in each list instead of its own number.
    """
    kept = {key: evaluation[key] for key in ("size", "framings", "test_seed", "batch_size") if key in evaluation}
    workers = 2 if processors() > 1 else 0
    data = WorldPairs(pairs=pairs, lists=lists, count=count, num_workers=workers, **kept)  # type: ignore[arg-type]
    data.setup("test")
    data.num_workers = 0  # what is in memory needs no worker
    return data


def baselines(teacher: str) -> dict[str, L.LightningModule]:
    """Return name -> method for everything that learns nothing.

    Args:
        teacher: surface teacher, a shipped name or a file.
    """
    floors = {name: get_method(name)() for name in FLOORS}
    return {**floors, "surface-teacher": get_method("frozen-embedder")(embedder=teacher)}


def score(name: str, module: L.LightningModule, data: PairsDataModule, folder: Path) -> None:
    """Test one method and write ``metrics.json`` and ``predictions.csv`` into ``folder``, as `dife test` does."""
    callback = KeypointTransfer(out_dir=str(folder), method=name, pictures=0, table=False)
    with quiet(), _no_notes():
        trainer = L.Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            callbacks=[callback],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        trainer.test(module, datamodule=data, verbose=False)


@contextmanager
def _no_notes() -> Iterator[None]:
    """Leave out what Lightning says of the machine each time; warnings stay."""
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)
