"""Parts of faces by joint k-means of their embeddings: the same part in all species (DIFE, section 4.3, figure 7).

The paper clusters the embeddings of 50 samples of each of two domains into 9 parts, without normalising them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.applications.face_crops import FaceCrop
from dife_lightning.errors import AssetError, CheckpointError, ConfigError, DataError
from dife_lightning.pretrained.backbones import PREFIX as BACKBONE
from dife_lightning.utils.checks import require, require_choice
from dife_lightning.utils.files import sha256
from dife_lightning.weights.checkpoints import find_weights, read_tensors, write_tensors

Normalize = Literal["none", "l2"]
#: Parts of the paper, and the largest number of them: labels are single bytes, and 255 is no part.
PARTS, MOST, NOTHING = 9, 200, 255
#: Pixels that are clustered at most, drawn from all faces alike; restarts of k-means.
PIXELS, RESTARTS = 200_000, 10
#: Side in pixels at which a face is parsed.
SIDE = 256
_KIND = "face-parser"


class FaceParser:
    """Names the part of each pixel of an embedding by the nearest of ``k`` centres.

    Args:
        centres: (k, n) float32.
        normalize: ``l2`` compares unit vectors, ``none`` embeddings as they are (the paper).
        model: name of the embedder; see :meth:`check_model`.
        weights: what :func:`weights_hash` returns for it; empty if it is not known.

    Raises:
        ConfigError: no centres, more than 200, or another ``normalize``.
    """

    def __init__(self, centres: Tensor, normalize: Normalize = "none", model: str = "", weights: str = "") -> None:
        require_choice("normalize", normalize, ("none", "l2"))
        if centres.ndim != 2 or not 2 <= len(centres) <= MOST or not bool(centres.isfinite().all()):
            raise ConfigError(f"centres of shape {tuple(centres.shape)}; expected (k, n), k from 2 to {MOST}, finite")
        self.centres, self.normalize, self.model, self.weights = centres.float(), normalize, model, weights

    @classmethod
    def fit(
        cls, maps: Iterable[Tensor], parts: int = PARTS, normalize: Normalize = "none", seed: int = 0, model: str = ""
    ) -> FaceParser:
        """Cluster the pixels of embeddings (B, n, h, w) of all species jointly.

        At most 200,000 pixels are used, as many of each face. Centres are ordered by the number of their pixels.
        ``model`` is a name that ``load_encoder`` takes, for the record; empty for an embedder of your own.

        Raises:
            ConfigError: fewer than 2 or more than 200 parts.
            DataError: no face, or fewer different pixels than parts.
        """
        require(at_least=2, at_most=MOST, parts=parts)
        require(at_least=0, seed=seed)
        faces = [_prepared(one, normalize).flatten(2).transpose(1, 2) for one in maps]
        if not faces:
            raise DataError("no face to find parts in")
        pixels = torch.cat(faces)  # (N, h * w, n)
        each = max(1, min(pixels.shape[1], PIXELS // len(pixels)))
        rng = np.random.default_rng(seed)
        picked = torch.from_numpy(np.stack([rng.permutation(pixels.shape[1])[:each] for _ in pixels]))
        chosen = pixels.gather(1, picked[..., None].expand(-1, -1, pixels.shape[2])).flatten(0, 1).numpy()
        if len(np.unique(chosen, axis=0)) < parts:
            raise DataError(f"fewer different pixels than {parts} parts; give more faces")
        cv2.setRNGSeed(seed)
        criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-4)
        _, labels, centres = cv2.kmeans(chosen, parts, None, criteria, RESTARTS, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
        order = np.argsort(-np.bincount(labels.ravel(), minlength=parts), kind="stable")
        return cls(torch.from_numpy(centres[order]), normalize, model, weights_hash(model) if model else "")

    def __len__(self) -> int:
        return len(self.centres)

    def parse(self, maps: Tensor) -> NDArray[np.uint8]:
        """Return the part (B, h, w) uint8 of each pixel of embeddings (B, n, h, w).

        ConfigError if they have another number of channels than the centres.
        """
        if maps.shape[1] != self.centres.shape[1]:
            raise ConfigError(
                f"embeddings of {maps.shape[1]} channels; these parts were found in {self.centres.shape[1]} of "
                f"{self.model or 'another model'}"
            )
        pixels = _prepared(maps, self.normalize).permute(0, 2, 3, 1)
        nearest = torch.cdist(pixels.flatten(1, 2), self.centres).argmin(dim=-1)
        return nearest.reshape(pixels.shape[:3]).numpy().astype(np.uint8)

    def parse_faces(self, maps: Tensor, side: int = SIDE) -> NDArray[np.uint8]:
        """Return the parts (B, side, side) of faces: their embeddings are enlarged, not their parts."""
        return self.parse(F.interpolate(maps.float(), (side, side), mode="bilinear", align_corners=False))

    def check_model(self, model: str, source: str | Path) -> None:
        """Raise ConfigError if ``model`` has other weights than the embedder of these parts, which are of ``source``.

        Names are compared where one of both has no file of weights, or the parts are of an older version.
        """
        theirs = weights_hash(model) if self.weights else ""
        if self.weights and theirs:
            same = self.weights == theirs
        else:
            same = os.path.realpath(self.model) == os.path.realpath(model)
        if not same:
            which = "with other weights" if model == self.model else f"with {self.model}, not {model}"
            advice = "" if model == self.model else "leave out --model, or "
            raise ConfigError(f"{source}: its parts were found {which}; {advice}find parts anew, without --parser")

    def save(self, path: str | Path) -> None:
        """Write the centres as safetensors."""
        about = {"kind": _KIND, "normalize": self.normalize, "model": self.model, "weights": self.weights}
        write_tensors(path, {"centres": self.centres}, {name: json.dumps(value) for name, value in about.items()})

    @classmethod
    def load(cls, path: str | Path) -> FaceParser:
        """Read what :meth:`save` wrote; CheckpointError for another file."""
        tensors, about = read_tensors(path)
        try:
            kind, normalize, model = (json.loads(about[key]) for key in ("kind", "normalize", "model"))
            if kind == _KIND:
                weights = json.loads(about.get("weights", '""'))  # older files lack it
                return cls(tensors["centres"], normalize, str(model), str(weights))
        except (KeyError, ValueError, TypeError, ConfigError):
            pass
        raise CheckpointError(f"{path} holds no parts of faces; expected a file that `dife parse` wrote")


def weights_hash(model: str) -> str:
    """Return the SHA-256 of the file of an embedder's weights; empty if there is no such file."""
    if model.startswith(BACKBONE):
        return ""  # a name of ``transformers``, of several files
    try:
        return sha256(find_weights(model))
    except (AssetError, CheckpointError):
        return ""


