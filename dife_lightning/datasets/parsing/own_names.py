"""Schemes from the names of points in a file, and a file's names in a built-in scheme."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dife_lightning.errors import DataError, did_you_mean
from dife_lightning.faces.scheme_tables import SCHEMES, Scheme, scheme_from


def own_scheme(names: Sequence[str], mirror: Sequence[tuple[str, str]] = ()) -> str:
    """Make a scheme of the names of a file, and return its name, which depends on the names alone."""
    name = f"own-{len(names)}-{hashlib.sha256(repr((*names, *mirror)).encode()).hexdigest()[:8]}"
    scheme = scheme_from(name, {"landmarks": list(names), "eyes": "unknown"})
    if mirror:
        where = {landmark: k for k, landmark in enumerate(names)}
        pairs = tuple((where[a], where[b]) for a, b in mirror)
        scheme = Scheme(name, scheme.landmarks, pairs, scheme.eye_convention, scheme.maps, scheme.aliases)
    assert isinstance(SCHEMES, dict)
    SCHEMES[name] = scheme
    return name


def places_in_scheme(names: Sequence[str], scheme: str, where: Path, notes: Counter[str]) -> tuple[dict[str, int], int]:
    """Return the place of each name of a file in a scheme, and the scheme's number of points.

    A name that differs in upper and lower case or in separators alone is taken, and counted in ``notes``. An unknown
    scheme has the names of the file. DataError for a name that the scheme does not have.
    """
    landmarks = SCHEMES[scheme].landmarks if scheme in SCHEMES else tuple(names)
    exact = {name: k for k, name in enumerate(landmarks)}
    loose = {_plain(name): k for k, name in enumerate(landmarks)}
    places = {}
    for name in names:
        place = exact.get(name, loose.get(_plain(name)))
        if place is None:
            raise DataError(f"{where}: scheme '{scheme}' has no point '{name}'. {did_you_mean(name, landmarks)}")
        notes["names of points that differ in case or separators from the scheme's"] += name not in exact
        places[name] = place
    if len(set(places.values())) < len(places):
        raise DataError(f"{where}: two names of the file are one point of scheme '{scheme}'; rename one in the file.")
    return places, len(landmarks)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())
