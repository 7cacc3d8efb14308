"""Train, validation and test parts of a data set of one's own, which share no photo and no subject."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence

from dife_lightning.datasets.parsing.files import FaceFiles
from dife_lightning.errors import ConfigError, DataError

#: Names of the parts, in the order of their shares.
PARTS = ("train", "val", "test")


def parse_shares(text: str) -> tuple[float, float, float]:
    """Return the shares of ``60,10,30``, which sum to 1; ConfigError for another form."""
    try:
        train, val, test = (float(share) for share in text.replace("/", ",").split(","))
    except ValueError:
        raise ConfigError(
            f"--split '{text}': expected three shares for train, val and test, such as 60,10,30"
        ) from None
    total = train + val + test
    if min(train, val, test) < 0 or not 0 < total < float("inf"):
        raise ConfigError(f"--split '{text}': expected shares of 0 or more that are not all 0, such as 60,10,30")
    return train / total, val / total, test / total


def split_faces(faces: FaceFiles, shares: Sequence[float], seed: int = 0) -> Mapping[str, list[int]]:
    """Return the numbers of the faces of each part, in the data set's order.

    Faces of one photo, and of one subject where the data set states it, go to one part. Which one follows from the hash
    of their names and the seed, so it depends neither on the machine nor on the order of files.

    Raises:
        DataError: there are too few photos or subjects for a part with a share.
    """
    units = _units(faces)
    order = sorted(units.values(), key=lambda unit: _digest(seed, min(faces.annotations[k].name for k in unit)))
    total = sum(map(len, order))
    found: dict[str, list[int]] = {part: [] for part in PARTS}
    done, ends = 0, [sum(shares[: k + 1]) for k in range(len(PARTS))]
    for unit in order:
        middle = (done + len(unit) / 2) / total
        part = next((name for name, end in zip(PARTS, ends, strict=True) if middle <= end), PARTS[-1])
        found[part] += unit
        done += len(unit)
    for part, share in zip(PARTS, shares, strict=True):
        if share and not found[part]:
            raise DataError(f"{len(order)} photos or subjects are too few for a part '{part}' of {share:.0%}; "
                            "give other shares, or more photos")  # fmt: skip
    return {part: sorted(numbers) for part, numbers in found.items() if numbers}


def _units(faces: FaceFiles) -> Mapping[int, list[int]]:
    """Return the groups of faces that belong together, by the number of their first face."""
    first: dict[str, int] = {}
    above = list(range(len(faces)))

    def top(k: int) -> int:
        while above[k] != k:
            k = above[k]
        return k

    for k, face in enumerate(faces.annotations):
        for name in (f"photo {os.path.realpath(face.image)}", *([f"subject {face.subject}"] if face.subject else [])):
            a, b = sorted((top(k), top(first.setdefault(name, k))))
            above[b] = a
    found: dict[int, list[int]] = {}
    for k in range(len(faces)):
        found.setdefault(top(k), []).append(k)
    return found


def _digest(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()
