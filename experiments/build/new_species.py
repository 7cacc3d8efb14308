"""A new species from a folder of photos: look at them, train a generator, train DIFE with it, carry landmarks over.

``python -m experiments.build.new_species --folder my/photos`` prints each `dife` command that it runs, so that it can
be typed again. Without photos, ``--world fox --count 200`` writes renders of a species of the embedded world first. A
training that is finished is kept, one that was interrupted goes on. See docs/new_species.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dife_lightning.cli.settings import resolved_settings
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.utils.files import atomic_write, cache_folder, write_json
from experiments.build.parts import budget
from experiments.build.species_transfers import marked_face, transfers
from experiments.common import runs
from experiments.common.cells import changes
from experiments.common.runs import Run, guarded

if TYPE_CHECKING:
    from dife_lightning.data.photos.folder_check import FolderReport

State = Literal["new", "interrupted", "finished"]
#: Trainings of a few steps that show nothing but that everything runs; for tests.
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


@dataclass(frozen=True)
class Training:
    """One `dife fit`.

    Attributes:
        run: where it goes.
        words: verb and options that say what is trained.
        settings: all settings that these words resolve to.
        budget_key: the option that makes it longer.
    """

    run: Run
    words: Sequence[str]
    settings: Mapping[str, Any]
    budget_key: str

    @property
    def size(self) -> int:
        """Side of the images in pixels, where the method has one."""
        return int(self.settings["model"]["init_args"]["size"])

    def state(self) -> State:
        """Return how far the run is.

        Raises:
            ConfigError: it was made with other settings than these (its length apart).
        """
        if not self.run.last_checkpoint.is_file():
            return "new"
        found = changes(_decisive(self.run.settings()), _decisive(self.settings))
        if found:
            raise ConfigError(
                f"{self.run.folder} was trained with other settings ({', '.join(found[:3])}); choose another --name, "
                "or add --overwrite to train it anew"
            )
        return "finished" if is_finished(self.run.last_checkpoint, budget(self.settings)) else "interrupted"

    def fit(self, state: State) -> None:
        """Train: from the start, from where it was interrupted, or not at all."""
        if state == "finished":
            print(f"{self.run.folder}: finished before, it is kept (--overwrite trains it anew)", flush=True)
        elif state == "interrupted":
            runs.call([*runs.resume_words(self.run), f"{self.budget_key}={budget(self.settings)}"])
        else:
            place = ["--run", self.run.name, "--runs_root", str(self.run.root)]
            runs.call([*self.words, *place, *(["--overwrite"] if self.run.folder.exists() else [])])


def _decisive(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what decides the weights at a given length of the training."""
    kept = json.loads(json.dumps({key: settings.get(key) for key in ("seed_everything", "model", "data")}))
    kept["model"]["init_args"].pop("max_images", None)
    return dict(kept)


def is_finished(checkpoint: Path, wanted: int) -> bool:
    """Return whether a training has used up its budget of images or steps, or was stopped early by its score."""
    from dife_lightning.weights.checkpoints import read_checkpoint

    content = read_checkpoint(checkpoint)
    done = int(content["state_dict"].get("images_seen", content["global_step"]))
    waiting = [state for state in content.get("callbacks", {}).values() if "wait_count" in state]
    return done >= wanted or any(state["wait_count"] >= state["patience"] for state in waiting)


