"""Rebuild the embedded world's shipped files: `make world`, or `python -m experiments.build.world --help`.

Renders faces (cached), trains the human generator from scratch, those of dog and cat from the human one, and the
surface teacher. Each part is a `dife fit` with a shipped configuration. Finished parts are kept, interrupted ones
continue.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dife_lightning.errors import ConfigError, TrainingError
from experiments.build.parts import PARTS, Part, budget, check_quality, is_shipped, job_of, score, select, ship
from experiments.common.commands import guarded
from experiments.common.jobs import Job, State
from experiments.common.options import names

#: Runs `dife` with these words, several commands at a time if there are several; raises where one fails.
Runner = Callable[[Sequence[tuple[str, list[str]]], Path], None]
#: Renders per second and core, for the estimate of the plan.
_RENDERS_PER_SECOND = 40
_PSI = (0.7, 1.0)
#: Name of a part -> its training and settings.
Jobs = dict[str, tuple[Job, dict[str, Any]]]


def main(words: Sequence[str] | None = None) -> int:
    """Build what is asked for; returns the exit code."""
    options = parse(words)
    return guarded(lambda: build(select(options.only), options), "run the same command again to continue")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(prog="python -m experiments.build.world", description=__doc__)
    add = parser.add_argument
    known = ",".join(part.name for part in PARTS)
    add("--only", type=names, metavar="NAMES", help=f"parts to build, with commas: {known}")
    add("--out", type=Path, default=Path("runs/world"), help="folder of the runs (%(default)s)")
    add("--results", type=Path, default=Path("results/world"), help="folder of the pictures (%(default)s)")
    add("--trainer", default="trainer/cpu", help="trainer preset, for example trainer/gpu_bf16 (%(default)s)")
    add("--force", action="store_true", help="train again what is finished")
    add("--accept", action="store_true", help="register a part even if it scores worse than the shipped one")
    add("--parallel", action="store_true", help="train dog and cat side by side, each on half of the cores")
    add("--checkpoint", type=Path, help="score and register this checkpoint of one part (--only), without training")
    add("--dry-run", action="store_true", help="show the plan only")
    return parser.parse_args(words)


def build(parts: Sequence[Part], options: argparse.Namespace, runner: Runner | None = None) -> None:
    """Train, score and register ``parts``, parents before the parts that start from them.

    Raises:
        ConfigError: a parent is missing, or the options contradict each other.
        TrainingError: a training failed, or a part is clearly worse than the shipped one.
    """
    jobs: Jobs = {part.name: job_of(part, options.out, options.trainer) for part in parts}
    if options.checkpoint is not None:
        if len(parts) != 1:
            raise ConfigError("--checkpoint is the checkpoint of one part; name it with --only")
        _finish(parts[0], options.checkpoint, jobs, options)
        return
    states = _states(parts, jobs, options.force)
    _show_plan(parts, states, jobs)
    if options.dry_run:
        return
    _render(parts, jobs)
    options.results.mkdir(parents=True, exist_ok=True)
    for group in _groups(parts, options.parallel):
        states |= _states(group, jobs, options.force)  # a parent that was just trained makes its children out of date
        due = [part for part in group if states[part.name] != "finished"]
        commands = [(part.name, command_of(part, jobs[part.name][0], states[part.name])) for part in due]
        (runner or run_processes)(commands, options.out)
        for part in group:
            run = jobs[part.name][0].run
            if part not in due and is_shipped(part, run):
                print(f"{part.asset}: up to date")
            else:
                _finish(part, run.last_checkpoint, jobs, options)


def _finish(part: Part, checkpoint: Path, jobs: Jobs, options: argparse.Namespace) -> None:
    """Score a trained part, draw it, and register it unless it is clearly worse than the shipped one."""
    from dife_lightning import load

    job, settings = jobs[part.name]
    module = load(checkpoint)
    found = score(part, module, settings)
    print(f"{part.asset}: {part.metric} {found:.2f}")
    draw(part, module, options.results)
    check_quality(part, found, options.accept)
    print(f"{part.asset}: registered {ship(part, module, settings, found, job.run).name}")


def command_of(part: Part, job: Job, state: State) -> list[str]:
    """Return the words of the `dife fit` that is due.

    Raises:
        ConfigError: the part that it starts from has no run.
    """
    if job.parent is not None and not job.parent.is_file():
        raise ConfigError(
            f"part '{part.name}' starts from '{part.parent}'; build that too: --only {part.parent},{part.name}"
        )
    return job.command(state)


def run_processes(commands: Sequence[tuple[str, list[str]]], root: Path) -> None:
    """Run `dife` commands, each in a process of its own; several share the cores and write log files.

    Raises:
        TrainingError: a command ended with an error.
    """
    threads = max(1, (os.cpu_count() or 1) // max(1, len(commands)))
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if len(commands) > 1 else {})
    root.mkdir(parents=True, exist_ok=True)
    running: list[tuple[str, subprocess.Popen[bytes]]] = []
    try:
        for name, words in commands:
            log = None if len(commands) == 1 else (root / f"{name}.log").open("ab")
            print(f"{name}: dife {' '.join(words)}" + ("" if log is None else f" > {log.name}"), flush=True)
            command = [sys.executable, "-m", "dife_lightning", *words]
            running.append((name, subprocess.Popen(command, stdout=log, stderr=log, env=environment)))
            if log is not None:
                log.close()
        failed = [name for name, process in running if process.wait()]
    finally:
        for _, process in running:
            process.terminate()
            process.wait()
    if failed:
        hint = f"see {root / failed[0]}.log" if len(commands) > 1 else "see above"
        raise TrainingError(
            f"the training of '{failed[0]}' ended with an error ({hint}); run the same command again to continue"
        )


def draw(part: Part, module: Any, results: Path) -> None:
    """Write samples of a generator as ``results/<name>.png``; a teacher has none."""
    import numpy as np
    from PIL import Image

    from dife_lightning.callbacks.sample_sheet import image_grid
    from dife_lightning.utils.files import atomic_write

    if part.kind != "generator":
        return
    sheet = np.concatenate([image_grid(module.sample(32, psi), 8) for psi in _PSI])
    with atomic_write(results / f"{part.name}.png") as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")
    print(f"{part.asset}: samples in {results / part.name}.png (above psi {_PSI[0]}, below {_PSI[1]})")


def _states(parts: Sequence[Part], jobs: Jobs, force: bool) -> dict[str, State]:
    return {part.name: "new" if force else jobs[part.name][0].state()[0] for part in parts}


def _groups(parts: Sequence[Part], parallel: bool) -> list[list[Part]]:
    """Return the parts in the order of their training; with ``parallel``, those with one parent side by side."""
    if not parallel:
        return [[part] for part in parts]
    children = [part for part in parts if part.parent is not None]
    alone = [[part] for part in parts if part.parent is None]
    before = [group for group in alone if any(part.parent == group[0].name for part in PARTS)]
    return [*before, *([children] if children else []), *(group for group in alone if group not in before)]


def _render(parts: Sequence[Part], jobs: Jobs) -> None:
    """Fill the cache of renders, on all cores; the trainings then read it."""
    from dife_lightning.utils.files import cache_folder
    from dife_lightning.world.dataset import render_arrays

    folder, workers = cache_folder() / "renders", os.cpu_count() or 1
    for part in parts:
        data = jobs[part.name][1]["data"]["init_args"]
        if part.kind != "generator" or data.get("species") is None:
            continue
        start = time.perf_counter()
        render_arrays(data["species"], "train", data["count"], data["size"], folder, workers=workers)
        render_arrays(data["species"], "val", data["held_out"], data["size"], folder, workers=workers)
        print(f"{part.name}: renders ready after {time.perf_counter() - start:.0f} s", flush=True)


def _show_plan(parts: Sequence[Part], states: dict[str, State], jobs: Jobs) -> None:
    table = Table("part", "configuration", "budget", "state", "minutes on one thread (AMX)", title="make world")
    for part in parts:
        minutes = "0" if states[part.name] == "finished" else f"{part.minutes:.0f}"
        length = f"{budget(jobs[part.name][1])} {part.unit}"
        table.add_row(part.name, part.config, length, states[part.name], minutes)
    renders = sum(11_000 / _RENDERS_PER_SECOND / 60 for part in parts if part.kind == "generator")
    Console().print(table)
    print(f"renders that are not in the cache: {renders:.0f} minutes on one core")


if __name__ == "__main__":
    raise SystemExit(main())
