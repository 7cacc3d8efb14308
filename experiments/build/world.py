"""Rebuild the embedded world's shipped files: `make world`, or `python -m experiments.build.world --help`.

Renders (cached), the human generator from scratch, dog and cat from the human one, the surface teacher. Each part is a
`dife fit` with a shipped configuration. A part that is finished is kept, one that was interrupted goes on.
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

from dife_lightning.errors import ConfigError, DifeError, TrainingError
from experiments.build.parts import (
    PARTS,
    Part,
    State,
    budget,
    check_quality,
    is_shipped,
    last_checkpoint,
    recipe_words,
    score,
    select,
    ship,
    state_of,
    wanted_settings,
)

#: Runs `dife` with these words, several commands at a time if there are several; raises where one fails.
Runner = Callable[[Sequence[tuple[str, list[str]]], Path], None]
#: Renders per second and core, for the estimate of the plan.
_RENDERS_PER_SECOND = 40
_PSI = (0.7, 1.0)


def main(words: Sequence[str] | None = None) -> int:
    """Build what is asked for; returns the exit code."""
    options = _parser().parse_args(words)
    try:
        parts = select(options.only.split(",") if options.only else None)
        build(parts, options)
    except DifeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


def build(parts: Sequence[Part], options: argparse.Namespace, runner: Runner | None = None) -> None:
    """Train, score and register ``parts``, parents before the parts that start from them.

    Raises:
        ConfigError: a parent is missing, or the options contradict each other.
        TrainingError: a training failed, or a part is clearly worse than the shipped one.
    """
    root, results = Path(options.out), Path(options.results)
    settings = {part.name: wanted_settings(part, root) for part in parts}
    if options.checkpoint is not None:
        if len(parts) != 1:
            raise ConfigError("--checkpoint is the checkpoint of one part; name it with --only")
        finish(parts[0], Path(options.checkpoint), settings[parts[0].name], options)
        return
    states = _states(parts, root, settings, options.force)
    _show_plan(parts, states, settings)
    if options.dry_run:
        return
    _render(parts, settings)
    results.mkdir(parents=True, exist_ok=True)
    for group in _groups(parts, options.parallel):
        # a parent that was trained a moment ago makes what started from its older self out of date
        states |= _states(group, root, settings, options.force)
        commands = [
            (p.name, fit_words(p, root, states[p.name], options)) for p in group if states[p.name] != "finished"
        ]
        (runner or run_processes)(commands, root)
        for part in group:
            if states[part.name] == "finished" and is_shipped(part, root):
                print(f"{part.asset}: up to date")
            else:
                finish(part, last_checkpoint(root, part.name), settings[part.name], options)


def finish(part: Part, checkpoint: Path, settings: dict[str, Any], options: argparse.Namespace) -> None:
    """Score a trained part, draw it, and register it unless it is clearly worse than the shipped one."""
    from dife_lightning import load

    module = load(checkpoint)
    found = score(part, module, settings)
    print(f"{part.asset}: {part.metric} {found:.2f}")
    draw(part, module, Path(options.results))
    check_quality(part, found, options.accept)
    print(f"{part.asset}: registered {ship(part, module, settings, found, Path(options.out)).name}")


def fit_words(part: Part, root: Path, state: State, options: argparse.Namespace) -> list[str]:
    """Return the words of the `dife fit` that begins a part anew or goes on with it."""
    if part.parent is not None and not last_checkpoint(root, part.parent).is_file():
        raise ConfigError(
            f"part '{part.name}' starts from '{part.parent}'; build that too: --only {part.parent},{part.name}"
        )
    start = ["--ckpt_path", str(last_checkpoint(root, part.name))] if state == "interrupted" else ["--overwrite"]
    return [
        "fit",
        *recipe_words(part, root),
        "--config",
        options.trainer,
        "--runs_root",
        str(root),
        "--run",
        part.name,
        *start,
    ]


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
        raise TrainingError(f"the training of '{failed[0]}' ended with an error ({hint}); the same command goes on.")


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


def _states(parts: Sequence[Part], root: Path, settings: dict[str, dict[str, Any]], force: bool) -> dict[str, State]:
    if force:
        return dict.fromkeys((part.name for part in parts), "new")
    return {part.name: state_of(part, root, settings[part.name]) for part in parts}


def _groups(parts: Sequence[Part], parallel: bool) -> list[list[Part]]:
    """Return the parts in the order of their training; those with one parent side by side if asked."""
    if not parallel:
        return [[part] for part in parts]
    children = [part for part in parts if part.parent is not None]
    alone = [[part] for part in parts if part.parent is None]
    before = [group for group in alone if any(part.parent == group[0].name for part in PARTS)]
    return [*before, *([children] if children else []), *(group for group in alone if group not in before)]


def _render(parts: Sequence[Part], settings: dict[str, dict[str, Any]]) -> None:
    """Fill the cache of renders, on all cores; the trainings then read it."""
    from dife_lightning.utils.files import cache_folder
    from dife_lightning.world.dataset import render_arrays

    folder, workers = cache_folder() / "renders", os.cpu_count() or 1
    for part in parts:
        data = settings[part.name]["data"]["init_args"]
        if part.kind != "generator" or data.get("species") is None:
            continue
        start = time.perf_counter()
        render_arrays(data["species"], "train", data["count"], data["size"], folder, workers=workers)
        render_arrays(data["species"], "val", data["held_out"], data["size"], folder, workers=workers)
        print(f"{part.name}: renders ready after {time.perf_counter() - start:.0f} s", flush=True)


def _show_plan(parts: Sequence[Part], states: dict[str, State], settings: dict[str, dict[str, Any]]) -> None:
    table = Table("part", "configuration", "budget", "state", "minutes on one thread (AMX)", title="make world")
    for part in parts:
        unit = "images" if part.kind == "generator" else "steps"
        minutes = "0" if states[part.name] == "finished" else f"{part.minutes:.0f}"
        table.add_row(part.name, part.config, f"{budget(settings[part.name])} {unit}", states[part.name], minutes)
    renders = sum(11_000 / _RENDERS_PER_SECOND / 60 for part in parts if part.kind == "generator")
    Console().print(table)
    print(f"renders, where the cache has none: {renders:.0f} minutes on one core")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.build.world", description=__doc__)
    add = parser.add_argument
    add("--only", metavar="NAMES", help=f"parts to build, with commas: {','.join(part.name for part in PARTS)}")
    add("--out", default="runs/world", help="folder of the runs (%(default)s)")
    add("--results", default="results/world", help="folder of the pictures (%(default)s)")
    add("--trainer", default="trainer/cpu", help="trainer preset, for example trainer/gpu_bf16 (%(default)s)")
    add("--force", action="store_true", help="train again what is finished")
    add("--accept", action="store_true", help="register a part though it scores worse than the shipped one")
    add("--parallel", action="store_true", help="train dog and cat side by side, each on half of the cores")
    add("--checkpoint", help="score and register this checkpoint of one part (--only) instead of training it")
    add("--dry-run", action="store_true", help="show the plan only")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
