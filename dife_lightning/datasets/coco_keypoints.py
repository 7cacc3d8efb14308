"""Any COCO keypoint file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dife_lightning.datasets.parsing.coco import choose_faces, read_coco
from dife_lightning.datasets.parsing.files import FaceFiles, as_list, root_folder
from dife_lightning.datasets.parsing.table import Faults

DATASET = "CocoKeypoints"


class CocoKeypoints(FaceFiles):
    """Faces of a COCO keypoint file; the group is the category's name.

    A face's name is its picture's, ``#`` and the annotation's id.

    Args:
        root: folder of ``file`` and ``images``.
        file: the JSON file.
        scheme: name of the landmark scheme of the points, for example ``wflw-98``. If it is built in, the number of
            points is checked.
        images: folder of the pictures; by default ``root`` itself.
        category: only these, by name or id, one or a list; by default all.
        needed: points that must be labelled, by number, or by name if the file names them; one or a list.
        skip_broken: skip faces that cannot be used; see ``left_out``.
    """

    name = "coco-keypoints"

    def __init__(
        self,
        root: str | Path,
        file: str | Path,
        scheme: str,
        images: str = "",
        category: str | int | Sequence[str | int] | None = None,
        needed: str | int | Sequence[str | int] = (),
        skip_broken: bool = False,
    ) -> None:
        self.scheme = scheme
        folder, faults = root_folder(root), Faults(skip_broken)
        coco = read_coco(folder / file)
        chosen, points = as_list(category), as_list(needed)
        table = choose_faces(coco, folder / images, self.name, scheme, faults, chosen, points)
        facts = {"file": str(file), "scheme": scheme, "category": chosen, "needed": points}
        super().__init__(table, faults, facts)
