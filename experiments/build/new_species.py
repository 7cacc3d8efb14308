"""A new species from a folder of photos: check them, train a generator, train DIFE with it, transfer landmarks.

``python -m experiments.build.new_species --folder my/photos`` prints each `dife` command that it runs. Without photos,
``--world fox --count 200`` renders a species of the embedded world first. Finished trainings are kept and interrupted
ones continue. See docs/new_species.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dife_lightning
from dife_lightning.cli.settings import resolved_settings
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.utils.files import atomic_buffer, atomic_write, cache_folder, write_json
from dife_lightning.utils.run_folder import RunFolder
from experiments.build.parts import budget
from experiments.build.species_transfers import draw_photos, marked_face, score_world
from experiments.common.commands import guarded, heading
from experiments.common.jobs import Job, State, fit_words
from experiments.common.keys import settings_key

if TYPE_CHECKING:
    from dife_lightning.data.photos.folder_check import FolderReport

#: Options of ``--fast``: a few steps, only to check that everything runs.
FAST_GENERATOR = (
    "--model.init_args.max_images=16",
    "--data.init_args.batch_size=4",
    "--trainer.val_check_interval=2",
)
FAST_DIFE = (
    "--model.init_args.warmup_steps=2",
    "--model.init_args.distillation.statistics_samples=8",
    "--model.init_args.exploration.steps=2",
    "--model.init_args.pairs={refresh_every: 2, per_refresh: 2, first: 2, bank_size: 4, batch_size: 4}",
    "--data.init_args.evaluation.init_args.val_count=2",
    "--trainer.max_steps=4",
    "--trainer.val_check_interval=2",
)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parse(words)
    return guarded(lambda: build(options), "run the same command again to continue")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options and fill in those that depend on others."""
    parser = argparse.ArgumentParser(prog="python -m experiments.build.new_species", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--folder", type=Path, help="photos of the new species, one face each, in the centre")
    what.add_argument("--world", metavar="SPECIES", help="use renders of this species of the embedded world instead")
    add = parser.add_argument
    add("--count", type=int, default=200, help="number of renders for --world (%(default)s)")
    add("--name", help="the runs are <name> and human_<name>; default: `new`, or the species of --world")
    add(
        "--start", help="generator to start from: a name of `dife assets`, a run, a file, or `none`; default: world/dog"
    )
    add("--human-generator", default="world/human", help="generator of the human faces (%(default)s)")
    add(
        "--human",
        type=Path,
        help="image of a human face whose points are transferred; default: faces of the embedded world",
    )
    add("--points", type=Path, help="CSV file of its points: rows of x,y or name,x,y in pixels of that image")
    add("--images", type=int, help="training images of the generator; default: as configured")
    add("--steps-warmup", type=int, help="steps of DIFE's warm-up; default: as configured")
    add("--steps", type=int, help="steps of both stages of DIFE together; default: as configured")
    add("--generator-config", default="stylegan2/small", help="(%(default)s)")
    add("--dife-config", default="world/human_new", help="(%(default)s)")
    add("--trainer", default="trainer/cpu", help="trainer preset (%(default)s)")
    add("--seed", type=int, default=0, help="of the trainings (%(default)s)")
    add("--out", type=Path, default=Path("results/new_species"), help="folder of the results (%(default)s)")
    add("--runs_root", type=Path, default=Path("runs"), help="folder of the runs (%(default)s)")
    add("--overwrite", action="store_true", help="train again even if a run exists")
    add("--fast", action="store_true", help="a few steps, to check that everything runs")
    options = parser.parse_args(words)
    if (options.human is None) != (options.points is None):
        parser.error("--human and --points go together")
    options.name = options.name or options.world or "new"
    return options


def build(options: argparse.Namespace) -> dict[str, Any]:
    """Check, train, transfer and draw; returns the content of ``summary.json``."""
    heading(1, "Photos")
    generator_settings = resolved_settings(["fit", "--config", options.generator_config])
    size = int(generator_settings["data"]["init_args"]["size"])
    folder = options.folder or write_renders(options.world, options.count, size, options.out / "photos")
    report = check_photos(folder, size)
    generator, (dife, settings) = generator_training(options, folder), dife_training(options)
    side = int(settings["model"]["init_args"]["size"])
    human = marked_face(options.human, options.points, side) if options.human else None
    states = [state_of(job, options.overwrite) for job in (generator, dife)]  # errors come before the long training
    heading(2, "Generator of the new species")
    fit(generator, states[0])
    copy_last_sheet(generator.run.path / "samples", options.out / "samples.png")
    heading(3, "DIFE for human and the new species")
    fit(dife, "new" if _is_older(dife.run, generator.run) else states[1])
    heading(4, "Transfers")
    method: Any = dife_lightning.load(dife.run.path)
    if options.world is None or human is not None:
        draw_photos(options, method, report, human)
    rows = [] if options.world is None else score_world(options, method, settings, draw=human is None)
    summary = {
        "name": options.name,
        "photos": {"folder": folder, "count": report.count, "usable": report.usable},
        "runs": {"generator": generator.run.path, "dife": dife.run.path},
        "rows": rows,
        "seed": options.seed,
        "fast": options.fast,
    }
    write_json(options.out / "summary.json", summary)
    print(f"\nresults: {', '.join(sorted(path.name for path in options.out.glob('*.*')))} in {options.out}")
    return summary


# Photos


def write_renders(species: str, count: int, size: int, folder: Path) -> Path:
    """Write train renders of a species of the embedded world as PNG files; returns their folder."""
    from PIL import Image

    from dife_lightning.world.dataset import render_arrays

    place = folder / f"{species}-{count}x{size}"
    paths = [place / f"{number:05d}.png" for number in range(count)]
    if not all(path.is_file() for path in paths):
        images = render_arrays(species, "train", count, size, cache_folder() / "renders")
        for path, image in zip(paths, images, strict=True):
            with atomic_buffer(path) as buffer:
                Image.fromarray(image).save(buffer, format="PNG")
    print(f"{place}: {count} renders of the embedded world's {species}", flush=True)
    return place


def check_photos(folder: Path, size: int) -> FolderReport:
    """Print what is wrong with the photos and how to fix it.

    Raises:
        DataError: no generator can be trained on these photos.
    """
    from dife_lightning.data.photos.folder_check import advice, check_folder

    report = check_folder(folder, size)
    errors = []
    for level, text in advice(report):
        if level == "error":
            errors.append(text)
        else:
            print(f"{'!' if level == 'warning' else '✓'} {text}", flush=True)
    if errors:
        raise DataError("; ".join(errors))
    return report


# Trainings


def generator_training(options: argparse.Namespace, folder: Path) -> Job:
    """Return the training of the new species' generator."""
    more = [f"--data.init_args.folder={folder}", *(FAST_GENERATOR if options.fast else ())]
    if options.start is not None:
        more.append(f"--model.init_args.init_from={'null' if options.start == 'none' else options.start}")
    length = "model.init_args.max_images"
    more += [] if options.images is None else [f"--{length}={options.images}"]
    return _training(options.generator_config, options, options.name, more, length)[0]


def dife_training(options: argparse.Namespace) -> tuple[Job, dict[str, Any]]:
    """Return the training of DIFE with that generator, and its settings."""
    generators = json.dumps({"human": options.human_generator, "new": str(options.runs_root / options.name)})
    more = [f"--{part}.init_args.generators={generators}" for part in ("model", "data")]
    more += FAST_DIFE if options.fast else ()
    length = "trainer.max_steps"
    more += [] if options.steps_warmup is None else [f"--model.init_args.warmup_steps={options.steps_warmup}"]
    more += [] if options.steps is None else [f"--{length}={options.steps}"]
    return _training(options.dife_config, options, f"human_{options.name}", more, length)


def _training(
    config: str, options: argparse.Namespace, name: str, more: Sequence[str], length: str
) -> tuple[Job, dict[str, Any]]:
    """Return a training, which continues if only the setting ``length`` was raised, and its settings."""
    words = fit_words(config, options.seed, more, options.trainer)
    settings, run = resolved_settings(words), RunFolder(options.runs_root, name)
    return Job(run, words, settings_key(settings, [length]), budget(settings), free=[length]), settings


def state_of(job: Job, overwrite: bool) -> State:
    """Return the state of a training; with ``overwrite`` it is new.

    Raises:
        ConfigError: the run was made with other settings.
    """
    if overwrite:
        return "new"
    state, why = job.state()
    if state == "changed":
        text = f"{job.run.path} was trained with other settings ({why}); choose another --name, or add --overwrite"
        raise ConfigError(f"{text} to train it anew")
    return state


def fit(job: Job, state: State) -> None:
    """Train from the start, continue an interrupted training, or keep a finished one."""
    if state == "finished":
        print(f"{job.run.path}: already finished, kept (--overwrite trains it anew)", flush=True)
    else:
        job.fit(state, [f"--{job.free[0]}={job.budget}"])


def _is_older(dife: RunFolder, generator: RunFolder) -> bool:
    """Return whether DIFE was trained with an earlier state of the generator."""
    from dife_lightning.loading import best_checkpoint

    used = best_checkpoint(generator.path)
    return dife.resolved.is_file() and used.stat().st_mtime > dife.resolved.stat().st_mtime


def copy_last_sheet(folder: Path, target: Path) -> None:
    """Copy the newest sheet of samples; a configuration without sheets has none."""
    sheets = sorted(folder.glob("*.png"))
    if not sheets:
        print(f"{folder} holds no sheets of samples: add the callback SampleSheet to see how the generator learns")
        return
    with atomic_write(target) as temporary:
        shutil.copyfile(sheets[-1], temporary)


if __name__ == "__main__":
    sys.exit(main())
