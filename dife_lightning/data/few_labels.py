"""Few labelled and many unlabelled faces, for training landmark models; the subclasses say where the faces are from.

Batch k is a function of (seed, k), of the labels of that moment (``labels``: the true ones, and those that a method has
put beside them, ``dife_lightning.mining.label_pool``), and of the unlabelled faces that the method leaves out
(``dropped``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from dife_lightning.data.cache import itself, one_thread
from dife_lightning.data.training import EndlessBatches, StreamStart, TrainingDataModule
from dife_lightning.errors import CheckpointError, ConfigError, did_you_mean, printable
from dife_lightning.faces.batches import FaceArrays, image_tensor
from dife_lightning.faces.few_labels import FewLabelBatch, FewLabelDraw, PreparedFaces
from dife_lightning.faces.few_labels import FewLabelFaces as FewLabelFaces
from dife_lightning.faces.schemes import Scheme, flip_permutation
from dife_lightning.geometry.affine import AFFINE_NUMBERS, COLOR_NUMBERS, AugmentOptions, color_jitter, draw_affine
from dife_lightning.geometry.coordinates import apply_affine, sampling_grid, warp
from dife_lightning.mining.label_pool import LabelSnapshot
from dife_lightning.utils.checks import require
from dife_lightning.utils.notes import note
from dife_lightning.utils.randomness import seed_of, uniform

#: Numbers of a face of a batch: which face, whether it is mirrored, and its augmentation.
NUMBERS = 2 + AFFINE_NUMBERS + COLOR_NUMBERS
#: Augmentation that changes nothing: what the published training has.
UNCHANGED = AugmentOptions(rotation=0, scale_min=1, scale_max=1, shift=0, brightness=0, hue=0, color_probability=0)


@dataclass(frozen=True)
class PointNoise:
    """Landmarks of labelled faces that are moved at random, as the authors of Meta-CSKT move those of the mouth.

    Their code moves them in place, so that the noise of a face adds up during an epoch; here, each draw moves the true
    landmarks.

    Attributes:
        landmarks: names of the landmarks.
        probability: of each to be moved.
        distance: largest movement in x and in y, relative to the side of the crop.
    """

    landmarks: tuple[str, ...]
    probability: float = 0.5
    distance: float = 0.01

    def __post_init__(self) -> None:
        require("point_noise.", at_least=0, at_most=1, probability=self.probability)
        require("point_noise.", at_least=0, distance=self.distance)

    def move(self, points: Tensor, numbers: Tensor, names: Sequence[str], side: int) -> Tensor:
        """Return points (L, K, 2) of an image of ``side`` px, moved by ``numbers`` (L, N, 3) in [0, 1)."""
        unknown = [name for name in self.landmarks if name not in names]
        if unknown:
            raise ConfigError(f"point_noise: no landmark '{unknown[0]}'. {did_you_mean(unknown[0], names)}")
        rows = [names.index(name) for name in self.landmarks]
        offsets = (2 * numbers[..., 1:] - 1) * self.distance * side
        moved = points.clone()
        moved[:, rows] += torch.where(numbers[..., :1] < self.probability, offsets, 0.0)
        return moved


class FewLabelStream(EndlessBatches[FewLabelDraw]):
    """Endless draws of unlabelled faces and of numbers for the labelled ones, each a function of (seed, number).

    Args:
        pool: unlabelled faces; None for none. Each pass over them has its own order.
        labelled: labelled faces in a batch.
        pooled: further places of a batch for labels that were found.
        unlabelled: unlabelled faces in a batch.
        size: side of the images.
        seed: of all draws.
        start: first batch, rank and number of processes.
        moved: landmarks of a labelled face that are moved.
    """

    def __init__(
        self,
        pool: PreparedFaces | None,
        labelled: int,
        pooled: int,
        unlabelled: int,
        size: int,
        seed: int = 0,
        start: StreamStart = StreamStart(),  # noqa: B008 - immutable
        moved: int = 0,
    ) -> None:
        super().__init__(start)
        self.pool, self.size, self.seed, self.moved = pool, size, seed, moved
        self.labelled, self.pooled, self.unlabelled = labelled, pooled, unlabelled if pool is not None else 0
        self._order: tuple[int, NDArray[np.int64]] | None = None

    def batch(self, number: int) -> FewLabelDraw:
        """Return draw ``number`` of this rank."""
        rows = [self._row(position) for position in self.positions(number, self.unlabelled)]
        images = [self.pool[row].image for row in rows] if self.pool is not None else []
        shape = (len(rows), self.size, self.size, 3)
        return FewLabelDraw(
            torch.from_numpy(np.array(images, np.uint8).reshape(shape)),
            torch.tensor(rows, dtype=torch.int64),
            torch.cat([self._numbers("labelled", number, self.labelled), self._numbers("pooled", number, self.pooled)]),
            self._numbers("unlabelled", number, self.unlabelled),
            self._numbers("points", number, self.labelled, 3 * self.moved).reshape(self.labelled, self.moved, 3),
            number,
        )

    def _numbers(self, purpose: str, number: int, count: int, each: int = NUMBERS) -> Tensor:
        drawn = [uniform((each,), self.seed, purpose, i) for i in self.positions(number, count)]
        return torch.stack(drawn) if drawn else torch.zeros(0, each)

    def _row(self, position: int) -> int:
        assert self.pool is not None
        turn, place = divmod(position, len(self.pool))
        if self._order is None or self._order[0] != turn:
            rng = np.random.default_rng(seed_of(self.seed, "pool", turn))
            self._order = (turn, rng.permutation(len(self.pool)))
        return int(self._order[1][place])


class FewLabelsDataModule(TrainingDataModule):
    """Base of data modules with few labelled and many unlabelled faces.

    Args:
        evaluation: data module of single faces for validation, test and predict; None for none.
        size: side of the images in pixels.
        labelled_batch: labelled faces in a batch (Meta-CSKT: 4).
        pooled_batch: further labelled faces in a batch, whose labels a method has found; none before it has found some.
            With None there are no further ones: each labelled place shows one of all labels, true and found ones, with
            equal probability, as in the published training.
        unlabelled_batch: unlabelled faces in a batch (Meta-CSKT: 16); 0 reads none.
        augment: framing and colour of labelled faces; None leaves them as they are, as the published training does.
        augment_unlabelled: of unlabelled faces; likewise.
        flip: mirror labelled faces with probability 1/2, if the scheme has mirror pairs.
        seed: of which faces are labelled, and of all draws.
        num_workers: processes that read and crop; any number gives the same batches.
        keep: hold all unlabelled faces in memory.
        point_noise: landmarks of labelled faces that are moved at random; None for none.

    Raises:
        ConfigError: a number out of its range.
    """

    def __init__(
        self,
        evaluation: LightningDataModule | None = None,
        size: int = 64,
        labelled_batch: int = 4,
        pooled_batch: int | None = None,
        unlabelled_batch: int = 16,
        augment: AugmentOptions | None = None,
        augment_unlabelled: AugmentOptions | None = None,
        flip: bool = True,
        seed: int = 0,
        num_workers: int = 0,
        keep: bool = True,
        point_noise: PointNoise | None = None,
    ) -> None:
        super().__init__(evaluation)
        require(at_least=8, size=size)
        require(at_least=1, labelled_batch=labelled_batch)
        require(at_least=0, unlabelled_batch=unlabelled_batch, seed=seed, num_workers=num_workers)
        require(at_least=1, pooled_batch=pooled_batch)
        self.size, self.labelled_batch, self.unlabelled_batch = size, labelled_batch, unlabelled_batch
        self.pooled_batch = pooled_batch
        self.augment, self.augment_unlabelled = augment or UNCHANGED, augment_unlabelled or UNCHANGED
        self.flip, self.seed, self.point_noise = flip, seed, point_noise
        self.num_workers, self.keep, self.next_batch = num_workers, keep, 0
        self._faces: FewLabelFaces | None = None
        self._snapshot: LabelSnapshot | None = None
        self._where: dict[str, int] = {}
        self._dropped: frozenset[str] = frozenset()
        self._used: list[int] = []
        self._given: tuple[Tensor, Tensor, Tensor] | None = None

    # Faces

    def faces(self) -> FewLabelFaces:
        """Return the faces of the training; read on first use. Raises what the reader does."""
        if self._faces is None:
            found = self._make_faces()
            pool = found.pool
            if pool is not None and self.keep:
                pool = kept(pool, self.num_workers)
            self._faces = FewLabelFaces(found.labelled, pool, found.names, found.scheme, found.facts)
            rank_zero_info(printable(f"faces: {len(found.labelled)} labelled, {len(found.names)} unlabelled"))
            if self.flip and not found.scheme.flip_pairs:
                note(f"scheme '{found.scheme.name}' has no left/right pairs: labelled faces are not mirrored")
        return self._faces

    def _make_faces(self) -> FewLabelFaces:
        raise NotImplementedError

    @property
    def scheme(self) -> Scheme:
        """The scheme of the landmarks."""
        return self.faces().scheme

    def true_labels(self) -> LabelSnapshot:
        """Return the labelled faces with their true landmarks, in pixels of the faces as cropped."""
        labelled = self.faces().labelled
        points, visible = (np.stack([getattr(face, key) for face in labelled]) for key in ("points", "visible"))
        return LabelSnapshot(tuple(face.name for face in labelled), points, visible)

    @property
    def labels(self) -> LabelSnapshot:
        """The labels of now: the true ones unless a method has set others beside them."""
        if self._snapshot is None:
            self._snapshot = self.true_labels()
        return self._snapshot

    @labels.setter
    def labels(self, snapshot: LabelSnapshot) -> None:
        true = self.true_labels().names
        if snapshot.names[: len(true)] != true:
            raise ConfigError("labels: the true ones must come first, in the order of `true_labels`")
        self._snapshot, self._given = snapshot, None

    @property
    def dropped(self) -> frozenset[str]:
        """Names of the unlabelled faces that batches do not show."""
        return self._dropped

    @dropped.setter
    def dropped(self, names: frozenset[str]) -> None:
        self._dropped = names
        self._used = [row for row, name in enumerate(self.faces().names) if name not in names]

    def setup(self, stage: str) -> None:
        """Read the faces (for fit), and set up the evaluation."""
        if stage == "fit":
            self.faces()
        super().setup(stage)

    def describe(self) -> dict[str, Any]:
        """Return what a result must record of the faces, as plain values."""
        return self.faces().facts

    # Batches

    def train_dataloader(self) -> DataLoader[FewLabelDraw]:
        """Return the stream from the first batch that was not used yet."""
        ranks = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        counts = (self.labelled_batch, self.pooled_batch or 0, self.unlabelled_batch)
        start, moved = StreamStart(self.next_batch, *ranks), len(self.point_noise.landmarks) if self.point_noise else 0
        stream = FewLabelStream(self.faces().pool, *counts, self.size, self.seed, start, moved)
        return DataLoader(stream, batch_size=None, num_workers=self.num_workers, worker_init_fn=one_thread)

    def on_after_batch_transfer(self, batch: object, dataloader_idx: int) -> object:
        """Choose and warp the faces of a draw on its device, and count the batches; return others unchanged."""
        if not isinstance(batch, FewLabelDraw):
            return batch
        if self.trainer is not None and self.trainer.training:
            self.next_batch = batch.number + 1
        return self.compose(batch)

    def compose(self, draw: FewLabelDraw) -> FewLabelBatch:
        """Return the batch of a draw, with the labels of now and without the faces that are left out."""
        device = draw.pool.device
        chosen = self._chosen(draw.uniform[:, 0].double().cpu().numpy())
        numbers = draw.uniform[: len(chosen)]
        images, points, visible = self._labelled(chosen)
        if self.point_noise is not None:
            true = len(draw.noise)
            moved = self.point_noise.move(points[:true], draw.noise.cpu(), self.scheme.landmarks, self.size)
            points = torch.cat((moved, points[true:]))
        labelled, affine = augmented(images.to(device), numbers, self.augment)
        points, visible = apply_affine(affine, points.to(device)), visible.to(device)
        if self.flip and self.scheme.flip_pairs:
            labelled, points, visible = self._mirrored(labelled, points, visible, numbers[:, 1] < 0.5)
        side = labelled.shape[-1]
        visible = visible & ((points >= -0.5) & (points <= side - 0.5)).all(dim=-1)
        faces, rows = self._unlabelled(draw)
        pool = (faces.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous()
        unlabelled, affine = augmented(pool, draw.pool_uniform, self.augment_unlabelled)
        names = [self.faces().names[row] for row in rows]
        pooled = torch.tensor([row >= len(self.faces().labelled) for row in chosen], device=device)
        return FewLabelBatch(labelled, points, visible, unlabelled, affine, names, pooled)

    def _chosen(self, numbers: NDArray[np.float64]) -> list[int]:
        """Return the rows of the labels that a batch shows, by numbers in [0, 1)."""
        true, count = len(self.faces().labelled), len(self.labels)
        own, further = numbers[: self.labelled_batch], numbers[self.labelled_batch :]
        if self.pooled_batch is None:
            return [int(number * count) for number in own]
        found = [true + int(number * (count - true)) for number in further] if count > true else []
        return [*(int(number * true) for number in own), *found]

    def _unlabelled(self, draw: FewLabelDraw) -> tuple[Tensor, list[int]]:
        """Return images (U, S, S, 3) uint8 and rows of the unlabelled faces; others stand in for those left out."""
        rows = draw.rows.tolist()
        places = [k for k, row in enumerate(rows) if self.faces().names[row] in self.dropped] if self.dropped else []
        if not places:
            return draw.pool, rows
        images, pool = draw.pool.clone(), self.faces().pool
        assert pool is not None
        for k in places:
            rows[k] = self._used[int(float(draw.pool_uniform[k, 0]) * len(self._used))]
            images[k] = torch.from_numpy(np.array(pool[rows[k]].image)).to(images.device)
        return images, rows

    def _labelled(self, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return images (L, 3, S, S), points (L, K, 2) and visible (L, K) of rows of the labels."""
        faces, labels = self.faces(), self.labels
        if self._given is None:
            known = np.where(labels.visible[..., None], labels.points, 0)
            self._given = (
                image_tensor([face.image for face in faces.labelled]),
                torch.from_numpy(known),
                torch.from_numpy(labels.visible.copy()),
            )
        images, points, visible = self._given
        own = len(faces.labelled)
        pictures = [images[row] if row < own else self._of_pool(labels.names[row]) for row in rows]
        return torch.stack(pictures), points[list(rows)], visible[list(rows)]

    def _of_pool(self, name: str) -> Tensor:
        faces = self.faces()
        if not self._where:
            self._where = {known: row for row, known in enumerate(faces.names)}
        assert faces.pool is not None
        return image_tensor([faces.pool[self._where[name]].image])[0]

    def _mirrored(
        self, images: Tensor, points: Tensor, visible: Tensor, chosen: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        order = flip_permutation(points.shape[1], self.scheme.flip_pairs)
        moved = points[:, order] * points.new_tensor([-1, 1]) + points.new_tensor([images.shape[-1] - 1, 0])
        return (
            torch.where(chosen[:, None, None, None], images.flip(-1), images),
            torch.where(chosen[:, None, None], moved, points),
            torch.where(chosen[:, None], visible[:, order], visible),
        )

    def fingerprint(self) -> str:
        """Return the SHA-256 of the labelled faces' names and landmarks and of the unlabelled faces' names."""
        faces, true = self.faces(), self.true_labels()
        digest = hashlib.sha256("\n".join((*true.names, "", *faces.names)).encode())
        for values in (np.where(true.visible[..., None], true.points, 0).astype("<f4"), true.visible.astype(np.uint8)):
            digest.update(values.tobytes())
        return digest.hexdigest()

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the stream and the fingerprint of the faces, for the checkpoint."""
        return {"next_batch": self.next_batch, "faces": self.fingerprint()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the checkpoint was written; CheckpointError if it was trained on other faces or labels."""
        if state_dict.get("faces", self.fingerprint()) != self.fingerprint():
            raise CheckpointError(
                "the labels or the unlabelled faces have changed since the checkpoint was written, so the training "
                "cannot go on from it; start a new one (with --overwrite, or another --run)"
            )
        self.next_batch = state_dict["next_batch"]


def augmented(images: Tensor, numbers: Tensor, options: AugmentOptions) -> tuple[Tensor, Tensor]:
    """Return images (B, 3, S, S) warped and jittered by ``numbers`` (B, R), and the maps (B, 2, 3) of their pixels."""
    side = images.shape[-1]
    framing, color = numbers[:, 2 : 2 + AFFINE_NUMBERS], numbers[:, 2 + AFFINE_NUMBERS :]
    affine = draw_affine(framing, options, side, side)
    if options == UNCHANGED or not len(images):
        return images, affine
    warped = warp(images, sampling_grid(affine, side, side, side, side), options.padding)
    return color_jitter(warped, color, options), affine


class KeptFaces:
    """Faces in memory; the images are one array, and nothing else of them is kept but their boxes."""

    def __init__(self, faces: Sequence[FaceArrays]) -> None:
        self.images = np.stack([face.image for face in faces])
        self._rest = [(face.box, face.name, face.crop) for face in faces]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> FaceArrays:
        box, name, crop = self._rest[index]
        nothing = np.zeros((0, 2), np.float32), np.zeros(0, bool)
        return FaceArrays(self.images[index], *nothing, box, name, crop)


def kept(faces: PreparedFaces, num_workers: int = 0) -> KeptFaces:
    """Read all faces into memory, with ``num_workers`` processes."""
    options: dict[str, Any] = {"collate_fn": itself, "worker_init_fn": one_thread}
    return KeptFaces(list(DataLoader(faces, None, num_workers=num_workers, **options)))  # type: ignore[arg-type]
