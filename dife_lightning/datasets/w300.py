"""300-W: 300 Faces in the Wild, 68 points."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dife_lightning.datasets.parsing.files import FaceFiles, choose, root_folder
from dife_lightning.datasets.parsing.pts import list_faces, read_faces
from dife_lightning.datasets.parsing.table import Faults

DATASET = "W300"

Split = Literal["train", "test", "common", "challenging"]
#: Folders of each split, as papers use them.
SPLITS = {
    "train": ("afw", "helen/trainset", "lfpw/trainset"),
    "test": ("helen/testset", "lfpw/testset", "ibug"),
    "common": ("helen/testset", "lfpw/testset"),
    "challenging": ("ibug",),
}


class W300(FaceFiles):
    """Faces of people with 68 points; the group is the collection that a face is from (``afw``, ``helen``, ...).

    The files count pixels from 1; in our coordinates the centre of the first pixel is at (0, 0).

    Args:
        root: folder with ``afw``, ``helen``, ``lfpw`` and ``ibug``.
        split: ``train``, ``test`` or its parts ``common`` and ``challenging``.
        skip_broken: skip faces that cannot be used; see ``left_out``.
    """

    name = "w300"
    scheme = "300w-68"

    def __init__(self, root: str | Path, split: Split = "test", skip_broken: bool = False) -> None:
        choose(self.name, "split", split, SPLITS)
        folder, faults = root_folder(root), Faults(skip_broken)
        faces = [face for below in SPLITS[split] for face in list_faces(folder, below)]
        # Some copies, made for training, also have a mirrored version of each face.
        faces = [face for face in faces if not Path(face.points).stem.endswith("_mirror")]
        super().__init__(read_faces(folder, faces, 68, 1, faults), faults, {"split": split})
