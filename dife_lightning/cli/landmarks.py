"""``dife landmarks``: from a few labelled faces to landmarks on all photos of a folder, in one command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from dife_lightning.cli.options import VerbParser, reader_options
from dife_lightning.errors import ConfigError, DataError, UsageError
from dife_lightning.utils.files import atomic_write
from dife_lightning.utils.notes import many, note, some
from dife_lightning.utils.run_folder import RunFolder
from dife_lightning.weights.user_paths import user_path

_ABOUT = """
Trains Meta-CSKT on the labelled faces of LABELS and on the unlabelled photos of FOLDER, and writes the landmarks of
all photos: landmarks.csv, landmarks.json (COCO), drawings, and label_next.csv with the photos to label next. A part of
the labelled faces is held out; its error is printed. LABELS is a file or folder of an annotation tool, as `dife data
convert` reads it; every other --key value is an option of its reader, such as --left subject.

The photos show one face each, or --boxes names a file with the boxes of their faces. The labelled faces are then
cropped by their boxes as well, so LABELS must have them.

The network starts from the shipped DIFE of photographs, which knows faces of people, dogs and cats.

The same command continues a run that was interrupted; --overwrite starts it anew, for example with more labels.

examples:
  dife landmarks labels.csv --images photos --run otters
  dife landmarks cvat_project --images photos --boxes boxes.json --run otters --label_next 20
