"""Train 2,000 steps of both stages and check that memory and open files do not grow: ``experiments.checks.soak``.

Trains the world's human and dog with small batches, which takes minutes; pairs are refreshed, validations run and
checkpoints are written many times. Writes ``results/soak.json`` and ``results/soak.png``.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dife_lightning.errors import DataError
from dife_lightning.utils.files import write_json
from dife_lightning.utils.run_folder import RunFolder
from dife_lightning.viz.axes import dress, label
from dife_lightning.viz.sheet import FAINT, LINES, new_figure, save_figure, title
from experiments.common import commands
from experiments.common.commands import guarded
from experiments.common.jobs import fit_words, place_words

#: Tolerated growth from the second to the last quarter of a stage, as a share and in MB.
TOLERANCE, SLACK_MB = 0.02, 10.0
SMALL = (
    "--model.init_args.pairs={refresh_every: 50, per_refresh: 2, first: 4, bank_size: 8, batch_size: 4}",
    "--model.init_args.exploration.steps=5",
    "--model.init_args.share_every=50",
    "--data.init_args.batch_size=4",
    "--data.init_args.evaluation.init_args.val_count=8",
    "--trainer.callbacks+=ResourceLog",
    "--trainer.log_every_n_steps=50",
)


def main(words: Sequence[str] | None = None) -> int:
    """Train, check and draw; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.checks.soak", description=__doc__)
    parser.add_argument("--steps", type=int, default=2000, help="steps of both stages together (%(default)s)")
    parser.add_argument("--config", default="world/human_dog", help="configuration (%(default)s)")
    parser.add_argument("--runs_root", type=Path, default=Path("runs"), help="folder of the run (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the results (%(default)s)")
    options = parser.parse_args(words)
    return guarded(lambda: soak(options), "run the same command to start again")


def soak(options: argparse.Namespace) -> int:
    """Train, check and draw; returns 1 if something grows."""
    run = RunFolder(options.runs_root, "soak")
    half = options.steps // 2
    extra = [
        *SMALL,
        f"--trainer.callbacks.every_n_steps={max(1, options.steps // 200)}",
        f"--model.init_args.warmup_steps={half}",
        f"--trainer.max_steps={options.steps}",
        f"--trainer.val_check_interval={max(1, half // 10)}",
    ]
    commands.call([*fit_words(options.config, 0, extra, "trainer/cpu"), *place_words(run)])
    rows = read_resources(run.log)
    found = {"warm-up": growth(rows[rows[:, 0] < half]), "matching": growth(rows[rows[:, 0] >= half])}
    write_json(options.out / "soak.json", {"steps": options.steps, "stages": found})
    save_figure(picture(rows, half), options.out / "soak.png")
    for stage, values in found.items():
        grown = f"memory {values['memory_mb']:+.1f} MB, open files {values['open_files']:+.0f}"
        print(f"{stage}: {grown}: {values['verdict']}")
    return int(any(values["verdict"] != "no growth" for values in found.values()))


def read_resources(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return (N, 3): step, memory in MB, open files."""
    with path.open(newline="") as file:
        found = [row for row in csv.DictReader(file) if row.get("system/memory_mb")]
    if len(found) < 8:
        raise DataError(f"{path} has {len(found)} rows with resources; expected 8 or more: train more steps")
    return np.array([[float(r[k]) for k in ("step", "system/memory_mb", "system/open_files")] for r in found])


def growth(rows: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    """Return how much the medians grew from the second quarter to the last, and a verdict.

    The first quarter is left out because allocators and caches fill during it.
    """
    quarter = len(rows) // 4
    early, late = (np.median(part, axis=0) for part in (rows[quarter : 2 * quarter], rows[-quarter:]))
    memory, files = float(late[1] - early[1]), float(late[2] - early[2])
    grew = memory > max(SLACK_MB, TOLERANCE * early[1]) or files > 0
    return {
        "memory_mb": memory,
        "from_mb": float(early[1]),
        "open_files": files,
        "verdict": "growth" if grew else "no growth",
    }


def picture(rows: np.ndarray[Any, np.dtype[np.float64]], half: int) -> Figure:
    """Draw memory and open files over the steps, with the change of stage."""
    figure = new_figure(8, 4)
    panels = figure.subplots(2, 1, sharex=True)
    figure.subplots_adjust(0.1, 0.12, 0.97, 0.84, hspace=0.15)
    for axes, column, name, color in zip(panels, (1, 2), ("memory (MB)", "open files"), LINES[:2], strict=True):
        axes.plot(rows[:, 0], rows[:, column], color=color)
        axes.axvline(half, color=FAINT, linestyle=":")
        axes.set_ylim(0, 1.15 * rows[:, column].max())
        dress(axes)
        label(axes, x="step (dotted line: matching begins)" if axes is panels[1] else "", y=name)
    title(figure, "Memory and open files over a long training")
    return figure


if __name__ == "__main__":
    raise SystemExit(main())