def main(words: Sequence[str] | None = None) -> int:
    """Do everything; returns the exit code."""
    options = parse(words)
    return guarded(lambda: build(options), "the same command goes on")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options and fill in those that depend on others."""
    parser = argparse.ArgumentParser(prog="python -m experiments.build.new_species", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--folder", type=Path, help="photos of the new species, one face each, in the middle")
    what.add_argument("--world", metavar="SPECIES", help="write renders of this species of the embedded world instead")
    add = parser.add_argument
    add("--count", type=int, default=200, help="renders for --world (%(default)s)")
    add("--name", help="of the runs: <name> and human_<name>; `new`, or the species of --world")
    add("--start", help="generator to start from: a name of `dife assets`, a run, a file, or none (world/dog)")
    add("--human-generator", default="world/human", help="generator of the human faces (%(default)s)")
    add("--human", type=Path, help="a human face to carry points from, in place of the embedded world's")
    add("--points", type=Path, help="its points: a CSV file with x,y or name,x,y in pixels of that image")
    add("--images", type=int, help="length of the generator's training; the configuration's")
    add("--steps-warmup", type=int, help="steps of DIFE's warm-up; the configuration's")
    add("--steps", type=int, help="steps of both stages of DIFE; the configuration's")
    add("--generator-config", default="stylegan2/small", help="(%(default)s)")
    add("--dife-config", default="world/human_new", help="(%(default)s)")
    add("--trainer", default="trainer/cpu", help="trainer preset (%(default)s)")
    add("--seed", type=int, default=0, help="of everything that is drawn")
    add("--out", type=Path, default=Path("results/new_species"), help="folder of the results (%(default)s)")
    add("--runs_root", type=Path, default=Path("runs"), help="folder of the runs (%(default)s)")
    add("--overwrite", action="store_true", help="train anew what is there already")
    add("--fast", action="store_true", help="a few steps, to see that everything runs")
    options = parser.parse_args(words)
    if (options.human is None) != (options.points is None):
        parser.error("--human and --points go together")
    options.name = options.name or options.world or "new"
    return options


def build(options: argparse.Namespace) -> dict[str, Any]:
    """Check, train, carry over and draw; returns what is in ``summary.json``."""
    _heading(1, "Photos")
    generator_settings = resolved_settings(["fit", "--config", options.generator_config])
    size = int(generator_settings["data"]["init_args"]["size"])
    folder = options.folder or write_renders(options.world, options.count, size, options.out / "photos")
    report = check_photos(folder, size)
    generator, dife = generator_training(options, folder), dife_training(options)
    human = marked_face(options.human, options.points, dife.size) if options.human else None
    states = _states(generator, dife, options.overwrite)
    _heading(2, "Generator of the new species")
    generator.fit(states[0])
    copy_last_sheet(generator.run.folder / "samples", options.out / "samples.png")
    _heading(3, "DIFE for human and the new species")
    dife.fit("new" if _is_older(dife, generator) else states[1])
    _heading(4, "Transfers")
    rows = transfers(options, dife.run, dife.settings, report, human)
    summary = {
        "name": options.name,
        "photos": {"folder": folder, "count": report.count, "usable": report.usable},
        "runs": {"generator": generator.run.folder, "dife": dife.run.folder},
        "rows": rows,
        "seed": options.seed,
        "fast": options.fast,
    }
    write_json(options.out / "summary.json", summary)
    print(f"\nresults: {', '.join(sorted(path.name for path in options.out.glob('*.*')))} in {options.out}")
    return summary


def _heading(number: int, text: str) -> None:
    print(f"\n── {number}. {text} ──", flush=True)


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
            with atomic_write(path) as temporary:
                Image.fromarray(image).save(temporary, format="PNG")
    print(f"{place}: {count} renders of the embedded world's {species}", flush=True)
    return place


def check_photos(folder: Path, size: int) -> FolderReport:
    """Print what is wrong with the photos and what to do.

    Raises:
        DataError: there is something that no generator can be trained on.
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


def generator_training(options: argparse.Namespace, folder: Path) -> Training:
    """Return the training of the new species' generator."""
    words = _fit_words(options.generator_config, options, f"--data.init_args.folder={folder}")
    if options.start is not None:
        words.append(f"--model.init_args.init_from={'null' if options.start == 'none' else options.start}")
    words += FAST_GENERATOR if options.fast else ()
    key = "--model.init_args.max_images"
    words += [] if options.images is None else [f"{key}={options.images}"]
    return Training(Run(options.runs_root, options.name), words, resolved_settings(words), key)


def dife_training(options: argparse.Namespace) -> Training:
    """Return the training of DIFE with that generator."""
    names = json.dumps({"human": options.human_generator, "new": str(options.runs_root / options.name)})
    places = [f"--{part}.init_args.generators={names}" for part in ("model", "data")]
    words = _fit_words(options.dife_config, options, *places, *(FAST_DIFE if options.fast else ()))
    key = "--trainer.max_steps"
    words += [] if options.steps_warmup is None else [f"--model.init_args.warmup_steps={options.steps_warmup}"]
    words += [] if options.steps is None else [f"{key}={options.steps}"]
    return Training(Run(options.runs_root, f"human_{options.name}"), words, resolved_settings(words), key)


def _fit_words(config: str, options: argparse.Namespace, *more: str) -> list[str]:
    keys = ("seed_everything", "model.init_args.seed", "data.init_args.seed")
    seeds = [f"--{key}={options.seed}" for key in keys]
    return ["fit", "--config", config, "--config", options.trainer, *seeds, *more]


def _states(generator: Training, dife: Training, overwrite: bool) -> tuple[State, State]:
    """Return how far both runs are, before the long training begins."""
    return ("new", "new") if overwrite else (generator.state(), dife.state())


def _is_older(dife: Training, generator: Training) -> bool:
    """Return whether DIFE was trained with an earlier state of the generator."""
    from dife_lightning.loading import best_checkpoint

    record = dife.run.folder / "resolved.yaml"
    return record.is_file() and best_checkpoint(generator.run.folder).stat().st_mtime > record.stat().st_mtime


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
