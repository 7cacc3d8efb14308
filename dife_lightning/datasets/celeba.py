"""CelebA with aligned pictures, and its subset MAFL."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from dife_lightning.datasets.parsing.files import FaceFiles, choose, root_folder
from dife_lightning.datasets.parsing.table import FaceTable, Faults
from dife_lightning.datasets.parsing.text import note_once, parse_rows, read_lines, read_names
from dife_lightning.errors import ConfigError, MissingDataError

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
        skip_broken: skip faces that cannot be used; see ``left_out``.
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
            all_faces, table = len(table), _without_train(table, folder, faults)
            facts.update({"without_celeba_train": True, "mafl_test": all_faces, "paper_count": _PAPER_COUNT})
            _report(len(table), all_faces)
        super().__init__(table, faults, facts)


def _image_folder(root: Path, images: str | None) -> Path:
    names = _IMAGES if images is None else (images,)
    for name in names:
        if (root / "Img" / name).is_dir():
            return root / "Img" / name
    raise MissingDataError(f"no folder {root / 'Img' / names[0]}. Unpack the aligned photos there (docs/datasets.md).")


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
    return FaceTable(path, [numbers[i] for i in rows.kept], images, rows.names, rows.values, count=5)


def _chosen(table: FaceTable, root: Path, split: Split, faults: Faults) -> FaceTable:
    """Return the faces of a split, in the order of the list of landmarks."""
    path = root / _LISTS.get(split, PARTITION)
    if split in _LISTS:
        wanted = read_names(path, faults)
    else:
        rows, parts = _partition(root, faults)
        wanted = {name: rows[name] for name, part in parts.items() if part == _PARTITIONS[split]}
    there = set(table.names)
    for name, row in wanted.items():
        if name not in there:
            faults.add(f"{path}, row {row}", f"'{name}' has no landmarks; expected a row of {LANDMARKS}")
    return table.where([name in wanted for name in table.names])


def _without_train(table: FaceTable, root: Path, faults: Faults) -> FaceTable:
    """Return the faces that CelebA does not train on; one of which the partition says nothing is reported."""
    _, parts = _partition(root, faults)
    for row, name in enumerate(table.names):
        if name not in parts:
            faults.add(table.source(row), f"'{name}' is in no part of CelebA; expected a row of {PARTITION}")
    return table.where([parts.get(name, _PARTITIONS["train"]) != _PARTITIONS["train"] for name in table.names])


def _partition(root: Path, faults: Faults) -> tuple[dict[str, int], dict[str, str]]:
    """Return the row of each name of CelebA's partition, and the number of the part that it belongs to."""
    path = root / PARTITION
    lines = read_lines(path)
    rows: dict[str, int] = {}
    parts: dict[str, str] = {}
    for number, text in zip(lines.numbers, lines.texts, strict=True):
        name, part = text.rsplit(None, 1) if len(text.split(None, 1)) == 2 else (text, "")
        if part not in _PARTITIONS.values():
            faults.add(f"{path}, row {number}", f"'{text}', expected a name and 0, 1 or 2")
        elif note_once(rows, name, number, path, faults):
            parts[name] = part
    return rows, parts


def _report(left: int, all_faces: int) -> None:
    from lightning.pytorch.utilities import rank_zero_info  # takes seconds, so not above

    rank_zero_info(
        f"celeba: {left} of {all_faces} MAFL test faces are not in CelebA's training partition; papers speak of "
        f"{_PAPER_COUNT}"
    )
