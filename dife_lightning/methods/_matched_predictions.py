"""Which prediction of a file belongs to which target face, and its points in pixels of the target image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dife_lightning.datasets._predictions import Prediction, PredictionFile
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.batches import PairArrays
from dife_lightning.faces.schemes import convert, layout_part, to_layout
from dife_lightning.utils.notes import many, some


class _Scored(NamedTuple):
    """The S points of a batch that are scored: their places among all P, their names, and those of mirror pairs."""

    places: list[int]
    names: list[str]
    mirror: list[tuple[int, int]]


class _Candidate(NamedTuple):
    """A prediction on the target's photo: its points (P, 2) in pixels of the target image, and which there are (P,)."""

    one: Prediction
    points: NDArray[np.float64]
    seen: NDArray[np.bool_]


class MatchedPredictions:
    """The predictions of the target faces of some sets of pairs.

    Args:
        file: of the predictions.
        sets: one or more ``KeypointPairs`` with one target domain.

    Raises:
        ConfigError: the file lacks a point that is scored.
    """

    def __init__(self, file: PredictionFile, sets: Sequence[Any]) -> None:
        self.file, self.sets = file, list(sets)
        #: For the record of a result.
        self.counts = {"chosen_by_name": 0, "chosen_as_nearest": 0, "faces_missing": 0, "points_missing": 0}
        self._lacking: dict[str, list[str]] = {}
        self._faces: dict[str, set[str]] = defaultdict(set)
        self._exchanged: list[bool] = []
        file.understand(self.sets[0].schemes[1])
        for pairs in self.sets:
            self._check_points(pairs)

    def points(self, centre: bool) -> list[NDArray[np.float32]]:
        """Return the points (N, P, 2) of each set of N pairs, pixels of the target images.

        What is not predicted is at the centre of the image; DataError if it is scored, unless ``centre`` allows it.
        DataError also where it is not clear which prediction is meant.
        """
        items: list[list[PairArrays]] = [[pairs[index] for index in range(len(pairs))] for pairs in self.sets]
        folder = getattr(getattr(self.sets[0].target, "faces", None), "folder", None)
        found = self.file.on(folder, {item.target_crop.file_name for several in items for item in several})
        points = [
            np.stack([self._of(pairs, item, found) for item in several]).astype(np.float32)
            for pairs, several in zip(self.sets, items, strict=True)
        ]
        self._say()
        if self._lacking and not centre:
            raise DataError(f"{self.file.path}: {self._told()}; predict them too, or score such points at the centre "
                            "of the crop with missing: centre.")  # fmt: skip
        if self._lacking:
            self.file.say(f"{self._told()}; scored at the centre of the crop")
        return points

    def _check_points(self, pairs: Any) -> None:
        count, scored = len(self.file.scheme.landmarks), _scored(pairs)
        _, seen = self._layout(pairs, np.zeros((count, 2), np.float32), np.ones(count, bool))
        lacking = [name for name, place in zip(scored.names, scored.places, strict=True) if not seen[place]]
        if lacking:
            raise ConfigError(f"{self.file.path}: no point {some(lacking)}, which is scored (its points: "
                              f"{some(self.file.scheme.landmarks, 6)}); name them as the data set does, or say which "
                              "is which with options: {scheme: FILE.yaml} (same_as).")  # fmt: skip

    def _layout(
        self, pairs: Any, points: NDArray[np.float32], seen: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return points (K, 2) of the file as batches have them, (P, 2): by the data set's names, else by protocols."""
        own, target, order = self.file.scheme, pairs.schemes[1], pairs.eye_order
        count = len(target.landmarks)
        found, known = pairs.layout(np.zeros((count, 2), np.float32), np.zeros(count, bool), 1)
        direct, there = to_layout(points, seen, own, order)
        found[: len(direct)], known[: len(direct)] = direct, there
        try:
            named, told = pairs.layout(*convert(points, seen, own, target, order), 1)
        except ConfigError:  # no name in common, but perhaps a protocol
            return found, known
        return np.where(told[:, None], named, found), told | known

    def _of(self, pairs: Any, item: PairArrays, found: Mapping[str, list[Prediction]]) -> NDArray[np.float64]:
        """Return the points (P, 2) of one pair."""
        scored, crop = _scored(pairs), item.target_crop
        source, _, target = item.pair_id.partition(">")
        candidates = []
        for one in found.get(crop.file_name, ()):
            if one.source in ("", source):
                placed, there = self._layout(pairs, one.points, one.seen)
                candidates.append(_Candidate(one, crop.image_points(placed), there))
        points = np.full(item.target_points.shape, (item.target_image.shape[0] - 1) / 2, np.float64)
        seen = np.zeros_like(item.visible)
        if candidates:
            chosen = self._choice(candidates, target, scored.places, points)
            seen = chosen.seen
            points[seen] = chosen.points[seen]
            self._faces[chosen.one.place].add(target)
        wanted = [(name, place) for name, place in zip(scored.names, scored.places, strict=True) if item.visible[place]]
        lacking = [name for name, place in wanted if not seen[place]]
        if lacking:
            self._lacking[target] = lacking if candidates else []
        both = seen & item.visible
        self._compare(points, item.target_points, [(a, b) for a, b in scored.mirror if both[a] and both[b]])
        return points

    def _choice(
        self, candidates: Sequence[_Candidate], target: str, scored: Sequence[int], centre: NDArray[np.float64]
    ) -> _Candidate:
        """Return the candidate with the name of the target face, else the one nearest to the centre of its crop."""
        named = [one for one in candidates if one.one.face == target]
        if len(named) > 1:
            raise DataError(f"{named[1].one.place}: face '{target}' is predicted twice (first: {named[0].one.place}); "
                            "expected once, or each with its source.")  # fmt: skip
        if len(candidates) > 1:
            self.counts["chosen_by_name" if named else "chosen_as_nearest"] += 1

        def distance(one: _Candidate) -> float:
            chosen = [place for place in scored if one.seen[place]]
            return float(np.linalg.norm(one.points[chosen].mean(axis=0) - centre[0])) if chosen else np.inf

        return named[0] if named else min(candidates, key=distance)

    def _compare(self, points: Any, truth: Any, mirror: Sequence[tuple[int, int]]) -> None:
        """Remember whether left and right are exchanged in a face, compared with the annotation."""
        turned = [float(np.dot(points[a] - points[b], truth[a] - truth[b])) < 0 for a, b in mirror]
        if turned:
            self._exchanged.append(2 * sum(turned) > len(turned))

    def _say(self) -> None:
        """Say how predictions were chosen, and count what is missing."""
        say, counts = self.file.say, self.counts
        counts["faces_missing"] = sum(not names for names in self._lacking.values())
        counts["points_missing"] = sum(map(len, self._lacking.values()))
        named, nearest = counts["chosen_by_name"], counts["chosen_as_nearest"]
        if named + nearest:
            say(f"several predictions in the target photo of {many(named + nearest, 'pair')}: {named} chosen by the "
                f"name of the face, {nearest} as the nearest to the centre of the crop")  # fmt: skip
        shared = sum(len(faces) > 1 for faces in self._faces.values())
        if shared:
            say(f"{many(shared, 'prediction')} taken for several target faces of one photo, which has no other there")
        if 2 * sum(self._exchanged) > len(self._exchanged):
            say(f"left and right are exchanged in {sum(self._exchanged)} of {many(len(self._exchanged), 'face')}, "
                "compared with the annotations; say whose left is meant with options: {scheme: FILE.yaml}")  # fmt: skip

    def _told(self) -> str:
        """Return in words what is missing."""
        faces = [face for face, names in self._lacking.items() if not names]
        parts = {face: names for face, names in self._lacking.items() if names}
        told = [f"{many(len(faces), 'target face')} without a prediction ({some(faces)})"] if faces else []
        if parts:
            first = [f"{face}: {some(names)}" for face, names in parts.items()]
            count = many(sum(map(len, parts.values())), "point")
            told.append(f"{count} of {many(len(parts), 'face')} not predicted ({some(first, 1)})")
        return " and ".join(told)


def _scored(pairs: Any) -> _Scored:
    """Return the points that the protocols of a set score."""
    found = _Scored([], [], [])
    for protocol in pairs.served(pairs.protocols):
        start = layout_part(protocol).start
        found.places.extend(range(start, start + len(protocol.landmarks)))
        found.names.extend(protocol.landmarks)
        found.mirror.extend((start + a, start + b) for a, b in protocol.flip_pairs)
    return found
