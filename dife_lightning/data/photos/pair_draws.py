"""Draws pair lists of photographs.

The paper's lists were never released. Ours are drawn by the hash of the faces' names instead of random numbers, so the
order does not depend on the order of files, on the platform, or on which other pictures there are.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from dife_lightning.data.evaluation import Split
from dife_lightning.data.photos.cropped_faces import why_unusable
from dife_lightning.data.photos.pair_lists import FacePairList
from dife_lightning.data.photos.repeated_draws import repeated_pairs, two_sides
from dife_lightning.errors import DataError
from dife_lightning.faces.image_info import image_info_cache
from dife_lightning.faces.items import FaceAnnotation, FaceDataset
from dife_lightning.geometry.crops import CropOptions

#: The kinds of pair that the paper tests.
PAPER_PAIRS = ("human+dog", "human+cat", "dog+cat", "human+wild")
#: Faces of each domain in its test pairs. A kind of pair has as many pairs as the smaller of its two domains (100, 89,
#: 89 and 47 for the above).
PAPER_FACES = {"human": 100, "dog": 100, "cat": 89, "wild": 47}
#: For domains that are not in the paper.
OTHER_FACES = 100


def faces_in_tests(domain: str) -> int:
    """Return how many faces of a domain the test lists use; validation avoids their pictures."""
    return PAPER_FACES.get(domain, OTHER_FACES)


def default_count(pair: str) -> int:
    """Return the number of test pairs (the paper's, if it has the pair); half the faces for pairs within a domain."""
    source, target = pair.split("+")
    return faces_in_tests(source) // 2 if source == target else min(map(faces_in_tests, (source, target)))


def picture_of(faces: FaceDataset, index: int) -> str:
    """Return the real path of a face's picture, with symbolic links resolved, so that equal pictures compare equal."""
    image = faces.annotations[index].image
    path = os.path.join(_real_folder(os.path.abspath(image.parent)), image.name)
    return os.path.realpath(path) if os.path.islink(path) else path


#: What validation and test never share: pictures alone, or also subjects or groups, as the data set states them.
Apart = Literal["picture", "subject", "group"]


def units_of(faces: FaceDataset, index: int, apart: Apart) -> frozenset[str]:
    """Return what no other side may have of a face: its picture, and its subject or group, if known."""
    kin = _kin(faces.annotations[index], apart)
    return frozenset((picture_of(faces, index), *([f"{apart} {kin} of {faces.name}"] if kin else [])))


def unit_names(faces: FaceDataset, apart: Apart) -> list[str]:
    """Return for each face the subject or group that it is kept apart by, or else the first face of its picture."""
    first: dict[str, str] = {}
    for face in faces.annotations:
        picture = str(face.image)
        first[picture] = min(face.name, first.get(picture, face.name))
    return [_kin(face, apart) or first[str(face.image)] for face in faces.annotations]


def _kin(face: FaceAnnotation, apart: Apart) -> str:
    return {"picture": "", "subject": face.subject, "group": face.group}[apart]


@lru_cache(maxsize=1024)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


@dataclass(frozen=True)
class UsableFaces:
    """The faces of a reader that can be used in pairs.

    Attributes:
        faces: the reader.
        order: indices of the usable faces, in drawing order.
        reasons: index -> why a face cannot be used, of the others.
        apart: what faces are kept apart by.
    """

    faces: FaceDataset
    order: tuple[int, ...]
    reasons: Mapping[int, str]
    apart: Apart = "subject"

    @property
    def refused(self) -> dict[str, int]:
        """Reason -> number of faces that cannot be used, the most frequent first."""
        return dict(Counter(self.reasons.values()).most_common())

    def refused_faces(self) -> list[str]:
        """Return the names of the faces that cannot be used, each with the reason."""
        return [f"{self.name(index)} ({reason})" for index, reason in self.reasons.items()]

    def image(self, index: int) -> str:
        """Return the picture of a face; several faces may have one."""
        return picture_of(self.faces, index)

    def units(self, index: int) -> frozenset[str]:
        """Return what is kept apart: the picture of a face, and its subject or group."""
        return units_of(self.faces, index, self.apart)

    def kin(self) -> int:
        """Return the number of subjects (or groups) of the usable faces; 0 where only pictures are kept apart."""
        return len({_kin(self.faces.annotations[index], self.apart) for index in self.order} - {""})

    def name(self, index: int) -> str:
        """Return the name of a face."""
        return self.faces.annotations[index].name

    def summary(self) -> str:
        """Return one line: how many faces are usable, and why the others are not."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.refused.items())
        out = f" (unusable: {reasons})" if reasons else ""
        kin = f" of {count} {self.apart}s" if (count := self.kin()) else ""
        return f"{len(self.faces)} faces of {self.faces.name}, {len(self.order)} usable{kin}{out}"


def usable_faces(
    faces: FaceDataset,
    protocol: str,
    options: CropOptions,
    seed: int = 0,
    *,
    cache: bool = False,
    apart: Apart = "subject",
) -> UsableFaces:
    """Find the faces that show all points of ``protocol`` and can be cropped, in drawing order.

    One face of every picture comes first, then the second faces of pictures with several, and so on. With ``cache``,
    the sizes of pictures are kept in the cache folder. DataError if a picture is missing or damaged.
    """
    with image_info_cache(disk=cache):
        reasons = {index: why_unusable(faces, index, protocol, options) for index in range(len(faces))}
    usable = [index for index, reason in reasons.items() if not reason]
    refused = {index: reason for index, reason in reasons.items() if reason}
    return UsableFaces(faces, tuple(drawing_order(faces, usable, seed)), refused, apart)


def drawing_order(faces: FaceDataset, usable: Sequence[int], seed: int = 0) -> list[int]:
    """Return ``usable`` in drawing order: sorted by hash, one face of every picture first."""
    names: list[str] = []
    pictures: dict[str, list[int]] = {}
    for index, annotation in enumerate(faces.annotations):
        names.append(annotation.name)
        pictures.setdefault(str(annotation.image), []).append(index)
    chosen, turn = set(usable), {}
    for members in pictures.values():
        # The key is made of face names because paths differ between machines.
        key = _digest(seed, min(names[index] for index in members))
        ranked = sorted(chosen.intersection(members), key=lambda index: _digest(seed, names[index]))
        turn.update({index: (rank, key, names[index]) for rank, index in enumerate(ranked)})
    return sorted(usable, key=turn.__getitem__)


def _digest(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()


def _subjects_first(side: UsableFaces, order: Sequence[int]) -> list[int]:
    """Return ``order`` with one face of every subject (or picture) first, then the second ones, and so on."""
    names, count, turn = unit_names(side.faces, side.apart), Counter[str](), {}
    for index in order:
        count[names[index]] += 1
        turn[index] = count[names[index]]
    return sorted(order, key=turn.__getitem__)


def draw_pair_list(
    pair: str,
    split: Split,
    source: UsableFaces,
    target: UsableFaces,
    count: int,
    *,
    drawn: Mapping[str, Any] | None = None,
    without: Collection[str] = (),
    repeat: bool = False,
    name: str = "",
) -> FacePairList:
    """Draw a list: the first faces in drawing order, each in one pair, and no picture or subject on both sides.

    For pairs within a domain, ``source`` and ``target`` are the same object. The list has at most ``count`` pairs and
    uses nothing of ``without`` (see ``units_of``); ``drawn`` says how it is drawn, for the record, and ``name`` is the
    list's. With ``repeat``, a list that needs more faces than there are has all of them in several pairs, and one
    face of every subject comes first. DataError if not one pair is possible.
    """
    first, second = ([i for i in side.order if side.units(i).isdisjoint(without)] for side in (source, target))
    if repeat:
        first, second = (_subjects_first(side, order) for side, order in ((source, first), (target, second)))
    everyone = first, second
    if source is target:
        everyone = two_sides(first, source.units) if repeat else everyone
        first, second = first[0::2], first[1::2]
    first = first[:count]
    taken = frozenset[str]().union(*(source.units(i) for i in first))
    second = [i for i in second if target.units(i).isdisjoint(taken)][:count]
    pairs = list(zip(first, second, strict=False))
    if repeat and len(pairs) < count:
        names, units = (source.name, target.name), (source.units, target.units)
        pairs = repeated_pairs(*everyone, count, names, units, seed=int((drawn or {}).get("seed", 0)))
        drawn = {**(drawn or {}), "repeat": True}
    if not pairs:
        domain, side = (pair.split("+")[bool(first)], target if first else source)
        hint = "take validation faces from another split (val_options) or give a list (val_lists)"
        pictures = sum(os.path.isabs(unit) for unit in without)
        kin = f" and their {source.apart}s" if pictures < len(without) else ""
        reserved = f"; {pictures} pictures{kin} are reserved for the test lists: {hint}" if without else ""
        raise DataError(f"no {split} pairs for {pair}: no usable face of {domain}: {side.summary()}{reserved}")
    named = tuple((source.name(a), target.name(b)) for a, b in pairs)
    return FacePairList(pair, split, named, (source.faces.name, target.faces.name), drawn, name)
