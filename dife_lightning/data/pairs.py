"""Pairs of annotated faces: items, batches and data module of all keypoint evaluations.

A reader returns :class:`~dife_lightning.faces.items.FaceItem`, and a list of index pairs says which faces form a pair.
An item is a pure function of its number.
"""

from __future__ import annotations

import copy
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from dife_lightning.data.evaluation import EvaluationDataModule
from dife_lightning.errors import ConfigError, DataError, did_you_mean
from dife_lightning.faces.batches import PairArrays, PairBatch, image_tensor
from dife_lightning.faces.items import FaceItem, crop_of
from dife_lightning.faces.landmark_sets import common_protocols
from dife_lightning.faces.schemes import (
    EyeOrder,
    Protocol,
    Scheme,
    check_eye_order,
    get_protocol,
    get_scheme,
    to_layout,
)
from dife_lightning.faces.transforms import resize, resize_matrix

#: Framing of the images: as they are, or rotated, scaled and moved at random.
FramingName = Literal["jittered", "plain"]


class Faces(typing.Protocol):
    """Any sequence of annotated faces."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> FaceItem: ...


class KeypointPairs(Dataset[PairArrays]):
    """One set of pairs: one kind of pair, one list, one framing.

    Args:
        source: faces of the first species.
        target: faces of the second.
        pairs: (index in ``source``, index in ``target``) for each pair.
        pair: kind of pair, ``human+dog``.
        list_name: name of the list: ``paper``, ``long``, ``val``.
        framing: ``jittered`` or ``plain``.
        list_hash: SHA-256 of the list, recorded with the results.
        size: side in pixels that both images are resized to.
        scheme: landmark scheme of both readers, or of source and target.
        eye_order: ``stored`` pairs points by number, also if a scheme names the face's own left (see ``schemes.py``).
        protocols: protocols to score, of those that both schemes have; all of them if None.
        own: instead of these, a protocol and its points in the source's and in the target's scheme (``shared_points``).
        units: the person, animal or photo of each pair's source and target, where these may be in several pairs.

    Raises:
        DataError: no pair.
        ConfigError: an unknown scheme or eye order, or no protocol that both schemes have.
    """

    def __init__(
        self,
        source: Faces,
        target: Faces,
        pairs: Sequence[tuple[int, int]],
        *,
        pair: str,
        list_name: str,
        framing: str = "plain",
        list_hash: str = "",
        size: int = 64,
        scheme: str | Scheme | tuple[str | Scheme, str | Scheme] = "animalweb-9",
        eye_order: EyeOrder = "viewer",
        protocols: Sequence[str] | None = None,
        own: tuple[Protocol, Sequence[Sequence[int]]] | None = None,
        units: Sequence[tuple[str, str]] | None = None,
    ) -> None:
        if not pairs:
            raise DataError(f"the {list_name} list of {pair} is empty: expected at least one pair")
        schemes = scheme if isinstance(scheme, tuple) else (scheme, scheme)
        check_eye_order(eye_order)
        self.schemes = get_scheme(schemes[0]), get_scheme(schemes[1])
        self.eye_order: EyeOrder = eye_order
        #: Protocols that are scored.
        self.protocols = common_protocols(self.schemes, protocols) if own is None else (own[0].name,)
        #: The protocol that is not built in, if there is one, and its points in each scheme.
        self.own: Protocol | None = own[0] if own else None
        self._own_points: Sequence[Sequence[int]] = own[1] if own else ((), ())
        self.source, self.target, self.pairs, self.size = source, target, pairs, size
        self.pair, self.list_name, self.framing, self.list_hash = pair, list_name, framing, list_hash
        self.units = units
        #: All items, once they are in memory (see data/cache.py).
        self.prepared: Sequence[PairArrays] | None = None

    @property
    def name(self) -> str:
        """Name of the set: ``human+dog/long/jittered``."""
        return f"{self.pair}/{self.list_name}/{self.framing}"

    def __len__(self) -> int:
        return len(self.pairs)

    def served(self, names: Iterable[str]) -> list[Protocol]:
        """Return the protocols that are scored, of the built-in ones those of ``names``, in that order."""
        return [get_protocol(name) for name in names if name in self.protocols] if self.own is None else [self.own]

    def first(self, count: int) -> KeypointPairs:
        """Return the set of the first ``count`` pairs (all, if there are fewer); images are shared."""
        found = copy.copy(self)
        found.pairs = self.pairs[:count]
        found.prepared = None if self.prepared is None else self.prepared[:count]
        found.units = None if self.units is None else self.units[:count]
        return found

    def __getitem__(self, index: int) -> PairArrays:
        if self.prepared is not None:
            return self.prepared[index]
        i, j = self.pairs[index]
        source, target = self._face(self.source[i], 0), self._face(self.target[j], 1)
        return PairArrays(
            source_image=source["image"],
            target_image=target["image"],
            source_points=source["points"],
            target_points=target["points"],
            visible=source["visible"] & target["visible"],
            pair_id=f"{source['name']}>{target['name']}",
            source_crop=source["crop"],
            target_crop=target["crop"],
        )

    def target_file(self, index: int) -> Path | None:
        """Return the file of the picture that the target face of a pair is in; None for a render."""
        picture = getattr(self.target, "picture", None)
        return None if picture is None else Path(picture(self.pairs[index][1]))

    def target_image(self, index: int) -> NDArray[np.uint8]:
        """Return the image of the target face of a pair, before it is resized."""
        return self.target[self.pairs[index][1]]["image"]

    def _face(self, item: FaceItem, side: int) -> FaceItem:
        height, width = item["image"].shape[:2]
        image, points = resize(item["image"], item["points"], self.size)
        points, visible = self.layout(points, item["visible"], side)
        crop = crop_of(item).inner(resize_matrix(width, height, self.size))
        return FaceItem(image=image, points=points, visible=visible, name=item["name"], crop=crop)

    def layout(
        self, points: NDArray[np.float32], visible: NDArray[np.bool_], side: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return points (..., K, 2) and visibility (..., K) of a side's scheme as batches have them, (..., P, 2).

        ``side`` is 0 for the source and 1 for the target; see ``to_layout``.
        """
        return to_layout(points, visible, self.schemes[side], self.eye_order, self._own_points[side])

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[int, PairArrays]]:
        """Return numbered pairs; the DataLoader calls it for a batch."""
        return [(index, self[index]) for index in indices]

    def collate(self, items: Sequence[tuple[int, PairArrays]]) -> PairBatch:
        """Make a batch of (number, pair) tuples."""
        index, pairs = zip(*items, strict=True)
        arrays = ("source_points", "target_points", "visible")
        stacked = {name: torch.from_numpy(np.stack([getattr(pair, name) for pair in pairs])) for name in arrays}
        return PairBatch(
            source_image=image_tensor([pair.source_image for pair in pairs]),
            target_image=image_tensor([pair.target_image for pair in pairs]),
            **stacked,
            index=torch.tensor(index, dtype=torch.int64),
            pair_id=[pair.pair_id for pair in pairs],
            pair=self.pair,
            framing=self.framing,
            list_name=self.list_name,
            source_crops=[pair.source_crop for pair in pairs],
            target_crops=[pair.target_crop for pair in pairs],
            own=self.own.landmarks if self.own else (),
        )

    def loader(self, batch_size: int, num_workers: int = 0, pin_memory: bool = False) -> DataLoader[Any]:
        """Return the loader of the set, in list order."""
        return DataLoader(
            self,
            batch_size=batch_size,
            num_workers=num_workers,
            collate_fn=self.collate,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
        )


