"""What a page computes: points of some photos on others, as `dife transfer` does, on embeddings that are held."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.applications.dense_match import CYCLE, TEMPERATURE, WINDOW
from dife_lightning.applications.landmark_transfer import MOST, VOTES
from dife_lightning.datasets.parsing.pictures import OUTSIDE
from dife_lightning.errors import ConfigError, DataError, DifeError
from dife_lightning.matching import read_descriptors, read_map, transfer
from dife_lightning.methods._label_votes import vote_cells
from dife_lightning.page.faces import Embedding, PageFaces
from dife_lightning.page.photos import PagePhotos
from dife_lightning.utils.checks import require

#: Points that one request may carry.
POINTS = 60
#: Photos on which a point is looked for at once.
CHUNK = 128
#: Pixels beyond which no point lies.
FAR = 1e6


class Sources(NamedTuple):
    """Photos with points: embeddings of the faces, points (N, K, 2) in pixels of the crops, (N, K) which count."""

    embeddings: list[Embedding]
    points: Tensor
    visible: Tensor


class PageMatcher:
    """Carries points between the photos of a page; arguments and errors are those of :class:`PageFaces`."""

    def __init__(self, photos: PagePhotos, model: str = "photos/dife", size: int | None = None) -> None:
        self.photos, self.faces = photos, PageFaces(photos, model, size)
        self.name, self._size = self.faces.eyes.embedder.name, self.faces.eyes.size
        self._lock = threading.Lock()  # one request computes at a time

    def face(self, number: int) -> dict[str, Any]:
        """Return the size of a photo, and the square of its face or why there is none; DataError if unreadable."""
        with self._lock:
            try:
                face = self.faces[number]
            except DataError as error:
                if (size := self.faces.size(number)) is None:
                    raise
                return {"size": list(size), "box": None, "how": "none", "error": str(error)}
        square = face.square
        half = square.side / 2
        box = [square.x - half, square.y - half, square.x + half, square.y + half]
        return {"size": list(face.photo_size), "box": [round(value, 1) for value in box], "how": face.how}

    def set_box(self, number: int, box: Sequence[float] | None) -> None:
        """Say where the face of a photo is; None looks for it again. ConfigError or DataError if it is not there."""
        with self._lock:
            self.faces.set_box(number, box)

    def carry(self, sources: Mapping[int, Any], names: Sequence[str], targets: Sequence[int]) -> dict[int, Any]:
        """Carry points to photos.

        A point counts if it is inside the square of its face, which does not depend on the points. Landmarks do not
        influence each other.

        Args:
            sources: number of a photo -> its points, each [x, y] in its pixels or None.
            names: of the points.
            targets: numbers of photos.

        Returns:
            Number -> points, confidence, cycle errors and whether they match, None where no point counts; or ``error``.

        Raises:
            ConfigError: points or names that do not fit.
            DataError: a source that cannot be read or shows no face.
        """
        require(at_least=1, at_most=POINTS, points=len(names))
        require(at_least=1, at_most=MOST, **{"photos with points": len(sources)})
        if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise ConfigError("points: expected names that differ")
        with self._lock, torch.no_grad():
            given = self._sources(sources, len(names))
            found: dict[int, Any] = {}
            there = []
            for number in dict.fromkeys(targets):
                try:
                    self.faces[number]
                    there.append(number)
                except DifeError as error:
                    found[number] = {"error": str(error)}
            chunk = max(1, CHUNK // len(names))
            for start in range(0, len(there), chunk):
                found |= self._carried(given, there[start : start + chunk])
        return found

    def outside(self, sources: Mapping[int, Any], names: Sequence[str]) -> list[str]:
        """Return the points that are outside of the square of the face on all photos that have them."""
        with self._lock:
            visible = self._sources(sources, len(names)).visible.any(0).tolist()
        has = [any(points[k] is not None for points in sources.values()) for k in range(len(names))]
        return [name for name, counts, given in zip(names, visible, has, strict=True) if given and not counts]

    def _sources(self, sources: Mapping[int, Any], count: int) -> Sources:
        """Return photos with points; ConfigError for points that do not fit, or if none of them has any."""
        points, visible = np.zeros((len(sources), count, 2), np.float32), np.zeros((len(sources), count), bool)
        some = False
        for row, (number, given) in enumerate(sources.items()):
            face, places = self.faces[number], _places(given, count)
            if places is None:
                raise ConfigError(f"points of {self.photos[number].name}: expected {count} pairs of numbers")
            has = ~np.isnan(places[:, 0])
            some |= bool(has.any())
            slack = OUTSIDE * max(face.photo_size)  # as readers of annotations allow
            if (np.abs(places[has] - np.array(face.photo_size) / 2) > np.array(face.photo_size) / 2 + slack).any():
                size = " x ".join(map(str, face.photo_size))
                raise ConfigError(f"a point of {self.photos[number].name} is outside of its {size} pixels")
            inside = face.to_crop(places)
            visible[row] = has & ((inside >= -0.5) & (inside < self._size - 0.5)).all(axis=1)
            points[row] = np.where(visible[row, :, None], inside, 0)
        if not some:
            raise ConfigError("no photo has a point")
        return Sources(self.faces.embeddings(sources), torch.from_numpy(points), torch.from_numpy(visible))

    def _carried(self, sources: Sources, targets: Sequence[int]) -> dict[int, Any]:
        embeddings = self.faces.embeddings(targets)
        with _one_thread():
            return self._searched(sources, targets, embeddings)

    def _searched(self, sources: Sources, targets: Sequence[int], embeddings: Sequence[Embedding]) -> dict[int, Any]:
        shape = embeddings[0].unit.shape[1:]
        read = [read_descriptors(one.unit[None], points[None], self._size)[0]
                for one, points in zip(sources.embeddings, sources.points, strict=True)]  # fmt: skip
        vectors = torch.stack(read) * sources.visible[..., None]
        votes = vote_cells(vectors, sources.visible, [one.unit.flatten(1) for one in embeddings], VOTES)
        places = read_map(votes.unflatten(-1, shape), self._size, WINDOW, TEMPERATURE)
        cycle = self._cycle_errors(sources, embeddings, places).numpy()
        known = sources.visible.any(0).numpy()
        faces = [self.faces[number] for number in targets]
        squares = np.array([(face.square.x, face.square.y, face.square.side) for face in faces])[:, None]
        # as FaceCrop.to_photo, for all faces at once
        points = squares[..., :2] + squares[..., 2:] * ((places.numpy() + 0.5) / self._size - 0.5)
        sizes = np.array([face.photo_size for face in faces])[:, None]
        matched = known & ((points >= -0.5) & (points < sizes - 0.5)).all(axis=-1) & (cycle <= CYCLE)
        columns = (_plain(points, 2, known), _plain(votes.amax(-1).numpy(), 3, known), _plain(cycle, 3, known),
                   matched.tolist())  # fmt: skip
        keys = ("points", "confidence", "cycle_error", "matched")
        return {number: dict(zip(keys, row, strict=True)) for number, *row in zip(targets, *columns, strict=True)}

    def _cycle_errors(self, sources: Sources, embeddings: Sequence[Embedding], places: Tensor) -> Tensor:
        """Return the errors (B, K) there and back of places (B, K, 2) in the crops of targets, as `dife transfer`."""
        height, width = embeddings[0].unit.shape[1:]
        stride = torch.tensor([self._size / width, self._size / height])
        cells = (places / stride).round().clamp(torch.zeros(2), torch.tensor([width - 1.0, height - 1.0])).long()
        index = cells[..., 1] * width + cells[..., 0]
        read = torch.cat([one.unit.flatten(1)[:, at] for one, at in zip(embeddings, index, strict=True)], dim=1)
        # all descriptors as one image of one row, so that each source is searched once
        row, along = read[None, :, None], torch.stack((torch.arange(read.shape[1]), torch.zeros(read.shape[1])), -1)
        missed = []
        for source, points, visible in zip(*sources, strict=True):
            own = (source.unit * source.length)[None]
            back = transfer(row, own, along[None], target_size=self._size, window=WINDOW, temperature=TEMPERATURE)
            error = (back.view(places.shape) - points).norm(dim=-1) / self._size
            missed.append(torch.where(visible, error, torch.nan))
        return torch.stack(missed).nanmedian(dim=0).values


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: several only wait for each other where each product is small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _places(points: Any, count: int) -> NDArray[np.float32] | None:
    """Return points as (K, 2), NaN for None; None for anything else than that."""
    try:
        places = np.array([[np.nan, np.nan] if point is None else point for point in points], np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    half = places.shape != (count, 2) or (np.isnan(places[:, 0]) != np.isnan(places[:, 1])).any()
    return None if half else places.clip(-FAR, FAR).astype(np.float32)


def _plain(values: NDArray[Any], decimals: int, known: NDArray[np.bool_]) -> list[Any]:
    """Return values (B, K, ...) as lists, None for those that are not known."""
    rounded: list[Any] = np.round(values.astype(np.float64), decimals).tolist()
    empty: Any = [None] * values.shape[2] if values.ndim == 3 else None
    return [[one if k else empty for one, k in zip(row, known.tolist(), strict=True)] for row in rounded]
