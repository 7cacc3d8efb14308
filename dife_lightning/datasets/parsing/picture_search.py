"""Finds pictures that an annotation tool lists under another path than they have on disk."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from dife_lightning.datasets.parsing.pictures import find_pictures
from dife_lightning.faces.images import SUFFIXES

#: Label Studio puts eight hexadecimal digits before the name of an uploaded file.
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")


def find_labelled(folder: Path, images: Sequence[str], notes: Counter[str]) -> dict[str, str]:
    """Return the path of each listed picture relative to ``folder``; the listed one if it is not found.

    A picture that is not where it is listed is searched by the last parts of its path, with ``%20`` and the like
    decoded, with another suffix, and without the digits that Label Studio adds. It must be the only one that fits.
    ``notes`` counts those that have another folder or name than listed.
    """
    listed = {image: image.replace("\\", "/") for image in images}
    there = find_pictures(folder, [path for path in listed.values() if path])
    missing = any(there.get(path) is None for path in listed.values())
    by_stem = _by_stem(folder) if missing else {}
    found = {}
    for image, path in listed.items():
        place = there.get(path)
        if place is None and (place := _search(path, by_stem)):
            ends = [f"/{os.path.splitext(text)[0].casefold()}" for text in (unquote(path), place)]
            notes["pictures found in another folder, or by a part of their name"] += not (
                ends[0].endswith(ends[1]) or ends[1].endswith(ends[0])
            )
        found[image] = place or unquote(path)
    return found


def _by_stem(folder: Path) -> dict[str, list[str]]:
    """Return stem in lower case -> paths relative to ``folder`` of all pictures below it, without hidden ones."""
    found: dict[str, list[str]] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = os.path.relpath(parent, folder).replace(os.sep, "/")
        for stem, suffix in map(os.path.splitext, names):
            if suffix.lower() in SUFFIXES:
                path = stem + suffix if relative == "." else f"{relative}/{stem}{suffix}"
                found.setdefault(stem.casefold(), []).append(path)
    return found


def _search(path: str, by_stem: dict[str, list[str]]) -> str | None:
    """Return the only picture that shares the most last parts with ``path``; None if none or several do."""
    for spelling in dict.fromkeys((path, unquote(path))):
        parent, _, name = spelling.rpartition("/")
        for spelled in dict.fromkeys((name, _UPLOADED.sub("", name, count=1))):
            others = by_stem.get(os.path.splitext(spelled)[0].casefold(), [])
            ranks = sorted((*_distance(parent, spelled, other), other) for other in others)
            if ranks and (len(ranks) == 1 or ranks[0][:2] < ranks[1][:2]):
                return ranks[0][2]
    return None


def _distance(parent: str, name: str, path: str) -> tuple[int, bool]:
    """Return minus the number of last folders that ``path`` shares with ``parent``, and whether its name differs."""
    folder, _, other = path.rpartition("/")
    count = 0
    for one, two in zip(reversed(parent.split("/")), reversed(folder.split("/")), strict=False):
        if one != two:
            break
        count += 1
    return -count, other != name
