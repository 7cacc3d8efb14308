"""Landmarks of one or several annotated faces, carried to other photos by a dense embedding; the sources vote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.applications.dense_match import CYCLE, TEMPERATURE, WINDOW
from dife_lightning.applications.face_crops import FaceCrop, Photo, Where, open_photo
from dife_lightning.applications.face_embedder import FaceEmbedder, NamedEmbedder
from dife_lightning.applications.finding import FaceFinder
from dife_lightning.datasets.parsing.pictures import OUTSIDE
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.own_schemes import scheme_from_names
from dife_lightning.faces.schemes import Scheme, to_protocol
from dife_lightning.geometry.crops import CropError, CropOptions, Square, crop_image, face_square
from dife_lightning.matching import read_descriptors, read_map, transfer
from dife_lightning.methods._label_votes import vote_maps
from dife_lightning.utils.checks import require
from dife_lightning.utils.notes import many, note, some

#: Temperature of the votes, in units of the cosine, as in ``LabelVote``.
VOTES = 0.02
#: Points farther from the middle of a source's face than this many sides of its square are not of the face: a square
#: that held them would show the face small.
REACH = 1.0
#: Sources that are embedded at once, and the largest number of them: each holds an embedding in memory.
CHUNK, MOST = 16, 200


@dataclass(frozen=True, eq=False)
class SourceFace:
    """An annotated face.

    Attributes:
        photo: a file, or an image (H, W, 3) uint8.
        points: (K, 2) x then y, pixels of the photo.
        visible: (K,) bool, which points are labelled; None for all.
        box: of the face, x0, y0, x1, y1 in pixels of the photo; None if it is not known.
        name: for messages.
    """

    photo: Photo
    points: NDArray[np.float32]
    visible: NDArray[np.bool_] | None = None
    box: NDArray[np.float32] | None = None
    name: str = "a source"


@dataclass(frozen=True, eq=False)
class CarriedFace:
    """Landmarks that were carried to a face.

    Attributes:
        face: where they were looked for.
        points: (K, 2) x then y, pixels of the photo; NaN where no source shows the landmark.
        confidence: (K,) the votes of the sources, a mean cosine in [-1, 1]; NaN likewise.
        cycle_error: (K,) distance by which a landmark misses itself on the way there and back, relative to the crop,
            the median over the sources; NaN likewise.
        matched: (K,) bool: inside the photo, and back within ``max_cycle``.
    """

    face: FaceCrop
    points: NDArray[np.float32]
    confidence: NDArray[np.float32]
    cycle_error: NDArray[np.float32]
    matched: NDArray[np.bool_]


class LandmarkTransfer:
    """Carries the landmarks of annotated faces to other faces.

    Each source compares its descriptor of a landmark with all places of the target. The votes are combined by the
    smooth maximum ``t log mean_i exp(cosine_i / t)``, t = 0.02, and read by a window soft-argmax. With one source this
    is the transfer of the tables (read-out ``window 0.25``).

    Example:
        >>> carry = LandmarkTransfer([SourceFace("person.jpg", points)], ["left_eye", "nose"])  # doctest: +SKIP
        >>> carry("cat.jpg").points  # doctest: +SKIP

    Args:
        sources: annotated faces, at most 200.
        scheme: their landmarks, or the names of these.
        model: a shipped or trained embedder, as ``load_encoder`` takes it.
        size: side in pixels of what the model sees; that of its training by default, 96 if it states none.
        max_cycle: largest cycle error of a match, relative to the crop.

    Raises:
        ConfigError: no source or too many, points of another shape or outside of their photo, an option out of its
            range.
        AssetError: no such model.
        DataError: a photo that cannot be read.
    """

    def __init__(
        self,
        sources: Sequence[SourceFace],
        scheme: Scheme | Sequence[str],
        model: str | NamedEmbedder = "photos/dife",
        *,
        size: int | None = None,
        max_cycle: float = CYCLE,
    ) -> None:
        require(above=0, max_cycle=max_cycle)
        if not 1 <= len(sources) <= MOST:
            raise ConfigError(f"{len(sources)} annotated faces; expected 1 to {MOST}: choose the clearest ones")
        self.scheme = scheme if isinstance(scheme, Scheme) else scheme_from_names(list(scheme))
        self.eyes = FaceEmbedder(model, size)
        self.size, self.max_cycle = self.eyes.size, max_cycle
        points, visible, maps, far = [], [], [], list[str]()
        for start in range(0, len(sources), CHUNK):
            part = sources[start : start + CHUNK]
            crops = [source_crop(source, self.scheme, self.size, self.eyes.finder) for source in part]
            for source, (_, _, seen) in zip(part, crops, strict=True):
                labelled = np.ones(len(seen), bool) if source.visible is None else source.visible
                far += [f"{self.scheme.landmarks[k]} of {source.name}" for k in np.flatnonzero(labelled & ~seen)]
            maps.append(self.eyes.embed([crop for crop, _, _ in crops]))
            points += [inside for _, inside, _ in crops]
            visible += [seen for _, _, seen in crops]
        self._maps = torch.cat(maps)
        self._points = torch.from_numpy(np.stack(points)).to(self._maps.device)
        self._visible = torch.from_numpy(np.stack(visible)).to(self._maps.device)
        self._vectors = read_descriptors(self._maps, self._points, self.size) * self._visible[..., None]
        if far:
            note(f"{many(len(far), 'point')} far from the face, and not carried: {some(far)}")
        lacking = [name for name, k in zip(self.scheme.landmarks, self._visible.any(0).tolist(), strict=True) if not k]
        if lacking:
            note(f"{many(len(lacking), 'landmark')} labelled on no source's face, and not carried: {some(lacking)}")

    def __call__(self, photo: Photo, where: Where = "auto") -> CarriedFace:
        """Carry the landmarks to the face of a photo; ``where`` and errors as in ``match``."""
        return self.carry([self.eyes.crop(photo, where)])[0]

    @torch.no_grad()
    def carry(self, faces: Sequence[FaceCrop]) -> list[CarriedFace]:
        """Carry the landmarks to several faces, whose crops have this object's ``size``."""
        maps = self.eyes.embed(faces)
        votes = vote_maps(self._vectors, self._visible, maps, VOTES)
        places = read_map(votes, self.size, WINDOW, TEMPERATURE)
        cycle = self._cycle_errors(maps, places)
        known = self._visible.any(0).cpu().numpy()
        rows = (value.float().cpu().numpy() for value in (places, votes.flatten(2).amax(-1), cycle))
        return [self._carried(face, known, *values) for face, *values in zip(faces, *rows, strict=True)]

    def _carried(self, face: FaceCrop, known: NDArray[np.bool_], *values: NDArray[np.float32]) -> CarriedFace:
        places, confidence, cycle = (np.where(known[:, None] if v.ndim == 2 else known, v, np.nan) for v in values)
        points = face.to_photo(places).astype(np.float32)
        matched = known & face.inside_photo(points) & (cycle <= self.max_cycle)
        return CarriedFace(face, points, confidence, cycle, matched)

    def _cycle_errors(self, maps: Tensor, places: Tensor) -> Tensor:
        """Return the errors (B, K) there and back of places (B, K, 2) in the crops of targets (B, n, h, w)."""
        sizes: dict[str, Any] = {"source_size": self.size, "target_size": self.size}
        missed = []
        for source, points, visible in zip(self._maps, self._points, self._visible, strict=True):
            own = source.expand_as(maps)
            back = transfer(maps, own, places, **sizes, window=WINDOW, temperature=TEMPERATURE)
            error = (back - points).norm(dim=-1) / self.size
            missed.append(torch.where(visible, error, torch.nan))
        return torch.stack(missed).nanmedian(dim=0).values


