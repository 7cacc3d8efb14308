"""Few labelled and many unlabelled faces: those of a training, and its batches."""

from __future__ import annotations

import itertools
import typing
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from dife_lightning.errors import DataError
from dife_lightning.faces.batches import FaceArrays, MovableBatch
from dife_lightning.faces.scheme_tables import Scheme
from dife_lightning.utils.notes import many, some


class PreparedFaces(typing.Protocol):
    """Any sequence of faces that are cropped."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> FaceArrays: ...


@dataclass(frozen=True, eq=False)
class FewLabelFaces:
    """The faces of a training.

    Attributes:
        labelled: faces with landmarks, all with images of one size.
        pool: faces without; None for none. Their points are never read.
        names: of the faces of the pool.
        scheme: of the landmarks.
        facts: what a result must record of them, as plain values.
    """

    labelled: Sequence[FaceArrays]
    pool: PreparedFaces | None
    names: tuple[str, ...]
    scheme: Scheme
    facts: dict[str, Any]

    def __post_init__(self) -> None:
        if not self.labelled:
            raise DataError("no labelled face: expected one or more")
        for what, names in (("labelled", [face.name for face in self.labelled]), ("unlabelled", self.names)):
            if twice := [name for name, times in Counter(names).items() if times > 1]:
                raise DataError(f"{many(len(twice), f'{what} face')} listed twice: {some(twice)}; expected each once")


@dataclass
class FewLabelDraw(MovableBatch):
    """What a worker draws for one step; the labelled faces are chosen and warped on the training device.

    Attributes:
        pool: (U, S, S, 3) uint8, unlabelled faces as cropped.
        rows: (U,) int64, their numbers in the pool.
        uniform: (L + P, R) numbers in [0, 1) for the choice and the augmentation of the labelled faces, the last P of
            them for labels that were found.
        pool_uniform: (U, R) likewise, for the augmentation of the unlabelled ones.
        noise: (L, N, 3) likewise, for N landmarks of the labelled faces that are moved.
        number: of the batch.
    """

    pool: Tensor
    rows: Tensor
    uniform: Tensor
    pool_uniform: Tensor
    noise: Tensor
    number: int


@dataclass
class FewLabelBatch(MovableBatch):
    """L labelled and U unlabelled faces.

    Attributes:
        labelled: (L, 3, S, S) images in [-1, 1].
        points: (L, K, 2) landmarks, x then y, in pixels of ``labelled``.
        visible: (L, K) bool, False for landmarks that are not labelled or outside the image.
        unlabelled: (U, 3, S, S) images in [-1, 1]; U may be 0.
        affine: (U, 2, 3) map from pixels of the faces as cropped to pixels of ``unlabelled``.
        names: of the U unlabelled faces.
        pooled: (L,) bool, True for labels that a network found.
    """

    labelled: Tensor
    points: Tensor
    visible: Tensor
    unlabelled: Tensor
    affine: Tensor
    names: list[str]
    pooled: Tensor

    def __len__(self) -> int:
        """Return L + U."""
        return len(self.labelled) + len(self.names)

    def parts(self, count: int) -> list[Self]:
        """Return up to ``count`` batches of the same faces, each with a share of the labelled and unlabelled ones."""
        labelled, unlabelled = len(self.labelled), len(self.names)
        count = max(1, min(count, labelled))
        cuts = [(labelled * k // count, unlabelled * k // count) for k in range(count + 1)]
        return [self._part(slice(a, b), slice(u, v)) for (a, u), (b, v) in itertools.pairwise(cuts)]

    def _part(self, labelled: slice, unlabelled: slice) -> Self:
        first = (self.labelled[labelled], self.points[labelled], self.visible[labelled])
        second = (self.unlabelled[unlabelled], self.affine[unlabelled], self.names[unlabelled])
        return type(self)(*first, *second, self.pooled[labelled])