"""
#: Configuration, and the model of human faces that mines positives.
CONFIG, HUMAN = "meta_cskt/_own", "photos/human-landmarks"
#: Labelled faces below which none is held out.
FEW = 5


def run(verb: str, args: list[str]) -> int:
    """Train, test and predict."""
    parser = _parser(verb)
    if (code := parser.help_code(args)) is not None:
        return code
    if args[0].startswith("-"):
        raise UsageError("name the labelled faces first, for example `dife landmarks labels.csv --images photos`.")
    own, rest = parser.parse_known_args(args)
    if not 0 <= own.held_out < 1:
        raise UsageError(f"--held_out is {own.held_out}; expected a share of the labelled faces from 0 to below 1.")
    for name, least in (("label_next", 0), ("steps", 1)):
        value = getattr(own, name)
        if value is not None and value < least:
            raise UsageError(f"--{name} is {value}; expected {least} or more.")
    from dife_lightning.cli.verbs import run_verb

    folder = f"{own.runs_root}/{own.run}"
    words, held_out, labelled = training(own, reader_options(rest))
    place = ["--run", own.run, "--runs_root", own.runs_root]
    if own.overwrite or not Path(folder).exists():
        run_verb("fit", [*words, *place, *(["--overwrite"] * own.overwrite)])
    else:
        _check_same(RunFolder(Path(own.runs_root), own.run), words)
        run_verb("fit", [*place, "--ckpt_path", "last"])  # trains nothing if it is finished
    if held_out:
        run_verb("test", ["--ckpt_path", folder])
    boxes = [] if own.boxes is None else ["--boxes", own.boxes]
    known = Path(folder) / "labelled.txt"
    with atomic_write(known) as temporary:
        temporary.write_text("".join(f"{path}\n" for path in labelled), encoding="utf-8")
    next_ones = ["--label_next", str(own.label_next), "--labelled", str(known)] if own.label_next else []
    run_verb("predict", ["--ckpt_path", folder, "--images", own.images, *boxes, *next_ones])
    return 0


def _parser(verb: str) -> VerbParser:
    parser = VerbParser(prog=f"dife {verb}", usage="dife landmarks LABELS --images FOLDER [options]", epilog=_ABOUT)
    parser.add_argument("labels", help="labelled faces: a file or folder")
    parser.add_argument("--images", required=True, metavar="FOLDER", help="photos to find landmarks on")
    parser.add_argument("--boxes", metavar="FILE", help="boxes of their faces, COCO or CSV")
    parser.add_argument("--run", default="landmarks", help="name of the run (landmarks)")
    parser.add_argument("--runs_root", default="runs", help="folder of the runs (runs)")
    parser.add_argument("--from", metavar="READER", default="", dest="reader", help="reader of LABELS (recognised)")
    parser.add_argument("--held_out", type=float, default=0.25, help="share of labelled faces held out (0.25)")
    parser.add_argument("--label_next", type=int, default=10, help="photos to suggest for labelling (10)")
    parser.add_argument("--steps", type=int, help="steps of the training, in place of the configuration's")
    parser.add_argument("--overwrite", action="store_true", help="replace a run of this name")
    return parser


def _check_same(run: RunFolder, words: list[str]) -> None:
    """Check that a run can be continued with ``words``, those that it was started with; UsageError otherwise."""
    again = f"add --overwrite to replace {run.path}, or choose another --run"
    if not run.last_checkpoint.is_file():
        raise UsageError(f"{run.path} exists and has no checkpoint to continue from; {again}.")
    verb_and_words = run.command()[1:]
    if verb_and_words[: 1 + len(words)] != ["fit", *words]:
        raise UsageError(f"{run.path} was trained with other labels, photos or options; {again}.")
    note(f"{run.path} exists: it is continued from its last checkpoint ({again})")


def training(own: Any, options: dict[str, Any]) -> tuple[list[str], int, list[Path]]:
    """Return the words of `dife fit`, how many labelled faces are held out, and the labelled photos.

    Raises:
        DifeError: what reading the labelled faces raises; no labelled face; a folder that is not there.
    """
    reader, root, found, faces = _recognised(own, options)
    domain = {"dataset": reader, "root": str(root), "options": {**found, **options}}
    crop = {"rule": "whole"} if own.boxes is None else {"rule": "box", "factor": 1.2}
    if own.boxes is not None and any(face.box is None for face in faces.annotations):
        raise DataError(
            f"{own.labels} has no boxes of its faces, but --boxes is given; label boxes too, or omit --boxes"
        )
    from dife_lightning.data.photos.pair_draws import unit_names, usable_faces
    from dife_lightning.faces.landmark_sets import ALL_POINTS
    from dife_lightning.geometry.crops import CropOptions

    usable = usable_faces(faces, ALL_POINTS, CropOptions(**crop))
    if not usable.order:
        raise DataError(f"{own.labels}: no labelled face can be used: {some(usable.refused_faces())}")
    subjects = len(set(unit_names(faces, "subject"))) if usable.kin() else 0
    if subjects == 1:
        note("all labelled faces are of one subject: the error is an estimate for other photos of it alone")
        usable = replace(usable, apart="picture")
    held_out = _held_out(usable, own.held_out)
    data: dict[str, Any] = {"domains": {"own": domain}, "folders": {"photos": own.images}, "crop": crop}
    data |= {"boxes": {} if own.boxes is None else {"photos": own.boxes}}
    evaluation = {"domains": {"own": domain}, "crop": crop, "count": max(1, held_out), "keep_apart": usable.apart}
    words = ["--config", CONFIG, "--config", _trainer()]
    words += _as_words("data.init_args", data)
    evaluated = _as_words("data.init_args.evaluation.init_args", evaluation)
    words += evaluated if held_out else ["--data.init_args.evaluation=null"]
    words += _as_words("model.init_args", _model(faces, own.steps))
    return words, held_out, sorted({face.image.absolute() for face in faces.annotations})


def _as_words(place: str, settings: dict[str, Any]) -> list[str]:
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    return [f"--{place}.{key}={text}" for key, text in texts.items()]


def _recognised(own: Any, options: dict[str, Any]) -> tuple[str, Path, dict[str, Any], Any]:
    """Return the reader of the labelled faces, its root and options, and the faces.

    Their photos are beside LABELS, or else in the folder of the photos, as for a file that was downloaded.
    """
    from dife_lightning.datasets.parsing.recognising import reader_of

    images = Path(own.images).expanduser()
    if not images.is_dir() and not own.images.startswith("own/"):
        raise UsageError(f"--images {own.images}: no such folder. Give the folder that holds the photos.")
    reader, root, found = reader_of(own.labels, own.reader)
    try:
        return reader, root.absolute(), found, _labelled(reader, root, {**found, **options})
    except DataError:
        reader, other, moved = reader_of(own.labels, own.reader, str(user_path(own.images)))
        try:
            faces = _labelled(reader, other, {**moved, **options})
        except DataError:
            pass  # the first reason says more
        else:
            note(f"the labelled photos are taken from {own.images}: they are not beside {own.labels}")
            return reader, other.absolute(), moved, faces
        raise


def _labelled(reader: str, root: Path, options: dict[str, Any]) -> Any:
    """Return the reader of the labelled faces, their pictures in its folder."""
    from dife_lightning.datasets._load import load_dataset

    faces = load_dataset(reader, root, **options)
    if not len(faces):
        raise DataError(f"{root} has no labelled face; label 5 or more")
    return faces


def _held_out(usable: Any, share: float) -> int:
    """Return how many of the usable labelled faces are held out, all of a subject or none, and say so."""
    from dife_lightning.data.photos.single_faces import whole_subjects

    count = len(usable.order)
    most = min(count - 1, max(1, round(count * share))) if share and count >= FEW else 0
    held_out = len(whole_subjects(usable, most)) if most else 0
    if held_out:
        kin = f", no {usable.apart} on both sides" if usable.kin() else ""
        told = f"{count - held_out} for the training, {held_out} held out{kin}"
        note(f"{many(count, 'labelled face')}: {told}; the error on these is an estimate")
    else:
        note(f"{many(count, 'labelled face')}, all for the training: no estimate of the error (5 or more give one)")
    return held_out


def _model(faces: Any, steps: int | None) -> dict[str, Any]:
    """Return landmarks, start weights and mining of the model, as its landmarks allow."""
    from dife_lightning.faces.landmark_sets import shared_points
    from dife_lightning.faces.schemes import get_scheme
    from dife_lightning.loading import load

    scheme = get_scheme(faces.scheme)
    built_in = isinstance(faces.scheme, str)
    found: dict[str, Any] = {"landmarks": faces.scheme if built_in else list(scheme.landmarks)}
    if not built_in:
        found["left"] = "subject" if scheme.eye_convention == "subject" else "viewer"
    if not scheme.flip_pairs:
        note("no left/right pairs among the landmarks: faces are not mirrored, and no hard negative is dropped")
        found["mining.t_neg"] = None
    try:
        human: Any = load(HUMAN)
        shared_points((human.scheme, scheme))
    except ConfigError:
        note("no landmark is one of human faces (left_eye, right_eye, nose): no positive is mined")
        found["mining.t_pos"] = None
    if steps is not None:
        found |= {"steps": steps, "warmup_steps": steps // 2}
    return found


def _trainer() -> str:
    import torch

    return "trainer/gpu_bf16" if torch.cuda.is_available() else "trainer/cpu"
