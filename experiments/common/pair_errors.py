"""The error of each pair of a test, which is all that a table of results needs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.metrics.bootstrap import Interval, Units, interval_over, ratio_interval
from dife_lightning.metrics.predictions import read_predictions
from dife_lightning.utils.run_folder import PREDICTIONS
from experiments.common.measure import Measure
from experiments.common.pair_shares import Share, decoded_share, digits, encoded_share, read_digits, shares_of

#: (kind of pair, list, framing, protocol)
SetKey = tuple[str, str, str, str]


@dataclass(frozen=True)
class PairErrors:
    """The pairs of one set, in the order of their list.

    Attributes:
        sums: (N,) summed error over the visible points of each pair, in px of a 70-px crop.
        counts: (N,) number of those points.
        units: (N, 2) hashes of the person, animal or photo of each pair's source and target, where these may be in
            several pairs (records hold no names of persons).
        shares: name -> further score of each pair, of those that the measure asks for.
    """

    sums: NDArray[np.float64]
    counts: NDArray[np.int64]
    units: Units | None = None
    shares: Mapping[str, Share] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sums)

    @property
    def points(self) -> int:
        """Number of points in all."""
        return int(self.counts.sum())

    @property
    def pixel_error(self) -> float:
        """Mean error over all points."""
        return float(self.sums.sum() / self.counts.sum())

    def first(self, count: int | None) -> PairErrors:
        """Return the first ``count`` pairs, all if None."""
        units = None if self.units is None else self.units[:count]
        shares = {name: share.first(count) for name, share in self.shares.items()}
        return PairErrors(self.sums[:count], self.counts[:count], units, shares)

    def interval(self) -> Interval:
        """Return the 95 % bootstrap interval of the mean over pairs, or over photos where they are in several."""
        units = None if self.units is None else tuple(map(tuple, self.units.tolist()))
        return _interval(self.sums.tobytes(), self.counts.tobytes(), units)

    def over(self) -> dict[str, str]:
        """Return what the interval is over, for a result; empty if over pairs."""
        return {} if interval_over(self.units) == "pairs" else {"interval": "photos"}

    def encoded(self) -> dict[str, Any]:
        """Return the errors as short strings; sums are rounded to a tenth of a pixel."""
        found: dict[str, Any] = {"sums": " ".join(f"{v:.1f}" for v in self.sums), "points": digits(self.counts)}
        found |= {} if self.units is None else {"units": " ".join(self.units.ravel().tolist())}
        shares = {name: encoded_share(share) for name, share in self.shares.items()}
        return found | ({"shares": shares} if shares else {})


@lru_cache(maxsize=10_000)  # tables share most of their rows and comparisons
def _interval(sums: bytes, counts: bytes, units: tuple[tuple[str, str], ...] | None) -> Interval:
    known = None if units is None else np.array(units)
    return ratio_interval(np.frombuffer(sums, np.float64), np.frombuffer(counts, np.int64), units=known)


def decoded(entry: Mapping[str, Any]) -> PairErrors:
    """Return the errors that :meth:`PairErrors.encoded` wrote."""
    sums = np.array(entry["sums"].split(), dtype=np.float64)
    points = read_digits(entry["points"], len(sums))
    units = np.array(entry["units"].split()) if "units" in entry else None
    if len(sums) != len(points) or (units is not None and len(units) != 2 * len(sums)):
        found = f"{len(sums)} sums, {len(points)} counts of points and {0 if units is None else len(units)} units"
        raise DataError(f"{found} in a damaged record: restore it from git")
    shares = {name: decoded_share(texts, len(sums)) for name, texts in entry.get("shares", {}).items()}
    return PairErrors(sums, points, None if units is None else units.reshape(-1, 2), shares)


def read_errors(tested: Path, measure: Measure) -> dict[SetKey, PairErrors]:
    """Return the errors in the predictions of a test; a single list gets the name that the measure has for it."""
    found = {}
    for (pair, name, framing, protocol), table in read_predictions(tested / PREDICTIONS).items():
        key = (pair, measure.lists[0] if len(measure.lists) == 1 else name, framing, protocol)
        sums = np.where(table.visible, table.errors, 0.0).sum(axis=1)
        counts = table.visible.sum(axis=1).astype(np.int64)
        found[key] = PairErrors(sums, counts, _hashed(table.units), shares_of(table, protocol, measure.scores))
    return found


def _hashed(units: Units | None) -> Units | None:
    if units is None:
        return None
    short = {unit: hashlib.sha256(unit.encode()).hexdigest()[:8] for unit in np.unique(units).tolist()}
    return np.array([[short[unit] for unit in pair] for pair in units.tolist()])


def joined(parts: Sequence[PairErrors]) -> PairErrors:
    """Return the pairs of several sets as one."""
    sums, counts = np.concatenate([part.sums for part in parts]), np.concatenate([part.counts for part in parts])
    units = [part.units for part in parts if part.units is not None]
    names = [name for name in parts[0].shares if all(name in part.shares for part in parts)]
    shares = {name: Share.joined([part.shares[name] for part in parts]) for name in names}
    return PairErrors(sums, counts, np.concatenate(units) if len(units) == len(parts) else None, shares)


def mean_of(several: Sequence[PairErrors]) -> PairErrors:
    """Return the mean error of each pair over tests on the same pairs.

    Raises:
        DataError: the tests are not on the same points.
    """
    first = several[0]
    for other in several[1:]:
        _check(first, other)
    names = [name for name in first.shares if all(name in part.shares for part in several)]
    shares = {name: Share.mean([part.shares[name] for part in several]) for name in names}
    return PairErrors(np.mean([part.sums for part in several], axis=0), first.counts, first.units, shares)


def difference(a: PairErrors, b: PairErrors) -> tuple[float, Interval]:
    """Return the mean error of a minus that of b on the same pairs, and its 95 % interval.

    Raises:
        DataError: the two are not on the same points.
    """
    _check(a, b)
    gap = PairErrors(a.sums - b.sums, a.counts, a.units)
    return gap.pixel_error, gap.interval()


def _check(a: PairErrors, b: PairErrors) -> None:
    units = [None if side.units is None else side.units.tolist() for side in (a, b)]
    if not np.array_equal(a.counts, b.counts) or units[0] != units[1]:
        raise DataError("two tests differ in their pairs or visible points: test both on the same lists")
