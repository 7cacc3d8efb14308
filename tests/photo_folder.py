"""A small folder of the layout of docs/photos.md, with generators and teachers that were not trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dife_lightning.weights import assets
from tests.shipped_assets import register_tiny

SPECIES = ("human", "dog", "cat")
FARM = ("sheep", "horse", "cow")
TABLES = ("train", "val", "test")
NAMED = ("left_eye", "right_eye", "nose", "left_ear", "right_ear")  # an animal's own left


def columns(species: str) -> list[str]:
    if species == "human":
        return [f"{axis}{k}" for k in range(68) for axis in "xy"]
    return [f"{name}_{axis}" for name in NAMED for axis in "xy"]


def places(species: str, rng: np.random.Generator) -> list[float]:
    """Return the points of a face in a picture of 90 x 90 pixels, in the order of the columns."""
    eyes, nose = [(32, 40), (58, 40)], [(45, 56)]
    if species == "human":
        points = [(45, 70)] * 30 + nose + [(45, 70)] * 5 + eyes[:1] * 6 + eyes[1:] * 6 + [(45, 70)] * 20
    else:
        points = [*eyes[::-1], *nose, (60, 26), (30, 26)]
    return (np.array(points) + rng.uniform(-2, 2, (len(points), 2))).round(2).ravel().tolist()


def draw(path: Path, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (90, 90, 3), dtype=np.uint8)).save(path)


def write_faces(folder: Path, species: str, rng: np.random.Generator, count: int = 6) -> None:
    """Write ``count`` faces of a species into each table."""
    for part in TABLES:
        rows = [",".join(["image", "name", "group", "photo", *columns(species)])]
        for k in range(count):
            name = f"{part}{k}"
            draw(folder / "images" / f"{name}.png", rng)
            rows.append(",".join([f"images/{name}.png", name, name, name, *map(str, places(species, rng))]))
        (folder / f"{part}.csv").write_text("\n".join(rows))


def write_photos(
    folder: Path, patch: pytest.MonkeyPatch, species: Sequence[str] = SPECIES, unseen: Sequence[str] = ()
) -> Path:
    """Write photos/ and paths.yaml, and put tiny generators and a teacher in the place of the shipped ones.

    Species that are ``unseen`` have annotated faces alone. Returns photos/.
    """
    rng, root = np.random.default_rng(0), folder / "photos"
    patch.setattr(assets, "FOLDER", folder / "assets")
    register_tiny(folder, "photos")
    for name in (*species, *unseen):
        write_faces(root / "faces" / name, name, rng)
        if name in species:
            for k in range(30):
                draw(root / "unlabelled" / name / f"{k}.png", rng)
    write_paths(folder, {"photos": "photos"})
    return root


def write_paths(folder: Path, entries: dict[str, str]) -> None:
    (folder / "paths.yaml").write_text("".join(f"{name}: {path}\n" for name, path in entries.items()))
