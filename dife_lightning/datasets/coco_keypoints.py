"""Any COCO keypoint file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dife_lightning.datasets.parsing.coco import choose_faces, read_coco
from dife_lightning.datasets.parsing.coco_files import id_of
from dife_lightning.datasets.parsing.files import FaceFiles, as_list, root_folder
from dife_lightning.datasets.parsing.own_points import GivenScheme
from dife_lightning.datasets.parsing.table import Faults
from dife_lightning.datasets.parsing.turned import PointsOf
from dife_lightning.faces.schemes import SCHEMES
from dife_lightning.utils.notes import many

DATASET = "CocoKeypoints"


class CocoKeypoints(FaceFiles):
    """Faces of a COCO keypoint file; the group is the category's name.

    A face's name is its picture's, ``#`` and the annotation's id. The subject is the field ``subject`` (or
    ``individual``, ``animal_id``, ...) of the annotation or of its ``attributes``.

    Args:
        root: folder of ``file`` and ``images``.
        file: the JSON file.
        scheme: landmark scheme of the points: a name such as ``wflw-98``, or a YAML file (see ``faces.own_schemes``).
            By default the scheme is the file's own points, by the names of its category. Points are found by name, in
            whatever order the file has them.
        images: folder of the pictures; by default ``root`` itself.
        category: only these, by name or id, one or a list; by default all.
        needed: points that must be labelled, by number, or by name if the file names them; one or a list.
        skip_broken: skip faces that cannot be used; see ``left_out``.
        keep_zeros: keep labelled points at exactly (0, 0) or (-1, -1), which otherwise count as not labelled.
        truth: for a ``file`` of results (a list of predictions, which names no pictures): the file of the annotations.
        points_of: which picture the points are of, where its EXIF header turns it: ``auto`` (as the stated size tells,
            else as viewers show it), ``shown`` or ``stored``.
    """

    name = "coco-keypoints"

    def __init__(
        self,
        root: str | Path,
        file: str | Path,
        scheme: GivenScheme = None,
        images: str = "",
        category: str | int | Sequence[str | int] | None = None,
        needed: str | int | Sequence[str | int] = (),
        skip_broken: bool = False,
        keep_zeros: bool = False,
        points_of: PointsOf = "auto",
        truth: str | Path = "",
    ) -> None:
        folder, faults = root_folder(root), Faults(skip_broken)
        coco = read_coco(folder / file, faults, folder / truth if truth else None)
        chosen, points = as_list(category), as_list(needed)
        known, table = choose_faces(
            coco, folder / images, self.name, scheme, faults, chosen, points, keep_zeros=keep_zeros, search=True
        )
        self.scheme = known.name if known.name in SCHEMES else known
        empty = len(coco.images) - len({id_of(entry.get("image_id")) for entry in coco.annotations} & set(coco.images))
        if empty:
            faults.say(f"{many(empty, 'picture')} of {len(coco.images)} without annotation: passed over")
        facts = {"file": str(file), "scheme": known.name, "category": chosen, "needed": points}
        super().__init__(table, faults, facts, points_of)
