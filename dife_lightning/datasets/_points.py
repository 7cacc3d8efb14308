"""How many points the landmark schemes of the readers have."""

from __future__ import annotations

from dife_lightning.errors import DataError

POINTS = {
    "mafl-5": 5,
    "wflw-98": 98,
    "300w-68": 68,
    "aflw-19": 19,
    "ap10k-17": 17,
    "animalweb-9": 9,
    "horse-5": 5,
    "animalpose-20": 20,
    "catflw-48": 48,
    "dogflw-46": 46,
}


def check_count(where: object, scheme: str, found: int) -> None:
    """Refuse a file whose number of points is not the scheme's; a scheme that is not in the table has any.

    Raises:
        DataError: they differ.
    """
    expected = POINTS.get(scheme, found)
    if found != expected:
        raise DataError(f"{where} has {found} points, scheme '{scheme}' has {expected}. Give the file's scheme.")
