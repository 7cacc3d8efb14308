"""Photographs: few labelled faces, and many without labels, which share no picture with the test faces."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning import LightningDataModule
from numpy.typing import NDArray

from dife_lightning.data.few_labels import FewLabelFaces, FewLabelsDataModule, PointNoise
from dife_lightning.data.photos.cropped_faces import CroppedFaces, inside
from dife_lightning.data.photos.face_domains import FaceDomain, to_domain
from dife_lightning.data.photos.face_sets import FaceSets, image_box
from dife_lightning.data.photos.photo_folder import PhotoFolder, Target, unlabelled_crop
from dife_lightning.data.photos.single_faces import SetDomains
from dife_lightning.datasets._load import load_dataset
from dife_lightning.errors import ConfigError, DataError, did_you_mean
from dife_lightning.faces.batches import FaceArrays
from dife_lightning.faces.image_info import check_whole, image_info_cache, shown_size
from dife_lightning.faces.items import FaceDataset
from dife_lightning.faces.landmark_sets import ALL_POINTS
from dife_lightning.faces.schemes import means
from dife_lightning.geometry.affine import AugmentOptions
from dife_lightning.geometry.crops import CropError, CropOptions, face_square
from dife_lightning.mining.leaks import Unlabelled, check_pool, content_hashes, equal_files
from dife_lightning.utils.checks import require
from dife_lightning.utils.notes import many, note, some

#: A picture without labels shows the whole face: nothing else is known of it.
WHOLE = CropOptions("whole")
_NONE = (
    "no unlabelled face: all faces are labelled or evaluated; add `pool` or `folders` with others, lower `labels`, or "
    "set unlabelled_batch to 0"
)
_NOTHING = np.zeros((0, 2), np.float32), np.zeros(0, bool)


class FewLabels(FewLabelsDataModule):
    """Few labelled photographs, and many without labels.

    Which faces of a data set are labelled is drawn by the hash of their names, without those of the evaluation and, as
    far as the data set states them, without other photographs of its subjects. All others are in the pool of unlabelled
    faces, without their labels: they are cropped by their boxes if ``crop`` is by boxes, else whole pictures are used.

    Args:
        domains: name -> data set of labelled faces, folder and options of its reader.
        pool: name -> further data sets of faces whose labels are not read. One with a name of ``domains`` lists faces
            of that data set: a face of both is one face.
        folders: name -> folder of pictures without labels, each of one whole face; subfolders are included.
        boxes: name of a folder -> file of the boxes of its faces, COCO or CSV; then only these are used.
        labels: number of labelled faces over all ``domains``, as equally many of each as possible; None for all.
        landmarks: as in ``FaceSets``: ``all`` points of the common scheme, a protocol, ``common``, or names of points.
        crop: of the labelled faces; a domain may have its own.
        unlabelled: ``train_only`` removes test and validation faces from the pool, by name and by the content of their
            files; ``all`` leaves them in, as the published training does (transductive).
        skip_broken: skip faces and pictures that cannot be used. ``--skip-broken`` sets it.
        cache: keep the sizes of pictures in the cache folder (``DIFE_CACHE``).
        evaluation: see the base class, also for the other arguments.

    Raises:
        ConfigError: no domain, fewer labels than domains, or a number out of its range.
    """

    def __init__(
        self,
        domains: dict[str, FaceDomain],
        pool: dict[str, FaceDomain] | None = None,
        folders: dict[str, str] | None = None,
        boxes: dict[str, str] | None = None,
        labels: int | None = 40,
        landmarks: str = ALL_POINTS,
        crop: CropOptions = CropOptions("box"),  # noqa: B008 - frozen
        unlabelled: Unlabelled = "train_only",
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
        keep: bool = True,
        skip_broken: bool = False,
        cache: bool = True,
        point_noise: PointNoise | None = None,
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
            keep,
            point_noise,
        )
        if not domains:
            raise ConfigError("domains is empty: expected one or more, each with dataset and root")
        require(at_least=1, labels=labels)
        if labels is not None and labels < len(domains):
            raise ConfigError(f"labels={labels} for {len(domains)} domains: expected a labelled face of each, or more")
        known = {name: to_domain(name, domain) for name, domain in domains.items()}
        apart = evaluation.faces.apart if isinstance(evaluation, FaceSets) else "subject"
        self.domains = SetDomains(known, landmarks, crop, seed, "viewer", cache, skip_broken, apart)
        self._usable_rows: dict[str, list[int]] = {}
        self.crop = crop
        self.more = {name: to_domain(name, domain) for name, domain in (pool or {}).items()}
        self.folders, self.label_count, self.unlabelled = dict(folders or {}), labels, unlabelled
        self.skip_broken, self.cache, self.boxes = skip_broken, cache, dict(boxes or {})
        for name in self.boxes:
            if name not in self.folders:
                raise ConfigError(f"boxes: no folder '{name}'. {did_you_mean(name, self.folders)}")

    def _make_faces(self) -> FewLabelFaces:
        with image_info_cache(disk=self.cache):
            chosen = {name: self._drawn(name, count) for name, count in self._counts().items()}
            found = [self._face(name, index) for name, rows in chosen.items() for index in rows]
            pictures = {
                f"{name}/{self._name(name, row)}": self._file(name, row) for name in chosen for row in chosen[name]
            }
            contents = content_hashes(pictures)
            labelled = _each_once(found, contents)
            places = {
                (
                    contents[f"{name}/{self._name(name, row)}"],
                    _place(self.domains.reader(name, "test").upright(row).box),
                )
                for name, rows in chosen.items()
                for row in rows
            }
            pool, facts = self._pool(contents, places) if self.unlabelled_batch else (None, {})
        counts = {name: sum(face.name.startswith(f"{name}/") for face in labelled) for name in chosen}
        told = {
            "kind": type(self).__name__,
            "landmarks": self.domains.protocol,
            "points": list(self.domains.target().landmarks),
            "labelled": counts,
            "labelled_faces": [face.name for face in labelled],
            "domains": self.domains.describe(),
            "size": self.size,
            **(facts or {"pool": 0, "unlabelled": self.unlabelled, "transductive": False}),
        }
        names = () if pool is None else tuple(face.name for face in pool.faces)
        return FewLabelFaces(labelled, pool, names, self.domains.target(), told)

    # Labelled faces

    def _rows(self, name: str) -> list[int]:
        """Return the faces of a domain that may be labelled, in drawing order: those that are not evaluated.

        DataError if there is none.
        """
        if name not in self._usable_rows:
            usable = self.domains.usable(name, "test")
            if usable.reasons:
                left_out = many(len(usable.reasons), "face")
                note(f"{name}: landmarks of {left_out} cannot be used: {some(usable.refused_faces())}")
            tested = equal_files({str(row): self._file(name, row) for row in usable.order}, self._tested().values())
            units = self.evaluation.units() if isinstance(self.evaluation, FaceSets) else frozenset[str]()
            others = [row for row in usable.order if str(row) not in tested]
            rows = [row for row in others if usable.units(row).isdisjoint(units)]
            if tested:
                note(f"{name}: {many(len(tested), 'validation or test face')} not labelled")
            if len(rows) < len(others):
                kept = many(len(others) - len(rows), "face")
                note(f"{name}: {kept} of {usable.apart}s of the validation or test not labelled")
            if not rows:
                evaluated = "; all are of the validation or test" if usable.order else ""
                raise DataError(f"domain '{name}': no labelled face can be used: {usable.summary()}{evaluated}")
            self._usable_rows[name] = rows
        return self._usable_rows[name]

    def _file(self, name: str, row: int) -> Path:
        return self.domains.reader(name, "test").annotations[row].image

    def _name(self, name: str, row: int) -> str:
        return self.domains.reader(name, "test").annotations[row].name

    def _counts(self) -> dict[str, int]:
        """Return the number of labelled faces of each domain, as equal as the domains allow."""
        usable = {name: len(self._rows(name)) for name in self.domains.domains}
        if self.label_count is None:
            return usable
        counts = dict.fromkeys(usable, 0)
        for _ in range(min(self.label_count, sum(usable.values()))):
            free = [name for name in counts if counts[name] < usable[name]]
            counts[min(free, key=lambda name: counts[name])] += 1
        if sum(counts.values()) < self.label_count:
            note(f"labels: {self.label_count} asked for, {sum(counts.values())} usable: all of them are taken")
        return counts

    def _drawn(self, name: str, count: int) -> list[int]:
        return self._rows(name)[:count]

    def _face(self, name: str, index: int) -> FaceArrays:
        reader = self.domains.reader(name, "test")
        crops = CroppedFaces(reader, self.size, self.domains.crop(name), self.domains.landmarks(name))
        item = crops[index]
        points, visible = means(item["points"], item["visible"], self.domains.members(name))
        box = image_box(reader.upright(index).box, item["crop"])
        return FaceArrays(
            item["image"], points, visible & inside(points, self.size), box, f"{name}/{item['name']}", item["crop"]
        )

    # Unlabelled faces

    def _pool(
        self, labelled: Mapping[str, str], places: Collection[tuple[str, Place]]
    ) -> tuple[PictureFaces, dict[str, Any]]:
        """Return the unlabelled faces, without labelled ones and test faces, and the facts of the check.

        Args:
            labelled: name -> SHA-256 of the picture of each labelled face.
            places: such a SHA-256, and the place of the labelled face in the picture.
        """
        found: dict[str, PoolFace] = {}
        for name in self.domains.domains:
            usable = self.domains.usable(name, "test")
            found |= self._of_reader(name, usable.faces, usable.order, self.domains.crop(name))
        for name, domain in self.more.items():
            options = ({"skip_broken": True} if self.skip_broken else {}) | domain.options
            reader: FaceDataset = load_dataset(domain.dataset, domain.root, **options)
            found |= self._of_reader(name, reader, range(len(reader)), domain.crop or self.crop)
        for name, folder in self.folders.items():
            found |= self._of_folder(name, folder, self.boxes.get(name))
        found = {name: face for name, face in found.items() if name not in labelled}
        if not found:
            raise DataError(_NONE)
        contents = content_hashes({name: face.target.file for name, face in found.items()})
        tested = content_hashes(self._tested())
        if not tested:
            note("no test faces are known, so the unlabelled pool is not checked for any")
        kept = check_pool(contents, tested, self.unlabelled)
        if kept.by_name or kept.by_content:
            note(str(kept))
        seen, single = {*places, *((content, ()) for content in labelled.values())}, []
        for name in kept.names:
            key = contents[name], () if found[name].whole else _place(found[name].target.box)
            if key not in seen:
                single.append(name)
                seen.add(key)
        if not single:
            raise DataError(_NONE)
        if len(single) < len(kept.names):
            twice = [name for name in kept.names if name not in set(single)]
            note(f"unlabelled pool: {many(len(twice), 'face')} left out that others equal: {some(twice)}")
        return PictureFaces([found[name] for name in single], self.size), {**kept.facts(), "pool": len(single)}

    def _tested(self) -> dict[str, Path]:
        """Return name -> picture of all faces of the evaluation."""
        if not isinstance(self.evaluation, FaceSets):
            return {}
        return self.evaluation.files("test") | self.evaluation.files("val")

    def _of_reader(self, name: str, reader: FaceDataset, rows: Sequence[int], crop: CropOptions) -> dict[str, PoolFace]:
        boxed = crop.rule in ("box", "animalweb")
        found, broken = {}, []
        for row in rows:
            face = reader.upright(row)
            options, box = (crop, face.box) if boxed else (WHOLE, None)
            try:
                if self.skip_broken:
                    check_whole(face.image)
                size = shown_size(face.image)
                square = face_square(*_NOTHING, size, options, landmarks=ALL_POINTS, box=box)
            except DataError as error:
                if not self.skip_broken and not isinstance(error, CropError):
                    raise
                broken.append(f"{face.name}: {error}")
                continue
            key = f"{name}/{face.name}"
            found[key] = PoolFace(key, Target(face.name, face.image, key, *size, square, face.box), options, not boxed)
        if broken:
            note(f"{name}: {many(len(broken), 'unlabelled face')} skipped, the first: {broken[0]}")
        return found

    def _of_folder(self, name: str, folder: str, boxes: str | None) -> dict[str, PoolFace]:
        boxed = boxes is not None and self.crop.rule in ("box", "animalweb")
        options = unlabelled_crop("crop", self.crop if boxed else None, boxes)
        targets = PhotoFolder(folder, boxes, options, self.skip_broken).targets()
        faces = [PoolFace(f"{name}/{one.name}", one, options, boxes is None) for one in targets]
        return {face.name: face for face in faces}


#: A box in whole pixels; empty for a whole picture.
Place = tuple[int, ...]


def _place(box: NDArray[np.float32] | None) -> Place:
    return () if box is None else tuple(int(value) for value in np.round(box))


def _each_once(faces: Sequence[FaceArrays], contents: Mapping[str, str]) -> list[FaceArrays]:
    """Return labelled faces without those that show the same part of an equal picture with equal landmarks.

    Args:
        faces: with crops.
        contents: name -> SHA-256 of a face's picture.

    Raises:
        DataError: such faces with other landmarks.
    """
    first: dict[Any, FaceArrays] = {}
    for face in faces:
        part = tuple(np.round(face.crop.to_picture, 2).ravel())
        known = first.setdefault((contents[face.name], part), face)
        if known is face:
            continue
        same = np.array_equal(known.visible, face.visible)
        if not same or not np.allclose(known.points[known.visible], face.points[face.visible], atol=1):
            raise DataError(
                f"{known.name} and {face.name} show the same part of one picture with different landmarks; remove one "
                "of them, or crop the faces by their boxes"
            )
        note(f"{face.name} is labelled as {known.name} is: taken once")
    return list(first.values())


@dataclass(frozen=True, eq=False)
class PoolFace:
    """An unlabelled face: its name, its place in a picture, its crop, and whether it is the ``whole`` picture.

    Faces of equal pictures are one face if both are whole, or have the same box.
    """

    name: str
    target: Target
    crop: CropOptions
    whole: bool


class PictureFaces:
    """Crops of faces without labels, ``size`` pixels wide."""

    def __init__(self, faces: Sequence[PoolFace], size: int) -> None:
        self.faces, self.size = list(faces), size

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> FaceArrays:
        """Read and crop face ``index``; DataError if its picture cannot be read."""
        one = self.faces[index]
        image, crop = one.target.image(self.size, one.crop.padding), one.target.crop(self.size)
        return FaceArrays(image, *_NOTHING, image_box(one.target.box, crop), one.name, crop)
