"""Unlabelled photos beside the samples of a stream: equation 1 of DIFE needs a teacher, and no generator.

The photos that the generators hold back for their Fréchet distance stay unseen here, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from numpy.typing import NDArray

from dife_lightning.data.images import read_folder, split_held_out
from dife_lightning.data.photos.cropped_faces import CroppedFaces
from dife_lightning.data.photos.face_domains import DomainFaces, FaceDomain, to_domain
from dife_lightning.errors import ConfigError, DataError, did_you_mean, printable
from dife_lightning.geometry.crops import CropOptions
from dife_lightning.utils.checks import require
from dife_lightning.utils.notes import many


@dataclass(frozen=True)
class StreamPhotos:
    """Unlabelled photos of some or all domains of a stream: folders of faces, crops of annotated faces, or both.

    Attributes:
        folder: a folder, or ``own/...`` of ``paths.yaml``, with a folder of photos for each domain, named like it; or
            domain -> its folder of photos. The central squares are used, as by the generators' trainings.
        faces: domain -> data set of annotated faces, of which the crops are used. Landmarks place the crops, as in the
            evaluation, and nothing else is learnt from them.
        batch_size: photos per step over all domains; each domain of the stream gets ``batch_size // domains``. None
            takes as many as samples.
        protocol: landmarks that place the crops of ``faces``; a face that does not show them all is left out.
        held_out: photos of ``folder`` that generators hold back (``GeneratorImages``), at most a tenth of a folder;
            they are not used.
        held_out_seed: ``seed`` of the generators' images, by which they were chosen.
        skip_broken: skip damaged files and report them. ``--skip-broken`` sets it.
    """

    folder: str | dict[str, str] | None = None
    faces: dict[str, FaceDomain] | None = None
    batch_size: int | None = None
    protocol: str = "3-point"
    held_out: int = 1000
    held_out_seed: int = 0
    skip_broken: bool = False

    def __post_init__(self) -> None:
        require("photos.", at_least=1, batch_size=self.batch_size)
        require("photos.", at_least=0, held_out=self.held_out, held_out_seed=self.held_out_seed)
        if not self.folder and not self.faces:
            raise ConfigError(
                "photos: neither folder nor faces; name a folder of each domain, for example folder: {dog: my/dogs}"
            )

    def folders(self, domains: Iterable[str]) -> dict[str, str]:
        """Return domain -> folder of photos; ConfigError if a folder or data set is of none of ``domains``."""
        names = list(domains)
        listed = {"faces": [*(self.faces or {})], "folder": [*self.folder] if isinstance(self.folder, dict) else []}
        for key, given in listed.items():
            unknown = next((name for name in given if name not in names), None)
            if unknown is not None:
                raise ConfigError(
                    f"photos.{key}: '{unknown}' is no domain of the stream. {did_you_mean(unknown, names)}"
                )
        if isinstance(self.folder, str):
            return {name: f"{self.folder.rstrip('/')}/{name}" for name in names}
        return dict(self.folder or {})

    def annotated(self) -> DomainFaces:
        """Return the annotated faces of the domains that have some; ConfigError for one without dataset or root."""
        known = {name: to_domain(name, given) for name, given in (self.faces or {}).items()}
        return DomainFaces(known, self.protocol, CropOptions(), 0, "viewer", skip_broken=self.skip_broken)

    def per_domain(self, samples: int, domains: int) -> int:
        """Return the photos of a domain per step, of a stream of ``samples`` per step; ConfigError if it is 0."""
        total = samples if self.batch_size is None else self.batch_size
        if total < domains:
            raise ConfigError(f"photos.batch_size is {total} for {domains} domains; each needs a photo")
        return total // domains


def check_use(method: object) -> None:
    """Raise ConfigError if a method does not say by ``uses_photos`` that it learns from the photos of a stream."""
    if method is not None and not getattr(method, "uses_photos", False):
        raise ConfigError(
            f"the stream has photos, and {type(method).__name__} with these settings does not learn from them; "
            "type --data.init_args.photos null"
        )


def read_photos(options: StreamPhotos, domains: Iterable[str], side: int) -> dict[str, NDArray[np.uint8]]:
    """Read the photos of each domain as squares (N, side, side, 3), without those held out.

    DataError if a folder is missing or empty, a photo is damaged and not skipped, or no face of a domain can be used.
    """
    names = list(domains)
    folders, annotated = options.folders(names), options.annotated()
    found: dict[str, NDArray[np.uint8]] = {}
    for domain in names:
        parts = [_of_folder(folders[domain], domain, options, side)] if domain in folders else []
        parts += [_of_faces(annotated, domain, side)] if domain in annotated.domains else []
        if parts:
            found[domain] = np.concatenate(parts)
    without = [domain for domain in names if domain not in found]
    if without:
        rank_zero_info(printable(f"no photos of {', '.join(without)}: photos does not name any"))
    return found


def _of_folder(folder: str, domain: str, options: StreamPhotos, side: int) -> NDArray[np.uint8]:
    images, report = read_folder(folder, side, options.skip_broken)
    if report.damaged:
        files, first = many(len(report.damaged), "file"), next(iter(report.damaged.values()))
        rank_zero_warn(printable(f"photos of {domain}: {files} skipped, the first: {first}"))
    rank_zero_info(printable(f"photos of {domain}: {photo_summary(len(images), options)}"))
    return kept_photos(images, options)


def _of_faces(annotated: DomainFaces, domain: str, side: int) -> NDArray[np.uint8]:
    usable = annotated.usable(domain, "test")
    if not usable.order:
        raise DataError(f"photos of {domain}: no annotated face can be cropped: {usable.summary()}")
    crops = CroppedFaces(usable.faces, side, annotated.crop(domain), annotated.landmarks(domain))
    rank_zero_info(printable(f"photos of {domain}: {face_summary(len(usable.order))}"))
    return np.stack([crops[index]["image"] for index in usable.order])


def kept_photos(images: NDArray[np.uint8], options: StreamPhotos) -> NDArray[np.uint8]:
    """Return ``images`` (N, ...) without those that the generators hold back."""
    return split_held_out(images, options.held_out, options.held_out_seed)[0]


def photo_summary(count: int, options: StreamPhotos) -> str:
    """Return how many of ``count`` photos of a domain are used, and how many are held out."""
    used = len(kept_photos(np.arange(count), options))  # type: ignore[arg-type]
    return f"{many(used, 'photo')} for the distillation, {count - used} held out as by the generators"


def face_summary(count: int) -> str:
    """Return that the crops of ``count`` annotated faces are used."""
    return f"{many(count, 'crop')} of annotated faces for the distillation"
