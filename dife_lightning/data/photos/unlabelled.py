"""A labelled face and photographs without labels, for ``dife predict``: its landmarks are carried to each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.data.evaluation import Split
from dife_lightning.data.pairs import KeypointPairs, PairsDataModule, check_pairs
from dife_lightning.data.photos.cropped_faces import CroppedFaces
from dife_lightning.data.photos.face_domains import FaceDomain, fingerprint, to_domain
from dife_lightning.data.photos.pair_draws import UsableFaces, usable_faces
from dife_lightning.data.photos.pair_lists import FacePairList
from dife_lightning.data.photos.photo_folder import PhotoFolder, Target, TargetCrops, unlabelled_crop
from dife_lightning.datasets._load import load_dataset
from dife_lightning.errors import ConfigError, DataError, did_you_mean
from dife_lightning.faces.items import FaceItem
from dife_lightning.faces.landmark_sets import ALL_POINTS, COMMON, shared_points
from dife_lightning.faces.schemes import PROTOCOLS, EyeOrder, check_eye_order, get_scheme
from dife_lightning.geometry.crops import CropOptions
from dife_lightning.utils.notes import many, note


class TargetFaces(TargetCrops):
    """Crops of faces without landmarks. All ``points`` landmarks count as visible, at (0, 0): the source's decide."""

    def __getitem__(self, index: int) -> FaceItem:
        """Read and crop face ``index``; DataError if its photograph cannot be read."""
        one = self.targets[index]
        return FaceItem(
            image=one.image(self.size, self.padding),
            points=np.zeros((self.points, 2), np.float32),
            visible=np.ones(self.points, bool),
            name=one.name,
            crop=one.crop(self.size),
        )


