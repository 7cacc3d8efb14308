"""Measures or reads the shifts of all unlabelled faces, and sorts the faces."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import image_tensor
from dife_lightning.faces.few_labels import FewLabelFaces
from dife_lightning.faces.schemes import Scheme, get_scheme
from dife_lightning.geometry.heatmaps import DecodeOptions, decode
from dife_lightning.methods._heatmap_networks import load_start
from dife_lightning.methods._meta_cskt.options import MiningOptions
from dife_lightning.mining import Mining, flip_shift, human_shift, mine, read_shifts, write_shifts
from dife_lightning.utils.distributed import gather_objects

Shifts = dict[str, float]
Finder = Callable[[Tensor], Tensor]
#: Points of another origin, by name of the face (K, 2), with which the model's are compared; and their scheme.
Others = tuple[Mapping[str, Tensor], Scheme]
#: Faces at once; more are slower on a CPU, whose caches they exceed.
_BATCH = 16


def sorted_faces(
    faces: FewLabelFaces,
    finder: Finder,
    options: MiningOptions,
    device: torch.device,
    folder: Path | None,
    part: tuple[int, int] = (0, 1),
    others: Others | None = None,
) -> Mining:
    """Sort the unlabelled faces; the shifts are read where ``options`` name a file, measured otherwise.

    Args:
        faces: of the training.
        finder: maps images (B, 3, S, S) to points (B, K, 2) in their pixels, without averaging mirrored images.
        options: files and thresholds.
        device: of the images.
        folder: where measured shifts are written as ``flip.csv`` and ``human.csv`` (``votes.csv`` for ``others``);
            None for nowhere.
        part: rank and number of processes, each of which measures a part of the faces.
        others: points that take the place of those of the model of human faces.

    Raises:
        ConfigError: no model of human faces and no file, or a scheme without mirror pairs.
        DataError: a file that cannot be read, or a face without a shift.
    """
    flips = None if options.t_neg is None else _read(options.flip)
    humans = None if options.t_pos is None else _read(options.human)
    mirrors, compares = options.t_neg is not None and flips is None, options.t_pos is not None and humans is None
    if compares and others is None:
        others, kind = found_by_human(faces, *human_model(options), device, part), "human"
    else:
        kind = "votes"
    if mirrors or compares:
        measured = _measured(faces, finder, mirrors, others if compares else None, device, part)
        flips, humans = measured[0] if mirrors else flips, measured[1] if compares else humans
    if folder is not None and part[0] == 0:
        for name, shifts, file in (("flip", flips, options.flip), (kind, humans, options.human)):
            if shifts is not None and file is None:
                write_shifts(folder / f"{name}.csv", shifts)
    return mine(faces.names, flips, humans, t_neg=options.t_neg, t_pos=options.t_pos)


def check_files(names: Sequence[str], options: MiningOptions) -> None:
    """Check the files of shifts before a training starts.

    Raises:
        ConfigError: they already decide that every face is dropped.
        DataError: a file that cannot be read, or a face without a shift.
    """
    flip_read = options.t_neg is None or options.flip is not None
    human_read = options.t_pos is None or options.human is not None
    if options.flip is None and options.human is None:
        return
    t_neg, t_pos = options.t_neg if flip_read else None, options.t_pos if human_read else None
    mine(names, _read(options.flip), _read(options.human), t_neg=t_neg, t_pos=t_pos)


def human_model(options: MiningOptions) -> tuple[nn.Module, Scheme]:
    """Return the model of human faces and the scheme of its points; ConfigError if there is none."""
    if options.network is None:
        raise ConfigError(
            "mining: t_pos needs human shifts; set mining.human to a CSV file, mining.network to a landmark model of "
            "human faces, or mining.t_pos to null"
        )
    network, scheme = load_start(options.network)
    return network, get_scheme(options.scheme) if scheme is None else scheme


def _read(file: str | None) -> Shifts | None:
    return None if file is None else dict(read_shifts(file))


def _gathered(own: Shifts) -> Shifts:
    return {name: shift for part in gather_objects(own) for name, shift in part.items()}


def _measured(
    faces: FewLabelFaces,
    finder: Finder,
    mirrors: bool,
    others: Others | None,
    device: torch.device,
    part: tuple[int, int],
) -> tuple[Shifts, Shifts]:
    """Return the flip shifts, if ``mirrors``, and the shifts against ``others``, if given, of all unlabelled faces."""
    flips, apart = Shifts(), Shifts()
    for names, images, boxes in batches_of(faces, device, part):
        points = finder(images)
        if mirrors:
            found = flip_shift(points, finder(images.flip(-1)), boxes, faces.scheme, images.shape[-1])
            flips |= dict(zip(names, found.tolist(), strict=True))
        if others is not None:
            there = torch.stack([others[0][name] for name in names]).to(device)
            found = human_shift(there, points, boxes, others[1], faces.scheme)
            apart |= dict(zip(names, found.tolist(), strict=True))
    return _gathered(flips), _gathered(apart)


def found_by_human(
    faces: FewLabelFaces, human: nn.Module, scheme: Scheme, device: torch.device, part: tuple[int, int]
) -> Others:
    """Return the points of a model of human faces on this process's unlabelled faces."""
    human = human.eval().to(device)
    found: dict[str, Tensor] = {}
    for names, images, _ in batches_of(faces, device, part):
        points = decode(human(images), (images.shape[-1], images.shape[-2]), DecodeOptions()).points
        found |= dict(zip(names, points, strict=True))
    return found, scheme


def batches_of(
    faces: FewLabelFaces, device: torch.device, part: tuple[int, int], chosen: Collection[str] | None = None
) -> Iterator[tuple[Sequence[str], Tensor, Tensor]]:
    """Yield names, images (B, 3, S, S) and boxes (B, 4) of this process's faces; an unknown box is the whole image.

    Of the ``chosen`` faces alone, if they are given.
    """
    pool = faces.pool
    wanted = [row for row, name in enumerate(faces.names) if chosen is None or name in chosen]
    rows = wanted[part[0] :: part[1]]
    for start in range(0, len(rows), _BATCH):
        here = [pool[row] for row in rows[start : start + _BATCH]] if pool is not None else []
        images = image_tensor([face.image for face in here]).to(device)
        side = images.shape[-1]
        boxes = torch.from_numpy(np.stack([face.box for face in here])).to(device)
        whole = boxes.new_tensor([-0.5, -0.5, side - 0.5, side - 0.5])
        yield [face.name for face in here], images, torch.where(boxes.isfinite().all(-1, keepdim=True), boxes, whole)


def as_state(mining: Mining | None) -> dict[str, list[str]]:
    """Return the names that a checkpoint holds."""
    if mining is None:
        return {}
    return {"positives": list(mining.positives), "hard_negatives": list(mining.hard_negatives)}


def from_state(state: Mapping[str, Sequence[str]], names: Sequence[str]) -> Mining | None:
    """Return the sorted faces of a checkpoint; None if it holds none."""
    if "positives" not in state:
        return None
    positives, hard = tuple(state["positives"]), tuple(state["hard_negatives"])
    known = {*positives, *hard}
    return Mining(positives, tuple(name for name in names if name not in known), hard, None, None)