def check_pairs(pairs: Sequence[str], known: Iterable[str], val_count: int, size: int, count: int | None) -> None:
    """Raise ConfigError unless kinds of pair are ``known+known``, counts are 1 or more, and the size is 8 or more."""
    if not pairs or val_count < 1 or size < 8 or (count is not None and count < 1):
        found = f"pairs {list(pairs)}, val_count {val_count}, size {size}, count {count}"
        raise ConfigError(f"{found}: expected at least one kind of pair, counts >= 1 and size >= 8")
    names = list(known)
    for pair in pairs:
        parts = pair.split("+")
        if len(parts) != 2:
            raise ConfigError(f"pair '{pair}': expected two domains, source first, such as human+dog")
        for name in parts:
            if name not in names:
                raise ConfigError(f"pair '{pair}': unknown domain '{name}'. {did_you_mean(name, names)}")


def check_names(option: str, found: Sequence[str], known: Sequence[str]) -> None:
    """Raise ConfigError unless there are values of an option, all of them known."""
    for name in found:
        if name not in known:
            raise ConfigError(f"{option}: unknown '{name}'. {did_you_mean(name, known)}")
    if not found:
        raise ConfigError(f"{option} is empty: expected one or more of {', '.join(known)}")


def pairs_of(loader: Any) -> KeypointPairs:
    """Return the set behind a loader; ConfigError for a loader of something else."""
    dataset = getattr(loader, "dataset", None)
    if isinstance(dataset, KeypointPairs):
        return dataset
    found = type(dataset).__name__
    raise ConfigError(f"a loader of {found} cannot be scored: use a data module of keypoint pairs, e.g. WorldPairs")


class PairsDataModule(EvaluationDataModule[KeypointPairs]):
    """Base of data modules that evaluate on pairs; a subclass makes the sets.

    Args:
        batch_size: pairs in a batch.
        num_workers: loader processes.
        cache: images are kept in the cache folder, so that one process can make them for all.
    """

    def __init__(self, batch_size: int = 32, num_workers: int = 0, cache: bool = False) -> None:
        super().__init__(batch_size, num_workers)
        self.cache = cache

    def prepare_data(self) -> None:
        """Fill the cache once, before several processes ask for the same pairs."""
        if self.cache and self.trainer is not None and self.trainer.world_size > 1:
            self.setup(str(getattr(self.trainer.state.fn, "value", "")))
