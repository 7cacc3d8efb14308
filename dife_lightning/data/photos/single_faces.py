"""Which photographed faces are evaluated one by one: common landmarks, and lists that share no picture or subject."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dife_lightning.data.evaluation import Split
from dife_lightning.data.photos.face_domains import DomainFaces
from dife_lightning.data.photos.pair_draws import UsableFaces, unit_names
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.landmark_sets import ALL_POINTS
from dife_lightning.faces.scheme_tables import Group, Members, Protocol, Scheme
from dife_lightning.faces.schemes import PROTOCOLS, get_scheme, protocol_members
from dife_lightning.mining.leaks import equal_files
from dife_lightning.utils.files import write_json

#: Means of points by which a scheme made of some landmarks knows its eyes.
_MEANS = {side: (f"{side}_outer", f"{side}_inner") for side in ("left_eye", "right_eye")}


class SetDomains(DomainFaces):
    """Readers and usable faces of domains, with the scheme that all of them are brought to.

    ``protocol`` is the option ``landmarks`` of :class:`~dife_lightning.data.photos.face_sets.FaceSets`.
    """

    def landmarks(self, name: str) -> str:
        """Return the landmark set that the faces of a domain must show; ``all`` stands for those that are labelled."""
        return ALL_POINTS if self.protocol == ALL_POINTS else super().landmarks(name)

    def target(self) -> Scheme:
        """Return the common scheme: that of all domains, or one of the landmarks that they share.

        Names of the latter use the viewer's left and right. ConfigError for ``all`` with several schemes; otherwise
        raises what ``reader`` and ``shared_points`` do.
        """
        schemes = [get_scheme(self.reader(name, "test").scheme) for name in self.domains]
        if self.protocol == ALL_POINTS:
            for other in schemes[1:]:
                if other.landmarks != schemes[0].landmarks:
                    found = f"'{schemes[0].name}' and '{other.name}'"
                    raise ConfigError(f"landmarks: all, but the domains have {found}; use common, a protocol or names")
            return schemes[0]
        shared = self.shared()
        return scheme_of(PROTOCOLS[self.protocol] if shared is None else shared[0])

    def members(self, name: str) -> Members:
        """Return the points of a domain's scheme whose mean each landmark of the common scheme is."""
        if self.protocol == ALL_POINTS:
            return tuple((k,) for k in range(len(self.target().landmarks)))
        shared = self.shared()
        if shared is None:
            return protocol_members(self.reader(name, "test").scheme, self.protocol, self.eye_order)
        return tuple((k,) for k in shared[1][name])


def scheme_of(protocol: Protocol) -> Scheme:
    """Return a scheme of the landmarks of a protocol, in their order; the eyes are also means of their corners."""
    where = {name: k for k, name in enumerate(protocol.landmarks)}
    aliases: dict[str, Group] = {
        name: tuple(where[corner] for corner in corners)
        for name, corners in _MEANS.items()
        if name not in where and all(corner in where for corner in corners)
    }
    return Scheme(protocol.name, protocol.landmarks, protocol.flip_pairs, "image", {}, aliases)


