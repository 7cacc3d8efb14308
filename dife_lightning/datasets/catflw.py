"""CatFLW: faces of cats in the wild, 48 points."""

from __future__ import annotations

import re

from dife_lightning.datasets.parsing.flw import FlwFaces

DATASET = "CatFLW"


class CatFLW(FlwFaces):
    """Faces of cats with 48 points and a box; for the arguments see :class:`FlwFaces`.

    The subject is the number before the underscore of a name: ``00000001_000`` is cat 00000001.
    """

    name = "catflw"
    scheme = "catflw-48"
    subject = re.compile(r"(\d+)_\d+")