class UnlabelledPairs(PairsDataModule):
    """One labelled face, paired with every photograph of a folder. There is no truth, so nothing is scored.

    Example:
        >>> UnlabelledPairs({"dataset": "folder", "root": "labelled"}, "photos")  # doctest: +SKIP

    Args:
        source: data set of the labelled face, as a domain of ``FacePairs``.
        pictures: folder of the photographs, one face each; subfolders are included. Or ``own/...`` of ``paths.yaml``.
        boxes: file with the boxes of the faces: COCO (``bbox``) or CSV (``image, box_x0, box_y0, box_x1, box_y1``).
            Then only photographs with a box are used, once for each of their boxes.
        face: name of the labelled face; by default the one with the most labelled landmarks, of several the first in
            the drawing order of ``seed``.
        pair: kinds of face, source first, for methods that must know them, such as ``human+dog``.
        protocol: landmarks that are carried over, and by which the labelled face is cropped: ``common`` (all points of
            its scheme, as far as they are labelled), or those that it must show: ``3-point``, ``9-point``, or names
            separated by commas.
        crop: crop options of the labelled face, unless ``source`` has its own.
        target_crop: of the photographs; by default the ``box``, if there are boxes, else the ``whole`` picture.
        size: side of the crops in pixels.
        eye_order: ``viewer``, or ``stored`` for points as the data set numbers them.
        seed: of the drawing order.
        batch_size: pairs in a batch.
        num_workers: processes that read and crop.
        skip_broken: skip photographs that cannot be read, and report them. ``--skip-broken`` sets it.

    Raises:
        ConfigError: unknown names, or numbers out of range.
    """

    def __init__(
        self,
        source: FaceDomain,
        pictures: str,
        boxes: str | None = None,
        face: str | None = None,
        pair: str = "source+target",
        protocol: str = "common",
        crop: CropOptions = CropOptions(),  # noqa: B008 - frozen
        target_crop: CropOptions | None = None,
        size: int = 96,
        eye_order: EyeOrder = "viewer",
        seed: int = 0,
        batch_size: int = 32,
        num_workers: int = 0,
        skip_broken: bool = False,
    ) -> None:
        super().__init__(batch_size, num_workers)
        check_pairs([pair], pair.split("+"), 1, size, None)
        self.target_crop = unlabelled_crop("target_crop", target_crop, boxes)
        self.pictures, self.boxes, self.pair, self.size = pictures, boxes, pair, size
        self.face, self.eye_order, self.skip_broken = face, eye_order, skip_broken
        check_eye_order(eye_order)
        self.source, self.protocol, self.seed = to_domain("source", source), protocol, seed
        self.crop = self.source.crop or crop
        self.landmarks = ALL_POINTS if protocol == COMMON else protocol
        self._usable: UsableFaces | None = None
        self._targets: list[Target] = []

    def setup(self, stage: str) -> None:
        """Make the pairs for ``predict``; ConfigError for a stage that scores."""
        if stage not in ("predict", ""):
            raise ConfigError(
                "UnlabelledPairs has no landmarks to score against; use `dife predict`, or FacePairs for labelled faces"
            )
        super().setup("predict")

    def targets(self) -> list[Target]:
        """Return the faces of the photographs; DataError if there is none, or one cannot be read or cropped."""
        if not self._targets:
            self._targets = PhotoFolder(self.pictures, self.boxes, self.target_crop, self.skip_broken).targets()
        return self._targets

    def chosen(self) -> int:
        """Return the number of the labelled face in its reader; ConfigError for a name that it does not have."""
        usable = self._sources()
        where = {usable.name(index): index for index in usable.order}
        if self.face is not None and self.face not in where:
            raise ConfigError(f"no usable face '{self.face}'. {did_you_mean(self.face, where)}")
        if not where:
            raise DataError(f"no usable labelled face: {usable.summary()}")
        labelled = usable.faces.annotations
        best = max(usable.order, key=lambda index: int(labelled[index].visible.sum()))  # the first of several
        return best if self.face is None else where[self.face]

    def list_hashes(self) -> Mapping[str, Mapping[str, str]]:
        """Return the SHA-256 of the list of pairs."""
        return {"val": {}, "test": {f"{self.pair}/unlabelled": self._list().hash}}

    def mean_points(self, domain: str) -> NDArray[np.float32]:
        """Refuse: ``MeanShape`` would otherwise answer with faces of the embedded world."""
        raise ConfigError(f"no landmarks of {domain} are known for a mean; MeanShape needs labelled faces (FacePairs)")

    def describe(self) -> dict[str, Any]:
        """Return the data set of the source faces, their names, and the number of faces without labels."""
        return {
            "kind": type(self).__name__,
            "source": {"dataset": self.source.dataset, "options": self.source.options},
            "face": self._sources().name(self.chosen()),
            "annotations_hash": fingerprint(self._sources().faces, [self.chosen()], pictures=False),
            "crop": self.crop.published(self.landmarks),
            "target_crop": self.target_crop.published(ALL_POINTS),
            "targets": len(self.targets()),
        }

    def _sources(self) -> UsableFaces:
        """Return the usable labelled faces; raises what ``load_dataset`` does."""
        if self._usable is None:
            options = ({"skip_broken": True} if self.skip_broken else {}) | self.source.options
            reader = load_dataset(self.source.dataset, self.source.root, **options)
            self._usable = usable_faces(reader, self.landmarks, self.crop, self.seed, cache=True)
        return self._usable

    def _list(self) -> FacePairList:
        name = self._sources().name(self.chosen())
        return FacePairList(self.pair, "test", tuple((name, target.name) for target in self.targets()))

    def _make_sets(self, split: Split) -> list[KeypointPairs]:
        reader = self._sources().faces
        source = CroppedFaces(reader, self.size, self.crop, self.landmarks)[self.chosen()]
        scheme, targets = get_scheme(reader.scheme), self.targets()
        built_in = self.protocol in PROTOCOLS
        shared = None if built_in else shared_points([scheme, scheme], self.protocol, self.eye_order)
        note(f"landmarks of {source['name']} are carried to {many(len(targets), 'face')} of {self.pictures}")
        return [
            KeypointPairs(
                [source],
                TargetFaces(targets, self.size, self.target_crop.padding, len(scheme.landmarks)),
                [(0, j) for j in range(len(targets))],
                pair=self.pair,
                list_name="unlabelled",
                list_hash=self._list().hash,
                size=self.size,
                scheme=scheme,
                eye_order=self.eye_order,
                protocols=[self.protocol] if built_in else None,
                own=shared,
            )
        ]