@dataclass(frozen=True)
class FaceList:
    """The faces of a domain that are evaluated, by name.

    Attributes:
        domain: name of the domain.
        split: ``val`` for model selection, ``test`` for results.
        names: of the faces, in their order.
        dataset: name of the reader.
        drawn: how it was drawn (seed, landmarks, crop), for the record.
    """

    domain: str
    split: Split
    names: tuple[str, ...]
    dataset: str
    drawn: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def hash(self) -> str:
        """SHA-256 of domain, split, data set and names; it does not depend on how they were drawn."""
        text = json.dumps([self.domain, self.split, self.dataset, list(self.names)], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def write(self, path: str | Path) -> None:
        """Write the list and its hash as JSON."""
        fields = {"domain": self.domain, "split": self.split, "dataset": self.dataset, "drawn": self.drawn}
        write_json(path, {**fields, "hash": self.hash, "faces": self.names})


def whole_subjects(usable: UsableFaces, count: int) -> list[int]:
    """Return up to ``count`` usable faces in drawing order, all faces of a subject (or picture) or none.

    If each subject has more faces, those of the smallest one.
    """
    names, members = unit_names(usable.faces, usable.apart), dict[str, list[int]]()
    for index in usable.order:
        members.setdefault(names[index], []).append(index)
    chosen: list[int] = []
    for rows in members.values():
        if len(chosen) + len(rows) <= count:
            chosen += rows
    return chosen or min(members.values(), key=len, default=[])


class SingleLists:
    """The validation and test lists of some domains, made on first use.

    Test lists have the first ``count`` usable faces in drawing order (None for all), validation lists the first
    ``val_count`` of which no picture, by place or content, and no subject is in a test list of any domain; with 0 there
    are none. With ``whole_subjects``, a test list has all usable faces of a subject or none.
    """

    def __init__(self, faces: SetDomains, count: int | None, val_count: int, whole_subjects: bool = False) -> None:
        self.faces, self.counts, self.whole_subjects = faces, {"test": count, "val": val_count}, whole_subjects
        self._lists: dict[Split, dict[str, FaceList]] = {}

    def of(self, split: Split) -> dict[str, FaceList]:
        """Return the lists of a split by domain.

        DataError for a domain without a usable face, or without one that is left for validation.
        """
        if split == "val" and not self.counts["val"]:
            return {}
        if split not in self._lists:
            reserved = self.units("test") if split == "val" else frozenset[str]()
            self._lists[split] = {name: self._list(name, split, reserved) for name in self.faces.domains}
        return self._lists[split]

    def hashes(self, split: Split) -> dict[str, str]:
        """Return the SHA-256 of each list by domain; without faces for validation there are none, so a test goes on."""
        try:
            return {name: found.hash for name, found in self.of(split).items()}
        except DataError:
            if split == "test":
                raise
            return {}

    def indices(self, found: FaceList) -> list[int]:
        """Return the numbers of a list's faces in its reader."""
        annotations = self.faces.reader(found.domain, found.split).annotations
        where = {face.name: index for index, face in enumerate(annotations)}
        return [where[name] for name in found.names]

    def subjects(self, found: FaceList) -> list[str]:
        """Return the animal or person on each face of a list; empty where the data set does not say."""
        annotations = self.faces.reader(found.domain, found.split).annotations
        return [annotations[index].subject for index in self.indices(found)]

    def units(self, split: Split) -> frozenset[str]:
        """Return pictures and subjects of all lists of a split."""
        found = frozenset[str]()
        for name, listed in self.of(split).items():
            usable = self.faces.usable(name, split)
            found |= frozenset[str]().union(*(usable.units(index) for index in self.indices(listed)))
        return found

    def files(self, split: Split) -> dict[str, Path]:
        """Return ``domain/name`` -> picture of all faces of a split; empty if there are none for validation."""
        try:
            lists = self.of(split)
        except DataError:
            if split == "test":
                raise
            return {}
        faces: dict[str, Path] = {}
        for name, found in lists.items():
            annotations = self.faces.reader(name, split).annotations
            faces |= {f"{name}/{annotations[i].name}": annotations[i].image for i in self.indices(found)}
        return faces

    def _list(self, name: str, split: Split, reserved: frozenset[str]) -> FaceList:
        usable, count = self.faces.usable(name, split), self.counts[split]
        order = [index for index in usable.order if usable.units(index).isdisjoint(reserved)]
        if split == "val":
            pictures = {str(index): usable.faces.annotations[index].image for index in order}
            equal = equal_files(pictures, self.files("test").values())
            order = [index for index in order if str(index) not in equal]
        whole = self.whole_subjects and split == "test"
        chosen = whole_subjects(usable, count) if whole and count is not None else order[:count]
        if not chosen:
            hint = "; the test lists use all: set count, or val_options of the domain" if usable.order else ""
            raise DataError(f"no {split} faces of {name}: {usable.summary()}{hint}")
        crop = self.faces.crop(name).published(self.faces.landmarks(name))
        drawn = {"seed": self.faces.seed, "landmarks": self.faces.protocol, "crop": crop}
        names = tuple(usable.name(index) for index in chosen)
        return FaceList(name, split, names, usable.faces.name, drawn)
