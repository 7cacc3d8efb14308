"""The scheme of a file that names its points, and the places of these names in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dife_lightning.errors import DataError, did_you_mean
from dife_lightning.faces.own_schemes import find_scheme, scheme_from_names
from dife_lightning.faces.point_names import canonical
from dife_lightning.faces.schemes import Scheme


def scheme_of(
    given: str | Scheme, names: Sequence[str], where: Path, mirror: Sequence[tuple[str, str]] | None = None
) -> Scheme:
    """Return the scheme that the user gave by name or file; by default, or for an unknown name, the file's own names.

    Args:
        given: name, file, or empty.
        names: of the points of the file.
        where: the file, for messages.
        mirror: pairs of names that a flip exchanges, if the file says so; None to find them from the names.

    Raises:
        DataError: the file has no point, and no scheme was given.
    """
    found = find_scheme(given, names) if given else None
    if found is None and not names:
        raise DataError(f"{where}: no faces and no points; check the files and the options.")
    return found or scheme_from_names(names, str(given) or "own", mirror=mirror)


def places_in(scheme: Scheme, names: Sequence[str], where: Path, notes: Counter[str]) -> dict[str, int]:
    """Return the place of each name of a file in a scheme.

    A name that differs in case, separators or the place of the side alone is taken (``EyeL`` for ``left_eye``), and
    counted in ``notes``. DataError for a name that the scheme does not have, or two names of one point.
    """
    exact = {name: k for k, name in enumerate(scheme.landmarks)}
    loose = {alias: group[0] for alias, group in scheme.aliases.items() if len(group) == 1}
    loose |= {canonical(name): k for name, k in exact.items()}
    places: dict[str, int] = {}
    for name in names:
        place = exact.get(name, loose.get(canonical(name)))
        if place is None:
            hint = did_you_mean(name, scheme.landmarks)
            raise DataError(f"{where}: scheme '{scheme.name}' has no point '{name}'. {hint}")
        if place in places.values():
            raise DataError(f"{where}: '{name}' and another name are one point of scheme '{scheme.name}'; rename one.")
        places[name] = place
    others = [name for name in names if name not in exact]
    if others:
        shown = f"{others[0]} for {scheme.landmarks[places[others[0]]]}"
        notes[f"names of points taken as other spellings of those of scheme '{scheme.name}' ({shown})"] = len(others)
    return places