def source_crop(
    source: SourceFace, scheme: Scheme, size: int, finder: FaceFinder | None
) -> tuple[FaceCrop, NDArray[np.float32], NDArray[np.bool_]]:
    """Return the face of a source, its points (K, 2) in pixels of the crop, and which of them are visible (K,).

    The square is that of eyes and nose, if they are labelled, as in the tables; else the annotated box, else what
    ``finder`` finds, else all points. It is enlarged until all labelled points are inside, apart from those that are
    farther than :data:`REACH` from its middle, which are not visible.
    """
    photo, points = open_photo(source.photo), np.asarray(source.points, np.float32)
    count = len(scheme.landmarks)
    if points.shape != (count, 2):
        raise ConfigError(f"{source.name}: points of shape {points.shape}; expected ({count}, 2), x then y")
    visible = np.ones(count, bool) if source.visible is None else np.asarray(source.visible, bool)
    if not visible.any() or not np.isfinite(points[visible]).all():
        raise ConfigError(f"{source.name}: no labelled point, or one that is not finite")
    extent = photo.shape[1], photo.shape[0]
    _check_inside(source.name, points[visible], extent)
    square, how = _source_square(source, points, visible, scheme, photo, finder)
    away = np.abs(points - [square.x, square.y]).max(axis=-1)
    visible = visible & (away <= REACH * square.side)
    if not visible.any():
        raise DataError(f"{source.name}: all points are far from its face ({how}); give the box of the face")
    reach = away[visible].max()
    square = Square(square.x, square.y, max(square.side, float(2.05 * reach)))
    crop = FaceCrop(photo, square, crop_image(photo, square, size, "border"), how)
    inside = np.where(visible[:, None], crop.to_crop(points), 0).astype(np.float32)
    return crop, inside, visible


def _source_square(
    source: SourceFace,
    points: NDArray[np.float32],
    visible: NDArray[np.bool_],
    scheme: Scheme,
    photo: NDArray[np.uint8],
    finder: FaceFinder | None,
) -> tuple[Square, str]:
    extent = photo.shape[1], photo.shape[0]
    if "3-point" in scheme.maps:
        three, seen = to_protocol(points, visible, scheme, "3-point")
        if seen.all():
            return face_square(three, seen, extent, CropOptions(min_side=1), landmarks="3-point"), "points"
    if source.box is not None and np.isfinite(source.box).all():
        options = CropOptions("box", min_side=1)
        return face_square(points, visible, extent, options, landmarks="all", box=source.box), "box"
    if finder is not None:
        square, score = finder.find([photo])[0]
        if square is not None:
            note(f"{source.name}: no eyes and nose among its points, and no box: its face was found (likeness "
                 f"{score:.2f})")  # fmt: skip
            return square, "found"
    try:
        return face_square(points, visible, extent, CropOptions(min_side=1), landmarks="all"), "points"
    except CropError as error:
        raise DataError(f"{source.name}: {error}; add the box of the face") from None


def _check_inside(name: str, points: NDArray[np.float32], extent: tuple[int, int]) -> None:
    slack = OUTSIDE * max(extent)  # as readers of annotations allow
    outside = ((points < -0.5 - slack) | (points > np.array(extent) - 0.5 + slack)).any(axis=1)
    if outside.any():
        x, y = points[outside][0].tolist()
        raise ConfigError(f"{name}: point ({x:g}, {y:g}) is outside of the photo of {extent[0]} x {extent[1]} px")
