"""Few labelled and many unlabelled faces of the embedded world."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from lightning import LightningDataModule
from numpy.typing import NDArray

from dife_lightning.data.few_labels import FewLabelFaces, FewLabelsDataModule
from dife_lightning.data.pairs import check_names
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import FaceArrays
from dife_lightning.faces.items import PictureCrop
from dife_lightning.faces.schemes import get_scheme
from dife_lightning.geometry.affine import AugmentOptions
from dife_lightning.utils.checks import require
from dife_lightning.utils.files import cache_folder
from dife_lightning.world import (
    WORLD_VERSION,
    WorldFaces,
    face_box,
    landmarks_only,
    list_species,
    render_arrays,
    render_image,
)


class WorldFewLabels(FewLabelsDataModule):
    """Train renders of the embedded world: the first ones of some species with landmarks, the others without.

    Test and validation renders are of other splits, so none of them can be in the pool.

    Args:
        species: species with labelled faces.
        pool_species: species of the unlabelled faces; None for those of ``species``. Species without labelled faces
            may be among them, as in Meta-CSKT.
        labels: number of labelled faces over all ``species``, as equally many of each as possible.
        count: train renders of each species; all but the labelled ones are unlabelled.
        evaluation: see the base class, also for the other arguments.

    Raises:
        ConfigError: unknown or repeated species, or fewer labels than species; otherwise as the base class.
    """

    def __init__(
        self,
        species: Sequence[str],
        pool_species: Sequence[str] | None = None,
        labels: int = 40,
        count: int = 600,
        evaluation: LightningDataModule | None = None,
        size: int = 64,
        labelled_batch: int = 4,
        pooled_batch: int | None = None,
        unlabelled_batch: int = 16,
        augment: AugmentOptions | None = None,
        augment_unlabelled: AugmentOptions | None = None,
        flip: bool = True,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            evaluation,
            size,
            labelled_batch,
            pooled_batch,
            unlabelled_batch,
            augment,
            augment_unlabelled,
            flip,
            seed,
            num_workers,
            keep=False,  # the renders are one array already
        )
        self.species = list(species)
        self.pool_species = list(self.species if pool_species is None else pool_species)
        for key, names in (("species", self.species), ("pool_species", self.pool_species)):
            check_names(key, names, list_species())
            if len(set(names)) < len(names):
                raise ConfigError(f"{key}: {', '.join(names)}; expected each once")
        require(at_least=1, labels=labels, count=count)
        if not self.species or labels < len(self.species):
            raise ConfigError(
                f"labels={labels} for {len(self.species)} species; expected one or more, each with a face"
            )
        most = max(shares(labels, len(self.species)))
        if most > count:
            raise ConfigError(f"labels={labels} needs {most} renders of a species; count is {count}")
        self.label_count, self.count = labels, count

    def _make_faces(self) -> FewLabelFaces:
        counts = dict(zip(self.species, shares(self.label_count, len(self.species)), strict=True))
        first = self.seed * max(counts.values()) % max(1, self.count - max(counts.values()) + 1)
        labelled = [
            _labelled(name, index, self.size) for name, few in counts.items() for index in range(first, first + few)
        ]
        parts = [(name, range(first, first + counts.get(name, 0))) for name in self.pool_species]
        pool = RenderPool(parts, self.count, self.size) if self.unlabelled_batch else None
        facts = {
            "kind": type(self).__name__,
            "world_version": WORLD_VERSION,
            "labelled": counts,
            "first": first,
            "pool_species": self.pool_species if pool is not None else [],
            "pool": 0 if pool is None else len(pool),
            "unlabelled": "train_only",
            "transductive": False,
            "size": self.size,
        }
        names = () if pool is None else pool.names
        return FewLabelFaces(labelled, pool, names, get_scheme(WorldFaces.scheme), facts)


class RenderPool:
    """Train renders of several species without landmarks and boxes; a box takes as long as a render.

    Args:
        parts: species, and the numbers of its renders that are left out.
        count: renders of each species.
        size: side of the images.
    """

    def __init__(self, parts: Sequence[tuple[str, range]], count: int, size: int) -> None:
        folder = cache_folder() / "renders"
        self.images = {name: render_arrays(name, "train", count, size, folder) for name, _ in parts}
        self.rows = [(name, index) for name, left_out in parts for index in range(count) if index not in left_out]
        self.size = size

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the faces."""
        return tuple(render_name(*row) for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> FaceArrays:
        name, number = self.rows[index]
        nothing = np.zeros((0, 2), np.float32), np.zeros(0, bool), np.full(4, np.nan, np.float32)
        return _face(name, number, self.images[name][number], *nothing)


def shares(total: int, parts: int) -> list[int]:
    """Split ``total`` into ``parts`` whole numbers that differ by at most 1."""
    return [total // parts + (k < total % parts) for k in range(parts)]


def render_name(species: str, index: int) -> str:
    """Return the name of a train render."""
    return f"world/{species}/train/{index}"


def _labelled(species: str, index: int, size: int) -> FaceArrays:
    points, visible = landmarks_only(species, "train", index, size=size)
    box = face_box(species, "train", index, size=size)
    return _face(species, index, render_image(species, "train", index, size=size), points, visible, box)


def _face(
    species: str,
    index: int,
    image: NDArray[np.uint8],
    points: NDArray[np.float32],
    visible: NDArray[np.bool_],
    box: NDArray[np.float32],
) -> FaceArrays:
    name, side = render_name(species, index), image.shape[0]
    return FaceArrays(image, points, visible, box, name, PictureCrop(name, side, side, np.eye(2, 3)))
