"""DogFLW: faces of dogs in the wild, 46 points."""

from __future__ import annotations

from dife_lightning.datasets.parsing.flw import FlwFaces

DATASET = "DogFLW"


class DogFLW(FlwFaces):
    """Faces of dogs with 46 points and a box; for the arguments see :class:`FlwFaces`."""

    name = "dogflw"
    scheme = "dogflw-46"
