"""Scores of `dife parse`: `python -m experiments.checks.parts world`, or `... photos --folder FOLDER`.

Parts are found on half of the faces of all species together, and scored on the other half:

* purity: share of the landmarks that lie in the part in which they lie most often
* across: the same, where the part is the one that holds the landmark on the faces of the other species
* agreement (world): share of the pixels whose part is the one at their true place of the surface on other species

`(random parts)` is chance: another smooth random embedding of each face. `stylegan2` are features of the generators,
with each face inverted into the generator of its species, as in Segmentation in Style, but with one clustering for all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dife_lightning.applications.parsing import PARTS, FaceParser, landmark_purity, region_agreement
from dife_lightning.faces.batches import image_tensor
from dife_lightning.geometry.crops import crop_image
from dife_lightning.methods.generator_features import GeneratorFeatures
from dife_lightning.pretrained.embedders import load_embedder
from dife_lightning.utils.randomness import normal
from dife_lightning.world.dataset import WorldFaces
from experiments.checks.face_crops import _faces, _spread

SIZE, SPECIES = 64, ("human", "dog", "cat")
#: Images (B, 3, S, S) of a species -> embeddings (B, n, h, w).
Embed = Callable[[Tensor, str], Tensor]


class Scored(NamedTuple):
    """Faces of one species: images (B, 3, S, S), landmarks (B, K, 2) and which count, and true surface or None."""

    species: str
    images: Tensor
    points: NDArray[np.float32]
    visible: NDArray[np.bool_]
    uv: NDArray[np.float32] | None


def main(words: Sequence[str] | None = None) -> int:
    """Print the scores of each model."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.checks.parts", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("faces", choices=("world", "photos"), help="drawn faces, or photographs")
    parser.add_argument("--folder", type=Path, help="of the photographs (docs/photos.md)")
    parser.add_argument("--models", help="embedders, separated by commas")
    parser.add_argument("--count", type=int, default=40, help="faces of each species (%(default)s)")
    parser.add_argument("--parts", type=int, default=PARTS, help="(%(default)s)")
    options = parser.parse_args(words)
    if options.faces == "photos" and options.folder is None:
        parser.error("photos need --folder")
    names = (options.models or f"{options.faces}/teacher,photos/dife").split(",")
    world = options.faces == "world"
    faces = [_world(s, options.count) if world else _photos(options.folder, s, options.count) for s in SPECIES]
    table = Table("features", "purity", "across", *(["agreement"] if world else []), title=f"{options.parts} parts")
    rows: dict[str, Embed] = {name: _embedder(name) for name in names}
    rows["stylegan2"] = _generator_features(options.faces)
    for name, embed in rows.items():
        table.add_row(name, *(f"{100 * value:.1f} %" for value in scores(faces, embed, options.parts)))
    table.add_row("(random parts)", *(f"{100 * value:.1f} %" for value in scores(faces, _places, options.parts)))
    Console(width=100).print(table)
    return 0


@torch.no_grad()
def scores(faces: Sequence[Scored], embed: Embed, parts: int) -> list[float]:
    """Return purity, purity across species and, where the true surface is known, the agreement, in [0, 1]."""
    maps = [embed(one.images, one.species) for one in faces]
    parser = FaceParser.fit([one[::2] for one in maps], parts)
    found = [parser.parse_faces(one[1::2], SIZE).astype(int) for one in maps]
    at = [_at(labels, one.points[1::2]) for labels, one in zip(found, faces, strict=True)]
    domains = [one.species for one in faces for _ in one.points[1::2]]
    purity = landmark_purity(np.concatenate(at), np.concatenate([one.visible[1::2] for one in faces]), domains)
    result = [purity["purity"], purity["across"]]
    if faces[0].uv is not None:
        uv = np.concatenate([one.uv[1::2] for one in faces if one.uv is not None])
        result.append(region_agreement(np.concatenate(found), uv, domains))
    return result


def _at(labels: NDArray[np.int64], points: NDArray[np.float32]) -> NDArray[np.int64]:
    cells = np.nan_to_num(points).round().clip(0, SIZE - 1).astype(int)
    return np.asarray(labels[np.arange(len(labels))[:, None], cells[..., 1], cells[..., 0]])


def _world(species: str, count: int) -> Scored:
    samples = [WorldFaces(species, "test", count, size=SIZE).sample(k) for k in range(count)]
    points, visible, uv = (np.stack([getattr(one, name) for one in samples]) for name in ("points", "visible", "uv"))
    return Scored(species, image_tensor([one.image for one in samples]), points, visible, uv)


def _photos(folder: Path, species: str, count: int) -> Scored:
    """Return eyes and nose of photographs, cropped around them."""
    from dife_lightning.faces.images import read_image
    from dife_lightning.geometry.crops import Square

    images, points = [], []
    for face, box in _spread(_faces(folder, species, "test"), count):
        x, y = ((box[:2] + box[2:]) / 2).tolist()
        square = Square(x, y, float(box[2] - box[0]))
        images.append(crop_image(read_image(face.photo), square, SIZE, "border"))
        points.append(square.to_crop(face.points, SIZE))
    visible = np.ones((len(points), 3), bool)
    return Scored(species, image_tensor(images), np.stack(points), visible, None)


def _embedder(name: str) -> Embed:
    embedder = load_embedder(name)
    return lambda images, species: embedder.embed(images).float()


def _generator_features(kind: str) -> Embed:
    method = GeneratorFeatures({species: f"{kind}/{species}" for species in SPECIES}, layer=5)
    return lambda images, species: torch.cat([method.features(part, species) for part in images.split(8)])


def _places(images: Tensor, species: str) -> Tensor:
    """Return another random smooth embedding for each face: what purity is by chance."""
    coarse = normal((len(images), 16, 4, 4), 0, "parts", species)
    return torch.nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bilinear")


if __name__ == "__main__":
    raise SystemExit(main())
