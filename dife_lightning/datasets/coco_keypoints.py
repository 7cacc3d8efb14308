"""Any COCO keypoint file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dife_lightning.datasets._coco import category_ids, coco_table, point_numbers, read_coco
from dife_lightning.datasets._faults import Faults
from dife_lightning.datasets._files import FaceFiles, root_folder
from dife_lightning.datasets._options import as_list

DATASET = "CocoKeypoints"


class CocoKeypoints(FaceFiles):
    """Faces of a COCO keypoint file; the group is the category's name.

    A face's name is its picture's, ``#`` and the annotation's id.

    Args:
        root: folder that ``file`` and ``images`` are in.
        file: the JSON file.
        scheme: name of the scheme that the points follow, for example ``wflw-98``. Where it is a known one the number
            of points is checked.
        images: folder of the pictures; by default ``root`` itself.
        category: only these, by name or id, one or a list; by default all.
        needed: points that must be labelled, by number, or by name where the file names them.
        skip_broken: leave out faces that cannot be used; see ``left_out``.

    Raises:
        ConfigError: unknown category or point.
        DataError: a file is missing or has another form.
    """

    name = "coco-keypoints"

    def __init__(
        self,
        root: str | Path,
        file: str | Path,
        scheme: str,
        images: str = "",
        category: str | int | Sequence[str | int] | None = None,
        needed: Sequence[str | int] = (),
        skip_broken: bool = False,
    ) -> None:
        self.scheme = scheme
        folder, faults = root_folder(root), Faults(skip_broken)
        coco = read_coco(folder / file)
        wanted = category_ids(coco, self.name, as_list(category))
        table = coco_table(coco, folder / images, scheme, faults, wanted)
        points = point_numbers(coco, self.name, needed, table.points.shape[1])
        labelled = np.all(table.visible[:, points], axis=-1)
        facts = {"file": str(file), "scheme": scheme, "category": as_list(category), "needed": list(needed)}
        super().__init__(table.where(labelled), faults, facts)
