"""DogFLW: faces of dogs in the wild, 46 points."""

from __future__ import annotations

from pathlib import Path

from dife_lightning.datasets._faults import Faults
from dife_lightning.datasets._files import FaceFiles, root_folder
from dife_lightning.datasets._flw import read_flw

DATASET = "DogFLW"


class DogFLW(FaceFiles):
    """Faces of dogs with 46 points and a box.

    Which point stands for which part is not documented by the authors: the scheme is the raw one of the files.

    Args:
        root: folder with ``images`` and ``labels``.
        skip_broken: leave out faces that cannot be used; see ``left_out``.

    Raises:
        DataError: a folder is missing or a file has another form.
    """

    name = "dogflw"
    scheme = "dogflw-46"

    def __init__(self, root: str | Path, skip_broken: bool = False) -> None:
        folder, faults = root_folder(root), Faults(skip_broken)
        super().__init__(read_flw(folder, self.scheme, faults), faults)
