"""Hides messages of Lightning that users cannot act on, and shortens its errors."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from dife_lightning.errors import CheckpointError, DifeError, printable, reason_of
from dife_lightning.running.locks import process_rank


def tell(text: str) -> None:
    """Print one line on stderr, only in the first process of a distributed run."""
    if process_rank() == 0:
        print(printable(text), file=sys.stderr)


@contextmanager
def clear_weights_error() -> Iterator[None]:
    """Turn errors of Lightning on checkpoints that do not fit or are damaged into one line."""
    try:
        yield
    except (DifeError, OSError):
        raise
    except Exception as error:
        lines = str(error).splitlines()
        if lines[:1] and lines[0].startswith("Error(s) in loading state_dict"):
            reason = lines[1].strip().rstrip(".") if len(lines) > 1 else "unknown"
            text = f"the checkpoint does not fit the model: {reason}. Use the run's own settings."
            raise CheckpointError(text) from None
        readable = type(error).__name__ == "MisconfigurationException"  # which is written for the user
        if not readable and any(map(_restores, traceback.extract_tb(error.__traceback__))):
            text = f"the checkpoint cannot be restored ({reason_of(error)}); it is damaged or was changed."
            raise CheckpointError(f"{text} To load only its weights, use --model.init_args.init_from.") from error
        raise


def _restores(frame: traceback.FrameSummary) -> bool:
    """Return whether a frame is in the code of Lightning that restores a checkpoint."""
    return frame.filename.endswith("checkpoint_connector.py") and frame.name.startswith(("restore", "resume"))


@contextmanager
def quiet() -> Iterator[None]:
    """Hide messages that users cannot act on; turn misspelt augmentations into errors."""
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    log.addFilter(_is_worth_reading)
    with warnings.catch_warnings():
        # lightning 2.6 calls deprecated methods: https://github.com/Lightning-AI/pytorch-lightning/issues/21900
        warnings.filterwarnings("ignore", module=r"lightning\.pytorch\.cli", category=DeprecationWarning)
        # streams synthesise on the training device, so that workers would not help
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        # lightning 2.6 with torch 2.13: https://github.com/Lightning-AI/pytorch-lightning/issues/21326
        warnings.filterwarnings("ignore", message=".*treespec, LeafSpec")
        # the frozen network of a method stays in eval mode, so that its batch normalisation does not learn
        warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
        # steps are counted on over short epochs, so that they are logged all the same
        warnings.filterwarnings("ignore", message=".*is smaller than the logging interval")
        # the size in MB that it estimates is of no interest
        warnings.filterwarnings("ignore", message=".*is not supported by the model summary")
        # checkpoint callbacks belong to training
        warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint need to be provided")
        # a resumed run writes into its own folder
        warnings.filterwarnings("ignore", message=".*[Cc]heckpoint directory .* exists and is not empty")
        # a control that starts from another run's checkpoint writes into a folder of its own
        warnings.filterwarnings("ignore", message=".*The dirpath has changed")
        # the gradient scaler of 16-mixed finds its scale by skipping the first steps
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        # the "+" between the domains of a pair; the metric is logged without it
        warnings.filterwarnings("ignore", message="MLFlow only allows")
        # albumentations only warns of an argument that it does not know, and then uses its default
        warnings.filterwarnings("error", message=r"Argument\(s\) .* not valid for transform")
        try:
            yield
        finally:
            log.removeFilter(_is_worth_reading)


def _is_worth_reading(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return "Tip:" not in text and "attempting graceful shutdown" not in text
