"""How many points the landmark schemes of the readers have."""

from __future__ import annotations

from dife_lightning.errors import DataError
from dife_lightning.faces.schemes import SCHEMES


def known_count(scheme: str) -> int | None:
    """Return the number of a scheme's points; None for one that is not in the tables."""
    return len(SCHEMES[scheme].landmarks) if scheme in SCHEMES else None


def check_count(where: object, scheme: str, found: int) -> None:
    """Refuse a file whose number of points is not the scheme's; a scheme that is not in the tables has any.

    Raises:
        DataError: they differ.
    """
    expected = known_count(scheme)
    if expected not in (None, found):
        raise DataError(f"{where} has {found} points, scheme '{scheme}' has {expected}. Give the file's scheme.")
