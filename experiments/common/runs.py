"""Commands of the demo, the folders of its runs, and how long its equal-time control has to train."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dife_lightning.errors import DataError, DifeError

#: Seconds that an interrupted command gets to end by itself before it is ended.
GRACE = 10.0
#: Interrupted by Ctrl-C, by convention.
INTERRUPTED = 130


class CommandError(DifeError):
    """A command of the demo failed; its own message is above."""


def guarded(work: Callable[[], object], interrupted: str) -> int:
    """Do ``work`` and return the exit code of the command: what it returns, 1 after an error, 130 after Ctrl-C.

    Args:
        work: the command; where it returns no number, the code is 0.
        interrupted: what to tell somebody who pressed Ctrl-C.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        code = work()
        return code if isinstance(code, int) else 0
    except DifeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"interrupted; {interrupted}", file=sys.stderr)
        return INTERRUPTED


@dataclass(frozen=True)
class Run:
    """A run's folder ``<root>/<name>``."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        """Where `dife fit` writes."""
        return self.root / self.name

    @property
    def last_checkpoint(self) -> Path:
        """State of the method when it was last saved."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def warmup_checkpoint(self) -> Path:
        """State of the method at the end of its warm-up."""
        return self.folder / "checkpoints" / "warmup.ckpt"

    def settings(self) -> dict[str, Any]:
        """Return all settings of the run."""
        return dict(yaml.safe_load(_existing(self.folder / "resolved.yaml").read_text(encoding="utf-8")))

    def stages(self) -> dict[str, dict[str, float]]:
        """Return stage -> ``steps`` and ``seconds`` of ``StageTimer``; a method without stages has one."""
        return dict(json.loads(_existing(self.folder / "stages.json").read_text(encoding="utf-8")))


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"no {path}: the run is not complete; run the demo again")
    return path


def fit_words(
    config: str | Sequence[str], run: Run, seed: int, extra: Sequence[str] = (), trainer: str = "trainer/cpu"
) -> list[str]:
    """Return the words of `dife fit` for both stages of DIFE, with one configuration or several."""
    seeds = [f"--{key}={seed}" for key in ("seed_everything", "model.init_args.seed", "data.init_args.seed")]
    configs = [config] if isinstance(config, str) else list(config)
    given = [word for name in (*configs, trainer) for word in ("--config", name)]
    return ["fit", *given, *_place(run), *seeds, *extra]


def resume_words(run: Run) -> list[str]:
    """Return the words that go on with an interrupted `dife fit`; its settings come along."""
    return ["fit", "--run", run.name, "--runs_root", str(run.root), "--ckpt_path", "last"]


def control_words(run: Run, control: Run, max_steps: int) -> list[str]:
    """Return the words that go on from the warm-up of ``run`` without matching; its settings come along."""
    off = [f"--model.init_args.{name}=0" for name in ("lambda_m1", "lambda_m2")]
    start = ["fit", "--ckpt_path", str(run.warmup_checkpoint), *_place(control)]
    return [*start, *off, f"--trainer.max_steps={max_steps}"]


def start_words(run: Run, other: Run, extra: Sequence[str]) -> list[str]:
    """Return the words that go on from the warm-up of ``run`` with other settings, to the same last step."""
    return ["fit", "--ckpt_path", str(run.warmup_checkpoint), *_place(other), *extra]


def evaluation_words(run: Run, pairs: Sequence[str], lists: Sequence[str], count: int | None = None) -> list[str]:
    """Return the words of `dife test` on the test lists, in full precision whatever the training had."""
    prefix = "--data.init_args.evaluation.init_args"
    words = [
        "test",
        "--ckpt_path",
        str(run.folder),
        "--trainer.precision=32-true",
        f"{prefix}.pairs=[{','.join(pairs)}]",
    ]
    words.append(f"{prefix}.lists=[{','.join(lists)}]")
    return words if count is None else [*words, f"{prefix}.count={count}"]


def _place(run: Run) -> list[str]:
    return ["--run", run.name, "--runs_root", str(run.root), "--overwrite"]


def control_steps(stages: dict[str, dict[str, float]], every: int) -> int:
    """Return the last step of the equal-time control.

    The control trains on from the end of the warm-up, at the warm-up's seconds per step, for the seconds that the
    matching stage with its pair synthesis took. The step is rounded up to a validation, in the control's favour: the
    end of the schedule must be among the candidates for its best checkpoint, as it is for DIFE.

    Args:
        stages: stage -> ``steps`` and ``seconds``, both stages.
        every: steps between two validations.

    Raises:
        DataError: a stage was never trained.
    """
    steps, seconds = stages.get("warmup", {}).get("steps", 0), stages.get("warmup", {}).get("seconds", 0.0)
    matching = stages.get("matching", {}).get("seconds", 0.0)
    if not steps or not seconds or not matching or every < 1:
        raise DataError(f"stages {stages}, validation every {every}: the control needs a run of both stages")
    extra = max(1, round(matching / (seconds / steps)))
    return math.ceil((steps + extra) / every) * every


def call(words: Sequence[str], *, show: bool = True) -> float:
    """Run ``dife`` with these words in a process of its own, after printing the command.

    Args:
        words: verb and options.
        show: let its standard output through; else it is shown only if the command fails.

    Returns:
        The seconds it took.

    Raises:
        CommandError: it ended with another exit code than 0.
        KeyboardInterrupt: it was interrupted.
    """
    print(f"$ dife {shlex.join(words)}", flush=True)
    start = time.perf_counter()
    code, output = _wait([sys.executable, "-m", "dife_lightning", *words], show)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        print(output, end="")
        raise CommandError(f"`dife {words[0]}` ended with exit code {code}; its message is above")
    return time.perf_counter() - start


def _wait(command: Sequence[str], show: bool) -> tuple[int, str]:
    """Run a command to its end, also when Ctrl-C interrupts this process."""
    process = subprocess.Popen(command, stdout=None if show else subprocess.PIPE, text=True)
    try:
        output, _ = process.communicate()
    except KeyboardInterrupt:
        _stop(process)
        raise
    return process.returncode, output or ""


def _stop(process: subprocess.Popen[str]) -> None:
    """Let an interrupted command end: Ctrl-C reached it too, unless only this process was told."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE / 5)
    for end in (lambda: process.send_signal(signal.SIGINT), process.terminate, process.kill):
        if process.poll() is not None:
            return
        end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
