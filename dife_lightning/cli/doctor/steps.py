"""Time and memory of a training, estimated from a few steps of each stage."""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dife_lightning.cli.doctor.findings import Finding
from dife_lightning.cli.main import main

#: Steps that are trained; the first is slower and is not counted.
STEPS = 4


class Measured(NamedTuple):
    """Seconds of the first step and of one in the middle, and the peak memory in bytes."""

    first: float
    step: float
    memory: int


def measure(words: Sequence[str], settings: Mapping[str, Any]) -> Iterator[Finding]:
    """Train a few steps in a temporary folder and say how long the whole takes."""
    staged = "warmup_steps" in settings["model"].get("init_args", {})
    total = int(settings["trainer"].get("max_steps") or -1)
    stages = {"warm-up": STEPS + 1, "matching": 0} if staged else {"training": None}
    found: dict[str, Measured] = {}
    for stage, warmup in stages.items():
        extra = [] if warmup is None else [f"--model.init_args.warmup_steps={warmup}"]
        result = try_steps([*words, *extra])
        if isinstance(result, str):
            yield Finding("error", stage, result)
            return
        found[stage] = result
        text = f"{result.step:.2f} s a step, {result.memory / 1e9:.1f} GB of memory"
        making = f"; {result.first:.0f} s for the first pairs" if stage == "matching" else ""
        yield Finding("ok", stage, text + making)
    if total > 0:
        yield Finding("ok", "time", f"about {_duration(_whole(found, settings, total))} for {total} steps")
    elif settings["model"].get("init_args", {}).get("max_images"):
        images, batch = settings["model"]["init_args"]["max_images"], settings["data"]["init_args"]["batch_size"]
        seconds = images / batch * found["training"].step
        yield Finding("ok", "time", f"about {_duration(seconds)} for {images} images, validations apart")


def _whole(found: Mapping[str, Measured], settings: Mapping[str, Any], total: int) -> float:
    """Return the seconds of a whole training, validations apart."""
    if "training" in found:
        return found["training"].step * total
    arguments = settings["model"]["init_args"]
    warmup = min(int(arguments["warmup_steps"]), total)
    matching, pairs = total - warmup, arguments["pairs"]
    first = found["matching"].first - found["matching"].step
    refreshes = max(0, -(-matching // int(pairs["refresh_every"])) - 1)
    share = int(pairs["per_refresh"]) / int(pairs["first"] or pairs["per_refresh"])
    making = (first + refreshes * share * first) if matching else 0.0
    return warmup * found["warm-up"].step + matching * found["matching"].step + making


def try_steps(words: Sequence[str]) -> Measured | str:
    """Train a few steps; returns what was measured, or the error in one line."""
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
        said = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            code = main([*words, *extra, "--runs_root", folder, "--run", "probe"])
        if code or not path.is_file():
            lines = said.getvalue().strip().splitlines() or ["the training ended without a word"]
            return lines[-1].removeprefix("error: ")
        content = json.loads(path.read_text(encoding="utf-8"))
    first, *rest = content["seconds"]
    return Measured(first, statistics.median(rest or [first]), content["memory"])


def _duration(seconds: float) -> str:
    """Return a duration in words that a person would use."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"
