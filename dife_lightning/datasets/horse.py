"""Horse Facial Keypoint: cropped faces of horses, 5 points."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets._faults import Faults
from dife_lightning.datasets._files import FaceFiles, root_folder
from dife_lightning.datasets._options import choose
from dife_lightning.datasets._table import FaceTable
from dife_lightning.datasets._text import read_lines
from dife_lightning.errors import DataError

DATASET = "HorseFaces"

#: Lists of the authors.
LISTS = {"train": "train_horse.txt", "test": "test_minLoss_horse.txt"}
#: ``picture labels`` in a list; both may contain blanks.
_LINE = re.compile(r"(.+\.(?:jpe?g|png|bmp))\s+(.+\.npy)", re.IGNORECASE)


class HorseFaces(FaceFiles):
    """Crops of horses' faces, mostly 224 x 224, with up to five points each: eyes, nose, corners of the mouth.

    Args:
        root: the unpacked folder ``release_data``, or its folder ``horse``.
        split: ``train`` or ``test``, for the authors' lists in ``root`` or in ``root/horse``.
        names: another list, of lines ``picture labels`` as the authors' are; a relative path is looked for in
            ``root`` first.
        skip_broken: leave out faces that cannot be used; see ``left_out``.

    Raises:
        ConfigError: unknown split.
        DataError: a file is missing or has another form.
    """

    name = "horse"
    scheme = "horse-5"

    def __init__(
        self,
        root: str | Path,
        split: Literal["train", "test"] = "test",
        names: str | Path | None = None,
        skip_broken: bool = False,
    ) -> None:
        choose(self.name, "split", split, LISTS)
        folder, faults = root_folder(root), Faults(skip_broken)
        path = _find(folder, LISTS[split] if names is None else names)
        chosen = {"split": split} if names is None else {"names": str(names)}
        super().__init__(_read(folder, path, faults), faults, chosen)


def _find(root: Path, file: str | Path) -> Path:
    places = (root / file, root / "horse" / file, root.parent / file, Path(file).expanduser())
    for path in places:
        if path.is_file():
            return path
    raise DataError(f"no list {places[0]}, nor {places[1]}. Give one with names=, of lines 'picture labels'.")


def _read(root: Path, path: Path, faults: Faults) -> FaceTable:
    numbers, images, labels = [], [], []
    lines = read_lines(path)
    for number, text in zip(lines.numbers, lines.texts, strict=True):
        source = f"{path}, row {number}"
        found = _LINE.fullmatch(text)
        if found is None:
            faults.add(source, f"'{text}', expected a picture and a .npy file")
            continue
        label = _read_labels(root / _below(root, found[2]), source, faults)
        if label is not None:
            numbers.append(number)
            images.append(_below(root, found[1]))
            labels.append(label)
    values = np.array(labels, dtype=np.float64).reshape(-1, 5, 3)
    visible = values[..., 2] > 0
    points = np.where(visible[..., None], values[..., :2], 0).astype(np.float32)
    return FaceTable(
        file=path, label=", row ", keys=numbers, folder=root, images=images, names=images, points=points,
        visible=visible,
    )  # fmt: skip


def _below(root: Path, listed: str) -> str:
    """Return a listed path relative to ``root``: lists hold paths of the machine that they were made on."""
    parts = [part for part in re.split(r"[\\/]", listed) if part not in ("", ".", "..")]
    tails = ["/".join(parts[start:]) for start in range(len(parts))]
    return next((tail for tail in tails if (root / tail).is_file()), tails[0])


def _read_labels(path: Path, source: str, faults: Faults) -> NDArray[np.float64] | None:
    """Return the (5, 3) labels x, y, flag of a file, or None after a fault was reported."""
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        faults.add(source, f"no file {path}; expected labels there")
        return None
    except (OSError, ValueError, EOFError) as error:
        faults.add(source, f"{path} is no array of numbers ({str(error).splitlines()[0]})")
        return None
    if values.shape != (5, 3) or values.dtype.kind not in "iuf":
        faults.add(source, f"{path} holds {values.dtype} of shape {values.shape}, expected numbers of shape (5, 3)")
        return None
    return np.asarray(values, dtype=np.float64)
