"""``dife predict --images FOLDER``: what it stands for, and what of the training it takes over.

``--images`` and ``--boxes`` stand for the data module ``PhotoFaces``. The model is that of the checkpoint, and so are
the size and, where it fits, the crop of the faces.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dife_lightning.errors import CheckpointError, DifeError, UsageError
from dife_lightning.registry import find_class
from dife_lightning.running.configs import given_settings, option_value, options_of, read_config
from dife_lightning.running.folders import run_of_checkpoint
from dife_lightning.running.run_record import class_name, part
from dife_lightning.utils.notes import note
from dife_lightning.utils.run_folder import RESOLVED
from dife_lightning.weights.user_paths import PREFIX

#: Class of the data that ``--images`` stands for.
DATA = "PhotoFaces"
_WITH_IMAGES = ("--boxes", "--pictures", "--label_next", "--label-next", "--labelled")


def with_images(verb: str, words: list[str]) -> list[str]:
    """Add the data that ``--images`` stands for to the words of a command, configurations as paths.

    Raises:
        UsageError: ``--images`` without a checkpoint or beside other data, no such folder, or options that need it.
    """
    folder = option_value(words, "--images")
    if verb != "predict" or folder is None:
        lonely = [name for name, _ in options_of(words) if name in _WITH_IMAGES]
        if verb == "predict" and lonely:
            raise UsageError(f"{lonely[0]} needs --images FOLDER, the photos to find landmarks on.")
        return words
    if any(name in ("--data", "--data.class_path") for name, _ in options_of(words)):
        raise UsageError("--images stands for data of its own; give --images or --data, not both.")
    if option_value(words, "--ckpt_path") is None and "--allow_untrained" not in words:
        raise UsageError("--images needs a trained landmark model: --ckpt_path runs/<run>.")
    if not folder.startswith(PREFIX) and not Path(folder).expanduser().is_dir():
        raise UsageError(f"--images {folder}: no such folder. Give the folder that holds the photos.")
    boxes = option_value(words, "--boxes")
    if boxes is not None and not Path(boxes).expanduser().is_file():
        raise UsageError(f"--boxes {boxes}: no such file. Give a COCO or CSV file of the boxes of the faces.")
    given = [f"--data={DATA}", f"--data.init_args.pictures={folder}", f"--data.init_args.boxes={boxes or 'null'}"]
    # after the configurations, whose data they replace, and before the user's options of the data
    ends = [k + 1 if "=" in word else k + 2 for k, word in enumerate(words) if word.split("=")[0] in ("-c", "--config")]
    end = max(ends, default=0)
    return [*words[:end], *given, "--data.init_args.skip_broken=false", *words[end:]]


def takes_model(given: Mapping[str, Any]) -> bool:
    """Return whether a command predicts on photos with the model that its checkpoint states, since it gives none."""
    photos = class_name(given.get("data")) == DATA
    return photos and given.get("ckpt_path") is not None and not given.get("model")


def with_model(verb: str, words: list[str]) -> list[str]:
    """Add the model of the checkpoint to a command that predicts on photos and names none.

    The other settings of its run, such as short trainings for a test, have nothing to do with the photos, and are not
    used. Call it when the methods are imported.

    Raises:
        CheckpointError: what :func:`dife_lightning.loading.method_class` raises.
    """
    given = given_settings(words, of_last_class=True)
    if verb != "predict" or not takes_model(given):
        return words
    from dife_lightning.loading import method_class, method_file
    from dife_lightning.weights.checkpoints import read_checkpoint

    path = method_file(str(given["ckpt_path"]))
    content = read_checkpoint(path)
    if not isinstance(content.get("hyper_parameters"), dict):
        raise CheckpointError(f"{path} is not a checkpoint of dife-lightning: it has no 'hyper_parameters'.")
    cls = method_class(path, content)
    return [f"--model={cls.__module__}.{cls.__name__}", *words]


def check_model(cls: type[Any] | None) -> None:
    """Raise UsageError for the class of a model that finds no landmarks on photos of their own."""
    if cls is not None and not hasattr(cls, "detect_batch"):
        raise UsageError(
            f"--images needs a landmark model; {cls.__name__} finds no landmarks on a photo alone. Carry those of a "
            "labelled face over with UnlabelledPairs (docs/photographs.md), or train a LandmarkNet."
        )


def trained_words(args: list[str], content: Mapping[str, Any], checkpoint: Path | None) -> list[str]:
    """Return options that give ``PhotoFaces`` the landmarks of the model, and the size and the crop of its training.

    What the user gives for the data is kept.

    Args:
        args: of the command, configurations as paths.
        content: of the checkpoint.
        checkpoint: its file.

    Raises:
        CheckpointError: the checkpoint states something else under these names.
    """
    settings = given_settings(args, of_last_class=True)
    data, model = settings.get("data") or {}, settings.get("model") or {}
    if class_name(data) != DATA:
        return []
    stated, trained = data.get("init_args") or {}, _trained(content, checkpoint)
    given = stated.get("crop") or {}
    crop = dict(given) if "rule" in given else _fitting(trained.get("crop"), stated.get("boxes") is not None) | given
    found = {
        "landmarks": stated.get("landmarks") or _stated(model, content, "landmarks") or _of_class(model),
        "left": stated.get("left") or _stated(model, content, "left") or "viewer",
        "size": stated.get("size", trained.get("size")),
        "crop": crop or None,
    }
    # also where nothing is known: the parser would keep what the data of the training have under these names
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}
    return [f"--data.init_args.{name}={text}" for name, text in texts.items()]


def _stated(model: Mapping[str, Any], content: Mapping[str, Any], name: str) -> Any:
    """Return an option of a model: as its settings have it, or its checkpoint; None if neither does."""
    parts = (model.get("init_args"), content.get("hyper_parameters"))
    return next((part[name] for part in parts if isinstance(part, Mapping) and part.get(name)), None)


def _of_class(model: Mapping[str, Any]) -> Any:
    """Return the landmarks of the class of a model."""
    scheme = getattr(find_class(str(model.get("class_path"))), "scheme", "animalweb-9")
    return scheme if isinstance(scheme, str) else list(getattr(scheme, "landmarks", ())) or "animalweb-9"


def _trained(content: Mapping[str, Any], checkpoint: Path | None) -> dict[str, Any]:
    """Return size and crop of the training: as the checkpoint states them, or the settings of its run."""
    from dife_lightning.methods._landmarks import TRAINED_ON, trained_on

    run = run_of_checkpoint(checkpoint)
    if TRAINED_ON in content or run is None:
        return trained_on(content)
    try:
        settings = part(read_config(run / RESOLVED), "data", "init_args")
        return trained_on({TRAINED_ON: {key: settings.get(key) for key in ("size", "crop")}})
    except DifeError:  # the run is of another data module, or its record is gone
        return {}


def _fitting(crop: Mapping[str, Any] | None, boxed: bool) -> dict[str, Any]:
    """Return the crop of the training if photos without landmarks can be cropped so; else the nearest one to it."""
    if crop is None:
        return {}
    rule, own = crop.get("rule"), "box" if boxed else "whole"
    if rule in (("box", "animalweb") if boxed else ("whole",)):
        return dict(crop)
    hint = "" if boxed else "; give --boxes FILE if the faces do not fill the photos"
    note(f"the model was trained on crops by the rule '{rule}'; these photos are cropped by '{own}'{hint}")
    return {"rule": own, **{key: crop[key] for key in ("padding", "min_side") if key in crop}}
