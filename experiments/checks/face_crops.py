"""Error of `dife transfer` with found faces, beside given ones: `python -m experiments.checks.face_crops FOLDER`.

FOLDER has the layout of docs/photos.md. Eyes and nose of annotated people (`train.csv`) are carried to `test.csv` of
each species. Errors are in px of a 70-px crop, as in the tables: the square around the true eyes and nose.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import dife_lightning as dl
from dife_lightning.applications import LandmarkTransfer, SourceFace
from dife_lightning.faces.schemes import to_protocol
from dife_lightning.geometry.crops import FACTORS

#: How the face of a target is given.
WAYS = ("true", "auto", "whole")


def main(words: Sequence[str] | None = None) -> int:
    """Print the errors of each species and way."""
    parser = argparse.ArgumentParser(prog="python -m experiments.checks.face_crops", description=__doc__)
    parser.add_argument("folder", type=Path, help="photographs")
    parser.add_argument("--species", default="human,dog,cat,horse", help="of the targets (%(default)s)")
    parser.add_argument("--count", type=int, default=100, help="targets of each species (%(default)s)")
    parser.add_argument("--sources", default="1,10", help="numbers of annotated people (%(default)s)")
    parser.add_argument("--split", default="test", help="of the targets (%(default)s)")
    options = parser.parse_args(words)
    known = _faces(options.folder, "human", "train")
    table = Table("species", "sources", *WAYS, "matched (auto)", title="error in px of a 70-px crop")
    for species in options.species.split(","):
        targets = _spread(_faces(options.folder, species, options.split), options.count)
        for count in map(int, options.sources.split(",")):
            carry = LandmarkTransfer([one[0] for one in _spread(known, count)], ["left_eye", "right_eye", "nose"])
            errors = {way: _errors(carry, targets, way) for way in WAYS}
            cells = [f"{np.median(found):.1f} / {found.mean():.1f}" for found, _ in errors.values()]
            table.add_row(species, str(count), *cells, f"{100 * errors['auto'][1]:.0f} %")
    Console(width=100).print(table)
    print("median / mean over faces")
    return 0


def _faces(folder: Path, species: str, split: str) -> list[tuple[SourceFace, Any]]:
    """Return the faces that show eyes and nose, and the square around these as a box."""
    root = folder / "faces" / species
    meaning = {"scheme": "300w-68"} if species == "human" else {"left": "subject"}  # as configs/photos/_pairs.yaml
    faces: Any = dl.load_dataset("folder", root, file=f"{split}.csv", **meaning)
    found = []
    for one in faces.annotations:
        three, seen = to_protocol(one.points, one.visible, faces.scheme, "3-point")
        extent = float(np.ptp(three, axis=0).max()) if seen.all() else 0.0
        if extent > 8:
            half = FACTORS["3-point"] * extent / 2
            box = np.concatenate((three.mean(0) - half, three.mean(0) + half)).astype(np.float32)
            found.append((SourceFace(one.image, three.astype(np.float32), box=box, name=one.name), box))
    return found


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    return [items[k] for k in np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)]


def _errors(carry: LandmarkTransfer, targets: Sequence[Any], way: str) -> tuple[Any, float]:
    """Return the error of each target (N,), and the share of points that are matched."""
    errors, matched = [], []
    for face, box in targets:
        found = carry(face.photo, box if way == "true" else way)
        errors.append(np.linalg.norm(found.points - face.points, axis=1).mean() * 70 / (box[2] - box[0]))
        matched.append(found.matched.mean())
    return np.array(errors), float(np.mean(matched))


if __name__ == "__main__":
    raise SystemExit(main())
