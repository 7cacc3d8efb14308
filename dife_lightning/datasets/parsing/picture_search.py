"""Finds pictures that an annotation tool lists under another path than they have on disk."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from dife_lightning.datasets.parsing.pictures import find_pictures

#: Label Studio puts eight hexadecimal digits before the name of an uploaded file.
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")


def find_labelled(folder: Path, images: Sequence[str], notes: Counter[str]) -> dict[str, str]:
    """Return the path of each listed picture relative to ``folder``; the listed one if it is not found.

    A picture that is not where it is listed is searched by the last parts of its path, with ``%20`` and the like
    decoded, and without the digits that Label Studio adds. It must be the only one that fits; ``notes`` counts them.
    """
    listed = {image: image.replace("\\", "/") for image in images}
    there = find_pictures(folder, [path for path in listed.values() if path])
    missing = [image for image, path in listed.items() if there.get(path) is None]
    by_name = _by_name(folder) if missing else {}
    found = {}
    for image, path in listed.items():
        place = there.get(path) or _search(path, by_name)
        if place and there.get(path) is None and not path.endswith(f"/{place}") and not place.endswith(f"/{path}"):
            notes["pictures found by the last part of their path"] += 1
        found[image] = place or path
    return found


def _by_name(folder: Path) -> dict[str, list[str]]:
    """Return name -> paths relative to ``folder`` of all files below it, without hidden ones."""
    found: dict[str, list[str]] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = os.path.relpath(parent, folder).replace(os.sep, "/")
        for name in names:
            found.setdefault(name, []).append(name if relative == "." else f"{relative}/{name}")
    return found


def _search(path: str, by_name: dict[str, list[str]]) -> str | None:
    """Return the only file that has the most last parts in common with ``path``; None if there is no such file."""
    for spelling in dict.fromkeys((path, unquote(path))):
        parent, _, name = spelling.rpartition("/")
        for spelled in dict.fromkeys((name, _UPLOADED.sub("", name, count=1))):
            parts = [*parent.split("/"), spelled]
            best = sorted((-_common(parts, other.split("/")), other) for other in by_name.get(spelled, []))
            if best and (len(best) == 1 or best[0][0] < best[1][0]):
                return best[0][1]
    return None


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """Return how many last parts two paths share."""
    count = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        count += 1
    return count
