"""AP-10K: animals of 54 species, 17 points of the whole body, three of them of the face."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from dife_lightning.datasets.parsing.coco import choose_faces, read_coco
from dife_lightning.datasets.parsing.files import FaceFiles, as_list, choose, root_folder
from dife_lightning.datasets.parsing.table import Faults
from dife_lightning.errors import ConfigError

DATASET = "AP10K"


class AP10K(FaceFiles):
    """Animals with 17 points of the body; left and right are the animal's own. The group is the species.

    Args:
        root: folder with ``annotations`` and ``data``.
        split: ``train``, ``val`` or ``test``.
        fold: which of the three random splits: 1, 2 or 3.
        species: only these, by name (``dog``) or category id (8), one or a list; by default all.
        needed: points that must be labelled, by name or number, one or a list: ``["left_eye", "right_eye", "nose"]``
            for faces that show both eyes.
        skip_broken: skip animals that cannot be used; see ``left_out``.
    """

    name = "ap10k"
    scheme = "ap10k-17"

    def __init__(
        self,
        root: str | Path,
        split: Literal["train", "val", "test"] = "test",
        fold: int = 1,
        species: str | int | Sequence[str | int] | None = None,
        needed: str | int | Sequence[str | int] = (),
        skip_broken: bool = False,
    ) -> None:
        choose(self.name, "split", split, ("train", "val", "test"))
        if fold not in (1, 2, 3):
            raise ConfigError(f"ap10k: unknown fold {fold}. Known: 1, 2, 3.")
        folder, faults = root_folder(root), Faults(skip_broken)
        coco = read_coco(folder / "annotations" / f"ap10k-{split}-split{fold}.json", faults)
        chosen, points = as_list(species), as_list(needed)
        _, table = choose_faces(coco, folder / "data", self.name, self.scheme, faults, chosen, points)
        super().__init__(table, faults, {"split": split, "fold": fold, "species": chosen, "needed": points})
