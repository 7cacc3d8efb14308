"""Data modules of a few made-up faces, for methods that learn from few labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.data.face_sets import FaceSet, FaceSetsDataModule
from dife_lightning.data.few_labels import FewLabelFaces, FewLabelsDataModule, KeptFaces
from dife_lightning.faces.batches import FaceArrays
from dife_lightning.faces.items import PictureCrop
from dife_lightning.faces.own_schemes import scheme_from_names
from dife_lightning.faces.schemes import Scheme

#: Three points, of which the eyes are a mirror pair.
SCHEME = scheme_from_names(["left_eye", "right_eye", "nose"], "three")


def face(image: NDArray[np.uint8], points: Any, visible: Any = True, name: str = "a") -> FaceArrays:
    """Return a face whose box is its image; ``visible`` may be one bool for all points."""
    side, placed = image.shape[0], np.asarray(points, np.float32)
    seen = np.broadcast_to(np.asarray(visible, bool), placed.shape[:1]).copy()
    box = np.array([-0.5, -0.5, side - 0.5, side - 0.5], np.float32)
    return FaceArrays(image, placed, seen, box, name, PictureCrop(name, side, side, np.eye(2, 3)))


def random_faces(count: int, side: int = 32, points: int = 3, seed: int = 0) -> list[FaceArrays]:
    """Return faces of noise with random points."""
    rng = np.random.default_rng(seed)
    return [
        face(rng.integers(0, 256, (side, side, 3), np.uint8), rng.uniform(4, side - 5, (points, 2)), name=f"{seed}-{k}")
        for k in range(count)
    ]


class GivenFaces(FewLabelsDataModule):
    """Few-label data over faces in memory."""

    def __init__(
        self,
        labelled: Sequence[FaceArrays],
        unlabelled: Sequence[FaceArrays] = (),
        scheme: Scheme = SCHEME,
        **more: Any,
    ) -> None:
        super().__init__(**{"size": labelled[0].image.shape[0], "keep": False} | more)
        self.given, self.others, self.given_scheme = labelled, unlabelled, scheme

    def _make_faces(self) -> FewLabelFaces:
        pool = KeptFaces(self.others) if self.others else None
        names = tuple(one.name for one in self.others)
        facts = {"kind": "GivenFaces", "labelled": len(self.given)}
        return FewLabelFaces(self.given, pool, names, self.given_scheme, facts)


class GivenTests(FaceSetsDataModule):
    """One test set over faces in memory."""

    def __init__(self, faces: Sequence[FaceArrays], scheme: Scheme = SCHEME) -> None:
        super().__init__(batch_size=2)
        self.given, self.given_scheme = faces, scheme

    def _make_sets(self, split: str) -> list[FaceSet]:
        options: dict[str, Any] = {"domain": "noise", "list_name": split, "scheme": self.given_scheme}
        return [FaceSet(self.given, size=self.given[0].image.shape[0], **options)]

    def list_hashes(self) -> dict[str, dict[str, str]]:
        return {}
