"""Further scores of each pair of a test: the share of its points that are near enough, or swapped left and right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.faces.point_names import mirror_pairs
from dife_lightning.faces.schemes import PROTOCOLS, get_protocol
from dife_lightning.metrics.keypoint_transfer import FACE_THRESHOLDS, PCK_THRESHOLDS
from dife_lightning.metrics.pck import Normalizer, normalized_errors
from dife_lightning.metrics.predictions import PointTable
from dife_lightning.metrics.swaps import swap_events

SWAPS = "swap_rate"


@dataclass(frozen=True)
class Share:
    """Points (N,) of each pair that are hits, a mean over seeds in float64, and points (N,) that count."""

    hits: NDArray[np.float64]
    tries: NDArray[np.int64]

    @property
    def value(self) -> float:
        """Share of all points; NaN where none counts."""
        return float(self.hits.sum() / self.tries.sum()) if self.tries.any() else float("nan")

    def first(self, count: int | None) -> Share:
        """Return the first ``count`` pairs, all if None."""
        return Share(self.hits[:count], self.tries[:count])

    @staticmethod
    def joined(parts: Sequence[Share]) -> Share:
        """Return the pairs of several sets as one."""
        return Share(np.concatenate([one.hits for one in parts]), np.concatenate([one.tries for one in parts]))

    @staticmethod
    def mean(several: Sequence[Share]) -> Share:
        """Return the mean of tests on the same points."""
        return Share(np.mean([one.hits for one in several], axis=0), several[0].tries)


def shares_of(table: PointTable, protocol: str, names: Sequence[str]) -> dict[str, Share]:
    """Return the scores ``names`` of the pairs of a table, as ``metrics.json`` has them of the whole set."""
    return {name: _swaps(table, protocol) if name == SWAPS else _near(table, name) for name in names}


def _near(table: PointTable, name: str) -> Share:
    by: Normalizer = "face" if name in FACE_THRESHOLDS else "crop"
    errors, counted = normalized_errors(table, by)
    hits = (errors <= (FACE_THRESHOLDS | PCK_THRESHOLDS)[name]) & counted
    return Share(hits.sum(1).astype(np.float64), counted.sum(1).astype(np.int64))


def _swaps(table: PointTable, protocol: str) -> Share:
    flips = get_protocol(protocol).flip_pairs if protocol in PROTOCOLS else mirror_pairs(table.landmarks)
    swapped, counted = swap_events(table, flips)
    return Share(swapped.sum(1), counted.sum(1).astype(np.int64))


def digits(counts: NDArray[np.int64]) -> str:
    """Return counts as text: digits without spaces, or numbers with spaces where one has two digits."""
    return ("" if counts.max(initial=0) < 10 else " ").join(map(str, counts.tolist()))


def read_digits(text: str, number: int) -> NDArray[np.int64]:
    """Return the ``number`` counts that :func:`digits` wrote."""
    return np.array(text.split() if " " in text or number == 1 else list(text), dtype=np.int64)


def encoded_share(share: Share) -> list[str]:
    """Return a share of a single test as two texts."""
    return [digits(share.hits.astype(np.int64)), digits(share.tries)]


def decoded_share(texts: Sequence[str], number: int) -> Share:
    """Return the share of ``number`` pairs that :func:`encoded_share` wrote; DataError for another number."""
    hits, tries = (read_digits(text, number) for text in texts)
    if len(hits) != number or len(tries) != number:
        raise DataError(f"scores of {len(hits)} of {number} pairs in a damaged record: restore it from git")
    return Share(hits.astype(np.float64), tries)
