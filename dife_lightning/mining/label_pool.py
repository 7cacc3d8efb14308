"""The pool of labels: points that the adaptation network finds in positive faces, used as labels beside the true ones.

The network's points are stored in every step, and a later step overwrites an earlier one. What the base network is
trained on is a snapshot of the pool (``current``), which changes only when it is refreshed, every 600 steps in
Meta-CSKT (ACM MM 2023).

With several processes each one stores the faces of its own batches. ``share`` makes all pools equal; call it before a
refresh and before a checkpoint is written::

    pool.share(gather_objects(pool.entries))
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dife_lightning.errors import CheckpointError, DataError, TrainingError
from dife_lightning.utils.checks import require
from dife_lightning.utils.notes import some


@dataclass(frozen=True, eq=False)
class PoolEntry:
    """The label of one positive face: ``points`` (K, 2) float32, read-only, and the ``step`` that they are from."""

    points: NDArray[np.float32]
    step: int


Entries = Mapping[str, PoolEntry]


@dataclass(frozen=True, eq=False)
class LabelSnapshot:
    """N faces with labels; true ones first, in their order, then the last ``pooled`` from the pool, by name.

    ``points`` (N, K, 2) float32, x then y, pixels of the faces as cropped; ``visible`` (N, K) bool, all True for faces
    of the pool. Both arrays are read-only.
    """

    names: tuple[str, ...]
    points: NDArray[np.float32]
    visible: NDArray[np.bool_]
    pooled: int = 0

    def __post_init__(self) -> None:
        points, visible = np.array(self.points, np.float32), np.array(self.visible, bool)
        if points.shape != (len(self.names), *visible.shape[1:], 2) or visible.shape != points.shape[:2]:
            found = f"{len(self.names)} names, points {points.shape} and visible {visible.shape}"
            raise DataError(f"labelled faces: {found}; expected N names, (N, K, 2) and (N, K)")
        for name, array in (("points", points), ("visible", visible)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        """Return N."""
        return len(self.names)


def merge_entries(tables: Sequence[Entries]) -> dict[str, PoolEntry]:
    """Return the union of the entries of several processes, by name in alphabetical order.

    Of several entries of a face the one of the latest step is kept, of equal steps that of the first table.
    """
    merged: dict[str, PoolEntry] = {}
    for table in tables:
        for name, entry in table.items():
            if name not in merged or entry.step > merged[name].step:
                merged[name] = entry
    return {name: merged[name] for name in sorted(merged)}


class LabelPool:
    """The labels of positive faces.

    Args:
        labelled: the faces with true labels. One that is also a positive keeps its true label.
        positives: names of the faces that may be labelled; others are ignored.
        every: steps between two refreshes.

    Raises:
        ConfigError: ``every`` is less than 1.
    """

    def __init__(self, labelled: LabelSnapshot, positives: Collection[str], every: int = 600) -> None:
        require("label pool: ", every=every, at_least=1)
        self.labelled, self.every = labelled, every
        self.positives = frozenset(positives) - frozenset(labelled.names)
        self.entries: dict[str, PoolEntry] = {}
        self._frozen: dict[str, PoolEntry] = {}

    def __len__(self) -> int:
        """Return the number of faces with an entry."""
        return len(self.entries)

    def store(self, names: Sequence[str], points: Tensor, step: int) -> int:
        """Store the positive ones among B faces; return how many these are.

        Args:
            names: of the faces.
            points: (B, K, 2), x then y, pixels of the faces as cropped, on any device.
            step: of the training; an entry of a later step is not overwritten.

        Raises:
            DataError: another number of points than the labelled faces have, or of names.
            TrainingError: a point is not finite.
        """
        expected = (len(names), *self.labelled.points.shape[1:])
        if tuple(points.shape) != expected:
            raise DataError(f"label pool: points of shape {tuple(points.shape)}; expected {expected}")
        rows = [i for i, name in enumerate(names) if name in self.positives]
        if not rows:
            return 0
        found = points.detach()[rows].float().cpu().numpy()
        if not np.isfinite(found).all():
            broken = [names[i] for i, one in zip(rows, found, strict=True) if not np.isfinite(one).all()]
            raise TrainingError(f"label pool: points of {some(broken)} are not finite at step {step}; lower the rate")
        new = {names[i]: _entry(one, step) for i, one in zip(rows, found, strict=True)}
        self.entries |= {n: e for n, e in new.items() if n not in self.entries or self.entries[n].step <= e.step}
        return len(rows)

    def due(self, step: int) -> bool:
        """Return whether the pool is refreshed after ``step`` steps: after ``every``, twice as many, ..."""
        return step > 0 and step % self.every == 0

    def share(self, tables: Sequence[Entries]) -> None:
        """Replace the entries by the union of those of all processes, this one's included."""
        self.entries = merge_entries(tables)

    def refresh(self) -> LabelSnapshot:
        """Make the entries of now the snapshot, and return it."""
        self._frozen = dict(self.entries)
        return self.current

    @property
    def current(self) -> LabelSnapshot:
        """The labelled faces, and the pool as it was at the last refresh; only the labelled ones before the first."""
        names = sorted(self._frozen)
        if not names:
            return self.labelled
        own = self.labelled
        points = np.concatenate((own.points, np.stack([self._frozen[name].points for name in names])))
        visible = np.concatenate((own.visible, np.ones((len(names), own.visible.shape[1]), bool)))
        return LabelSnapshot((*own.names, *names), points, visible, len(names))

    def state_dict(self) -> dict[str, Any]:
        """Return entries and snapshot as names, points (N, K, 2) and steps (N,), on the CPU."""
        shape = self.labelled.points.shape[1:]
        return {"entries": _state_of(self.entries, shape), "snapshot": _state_of(self._frozen, shape)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        CheckpointError for another form, other numbers of points, or faces that are no positives here.
        """
        shape = self.labelled.points.shape[1:]
        tables = [_entries_of(state, part, shape) for part in ("entries", "snapshot")]
        foreign = sorted(set().union(*tables) - self.positives)
        if foreign:
            raise CheckpointError(
                f"label pool: {some(foreign)} of the checkpoint are no positives here; resume with the same faces, "
                "shifts and thresholds"
            )
        self.entries, self._frozen = tables


def _entry(points: NDArray[np.float32], step: int) -> PoolEntry:
    own = np.array(points, np.float32)
    own.setflags(write=False)
    return PoolEntry(own, step)


def _state_of(entries: Entries, shape: tuple[int, ...]) -> dict[str, Any]:
    points = np.array([entry.points for entry in entries.values()], np.float32).reshape(-1, *shape)
    steps = torch.tensor([entry.step for entry in entries.values()], dtype=torch.int64)
    return {"names": list(entries), "points": torch.from_numpy(points), "steps": steps}


def _entries_of(state: Mapping[str, Any], part: str, shape: tuple[int, ...]) -> dict[str, PoolEntry]:
    try:
        names, points, steps = (state[part][key] for key in ("names", "points", "steps"))
        fits = tuple(points.shape) == (len(names), *shape) and tuple(steps.shape) == (len(names),)
    except (KeyError, TypeError, AttributeError):
        fits = False
    if not fits or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise CheckpointError(
            f"label pool: '{part}' of the checkpoint does not fit; expected names with points of {shape}"
        )
    values = zip(names, points.float().numpy(), steps.tolist(), strict=True)
    return {name: _entry(one, step) for name, one, step in values}
