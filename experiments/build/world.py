"""Rebuild the embedded world's shipped files: `make world`, or `python -m experiments.build.world --help`.

Renders faces (cached), trains the human generator from scratch, the dog and cat generators from the human one, and the
surface teacher. Each part is a `dife fit` with a shipped configuration. Finished parts are kept and interrupted ones
continue.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dife_lightning.errors import ConfigError
from experiments.build.parts import PARTS, Part, budget, check_quality, is_shipped, job_of, score, select, ship
from experiments.common import commands
from experiments.common.commands import guarded
from experiments.common.jobs import Job, State
from experiments.common.options import names

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
    add("--only", type=names, metavar="NAMES", help=f"parts to build, separated by commas: {known}")
    add("--out", type=Path, default=Path("runs/world"), help="folder of the runs (%(default)s)")
    add("--results", type=Path, default=Path("results/world"), help="folder of the pictures (%(default)s)")
    add("--trainer", default="trainer/cpu", help="trainer preset, for example trainer/gpu_bf16 (%(default)s)")
    add("--force", action="store_true", help="train finished parts again")
    add("--accept", action="store_true", help="register a part even if it scores worse than the shipped one")
    add("--checkpoint", type=Path, help="score and register this checkpoint of one part (--only), without training")
    add("--dry-run", action="store_true", help="only show the plan")
    return parser.parse_args(words)


def build(parts: Sequence[Part], options: argparse.Namespace) -> None:
    """Train, score and register ``parts``, parents before the parts that start from them.

    Raises:
        ConfigError: a parent is missing, or the options contradict each other.
        CommandError: a training failed.
        TrainingError: a part is clearly worse than the shipped one.
    """
    jobs: Jobs = {part.name: job_of(part, options.out, options.trainer) for part in parts}
    if options.checkpoint is not None:
        if len(parts) != 1:
            raise ConfigError("--checkpoint is the checkpoint of one part; name it with --only")
        _finish(parts[0], options.checkpoint, jobs, options)
        return
    _show_plan(parts, {part.name: _state(part, jobs, options.force) for part in parts}, jobs)
    if options.dry_run:
        return
    _render(parts, jobs)
    options.results.mkdir(parents=True, exist_ok=True)
    for part in parts:
        job = jobs[part.name][0]
        state = _state(part, jobs, options.force)  # a parent that was just trained makes its children out of date
        if state != "finished":
            commands.call(command_of(part, job, state))
        elif is_shipped(part, job.run):
            print(f"{part.asset}: up to date")
            continue
        _finish(part, job.run.last_checkpoint, jobs, options)


def _state(part: Part, jobs: Jobs, force: bool) -> State:
    return "new" if force else jobs[part.name][0].state()[0]


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
    """Return the `dife fit` command of a part.

    Raises:
        ConfigError: the part that it starts from has no run.
    """
    if job.parent is not None and not job.parent.is_file():
        raise ConfigError(
            f"part '{part.name}' starts from '{part.parent}'; build that too: --only {part.parent},{part.name}"
        )
    return job.command(state)


def draw(part: Part, module: Any, results: Path) -> None:
    """Write samples of a generator as ``results/<name>.png``; a teacher has none."""
    import numpy as np
    from PIL import Image

    from dife_lightning.callbacks.sample_sheet import image_grid
    from dife_lightning.utils.files import atomic_buffer

    if part.kind != "generator":
        return
    sheet = np.concatenate([image_grid(module.sample(32, psi), 8) for psi in _PSI])
    with atomic_buffer(results / f"{part.name}.png") as buffer:
        Image.fromarray(sheet).save(buffer, format="PNG")
    print(f"{part.asset}: samples in {results / part.name}.png (above psi {_PSI[0]}, below {_PSI[1]})")


def _render(parts: Sequence[Part], jobs: Jobs) -> None:
    """Fill the cache of renders on all cores."""
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
