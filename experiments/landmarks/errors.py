"""Errors of single faces: read from the predictions of tests, averaged over seeds, compared face by face."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import DataError
from dife_lightning.metrics.bootstrap import percentiles

Interval = tuple[float, float]
RESAMPLES, SEED = 2000, 0


@dataclass(frozen=True, eq=False)
class NmeTable:
    """NME in percent of N faces, and the unit that each is drawn by: its animal or person, or itself."""

    nme: NDArray[np.float64]
    units: tuple[str, ...]

    def mean(self) -> float:
        """Return the mean over the faces."""
        return float(self.nme.mean())

    def interval(self) -> Interval:
        """Return its 95 % bootstrap interval over the units."""
        return _interval(self.nme, self.units)

    def encoded(self) -> dict[str, Any]:
        """Return it as plain values, for a record."""
        return {"nme": " ".join(f"{value:.4f}" for value in self.nme), "units": _numbers(self.units).tolist()}


def decoded(entry: Mapping[str, Any]) -> NmeTable:
    """Return what :meth:`NmeTable.encoded` wrote."""
    return NmeTable(np.array(entry["nme"].split(), np.float64), tuple(map(str, entry["units"])))


def read_nme(predictions: Path) -> dict[str, NmeTable]:
    """Return domain -> errors of the faces in a ``predictions.csv``; faces that were not scored are left out."""
    faces: dict[str, dict[str, tuple[float, str]]] = {}
    with predictions.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["nme"]:
                unit = row["subject"] or row["face"]
                faces.setdefault(row["domain"], {})[row["face"]] = float(row["nme"]), f"{row['domain']}/{unit}"
    if not faces:
        raise DataError(f"{predictions} has no face with an error; run the test again")
    return {
        name: NmeTable(np.array([nme for nme, _ in found.values()]), tuple(unit for _, unit in found.values()))
        for name, found in faces.items()
    }


def joined(parts: Sequence[NmeTable]) -> NmeTable:
    """Return the faces of several domains as one table."""
    return NmeTable(np.concatenate([part.nme for part in parts]), tuple(unit for part in parts for unit in part.units))


def mean_of(several: Sequence[NmeTable]) -> NmeTable:
    """Return the mean over tests on the same faces; DataError if they are not the same."""
    for other in several[1:]:
        if len(other.nme) != len(several[0].nme):
            raise DataError("two tests differ in their faces: test both on the same lists")
    return NmeTable(np.mean([one.nme for one in several], axis=0), several[0].units)


def difference(a: NmeTable, b: NmeTable) -> tuple[float, Interval]:
    """Return the mean error of a minus that of b on the same faces, and its 95 % interval."""
    mean_of([a, b])
    return float((a.nme - b.nme).mean()), _interval(a.nme - b.nme, a.units)


def _interval(values: NDArray[np.float64], units: Sequence[str]) -> Interval:
    """Return the 95 % interval of the mean of ``values``, each unit drawn with all its faces."""
    numbers = _numbers(units)
    sums, counts = np.bincount(numbers, values), np.bincount(numbers).astype(np.float64)
    rng = np.random.default_rng(np.random.SeedSequence([SEED, len(sums)]))
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=RESAMPLES)
    return percentiles((drawn @ sums) / (drawn @ counts))


def _numbers(units: Sequence[str]) -> NDArray[np.int64]:
    order = {unit: k for k, unit in enumerate(dict.fromkeys(units))}
    return np.array([order[unit] for unit in units])


def verdict(interval: Interval) -> str:
    """Return whether a step made the error smaller: ``held``, ``reversed``, or ``tied`` if the interval holds 0."""
    return "held" if interval[0] > 0 else "reversed" if interval[1] < 0 else "tied"
