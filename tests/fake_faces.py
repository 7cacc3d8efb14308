"""Small data sets of annotated pictures: grey, with a red dot on the viewer's left eye, a blue one on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from dife_lightning.faces.images import read_image
from dife_lightning.faces.items import FaceAnnotation, FaceItem

RED, BLUE, GREEN = (230, 30, 30), (30, 30, 230), (30, 200, 30)


class FakeFaces:
    """A reader over annotations that a test made."""

    def __init__(self, name: str, scheme: str, annotations: Sequence[FaceAnnotation]) -> None:
        self.name, self.scheme, self.annotations = name, scheme, tuple(annotations)
        self.opened, self.facts = 0, {}

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, index: int) -> FaceItem:
        self.opened += 1
        face = self.annotations[index]
        return {
            "image": read_image(face.image),
            "points": face.points,
            "visible": face.visible,
            "name": face.name,
        }

    def upright(self, index: int) -> FaceAnnotation:
        return self.annotations[index]

    def shuffled(self, seed: int = 0) -> FakeFaces:
        """Return the same faces in another order."""
        order = np.random.default_rng(seed).permutation(len(self))
        return FakeFaces(self.name, self.scheme, [self.annotations[i] for i in order])

    def changed(self, index: int, **fields: object) -> FakeFaces:
        """Return the faces with one annotation changed."""
        faces = list(self.annotations)
        faces[index] = replace(faces[index], **fields)
        return FakeFaces(self.name, self.scheme, faces)


def face_points(rng: np.random.Generator) -> np.ndarray:
    """Return left eye, right eye and nose (3, 2) as the viewer sees them, in a picture of 120 x 100 pixels."""
    centre, half = rng.uniform([50, 40], [70, 50]), rng.uniform(10, 16)
    return (centre + half * np.array([[-1, 0], [1, 0], [0, 1.2]])).astype(np.float32)


def draw_face(points: np.ndarray) -> np.ndarray:
    """Return a picture (100, 120, 3) with the three dots."""
    image = np.full((100, 120, 3), 128, dtype=np.uint8)
    for (x, y), color in zip(np.rint(points).astype(int), (RED, BLUE, GREEN), strict=True):
        image[y - 2 : y + 3, x - 2 : x + 3] = color
    return image


def in_scheme(viewer: np.ndarray, scheme: str) -> tuple[np.ndarray, np.ndarray]:
    """Number the three points as ``mafl-5`` or ``ap10k-17`` does; the rest is not labelled."""
    count, rows = {"mafl-5": (5, [0, 1, 2]), "ap10k-17": (17, [1, 0, 2])}[scheme]
    points, visible = np.zeros((count, 2), np.float32), np.zeros(count, bool)
    points[rows], visible[rows] = viewer, True
    return points, visible


def make_faces(
    folder: Path, count: int, *, name: str = "fake", scheme: str = "mafl-5", faces_in_picture: int = 1, seed: int = 0
) -> FakeFaces:
    """Write ``count`` pictures below ``folder`` and return their reader."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    rng, found = np.random.default_rng(seed), []
    for picture in range(count):
        path = folder / name / f"{picture:04d}.png"
        viewer = face_points(rng)
        Image.fromarray(draw_face(viewer)).save(path)
        for k in range(faces_in_picture):
            points, visible = in_scheme(viewer + k, scheme)
            low, high = viewer.min(0), viewer.max(0)
            box = np.concatenate((low - 20, high + 20)).astype(np.float32)
            title = f"{picture:04d}" if faces_in_picture == 1 else f"{picture:04d}#{k}"
            found.append(FaceAnnotation(title, path, points, visible, box, source=f"{name}.txt:{picture}"))
    return FakeFaces(name, scheme, found)
