"""Dense correspondence of two photos of faces: where each place of the first one is in the second one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dife_lightning.applications.face_crops import PICTURE, FaceCrop, Photo, Where, open_photo
from dife_lightning.applications.face_embedder import FaceEmbedder, NamedEmbedder
from dife_lightning.errors import ConfigError
from dife_lightning.geometry.affine_crops import invert_affine, map_points
from dife_lightning.matching import match_scores, transfer
from dife_lightning.utils.checks import require
from dife_lightning.utils.files import atomic_buffer, atomic_write, write_json

#: Side of the window soft-argmax of the search, relative to the crop (as in the tables), and its temperature.
WINDOW, TEMPERATURE = 0.25, 0.05
#: Distance, relative to the crop, by which a place may miss itself on the way there and back.
CYCLE = 0.06


@dataclass(frozen=True, eq=False)
class DenseMatch:
    """Where the cells of the first face are in the second photo.

    Attributes:
        first: the face whose cells are matched.
        second: the face that they are found in.
        source: (h, w, 2) the cells, x then y, in pixels of the first photo.
        target: (h, w, 2) where they are, in pixels of the second photo.
        confidence: (h, w) cosine similarity of both embeddings, in [-1, 1].
        cycle_error: (h, w) distance by which a cell misses itself on the way there and back, relative to the crop.
        matched: (h, w) bool, False where there is no match: the way back ends elsewhere, or outside of a photo.
        max_cycle: largest cycle error of a match.
        embeddings: (1, n, h, w) of both faces.
    """

    first: FaceCrop
    second: FaceCrop
    source: NDArray[np.float32]
    target: NDArray[np.float32]
    confidence: NDArray[np.float32]
    cycle_error: NDArray[np.float32]
    matched: NDArray[np.bool_]
    max_cycle: float
    embeddings: tuple[Tensor, Tensor]

    def transfer(self, points: Any) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Carry points (P, 2) of the first photo to the second one.

        Returns:
            Points (P, 2) in pixels of the second photo, their confidence (P,) and their cycle error (P,).

        Raises:
            ConfigError: another shape, or a point that is not finite or outside of the first photo.
        """
        given = np.asarray(points, np.float32)
        if given.ndim != 2 or given.shape[1] != 2 or not np.isfinite(given).all():
            raise ConfigError(f"points of shape {given.shape}; expected (P, 2), x then y, all finite")
        if not (inside := self.first.inside_photo(given)).all():
            width, height = self.first.photo_size
            x, y = given[~inside][0].tolist()
            raise ConfigError(f"point ({x:g}, {y:g}) is outside of the first photo of {width} x {height} px")
        there, confidence, cycle = _there_and_back(*self.embeddings, self.first.to_crop(given), self.first.size)
        return self.second.to_photo(there), confidence, cycle

    def draw(self, path: str | Path) -> None:
        """Draw both faces with their matched places, and the second one warped onto the first, as PNG."""
        from dife_lightning.viz.dense_match import match_sheet

        note = f"{100 * self.matched.mean():.0f} % of the places are matched"
        places = map_points(invert_affine(self.second.square.matrix(PICTURE)), self.target)
        sheet = match_sheet((self.first.picture, self.second.picture), places, self.matched, note)
        with atomic_buffer(path) as buffer:
            Image.fromarray(sheet).save(buffer, format="PNG")

    def save(self, path: str | Path) -> None:
        """Write the fields as a NumPy archive without pickles."""
        names = ("source", "target", "confidence", "cycle_error", "matched")
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **{name: getattr(self, name) for name in names})

    def summary(self) -> dict[str, Any]:
        """Return faces and share of matched cells as plain values."""
        faces = {
            name: {"box": face.square.box().tolist(), "how": face.how, "photo_size": list(face.photo_size)}
            for name, face in (("first", self.first), ("second", self.second))
        }
        kept = self.matched
        error = float(np.median(self.cycle_error[kept])) if kept.any() else None
        return {**faces, "matched": round(float(kept.mean()), 4), "median_cycle_error": error}

    def write_summary(self, path: str | Path) -> None:
        """Write :meth:`summary` as JSON."""
        write_json(path, self.summary())


def match(
    first: Photo,
    second: Photo,
    model: str | NamedEmbedder = "photos/dife",
    *,
    faces: tuple[Where, Where] = ("auto", "auto"),
    size: int | None = None,
    max_cycle: float = CYCLE,
) -> DenseMatch:
    """Find for each place of a face where it is in another face.

    Example:
        >>> match("person.jpg", "cat.jpg").transfer([[210, 120]])  # doctest: +SKIP

    Args:
        first: a file, or an image (H, W, 3) uint8.
        second: likewise.
        model: a shipped or trained embedder, as ``load_encoder`` takes it.
        faces: where the face of each photo is; see ``crop_face``. ``auto`` looks for it with ``photos/dife``, and takes
            the whole photo with other models.
        size: side in pixels of what the model sees; that of its training by default, 96 if it states none.
        max_cycle: largest cycle error of a match, relative to the crop.

    Raises:
        ConfigError: an option out of its range.
        AssetError: no such model.
        DataError: a photo that cannot be read, or has no face.
    """
    require(above=0, max_cycle=max_cycle)
    eyes = FaceEmbedder(model, size)
    names = [str(photo) if isinstance(photo, str | Path) else "a photo" for photo in (first, second)]
    opened = [open_photo(photo) for photo in (first, second)]  # both, before a face is looked for
    auto = [isinstance(where, str) and where == "auto" for where in faces]
    found = eyes.look_for([image if looks else None for image, looks in zip(opened, auto, strict=True)])
    a, b = (eyes.crop(*face) for face in zip(opened, faces, names, found, strict=True))
    maps = eyes.embed([a, b])
    return matched_faces(a, b, (maps[:1], maps[1:]), max_cycle)


def matched_faces(first: FaceCrop, second: FaceCrop, embeddings: tuple[Tensor, Tensor], max_cycle: float) -> DenseMatch:
    """Match two faces by their embeddings (1, n, h, w); see :func:`match`."""
    height, width = embeddings[0].shape[-2:]
    stride = np.array([first.size / width, first.size / height], np.float32)
    cells = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32) * stride
    found, confidence, cycle = _there_and_back(*embeddings, cells.reshape(-1, 2), first.size)
    source, target = first.to_photo(cells), second.to_photo(found.reshape(height, width, 2))
    confidence, cycle = confidence.reshape(height, width), cycle.reshape(height, width)
    matched = (cycle <= max_cycle) & first.inside_photo(source) & second.inside_photo(target)
    return DenseMatch(first, second, source, target, confidence, cycle, matched, max_cycle, embeddings)


@torch.no_grad()
def _there_and_back(
    first: Tensor, second: Tensor, points: NDArray[np.float32], side: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return where points (P, 2) of the first crop are in the second one, with confidence and cycle error (P,)."""
    start = torch.from_numpy(np.ascontiguousarray(points))[None].to(first.device)
    sizes: dict[str, Any] = {"source_size": side, "target_size": side}
    options: dict[str, Any] = {**sizes, "window": WINDOW, "temperature": TEMPERATURE}
    there = transfer(first, second, start, **options)
    back = transfer(second, first, there, **options)
    confidence = match_scores(first, second, start, there, **sizes, subpixel=True)
    cycle = (back - start).norm(dim=-1) / side
    there_and, sure, missed = (values[0].float().cpu().numpy() for values in (there, confidence, cycle))
    return there_and, sure, missed