def _prepared(maps: Tensor, normalize: Normalize) -> Tensor:
    values = maps.detach().float().cpu()
    return F.normalize(values, dim=1) if normalize == "l2" else values


def photo_labels(face: FaceCrop, parts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the parts (S, S) of a face as labels (H, W) of its photo; 255 outside of the face's square."""
    width, height = face.photo_size
    to_photo = face.square.matrix(len(parts)).astype(np.float32)
    options: dict[str, Any] = {"flags": cv2.INTER_NEAREST, "borderMode": cv2.BORDER_CONSTANT, "borderValue": NOTHING}
    return np.asarray(cv2.warpAffine(parts, to_photo, (width, height), **options), np.uint8)


def part_rows(name: str, labels: NDArray[np.uint8], count: int) -> list[dict[str, Any]]:
    """Return for each part its share of the face, and the centre of its pixels in the photo (H, W)."""
    total, rows = int((labels != NOTHING).sum()), []
    for part in range(count):
        ys, xs = np.nonzero(labels == part)
        centre = {"x": round(float(xs.mean()), 1), "y": round(float(ys.mean()), 1)} if len(xs) else {"x": "", "y": ""}
        rows.append({"image": name, "part": part, "share": round(len(xs) / max(1, total), 4), **centre})
    return rows


def landmark_purity(parts: NDArray[np.integer], visible: NDArray[np.bool_], domains: Sequence[str]) -> dict[str, float]:
    """Return how often a landmark lies in one part, and how often the same part holds it in other species.

    Args:
        parts: (N, K) part at each landmark of N faces.
        visible: (N, K) bool, which count.
        domains: (N,) species of the faces.

    Returns:
        ``purity``: share of the points that lie in the part in which their landmark lies most often, over all species;
        ``across``: the same where the part is found on the faces of the other species; NaN with one species.
    """
    within, across, count, other_count = 0, 0, 0, 0
    species = np.asarray(domains)
    for k in range(parts.shape[1]):
        seen = visible[:, k]
        found = parts[seen, k]
        within += int((found == _most_common(found)).sum()) if len(found) else 0
        count += len(found)
        for one in np.unique(species[seen]):
            own, others = parts[seen & (species == one), k], parts[seen & (species != one), k]
            if len(others):
                across += int((own == _most_common(others)).sum())
                other_count += len(own)
    return {"purity": within / max(1, count), "across": across / other_count if other_count else float("nan")}


def region_agreement(
    parts: NDArray[np.integer], uv: NDArray[np.floating], domains: Sequence[str], cells: int = 8
) -> float:
    """Return how often a pixel's part is the one that other species have most often at its place on the true surface.

    Args:
        parts: (N, h, w) parts of N faces of the embedded world.
        uv: (N, h, w, 2) true surface coordinates in [-1, 1]; NaN outside of the face.
        domains: (N,) species of the faces.
        cells: of the surface, along each coordinate; a place is one of their square.

    Returns:
        Share in [0, 1]; NaN with one species.
    """
    inside: NDArray[np.bool_] = np.isfinite(uv[..., 0]) & np.isfinite(uv[..., 1])
    place = (np.clip((np.nan_to_num(uv) + 1) / 2 * cells, 0, cells - 1)).astype(int)
    cell = place[..., 1] * cells + place[..., 0]
    right, total = 0, 0
    for one in sorted(set(domains)):
        mine = np.array([name == one for name in domains])[:, None, None]
        own, others = inside & mine, inside & ~mine
        if not others.any():
            continue
        table = np.zeros((cells * cells, MOST), np.int64)
        np.add.at(table, (cell[others], parts[others]), 1)
        known = np.asarray(table.any(axis=1))[cell[own]]
        right += int((table.argmax(axis=1)[cell[own]] == parts[own])[known].sum())
        total += int(known.sum())
    return right / total if total else float("nan")


def _most_common(values: NDArray[np.integer]) -> int:
    return int(np.bincount(values).argmax())
