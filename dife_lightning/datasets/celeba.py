"""CelebA with aligned pictures, and its subset MAFL."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from dife_lightning.datasets._faults import Faults
from dife_lightning.datasets._files import FaceFiles, root_folder
from dife_lightning.datasets._options import choose
from dife_lightning.datasets._table import FaceTable
from dife_lightning.datasets._text import parse_rows, read_lines, read_names
from dife_lightning.errors import ConfigError, DataError

DATASET = "CelebA"

Split = Literal["train", "val", "test", "mafl-train", "mafl-test"]
LANDMARKS = "Anno/list_landmarks_align_celeba.txt"
PARTITION = "Eval/list_eval_partition.txt"
#: Numbers of the partition file.
_PARTITIONS = {"train": "0", "val": "1", "test": "2"}
#: Lists of MAFL.
_LISTS = {"mafl-train": "MAFL/training.txt", "mafl-test": "MAFL/testing.txt"}
#: Folders of aligned pictures below ``Img``; the first that is there is taken. All have the same geometry.
_IMAGES = ("img_align_celeba", "img_align_celeba_hq", "img_align_celeba_png")
#: MAFL test faces outside CelebA's training partition, according to papers.
_PAPER_COUNT = 400


class CelebA(FaceFiles):
    """Faces of celebrities, aligned and 178 x 218 pixels, with five points.

    Args:
        root: folder with ``Img``, ``Anno``, ``Eval`` and, for MAFL, ``MAFL``.
        split: of CelebA's partition (``train``, ``val``, ``test``) or of MAFL (``mafl-train``, ``mafl-test``).
        images: folder below ``Img``; by default ``img_align_celeba``, else the ones in better quality.
        without_celeba_train: leave out the faces of ``mafl-test`` that CelebA's partition trains on. Their number is
            printed and is in ``facts``: papers speak of 400 that remain.
        skip_broken: leave out faces that cannot be used; see ``left_out``.

    Raises:
        ConfigError: unknown split, or an option that does not go with it.
        DataError: a file is missing or has another form.
    """

    name = "celeba"
    scheme = "mafl-5"

    def __init__(
        self,
        root: str | Path,
        split: Split = "mafl-test",
        images: str | None = None,
        without_celeba_train: bool = False,
        skip_broken: bool = False,
    ) -> None:
        choose(self.name, "split", split, (*_PARTITIONS, *_LISTS))
        if without_celeba_train and split != "mafl-test":
            raise ConfigError(f"celeba: without_celeba_train goes with split='mafl-test', found '{split}'")
        folder, faults = root_folder(root), Faults(skip_broken)
        table = _landmarks(folder, _image_folder(folder, images), faults)
        facts: dict[str, Any] = {"split": split, "images": table.folder.name}
        table = _chosen(table, folder, split, faults)
        if without_celeba_train:
            all_faces, trained = len(table), set(_partition(folder, "train", faults))
            table = table.where([name not in trained for name in table.names])
            facts.update({"without_celeba_train": True, "mafl_test": all_faces, "paper_count": _PAPER_COUNT})
            _tell(len(table), all_faces)
        super().__init__(table, faults, facts)


def _image_folder(root: Path, images: str | None) -> Path:
    names = _IMAGES if images is None else (images,)
    for name in names:
        if (root / "Img" / name).is_dir():
            return root / "Img" / name
    raise DataError(f"no folder {root / 'Img' / names[0]}. Unpack the aligned pictures there (docs/datasets.md).")


def _landmarks(root: Path, images: Path, faults: Faults) -> FaceTable:
    """Return all faces of the list of landmarks."""
    path = root / LANDMARKS
    numbers, texts = read_lines(path)
    head, stated = 0, None
    if texts and texts[0].isdigit():
        head, stated = 1, int(texts[0])
    if texts[head:] and "lefteye_x" in texts[head]:
        head += 1
    numbers, texts = numbers[head:], texts[head:]
    if stated is not None and stated != len(texts):
        faults.add(f"{path}, row 1", f"{stated} faces are announced, expected as many rows and found {len(texts)}")
    rows = parse_rows(texts, 10, True, lambda i: f"{path}, row {numbers[i]}", faults)
    points = rows.values.reshape(len(rows.names), 5, 2).astype(np.float32)
    return FaceTable(
        file=path,
        label=", row ",
        keys=[numbers[i] for i in rows.kept],
        folder=images,
        images=rows.names,
        names=rows.names,
        points=points,
        visible=np.ones(points.shape[:2], dtype=bool),
    )


def _chosen(table: FaceTable, root: Path, split: Split, faults: Faults) -> FaceTable:
    """Return the faces of a split, in the order of the list of landmarks."""
    if split in _LISTS:
        path = root / _LISTS[split]
        wanted = read_names(path, faults)
    else:
        path = root / PARTITION
        wanted = _partition(root, split, faults)
    there = set(table.names)
    for name, row in wanted.items():
        if name not in there:
            faults.add(f"{path}, row {row}", f"'{name}' has no landmarks; expected a row of {LANDMARKS}")
    return table.where([name in wanted for name in table.names])


def _partition(root: Path, split: str, faults: Faults) -> dict[str, int]:
    """Return the names of a part of CelebA and their rows."""
    path = root / PARTITION
    lines = read_lines(path)
    chosen: dict[str, int] = {}
    for number, text in zip(lines.numbers, lines.texts, strict=True):
        name, _, part = text.rpartition(" ")
        if part == _PARTITIONS[split] and name:
            chosen[name.rstrip()] = number
        elif part not in ("0", "1", "2") or not name:
            faults.add(f"{path}, row {number}", f"'{text}', expected a name and 0, 1 or 2")
    return chosen


def _tell(left: int, all_faces: int) -> None:
    from lightning.pytorch.utilities import rank_zero_info  # takes seconds, so not above

    rank_zero_info(
        f"celeba: {left} of {all_faces} MAFL test faces are not in CelebA's training partition; papers speak of "
        f"{_PAPER_COUNT}"
    )
