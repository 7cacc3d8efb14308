"""Predictions of other programs: points that a reader finds in a file, on the pictures of another data set."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets._load import check_options
from dife_lightning.datasets.parsing.coco_files import id_of, read_coco
from dife_lightning.datasets.parsing.csv_files import read_csv
from dife_lightning.datasets.parsing.files import FaceFiles
from dife_lightning.datasets.parsing.pictures import find_pictures
from dife_lightning.datasets.parsing.recognising import recognise
from dife_lightning.datasets.parsing.table import FaceTable, Faults
from dife_lightning.datasets.parsing.turned import PointsOf, settle_turned
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.items import FaceAnnotation
from dife_lightning.faces.own_schemes import Left, scheme_from_names
from dife_lightning.faces.schemes import Scheme, get_scheme
from dife_lightning.registry import get_dataset
from dife_lightning.utils.files import sha256
from dife_lightning.utils.notes import many, note, some
from dife_lightning.weights.user_paths import PREFIX, find_own_file


class Prediction(NamedTuple):
    """The points that a program found for one face.

    Attributes:
        points: (K, 2) float32, x then y, pixels of the picture as viewers show it.
        seen: (K,) bool: predicted.
        face: name of the face, if the file states it.
        source: name of the source face that the points were transferred from, if the file states it.
        place: file and row.
    """

    points: NDArray[np.float32]
    seen: NDArray[np.bool_]
    face: str
    source: str
    place: str


class _Listed(FaceFiles):
    """Stands between a reader and :class:`FaceFiles`, and keeps the table as parsed: no picture is looked for."""

    def __init__(
        self,
        table: FaceTable,
        faults: Faults,
        facts: Mapping[str, Any] | None = None,
        points_of: PointsOf | None = None,
    ) -> None:
        self._table, self._told_exchanged = table, False
        self.faults, self.points_of = faults, points_of

    @property
    def table(self) -> FaceTable:
        """All faces of the file."""
        return self._table

    def on(self, folder: Path, found: Mapping[str, str]) -> Iterator[FaceAnnotation]:
        """Yield the faces whose listed picture is in ``found``, with points of the picture there as viewers show it.

        DataError if a picture has another size than the file states.
        """
        rows = [row for row, image in enumerate(self._table.images) if image in found]
        listed, table = self._table, self._table.take(rows)
        table = table.changed(folder=folder, images=[found[image] for image in table.images], names=table.keys)
        if self.points_of is not None:
            table = settle_turned(table, self.points_of, self.faults)
        self._table = table
        try:
            for row in range(len(table)):
                try:
                    yield self._upright(row)
                except DataError as error:
                    raise DataError(f"{table.source(row)}: {str(error).rstrip('.')}; expected points in pixels of the "
                                    "original photo.") from None  # fmt: skip
        finally:
            self._table = listed


class PredictionFile:
    """A file of predictions, in any form that a reader reads; no picture need be there.

    Args:
        file: file or folder, or a name such as ``own/dlc`` from ``paths.yaml``.
        reader: name of the reader; empty to recognise it.
        options: of the reader, as for ``load_dataset``. ``truth`` may be relative to the working folder.

    Raises:
        ConfigError: an unknown reader or option, or a form that is not recognised.
        DataError: there is no such file, or it has another form.
    """

    def __init__(self, file: str, reader: str = "", options: Mapping[str, Any] | None = None) -> None:
        self.path = (find_own_file(file) if file.startswith(PREFIX) else Path(file)).expanduser()
        if reader and self.path.exists():
            root, found = self.path, dict[str, Any]()
            if self.path.is_file():
                root, found = self.path.parent, {"file": str(self.path.absolute())}
        else:
            reader, root, found = recognise(self.path)  # which says that there is no such file
        given = {**found, **(options or {})}
        if given.get("truth") and Path(given["truth"]).expanduser().is_file():
            given["truth"] = str(Path(given["truth"]).expanduser().absolute())
        cls = get_dataset(reader)
        if not issubclass(cls, FaceFiles):
            raise ConfigError(f"dataset '{reader}' is rendered: its reader cannot read {self.path}.")
        check_options(reader, cls, given)
        listed = cast(Callable[..., _Listed], type(cls.__name__, (cls, _Listed), {}))
        self.reader, self._given = reader, bool(given.get("scheme"))
        #: What was said about the file.
        self.notes: list[str] = []
        #: Photo as the file lists it -> real paths that it may be; and the listed photos that were asked for.
        self.places: dict[str, set[str]] = {}
        self.used: set[str] = set()
        self._faces = listed(root, **given)
        self._stated = _stated(reader, root / str(given.get("file", "")), given)
        #: The scheme of the points; for a file without one, their names.
        self.scheme = get_scheme(self._faces.scheme)
        for text in (*self._faces.faults.notes, *self._skipped()):
            self.say(text)

    def _skipped(self) -> list[str]:
        left = self._faces.faults.left_out
        return [f"{many(len(left), 'face')} skipped, the first: {left[0].source}: {left[0].reason}"] if left else []

    def say(self, text: str) -> None:
        """Print a line on what was guessed, converted or passed over, once."""
        if text not in self.notes:
            self.notes.append(text)
            note(f"predictions in {self.path}: {text}")

    def understand(self, target: Scheme) -> None:
        """Read the points in the words of the data set: names mean what they mean there, also whose left they say.

        Points without names are those of ``target`` if their number is equal. ConfigError if it is not.
        """
        count, expected = len(self.scheme.landmarks), len(target.landmarks)
        if self._given or self.scheme == target or not isinstance(self._faces.scheme, Scheme):
            return
        if self.scheme.eye_convention != "unknown":
            left: Left = "subject" if target.eye_convention == "subject" else "viewer"
            self.scheme = scheme_from_names(self.scheme.landmarks, self.path.stem, left=left)
            if left == "subject":
                self.say(f"left is taken as the face's own, as in scheme '{target.name}' of the data set "
                         "(options: {scheme: FILE.yaml} changes it)")  # fmt: skip
        elif count == expected:
            self.scheme = target
            self.say(f"the {count} points are taken in the order of scheme '{target.name}' of the data set "
                     "(options: {scheme: ...} changes it)")  # fmt: skip
        else:
            raise ConfigError(f"{self.path} has {count} points without names, scheme '{target.name}' of the data set "
                              f"has {expected}; name them with options: {{scheme: ...}}.")  # fmt: skip

    def on(self, folder: Path | None, pictures: Collection[str]) -> dict[str, list[Prediction]]:
        """Return the predictions on some pictures.

        Args:
            folder: folder of the pictures; None where no files hold them (renders), to match whole names alone.
            pictures: paths below ``folder``, with forward slashes.

        Returns:
            Picture -> its predictions, for those that have one.

        Raises:
            DataError: a listed picture may be several, several listed ones are the same, or a size is another.
        """
        listed = list(dict.fromkeys(self._faces.table.images))
        where = {image: [image] for image in listed} if folder is None else find_pictures(folder, listed, search=True)
        found, base = self._clear(where, set(pictures)), folder or Path()
        self.used, self.places = (
            set(found),
            {image: {os.path.realpath(base / path) for path in paths} for image, paths in where.items()},
        )
        grouped: dict[str, list[Prediction]] = defaultdict(list)
        for one in self._faces.on(base, found):
            face, source = self._stated.get(str(one.name), ("", ""))
            seen = one.visible & np.isfinite(one.points).all(axis=-1)
            picture = one.image.relative_to(base).as_posix()
            grouped[picture].append(Prediction(one.points, seen, face, source, one.source))
        for text in self._faces.faults.notes:
            self.say(text)
        return dict(grouped)

    def _clear(self, where: Mapping[str, list[str]], pictures: Collection[str]) -> dict[str, str]:
        """Return listed picture -> picture; DataError if it is not clear."""
        back: dict[str, list[str]] = defaultdict(list)
        for image, paths in where.items():
            wanted = [path for path in paths if path in pictures]
            if wanted and len(paths) > 1:
                raise DataError(f"{self.path}: {image} may be {len(paths)} photos ({some(paths)}); write the folder of "
                                "each photo into the file.")  # fmt: skip
            for path in wanted:
                back[path].append(image)
        for path, images in back.items():
            if len(images) > 1:
                raise DataError(f"{self.path}: {some(images)} are all photo {path}; leave one of them in the file.")
        renamed = [f"{image} is {path}" for path, (image,) in back.items() if image != path]
        if renamed:
            self.say(f"{many(len(renamed), 'photo')} found under another name: {some(renamed, 1)}")
        others = len(where) - len(back)
        if others:
            self.say(f"{many(others, 'photo')} of {len(where)} in the file are no target here")
        return {image: path for path, (image,) in back.items()}

    def facts(self) -> dict[str, Any]:
        """Return what a result records of the file."""
        digest = sha256(self.path) if self.path.is_file() else None
        return {
            "file": str(self.path),
            "sha256": digest,
            "reader": self.reader,
            "predictions": len(self._faces.table),
            "scheme": self.scheme.name,
            "landmarks": list(self.scheme.landmarks),
            "notes": list(self.notes),
        }


def _stated(reader: str, path: Path, options: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return key -> names of face and source, of predictions for which a COCO file or a table states them."""
    found = {}
    if reader == "coco-keypoints" and not options.get("truth"):
        for entry in read_coco(path, Faults(skip=True)).annotations:
            found[id_of(entry.get("id")) or ""] = str(entry.get("face") or ""), str(entry.get("source") or "")
    elif reader == "folder":
        content = read_csv(path)
        places = [_column(content.columns, names) for names in (("name", "face"), ("source",))]
        for number, cells in content.rows:
            face, source = ("" if k is None or k >= len(cells) else cells[k] for k in places)
            found[str(number)] = face, source
    return found


def _column(columns: Collection[str], names: Collection[str]) -> int | None:
    lower = [name.lower() for name in columns]
    return next((lower.index(name) for name in names if name in lower), None)
