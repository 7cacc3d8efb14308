"""Predictions of other programs: points that a reader finds in a file, on the pictures of another data set."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets._load import check_options
from dife_lightning.datasets.parsing.coco_files import id_of, read_coco
from dife_lightning.datasets.parsing.csv_files import read_csv
from dife_lightning.datasets.parsing.files import FaceFiles
from dife_lightning.datasets.parsing.listed import ListedFaces
from dife_lightning.datasets.parsing.pictures import find_pictures
from dife_lightning.datasets.parsing.recognising import recognise
from dife_lightning.datasets.parsing.table import Faults
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.own_schemes import Left, describe, scheme_from_names
from dife_lightning.faces.schemes import Scheme, get_scheme
from dife_lightning.registry import get_dataset
from dife_lightning.utils.files import sha256
from dife_lightning.utils.notes import many, note, some
from dife_lightning.weights.user_paths import user_path


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
        self.path = user_path(file)
        if reader and self.path.exists():
            root, found = self.path, dict[str, Any]()
            if self.path.is_file():
                root, found = self.path.parent, {"file": str(self.path.absolute())}
        else:
            reader, root, found = recognise(self.path)  # which says that there is no such file
        given = {**found, **(options or {})}
        if given.get("truth") and Path(os.path.expanduser(given["truth"])).is_file():
            given["truth"] = str(Path(os.path.expanduser(given["truth"])).absolute())
        cls = get_dataset(reader)
        if not issubclass(cls, FaceFiles):
            raise ConfigError(f"dataset '{reader}' is rendered: its reader cannot read {self.path}.")
        check_options(reader, cls, given)
        listed = cast(Callable[..., ListedFaces], type(cls.__name__, (cls, ListedFaces), {}))
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
        left = self._faces.faults.left_out
        if left:
            self.say(f"{many(len(left), 'face')} skipped, the first: {left[0].source}: {left[0].reason}")

    def say(self, text: str) -> None:
        """Print a line on what was guessed, converted or passed over, once."""
        if text not in self.notes:
            self.notes.append(text)
            note(f"predictions in {self.path}: {text}")

    def understand(self, target: Scheme) -> None:
        """Read the points in the words of the data set: names mean what they mean there, also whose left they say.

        Points without names are those of ``target`` if their number is equal. ConfigError if it is not.
        """
        faults, listed = self._faces.faults, self.scheme
        if not self._given and listed != target and isinstance(self._faces.scheme, Scheme):
            about = (describe(listed), "the file does not name its ")  # notes that are not true any more
            faults.notes = [text for text in faults.notes if not text.startswith(about)]
            self.scheme = self._in_words_of(target)
        self._say_notes()

    def _in_words_of(self, target: Scheme) -> Scheme:
        count, expected = len(self.scheme.landmarks), len(target.landmarks)
        if self.scheme.eye_convention != "unknown":
            left: Left = "subject" if target.eye_convention == "subject" else "viewer"
            found = scheme_from_names(self.scheme.landmarks, self.path.stem, left=left)
            self.say(f"{describe(found)} (names mean what they mean in the data set; options: {{scheme: FILE.yaml}} "
                     "changes it)")  # fmt: skip
            return found
        if count != expected:
            raise ConfigError(f"{self.path} has {count} points without names, scheme '{target.name}' of the data set "
                              f"has {expected}; name them with options: {{scheme: ...}}.")  # fmt: skip
        self.say(f"the {count} points have no names, and are taken in the order of scheme '{target.name}' of the data "
                 "set (options: {scheme: ...} changes it)")  # fmt: skip
        return target

    def _say_notes(self) -> None:
        for text in self._faces.faults.notes:  # which name options as the command line has them
            self.say(re.sub(r"--([a-z-]+) ([\w.]+)", lambda m: f"options: {{{m[1].replace('-', '_')}: {m[2]}}}", text))

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
        if folder is None:
            where = {image: [image] for image in listed}
        else:
            below = {image: _below(folder, image) for image in listed}
            paths = find_pictures(folder, below.values(), search=True)
            where = {image: paths[below[image]] for image in listed}
        real = {path: os.path.realpath((folder or Path()) / path) for path in {*pictures, *chain(*where.values())}}
        found = self._clear(where, real, {real[picture] for picture in pictures})
        self.used, self.places = set(found), {image: {real[path] for path in paths} for image, paths in where.items()}
        grouped: dict[str, list[Prediction]] = defaultdict(list)
        for listed_name, one in self._faces.on(folder or Path(), found):
            face, source = self._stated.get(str(one.name), ("", ""))
            seen = one.visible & np.isfinite(one.points).all(axis=-1)
            grouped[real[listed_name]].append(Prediction(one.points, seen, face, source, one.source))
        self._say_notes()
        return {picture: grouped[real[picture]] for picture in pictures if real[picture] in grouped}

    def _clear(
        self, where: Mapping[str, list[str]], real: Mapping[str, str], wanted: Collection[str]
    ) -> dict[str, str]:
        """Return listed photo -> its path below the folder, of the wanted ones; DataError if it is not clear."""
        found: dict[str, str] = {}
        for image, paths in where.items():
            if not {real[path] for path in paths}.isdisjoint(wanted):
                if len(paths) > 1:
                    raise DataError(f"{self.path}: {image} may be {len(paths)} photos ({some(paths)}); write the "
                                    "folder of each photo into the file.")  # fmt: skip
                found[image] = paths[0]
        first: dict[str, str] = {}
        for image, path in found.items():
            if first.setdefault(real[path], image) != image:
                raise DataError(f"{self.path}: {first[real[path]]} and {image} are both photo {path}; leave one of "
                                "them in the file.")  # fmt: skip
        renamed = [f"{image} is {path}" for image, path in found.items() if image != path]
        if renamed:
            self.say(f"{many(len(renamed), 'photo')} found under another name: {some(renamed, 1)}")
        if len(found) < len(where):
            self.say(f"{many(len(where) - len(found), 'photo')} of {len(where)} in the file are no target here")
        return found

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


def _below(folder: Path, image: str) -> str:
    """Return the path of a listed picture from ``folder``; one elsewhere as if it were below it, to be looked for."""
    path = os.path.normpath(image).replace(os.sep, "/")
    for base in (os.path.abspath(folder), os.path.realpath(folder)):
        if path.startswith(f"{base}/".replace(os.sep, "/")):
            return path[len(base) + 1 :]
    return re.sub(r"^(/|\.\./)+", "", path)
