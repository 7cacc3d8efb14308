"""Domains of an evaluation on photographs: their data sets and usable faces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dife_lightning.data.evaluation import Split
from dife_lightning.data.photos.pair_draws import Apart, UsableFaces, usable_faces
from dife_lightning.datasets._load import load_dataset
from dife_lightning.errors import ConfigError
from dife_lightning.faces.image_info import image_info_cache
from dife_lightning.faces.items import FaceDataset
from dife_lightning.faces.landmark_sets import shared_points
from dife_lightning.faces.schemes import (
    PROTOCOLS,
    EyeOrder,
    Protocol,
    Scheme,
    get_scheme,
    protocol_members,
)
from dife_lightning.geometry.crops import CropOptions
from dife_lightning.utils.yaml_text import OptionValue


@dataclass(frozen=True)
class FaceDomain:
    """The data set of a domain.

    Attributes:
        dataset: name of the data set, one of ``dife datasets``.
        root: its folder.
        options: of its reader, for example ``{split: test, species: dog}``.
        val_options: options that differ for validation, for example ``{split: val}``; None to draw validation pairs
            from the faces that the test lists do not use.
        crop: crop options of this domain; None for those of the whole evaluation.
    """

    dataset: str
    root: str
    options: dict[str, OptionValue] = field(default_factory=dict)
    val_options: dict[str, OptionValue] | None = None
    crop: CropOptions | None = None


def to_domain(name: str, given: FaceDomain | Mapping[str, Any]) -> FaceDomain:
    """Return a domain given as such or as a mapping of its fields; ConfigError otherwise."""
    if isinstance(given, FaceDomain):
        return given
    try:
        fields = {key: value for key, value in dict(given).items() if value is not None}
        fields |= {key: dict(fields[key]) for key in ("options", "val_options") if key in fields}
        if isinstance(fields.get("crop"), Mapping):
            fields["crop"] = CropOptions(**fields["crop"])
        return FaceDomain(**fields)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"domain '{name}': {error}. Give dataset and root, and options, val_options, crop.") from None


class DomainFaces:
    """Readers and usable faces of all domains, made on first use.

    The arguments are those of :class:`~dife_lightning.data.photos.face_pairs.FacePairs`. ``crop`` is for domains
    without crop options; a domain's own ``skip_broken`` option takes precedence.
    """

    def __init__(
        self,
        domains: Mapping[str, FaceDomain],
        protocol: str,
        crop: CropOptions,
        seed: int,
        eye_order: EyeOrder,
        cache: bool = True,
        skip_broken: bool = False,
        apart: Apart = "subject",
    ) -> None:
        self.domains, self.protocol, self.seed, self.eye_order = dict(domains), protocol, seed, eye_order
        self._crop, self._cache, self.apart = crop, cache, apart
        self._common: dict[str, Any] = {"skip_broken": True} if skip_broken else {}
        self._readers: dict[tuple[str, Split], FaceDataset] = {}
        self._usable: dict[tuple[str, Split], UsableFaces] = {}
        self._shared: tuple[Protocol, dict[str, tuple[int, ...]]] | None = None

    def crop(self, name: str) -> CropOptions:
        """Return the crop options of a domain."""
        return self.domains[name].crop or self._crop

    def reader(self, name: str, split: Split) -> FaceDataset:
        """Return the reader of a domain; for validation the one of ``val_options``, if given.

        ConfigError for a scheme that does not serve the protocol; otherwise raises what ``load_dataset`` does.
        """
        key = self._key(name, split)
        if key not in self._readers:
            domain = self.domains[name]
            options = self._common | domain.options | ((domain.val_options or {}) if key[1] == "val" else {})
            with image_info_cache(disk=self._cache):
                faces: FaceDataset = load_dataset(domain.dataset, domain.root, **options)
            if self.protocol in PROTOCOLS:
                protocol_members(faces.scheme, self.protocol, self.eye_order)
            self._readers[key] = faces
        return self._readers[key]

    def usable(self, name: str, split: Split) -> UsableFaces:
        """Return the usable faces of a domain, in drawing order; raises what ``reader`` does."""
        key = self._key(name, split)
        if key not in self._usable:
            reader, crop = self.reader(name, split), self.crop(name)
            self._usable[key] = usable_faces(
                reader, self.landmarks(name), crop, self.seed, cache=self._cache, apart=self.apart
            )
        return self._usable[key]

    def shared(self) -> tuple[Protocol, dict[str, tuple[int, ...]]] | None:
        """Return the protocol that is not built in, and its points in the scheme of each domain; None for one that is.

        It is made of the points that all domains share. Raises what ``reader`` and ``shared_points`` do.
        """
        if self.protocol not in PROTOCOLS and self._shared is None:
            schemes = [self.reader(name, "test").scheme for name in self.domains]
            protocol, points = shared_points(schemes, self.protocol, self.eye_order)
            self._shared = protocol, dict(zip(self.domains, points, strict=True))
        return self._shared

    def landmarks(self, name: str) -> str:
        """Return the landmark set that faces of a domain must show: the protocol, or names of the scheme's points."""
        shared = self.shared()
        if shared is None:
            return self.protocol
        scheme = get_scheme(self.reader(name, "test").scheme)
        return ",".join(scheme.landmarks[k] for k in shared[1][name])

    def describe(self) -> dict[str, Any]:
        """Return data sets, options and crops of all domains, and the counts of those that were read."""
        return {
            name: {
                "dataset": domain.dataset,
                "options": domain.options,
                "val_options": domain.val_options,
                "crop": self.crop(name).published(self.landmarks(name)),
                "faces": {split: self._counts(name, split) for read, split in self._readers if read == name},
            }
            for name, domain in self.domains.items()
        }

    def _counts(self, name: str, split: Split) -> dict[str, Any]:
        faces, usable = self._readers[name, split], self._usable.get((name, split))
        annotations = fingerprint(faces, range(len(faces)), pictures=False)
        counts = {"faces": len(faces), "annotations_hash": annotations, "reader": faces.facts}
        return (
            counts
            if usable is None
            else counts | {"usable": len(usable.order), "refused": dict(usable.refused)} | self._apart(usable)
        )

    def _apart(self, usable: UsableFaces) -> dict[str, Any]:
        """Return what the lists share none of, for the record of a result."""
        kin = usable.kin()
        return {"kept_apart_by": self.apart if kin else "picture"} | ({f"{self.apart}s": kin} if kin else {})

    def _key(self, name: str, split: Split) -> tuple[str, Split]:
        return (name, split if self.domains[name].val_options is not None else "test")


def fingerprint(faces: FaceDataset, indices: Iterable[int], *, pictures: bool) -> str:
    """Return a SHA-256 of names, points and boxes; with ``pictures`` also of the files' sizes and times."""
    own = faces.scheme.landmarks if isinstance(faces.scheme, Scheme) else ()
    digest = hashlib.sha256("\n".join((str(faces.scheme), *own)).encode())
    for index in indices:
        annotation = faces.upright(index) if pictures else faces.annotations[index]
        digest.update(f"\n{annotation.name}\n".encode())
        digest.update(np.ascontiguousarray(annotation.points, "<f4").tobytes())
        digest.update(np.ascontiguousarray(annotation.visible, np.uint8).tobytes())
        digest.update(b"" if annotation.box is None else np.ascontiguousarray(annotation.box, "<f4").tobytes())
        if pictures:
            state = annotation.image.stat()
            digest.update(f"{state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()
