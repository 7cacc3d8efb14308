"""Single faces of photographs, for validation, test and prediction of landmark models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from dife_lightning.data.evaluation import Split
from dife_lightning.data.face_sets import FaceSet, FaceSetsDataModule, check_groups, groups_of
from dife_lightning.data.pairs import FramingName
from dife_lightning.data.photos.cropped_faces import CroppedFaces, inside
from dife_lightning.data.photos.face_domains import FaceDomain, to_domain
from dife_lightning.data.photos.framed_faces import pair_framing
from dife_lightning.data.photos.pair_draws import Apart
from dife_lightning.data.photos.single_faces import FaceList, SetDomains, SingleLists
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import FaceArrays
from dife_lightning.faces.items import PictureCrop
from dife_lightning.faces.landmark_sets import ALL_POINTS
from dife_lightning.faces.schemes import Members, means
from dife_lightning.geometry.crops import CropOptions
from dife_lightning.utils.checks import require, require_choice
from dife_lightning.utils.notes import note


class FaceSets(FaceSetsDataModule):
    """Photographed faces of some domains, cropped, with the landmarks that all domains share.

    Validation and test share no face, no picture and, where a data set states them, no subject, also across domains.
    A face is used if it shows all of the named landmarks (with ``all``, any of them) in picture and crop.

    The box of a face, by which errors are normalised, is the plain crop where the data set has none.

    Args:
        domains: name (``dog``, ``cat``, ...) -> data set, folder and options of its reader.
        landmarks: ``all`` points of the scheme that every domain has; a protocol (``9-point``, ``3-point``);
            ``common`` for the points that the schemes of all domains share; or names of such points separated by
            commas. Crops by the rule ``landmarks`` are placed by them.
        crop: crop options; a domain may have its own. Crops by the box do not depend on the landmarks to be found.
        size: side of the crops in pixels.
        framing: ``plain`` as cropped; ``jittered`` rotates, scales and moves each crop as in the embedded world.
        seed: of the lists and framings.
        count: test faces of each domain, the first in drawing order; None for all.
        val_count: most validation faces of each domain; 0 for no validation.
        batch_size: faces in a batch.
        num_workers: processes that read, crop and load.
        groups: group -> domains, further rows of the results: ``{known: [dog, cat], unknown: [sheep]}``.
        skip_broken: skip faces that cannot be used, as in ``FacePairs``. ``--skip-broken`` sets it.
        keep_apart: what validation and test share none of beside pictures, as in ``FacePairs``.
        whole_subjects: a test list of ``count`` faces has all faces of a subject or none.
        cache: keep the sizes of pictures in the cache folder (``DIFE_CACHE``).

    Raises:
        ConfigError: no domain, wrong groups, unknown names, or counts and sizes out of range.
    """

    def __init__(
        self,
        domains: dict[str, FaceDomain],
        landmarks: str = ALL_POINTS,
        crop: CropOptions = CropOptions("box"),  # noqa: B008 - frozen
        size: int = 96,
        framing: FramingName = "plain",
        seed: int = 0,
        count: int | None = None,
        val_count: int = 100,
        batch_size: int = 32,
        num_workers: int = 0,
        groups: dict[str, list[str]] | None = None,
        skip_broken: bool = False,
        keep_apart: Apart = "subject",
        whole_subjects: bool = False,
        cache: bool = True,
    ) -> None:
        super().__init__(batch_size, num_workers, groups)
        if not domains:
            raise ConfigError("domains is empty: expected one or more, each with dataset and root")
        check_groups(self.groups, list(domains))
        require_choice("framing", framing, get_args(FramingName))
        require_choice("keep_apart", keep_apart, get_args(Apart))
        require(at_least=1, count=count)
        require(at_least=0, val_count=val_count)
        require(at_least=8, size=size)
        known = {name: to_domain(name, domain) for name, domain in domains.items()}
        self.faces = SetDomains(known, landmarks, crop, seed, "viewer", cache, skip_broken, keep_apart)
        self.lists = SingleLists(self.faces, count, val_count, whole_subjects)
        self.size, self.seed = size, seed
        self.framing: FramingName = framing

    def list_hashes(self) -> Mapping[str, Mapping[str, str]]:
        """Return the SHA-256 of every validation and test list, by domain; nothing is cropped for it."""
        splits: tuple[Split, ...] = ("val", "test")
        return {split: self.lists.hashes(split) for split in splits}

    def describe(self) -> dict[str, Any]:
        """Return domains with their crops, face counts and hashes of annotations, landmarks, framing and groups."""
        return {
            "kind": type(self).__name__,
            "landmarks": self.faces.protocol,
            "points": list(self.faces.target().landmarks),
            "framing": self.framing,
            "size": self.size,
            "seed": self.seed,
            "domains": self.faces.describe(),
            "groups": self.groups,
            "test_faces": {name: {"faces": len(one), "hash": one.hash} for name, one in self.lists.of("test").items()},
        }

    def save_lists(self, folder: str | Path) -> None:
        """Write the test lists to ``folder``, one file for each domain."""
        for name, found in self.lists.of("test").items():
            found.write(Path(folder) / f"test_{name}.json")

    def files(self, split: Split) -> dict[str, Path]:
        """Return ``domain/name`` -> picture of all faces of a split; empty if there are none for validation."""
        return self.lists.files(split)

    def units(self) -> frozenset[str]:
        """Return pictures and subjects of all validation and test faces."""
        return self.lists.units("test") | (self.lists.units("val") if self.files("val") else frozenset())

    def _make_sets(self, split: Split) -> list[FaceSet]:
        return [self._set(found) for found in self.lists.of(split).values()]

    def _set(self, found: FaceList) -> FaceSet:
        name, reader = found.domain, self.faces.reader(found.domain, found.split)
        crops = CroppedFaces(reader, self.size, self.faces.crop(name), self.faces.landmarks(name))
        if all(face.box is None for face in reader.annotations):
            note(f"{name}, {found.split}: the data set has no boxes, so the plain crop of a face stands for its box")
        indices = self.lists.indices(found)
        return FaceSet(
            SelectedFaces(crops, indices, self.faces.members(name), self.framing, self.seed, name),
            domain=name,
            list_name=found.split,
            scheme=self.faces.target(),
            size=self.size,
            groups=groups_of(name, self.groups),
            list_hash=found.hash,
            framing=self.framing,
            subjects=self.lists.subjects(found),
        )


class SelectedFaces:
    """Crops of the faces ``indices`` with the points ``members`` of their scheme, framed by the faces' names."""

    def __init__(
        self,
        crops: CroppedFaces,
        indices: Sequence[int],
        members: Members,
        framing: FramingName,
        seed: int,
        domain: str,
    ) -> None:
        self.crops, self.indices, self.members = crops, indices, members
        self.framing, self.seed, self.domain = framing, seed, domain

    def __len__(self) -> int:
        return len(self.indices)

    def picture(self, index: int) -> Path:
        """Return the file of the picture that face ``index`` is in."""
        return self.crops.picture(self.indices[index])

    def __getitem__(self, index: int) -> FaceArrays:
        number = self.indices[index]
        annotation = self.crops.faces.upright(number)
        framing = None
        if self.framing != "plain":
            framing = pair_framing(self.framing, self.seed, self.domain, (annotation.name, annotation.name), 0)
        item = self.crops.framed(number, framing)
        points, visible = means(item["points"], item["visible"], self.members)
        visible = visible & inside(points, self.crops.size)
        known = annotation.box
        box = image_box(self.crops.square(number).box() if known is None else known, item["crop"])
        return FaceArrays(item["image"], points, visible, box, item["name"], item["crop"])


def image_box(box: NDArray[np.float32] | None, crop: PictureCrop) -> NDArray[np.float32]:
    """Return a box (4,) of a picture in pixels of an image of it; NaN for None.

    Where the image is rotated against the picture, the box is moved and scaled with the face, but stays upright: the
    root of its area is that of the rotated one.
    """
    if box is None:
        return np.full(4, np.nan, np.float32)
    low, high = np.asarray(box, np.float64).reshape(2, 2)
    scale = 1 / np.sqrt(abs(np.linalg.det(crop.to_picture[:, :2])))
    centre, half = crop.image_points((low + high) / 2), scale * (high - low) / 2
    return np.concatenate((centre - half, centre + half)).astype(np.float32)
