"""Faces of a folder of photographs without labels, for ``dife predict`` with a landmark model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dife_lightning.data.evaluation import Split
from dife_lightning.data.face_sets import FaceSet, FaceSetsDataModule
from dife_lightning.data.photos.face_sets import image_box
from dife_lightning.data.photos.photo_folder import PhotoFolder, Target, TargetCrops, unlabelled_crop
from dife_lightning.data.photos.single_faces import FaceList
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import FaceArrays
from dife_lightning.faces.landmark_sets import ALL_POINTS
from dife_lightning.faces.own_schemes import Left, landmark_scheme
from dife_lightning.geometry.crops import CropOptions
from dife_lightning.utils.checks import require
from dife_lightning.utils.notes import many, note

#: Name of the domain and of the list of these faces, of which nothing is known.
DOMAIN, LIST = "photos", "unlabelled"


class PhotoFaces(FaceSetsDataModule):
    """Faces of photographs without labels. There is no truth, so nothing is scored.

    ``dife predict --images FOLDER --boxes FILE`` stands for this module, with ``size`` and ``crop`` of the training.

    Example:
        >>> PhotoFaces("photos", size=256)  # doctest: +SKIP

    Args:
        pictures: folder of the photographs, one face each; subfolders are included. Or ``own/...`` of ``paths.yaml``.
        boxes: file with the boxes of the faces: COCO (``bbox``) or CSV (``image, box_x0, box_y0, box_x1, box_y1``).
            Then only photographs with a box are used, once for each of their boxes.
        landmarks: to be found: a scheme such as ``animalweb-9``, or names of points. The command line takes those of
            the model.
        left: whose left such names mean: the viewer's, or the face's own (``subject``). Likewise.
        size: side of the crops in pixels, as in the training of the model.
        crop: crop options; by default the ``box``, if there are boxes, else the ``whole`` picture.
        batch_size: faces in a batch.
        num_workers: processes that read and crop.
        skip_broken: skip photographs that cannot be read, and report them. ``--skip-broken`` sets it.

    Raises:
        ConfigError: no size, an unknown scheme, a crop that needs landmarks, or numbers out of range.
    """

    def __init__(
        self,
        pictures: str,
        boxes: str | None = None,
        landmarks: str | list[str] = "animalweb-9",
        left: Left = "viewer",
        size: int | None = None,
        crop: CropOptions | None = None,
        batch_size: int = 32,
        num_workers: int = 0,
        skip_broken: bool = False,
    ) -> None:
        super().__init__(batch_size, num_workers)
        if size is None:
            raise ConfigError(
                "size is not given, and the checkpoint does not state the side of the crops that it was trained on; "
                "add --data.init_args.size 256 (or another side)"
            )
        require(at_least=8, size=size)
        self.size, self.crop = size, unlabelled_crop("crop", crop, boxes)
        self.scheme = landmark_scheme(landmarks, left)
        self.folder = PhotoFolder(pictures, boxes, self.crop, skip_broken)
        self._targets: list[Target] = []

    def setup(self, stage: str) -> None:
        """Make the set for ``predict``; ConfigError for a stage that trains or scores."""
        if stage not in ("predict", ""):
            raise ConfigError(
                "PhotoFaces has no landmarks to score against; use `dife predict`, or FaceSets for labelled faces"
            )
        super().setup("predict")

    def targets(self) -> list[Target]:
        """Return the faces; raises what :meth:`~dife_lightning.data.photos.photo_folder.PhotoFolder.targets` does."""
        if not self._targets:
            self._targets = self.folder.targets()
        return self._targets

    def list_hashes(self) -> Mapping[str, Mapping[str, str]]:
        """Return the SHA-256 of the list of faces."""
        return {"val": {}, "test": {DOMAIN: self._list().hash}}

    def describe(self) -> dict[str, Any]:
        """Return landmarks, crop and number of the faces."""
        return {
            "kind": type(self).__name__,
            "points": list(self.scheme.landmarks),
            "size": self.size,
            "crop": self.crop.published(ALL_POINTS),
            "faces": len(self.targets()),
        }

    def _list(self) -> FaceList:
        return FaceList(DOMAIN, "test", tuple(target.name for target in self.targets()), "photos", {})

    def _make_sets(self, split: Split) -> list[FaceSet]:
        targets = self.targets()
        note(f"landmarks are found on {many(len(targets), 'face')} of {self.folder.pictures}")
        return [
            FaceSet(
                PhotoCrops(targets, self.size, self.crop.padding, len(self.scheme.landmarks)),
                domain=DOMAIN,
                list_name=LIST,
                scheme=self.scheme,
                size=self.size,
                list_hash=self._list().hash,
            )
        ]


class PhotoCrops(TargetCrops):
    """Crops of faces without labels: all points are NaN and not visible."""

    def __getitem__(self, index: int) -> FaceArrays:
        """Read and crop face ``index``; DataError if its photograph cannot be read."""
        one = self.targets[index]
        crop = one.crop(self.size)
        return FaceArrays(
            image=one.image(self.size, self.padding),
            points=np.full((self.points, 2), np.nan, np.float32),
            visible=np.zeros(self.points, bool),
            box=image_box(one.box, crop),
            name=one.name,
            crop=crop,
        )
