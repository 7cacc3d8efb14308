"""Lists of picture names, one a line, and what the published ones of Meta-CSKT share with each other.

The published test lists are not as apart as their names say: two "unknown" species have a labelled face, and the
validation list holds test pictures. A note tells it, from the names in the lists alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dife_lightning.datasets.parsing.table import Faults
from dife_lightning.datasets.parsing.text import read_lines
from dife_lightning.faces.images import SUFFIXES
from dife_lightning.utils.notes import many, some

#: Test list -> lists that may share no species with it, and lists that may share no picture.
_APART = {
    "test_40_known.txt": ((), ("train_40img.txt", "all_150.txt")),
    "test_40_unknown.txt": (("train_40img.txt",), ("all_150.txt",)),
    "test_80_known.txt": ((), ("train_80img.txt", "all_150.txt")),
    "test_80_unknown.txt": (("train_80img.txt",), ("all_150.txt",)),
    "japanesemacaque_test.txt": (
        (),
        ("japanesemacaque_train.txt", "primate.txt", "cercopithecidae_val.txt", "primate_val.txt"),
    ),
}


def plain_name(name: str) -> str:
    """Return a picture's name without its suffix, which may differ between disk and list."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in SUFFIXES else name


def species_of(name: str) -> str:
    """Return the species in the name of an AnimalWeb picture: ``arcticfox`` for ``arcticfox_12.jpg``."""
    return plain_name(name.replace("\\", "/").rpartition("/")[2]).rpartition("_")[0]


def read_list(path: Path, faults: Faults) -> dict[str, tuple[str, int]]:
    """Read a list; return plain name -> name as listed and its row, in order.

    Line ends may be those of Windows, and lines blank. A name that is listed again counts once, and a note says so, as
    it does of what a published test list shares with the lists beside it. DataError if there is no such file.
    """
    lines = read_lines(path)
    rows: dict[str, tuple[str, int]] = {}
    twice = []
    for number, name in zip(lines.numbers, lines.texts, strict=True):
        if plain_name(name) in rows:
            twice.append(name)
        rows.setdefault(plain_name(name), (name, number))
    if twice:
        faults.say(f"{path.name} lists {many(len(twice), 'face')} again ({some(twice)}); each counts once")
    if shared := shared_with(path, list(rows)):
        faults.say(f"{path.name} shares {'; '.join(shared)}")
    return rows


def shared_with(path: Path, names: Sequence[str]) -> list[str]:
    """Return what a published test list shares with lists in its folder: ``26 pictures with all_150.txt (...)``.

    Args:
        path: of the list; of one with another name nothing is returned.
        names: plain names in it.
    """
    species, pictures = _APART.get(path.name, ((), ()))
    found = []
    for other in (*species, *pictures):
        if not (path.parent / other).is_file():
            continue
        theirs = {plain_name(name) for name in read_lines(path.parent / other).texts}
        if other in species:
            kinds = sorted({species_of(name) for name in names} & {species_of(name) for name in theirs})
            found += [f"{len(kinds)} species with {other} ({some(kinds)})"] if kinds else []
        elif same := [name for name in names if name in theirs]:
            found.append(f"{many(len(same), 'picture')} with {other} ({some(same)})")
    return found
