"""CatFLW: faces of cats in the wild, 48 points."""

from __future__ import annotations

from dife_lightning.datasets.parsing.flw import FlwFaces

DATASET = "CatFLW"


class CatFLW(FlwFaces):
    """Faces of cats with 48 points and a box; for the arguments see :class:`FlwFaces`."""

    name = "catflw"
    scheme = "catflw-48"
