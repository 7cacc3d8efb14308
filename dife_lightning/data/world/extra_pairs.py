"""Test pairs of the world with further points besides the nine landmarks, and their transfer by a method.

The pairs are the first ones of a test list, framed as in the test. So the errors on the nine landmarks are those of the
test, and the further points are in the same pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.data.world.pairs import FramingName, ListName, framing_seeds
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import PairBatch, image_tensor
from dife_lightning.faces.schemes import get_scheme
from dife_lightning.metrics.keypoint_transfer import pixel_errors
from dife_lightning.metrics.predictions import PointTable

if TYPE_CHECKING:
    from dife_lightning.world import Pair

PointGroup = Literal["landmarks", "face", "ears"]


class Matcher(Protocol):
    """Anything that transfers the points of a batch, such as every method."""

    def transfer_batch(self, batch: PairBatch) -> Tensor:
        """Return the transferred points (B, P, 2), pixels of the target images."""
        ...


def point_groups() -> dict[str, PointGroup]:
    """Return the points of these pairs, in order, and their groups: landmarks, or further points of face or ears."""
    from dife_lightning.world.extra_landmarks import EAR_POINTS, FACE_POINTS

    landmarks: dict[str, PointGroup] = dict.fromkeys(get_scheme("animalweb-9").landmarks, "landmarks")
    return landmarks | dict.fromkeys(FACE_POINTS, "face") | dict.fromkeys(EAR_POINTS, "ears")


def extra_batches(
    pair: str,
    count: int,
    *,
    list_name: ListName = "long",
    framing: FramingName = "jittered",
    size: int = 64,
    test_seed: int | None = None,
    batch_size: int = 32,
) -> Iterator[PairBatch]:
    """Render the first pairs of a test list, with the points of :func:`point_groups` instead of a protocol's.

    Returns all pairs if the list is shorter than ``count``. The other arguments are those of
    :class:`~dife_lightning.data.world.pairs.WorldPairs`. ConfigError for unknown names, or a count below 1.
    """
    from dife_lightning.world import pair_list

    if count < 1:
        raise ConfigError(f"{count} pairs with further points: expected one or more")
    pairs = pair_list(pair, "test", list_name, seed=test_seed).pairs[:count]
    seeds = framing_seeds(test_seed)
    for start in range(0, len(pairs), batch_size):
        part = pairs[start : start + batch_size]
        source = _stacked([_face(p.source_species, p.source_index, framing, seeds[0], size) for p in part])
        target = _stacked([_face(p.target_species, p.target_index, framing, seeds[1], size) for p in part])
        yield PairBatch(
            source_image=source[0],
            target_image=target[0],
            source_points=source[1],
            target_points=target[1],
            visible=source[2] & target[2],
            index=torch.arange(start, start + len(part)),
            pair_id=[_name(p) for p in part],
            pair=pair,
            framing=framing,
            list_name=list_name,
        )


_Face = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_]]


def _face(species: str, index: int, framing: FramingName, seed: int, size: int) -> _Face:
    from dife_lightning.world import framing_for, render
    from dife_lightning.world.extra_landmarks import extra_landmarks

    frame = framing_for(framing, seed, index)
    sample = render(species, "test", index, size=size, framing=frame)
    points, visible = extra_landmarks(species, "test", index, size=size, framing=frame)
    return sample.image, np.concatenate((sample.points, points)), np.concatenate((sample.visible, visible))


def _name(pair: Pair) -> str:
    source, target = (pair.source_species, pair.source_index), (pair.target_species, pair.target_index)
    return ">".join(f"world/{species}/test/{index}" for species, index in (source, target))


def _stacked(faces: Sequence[_Face]) -> tuple[Tensor, Tensor, Tensor]:
    images, points, visible = (np.stack(part) for part in zip(*faces, strict=True))
    return image_tensor(images), torch.from_numpy(points), torch.from_numpy(visible)


@torch.no_grad()
def transfer_extra(method: Matcher, batches: Sequence[PairBatch]) -> PointTable:
    """Transfer the points of ``batches``, which are of one kind of pair.

    ConfigError for a method that transfers only the protocols' landmarks; every embedder transfers any points.
    """
    parts = [_carried(method, batch) for batch in batches]
    arrays = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
    return PointTable(tuple(name for batch in batches for name in batch.pair_id), tuple(point_groups()), *arrays)


def _carried(method: Matcher, batch: PairBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return errors and visibility (B, K), true and found points (B, K, 2) in double precision."""
    found = method.transfer_batch(batch).cpu().double()
    if found.shape != batch.target_points.shape:
        shapes = f"{tuple(found.shape)} instead of {tuple(batch.target_points.shape)}"
        raise ConfigError(f"{type(method).__name__} transfers only the landmarks of the protocols: {shapes}")
    side = torch.full((len(batch),), batch.target_image.shape[-1])
    errors = pixel_errors(found, batch.target_points, side)
    return errors, batch.visible, batch.target_points.double(), found
