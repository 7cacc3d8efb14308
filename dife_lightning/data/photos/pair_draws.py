"""Which faces of photographs make pairs, and in which order lists take them.

No list of the paper's pairs was ever released. Ours are drawn by the hash of the faces' names, not by a random number
generator: a face's turn depends neither on the order of files nor on the platform nor on what other pictures there are.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dife_lightning.data.photos.cropped_faces import why_unusable
from dife_lightning.data.photos.pair_lists import FacePairList, Split
from dife_lightning.errors import DataError
from dife_lightning.faces.image_info import image_info_cache
from dife_lightning.faces.items import FaceDataset
from dife_lightning.geometry.crops import CropOptions

#: The kinds of pair that the paper tests.
PAPER_PAIRS = ("human+dog", "human+cat", "dog+cat", "human+wild")
#: Faces of each domain in its test pairs: a kind of pair has as many pairs as its rarer domain has faces (100, 89, 89
#: and 47 of the above).
PAPER_FACES = {"human": 100, "dog": 100, "cat": 89, "wild": 47}
#: For domains that the paper does not have.
OTHER_FACES = 100


def faces_in_tests(domain: str) -> int:
    """Return how many faces of a domain the test lists take; validation keeps away from their pictures."""
    return PAPER_FACES.get(domain, OTHER_FACES)


def default_count(pair: str) -> int:
    """Return the number of test pairs, the paper's where it has the pair; half of its faces for pairs in a domain."""
    source, target = pair.split("+")
    return faces_in_tests(source) // 2 if source == target else min(map(faces_in_tests, (source, target)))


def picture_of(faces: FaceDataset, index: int) -> str:
    """Return the file of a face's picture: the same one by whatever path, over links or not, its folder was given."""
    image = faces.annotations[index].image
    path = os.path.join(_real_folder(os.path.abspath(image.parent)), image.name)
    return os.path.realpath(path) if os.path.islink(path) else path


@lru_cache(maxsize=1024)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


@dataclass(frozen=True)
class UsableFaces:
    """The faces of a reader that pairs may hold.

    Attributes:
        faces: the reader.
        order: their indices, in the order in which lists take them.
        refused: how many of the others are out for which reason.
    """

    faces: FaceDataset
    order: tuple[int, ...]
    refused: Mapping[str, int]

    def image(self, index: int) -> str:
        """Return the picture of a face; several faces may have one."""
        return picture_of(self.faces, index)

    def name(self, index: int) -> str:
        """Return the name of a face."""
        return self.faces.annotations[index].name

    def told(self) -> str:
        """Return one line on how many there are, and why no more."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.refused.items())
        out = f" (out: {reasons})" if reasons else ""
        return f"{len(self.faces)} faces of {self.faces.name}, {len(self.order)} usable{out}"


def usable_faces(
    faces: FaceDataset, protocol: str, options: CropOptions, seed: int = 0, *, cache: bool = False
) -> UsableFaces:
    """Find the faces that show all of ``protocol`` and can be cropped, and put them in drawing order.

    First comes one face of every picture, then the second faces of pictures with several, and so on.

    Args:
        faces: the reader.
        protocol: a landmark set.
        options: how faces are cut out.
        seed: of the order.
        cache: keep the sizes of pictures in the cache folder, so that none is opened a second time for it.

    Raises:
        ConfigError: the scheme does not serve the protocol.
        DataError: a picture is missing or damaged.
    """
    with image_info_cache(disk=cache):
        reasons = [why_unusable(faces, index, protocol, options) for index in range(len(faces))]
    usable = [index for index, reason in enumerate(reasons) if not reason]
    refused = dict(Counter(reason for reason in reasons if reason).most_common())
    return UsableFaces(faces, tuple(drawing_order(faces, usable, seed)), refused)


def drawing_order(faces: FaceDataset, usable: Sequence[int], seed: int = 0) -> list[int]:
    """Return ``usable`` in the order in which lists take faces: one of every picture first; see the module's text."""
    names: list[str] = []
    pictures: dict[str, list[int]] = {}
    for index, annotation in enumerate(faces.annotations):
        names.append(annotation.name)
        pictures.setdefault(str(annotation.image), []).append(index)
    chosen, turn = set(usable), {}
    for members in pictures.values():
        # A picture is known by its faces, as its path differs between machines.
        key = _digest(seed, min(names[index] for index in members))
        ranked = sorted(chosen.intersection(members), key=lambda index: _digest(seed, names[index]))
        turn.update({index: (rank, key, names[index]) for rank, index in enumerate(ranked)})
    return sorted(usable, key=turn.__getitem__)


def _digest(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()


def draw_pair_list(
    pair: str,
    split: Split,
    source: UsableFaces,
    target: UsableFaces,
    count: int,
    *,
    drawn: Mapping[str, Any] | None = None,
    without: Collection[str] = (),
) -> FacePairList:
    """Draw a list: the faces whose turn comes first, each in one pair, no picture on both sides.

    Args:
        pair: kind of pair.
        split: of the list.
        source: faces of the first domain.
        target: faces of the second, or the same object for pairs within a domain.
        count: pairs; where there are fewer faces, all are taken.
        drawn: what the record says of the drawing.
        without: pictures that the list must not use.

    Raises:
        DataError: not one pair is possible.
    """
    first, second = ([i for i in side.order if side.image(i) not in without] for side in (source, target))
    if source is target:
        first, second = first[0::2], first[1::2]
    first = first[:count]
    taken = {source.image(i) for i in first}
    second = [i for i in second if target.image(i) not in taken][:count]
    if not first or not second:
        domain, side = (pair.split("+")[bool(first)], target if first else source)
        hint = "take validation faces from another split (val_options) or give a list (val_lists)"
        kept = f"; {len(without)} pictures are kept for the test lists: {hint}" if without else ""
        raise DataError(f"no {split} pair of {pair}: no face of {domain} is left: {side.told()}{kept}")
    names = tuple((source.name(a), target.name(b)) for a, b in zip(first, second, strict=False))
    return FacePairList(pair, split, names, (source.faces.name, target.faces.name), drawn)
