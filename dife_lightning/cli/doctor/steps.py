"""Time and memory of a training, estimated from a few steps of each stage."""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dife_lightning.cli.doctor.configured import Configured
from dife_lightning.cli.doctor.findings import Finding
from dife_lightning.cli.errors import one_line, user_error
from dife_lightning.errors import TrainingError

#: Steps that are trained; the first is slower and is not counted.
STEPS = 4


class Measured(NamedTuple):
    """Seconds of the first step, median seconds of the later ones, and the peak memory in bytes."""

    first: float
    step: float
    memory: int


def measure(words: Sequence[str], configured: Configured) -> Iterator[Finding]:
    """Train a few steps in a temporary folder and estimate how long the whole training takes."""
    staged = "warmup_steps" in configured.model
    stages: dict[str, int | None] = {"warm-up": STEPS + 1, "matching": 0} if staged else {"training": None}
    found: dict[str, Measured] = {}
    for stage, warmup in stages.items():
        extra = [] if warmup is None else [f"--model.init_args.warmup_steps={warmup}"]
        try:
            measured = found[stage] = try_steps([*words, *extra])
        except Exception as error:
            cause = user_error(error)
            if cause is None:
                raise
            yield Finding("error", stage, one_line(cause))
            return
        making = f"; {measured.first:.0f} s for the first pairs" if stage == "matching" else ""
        yield Finding("ok", stage, f"{measured.step:.2f} s a step, {measured.memory / 1e9:.1f} GB of memory{making}")
    total, images = int(configured.trainer.get("max_steps") or -1), configured.model.get("max_images")
    if total > 0:
        yield Finding("ok", "time", f"about {_duration(_whole(found, configured, total))} for {total} steps")
    elif images:
        seconds = images / configured.data["batch_size"] * found["training"].step
        yield Finding("ok", "time", f"about {_duration(seconds)} for {images} images, without validations")


def _whole(found: Mapping[str, Measured], configured: Configured, total: int) -> float:
    """Return the seconds of a whole training without validations."""
    if "training" in found:
        return found["training"].step * total
    warmup, pairs = min(int(configured.model["warmup_steps"]), total), configured.model["pairs"]
    matching = total - warmup
    first = found["matching"].first - found["matching"].step
    refreshes = max(0, -(-matching // int(pairs["refresh_every"])) - 1)
    share = int(pairs["per_refresh"]) / int(pairs["first"] or pairs["per_refresh"])
    making = (first + refreshes * share * first) if matching else 0.0
    return warmup * found["warm-up"].step + matching * found["matching"].step + making


def try_steps(words: Sequence[str]) -> Measured:
    """Train a few steps.

    Raises:
        TrainingError: the training ended before its first step.
        Exception: what the training raised.
    """
    from dife_lightning.cli.verbs import run_verb

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "steps.json"
        extra = [
            f"--trainer.max_steps={2 * STEPS}",  # methods with two optimisers count each step twice
            f"--trainer.limit_train_batches={STEPS}",
            "--trainer.max_epochs=1",
            "--trainer.limit_val_batches=0",
            "--trainer.enable_checkpointing=false",
            "--trainer.enable_progress_bar=false",
            "--trainer.enable_model_summary=false",
            "--trainer.logger=false",
            "--trainer.callbacks=[]",
            "--trainer.callbacks+=StepClock",
            f"--trainer.callbacks.path={path}",
        ]
        verb, *rest = words
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            run_verb(verb, [*rest, *extra, "--runs_root", folder, "--run", "probe"])
        if not path.is_file():
            raise TrainingError("the training ended before its first step")
        content = json.loads(path.read_text(encoding="utf-8"))
    first, *later = content["seconds"]
    return Measured(first, statistics.median(later or [first]), content["memory"])


def _duration(seconds: float) -> str:
    """Return a duration in a readable unit."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"
