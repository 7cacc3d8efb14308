"""What `make world` builds: each part with its configuration, its training, its score, and how it is shipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dife_lightning.cli.settings import resolved_settings
from dife_lightning.errors import ConfigError, TrainingError
from dife_lightning.utils.files import sha256
from dife_lightning.utils.run_folder import RunFolder
from dife_lightning.weights.assets import list_assets, register_asset
from experiments.common.jobs import Job
from experiments.common.keys import settings_key
from experiments.common.plan import check_names

#: A part is refused if its score is worse than the recorded one by more than this factor.
TOLERANCE = 1.25


@dataclass(frozen=True)
class Part:
    """One shipped file and the recipe behind it.

    Attributes:
        name: name of the run, and of the part on the command line.
        asset: the name under which it is shipped.
        kind: ``generator`` or ``surface-teacher``.
        config: the configuration that ``dife fit`` takes.
        minutes: training time on one thread of a server CPU with AMX (Xeon of 2023), without rendering.
        parent: the part whose checkpoint it starts from.
        overrides: further words for ``dife fit``.
    """

    name: str
    asset: str
    kind: Literal["generator", "surface-teacher"]
    config: str
    minutes: float
    parent: str | None = None
    overrides: tuple[str, ...] = ()

    @property
    def metric(self) -> str:
        """The score, lower is better."""
        return "val/fid" if self.kind == "generator" else "val/pixel_error"

    @property
    def unit(self) -> str:
        """Unit of its training's length."""
        return "images" if self.kind == "generator" else "steps"


PARTS = (
    Part("human", "world/human", "generator", "stylegan2/world_human", 62),
    Part("dog", "world/dog", "generator", "stylegan2/world_dog", 33, parent="human"),
    Part("cat", "world/cat", "generator", "stylegan2/world_cat", 55, parent="human"),
    Part("teacher", "world/teacher", "surface-teacher", "world/teacher", 2),
)


def select(names: Sequence[str] | None) -> list[Part]:
    """Return the parts of the given names, all by default, in the order in which they are built.

    Raises:
        ConfigError: a name is not a part.
    """
    check_names("--only: no part {}", names, [part.name for part in PARTS])
    return [part for part in PARTS if not names or part.name in names]


def job_of(part: Part, root: Path, trainer: str) -> tuple[Job, dict[str, Any]]:
    """Return the training of a part and all its settings.

    Args:
        part: the part to train.
        root: folder of the runs.
        trainer: trainer preset.

    Raises:
        ConfigError: the configuration is not understood.
    """
    words = ["fit", "--config", part.config, *part.overrides]
    parent = None if part.parent is None else RunFolder(root, part.parent).last_checkpoint
    words += [] if parent is None else ["--model.init_args.init_from", str(parent)]
    words += ["--config", trainer]
    try:
        settings = resolved_settings(words)
    except ConfigError as error:
        raise ConfigError(f"part '{part.name}': {error}") from None
    return Job(RunFolder(root, part.name), words, settings_key(settings), budget(settings), parent=parent), settings


def budget(settings: Mapping[str, Any]) -> int:
    """Return the training images of a generator's settings, or the steps of another method's."""
    images = settings["model"]["init_args"].get("max_images")
    return int(images if images is not None else settings["trainer"]["max_steps"])


def score(part: Part, module: Any, settings: Mapping[str, Any]) -> float:
    """Return the score of a trained module on val renders, in fp32: FID-like distance, or teacher's pixel error."""
    from dife_lightning.callbacks.keypoint_transfer import KeypointTransfer
    from dife_lightning.data.images import GeneratorImages
    from dife_lightning.data.world.pairs import WorldPairs
    from experiments.common.untrained import quiet_trainer

    arguments = settings["data"]["init_args"]
    generator = part.kind == "generator"
    data = GeneratorImages(**arguments) if generator else WorldPairs(**arguments["evaluation"]["init_args"])
    with quiet_trainer(*([] if generator else [KeypointTransfer(val_pictures=0)])) as trainer:
        found = trainer.validate(module, data, verbose=False)
    return float({key: value for row in found for key, value in row.items()}[part.metric])


def check_quality(part: Part, found: float, accept: bool) -> None:
    """Refuse a part that is clearly worse than the shipped one.

    Raises:
        TrainingError: the score is more than a quarter above the recorded one, or not a number.
    """
    recorded = list_assets().get(part.asset, {}).get("score")
    if not found >= 0:
        raise TrainingError(f"{part.asset}: {part.metric} is {found}; train it again with --force --only {part.name}")
    if recorded is not None and found > TOLERANCE * recorded and not accept:
        raise TrainingError(
            f"{part.asset}: {part.metric} is {found:.2f}, the shipped one has {recorded:.2f}; it is not replaced. "
            f"Train it again with --force --only {part.name}, or add --accept to replace it anyway."
        )


def _exported(run: RunFolder) -> Path:
    """Return the exported file of a run, which is copied to the shipped ones."""
    return run.root / "export" / f"{run.name}.safetensors"


def is_shipped(part: Part, run: RunFolder) -> bool:
    """Return whether the last state of a part's run is the shipped file."""
    path = _exported(run)
    if not path.is_file() or path.stat().st_mtime < run.last_checkpoint.stat().st_mtime:
        return False
    return list_assets().get(part.asset, {}).get("sha256") == sha256(path)


def ship(part: Part, module: Any, settings: Mapping[str, Any], found: float, run: RunFolder) -> Path:
    """Export a trained module, check that it can be read, and register it; returns the shipped file."""
    from dife_lightning.pretrained.embedders import load_embedder
    from dife_lightning.pretrained.generators import load_generator
    from dife_lightning.world import WORLD_VERSION

    path = _exported(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    module.export(str(path))
    (load_generator if part.kind == "generator" else load_embedder)(path)
    info: dict[str, Any] = {
        "seed": settings.get("seed_everything"),
        part.unit: budget(settings),
        "metric": part.metric,
        "score": round(found, 4),
        "config": part.config,
        "world_version": WORLD_VERSION,
    }
    return register_asset(part.asset, path, part.kind, **info)
